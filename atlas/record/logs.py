"""Every manifest that a run signs goes into a log, without the program ever waiting for it.

What is to be logged is written down first; a thread submits it. At the end the run gives it a few seconds; what is
not logged then stays written down, and `atlas log flush` tries again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from atlas.log_queue import LogQueue, Pending
from atlas.log_target import LogTarget
from atlas.record.background import Background, Job

if TYPE_CHECKING:
    from atlas.model import SignedManifest
    from atlas.record.recorder import Recorder

LOGGING = "putting a signature into the log"
END_SECONDS = 10.0  # for what is still on its way when the run ends


class Logs:
    def __init__(self, recorder: Recorder, target: LogTarget | None) -> None:
        self._recorder = recorder
        self._target = target
        self._queue = LogQueue(recorder.store)
        self._background = Background()
        self._lock = threading.Lock()
        self._waiting: list[Pending] = []
        self._failed: dict[bytes, Pending] = {}
        self._job: Job | None = None

    def add(self, signed: SignedManifest, path: str) -> None:
        """Write it down, and let the thread know."""
        if self._target is None:
            return
        try:
            pending = self._queue.add(signed.store, signed.sha256, self._target, path)
        except Exception as error:  # the manifest is signed and stored: nothing of the run is lost
            self._recorder.guard.failed(LOGGING, error, signed.name)
            return
        with self._lock:
            self._waiting.append(pending)
        self._job = self._background.submit(self._submit)

    def _submit(self) -> None:
        """All that waits at once: a log commits many entries as fast as one."""
        with self._lock:
            batch, self._waiting = self._waiting, []
        with self._recorder.own():
            done = self._queue.flush(batch) if batch else None
        if done is not None:
            with self._lock:
                self._failed.update((pending.leaf, pending) for pending in done.failed)

    def finish(self) -> None:
        """Say what is not logged; it stays in the queue."""
        if self._job is None:
            return
        in_time = self._job.wait(END_SECONDS)
        with self._lock:
            reasons = sorted({pending.error for pending in self._failed.values()})
            open_ = bool(self._failed or self._waiting) or self._job.error is not None or not in_time
        if open_:
            reason = reasons[0] if reasons else str(self._job.error or "the log has not answered yet")
            text = f"not every signature is logged yet ({reason}); `atlas log pending` lists them"
            self._recorder.guard.warn(LOGGING, text)

    def forked(self) -> None:
        """A child signs nothing, so it logs nothing."""
        self._target = None
        self._job = None


__all__ = ["Logs"]
