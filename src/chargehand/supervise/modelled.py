"""Agents that name a model instead of having a body of their own: the framework that asks it makes the body."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from chargehand.errors import DefinitionError, MissingExtra

if TYPE_CHECKING:
    from chargehand.supervise.definitions import AgentDefinition

ADAPTERS = {
    "agents": ("chargehand.adapters.openai_agents", "openai-agents"),
    "langgraph": ("chargehand.adapters.langgraph", "langgraph"),
}
"""By the package that defines what answers: the adapter, found by name because nothing else needs the framework, and the extra that brings it."""

DEFAULT = ("chargehand.adapters.pydantic_ai", "llm")
"""The adapter of names, and of models and agents of Pydantic AI."""

_BROUGHT = frozenset({"pydantic_ai", "openai", "genai_prices", "agents", "langgraph", "langchain_core"})
"""The packages that the extras bring."""


def body_by_model(
    definition: AgentDefinition[..., Any], function: Callable[..., Any], model: Any
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return what asks the model when the agent is called.

    Raises `DefinitionError` when the function has a body as well, `MissingExtra` when the framework is not installed.
    """
    if _has_body(function):
        raise DefinitionError(
            f"The agent {definition.name} names a model and has a body of its own. Leave the body out (write `...` behind the docstring), "
            "or leave model= out and ask the model yourself."
        )
    name, extra = _adapter_of(model)
    try:
        adapter = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _BROUGHT:
            raise
        raise MissingExtra(
            f"The agent {definition.name} names a model, and {error.name} is not installed. Install it: pip install 'chargehand[{extra}]'."
        ) from error
    made: Callable[..., Coroutine[Any, Any, Any]] = adapter.body_of(definition, model)
    return made


def _adapter_of(model: Any) -> tuple[str, str]:
    """Return the adapter of what is given, and its extra, by where the class of it is defined. Nothing is imported for that."""
    roots = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    return next((ADAPTERS[root] for root in roots if root in ADAPTERS), DEFAULT)


def name_of(model: Any) -> str | None:
    """Return the name of a model as its provider has it, a model's own or that of an agent's model; None for what does not say."""
    for _ in range(3):
        if isinstance(model, str):
            return model
        model = getattr(model, "model", None) or getattr(model, "model_name", None)
    return None


def _has_body(function: Callable[..., Any]) -> bool:
    """Say whether a function does anything. Where its source is not at hand, it is taken to do nothing."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    defined = tree.body[0]
    statements = defined.body if isinstance(defined, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
    return not all(_does_nothing(statement) for statement in statements)


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise):
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    return isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
