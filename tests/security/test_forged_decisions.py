"""Forged and replayed decisions: written by the wrong person, for another call, twice, changed on the way, or past the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargehand import Approval, Approve, Denied, DoneByHand, Person, Reject, Supervisor, effect, injected, workflow
from chargehand.config import hash_secret
from chargehand.durable import MailKind, NewMail
from chargehand.errors import WrongChainKey
from chargehand.supervise.seals import sealed
from chargehand.testing import Supervised, SupervisedRun

from .conftest import Command

PAID: list[tuple[int, str]] = []
KEY = b"a key that only the processes of this journal have"


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests paid."""
    PAID.clear()


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, approve=True)
async def pay(amount: int, to: str = "acme", idempotency_key: str = injected()) -> str:
    PAID.append((amount, to))
    return f"paid {amount}"


@effect(undo=take_back, approve=Approval(role="cfo", not_starter=True))
async def pay_much(amount: int, idempotency_key: str = injected()) -> str:
    PAID.append((amount, "much"))
    return f"paid {amount}"


@workflow
async def pays(amount: int) -> str:
    return await pay(amount)


@workflow
async def pays_much(amount: int) -> str:
    return await pay_much(amount)


PETRA = {"id": "petra", "roles": []}
CFO = {"id": "anna", "roles": ["cfo"]}


def decision(entry: str, name: str = "approve", by: Mapping[str, Any] = PETRA, **more: Any) -> dict[str, Any]:
    """Return the body of a decision as a worker reads it from the mailbox."""
    return {"entry": entry, "decision": name, "value": None, "reason": None, "by": dict(by), "shown": None, **more}


async def left(supervised: Supervised, run: SupervisedRun[Any], body: Mapping[str, Any], kind: MailKind = "decision") -> None:
    """Leave mail past the supervisor, as a client with access to the journal can, and let it be read."""
    await supervised.world.journal.post([NewMail(run.id, kind, body, supervised.clock.now())])
    assert supervised.supervisor.carrier is not None
    supervised.supervisor.carrier.mail_for((await run.row()).number)
    await supervised.rest()


async def ignored(run: SupervisedRun[Any]) -> list[str]:
    """Return why mail of a run was ignored."""
    return [event.payload["why"] for event in await run.events() if event.type == "mail.ignored"]


async def waiting(supervised: Supervised, call: Any, **options: Any) -> SupervisedRun[Any]:
    """Start a run and let it wait for its approval."""
    run = await supervised.start(call, **options)
    await supervised.rest()
    return run


# -- spent twice, used elsewhere ----------


async def test_a_decision_that_is_left_twice_counts_once(supervised: Supervised) -> None:
    """A replayed approval finds nothing that waits, and nothing is done a second time."""
    run = await waiting(supervised, pays(5))
    body = decision((await run.waiting())[0].id)
    await supervised.world.journal.post([NewMail(run.id, "decision", body, supervised.clock.now())] * 2)
    await left(supervised, run, body)
    assert await run.result() == "paid 5"
    assert PAID == [(5, "acme")]


async def test_a_decision_for_one_run_is_none_in_another(supervised: Supervised) -> None:
    """An approval's mail copied to another run's mailbox is ignored: its entry belongs to the first."""
    first = await waiting(supervised, pays(5))
    second = await waiting(supervised, pays(500))
    await left(supervised, second, decision((await first.waiting())[0].id))
    assert PAID == []
    assert "waits any more" in (await ignored(second))[0]


async def test_a_decision_about_another_sight_is_ignored(supervised: Supervised) -> None:
    """The digest of a cheap call does not approve a dear one."""
    cheap = await waiting(supervised, pays(5))
    dear = await waiting(supervised, pays(500))
    body = decision((await dear.waiting())[0].id, shown=(await cheap.waiting())[0].digest)
    await left(supervised, dear, body)
    assert PAID == []
    assert "what was shown" in (await ignored(dear))[0]


async def test_arguments_edited_after_the_approval_do_not_run(supervised: Supervised) -> None:
    """An edit that is left behind an approval finds nothing that waits; what was approved runs as it was approved."""
    run = await waiting(supervised, pays(5))
    entry = (await run.waiting())[0].id
    await supervised.world.journal.post([NewMail(run.id, "decision", decision(entry), supervised.clock.now())])
    await left(supervised, run, decision(entry, "edit", value={"amount": 5000, "to": "eve"}))
    assert await run.result() == "paid 5"
    assert PAID == [(5, "acme")]


async def test_a_list_that_shows_something_else_approves_nothing(supervised: Supervised) -> None:
    """Somebody changes what the list of what waits shows: the driver holds it against the events, and ignores the decision."""
    run = await waiting(supervised, pays(500))
    journal = supervised.world.journal
    entry = (await run.waiting())[0]
    innocent = replace(entry, shows={**entry.shows, "arguments": {"amount": 1, "to": "acme"}})
    journal._store.waiting[entry.id] = innocent
    assert (await run.waiting())[0].shows["arguments"]["amount"] == 1
    await left(supervised, run, decision(entry.id, shown=entry.digest))
    assert PAID == []
    assert "somebody has changed it" in (await ignored(run))[0]


# -- by whom ----------


@pytest.mark.parametrize("by", [PETRA, {"id": "petra", "roles": ["CFO"]}, {"id": "cfo", "roles": []}, {}])
async def test_who_lacks_the_role_decides_nothing(supervised: Supervised, by: dict[str, Any]) -> None:
    """Also past the supervisor: the driver looks at the role again, exactly."""
    run = await waiting(supervised, pays_much(5))
    await left(supervised, run, decision((await run.waiting())[0].id, by=by))
    assert PAID == []
    assert "does not have the role" in (await ignored(run))[0]


async def test_a_role_taken_off_the_list_is_still_wanted(supervised: Supervised) -> None:
    """The role comes from the effect's code; the list of what waits only shows it."""
    run = await waiting(supervised, pays_much(5))
    journal, entry = supervised.world.journal, (await run.waiting())[0]
    journal._store.waiting[entry.id] = replace(entry, role=None)
    await left(supervised, run, decision(entry.id))
    assert PAID == []
    assert "does not have the role 'cfo'" in (await ignored(run))[0]


@pytest.mark.parametrize("name", ["approve", "edit", "done"])
async def test_the_starter_decides_nothing_of_it(supervised: Supervised, name: str) -> None:
    """Where starter and approver must be two, the starter neither approves, nor edits, nor says that it is done."""
    run = await waiting(supervised, pays_much(5), by="anna")
    value = {"edit": {"amount": 6}, "done": "paid 5"}.get(name)
    await left(supervised, run, decision((await run.waiting())[0].id, name, CFO, value=value))
    assert PAID == []
    assert len(await run.waiting()) == 1
    assert "started the run" in (await ignored(run))[0]


async def test_the_starter_may_say_no(supervised: Supervised) -> None:
    """Refusing one's own run needs no second pair of eyes."""
    run = await waiting(supervised, pays_much(5), by="anna")
    await left(supervised, run, decision((await run.waiting())[0].id, "reject", CFO, reason="my mistake"))
    with pytest.raises(Denied, match="my mistake"):
        await run.result()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"entry": 7, "decision": "approve"},
        {"entry": ["x"], "decision": "approve", "by": PETRA},
        {"decision": "approve", "by": PETRA, "entry": "ENTRY", "value": {"amount": {}}} | {"decision": "edit"},
        {"entry": "ENTRY", "decision": {"approve": True}, "by": PETRA},
        {"entry": "ENTRY", "decision": ["approve"], "by": PETRA},
        {"entry": "ENTRY", "decision": "approve", "by": "petra"},
        {"entry": "ENTRY", "decision": "approve", "by": ["cfo"]},
        {"entry": "ENTRY", "decision": "resume", "by": PETRA},
        {"entry": "ENTRY", "decision": "fail", "by": PETRA},
    ],
)
async def test_what_is_no_decision_changes_nothing(supervised: Supervised, body: dict[str, Any]) -> None:
    """Malformed mail is ignored with the reason; the call waits as it was, and the next decision counts."""
    run = await waiting(supervised, pays(5))
    entry = (await run.waiting())[0].id
    await left(supervised, run, {**body, "entry": entry if body.get("entry") == "ENTRY" else body.get("entry")})
    assert PAID == []
    assert len(await ignored(run)) == 1
    await supervised.decide(entry, Approve())
    assert await run.result() == "paid 5"


# -- with a key ----------


async def sealed_journal(supervised: Supervised, call: Any, **options: Any) -> SupervisedRun[Any]:
    """Start a run on a journal with a key."""
    await supervised.rest()
    supervised.supervisor.journal.chain_key = KEY
    return await waiting(supervised, call, **options)


async def test_without_a_key_mail_is_believed(supervised: Supervised) -> None:
    """Said, not mended: who may write the journal's file may claim any role, and the event records what was claimed."""
    run = await waiting(supervised, pays_much(5))
    await left(supervised, run, decision((await run.waiting())[0].id, by=CFO))
    assert PAID == [(5, "much")]


async def test_with_a_key_mail_needs_its_seal(supervised: Supervised) -> None:
    """A client that writes into the mailbox without the key decides nothing, whatever role it claims."""
    run = await sealed_journal(supervised, pays_much(5))
    entry = (await run.waiting())[0].id
    for seal in ({}, {"seal": ""}, {"seal": 0}, {"seal": "0" * 64}):
        await left(supervised, run, {**decision(entry, by=CFO), **seal})
    for kind in ("cancel", "signal", "resume"):
        await left(supervised, run, {"name": "go", "reason": "mine", "by": "anna"}, kind)  # type: ignore[arg-type]
    assert PAID == []
    assert len(await run.waiting()) == 1
    assert {why.partition(":")[0] for why in await ignored(run)} == {"it does not bear the seal of the journal's key"}
    assert len(await ignored(run)) == 7


async def test_who_has_the_key_decides_as_before(supervised: Supervised) -> None:
    """The supervisor seals by itself, and unsealed mail of others does not stand in its way."""
    run = await sealed_journal(supervised, pays_much(5))
    entry = (await run.waiting())[0].id
    await supervised.world.journal.post([NewMail(run.id, "decision", decision(entry, "reject", CFO), supervised.clock.now())])
    await supervised.supervisor.decide(entry, Approve(), by=Person("anna", "cfo"))
    assert await run.result() == "paid 5"


@pytest.mark.parametrize("key", [b"", b"another key than it was begun with"])
async def test_who_has_another_key_is_refused_before_anything_is_left(supervised: Supervised, key: bytes) -> None:
    """A host application without the journal's key learns it at once; its words do not lie in the mailbox to be ignored."""
    run = await sealed_journal(supervised, pays_much(5))
    entry = (await run.waiting())[0].id
    journal = supervised.supervisor.journal
    journal.chain_key = key
    host = Supervisor("memory:", journal=journal, clock=supervised.clock, work=False)
    for said in (host.decide(entry, Reject("no"), by=Person("anna", "cfo")), host.signal(run.id, "go"), host.cancel(run.id)):
        with pytest.raises(WrongChainKey):
            await said
    assert await journal.mail([(await run.row()).number]) == []


@pytest.mark.parametrize("change", [{"by": {"id": "eve", "roles": ["cfo"]}}, {"decision": "edit", "value": {"amount": 9}}, {"reason": "x"}])
async def test_a_sealed_letter_cannot_be_changed(supervised: Supervised, change: dict[str, Any]) -> None:
    """The seal covers who, what and why."""
    run = await sealed_journal(supervised, pays_much(5))
    now = supervised.clock.now()
    body = sealed(KEY, run.id, "decision", now, decision((await run.waiting())[0].id, by=CFO))
    await supervised.world.journal.post([NewMail(run.id, "decision", {**body, **change}, now)])
    await left(supervised, run, {}, "signal")
    assert PAID == []


async def test_a_sealed_letter_belongs_to_its_run_and_time(supervised: Supervised) -> None:
    """Copied to another run, made another kind, or given another time, it is no letter of who has the key."""
    run = await sealed_journal(supervised, pays_much(5))
    entry, now = (await run.waiting())[0].id, supervised.clock.now()
    for body, kind, time in (
        (sealed(KEY, "another", "decision", now, decision(entry, by=CFO)), "decision", now),
        (sealed(KEY, run.id, "signal", now, decision(entry, by=CFO)), "decision", now),
        (sealed(KEY, run.id, "decision", now, decision(entry, by=CFO)), "decision", now - 1),
        (sealed(KEY + b"!", run.id, "decision", now, decision(entry, by=CFO)), "decision", now),
    ):
        await supervised.world.journal.post([NewMail(run.id, kind, body, time)])  # type: ignore[arg-type]
    await left(supervised, run, {}, "signal")
    assert PAID == []
    assert len(await ignored(run)) == 5


# -- on the command line ----------


@pytest.fixture
def people(shop: Command) -> None:
    """Configure somebody with a role and somebody without, and leave a question for the role."""
    hashed = hash_secret("correct horse", n=2**8)
    Path("chargehand.toml").write_text(
        f'[principals.eve]\nroles = ["boss"]\nsecret = "{hashed}"\n[principals.bob]\nroles = []\nsecret = "{hashed}"\n'
    )
    shop("ask", "Now?", id="q-1")


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("secret", ["", "wrong horse", "correct horse ", "Correct horse"])
def test_a_wrong_secret_decides_nothing(cli: Command, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Nothing but the secret itself is the secret, and what was tried is not shown."""
    monkeypatch.setenv("CHARGEHAND_SECRET", secret)
    said = cli("answer", "q-1", "true", "--as", "eve")
    assert said.status == 7
    assert cli("inbox", "--json").json["waiting"] != []
    assert not secret or secret not in said.out + said.err


@pytest.mark.usefixtures("people")
def test_roles_come_from_the_configuration_only(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """No option, no variable and no name gives a role: who has none in the file has none."""
    monkeypatch.setenv("CHARGEHAND_SECRET", "correct horse")
    assert "does not have the role 'boss'" in cli("answer", "q-1", "true", "--as", "bob").err
    assert cli("answer", "q-1", "true", "--as", "bob", "--role", "boss").status == 2
    monkeypatch.setenv("CHARGEHAND_ROLES", "boss")
    said = cli("answer", "q-1", "true", "--as", "bob")
    assert (said.status, "CHARGEHAND_ROLES" in said.err) == (2, True)


@pytest.mark.parametrize("variable", ["USER", "LOGNAME", "LNAME", "USERNAME"])
def test_who_is_logged_in_is_not_what_a_variable_says(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Where no principals are configured, who decides is whose process it is: everybody can set variables."""
    shop("pay", 500, id="p-1")
    monkeypatch.setenv(variable, "the-chief")
    cli("approve", "p-1")
    shop("pay", 500, id="p-1")
    approved = next(event for event in cli("show", "p-1", "--json").json["events"] if event["type"] == "effect.approved")
    assert approved["payload"]["by"]["id"] != "the-chief"
    assert approved["payload"]["by"]["vouched_by"] == "login"


async def test_done_by_hand_needs_the_role_too(supervised: Supervised) -> None:
    """Saying that it is done is a decision like the others."""
    run = await waiting(supervised, pays_much(5))
    await left(supervised, run, decision((await run.waiting())[0].id, "done", value="paid 5"))
    assert len(await run.waiting()) == 1
    await supervised.decide("approval", DoneByHand("paid by cheque"), by=Person("anna", "cfo"))
    assert await run.result() == "paid by cheque"
