"""Stand-ins: what a test puts in the place of an agent, a tool or a way back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


class ScriptEnded(AssertionError):
    """A stand-in was called more often than its script has answers."""


class Script:
    """A stand-in for a function: answers from a list, one per call. Not a language model: it says so in every listing.

    `calls` are the arguments of each call so far, by name, those that the supervisor fills included.
    """

    def __init__(self, answers: tuple[Any, ...], *, repeat: bool) -> None:
        self._answers = answers
        self._repeat = repeat
        self.calls: list[Mapping[str, Any]] = []
        self.ended: ScriptEnded | None = None
        self.__name__ = "scripted"

    async def __call__(self, **arguments: Any) -> Any:
        number = len(self.calls)
        self.calls.append(arguments)
        if number >= len(self._answers) and not self._repeat:
            self.ended = ScriptEnded(
                f"The script has {len(self._answers)} answers and was asked for one more, with {arguments!r}. "
                "Add an answer, or use always(…) for one that does not change."
            )
            raise self.ended
        return await _said(self._answers[min(number, len(self._answers) - 1)], arguments)

    def __repr__(self) -> str:
        return f"<scripted stand-in, {len(self.calls)} of {len(self._answers)} answers given>"


def scripted(*answers: Any) -> Script:
    """Return a stand-in for a language model (or any function) that gives these answers in order, one per call.

    It is no model and decides nothing. An answer that is an exception is raised; one that is a function is called with the
    arguments that it names. A call beyond the last answer fails the test (`ScriptEnded`).
    """
    return Script(answers, repeat=False)


def always(answer: Any) -> Script:
    """Return a stand-in that gives the same answer to every call."""
    return Script((answer,), repeat=True)


async def _said(answer: Any, arguments: Mapping[str, Any]) -> Any:
    if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
        raise answer
    if not inspect.isroutine(answer):
        return answer
    said = answer(**accepted(answer, arguments))
    return await said if inspect.isawaitable(said) else said


def accepted(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments that a function names, all of them when it takes ``**`` anything."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(arguments)
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in arguments.items() if name in names}


def stand_in(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is put in a function's place: async, it passes on the arguments that `function` names.

    Its attribute ``takes`` are the names of the resources worth making for it.
    """

    async def standing_in(**arguments: Any) -> Any:
        said = function(**accepted(function, arguments))
        return await said if inspect.isawaitable(said) else said

    names = () if isinstance(function, Script) else inspect.signature(function).parameters
    standing_in.__name__ = str(getattr(function, "__name__", "stand_in"))
    standing_in.__dict__["takes"] = frozenset(names)
    standing_in.__dict__["script"] = function if isinstance(function, Script) else None
    return standing_in
