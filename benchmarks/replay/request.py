"""What a supervisor can read out of a request without understanding it: dates, quotations, names, kinds of change.

Nothing here knows the tasks, the models or the ground truth. It was written and mended while looking at the even half
of the task templates only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
WEEKDAYS = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)
NUMBERS = {
    word: number
    for number, word in enumerate(
        (
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
        )
    )
}

CHANGES: Mapping[str, str] = {
    "analytics.create_plot": r"plots?|charts?|graphs?|histograms?|distribution|visuali[sz]e|draw",
    "calendar.create_event": r"meetings?|events?|schedule|book|set up|calendar|catch[- ]?up|appointments?|call with"
    r"|invite",
    "calendar.delete_event": r"cancel|delete|remove|clear|get rid|drop|call off|free up",
    "calendar.update_event": r"renam\w*|mov\w+|chang\w+|reschedul\w*|updat\w+|postpone|push|delay|shift|bring forward"
    r"|extend\w*|shorten|longer|shorter|make",
    "customer_relationship_manager.add_customer": r"leads?|customers?|clients?|crm",
    "customer_relationship_manager.delete_customer": r"delete|remove|get rid|clear|drop",
    "customer_relationship_manager.update_customer": r"updat\w+|chang\w+|assign|reassign|mov\w+|set|mark|give|transfer",
    "email.delete_email": r"delete|remove|get rid|clear|bin|trash",
    "email.forward_email": r"forward|pass on|share|needs?|send",
    "email.reply_email": r"reply|respond|answer|write back|get back",
    "email.send_email": r"e-?mails?|send|write|message|notify|tell|let \w+ know|remind",
    "project_management.create_task": r"tasks?|tickets?|backlog|to-?do",
    "project_management.update_task": r"mov\w+|chang\w+|updat\w+|assign|reassign|transfer|give|set|mark|push|postpone"
    r"|delay",
}
"""Words of which a request for each kind of change would use at least one."""

_MANY = re.compile(r"\b(all|any|every|each|both|everything|meetings|events|emails|e-mails|messages|tasks|leads|customers|plots|charts)\b")
_NEXT = re.compile(r"\bnext\b(?! (friday|monday|tuesday|wednesday|thursday|saturday|sunday|week|month))")
_LAST = re.compile(r"\b(latest|most recent|newest|last)\b(?! (\d+|two|three|four|five|six|seven|eight|nine|ten|few|week|month|day))")
_IF = re.compile(r"\b(if|whether|unless|otherwise|in case)\b")
_FREE = re.compile(r"\b(free|available|first time|earliest|first slot|first free)\b")
_EARLIEST = re.compile(r"\b(first|earliest)\b[^.?]*\b(free|available|slot|time|can do)\b")
_INDIRECT = re.compile(r"\b(sender|who|whoever|person|assigned|attendees?|participants?|everyone|team|manager)\b")
_QUOTED = re.compile(r"(?<!\w)'(.+?)'(?!\w)")
_DURATION = re.compile(r"\b(\d+(?:\.\d+)?|half|an|one)[- ](?:an )?(minute|min|hour)s?\b")
_TIME = re.compile(r"\bat (\d{1,2})(?::(\d\d))?\s*(am|pm)?\b")
_PAST = re.compile(rf"\b(?:last|past) (\d+|{'|'.join(NUMBERS)}|few)?\s*(day|week|month|fortnight)s?\b")


@dataclass(frozen=True)
class Request:
    """A request, read on a given day, in an office where these first names are known."""

    text: str
    today: date
    first_names: Collection[str]

    @cached_property
    def lower(self) -> str:
        """Return the text in lower case."""
        return self.text.lower()

    @cached_property
    def quotes(self) -> tuple[str, ...]:
        """Return what stands in quotation marks, in lower case."""
        return tuple(quote.strip().lower() for quote in _QUOTED.findall(self.text))

    @cached_property
    def people(self) -> frozenset[str]:
        """Return the known first names that are mentioned outside quotations."""
        words = set(re.findall(r"[a-z]+", _QUOTED.sub(" ", self.text).lower()))
        return frozenset(words & set(self.first_names))

    @cached_property
    def days(self) -> frozenset[str]:
        """Return the days it names as ISO dates: calendar days, weekdays, tomorrow, the start of "the last n weeks"."""
        text, today = self.lower, self.today
        found = {date.fromisoformat(day) for day in re.findall(r"\b\d{4}-\d\d-\d\d\b", text)}
        for month, day in re.findall(rf"\b({'|'.join(MONTHS)}) (\d{{1,2}})(?:st|nd|rd|th)?\b", text):
            found.add(_day(today.year, MONTHS.index(month) + 1, int(day)))
        for day, month in re.findall(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({'|'.join(MONTHS)})\b", text):
            found.add(_day(today.year, MONTHS.index(month) + 1, int(day)))
        for lead, name in re.findall(rf"\b(next |last |this |on |for |since |by )?({'|'.join(WEEKDAYS)})\b", text):
            found |= self._weekday(lead.strip(), WEEKDAYS.index(name))
        if "tomorrow" in text:
            found.add(today + timedelta(days=1))
        if re.search(r"\btoday\b", text):
            found.add(today)
        if re.search(r"\byesterday\b", text):
            found.add(today - timedelta(days=1))
        return frozenset(day.isoformat() for day in found | self._periods())

    def _weekday(self, lead: str, weekday: int) -> set[date]:
        ahead = (weekday - self.today.weekday() - 1) % 7 + 1
        coming, past = self.today + timedelta(days=ahead), self.today + timedelta(days=ahead - 7)
        if lead in ("since", "last"):
            return {past if past < self.today else past - timedelta(days=7)}
        if lead == "next":
            return {coming, coming + timedelta(days=7)}
        return {coming, past} if lead == "" else {coming}

    def _periods(self) -> set[date]:
        days = {"day": 1, "week": 7, "fortnight": 14, "month": 30}
        found = set()
        for number, unit in _PAST.findall(self.lower):
            count = 1 if not number else int(number) if number.isdigit() else NUMBERS.get(number, 3)
            found.add(self.today - timedelta(days=count * days[unit]))
        return found

    @cached_property
    def durations(self) -> frozenset[int]:
        """Return the durations it names, in minutes."""
        found = set()
        for number, unit in _DURATION.findall(self.lower):
            count = {"half": 0.5, "an": 1.0, "one": 1.0}.get(number) or float(number)
            found.add(round(count * (60 if unit == "hour" else 1)))
        return frozenset(found)

    @cached_property
    def times(self) -> frozenset[tuple[int, int]]:
        """Return the times of day it names (hour, minute), each in both readings unless it says am or pm."""
        found = set()
        for hour, minute, half in _TIME.findall(self.lower):
            base, rest = int(hour) % 12, int(minute or 0)
            found |= {(base, rest)} if half == "am" else {(base + 12, rest)} if half == "pm" else {(base, rest), (base + 12, rest)}
        return frozenset(found)

    def asks_for(self, tool: str) -> bool:
        """Say whether it uses a word for this kind of change. Kinds that are not known here count as asked for."""
        words = CHANGES.get(tool)
        return words is None or re.search(rf"\b(?:{words})\b", self.lower) is not None

    @cached_property
    def speaks_of_many(self) -> bool:
        """Say whether it uses a word for several things."""
        return _MANY.search(_QUOTED.sub(" ", self.lower)) is not None

    @cached_property
    def wants_next(self) -> bool:
        """Say whether it wants the next one of something."""
        return _NEXT.search(self.lower) is not None

    @cached_property
    def wants_last(self) -> bool:
        """Say whether it wants the last or latest one of something."""
        return _LAST.search(self.lower) is not None

    @cached_property
    def is_conditional(self) -> bool:
        """Say whether it asks for something only under a condition."""
        return _IF.search(self.lower) is not None

    @cached_property
    def wants_free_time(self) -> bool:
        """Say whether it wants a time that is free."""
        return _FREE.search(self.lower) is not None

    @cached_property
    def wants_earliest(self) -> bool:
        """Say whether it wants the first such time."""
        return _EARLIEST.search(self.lower) is not None

    @cached_property
    def points_at_someone(self) -> bool:
        """Say whether it means somebody without the name: the sender, whoever is assigned."""
        return _INDIRECT.search(self.lower) is not None


def _day(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        return date(year, month, 28)
