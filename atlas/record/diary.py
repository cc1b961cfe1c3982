"""What this process writes into its journal. A journal that fails once is given up: the manifests are what counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from atlas.record.family import ENDED
from atlas.record.journal import Journal, Record
from atlas.record.ledger import Load
from atlas.record.merge import measurement_record
from atlas.record.outputs import STORE, Output, keep_table

if TYPE_CHECKING:
    from pathlib import Path

    from atlas.record.recorder import Recorder

FLUSH_SECONDS = 0.05  # between two states of a rank's loaders


class Diary:
    def __init__(self, recorder: Recorder, directory: Path, label: str = "") -> None:
        self._recorder = recorder
        self._directory = directory
        self._journal = Journal(directory, label)
        self._flushed = 0.0
        self._broken = False

    @property
    def name(self) -> str:
        return self._journal.name

    def forked(self) -> None:
        """A child has a file of its own."""
        self._journal.forked()
        self._journal = Journal(self._directory)
        self._broken = False

    def write(self, kind: str, record: Record) -> None:
        if self._broken:
            return
        try:
            with self._recorder.own():
                self._journal.append(kind, record)
        except Exception as error:
            self._broken = True
            self._recorder.guard.failed(STORE, error)

    def end(self, status: str) -> None:
        """The last line; in the owner's directory a sign that nobody reads the others any more."""
        self.write("end", {"status": status})
        if self._recorder.owner and not self._broken:
            (self._directory / ENDED).touch()
        self._journal.close()

    def load(self, load: Load) -> None:
        sha256 = None
        if load.manifest is not None:
            with self._recorder.guard(STORE, load.name):
                sha256 = self._recorder.store.put(load.manifest)
        self.write(
            "load",
            {"name": load.name, "path": load.path, "measurement": measurement_record(load.measurement),
             "role": load.role, "via": load.via, "declared": load.declared, "manifest": sha256, "step": load.step.id},
        )  # fmt: skip

    def output(self, output: Output) -> None:
        self.flush(force=True)
        with self._recorder.guard(STORE, output.name):
            keep_table(self._recorder, output.measurement)
        self.write(
            "saved",
            {"name": output.name, "path": output.path, "measurement": measurement_record(output.measurement),
             "via": output.via, "source": output.source, "asset_type": output.asset_type, "training": output.training,
             "step": output.step.id},
        )  # fmt: skip

    def flush(self, *, force: bool = False) -> None:
        """Other ranks: what the loaders did so far, where rank 0 will look for it."""
        now = time.monotonic()
        if self._recorder.owner or self._broken or (not force and now - self._flushed < FLUSH_SECONDS):
            return
        uses = [use for use in self._recorder.ledger.loaders if use.batches]
        if not uses or not (force or any(use.changed for use in uses)):
            return
        self._flushed = now
        try:
            with self._recorder.own():
                self._journal.state({"loaders": [use.record() for use in uses]})
        except Exception as error:
            self._broken = True
            self._recorder.guard.failed(STORE, error)
        for use in uses:
            use.changed = False
