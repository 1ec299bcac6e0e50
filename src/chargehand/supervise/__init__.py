"""Floor 2: agents and their ladder, gates, effects, sagas, approvals, budgets: the rules, over the ports."""
