"""Which command makes which decision: what a person can copy and run."""

from __future__ import annotations

from dataclasses import dataclass

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


_GIVE_UP = "give the run up and undo what it did"
_MEANS: dict[tuple[str, str], str] = {
    ("approval", "approve"): "exactly as shown",
    ("approval", "edit"): "with these arguments changed",
    ("approval", "reject"): "the caller hears why",
    ("approval", "done"): "somebody has done it by hand, and this came of it",
    ("escalation", "release"): "let this output through",
    ("escalation", "edit"): "this output instead; it passes the gates again",
    ("escalation", "reject"): "the agent hears why",
    ("letter", "redrive"): "try it again as it is",
    ("letter", "edit"): "try it again with these arguments changed",
    ("letter", "done"): "somebody has done it by hand, and this came of it",
    ("letter", "fail"): "raise its failure into the workflow",
    ("letter", "abandon"): _GIVE_UP,
    ("undo letter", "redrive"): "try to undo it again",
    ("undo letter", "done"): "somebody has undone it by hand",
    ("undo letter", "abandon"): "it stands",
    ("letter", "go on"): "do again what failed, and what was undone because of it",
    ("letter", "undo"): "undo what can be undone; the run fails",
    ("letter", "leave"): "what stands is left so; the run fails",
    ("doubt", "done"): "it happened, and this came of it",
    ("doubt", "not-done"): "it did not happen",
    ("doubt", "redrive"): "send it again under the same key",
    ("doubt", "abandon"): _GIVE_UP,
    ("diverged", "resume"): "the code asks again for what is recorded",
    ("broken", "resume"): "the code is mended",
    ("poison", "resume"): "what killed the workers is mended",
}
"""By kind of entry and decision, what the decision means."""


@dataclass(frozen=True)
class Way:
    """One command that decides an entry, and what that means."""

    command: str
    means: str = ""


def ways(entry: Waiting) -> list[Way]:
    """Return the commands that decide an entry, each as it is typed."""
    kind = "undo letter" if entry.kind == "letter" and "fail" not in entry.decisions and "redrive" in entry.decisions else entry.kind
    found: list[Way] = []
    for decision in entry.decisions:
        means = _GIVE_UP if decision == "cancel" else _MEANS.get((kind, decision), "")
        command = f"chargehand {how(entry, decision)}"
        if (kind, decision) == ("undo letter", "done"):
            command = command.replace(" JSON", " null")  # nothing comes of an undo
        found.append(Way(command, means))
        path = entry.shows.get("path") if (kind, decision) == ("diverged", "resume") else None
        if path:
            found.append(
                Way(
                    f"{command} --accept {quoted(str(path))}",
                    "go on with the code as it is now: what this call gave is kept; what was never sent is asked for anew",
                )
            )
    return found


def told(entry: Waiting, as_: str = "") -> list[str]:
    """Return a line for each way: the command with who decides, and behind a # what it means."""
    found = [(f"{way.command}{as_}", way.means) for way in ways(entry)]
    width = max((len(command) for command, _ in found), default=0)
    return [f"{command:{width}}  # {means}" if means else command for command, means in found]


def verb(entry: Waiting, decision: str) -> str:
    """Return the command that makes a decision, without what it is given."""
    pattern = _EDITS.get(entry.kind, _COMMANDS["edit"]) if decision == "edit" else _COMMANDS.get(decision, decision)
    return " ".join(word for word in pattern.split() if word not in ("{id}", "{run}", "JSON", "--reason", "TEXT"))


def how(entry: Waiting, decision: str) -> str:
    """Return the command that makes a decision on an entry."""
    pattern = _EDITS.get(entry.kind, _COMMANDS["edit"]) if decision == "edit" else _COMMANDS.get(decision, decision + " {id}")
    return pattern.format(id=quoted(entry.id), run=quoted(entry.run_id))


def quoted(word: str) -> str:
    """Return a word as a shell takes it, without terminal control."""
    safe = one_line(word)
    return safe if safe and all(char.isalnum() or char in "-_./:@~#" for char in safe) else "'" + safe.replace("'", "'\\''") + "'"


def article(noun: str) -> str:
    """Return a kind of entry with its article."""
    if noun in ("diverged", "broken", "poison"):
        return f"a run that is parked as {noun}"
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"
