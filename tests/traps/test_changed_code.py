"""Traps of deploys: what a new version does to runs that wait."""

from __future__ import annotations

import pytest

from chargehand import Approve
from chargehand.testing import Supervised

from .deploy import deployed

PROGRAM = '''
from chargehand import Approval, agent, effect, read, wait_signal, workflow

async def take_back(what: str) -> None: ...

@effect(undo=take_back, approve=True)
async def order(what: str) -> str:
    """Order something."""
    return what

@read
async def look(what: str) -> str:
    return what

@agent(role="Looks.", uses=[look])
async def scout(what: str) -> str:
    return await look(what)

@workflow
async def buys() -> str:
    found = await scout("bolts")
    return await order(found)
'''

DEPLOYS = {
    "a comment": PROGRAM.replace("    found =", "    # look first\n    found ="),
    "another docstring of the module": '"""Buys things."""\n' + PROGRAM,
    "a new function": PROGRAM + "\n\ndef unused() -> int:\n    return 1\n",
    "another role": PROGRAM.replace("Looks.", "Looks carefully."),
    "a gate": PROGRAM.replace("uses=[look])", "uses=[look], gates=[lambda found: None])"),
    "a timeout": PROGRAM.replace("@read\n", "@read(timeout=30)\n"),
    "another order of definitions": PROGRAM.replace("async def take_back", "VERSION = 2\n\nasync def take_back"),
    "a later step": PROGRAM.replace(
        "return await order(found)", "ordered = await order(found)\n    await look(ordered)\n    return ordered"
    ),
}


@pytest.mark.parametrize("change", list(DEPLOYS))
async def test_a_deploy_that_asks_for_the_same_strands_nobody(supervised: Supervised, change: str) -> None:
    """druks #619 (a version that was the hash of the whole source) and moira #202 (tags only): every deploy killed every paused run."""
    run = await supervised.start(deployed(PROGRAM).buys())
    (entry,) = await supervised.waiting()
    await supervised.restart([deployed(DEPLOYS[change]).buys])
    await supervised.decide("approval", Approve(), shown=entry.digest)
    assert await run.result() == "bolts"


async def test_a_run_that_waits_does_not_block_a_deploy(supervised: Supervised) -> None:
    """temporal documentation #3942: pinned runs kept old workers alive; here the old process leaves and the new one takes over."""
    run = await supervised.start(deployed(PROGRAM).buys())
    await supervised.rest()
    owner = (await run.row()).owner
    await supervised.restart([deployed(DEPLOYS["a later step"]).buys])
    await supervised.decide("approval", Approve())
    assert await run.result() == "bolts"
    assert (await run.row()).owner != owner
