"""Panels: how many independent votes several voters are worth.

Voters that err together say the same thing twice. By the design effect of correlated samples (Kish, Survey Sampling, 1965) n votes
whose errors correlate by ρ on average are worth ``n / (1 + (n - 1) ρ)`` independent ones; over pairs of their own that is
``n² / Σᵢ Σⱼ ρᵢⱼ`` with ``ρᵢᵢ = 1``. Nine judges of seven families were worth two (Kohli, arXiv 2605.29800).

ρ of a pair is what was *measured* (`chargehand judge-check` on a panel, given as `correlation=`), else 1 within a family, and across families what the gate
*declares*. A voter whose family nobody knows counts as of everybody's family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chargehand.errors import DefinitionError
from chargehand.families import declared_family, families_of

ACROSS_FAMILIES = 0.44
"""ρ across families where nothing was measured or declared: what nine judges worth two votes come to, (9/2 - 1) / 8.

Source: arXiv 2605.29800. Strong models of different makers err together more, φ = 0.42 to 0.54 in the data of arXiv 2506.07962.
"""

Correlation = float | Mapping[tuple[str, str], float]
"""How errors correlate across families: one figure, or measured figures by pairs of voters' names."""


def checked_correlation(given: Correlation | None) -> Correlation | None:
    """Return it. Raises `DefinitionError` for figures that are no correlations of errors."""
    figures = list(given.values()) if isinstance(given, Mapping) else [] if given is None else [given]
    for figure in figures:
        if not -1 <= figure <= 1:
            raise DefinitionError(f"correlation={figure!r} is no correlation. Give a number from 0 (independent) to 1 (the same errors).")
    return given


def families_of_voter(voter: Any) -> tuple[str, ...]:
    """Return the families of a voter: a judge's of its model, an agent's as declared or of its model; nothing when not known."""
    found = getattr(voter, "families", None)
    if found is not None:
        return tuple(found)
    family, model = getattr(voter, "family", None), getattr(voter, "model", None)
    by_name = families_of(model) if isinstance(model, str) else ()
    if family is None or by_name[:1] == (declared_family(family),):
        return by_name  # with those that taught it, which a declared family does not say
    declared = declared_family(family)
    return families_of(family) or (() if declared is None else (declared,))


def related(some: Sequence[str], others: Sequence[str]) -> bool:
    """Say whether two models may share their blind spots: a family of both, or one of which nothing is known."""
    return not some or not others or bool(set(some) & set(others))


def effective_votes(voters: Sequence[Any], correlation: Correlation | None = None) -> float:
    """Return how many independent votes these are worth, from 1 to their number; 0 for none."""
    if not voters:
        return 0.0
    total = sum(1.0 if i == j else _between(one, other, correlation) for i, one in enumerate(voters) for j, other in enumerate(voters))
    return min(len(voters) ** 2 / total, float(len(voters)))


def _between(one: Any, other: Any, correlation: Correlation | None) -> float:
    names = getattr(one, "name", ""), getattr(other, "name", "")
    if isinstance(correlation, Mapping):
        measured = correlation.get(names, correlation.get((names[1], names[0])))
        if measured is not None:
            return max(measured, 0.0)  # votes are not worth more than their number: a negative figure of a small sample is an accident
    if related(families_of_voter(one), families_of_voter(other)):
        return 1.0
    return max(correlation, 0.0) if isinstance(correlation, (int, float)) else ACROSS_FAMILIES
