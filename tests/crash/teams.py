"""Agents of the catalogue: scripted crews with rejections, effects, people and votes, in one catalogue of their own.

The scripts know nothing but their arguments and their feedback, so an attempt that is run again after a crash says the
same, as a journaled model call would.
"""

from __future__ import annotations

from chargehand import (
    Answer,
    Clarify,
    Decision,
    Done,
    Edit,
    Failure,
    Feedback,
    Reject,
    Rejected,
    Release,
    Retry,
    Waiting,
    agent,
    escalate,
    fall_back,
    gate,
    gather,
    give_up,
    human,
    injected,
    quorum,
    reassign,
    retry,
    sleep,
    workflow,
)

from .example import Example
from .people import approvers
from .tools import charge, note, order, post, search, ship
from .undoing import abandon
from .world import Fact, World


def attempt_of(feedback: Feedback | None) -> int:
    """Return which attempt this is."""
    return 1 if feedback is None else feedback.attempt


@gate(name="finished", detects="FM-3.1")
def finished(output: str) -> None:
    """Reject what is only a draft."""
    if output.startswith("draft"):
        raise Rejected(f"{output!r} is a draft")


@gate(name="looked at", costly=True)
async def looked_at(output: str) -> None:
    """Reject, after some thought, what is unpolished."""
    if output.startswith("unpolished"):
        raise Rejected(f"{output!r} is unpolished")


# -- effects belong to the released output ----------


@agent(role="Buys one thing. Never pays twice.", uses=[search, charge, ship, post], gates=[finished], name="buyer")
async def buyer(what: str, feedback: Feedback | None = None) -> str:
    """Its first two attempts buy the wrong things, of which the third keeps one."""
    found = await search(what)
    match attempt_of(feedback):
        case 1:
            await charge(f"{what} wrong")
            await post(f"{what} wrong")
            return f"draft {found[1]}"
        case 2:
            await ship(f"{what} wrong")
            await charge(f"{what} right")
            return f"draft {found[2]}"
    receipt = await charge(f"{what} right")
    await charge(f"{what} right")  # an equal ask of one agent is one doing
    return f"bought {receipt}"


@workflow(name="buying")
async def buying() -> list[str]:
    """What rejected attempts did and the released one does not stand on is undone before release."""
    return [await note("before"), await buyer("lamp"), await charge("after")]


@workflow(name="buying together")
async def buying_together() -> list[str]:
    """Two of them at the same time."""
    return list(await gather(buyer("desk"), buyer("chair")))


@agent(role="Gives up.", uses=[charge, ship], gates=[finished], ladder=[retry(2), give_up()], name="quitter")
async def quitter(what: str, feedback: Feedback | None = None) -> str:
    await charge(f"{what} {attempt_of(feedback)}")
    await ship(f"{what} {attempt_of(feedback)}")
    return "draft for ever"


@agent(role="Falls back.", uses=[charge], gates=[finished], ladder=[retry(1), fall_back("nothing")], name="modest")
async def modest(what: str, feedback: Feedback | None = None) -> str:
    await charge(f"{what} modest")
    return "draft"


@workflow(name="giving up")
async def giving_up() -> list[str]:
    """A ladder that ends without a release keeps nothing."""
    try:
        first = await quitter("vase")
    except Rejected:
        first = "given up"
    return [first, await modest("bowl"), await charge("cup")]


# -- ladders, people and votes ----------


@agent(role="Helps out.", uses=[charge], family="b", name="helper")
async def helper(what: str, feedback: Feedback | None = None) -> str:
    return f"helped {await charge(f'{what} helped')}"


@agent(role="Says yes.", family="d", name="yes-sayer")
async def yes_sayer(output: str) -> bool:
    return True


@agent(role="Says no.", family="c", name="no-sayer")
async def no_sayer(output: str) -> bool:
    return False


@agent(
    role="Needs help.",
    uses=[charge],
    family="a",
    gates=[finished, looked_at, quorum(2, of=[yes_sayer, no_sayer, yes_sayer])],
    ladder=[retry(2), reassign(helper)],
    name="climber",
)
async def climber(what: str, feedback: Feedback | None = None) -> str:
    number = attempt_of(feedback)
    await charge(f"{what} {number}")
    return f"draft {number}" if number == 1 else f"unpolished {number}"


@workflow(name="climbing")
async def climbing() -> str:
    """Quick gate, costly gate, another agent, votes."""
    return await climber("rope")


@agent(role="Is corrected.", uses=[charge], gates=[finished], ladder=[retry(1), escalate(to="editor")], name="writer")
async def writer(what: str, feedback: Feedback | None = None) -> str:
    return f"draft {await charge(what)}"


@agent(role="Is looked at.", gates=[human(role="editor")], ladder=[retry(3), give_up()], name="shy")
async def shy(what: str, feedback: Feedback | None = None) -> str:
    return f"{what} {attempt_of(feedback)}"


@agent(role="Asks.", uses=[charge], done=[Done("it is done"), "it is told"], name="asker")
async def asker(what: str, feedback: Feedback | None = None) -> str | Clarify:
    if feedback is None or not feedback.answers:
        return Clarify(f"Which {what}?")
    return await charge(f"{what} {feedback.answers[-1][1]}")


@workflow(name="escalating")
async def escalating() -> list[str]:
    """People release, edit, reject and answer."""
    return [await writer("release me"), await writer("edit me"), await shy("me"), await asker("one")]


def editors(entry: Waiting, world: World) -> Decision | None:
    """Release one, edit one (first into something that the gates refuse), reject a first version, answer a question."""
    if entry.kind == "question":
        return Answer("the blue one")
    if entry.kind != "escalation":
        return None
    output = str(entry.shows["output"])
    if "edit me" in output:
        return Edit("draft of the editor")
    if output == "draft of the editor":
        return Edit("the editor's own", reason="better so")
    if output == "me 1":
        return Reject("not like this")
    return Release("good enough")


# -- waiting inside, trouble inside ----------


@agent(role="Asks before it buys.", uses=[order, charge, search], gates=[finished], timeout=30.0, name="asks-first")
async def asks_first(what: str, feedback: Feedback | None = None) -> str:
    """Two approvals in each attempt; the first attempt is rejected."""
    await search(what)
    bought = [await order(f"{ref} {what}", 5) for ref in ("good", "better")]
    return f"draft {bought}" if attempt_of(feedback) == 1 else f"bought {what}"


@workflow(name="asking first")
async def asking_first() -> str:
    """A wait inside an agent is held, and what was approved is carried out once, whoever asks again for it."""
    return await asks_first("shoes")


@agent(role="Stumbles.", uses=[charge, ship, post], retry_errors=Retry(attempts=3, first=10.0), name="stumbler")
async def stumbler(what: str, feedback: Feedback | None = None, world: World = injected()) -> str:
    """Its effects are refused, lost and in doubt; its model fails once."""
    await charge(f"{what} busy")
    await ship(f"{what} lost")
    await post(f"{what} lost")
    await world.ran("model")
    return f"{what} done"


@workflow(name="stumbling")
async def stumbling() -> str:
    """An attempt that failed by an error is made again; what it did stands, and is not done again."""
    return await stumbler("shop")


STUMBLING_TROUBLES = {
    ("charge", "shop busy"): ("busy", "refused"),
    ("ship", "shop lost"): ("lost",),
    ("post", "shop lost"): ("lost",),
    ("step", "model"): ("broken", "broken"),
}


@agent(role="Leads.", uses=[buyer, charge], name="leader")
async def leader(what: str, feedback: Feedback | None = None) -> str:
    """Uses another agent as a tool."""
    bought = await buyer(what)
    await charge(f"fee for {what}")
    return f"led: {bought}"


@workflow(name="leading")
async def leading() -> str:
    """An agent inside an agent; then everything is taken back."""
    led = await leader("sofa")
    try:
        await charge("impossible")
    except Failure:
        return led
    return "no"


@workflow(name="cancelled crew")
async def cancelled_crew() -> str:
    """Somebody cancels while an agent is at work."""
    await charge("crew 1")
    bought = await buyer("bed")
    await sleep(500)
    return bought


TEAMS: dict[str, Example] = {
    "buying": Example(lambda: buying()),
    "buying together": Example(lambda: buying_together(), ordered=False),
    "giving up": Example(lambda: giving_up()),
    "climbing": Example(lambda: climbing()),
    "escalating": Example(lambda: escalating(), people=editors),
    "asking first": Example(lambda: asking_first(), people=approvers),
    "stumbling": Example(lambda: stumbling(), STUMBLING_TROUBLES),
    "leading": Example(lambda: leading(), {("charge", "impossible"): ("never",)}, abandon),
    "cancelled crew": Example(
        lambda: cancelled_crew(), cancel_when=Fact("happened", "ship", "bed wrong"), gross_varies=True, ordered=False
    ),
}
