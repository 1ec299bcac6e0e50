"""The idea of Chargehand in under a hundred lines: an event log, replay, a gate, and an effect ledger with undo.

    python docs/mini.py run.jsonl

Kill it anywhere and start it again with the same file: finished calls are read from the log, the effect in flight is
sent again under the same key, and a failed run is rolled back. Chargehand is this with branches, people, doubt and time.
"""

import json
import os
import sys
from pathlib import Path


class Rejected(Exception):
    """The gate let nothing through; the run fails and is rolled back."""


class Run:
    """A run is its log. Each call is known by its name and by how often that name was called."""

    def __init__(self, path):
        self.path, self.counts, self.undos = Path(path), {}, {}
        self.path.touch()
        whole, newline, _ = self.path.read_text().rpartition("\n")  # a kill may have cut the last line short
        os.truncate(path, len((whole + newline).encode()))
        self.events = [json.loads(line) for line in whole.splitlines()]

    def append(self, kind, call, **more):
        """Return when the event is on disk: only then may anything depend on it."""
        event = {"kind": kind, "call": call, **more}
        with self.path.open("a") as log:
            log.write(json.dumps(event) + "\n")
            log.flush()
            os.fsync(log.fileno())
        self.events.append(event)

    def find(self, call, kind):
        return [event for event in self.events if event["call"] == call and event["kind"] == kind]

    def path_of(self, function):
        self.counts[function.__name__] = number = self.counts.get(function.__name__, 0) + 1
        return f"{function.__name__}#{number}"

    def agent(self, function, *args, gate, attempts=3):
        """Give back the released output; else try, hold each output against the gate, and release the first that passes."""
        call = self.path_of(function)
        if released := self.find(call, "released"):
            return released[0]["value"]
        while len(rejected := self.find(call, "rejected")) < attempts:
            output = function(*args, feedback=rejected[-1]["why"] if rejected else None)
            if (why := gate(output)) is None:
                self.append("released", call, value=output)
                return output
            self.append("rejected", call, why=why)
        raise Rejected(f"{call}: {rejected[-1]['why']}")

    def effect(self, function, *args, undo):
        """Change the world once: the intent is on disk before it is tried, and every try has the same key."""
        call = self.path_of(function)
        self.undos[call] = undo
        if not self.find(call, "done"):
            if not self.find(call, "intended"):
                self.append("intended", call)
            self.append("done", call, value=function(*args, key=f"{self.path.name}/{call}"))
        return self.find(call, "done")[0]["value"]

    def supervise(self, workflow, *args):
        """Run the workflow from its start; whatever is recorded is given back. A failure undoes what is done, newest first."""
        try:
            return workflow(self, *args)
        except Rejected:
            for event in [event for event in reversed(self.events) if event["kind"] == "done"]:
                if not self.find(call := event["call"], "undone"):
                    self.undos[call](event["value"], key=f"{self.path.name}/{call}!undo")
                    self.append("undone", call)
            raise


def analyst(prices, feedback):
    return min(prices, key=prices.get) if feedback else "Duck & Sons"  # a stand-in that invents one at first


def place_order(supplier, key):
    print(f"ordered from {supplier} under {key}")
    return f"order at {supplier}"


def cancel_order(order, key):
    print(f"cancelled the {order} under {key}")


def procure(run, prices):
    best = run.agent(analyst, prices, gate=lambda name: None if name in prices else f"{name!r} made no offer.")
    return run.effect(place_order, best, undo=cancel_order)


if __name__ == "__main__":
    print(Run(sys.argv[1]).supervise(procure, {"Alder": 0.31, "Cedar": 0.22}))
