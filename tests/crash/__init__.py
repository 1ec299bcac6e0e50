"""A process may die at any moment: the catalogue, the outside world, and the ways to die."""
