"""Spans: what a run does is one trace, by the names of OpenTelemetry's conventions, and says nothing of what it was about."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode, Tracer, TracerProvider

from chargehand import (
    Approve,
    NotDone,
    Rejected,
    Retry,
    Supervisor,
    agent,
    effect,
    gate,
    give_up,
    injected,
    read,
    retry,
    spending,
    step,
    workflow,
)
from chargehand.supervise import telemetry
from chargehand.testing import Supervised

SECRET = "secret-4711"


@dataclass
class Recorded(Span):
    """A span that remembers."""

    name: str
    number: int
    parent: int | None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, Any]] = field(default_factory=list)
    links: list[SpanContext] = field(default_factory=list)
    failed: bool = False
    ended: bool = False

    def get_span_context(self) -> SpanContext:
        """Return its identity."""
        return SpanContext(1, self.number, False)

    def set_attributes(self, attributes: Any) -> None:
        """Remember."""
        self.attributes.update(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """Remember."""
        self.attributes[key] = value

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Remember."""
        self.events.append((name, attributes))

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        """Remember."""
        self.links.append(context)

    def update_name(self, name: str) -> None:
        """Change its name."""
        self.name = name

    def is_recording(self) -> bool:
        """Say yes."""
        return not self.ended

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Remember."""
        self.failed = isinstance(status, Status) and status.status_code is StatusCode.ERROR and status.description is None

    def record_exception(self, exception: BaseException, *_: Any, **__: Any) -> None:
        """Exceptions hold messages, and messages hold content."""
        raise AssertionError("an exception was put on a span")

    def end(self, end_time: int | None = None) -> None:
        """Remember."""
        self.ended = True


class Provider(TracerProvider, Tracer):
    """A provider and tracer that keep their spans."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def get_tracer(self, *_: Any, **__: Any) -> Tracer:
        """Return itself."""
        return self

    def start_span(self, name: str, context: Context | None = None, *_: Any, attributes: Any = None, **__: Any) -> Recorded:
        """Begin a span."""
        parent = trace.get_current_span(context).get_span_context()
        span = Recorded(name, len(self.spans) + 1, parent.span_id if parent.is_valid else None, dict(attributes or {}))
        self.spans.append(span)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self, name: str, context: Context | None = None, *, attributes: Any = None, **options: Any
    ) -> Iterator[Span]:
        """Begin a span and be inside it."""
        assert options == {"record_exception": False, "set_status_on_exception": False}
        with trace.use_span(self.start_span(name, context, attributes=attributes), True, False, False) as span:
            yield span

    def tree(self, parent: int | None = None) -> list[Any]:
        """Return the names, each with those inside it."""
        return [(span.name, *self.tree(span.number)) for span in self.spans if span.parent == parent]

    def named(self, name: str) -> Recorded:
        """Return the one span of a name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


async def take_back(what: str, idempotency_key: str = injected()) -> None: ...


async def find() -> str:
    raise NotDone("not there")


@read
async def look(what: str) -> str:
    return what


@step
def prepare(what: str) -> str:
    trace.get_current_span().set_attribute("seen.in.thread", True)
    return what


@effect(undo=take_back, lookup=find, approve=lambda call: call.what.startswith("big"), retry=Retry(attempts=2, first=1, jitter=False))
async def put(what: str) -> str:
    if what.startswith("lost") and not LOST:
        LOST.append(what)
        raise ConnectionResetError(SECRET)
    return what


LOST: list[str] = []


@effect(undo=take_back, lookup=find, retry=Retry(attempts=2, first=60, jitter=False))
async def lose(idempotency_key: str = injected()) -> str:
    raise ConnectionResetError(SECRET)


@gate(detects="FM-1.1")
def short(text: str) -> None:
    if len(text) > 20:
        raise Rejected(f"too long: {text}")


@agent(role="Writes.", uses=[look, put], gates=[short], ladder=[retry(2), give_up()])
async def writer(what: str) -> str:
    async with spending(model="small-1", tokens_at_most=50) as block:
        block.report(input=30, output=5)
    await look(what)
    return await put(what)


@workflow
async def writes(what: str) -> str:
    return await writer(prepared := await prepare(what)) + prepared


@workflow
async def fails(what: str) -> str:
    await put(what)
    raise Rejected(SECRET)


@workflow
async def waits(what: str) -> str:
    return await put(what)


@workflow
async def loses() -> str:
    return await lose()


@pytest.fixture
async def provider() -> Provider:
    """A provider, and nothing lost yet."""
    LOST.clear()
    return Provider()


async def test_a_run_is_a_tree_of_spans(provider: Provider) -> None:
    """Workflow, agent, model, tools and gates lie inside each other as they do in the run, also from a thread."""
    async with Supervised([writes], tracer_provider=provider) as supervised:
        assert await supervised.run(writes("text"), "r1") == "texttext"
        await supervised.rest()
    assert provider.tree() == [
        (
            "invoke_workflow writes",
            ("chargehand.step prepare",),
            ("invoke_agent writer", ("chat small-1",), ("execute_tool look",), ("execute_tool put",)),
            ("chargehand.gate short",),
        )
    ]
    assert all(span.ended and not span.failed for span in provider.spans)
    assert provider.named("chargehand.step prepare").attributes["seen.in.thread"]
    assert provider.named("chat small-1").attributes["gen_ai.usage.input_tokens"] == 30
    assert provider.named("chargehand.gate short").attributes["chargehand.verdict"] == "pass"
    assert provider.named("execute_tool put").attributes == {
        "chargehand.run.id": "r1",
        "chargehand.workflow": f"{__name__}.writes",
        "chargehand.environment": "development",
        "chargehand.path": provider.named("execute_tool put").attributes["chargehand.path"],
        "chargehand.attempt": 1,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "put",
        "gen_ai.tool.type": "function",
    }


async def test_a_span_is_one_try(provider: Provider) -> None:
    """A try that failed is a span that failed, by its type; the look-up between is no call of the tool."""
    async with Supervised([waits], tracer_provider=provider) as supervised:
        await supervised.run(waits("lost"))
    names = [(span.name, span.attributes.get("chargehand.attempt"), span.attributes.get("error.type")) for span in provider.spans[1:]]
    assert names == [
        ("execute_tool put", 1, "ConnectionResetError"),
        ("chargehand.look_up put", None, "not-done"),
        ("execute_tool put", 2, None),
    ]


async def test_a_failed_run_and_its_undo(provider: Provider) -> None:
    """The run's span fails by the failure's code; the undo is a span of its own."""
    async with Supervised([fails], tracer_provider=provider) as supervised:
        with pytest.raises(Rejected):
            await supervised.run(fails("x"))
        await supervised.rest()
    root = provider.named("invoke_workflow fails")
    assert (root.failed, root.attributes["error.type"], root.attributes["chargehand.run.status"]) == (True, "rejected", "failed")
    assert provider.tree() == [("invoke_workflow fails", ("execute_tool put",), ("chargehand.undo put",))]
    assert provider.named("chargehand.undo put").attributes["chargehand.path"] == "put"


async def test_a_look_up_of_a_rollback(provider: Provider) -> None:
    """It is a span of its own, at the path of the effect that it asks about."""
    async with Supervised([loses], tracer_provider=provider) as supervised:
        run = await supervised.start(loses())
        await supervised.rest()
        assert "look_up" not in str(provider.tree())
        await supervised.cancel(run)
        assert await run.ended() == "cancelled"
    looked = provider.named("chargehand.look_up lose")
    assert (looked.attributes["chargehand.path"], looked.attributes["error.type"]) == ("lose", "not-done")


async def test_what_waits_for_a_person_is_on_the_runs_span(provider: Provider) -> None:
    """Each driving of a run is a span; what waits meanwhile is an event of it. The application's own callback is told too."""
    told: list[str] = []
    async with Supervised([waits], tracer_provider=provider, on_waiting=lambda what, entry: told.append(what)) as supervised:
        run = await supervised.start(waits("big"))
        await supervised.unload()
        await supervised.decide("approval", Approve())
        await run.result()
    first, second = [span for span in provider.spans if span.name == "invoke_workflow waits"]
    assert [name for name, _ in first.events] == ["chargehand.waiting.entered"]
    assert [name for name, _ in second.events] == ["chargehand.waiting.left"]
    assert first.attributes["chargehand.run.status"] == "waiting"
    assert told == ["entered", "left"]


async def test_no_content_is_on_any_span(provider: Provider) -> None:
    """Arguments, results, reasons and messages may hold what must not leave the journal."""
    async with Supervised([writes, fails, waits], tracer_provider=provider) as supervised:
        for call in (writes(SECRET), writes(SECRET * 3), fails(f"lost {SECRET}"), fails(SECRET)):
            run = await supervised.start(call)
            await supervised.advance(10)
            assert SECRET in str([event.payload for event in await run.events()])
    assert len(provider.spans) > 15
    assert SECRET not in str(provider.spans)


async def test_a_run_is_linked_with_what_started_it(provider: Provider) -> None:
    """It is a trace of its own, which outlives the request that started it."""
    request = SpanContext(7, 7, False)
    async with Supervisor("memory:", [waits], tracer_provider=provider) as supervisor:
        with trace.use_span(NonRecordingSpan(request)):
            run = await supervisor.start(waits("x"))
        await run.result(5)
    root = provider.named("invoke_workflow waits")
    assert (root.parent, root.links) == (None, [request])


async def test_without_a_provider_nothing_is_emitted(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider set, one that does nothing, no package: the calls run as if this did not exist."""
    assert await supervised.run(waits("x")) == "x"
    assert supervised.supervisor.site.spans is None
    assert telemetry.spans_of(trace.NoOpTracerProvider()) is None
    monkeypatch.setattr(telemetry, "trace", None)
    assert telemetry.spans_of(None) is None


@pytest.mark.slow
def test_chargehand_works_without_the_package() -> None:
    """OpenTelemetry is an extra: where it is not installed everything else is there."""
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from chargehand import run_sync, step, workflow\n"
        "@step\nasync def one() -> int: return 1\n"
        "@workflow(name='w')\nasync def w() -> int: return await one()\n"
        "print(run_sync(w()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
