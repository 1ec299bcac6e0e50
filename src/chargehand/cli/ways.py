"""Which command makes which decision: what a person can copy and run."""

from __future__ import annotations

from chargehand.cli.safe import one_line
from chargehand.durable import Waiting

_COMMANDS: dict[str, str] = {
    "approve": "approve {id}",
    "edit": "approve {id} --edit JSON",
    "reject": "reject {id} --reason TEXT",
    "done": "resolve {id} --done JSON",
    "not-done": "resolve {id} --not-done",
    "release": "release {id} --reason TEXT",
    "answer": "answer {id} JSON",
    "redrive": "redrive {id}",
    "fail": "fail {id}",
    "abandon": "abandon {id} --reason TEXT",
    "resume": "resume {run}",
    "cancel": "cancel {run}",
    "go on": "resolve {id} --go-on",
    "undo": "resolve {id} --undo",
    "leave": "resolve {id} --leave",
}
"""By decision, the command that makes it."""

_EDITS = {"escalation": "release {id} --edit JSON --reason TEXT", "letter": "redrive {id} --edit JSON"}


def how(entry: Waiting, decision: str) -> str:
    """Return the command that makes a decision on an entry."""
    pattern = _EDITS.get(entry.kind, _COMMANDS["edit"]) if decision == "edit" else _COMMANDS.get(decision, decision + " {id}")
    return pattern.format(id=quoted(entry.id), run=quoted(entry.run_id))


def ways(entry: Waiting) -> list[str]:
    """Return the commands that decide an entry, each as it is typed; what is behind a # says when."""
    found: list[str] = []
    for decision in entry.decisions:
        path = entry.shows.get("path") if (entry.kind, decision) == ("diverged", "resume") else None
        if path is None:
            found.append(f"chargehand {how(entry, decision)}")
            continue
        found.append(f"chargehand {how(entry, decision)}    # the old code is back, or the code asks again for what is recorded")
        if path:
            found.append(
                f"chargehand {how(entry, decision)} --accept {quoted(str(path))}    # the code as it is now is right about this call"
            )
    return found


def quoted(word: str) -> str:
    """Return a word as a shell takes it, without terminal control."""
    safe = one_line(word)
    return safe if safe and all(char.isalnum() or char in "-_./:@~#" for char in safe) else "'" + safe.replace("'", "'\\''") + "'"


def article(noun: str) -> str:
    """Return a kind of entry with its article."""
    if noun in ("diverged", "broken", "poison"):
        return f"a run that is parked as {noun}"
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"
