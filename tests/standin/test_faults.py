"""Each fault, by both APIs, whole and streamed, as the vendor's client meets it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from chargehand.testing.standin import FAULTS, FaultPlan, ModelScript, ModelStandIn, Reply, calls, fails, gives, says

from .conftest import HI
from .test_chat import ADD, Quote
from .test_responses import TOOL

Ask = Callable[..., openai.OpenAI]
FORMS = ["chat", "chat streamed", "response", "response streamed"]
QUOTE = {"supplier": "Bolt AG", "price": 12}

REFUSED: dict[str, tuple[type[openai.APIStatusError], int, str, str | None]] = {
    "rate_limit": (openai.RateLimitError, 429, "requests", "rate_limit_exceeded"),
    "quota": (openai.RateLimitError, 429, "insufficient_quota", "insufficient_quota"),
    "server_error": (openai.InternalServerError, 500, "server_error", None),
    "overloaded": (openai.InternalServerError, 503, "server_error", "server_is_overloaded"),
    "context_length": (openai.BadRequestError, 400, "invalid_request_error", "context_length_exceeded"),
}
SPOKEN = ["truncated", "wrong_schema", "wrong_content", "refusal", "content_filter"]
BROKEN = ["slow", "hang", "dropped", "cut", "garbled"]


def said(client: openai.OpenAI, form: str, **more: Any) -> str:
    """Ask in one of the four forms and return the text of the answer."""
    if form == "chat":
        return client.chat.completions.create(model="stand-in", messages=HI, **more).choices[0].message.content or ""
    if form == "chat streamed":
        stream = client.chat.completions.create(model="stand-in", messages=HI, stream=True, **more)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    if form == "response":
        return client.responses.create(model="stand-in", input="hi", **more).output_text
    events = client.responses.create(model="stand-in", input="hi", stream=True, **more)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_every_fault_is_tested_here() -> None:
    """A fault that is added is added to one of these tests."""
    assert sorted([*REFUSED, *SPOKEN, *BROKEN]) == sorted(FAULTS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", sorted(REFUSED))
def test_a_refusing_endpoint(ask: Ask, form: str, fault: Any) -> None:
    """Status, type and code are those of the API, before any piece of a stream; the request is answered when it is asked again."""
    kind, status, type_, code = REFUSED[fault]
    client = ask(fails(fault), says("at last"))
    with pytest.raises(kind) as refused:
        said(client, form)
    assert (refused.value.status_code, refused.value.type, refused.value.code) == (status, type_, code)
    assert said(client, form) == "at last"


@pytest.mark.parametrize("seconds", [0.25, 7])
def test_a_rate_limit_says_when_to_come_again(ask: Ask, seconds: float) -> None:
    """`Retry-After` is in seconds and milliseconds, as the fault says, with the limits beside it."""
    with pytest.raises(openai.RateLimitError) as refused:
        said(ask(fails("rate_limit", seconds=seconds)), "chat")
    headers = refused.value.response.headers
    assert (float(headers["retry-after"]), float(headers["retry-after-ms"])) == (seconds, seconds * 1000)
    assert headers["x-ratelimit-remaining-requests"] == "0"


def test_the_vendors_own_retries_get_through(ask: Ask) -> None:
    """A client that obeys `Retry-After` tries again and gets the reply that the faults did not use up."""
    client = ask(fails("rate_limit", seconds=0.01), fails("overloaded", seconds=0.01), says("at last")).with_options(max_retries=2)
    assert said(client, "chat") == "at last"


# -- connections ----------


@pytest.mark.parametrize("form", FORMS)
def test_a_dropped_connection_has_no_answer(ask: Ask, form: str) -> None:
    """Nothing comes back, not even a status: the client sees a connection error."""
    client = ask(fails("dropped"), says("at last"))
    with pytest.raises(openai.APIConnectionError):
        said(client, form)
    assert said(client, form) == "at last"


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_cut_off(ask: Ask, form: str) -> None:
    """The connection breaks in the middle of the body: what came of a stream came, and the end is an error."""
    client = ask(says("a sentence of some length, to be cut", fault="cut"), says("at last"))
    with pytest.raises(openai.APIConnectionError):
        said(client, form)
    assert said(client, form) == "at last"


def test_a_cut_stream_has_begun(ask: Ask) -> None:
    """Before the cut some pieces of the text are there, and not all of them."""
    text = "a sentence of some length, to be cut somewhere in the middle of it"
    came = ""
    stream = ask(says(text, fault="cut")).chat.completions.create(model="stand-in", messages=HI, stream=True)
    with pytest.raises(openai.APIConnectionError):
        for chunk in stream:
            came += chunk.choices[0].delta.content or ""
    assert text.startswith(came)
    assert 0 < len(came) < len(text)


@pytest.mark.parametrize("form", FORMS)
def test_a_garbled_body_is_no_json(ask: Ask, form: str) -> None:
    """The status is 200 and the JSON of the body, or of one event, breaks off."""
    client = ask(says("a sentence of some length", fault="garbled"), says("at last"))
    with pytest.raises(json.JSONDecodeError):
        said(client, form)
    assert said(client, form) == "at last"


@pytest.mark.parametrize("form", FORMS)
def test_a_slow_endpoint_answers_whoever_waits(ask: Ask, form: str) -> None:
    """Whoever does not wait so long runs into its own timeout; whoever does gets the answer."""
    slow: dict[str, Any] = {"text": "slowly", "fault": {"kind": "slow", "seconds": 30}}
    client = ask(Reply.model_validate(slow), Reply.model_validate(slow | {"fault": {"kind": "slow", "seconds": 0.01}}))
    with pytest.raises(openai.APITimeoutError):
        said(client.with_options(timeout=0.05), form)
    assert said(client, form) == "slowly"


async def test_an_endpoint_that_hangs_is_left(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """Whoever gives up on it is seen to leave; the end of the stand-in ends the wait of whoever does not."""
    server = model_stand_in(fails("hang", times=2), says("at last"))
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="stand-in", max_retries=0) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="stand-in", messages=HI, timeout=0.05)
        with pytest.raises(openai.APITimeoutError):
            await client.responses.create(model="stand-in", input="hi", timeout=0.05)
        answer = await client.chat.completions.create(model="stand-in", messages=HI)
    assert answer.choices[0].message.content == "at last"
    assert [(served.fault, served.status) for served in server.requests] == [("hang", None), ("hang", None), (None, 200)]


# -- what the model says ----------


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_answer(ask: Ask, form: str) -> None:
    """Half of the JSON is there, and the finish reason is that the tokens were used up."""
    client = ask(gives(QUOTE, fault="truncated"))
    text = said(client, form)
    assert json.dumps(QUOTE).startswith(text)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_a_truncated_answer_says_so(ask: Ask) -> None:
    """The vendor's `parse` refuses a completion that was cut at its length; a response is incomplete."""
    client = ask(gives(QUOTE, fault="truncated", times=2))
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="stand-in", messages=HI, response_format=Quote)
    response = client.responses.create(model="stand-in", input="hi")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_against_its_schema(ask: Ask, form: str) -> None:
    """The answer is JSON, and not what the schema asks for."""
    with pytest.raises(ValueError, match="validation error"):
        Quote.model_validate_json(said(ask(gives(QUOTE, fault="wrong_schema")), form))


@pytest.mark.parametrize("form", FORMS)
def test_wrong_content_is_well_formed(ask: Ask, form: str) -> None:
    """The answer is of its schema, and says something else; the script can say what."""
    client = ask(gives(QUOTE, fault="wrong_content"), says("Bolt AG", fault="wrong_content", wrong="Screw AG"))
    wrong = Quote.model_validate_json(said(client, form))
    assert wrong != Quote.model_validate(QUOTE)
    assert said(client, form) == "Screw AG"


def test_tool_calls_go_wrong_alike(ask: Ask) -> None:
    """Truncated, of another schema, and wrong: the arguments of a tool call, while the tool is the right one."""
    faults: list[Any] = ["truncated", "wrong_schema", "wrong_content"]
    client = ask(*(calls(("add", {"a": 1, "b": 2}), fault=fault) for fault in faults))
    given = []
    for _ in faults:
        (call,) = client.chat.completions.create(model="stand-in", messages=HI, tools=[ADD]).choices[0].message.tool_calls or ()
        assert call.type == "function"
        assert call.function.name == "add"
        given.append(call.function.arguments)
    with pytest.raises(json.JSONDecodeError):
        json.loads(given[0])
    assert {name: type(value) for name, value in json.loads(given[1]).items()} != {"a": int, "b": int}
    assert {name: type(value) for name, value in json.loads(given[2]).items()} == {"a": int, "b": int}
    assert json.loads(given[2]) != {"a": 1, "b": 2}


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_instead_of_an_answer(ask: Ask, form: str) -> None:
    """The answer has no content."""
    assert said(ask(says("Here is how.", fault="refusal")), form) == ""


def test_a_refusal_is_in_its_own_place(ask: Ask) -> None:
    """Both APIs say that it is a refusal."""
    client = ask(says("Here is how.", fault="refusal", times=2))
    assert client.chat.completions.create(model="stand-in", messages=HI).choices[0].message.refusal
    (item,) = client.responses.create(model="stand-in", input="hi").output
    assert item.type == "message"
    assert item.content[0].type == "refusal"


@pytest.mark.parametrize("form", FORMS)
def test_a_content_filter_takes_the_answer_away(ask: Ask, form: str) -> None:
    """Nothing of the answer comes through."""
    assert said(ask(says("Here is how.", fault="content_filter")), form) == ""


def test_a_content_filter_says_so(ask: Ask) -> None:
    """The finish reason, or the reason for being incomplete, is the filter; the vendor's `parse` raises."""
    client = ask(says("Here is how.", fault="content_filter", times=3))
    assert client.chat.completions.create(model="stand-in", messages=HI).choices[0].finish_reason == "content_filter"
    response = client.responses.create(model="stand-in", input="hi", tools=[TOOL])
    assert response.incomplete_details is not None
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "content_filter")
    with pytest.raises(openai.ContentFilterFinishReasonError):
        client.chat.completions.parse(model="stand-in", messages=HI, response_format=Quote)


# -- faults by themselves ----------


def _played(client: openai.OpenAI, texts: list[str]) -> Iterator[str]:
    for text in texts:
        try:
            answer = client.chat.completions.create(model="stand-in", messages=[{"role": "user", "content": text}])
            yield answer.choices[0].message.content or ""
        except openai.APIStatusError as error:
            yield f"{error.status_code}"


def test_equal_requests_get_through_in_the_end(ask: Ask) -> None:
    """However often faults come, the same request meets at most `in_a_row` of them, and uses no reply up."""
    script = ModelScript(replies=(says("fine"),), faults=FaultPlan(shares={"server_error": 1.0}, in_a_row=3))
    assert list(_played(ask(script), ["hi"] * 4)) == ["500", "500", "500", "fine"]


def test_a_fault_by_number(ask: Ask) -> None:
    """The n-th request meets the fault that the plan has for it; the replies stay in order."""
    script = ModelScript(replies=(says("one"), says("two")), faults=FaultPlan.model_validate({"at": {2: "overloaded"}}))
    assert list(_played(ask(script), ["a", "b", "b"])) == ["one", "503", "two"]
