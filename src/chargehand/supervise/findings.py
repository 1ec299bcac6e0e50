"""How a built-in gate says what it found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import Enum
from typing import Any

from chargehand.supervise.units import number_of
from chargehand.verdicts import Verdict

_NAMED_AT_MOST = 8
"""Findings that are spelled out in a rejection; the rest is counted."""


def rejection(findings: Sequence[str], what: str, mode: str, evidence: Any) -> Verdict:
    """Return a fail that spells out some findings and counts the rest."""
    reasons = list(findings[:_NAMED_AT_MOST])
    if len(findings) > _NAMED_AT_MOST:
        reasons.append(f"And {len(findings) - _NAMED_AT_MOST} more {what}.")
    return Verdict.fail(*reasons, mode=mode, evidence=evidence)


def as_text(value: Any, unit: str | None = None) -> str:
    """Return a value as a rejection shows it."""
    value = value.value if isinstance(value, Enum) else value
    text = value.isoformat() if isinstance(value, date) else str(value) if number_of(value) is not None else repr(value)
    return f"{text} {unit}" if unit else text
