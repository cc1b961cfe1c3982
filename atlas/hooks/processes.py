"""Hook points of threads and processes: a thread belongs to the step it is started in; while child processes run, what
they save is signed as it comes, and not only when the parent wakes up."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from atlas.hooks.engine import HookPoint, like

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

POLL_SECONDS = 0.5


class ProcessHooks:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._thread: threading.Thread | None = None

    def points(self) -> list[HookPoint]:
        return [
            HookPoint("threads", "threading", "Thread.start", self._start_thread),
            HookPoint("multiprocessing", "multiprocessing.process", "BaseProcess.start", self._start),
        ]

    def _start_thread(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        def start(thread: threading.Thread) -> None:
            recorder = self._recorder
            if recorder.live:
                with recorder.guard("following threads"):
                    recorder.steps.adopt(thread)
            original(thread)

        return like(original, start)

    def _start(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        def start(process: Any) -> None:
            original(process)
            recorder = self._recorder
            if recorder.live and recorder.owner and not _is_worker(process):
                with recorder.guard("watching child processes"):
                    self._watch()

        return like(original, start)

    def _watch(self) -> None:
        """One thread, for as long as there are children: the parent may do nothing but wait for them."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(target=self._follow, name="atlas-children", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        recorder = self._recorder
        while recorder.live and _children():
            time.sleep(POLL_SECONDS)
            with recorder.entry("reading the journals of children"):
                recorder.merge()


def _children() -> bool:
    process = sys.modules["multiprocessing.process"]
    return any(child.is_alive() for child in list(process._children))


def _is_worker(process: Any) -> bool:
    """Workers of a DataLoader save nothing; their journals are read when an artifact is signed."""
    target = getattr(process, "_target", None)
    return getattr(target, "__module__", "").startswith("torch.utils.data")
