"""Properties: sentences that hold for every value, tried with values that nobody thought of."""
