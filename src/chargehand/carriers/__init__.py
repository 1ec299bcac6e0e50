"""Floor 3: what keeps runs moving."""
