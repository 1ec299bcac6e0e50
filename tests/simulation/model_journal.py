"""The reference model of the journal: who may append, what a commit changes, who may take a run over.

Written from the ports' sentences (`chargehand.durable`), not from a journal. It sees every operation before and after it
reaches the journal, says what must come of it, and complains when something else does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chargehand.durable import Census, Claimed, Commit, Created, KeySet, KeyShare, KeyTake, NewMail, NewRun, RunRow
from chargehand.errors import Fenced, KeyHeld

ENDED = ("completed", "failed", "cancelled")


@dataclass
class Row:
    """What the model knows of one run's row."""

    id: str
    owner: str | None
    due: float | None
    epoch: int
    seq: int = 1
    status: str = "running"
    standing: int = 0


@dataclass
class KeyModel:
    """What the model knows of a business key."""

    run: str
    path: str
    generation: int
    state: str
    shared: int = 0


@dataclass
class JournalModel:
    """The whole journal, in dictionaries. `alive` says whether a worker's process lives."""

    complain: Callable[[str], None]
    alive: Callable[[str], bool]
    row_of: Callable[[int], RunRow]
    rows: dict[int, Row] = field(default_factory=dict)
    mail: dict[int, str] = field(default_factory=dict)
    letters: dict[int, NewMail] = field(default_factory=dict)
    folded: dict[int, str] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    keys: dict[tuple[str, str], KeyModel] = field(default_factory=dict)
    _expected: str = ""

    def created(self, runs: Sequence[NewRun], owner: str | None, made: Sequence[Created]) -> None:
        """Take new runs."""
        for new, one in zip(runs, made, strict=True):
            known = one.row.number in self.rows
            if known != one.existed:
                self.complain(f"run {new.id} existed: {one.existed}, the model says {known}")
            if not known:
                self.rows[one.row.number] = Row(new.id, owner, 0.0 if owner is None else None, 0 if owner is None else 1)
                self._agree(one.row.number)

    def posted(self, mail: Sequence[NewMail], ids: Sequence[int]) -> None:
        """Take mail; it makes its run due."""
        for new, id in zip(mail, ids, strict=True):
            self.letters[id] = new
            for row in self.rows.values():
                if row.id == new.run_id:
                    self.mail[id] = new.run_id
                    row.due = None if row.status in ENDED else 0.0

    def claimed(self, owner: str, claims: Sequence[Claimed], now: float, census: Census) -> None:
        """Check every take-over."""
        for claim in claims:
            row = self.rows[claim.row.number]
            if row.status in ENDED:
                self.complain(f"{owner} claimed {row.id}, which has ended")
            if claim.before != row.owner:
                self.complain(f"{row.id} was of {row.owner}, the claim says {claim.before}")
            if row.owner is None and (row.due is None or row.due > now):
                self.complain(f"{owner} claimed {row.id}, which is due at {row.due}, at {now}")
            if row.owner is not None:
                dead = not self.alive(row.owner)
                if claim.after == "gone" and not dead:
                    self.complain(f"{owner} took {row.id} over from {row.owner}, which lives")
                if claim.after == "left" or (claim.after == "silent" and row.owner not in census.silent):
                    self.complain(f"{owner} took {row.id} over from {row.owner} as {claim.after}")
            row.owner, row.epoch = owner, row.epoch + 1
            self._agree(claim.row.number)

    def dismissed(self, owner: str) -> None:
        """A worker left: its runs are free."""
        for number, row in self.rows.items():
            if row.owner == owner:
                row.owner = None
                row.due = 0.0 if row.status in ("running", "rolling back") else row.due
                self._agree(number)

    # -- appends ----------

    def appending(self, commit: Commit) -> None:
        """Say what must come of a commit."""
        row = self.rows[commit.run]
        if (commit.epoch, commit.before) != (row.epoch, row.seq) or row.status in ENDED:
            self._expected = "fenced"
        elif any(not self._may(commit, change) for change in commit.keys):
            self._expected = "key held"
        else:
            self._expected = "taken"

    def _may(self, commit: Commit, change: KeyTake | KeySet | KeyShare) -> bool:
        known = self.keys.get((change.tool, change.key))
        if isinstance(change, KeyTake):
            if known is None:
                return True
            if (known.run, known.path) == (commit.run_id, change.path):
                return change.generation >= known.generation
            return known.state == "open" and change.generation > known.generation
        if known is None:
            return len(commit.keys) > 1  # taken in this very commit
        if isinstance(change, KeyShare):
            return known.state == "done"
        taken = any(isinstance(other, KeyTake) and other.key == change.key for other in commit.keys)
        return taken or (known.run == commit.run_id and not (change.unshared and known.shared))

    def refused(self, commit: Commit, error: BaseException) -> None:
        """Check a refusal."""
        found = "fenced" if isinstance(error, Fenced) else "key held" if isinstance(error, KeyHeld) else "taken"
        if found == "taken" and commit.work is not None:
            return  # the effect's own mistake
        if found != self._expected:
            self.complain(f"a commit of {commit.run_id} was refused ({error!r}), the model says {self._expected}")

    def appended(self, commit: Commit) -> None:
        """Carry out a commit."""
        row = self.rows[commit.run]
        if self._expected != "taken":
            self.complain(f"a commit of {row.id} in epoch {commit.epoch} at {commit.before} was taken, the model says {self._expected}")
        for id in commit.mail:
            if id in self.folded:
                self.complain(f"mail {id} of {row.id} was folded twice")
            if self.mail.pop(id, row.id) != row.id:
                self.complain(f"mail {id} was folded by {row.id}, whose it is not")
            self.folded[id] = row.id
        row.seq += self.row_of(commit.run).seq - row.seq if commit.work is not None else len(commit.records)
        row.status, row.standing = commit.status, commit.standing
        ended = row.status in ENDED
        row.owner = None if commit.leave or ended else row.owner
        row.due = None if ended else 0.0 if row.id in self.mail.values() else commit.due
        for entry in list(self.entries):
            if self.entries[entry] == row.id and (commit.close_all or ended or entry in commit.closed):
                del self.entries[entry]
        for opened in () if ended else commit.opened:
            self.entries[opened.id] = row.id
        for change in commit.keys:
            self._change(commit, change)
        self._agree(commit.run)

    def _change(self, commit: Commit, change: KeyTake | KeySet | KeyShare) -> None:
        place = (change.tool, change.key)
        if isinstance(change, KeyTake):
            known = self.keys.get(place)
            again = known is not None and (known.run, known.path, known.generation) == (commit.run_id, change.path, change.generation)
            shared = known.shared if again and known is not None else 0
            self.keys[place] = KeyModel(commit.run_id, change.path, change.generation, "held", shared)
        elif isinstance(change, KeySet):
            self.keys[place].state = change.state
        else:
            self.keys[place].shared += 1

    def _agree(self, number: int) -> None:
        row, found = self.rows[number], self.row_of(number)
        wanted = (row.owner, row.due, row.epoch, row.seq, row.status, row.standing)
        shown = (found.owner, found.due, found.epoch, found.seq, found.status, found.standing)
        if wanted != shown:
            self.complain(f"the row of {row.id} says {shown}, the model {wanted}")
