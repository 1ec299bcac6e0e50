"""The threads in which sync functions of the user's run. They do not keep the process alive.

The pool of the standard library is joined when the process ends, so one function that never returns would keep a script, or a
worker that was told to stop, from ending for ever. What these threads do when the process ends is broken off, as by a
crash, and made good as after a crash: an agent or a step is run again, an effect that was sent is found out about.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

THREADS_MAX = 64

_Job = tuple[Future[Any], str, Callable[[], Any]]


class Threads(Executor):
    """At most `THREADS_MAX` threads, begun as they are needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._begun = self._idle = 0
        self._closed = False
        self._names: Counter[str] = Counter()

    @property
    def busy(self) -> int:
        """How many calls were handed in and have not ended."""
        return self._names.total()

    @property
    def names(self) -> list[str]:
        """The names of the functions whose calls have not ended."""
        return sorted(+self._names)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in a thread. Raises `RuntimeError` after `shutdown`."""
        return self.begin(getattr(function, "__name__", "a function"), functools.partial(function, *args, **kwargs))

    def begin(self, name: str, call: Callable[[], Any]) -> Future[Any]:
        """Make a call in a thread; `name` is what it is called where it does not end."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("These threads were shut down.")
            self._names[name] += 1
            self._jobs.put((future, name, call))
            if self._idle:
                self._idle -= 1
            elif self._begun < THREADS_MAX:
                self._begun += 1
                threading.Thread(target=self._work, name=f"chargehand-{self._begun}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Take no more calls. Nothing waits for those that go on: `wait` and `cancel_futures` change nothing."""
        with self._lock:
            self._closed = True
            for _ in range(self._begun):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(*job)
            del job  # a thread that waits keeps nothing alive
            with self._lock:
                self._idle += 1

    def _do(self, future: Future[Any], name: str, call: Callable[[], Any]) -> None:
        value, failure = None, None
        if going := future.set_running_or_notify_cancel():
            try:
                value = call()
            except BaseException as error:
                failure = error
        with self._lock:
            self._names[name] -= 1
        if not going:
            return
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(failure)
