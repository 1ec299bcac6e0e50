"""Telemetry: OpenTelemetry spans of runs and calls, and the filter that puts run, path and attempt on log records.

Names and attributes follow OpenTelemetry's GenAI conventions where there are any (``invoke_workflow``, ``invoke_agent``,
``execute_tool``, ``chat``); what they do not know has the prefix ``chargehand.``. No argument, result, message or verdict's
reason is ever put on a span: a span says what was done, how long it took and by which code it failed.

A span is one try of one call in this process. The journal is the truth about the run; a span may be lost with its process.
Without the extra ``telemetry``, or while the application has set no tracer provider, nothing of this runs.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from chargehand.core.states import AgentState, EffectState
from chargehand.core.trampoline import stepping
from chargehand.durable import RunRow, Waiting
from chargehand.errors import ChargehandError
from chargehand.supervise.budgets import Meter, current_meter
from chargehand.supervise.call import current_body, current_host
from chargehand.verdicts import GateContext, Verdict

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
except ImportError:  # the extra is not installed
    trace = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span, Tracer, TracerProvider

    from chargehand.supervise.bodies import Body
    from chargehand.supervise.budgets import Spending
    from chargehand.supervise.run import RunDriver
    from chargehand.supervise.site import Site


def spans_of(provider: TracerProvider | None) -> Spans | None:
    """Return what emits spans to a provider, or to the one that the application has set; None when there is none."""
    if trace is None:
        return None
    provider = provider if provider is not None else trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return None
    return Spans(provider.get_tracer("chargehand"))


class Spans:
    """The spans of one supervisor."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any], context: Context | None = None) -> Iterator[Span]:
        """Be inside a span. What leaves it by an exception fails it, by code or type; the message stays where it is."""
        starting = self._tracer.start_as_current_span(
            name, context, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
        )
        with starting as span:
            try:
                yield span
            except BaseException as error:
                kind = error.code if isinstance(error, ChargehandError) else type(error).__qualname__
                span.set_attribute("error.type", kind)
                span.set_status(trace.Status(trace.StatusCode.ERROR))
                raise

    @contextmanager
    def run(self, driver: RunDriver) -> Iterator[None]:
        """Be inside one driving of a run: a trace of its own, linked with whatever started it here."""
        row = driver.row
        attributes = _run(row) | {"gen_ai.operation.name": "invoke_workflow", "chargehand.epoch": row.epoch}
        started_by = trace.get_current_span().get_span_context()
        with self.span(f"invoke_workflow {driver.workflow.name}", attributes, Context()) as span:
            if started_by.is_valid:
                span.add_link(started_by)
            yield
            ended = driver.history.ended
            span.set_attribute("chargehand.run.status", driver.log.last.status if ended is None else ended.type.removeprefix("run."))
            if ended is not None and ended.type == "run.failed":
                span.set_attribute("error.type", str(ended.payload["e"].get("code")))
                span.set_status(trace.Status(trace.StatusCode.ERROR))

    async def call(self, site: Site, function: Callable[..., Any], work: Coroutine[Any, Any, Any]) -> Any:
        """Await what calls a user's function, inside the span of the call whose own function it is."""
        found = _call_now(site, function)
        if found is None:
            return await work
        with self.span(*found):
            return await work

    async def gate(self, name: str, context: GateContext, work: Coroutine[Any, Any, Verdict]) -> Verdict:
        """Await a gate's verdict inside a span that says what it is."""
        where = {"chargehand.run.id": context.run_id, "chargehand.path": context.path, "chargehand.attempt": context.attempt}
        with self.span(f"chargehand.gate {name}", where) as span:
            verdict = await work
            span.set_attribute("chargehand.verdict", verdict.outcome)
            if verdict.mode is not None:
                span.set_attribute("chargehand.mode", verdict.mode)
            return verdict

    @contextmanager
    def chat(self, meter: Meter, block: Spending) -> Iterator[None]:
        """Be inside the span of a model's call; what was reported of it is put on the span."""
        attributes = _run(meter.driver.row) | {"gen_ai.operation.name": "chat", "chargehand.path": meter.path}
        if block.model is not None:
            attributes["gen_ai.request.model"] = block.model
        with self.span("chat" if block.model is None else f"chat {block.model}", attributes) as span:
            yield
            if block.spent is not None:
                span.set_attributes({"gen_ai.usage.input_tokens": block.tokens[0], "gen_ai.usage.output_tokens": block.tokens[1]})

    def telling(self, other: Callable[[str, Waiting], None] | None) -> Callable[[str, Waiting], None]:
        """Return a callback that notes on the run's span what begins or ceases to wait for a person, and then calls another."""

        def tell(what: str, entry: Waiting) -> None:
            about = {"chargehand.waiting.kind": entry.kind, "chargehand.waiting.id": entry.id, "chargehand.path": entry.path}
            trace.get_current_span().add_event(f"chargehand.waiting.{what}", about)
            if other is not None:
                other(what, entry)

        return tell


def beside(driver: RunDriver, what: str, name: str, path: str) -> AbstractContextManager[Any]:
    """Be inside the span of what is called beside an effect: its undo, its look-up. Nothing when spans are not wanted."""
    spans = driver.site.spans
    return nullcontext() if spans is None else spans.span(f"chargehand.{what} {name}", _run(driver.row) | {"chargehand.path": path})


def _run(row: RunRow) -> dict[str, Any]:
    return {"chargehand.run.id": row.id, "chargehand.workflow": row.workflow, "chargehand.environment": row.environment}


def _call_now(site: Site, function: Callable[..., Any]) -> tuple[str, dict[str, Any]] | None:
    """Return name and attributes of the span of the call that runs now; None when the function is not the call's own."""
    meter = current_meter.get()
    if meter is None:
        return None
    body = cast("Body | None", current_body.get())
    call = meter.driver.definitions.get(meter.path)
    definition = body.definition if body is not None and body.meter is meter else call.definition if call is not None else None
    if definition is None or site.function_of(definition) is not function:
        return None
    attributes = _run(meter.driver.row) | {"chargehand.path": meter.path, "chargehand.attempt": _attempt(meter)}
    match definition.kind:
        case "agent":
            attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": definition.name}
            return f"invoke_agent {definition.name}", attributes
        case "read" | "effect":
            attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": definition.name, "gen_ai.tool.type": "function"}
            return f"execute_tool {definition.name}", attributes
        case _:
            return f"chargehand.step {definition.name}", attributes


def _attempt(meter: Meter) -> int:
    """Return which try of a call this is."""
    state = meter.driver.history.calls.get(meter.path)
    if isinstance(state, AgentState):
        return state.attempt
    tries = 0 if state is None else state.tries
    return max(tries, 1) if isinstance(state, EffectState) else tries + 1


class RunLogFilter(logging.Filter):
    """Put `run`, `path` and `attempt` on log records, and drop those that replayed workflow code writes once more.

    For a handler: ``handler.addFilter(RunLogFilter())``; then ``%(run)s``, ``%(path)s`` and ``%(attempt)s`` can be used in its
    format. They are empty outside runs. What workflow code logged just before its process died may come twice.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is written."""
        record.run = record.path = record.attempt = ""
        host, branch = cast("RunDriver | None", current_host.get()), stepping()
        if host is not None and branch is not None:
            record.run, record.path = host.row.id, branch.scope.path
            return host.log.advanced or not (host.unclaimed - host.history.accepted)  # else what it has done before is not yet asked again
        meter = current_meter.get()
        if meter is not None:
            record.run, record.path, record.attempt = meter.driver.row.id, meter.path, str(_attempt(meter))
        return True
