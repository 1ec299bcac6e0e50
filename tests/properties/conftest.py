"""How many values are tried: the same few each time in the quick tests, many more in those marked slow."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_ALL = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.filter_too_much]

FEW = settings(max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=_ALL)
"""For the quick tests: always the same values, so that a red test is red again."""

FEWER = settings(FEW, max_examples=7)
"""For quick tests of which each value drives whole runs."""

MANY = settings(
    max_examples=400,
    derandomize="HYPOTHESIS_DERANDOMIZE" in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=_ALL,
    print_blob=True,
)
"""For the slow tests: other values each time; what fails is printed as a line that repeats it. A gate has the same each time."""

SOME = settings(MANY, max_examples=60)
"""For slow tests of which each value drives whole runs."""
