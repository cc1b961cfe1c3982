"""Work that must not hold up the script: one thread, started when there is work, gone when there is none."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_IDLE_SECONDS = 0.5


class Job:
    """A piece of work; `result` waits for it, or does it here where no thread ever will (a forked child)."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.value: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        with self._lock:
            if self._done.is_set():
                return
            try:
                self.value = self._work()
            except Exception as error:
                self.error = error
            self._work = _nothing
            self._done.set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float | None) -> bool:
        """False when it is not done in time."""
        if self._pid != os.getpid() and not self._done.is_set():
            self._lock = threading.Lock()
            self._pid = os.getpid()
            self.run()
        return self._done.wait(seconds)


def _nothing() -> None:
    return None


class Background:
    def __init__(self) -> None:
        self._queue: deque[Job] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[], Any]) -> Job:
        job = Job(work)
        with self._wake:
            self._queue.append(job)
            self._wake.notify()
            started = self._thread is not None or self._start()
        if not started:
            job.run()
        return job

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name="atlas-measure", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down, or the limit of threads is reached
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._queue and not self._wake.wait(_IDLE_SECONDS) and not self._queue:
                    self._thread = None
                    return
                if not self._queue:
                    continue
                job = self._queue.popleft()
            job.run()

    def forked(self) -> None:
        self._queue = deque()
        self._wake = threading.Condition()
        self._thread = None
