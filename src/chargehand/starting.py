"""What is opened and checked before anything runs: the journal that a URL names, ids, tags, decisions, names of workflows."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from chargehand.durable import Clock, Journal, Mail, RunFilter, Waiting
from chargehand.errors import BadConfiguration, DecisionRefused, DefinitionError, InvalidInput, WrongChainKey
from chargehand.events import chain_hash
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_look import refuse_directory, refuse_no_journal
from chargehand.supervise.definitions import WorkflowDefinition

_SHOWN_CHARS = 200


def journal_at(url: str, clock: Clock, chain_key: bytes = b"") -> Journal:
    """Return the journal that a URL names. `chain_key` keys its hash chains."""
    if url == "memory:":
        return MemoryJournal(clock, chain_key=chain_key)
    if url.startswith(("postgresql://", "postgres://")):
        raise BadConfiguration(f"This version keeps its journal in SQLite only; {url.split('@')[-1]!r} is PostgreSQL. Give a file name.")
    if "://" in url and not url.startswith("sqlite:///"):
        raise BadConfiguration(f"Not a journal: {url!r}. Give a file name, sqlite:///path or memory:.")
    path = url.removeprefix("sqlite:///")
    refuse_directory(path)
    return SqliteJournal(path, clock=clock, chain_key=chain_key)


def refuse_no_journal_at(url: str) -> None:
    """Raise `JournalError` when a URL names no journal that could be read: nothing is made of what is there."""
    if url == "memory:":
        raise BadConfiguration("The journal memory: lives and dies with one process, so there is nothing to read. Give --journal FILE.")
    if "://" not in url or url.startswith("sqlite:///"):
        refuse_no_journal(url.removeprefix("sqlite:///"))


_WITNESSES = 3


async def check_chain_key(journal: Journal) -> None:
    """Raise `WrongChainKey` when a journal's chains were begun with another key than it was opened with.

    The first link of the journal's chain and the first events of the newest runs are computed anew. One that fits is
    enough: what else does not hold is for `verify` to find. If none fits, nothing may be appended, because nobody could
    verify a chain of which each half needs another key.
    """
    witnesses = await _witnesses(journal)
    if not witnesses or any(_fits(witness, journal.chain_key) for witness in witnesses):
        return
    if not journal.chain_key:
        raise WrongChainKey(
            "The journal was written with a chain key, and none is given: no hash that was looked at holds without one. "
            "Set CHARGEHAND_CHAIN_KEY or chain_key_file, or give Supervisor(…, chain_key=…)."
        )
    if any(_fits(witness, b"") for witness in witnesses):
        raise WrongChainKey(
            "The journal was begun without a chain key, and one is given: either leave it out, or begin a new journal with it. "
            "If this journal was begun with the key, somebody without it has written it anew."
        )
    raise WrongChainKey("The journal was written with another chain key than the one that is given. Give the one it was begun with.")


_Witness = tuple[str, int, float, str, str, bytes, bytes]
"""A hash that has nothing before it: run, seq, time, type, path, digest and the hash itself."""


async def _witnesses(journal: Journal) -> list[_Witness]:
    found: list[_Witness] = [
        (link.run_id, link.seq, link.time, link.kind, "", link.head, link.hash) for link in await journal.chain(0, 1) if link.id == 1
    ]
    for row in await journal.runs(RunFilter(limit=_WITNESSES)):
        for first in await journal.load(row.number, limit=1):
            if first.seq == 1 and not first.event().payload.get("$erased"):
                found.append((row.id, 1, first.time, first.type, first.path, hashlib.sha256(first.payload).digest(), first.hash))
    return found


def _fits(witness: _Witness, key: bytes) -> bool:
    run_id, seq, time, kind, path, digest, stored = witness
    return hmac.compare_digest(chain_hash(bytes(32), run_id, seq, time, kind, path, digest, key), stored)


def check_tags(tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput(f"A tag is a text with a text, not {name!r}: {value!r}.")


def check_id(id: str) -> None:
    """Raise `InvalidInput` when this cannot be a run's id."""
    if not isinstance(id, str) or not id or len(id) > 200 or "/" in id or not id.isprintable():
        raise InvalidInput(f"This cannot be a run's id: {id!r}. It has 1 to 200 printable characters and no slash.")


def difference(recorded: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    """Return a sentence that says which arguments of two inputs differ, and how; long values are cut. None was erased."""
    if recorded is None:
        return "what it was started with was erased."
    names = [name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)]
    return "; ".join(f"{name!r} is {_cut(recorded.get(name))} there and {_cut(wanted.get(name))} here" for name in names) + "."


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… ({len(text.encode()):,} bytes)"


def refuse_second(entry: Waiting, mailed: Sequence[Mail]) -> None:
    """Raise `DecisionRefused` when a decision on this entry lies in the run's mailbox already."""
    for mail in mailed:
        if mail.kind == "decision" and mail.body.get("entry") == entry.id:
            who = (mail.body.get("by") or {}).get("id")
            raise DecisionRefused(
                f"{entry.id!r} was decided already: {mail.body.get('decision')} by {who}. It is carried out as soon as a worker sees it."
            )


def refuse_second_resume(run_id: str, mailed: Sequence[Mail]) -> None:
    """Raise `DecisionRefused` when the run was told to go on already: what a second word accepts would be lost."""
    for mail in mailed:
        if mail.kind == "resume":
            who = f" by {mail.body['by']}" if mail.body.get("by") else ""
            accepted = f", accepting {', '.join(mail.body['accept'])}" if mail.body.get("accept") else ""
            raise DecisionRefused(
                f"Run {run_id!r} was told to go on already{who}{accepted}. It does as soon as a worker sees it; if it parks again, resume it again."
            )


def check_json(body: dict[str, Any]) -> None:
    try:
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The decision holds what JSON cannot: {error}") from error


def refuse_main(workflows: Mapping[str, WorkflowDefinition[..., Any]], journal: Journal) -> None:
    """A definition in __main__ has no stable name, so a journal that others may open does not take it."""
    if isinstance(journal, MemoryJournal):
        return
    for definition in workflows.values():
        if definition.in_main and not definition.explicit_name:
            raise DefinitionError(
                f"The workflow {definition.name} is defined in __main__, which names it differently in every program. Give it name=…."
            )
