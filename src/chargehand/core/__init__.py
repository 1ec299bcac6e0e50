"""Floor 1: what is decided without clock, dice, disk or await."""
