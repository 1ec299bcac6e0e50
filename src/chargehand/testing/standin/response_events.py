"""How an answer goes out as a response: as a whole, or as the events that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chargehand.testing.standin.chat import answered_tokens, pieces
from chargehand.testing.standin.responses import NamedChoice, ResponseRequest
from chargehand.testing.standin.script import Answer, Asked

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def whole(request: ResponseRequest, asked: Asked, answer: Answer, created: int) -> dict[str, Any]:
    """Return the answer as one response."""
    reason = _INCOMPLETE.get(answer.finish)
    given = answered_tokens(answer)
    return _head(request, answer, created) | {
        "status": "incomplete" if reason else "completed",
        "completed_at": None if reason else float(created),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _output(answer),
        "usage": {
            "input_tokens": asked.tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": given,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked.tokens + given,
        },
    }


def events(request: ResponseRequest, asked: Asked, answer: Answer, created: int) -> Iterator[dict[str, Any]]:
    """Yield the events of the answer, in order and numbered."""
    for number, event in enumerate(_events(request, asked, answer, created)):
        yield event | {"sequence_number": number}


def _events(request: ResponseRequest, asked: Asked, answer: Answer, created: int) -> Iterator[dict[str, Any]]:
    begun = _head(request, answer, created) | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(_output(answer)):
        if item["type"] == "message":
            yield from _message_events(item, index)
        else:
            yield from _call_events(item, index)
    ended = whole(request, asked, answer, created)
    yield {"type": f"response.{ended['status']}", "response": ended}


def _message_events(item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    (part,) = item["content"]
    yield {"type": "response.output_item.added", "output_index": index, "item": item | {"content": [], "status": "in_progress"}}
    if part["type"] == "refusal":
        yield {"type": "response.content_part.added", "part": part | {"refusal": ""}} | place
        for piece in pieces(part["refusal"]):
            yield {"type": "response.refusal.delta", "delta": piece} | place
        yield {"type": "response.refusal.done", "refusal": part["refusal"]} | place
    else:
        yield {"type": "response.content_part.added", "part": part | {"text": ""}} | place
        for piece in pieces(part["text"]):
            yield {"type": "response.output_text.delta", "delta": piece, "logprobs": []} | place
        yield {"type": "response.output_text.done", "text": part["text"], "logprobs": []} | place
    yield {"type": "response.content_part.done", "part": part} | place
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _call_events(item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    yield {"type": "response.output_item.added", "output_index": index, "item": item | {"arguments": "", "status": "in_progress"}}
    for piece in pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece} | place
    yield {"type": "response.function_call_arguments.done", "arguments": item["arguments"]} | place
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _output(answer: Answer) -> list[dict[str, Any]]:
    status = "incomplete" if answer.finish in _INCOMPLETE else "completed"
    items: list[dict[str, Any]] = []
    part: dict[str, Any] | None = None
    if answer.refusal is not None:
        part = {"type": "refusal", "refusal": answer.refusal}
    elif answer.text:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    if part is not None:
        items.append({"type": "message", "id": f"msg_{answer.tag}", "role": "assistant", "status": status, "content": [part]})
    for number, tool in enumerate(answer.tools):
        items.append(
            {
                "type": "function_call",
                "id": f"fc_{answer.tag}{number}",
                "call_id": f"call_{answer.tag}{number}",
                "name": tool.name,
                "arguments": tool.text(),
                "status": status,
            }
        )
    return items


def _head(request: ResponseRequest, answer: Answer, created: int) -> dict[str, Any]:
    choice = request.tool_choice
    form = request.text.format if request.text is not None else None
    return {
        "id": f"resp_{answer.tag}",
        "object": "response",
        "created_at": float(created),
        "model": request.model,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": {"type": "text"} if form is None else form.model_dump(by_alias=True, exclude_none=True)},
        "tool_choice": choice.model_dump() if isinstance(choice, NamedChoice) else choice or "auto",
        "tools": [tool.model_dump() for tool in request.tools or ()],
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "user": request.user,
    }
