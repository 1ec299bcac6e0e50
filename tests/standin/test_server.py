"""The server: where it listens, what it records, how it ends, and how other processes use it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from chargehand.testing.standin import FAULTS, ModelScript, ModelStandIn, fails, says
from chargehand.testing.standin import server as module

from .conftest import HI

KEY = {"Authorization": "Bearer stand-in"}
ASKED = {"model": "stand-in", "messages": HI}


def _port(server: ModelStandIn) -> int:
    return urlsplit(server.base_url).port or 0


def test_it_listens_on_loopback_and_ends() -> None:
    """It is reached at 127.0.0.1 while it lasts; then the port is free, its thread is gone, and it can be begun again."""
    server = ModelStandIn(says("x", times=None))
    with pytest.raises(RuntimeError, match="does not listen yet"):
        _ = server.base_url
    for _ in range(2):
        with server:
            port = _port(server)
            assert urlsplit(server.base_url).hostname == "127.0.0.1"
            assert httpx.post(f"{server.base_url}/chat/completions", json=ASKED, headers=KEY).status_code == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        assert not any(thread.name == "model stand-in" for thread in threading.enumerate())


def test_no_other_address_of_the_machine_answers(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """What comes to another address of the machine, even another of loopback, is not taken."""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", _port(model_stand_in())), timeout=1)


def test_an_answer_does_not_wait_for_acknowledgements(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """Connections send at once what they have: with Nagle's algorithm each answer would take 40 ms."""
    server = model_stand_in()
    with httpx.Client(headers=KEY) as client:
        client.get(f"{server.base_url}/models")
        (line,) = server.desk.lines.values()
        assert line.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_every_answer_names_the_stand_in(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """Answers and errors bear the header; answers have no time of their own."""
    server = model_stand_in(says("x"))
    answers = [
        httpx.post(f"{server.base_url}/chat/completions", json=ASKED, headers=KEY),
        httpx.post(f"{server.base_url}/chat/completions", json=ASKED),
        httpx.get(f"{server.base_url}/nowhere", headers=KEY),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404]
    assert {answer.headers["x-stand-in"] for answer in answers} == {"chargehand-stand-in"}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    assert answers[0].json()["created"] == 1_767_225_600


def test_requests_are_recorded_without_secrets(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """Path, body, status and fault of each request are there; the key is not, not even a wrong one."""
    server = model_stand_in(says("x"), fails("server_error"))
    for key in ("stand-in", "stand-in", "sk-secret"):
        httpx.post(
            f"{server.base_url}/chat/completions",
            json=ASKED,
            headers={"Authorization": f"Bearer {key}", "Api-Key": "sk-secret", "x-a": "b"},
        )
    assert [(one.method, one.path, one.status, one.fault) for one in server.requests] == [
        ("POST", "/v1/chat/completions", 200, None),
        ("POST", "/v1/chat/completions", 500, "server_error"),
        ("POST", "/v1/chat/completions", 401, None),
    ]
    assert server.requests[0].body == ASKED
    assert server.requests[0].headers["x-a"] == "b"
    assert "sk-secret" not in repr(server.requests)
    assert "Bearer" not in repr(server.requests)


async def test_a_request_can_be_waited_for(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """`asked` returns as soon as so many requests came, answered or not; it does not wait for ever."""
    server = model_stand_in(fails("hang"))
    with pytest.raises(TimeoutError, match="0 requests came"):
        await server.asked(1, within=0.01)

    def hangs() -> None:
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{server.base_url}/chat/completions", json=ASKED, headers=KEY)

    asking = threading.Thread(target=hangs)
    asking.start()
    (served,) = await server.asked(1)
    assert served.status is None
    server.stop()
    asking.join(5)
    assert not asking.is_alive(), "the end of the stand-in drops whoever still waits"


def test_a_defect_of_its_own_does_not_look_like_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error inside the stand-in is no 500 of the script: it is told as its own, and raised when it ends."""
    server = ModelStandIn(says("x"))

    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(server.desk.playing, "answer", broken)
    with pytest.raises(KeyError, match="oops"), server:
        answer = httpx.post(f"{server.base_url}/chat/completions", json=ASKED, headers=KEY)
        assert (answer.status_code, answer.json()["error"]["type"]) == (501, "stand_in_error")


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uvicorn is not installed the error names the extra."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"pip install 'chargehand\[testing\]'"):
        ModelStandIn(says("x")).start()


def test_what_is_no_script_is_refused() -> None:
    """A script and replies beside it, or two scripts, are a mistake."""
    script = ModelScript(replies=(says("x"),))
    for given in ((script, says("y")), (script, script)):
        with pytest.raises(ValueError, match="one ModelScript, or replies"):
            ModelStandIn(*given)
    assert module.ModelStandIn().script.replies == ()


def test_the_guide_lists_every_fault() -> None:
    """The table of faults in the testing guide is the list of faults, in order."""
    guide = Path(__file__).parents[2] / "docs" / "guides" / "testing.md"
    assert tuple(re.findall(r"^\| `(\w+)` \|", guide.read_text(), re.MULTILINE)) == FAULTS


# -- for other processes ----------


def _served(script: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chargehand.testing.standin", str(script), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_another_process_plays_a_script_from_a_file(tmp_path: Path) -> None:
    """It prints its address, serves, tells what was asked, and ends with standard input; a script that was over is exit status 1."""
    script = tmp_path / "script.json"
    script.write_text(ModelScript(replies=(says("hello"),)).model_dump_json())
    process = _served(script, "--api-key", "k")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with openai.OpenAI(base_url=address, api_key="k", max_retries=0) as client:
        assert client.chat.completions.create(model="stand-in", messages=HI).choices[0].message.content == "hello"
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="stand-in", messages=HI)
    known = httpx.get(f"{address.removesuffix('/v1')}/stand-in/requests").json()
    assert [(one["status"], one["problem"] is None) for one in known] == [(200, True), (400, False)]
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, "No reply of the stand-in's script fits request 2" in errors) == (1, True)


@pytest.mark.slow
def test_a_client_is_killed_in_the_middle_of_a_request(tmp_path: Path) -> None:
    """A test learns that the n-th request hangs, kills who asks, and sees that it is gone."""
    script = tmp_path / "script.json"
    script.write_text(ModelScript(replies=(says("one"), fails("hang"))).model_dump_json())
    process = _served(script)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    about = address.removesuffix("/v1") + "/stand-in"
    asking = f"import httpx, sys\nfor _ in range(2):\n    httpx.post(sys.argv[1], json={json.dumps(ASKED)}, headers={KEY!r}, timeout=60)\n"
    client = subprocess.Popen([sys.executable, "-c", asking, f"{address}/chat/completions"])
    asked = httpx.get(f"{about}/asked/2", timeout=40).json()
    assert [one["status"] for one in asked] == [200, None]
    os.kill(client.pid, signal.SIGKILL)
    assert client.wait(10) == -signal.SIGKILL
    assert httpx.get(f"{about}/unknown").status_code == 404
    while not httpx.get(f"{about}/requests").json()[1]["gone"]:
        pass
    process.communicate(timeout=20)
    assert process.returncode == 0
