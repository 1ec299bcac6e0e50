"""docs/guides/fastapi.md with real servers: two web processes and two workers on one file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .blocks import blocks_of, written_files
from .generated import DOCS

PAGE = DOCS / "guides" / "fastapi.md"
BOB, ANN = {"X-User": "bob"}, {"X-User": "ann"}

pytestmark = [pytest.mark.slow]


def _until(asked: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while not (answer := asked()):
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)
    return answer


class Shop:
    """The processes of the guide. Each is ended by its own process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.logs: dict[int, Path] = {}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a process in the folder of the guide's files."""
        environment = {**os.environ, "CHARGEHAND_JOURNAL": "work.db", "CHARGEHAND_LEASE": "1", "PYTHONUNBUFFERED": "1"}
        log = self.folder / f"log{len(self.processes)}"
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True)
        self.processes.append(process)
        self.logs[process.pid] = log
        return process

    def web(self) -> httpx.Client:
        """Start a web process on a free port of loopback and return a client of it."""
        process = self.start(sys.executable, "-m", "uvicorn", "web:app", "--host", "127.0.0.1", "--port", "0")
        log = self.logs[process.pid]
        found = _until(lambda: re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text()) or self.dead(process))
        return httpx.Client(base_url=found.group(1), timeout=20)

    def worker(self) -> subprocess.Popen[str]:
        """Start a worker and return it when it drives."""
        process = self.start(str(Path(sys.executable).parent / "chargehand"), "worker", "refunds:settle")
        _until(lambda: list(self.folder.glob(f"work.db-worker-{process.pid}-*")) or self.dead(process))
        return process

    def dead(self, process: subprocess.Popen[str]) -> bool:
        """Fail with what a process said when it has ended."""
        assert process.poll() is None, self.logs[process.pid].read_text()
        return False

    def refunds(self) -> list[list[str]]:
        """Return what the payment service has in its book."""
        book = self.folder / "payments.txt"
        return [line.split() for line in book.read_text().splitlines()] if book.exists() else []

    def close(self) -> None:
        """End every process that still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The guide's files in an empty folder, with nothing running yet."""
    written_files(PAGE, tmp_path)
    shop = Shop(tmp_path)
    yield shop
    shop.close()


def _complaint(order: str, paid: str) -> dict[str, str]:
    return {"order": order, "paid": paid, "text": "It came broken."}


def _ended(client: httpx.Client, run: str) -> Any:
    def asked() -> Any:
        answer = client.get(f"/runs/{run}").json()
        return answer if answer["status"] in ("completed", "failed", "cancelled") else None

    return _until(asked)


def test_the_guide_on_real_servers(shop: Shop) -> None:
    """Started in one process, watched and decided in another, worked by two: each refund is made once, whoever is killed."""
    workers = [shop.worker(), shop.worker()]
    one, other = shop.web(), shop.web()

    # start: 202, and the same again is the same
    for _ in range(2):
        started = one.post("/complaints", json=_complaint("B-1", "80"), headers=BOB)
        assert started.status_code == 202
        assert started.json() == {"run": "refund-B-1", "status": "/runs/refund-B-1", "events": "/runs/refund-B-1/events"}
    assert one.post("/complaints", json=_complaint("B-1", "81"), headers=BOB).json()["code"] == "run-conflict"
    assert one.post("/complaints", json={"order": "B-2"}, headers=BOB).status_code == 422
    assert _ended(other, "refund-B-1")["result"] == "receipt for B-1"
    assert other.get("/runs/nobody").status_code == 404

    # the events, whole and from a point on
    streamed = other.get("/runs/refund-B-1/events").text
    assert re.findall(r"^event: (.*)$", streamed, re.MULTILINE) == [
        "run.started",
        "agent.rejected",
        "agent.released",
        "effect.intended",
        "effect.done",
        "run.completed",
    ]
    rest = other.get("/runs/refund-B-1/events", headers={"Last-Event-ID": "4"}).text
    assert re.findall(r"^id: (\d+)$", rest, re.MULTILINE) == ["5", "6"]
    assert other.get("/runs/nobody/events").status_code == 404

    # an approval: who may not, what was not shown, and then the decision
    one.post("/complaints", json=_complaint("A-7", "480"), headers=BOB)
    (entry,) = _until(lambda: other.get("/approvals", headers=ANN).json())
    assert entry["shows"]["arguments"] == {"refund": {"order": "A-7", "amount": "480"}}
    assert one.get("/approvals", headers=BOB).json() == []
    assert _until(lambda: one.get("/runs/refund-A-7").json()["status"] == "waiting")
    address, yes = f"/approvals/{entry['id']}", {"approve": True, "shown": entry["shown"]}
    assert one.post(address, json=yes, headers=BOB).status_code == 409
    assert one.post(address, json={**yes, "shown": "something else"}, headers=ANN).status_code == 409
    assert shop.refunds() == [shop.refunds()[0]]

    # one worker is killed while the run waits; the other takes it over
    owner = _owner_of(shop, "refund-A-7")
    killed = next(worker for worker in workers if owner.startswith(f"{worker.pid}-"))
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait(10)
    assert other.post(address, json=yes, headers=ANN).status_code == 202
    assert _ended(one, "refund-A-7")["result"] == "receipt for A-7"
    assert one.post(address, json=yes, headers=ANN).status_code == 404
    assert [line[:3] for line in shop.refunds()] == [["refund", "B-1", "80"], ["refund", "A-7", "480"]]

    # a no is the failure of the call
    one.post("/complaints", json=_complaint("C-3", "900"), headers=BOB)
    (entry,) = _until(lambda: other.get("/approvals", headers=ANN).json())
    no = {"approve": False, "shown": entry["shown"], "reason": "Ask for photos first."}
    assert one.post(f"/approvals/{entry['id']}", json=no, headers=ANN).status_code == 202
    assert _ended(other, "refund-C-3")["status"] == "failed"
    assert len(shop.refunds()) == 2


def _owner_of(shop: Shop, run: str) -> str:
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import apsw; print(apsw.Connection('work.db').execute(\"SELECT owner FROM runs WHERE id = '{run}'\").get)",
        ],
        cwd=shop.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return listed.stdout.strip()


def test_many_complaints_are_each_settled_once(shop: Shop) -> None:
    """Sixty complaints through two web processes and two workers, one of them killed in the middle: sixty refunds."""
    workers = [shop.worker(), shop.worker()]
    clients = [shop.web(), shop.web()]
    for number in range(60):
        answer = clients[number % 2].post("/complaints", json=_complaint(f"N-{number}", "10"), headers=BOB)
        assert answer.status_code == 202
        if number == 20:
            os.kill(workers[0].pid, signal.SIGKILL)
            workers[0].wait(10)
    for number in range(60):
        assert _ended(clients[(number + 1) % 2], f"refund-N-{number}")["status"] == "completed"
    assert sorted(line[1] for line in shop.refunds()) == sorted(f"N-{number}" for number in range(60))


def test_a_drained_worker_leaves_nothing_undone(shop: Shop) -> None:
    """A worker that is told to stop settles what is in flight and leaves with status 0; the next one goes on."""
    worker = shop.worker()
    client = shop.web()
    for number in range(10):
        client.post("/complaints", json=_complaint(f"D-{number}", "10"), headers=BOB)
    worker.terminate()
    assert worker.wait(40) == 0
    shop.worker()
    for number in range(10):
        assert _ended(client, f"refund-D-{number}")["status"] == "completed"
    assert len(shop.refunds()) == 10


def test_the_commands_of_the_guide_are_those_that_ran() -> None:
    """The page starts the servers with the commands and the files that this test uses."""
    text = "".join(block.text for block in blocks_of(PAGE) if block.language == "sh")
    assert "uvicorn web:app" in text
    assert "chargehand worker refunds:settle" in text
    assert {block.title for block in blocks_of(PAGE) if block.title} == {"refunds.py", "web.py"}
    found = re.search(r"-d '(.*)'", text)
    assert found is not None
    assert json.loads(found.group(1)) == _complaint("A-7", "480")
