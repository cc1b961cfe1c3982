"""A thread behind a writer: works through pieces of memory in order, while the writer goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_SLICE = 16 << 20  # small enough that the room that a writer waits for comes free soon


class Lane:
    """`work(view)` for every piece that is put in, one after the other. `keep` lives as long as its piece is needed.

    After the first failure pieces are passed over; `error` has it. Belongs to the thread that puts and waits.
    """

    def __init__(self, name: str, work: Callable[[memoryview], object], *, sliced: bool = False) -> None:
        self.done = 0  # bytes
        self.error: BaseException | None = None
        self._work = work
        self._put = 0
        self._sliced = sliced
        self._queue: deque[tuple[memoryview, Any]] = deque()
        self._monitor = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, view: memoryview, keep: Any) -> None:
        step = _SLICE if self._sliced else max(1, len(view))
        with self._monitor:
            for start in range(0, len(view), step):
                self._queue.append((view[start : start + step], keep))
            self._put += len(view)
            self._monitor.notify_all()

    @property
    def total(self) -> int:
        """Bytes that were put in."""
        return self._put

    def wait(self, *, behind: int = 0) -> None:
        """Until at most so many bytes are left to do."""
        with self._monitor:
            self._monitor.wait_for(lambda: self._put - self.done <= behind)

    def close(self) -> None:
        """Drop what is left, and end the thread: nothing is looked at any more after this."""
        with self._monitor:
            self._queue.clear()
            self._closed = True
            self._monitor.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._monitor:
                self._monitor.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                view, keep = self._queue.popleft()
            try:
                if self.error is None:
                    self._work(view)
            except BaseException as error:
                self.error = error
            size = len(view)
            del view, keep  # before anybody hears that it is done
            with self._monitor:
                self.done += size
                self._monitor.notify_all()
