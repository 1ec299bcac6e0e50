"""Lineage: which value went into which call."""
