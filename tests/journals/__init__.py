"""One suite for every journal; the faults of a real file beside it."""
