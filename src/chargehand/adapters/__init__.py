"""Agents of other frameworks under supervision, one module for each framework. Imported only where they are used."""
