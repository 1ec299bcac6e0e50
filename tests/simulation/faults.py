"""The faults of one seed, as data: what dies, stands still, is refused or set wrong, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


class Death(BaseException):
    """The process is gone: raised in the handle that was running, and never seen by any other."""


@dataclass
class Faults:
    """What goes wrong in one seed. Points are counted over all processes; times are seconds after the start.

    `deaths` are the points at which a process dies, `freezes` those after which one stands still, for how long.
    `freeze_at` names a point after which every process stands still, and for how long. `refusals` are the appends that are refused ("before") or carried out without an answer ("lost"). `steps` set the
    wall clock. `leaves` are times at which a worker is told to leave in good order. `latency` is how likely the journal
    takes its time.
    """

    workers: int = 1
    runs: int = 1
    latency: float = 0.0
    trouble: float = 0.0
    lies: float = 0.0
    deaths: set[int] = field(default_factory=set)
    freezes: dict[int, float] = field(default_factory=dict)
    freeze_at: tuple[str, float] | None = None
    refusals: dict[int, str] = field(default_factory=dict)
    late_answers: dict[int, float] = field(default_factory=dict)
    steps: list[tuple[float, float]] = field(default_factory=list)
    leaves: list[float] = field(default_factory=list)
    cancels: list[tuple[float, int]] = field(default_factory=list)
    deadline: float | None = None
    keep_loaded: int = 1000
    poll: float = 5.0
    calm_after: float = 3000.0
    meddling: float = 0.1
    votes_against: float = 0.15
    diligence: float = 0.5

    def __str__(self) -> str:
        shown = [f"{name}={getattr(self, name)}" for name in self.__dataclass_fields__]
        return "  " + "\n  ".join(shown)


def faults_of(dice: Random) -> Faults:
    """Return the faults of a seed. Most seeds have few kinds of them: what is found is then easier to read."""
    kinds = {name for name in ("deaths", "freezes", "refusals", "late", "steps", "leaves", "cancels", "lies") if dice.random() < 0.3}
    faults = Faults(
        workers=dice.choice([1, 1, 2, 2, 3]),
        runs=dice.choice([1, 1, 1, 2, 2, 3]),
        latency=dice.choice([0.0, 0.1, 0.4]),
        trouble=dice.choice([0.0, 0.1, 0.3, 0.5]),
        keep_loaded=dice.choice([1000, 1000, 1, 0]),
        poll=dice.choice([2.0, 15.0, 40.0]),
        calm_after=dice.choice([500.0, 3000.0]),
        meddling=dice.choice([0.0, 0.1, 0.4]),
        votes_against=dice.choice([0.0, 0.15, 0.4]),
        diligence=dice.choice([0.5, 0.5, 0.05]),
    )
    if "deaths" in kinds:
        faults.deaths = {int(dice.expovariate(1 / 60)) for _ in range(dice.randint(1, 5))}
    if "freezes" in kinds:
        faults.freezes = {int(dice.expovariate(1 / 60)): dice.choice([5.0, 70.0, 200.0, 900.0]) for _ in range(dice.randint(1, 3))}
        faults.workers = max(faults.workers, 2)
        if dice.random() < 0.5:
            faults.freeze_at = (dice.choice(["after still mine", "after claim", "after intent", "after undo intent"]), 100.0)
    if "refusals" in kinds:
        faults.refusals = {int(dice.expovariate(1 / 25)): dice.choice(["before", "lost"]) for _ in range(dice.randint(1, 4))}
    if "late" in kinds:
        faults.late_answers = {int(dice.expovariate(1 / 25)): dice.choice([3.0, 50.0, 130.0]) for _ in range(dice.randint(1, 4))}
    if "steps" in kinds:
        faults.steps = sorted((dice.uniform(0, 1500), dice.choice([-900.0, -30.0, 30.0, 700.0, 4000.0])) for _ in range(dice.randint(1, 3)))
    if "leaves" in kinds:
        faults.leaves = sorted(dice.uniform(0, 600) for _ in range(dice.randint(1, 3)))
    if "cancels" in kinds:
        faults.cancels = [(dice.expovariate(1 / 120), dice.randrange(faults.runs)) for _ in range(dice.randint(1, 2))]
    if "lies" in kinds and dice.random() < 0.3:
        faults.lies = 0.5
    if dice.random() < 0.1:
        faults.deadline = dice.choice([60.0, 400.0, 2000.0])
    return faults
