"""Faults planted in the engine, by replacing one function each: the simulation must find every one, or it proves nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import chargehand.supervisor
from chargehand.core import effect_life
from chargehand.core.history import History
from chargehand.durable import Census, Commit
from chargehand.failures import Classified, classify
from chargehand.journals import memory, sqlite, sqlite_batches
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.writer import Writer
from chargehand.supervise import approvals, effects, kept, mail, rungs, saga, steps
from chargehand.supervise.effects import Work
from chargehand.supervise.log import Part, RunLog, Standing
from chargehand.supervise.matching import Matching
from chargehand.supervise.run import RunDriver

from .processes import SimulatedJournal, Travelling

Change = tuple[Any, str, Any]
"""Of what, which name, and what it becomes."""


def _no_fencing() -> list[Change]:
    def guarded(self: Any, commit: Commit) -> Any:
        return self._store.runs[commit.run]

    return [(memory.MemoryJournal, "_guarded", guarded)]


def _act_before_commit() -> list[Change]:
    original = RunLog.commit

    async def commit(self: RunLog, *drafts: Any, **more: Any) -> Any:
        if drafts and drafts[0][0] == "effect.intended" and not more.get("keys"):
            self.put(Part(drafts))
            return []
        return await original(self, *drafts, **more)

    async def send(self: Any, arguments: Any, no_place: Any) -> None:
        self.effect.key = self.effect.key or "not yet"
        await original_send(self, arguments, no_place)

    original_send = Work._send
    return [(RunLog, "commit", commit), (Work, "_send", send)]


def _undo_in_wrong_order() -> list[Change]:
    original = History.effects
    return [(History, "effects", lambda self, scope="": list(reversed(original(self, scope))))]


def _approval_spent_twice() -> list[Change]:
    original = Work.must_ask
    return [(Work, "must_ask", lambda self: self.effect.generation == 1 and original(self))]


def _timer_lost() -> list[Change]:
    original = RunDriver._standing

    def standing(self: RunDriver) -> Standing:
        known = original(self)
        return known._replace(due=None) if self._stop and known.status == "waiting" else known

    return [(RunDriver, "_standing", standing)]


def _timer_at_once() -> list[Change]:
    original = steps._timer

    async def timer(driver: Any, ask: Any) -> None:
        if driver.history.call(ask.path).due is not None:
            driver.log.note(("timer.fired", ask.path, {"d": ask.digest}), progress=True)
        else:
            await original(driver, ask)

    return [(steps, "_timer", timer)]


def _key_used_again() -> list[Change]:
    return [(effects, "key_of", lambda base, generation: base), (mail, "key_of", lambda base, generation: base)]


def _mail_folded_twice() -> list[Change]:
    async def fold(self: RunDriver) -> None:
        self._mail_came = False
        for letter in await self.site.journal.mail([self.row.number]):
            await mail.fold_mail(self, letter)

    return [(RunDriver, "_fold_mail", fold)]


def _mail_lost() -> list[Change]:
    original = memory.MemoryJournal._apply

    def apply(self: Any, run: Any, commit: Commit, records: Any, blobs: Any) -> Any:
        if commit.mail:
            self._store.mail = {id: one for id, one in self._store.mail.items() if one.run != commit.run}
        return original(self, run, commit, records, blobs)

    return [(memory.MemoryJournal, "_apply", apply)]


def _unknown_is_failed() -> list[Change]:
    def hopeful(error: BaseException) -> Classified:
        return replace(classify(error), happened="did not happen")

    return [(effects, "classify", hopeful)]


def _blind_retry() -> list[Change]:
    return [(effect_life, "_recover", lambda effect, policy, now: "send again")]


def _one_person_votes_twice() -> list[Change]:
    def approve(driver: Any, effect: Any, body: Any) -> Any:
        definition, by = mail._definition(driver, effect), mail._by(body)
        payload = {"by": by, "reason": None, "approves": (effect.proposal or {}).get("approves")}
        enough = len(effect.votes) + 1 >= definition.approval.votes
        return [("effect.approved" if enough else "effect.voted", effect.path, payload)]

    return [(mail, "_EFFECT_DECISIONS", {**mail._EFFECT_DECISIONS, ("approval", "approve"): approve})]


def _late_yes() -> list[Change]:
    original = mail.check_decision

    def check(entry: Any, body: Any, now: float, **more: Any) -> None:
        original(replace(entry, due=None), body, now, **more)

    event_at = RunDriver.event_at

    async def patient(self: RunDriver, path: str, due: float | None = None) -> bool:
        return await event_at(self, path, None if due is None else due + 900.0)

    return [
        (mail, "check_decision", check),
        (chargehand.supervisor, "check_decision", check),
        (RunDriver, "event_at", patient),
        (approvals, "still_fits", approvals.covers),
    ]


def _sent_during_rollback() -> list[Change]:
    return [(Work, "too_late", property(lambda self: False))]


def _branches_out_of_order() -> list[Change]:
    original = Matching._deliver_one

    def deliver(self: Any) -> bool:
        self._deliverable = [(-seq, path) for seq, path in self._deliverable]
        heapq.heapify(self._deliverable)
        delivered = original(self)
        self._deliverable = [(-seq, path) for seq, path in self._deliverable]
        heapq.heapify(self._deliverable)
        return delivered

    return [(Matching, "_deliver_one", deliver)]


def _rejected_attempts_stay() -> list[Change]:
    def everything(found: Sequence[Any], used: Collection[str]) -> set[str]:
        return {effect.path for effect in found}

    return [(kept, "kept", everything)]


def _key_taken_by_force() -> list[Change]:
    async def key(self: Any, environment: str, tool: str, key: str) -> Any:
        return None

    return [(memory, "may_take", lambda take, row, run_id: True), (memory.MemoryJournal, "key", key), (SimulatedJournal, "key", key)]


def _silent_is_dead() -> list[Change]:
    original = memory.MemoryJournal.census

    async def census(self: Any, silent_after: float) -> Census:
        known = await original(self, silent_after)
        return Census(known.gone | known.silent, frozenset())

    return [(memory.MemoryJournal, "census", census)]


def _looked_up_too_soon() -> list[Change]:
    return [(RunDriver, "may_go_on", lambda self, path: False)]


def _bare_undo_repeated() -> list[Change]:
    return [(saga, "_undo_is_keyed", lambda definition: True)]


def _approved_is_not_done() -> list[Change]:
    return [(Work, "arguments", lambda self: self.call.arguments), (approvals, "still_fits", lambda *_: True)]


def _signals_overtake() -> list[Change]:
    def signal(driver: Any, body: Any) -> Any:
        for path, _ in driver.wanted():
            state = driver.history.calls.get(path)
            if state is not None and state.settled is None and state.facts.get("want") == body["name"]:
                return ("signal.received", path, {"v": body.get("value"), "by": body.get("by")})
        return ("signal.kept", "", {"name": body["name"], "v": body.get("value")})

    original = steps._signal

    async def deaf(driver: Any, ask: Any) -> None:
        kept, driver.history.signals = driver.history.signals, {}
        try:
            work = original(driver, ask)
            await work
        finally:
            driver.history.signals = kept

    return [(mail, "_signal", signal), (steps, "_signal", deaf)]


def _undone_by_hope() -> list[Change]:
    async def settle(driver: Any, effect: Any) -> None:
        await driver.log.commit(("effect.did_not_happen", effect.path, {"permanent": True, "by": "hope"}), keys=saga._keys(effect, "open"))

    return [(saga, "_settle_doubt", settle)]


def _zombie_sends() -> list[Change]:
    async def holds(self: Any, path: str, timeout: float | None) -> None:
        return

    return [(RunDriver, "claim_holds", holds)]


def _unchecked_release() -> list[Change]:
    async def quick(self: Any, form: Any, tools: Any) -> Any:
        return [], True

    return [(rungs.Rungs, "_quick", quick)]


def _step_again() -> list[Change]:
    original = Matching._match

    def match(self: Any, ask: Any) -> None:
        state = self.history.calls.get(ask.path)
        if ask.kind == "step" and state is not None and state.settled is not None:
            del self.history.calls[ask.path]
        original(self, ask)

    return [(Matching, "_match", match)]


def _timer_overslept() -> list[Change]:
    original = steps._timer

    async def timer(driver: Any, ask: Any) -> None:
        state = driver.history.call(ask.path)
        if state.due is not None:
            state.due = driver.clock.now() + 3600.0
        await original(driver, ask)

    return [(steps, "_timer", timer)]


PLANTED: dict[str, Callable[[], list[Change]]] = {
    "no fencing": _no_fencing,
    "act before commit": _act_before_commit,
    "undo in wrong order": _undo_in_wrong_order,
    "an approval is spent twice": _approval_spent_twice,
    "a timer is lost": _timer_lost,
    "a timer fires at once after a crash": _timer_at_once,
    "a key is used again after an undo": _key_used_again,
    "mail is folded twice": _mail_folded_twice,
    "mail is lost": _mail_lost,
    "an unknown outcome counts as failed": _unknown_is_failed,
    "sent again blindly after a crash": _blind_retry,
    "one person votes twice": _one_person_votes_twice,
    "a late yes counts": _late_yes,
    "sending goes on during a rollback": _sent_during_rollback,
    "branches are resumed out of order": _branches_out_of_order,
    "what rejected attempts did stays": _rejected_attempts_stay,
    "a business key is taken by force": _key_taken_by_force,
    "the silent count as dead": _silent_is_dead,
    "looked up while it may still be sent": _looked_up_too_soon,
    "a bare undo is repeated": _bare_undo_repeated,
    "what was approved is not what is done": _approved_is_not_done,
    "signals overtake": _signals_overtake,
    "a rollback takes doubt for no": _undone_by_hope,
    "a zombie sends": _zombie_sends,
    "an output is released unchecked": _unchecked_release,
    "a finished step runs again": _step_again,
    "a timer begins anew after a crash": _timer_overslept,
}
"""Every planted fault by what goes wrong."""


# -- in the journal that is shipped ----------


def _said_otherwise(name: str, part: str, instead: str) -> Callable[[], list[Change]]:
    """Return a change of a part of one statement."""

    def changes() -> list[Change]:
        statement: str = getattr(sql, name)
        assert part in statement, f"{name} has no {part!r}"
        return [(sql, name, statement.replace(part, instead))]

    return changes


def _epoch_ignored() -> list[Change]:
    original = sqlite_batches._move

    def move(cursor: Any, commit: Commit, records: Any) -> None:
        original(cursor, replace(commit, epoch=cursor.execute(sql.EPOCH, (commit.run,)).fetchall()[0][0]), records)

    return [(sqlite_batches, "_move", move)]


def _silent_is_dead_on_file() -> list[Change]:
    original = sqlite.SqliteJournal.census

    async def census(self: Any, silent_after: float) -> Census:
        known = await original(self, silent_after)
        return Census(known.gone | known.silent, frozenset())

    return [(sqlite.SqliteJournal, "census", census)]


def _key_taken_by_force_on_file() -> list[Change]:
    async def key(self: Any, environment: str, tool: str, key: str) -> Any:
        return None

    return [(sqlite_batches, "may_take", lambda take, row, run_id: True), (Travelling, "key", key)]


def _one_refused_all_refused() -> list[Change]:
    original = Writer._do

    def do(self: Any, job: Any, *, savepoint: bool) -> None:
        original(self, job, savepoint=savepoint)
        if job.error is not None and not job.alone:
            self._roll_back()
            self._begin()

    return [(Writer, "_do", do)]


PLANTED_ON_FILE: dict[str, Callable[[], list[Change]]] = {
    "the epoch is ignored": _epoch_ignored,
    "a take-over keeps the epoch": _said_otherwise("TAKE_RUN", "epoch = epoch + 1", "epoch = epoch"),
    "all mail is folded at once": _said_otherwise("FOLD_MAIL", "id = ? AND", "? IS NOT NULL AND"),
    "mail that came meanwhile wakes nobody": _said_otherwise("SETTLE_DUE", " AND NOT EXISTS (SELECT 1 FROM mailbox WHERE run = ?1)", ""),
    "mail wakes nobody": _said_otherwise("MAKE_DUE", "due = 0.0", "due = due"),
    "what a leaving worker was at is not due": _said_otherwise(
        "DISMISS", "iif(status = 'running' OR status = 'rolling back', 0.0, due)", "due"
    ),
    "one refusal takes its group with it": _one_refused_all_refused,
    "a business key is taken by force": _key_taken_by_force_on_file,
    "the silent count as dead": _silent_is_dead_on_file,
}
"""Every fault planted in the SQLite journal, by what goes wrong."""


_INHERITED = object()


@contextmanager
def planted(name: str, among: Mapping[str, Callable[[], list[Change]]] = PLANTED) -> Iterator[None]:
    """Have the engine make a mistake."""
    changes = among[name]()
    before = [(owner, attribute, vars(owner).get(attribute, _INHERITED)) for owner, attribute, _ in changes]
    for owner, attribute, value in changes:
        setattr(owner, attribute, value)
    try:
        yield
    finally:
        for owner, attribute, value in before:
            if value is _INHERITED:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, value)
