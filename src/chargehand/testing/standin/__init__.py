"""A stand-in for a model's HTTP endpoint: OpenAI's API on loopback, played from a script. It is no model.

It needs the extra ``testing``. With pytest there is the fixture `model_stand_in`; for other processes
``python -m chargehand.testing.standin SCRIPT.json``.
"""

from chargehand.testing.standin.desk import Served
from chargehand.testing.standin.script import (
    FAULTS,
    Fault,
    FaultPlan,
    ModelScript,
    Reply,
    ScriptUnfit,
    ToolUse,
    When,
    calls,
    fails,
    gives,
    refuses,
    says,
)
from chargehand.testing.standin.server import ModelStandIn

__all__ = [
    "FAULTS",
    "Fault",
    "FaultPlan",
    "ModelScript",
    "ModelStandIn",
    "Reply",
    "ScriptUnfit",
    "Served",
    "ToolUse",
    "When",
    "calls",
    "fails",
    "gives",
    "refuses",
    "says",
]
