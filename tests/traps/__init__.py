"""Traps that others have paid for already; each test names where."""
