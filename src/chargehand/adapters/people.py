"""A question to a person from the body of an agent, known by what it asks: asked once, also when the body runs again after a crash."""

from __future__ import annotations

from typing import Any

from chargehand.contracts import Codec, digest_of
from chargehand.core.identity import content_segment, join
from chargehand.core.trampoline import Ask
from chargehand.errors import OutsideRun
from chargehand.supervise import steps
from chargehand.supervise.bodies import Body
from chargehand.supervise.call import current_body
from chargehand.supervise.failing import failure_of


class _Shown(Codec):
    """Any JSON, shown to the person with the schema that whoever asks gave."""

    def __init__(self, schema: dict[str, Any]) -> None:
        super().__init__(Any, "the answer")
        self._schema = schema

    def schema(self) -> dict[str, Any]:
        """Return the schema that was given."""
        return self._schema


async def ask_person(name: str, question: str, *, about: Any = None, schema: dict[str, Any] | None = None) -> Any:
    """Ask a person in the middle of an agent's body, and return the answer as JSON. The body's time stands still meanwhile.

    Args:
        name: how the question is called in paths.
        question: what the person reads first.
        about: JSON that is shown with it.
        schema: the JSON schema of an answer, shown too; whoever asks checks the answer against it.

    If the process dies inside: the question goes on waiting; the body that runs again gets its answer.
    """
    body = current_body.get()
    if not isinstance(body, Body):
        raise OutsideRun("A person was asked outside an agent's body. Call the agent from a workflow.")
    driver = body.driver
    digest = digest_of([question, about, schema])
    path = join(body.path, f"try{body.attempt}/{content_segment(name, digest, body._count(name, digest))}")
    wanted = steps.Wanted(question, _Shown(schema or {}), None, None, about)
    while (state := driver.history.calls.get(path)) is None or state.settled is None:
        await driver.outcome(body.path, path, lambda: steps.perform_wait(driver, Ask(path, "question", wanted, digest)))
    if not state.settled.ok:
        raise failure_of(None, state.settled.form, path)
    return state.settled.form
