"""The outside world of the promises: a payment service that keeps its own books, with and without remembering keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from chargehand import NotDone


@dataclass
class Shop:
    """`sent` is every request that arrived, `book` what stands.

    `failing` are raised by the next requests before anything is booked, `losing` after it is booked (the answer is lost).
    """

    remembers_keys: bool = True
    sent: list[str] = field(default_factory=list)
    book: dict[str, str] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    failing: list[Exception] = field(default_factory=list)
    losing: list[Exception] = field(default_factory=list)
    failing_undo: list[Exception] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def take(self, what: str, key: str = "") -> str:
        """Book something. With a key that is known, give back what was booked under it."""
        self.sent.append(what)
        self.keys.append(key)
        if self.failing:
            raise self.failing.pop(0)
        receipt = key if self.remembers_keys and key else f"receipt-{len(self.sent)}"
        self.book.setdefault(receipt, what)
        if self.losing:
            raise self.losing.pop(0)
        return receipt

    def give_back(self, receipt: str) -> None:
        """Take a booking back; twice is once."""
        if self.failing_undo:
            raise self.failing_undo.pop(0)
        what = self.book.pop(receipt, None)
        if what is not None:
            self.undone.append(what)

    def find(self, what: str) -> str:
        """Return the receipt of a booking, or say that there is none."""
        for receipt, booked in self.book.items():
            if booked == what:
                return receipt
        raise NotDone(f"nothing booked for {what}")

    @property
    def stands(self) -> list[str]:
        """What is booked now, in order."""
        return list(self.book.values())
