"""Mutation testing: small faults are put into the core one by one, and some test has to see each of them."""
