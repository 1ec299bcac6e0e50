"""The test kit: supervised runs in memory, with time that jumps, people who are played, and crashes on demand.

With pytest there is the fixture `supervised`; without, ``async with Supervised() as supervised``.
"""

from chargehand.testing.clock import JumpingClock
from chargehand.testing.faults import POINTS, Crashed
from chargehand.testing.ledger import Line
from chargehand.testing.plays import Play
from chargehand.testing.scripts import Script, ScriptEnded, always, scripted
from chargehand.testing.supervised import Supervised, SupervisedRun
from chargehand.testing.world import Stuck

__all__ = [
    "POINTS",
    "Crashed",
    "JumpingClock",
    "Line",
    "Play",
    "Script",
    "ScriptEnded",
    "Stuck",
    "Supervised",
    "SupervisedRun",
    "always",
    "scripted",
]
