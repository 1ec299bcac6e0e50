"""The MCP server that clients see: it lists the tools of all servers, and hands each call to the run of the client's session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast, get_args

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from chargehand.durable import RunRow, Waiting
from chargehand.errors import DecisionRefused, RunConflict, UnknownEntry, UnknownRun
from chargehand.gateway.book import Again
from chargehand.gateway.conversation import UNDECIDED, error_result
from chargehand.gateway.desk import Conversation, Desk, Request, changed
from chargehand.gateway.lines import Line
from chargehand.gateway.settings import McpTable
from chargehand.gateway.tools import Tool, Toolbox
from chargehand.supervise.approvals import Person
from chargehand.supervise.decisions import Answer, Approve, Decision, Reject
from chargehand.supervise.definitions import EffectDefinition, WorkflowDefinition
from chargehand.supervisor import Supervisor

RUN, AGAIN, ENTRY = "chargehand/run", "chargehand/again", "chargehand/entry"
"""Keys of `_meta`: the run that is meant, whether a call is an earlier one again, and the entry that a reply is about."""

DECISION = "decision"
"""The name of the question to a client's user in a reply that asks one."""

DECIDED_SECONDS = 0.3
"""How long a call that was sent again waits before its client is told that a person is still waited for."""

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Whence:
    """Where a request comes from: the id of its session (None: it names none), whether it is followed by the next when it has ended, and the line."""

    session: str
    follow: bool
    line: Line


class Serving:
    """What answers the requests of clients.

    Args:
        supervisor: drives the runs.
        session: the workflow of sessions.
        toolbox: the tools.
        desk: what is waited for.
        whence_of: says where a request comes from.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        session: WorkflowDefinition[..., Any],
        toolbox: Toolbox,
        desk: Desk,
        whence_of: Callable[[Context], Whence],
        version: str,
    ) -> None:
        self._supervisor, self._session, self._toolbox, self._desk, self._whence_of = supervisor, session, toolbox, desk, whence_of
        self.server: Server[Any] = Server(desk.table.name, version=version, on_list_tools=self.list_tools)
        self.server.add_request_handler("tools/call", types.CallToolRequestParams, self.call_tool)

    @property
    def _table(self) -> McpTable:
        return self._desk.table

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """List the tools of all servers."""
        return types.ListToolsResult(tools=[tool.shown() for tool in self._toolbox.tools.values()])

    async def call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        """Have a tool called by the run of the client's session, and answer with what it gave, or that a person is waited for."""
        tool = self._toolbox.tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}. List the tools again.")
        arguments = params.arguments or {}
        whence = self._whence_of(ctx)
        talk = await self._talk(ctx, whence)
        again = _again(ctx)
        if params.request_state is not None and params.input_responses:
            await self._heard_back(ctx, talk, params.request_state, params.input_responses.get(DECISION))
            again = again or "same"
        with self._desk.request(talk) as waits:
            await self._desk.say(
                self._supervisor, talk, kind="call", request=waits.id, client=client_of(ctx), tool=tool.name, was=tool.kind,
                repeatable=tool.repeatable, arguments=arguments, again=again, refused=self._refused(tool, arguments),
            )  # fmt: skip
            result = await self._reply(ctx, talk, waits)
            if waits.answer is None:
                self._desk_lost(talk, waits)
            else:
                whence.line.owes(ctx.request_id, talk, waits.id)
        return _with_meta(result, {RUN: talk.run_id})

    @staticmethod
    def _desk_lost(talk: Conversation, waits: Request) -> None:
        """Note that the client was only told that a person is waited for: the reply is still owed to whoever asks again."""
        talk.mark("lost", waits.id)

    async def _talk(self, ctx: Context, whence: Whence) -> Conversation:
        named = (ctx.meta or {}).get(RUN)
        id = named if isinstance(named, str) else whence.session
        follow = whence.follow and not isinstance(named, str)
        try:
            return await self._desk.open(self._supervisor, self._session, id, client_of(ctx), follow=follow)
        except (RunConflict, UnknownRun) as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from None

    def _refused(self, tool: Tool, arguments: dict[str, Any]) -> str | None:
        """Say why a call is not made at all; nobody need be asked about it."""
        unfit = tool.unfit(tool.with_key(arguments, "0" * 40))
        if unfit is not None:
            return f"The arguments do not fit the schema of {tool.name}: {unfit}."
        definition = self._toolbox.definition(tool.name, tool.kind)
        environment = self._supervisor.environment
        if isinstance(definition, EffectDefinition) and not definition.allowed_in(environment):
            return f"{tool.name} may not be called in the environment {environment!r}."
        return None

    async def _reply(self, ctx: Context, talk: Conversation, waits: Request) -> dict[str, Any]:
        """Return what a call gave; or, when only a person can move it on whom the client does not ask, how that person does."""
        asked: set[str] = set()
        while True:
            row = await changed(self._supervisor, talk, waits)
            if waits.answer is not None:
                return waits.answer.result
            if row is not None:
                return error_result(_cannot(row, self._supervisor))
            entry = waits.entry
            if entry is None or entry.id in asked:
                continue
            if waits.joined and not asked and await self._decided_just_now(waits):
                waits.changed.set()
                continue
            asked.add(entry.id)
            if not await self._elicited(ctx, talk, waits, entry):
                if waits.answer is not None:
                    return waits.answer.result
                return _asked_back(entry) if self._may_ask_back(ctx, entry) else error_result(_waits(entry), **{ENTRY: entry.id})

    @staticmethod
    async def _decided_just_now(waits: Request) -> bool:
        """Give a decision that is on disk the time to be carried out: who sends a call again has often just decided about it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(waits.changed.wait(), DECIDED_SECONDS)
        return waits.entry is None or waits.answer is not None

    # -- people at the client ----------

    async def _elicited(self, ctx: Context, talk: Conversation, waits: Request, entry: Waiting) -> bool:
        """Have the client ask its user about an entry; say whether something was decided, by whomever."""
        if not self._may_elicit(ctx, entry):
            return False
        question = asyncio.ensure_future(ctx.session.elicit_form(_message(entry), _form(entry), related_request_id=ctx.request_id))
        answered = asyncio.ensure_future(waits.changed.wait())
        try:
            while not question.done():
                await asyncio.wait({question, answered}, return_when=asyncio.FIRST_COMPLETED)
                if waits.answer is not None or (talk.entries.get(waits.number or 0) != entry):
                    return True  # somebody else has decided meanwhile
                if answered.done():
                    waits.changed.clear()
                    answered = asyncio.ensure_future(waits.changed.wait())
            try:
                decision = _decision(entry, question.result())
            except (MCPError, ValueError):
                return False
            return decision is not None and await self._decide(ctx, entry, decision)
        finally:
            question.cancel()
            answered.cancel()

    async def _heard_back(self, ctx: Context, talk: Conversation, state: str, said: Any) -> None:
        """Take what a client's user decided about an entry of this session, where it came with the call that is sent again."""
        id, _, digest = state.rpartition(" ")
        entry = await self._supervisor.journal.entry(id)
        if entry is None or entry.run_id != talk.run_id or entry.digest != digest or not isinstance(said, types.ElicitResult):
            return  # it was decided meanwhile, or is another by now: the call itself says what is next
        decision = _decision(entry, said)
        if decision is not None and self._is_for_client(ctx, entry):
            await self._decide(ctx, entry, decision)

    def _may_elicit(self, ctx: Context, entry: Waiting) -> bool:
        return ctx.session.can_send_request and self._is_for_client(ctx, entry)

    def _may_ask_back(self, ctx: Context, entry: Waiting) -> bool:
        """Say whether the client is asked by the reply: in the protocol of 2026-07-28 a server sends no requests."""
        return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and self._is_for_client(ctx, entry)

    def _is_for_client(self, ctx: Context, entry: Waiting) -> bool:
        """Say whether the client's user may decide about an entry, and the client can ask."""
        if not self._table.elicit:
            return False
        if entry.kind != "approval" and entry.title != UNDECIDED:
            return False
        if entry.role is not None and entry.role not in self._table.roles:
            return False
        capability = types.ClientCapabilities(elicitation=types.ElicitationCapability())
        return ctx.session.check_client_capability(capability)

    async def _decide(self, ctx: Context, entry: Waiting, decision: Decision) -> bool:
        """Put down what a client says that its user decided; nothing proves that a person did."""
        by = Person(f"user of {client_of(ctx)}", self._table.roles, vouched_by="mcp elicitation")
        try:
            await self._supervisor.decide(entry, decision, by=by, shown=entry.digest)
        except (DecisionRefused, UnknownEntry):
            return False
        return True


def client_of(ctx: Context) -> str:
    """Return what a client calls itself."""
    params = ctx.session.client_params
    return "an MCP client" if params is None else f"{params.client_info.name} {params.client_info.version}".strip()


def _again(ctx: Context) -> Again | None:
    word = (ctx.meta or {}).get(AGAIN)
    if word is not None and word not in get_args(Again):
        raise MCPError(types.INVALID_PARAMS, f'_meta["{AGAIN}"] is "same" or "new", not {word!r}.')
    return cast(Again | None, word)


def _with_meta(result: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {"resultType": "complete", **result, "_meta": {**result.get("_meta", {}), **meta}}


def _waits(entry: Waiting) -> str:
    """Say who is waited for, and how it goes on."""
    if entry.kind == "approval":
        what, how = "A person has to approve this call", f"chargehand approve {entry.id}"
    elif entry.title == UNDECIDED:
        what, how = f"{UNDECIDED} A person has to say", f"chargehand answer {entry.id} '\"same\"' (or '\"new\"')"
    else:
        what, how = f"A person has to decide: {entry.title}", f"chargehand inbox {entry.id}"
    who = "" if entry.role is None else f" (role {entry.role})"
    return f"{what}{who}: {how}. It has not been done. Send the same call again afterwards."


def _asked_back(entry: Waiting) -> dict[str, Any]:
    """Return the reply that has a client ask its user, and send the call again with what was decided."""
    form = types.ElicitRequestFormParams(message=_message(entry), requested_schema=_form(entry))
    asks = types.InputRequiredResult(
        input_requests={DECISION: types.ElicitRequest(params=form)}, request_state=f"{entry.id} {entry.digest}"
    )
    return asks.model_dump(by_alias=True, mode="json", exclude_none=True)


def _cannot(row: RunRow, supervisor: Supervisor) -> str:
    if row.owner not in (None, supervisor.site.worker):
        return f"The session {row.id!r} is driven by another gateway process. End that one, or use another session."
    state = f"parked as {row.reason}" if row.reason else row.status
    return f"The session {row.id!r} is {state}: chargehand show {row.id}. Nothing is called for it any more."


def _message(entry: Waiting) -> str:
    """Return what the client's user is shown: all that is bound by the approval."""
    if entry.kind != "approval":
        return f"{entry.title}\n{json.dumps(entry.shows.get('about'), indent=1, ensure_ascii=False)}"
    shows = entry.shows
    back = "There is no way back." if shows.get("final") else f"It can be undone by {shows.get('undo')}."
    arguments = json.dumps((shows.get("arguments") or {}).get("arguments"), indent=1, ensure_ascii=False)
    return f"{shows.get('tool')} in {shows.get('environment')}: may it be called? {back}\n{arguments}"


def _form(entry: Waiting) -> dict[str, Any]:
    if entry.kind != "approval":
        word = {"type": "string", "enum": ["same", "new"], "description": "same: answer from the record. new: call the tool."}
        return {"type": "object", "properties": {"this is": word}, "required": ["this is"]}
    yes = {"type": "boolean", "title": "Approve", "description": "Have exactly this call made, once."}
    why = {"type": "string", "title": "Reason", "description": "Why, if not."}
    return {"type": "object", "properties": {"approve": yes, "reason": why}, "required": ["approve"]}


def _decision(entry: Waiting, said: types.ElicitResult) -> Decision | None:
    """Return what a user decided; None when nothing was. No model interprets it: it is a field of a form."""
    content = said.content or {}
    if said.action == "cancel":
        return None
    if entry.kind != "approval":
        word = content.get("this is")
        return Answer(word) if said.action == "accept" and word in get_args(Again) else None
    if said.action == "accept" and content.get("approve") is True:
        return Approve()
    return Reject(str(content.get("reason") or "the client's user declined"))


__all__ = ["AGAIN", "ENTRY", "RUN", "Serving", "Whence", "client_of"]
