"""Sidecars go where their artifacts go: renamed, copied, removed, overwritten by something else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.sidecar import ASIDE_SUFFIX, INDEX_SUFFIX, SIDECAR_SUFFIX
from atlas.store import index_path, put_back, set_aside, sidecar_path, write_sidecar

if TYPE_CHECKING:
    from atlas.record.outputs import Output
    from atlas.record.recorder import Recorder

_OURS = (SIDECAR_SUFFIX, INDEX_SUFFIX, SIDECAR_SUFFIX + ASIDE_SUFFIX, INDEX_SUFFIX + ASIDE_SUFFIX, ".tlog-proof")
KIND = "keeping a manifest with its artifact"


def concerns(path: str) -> bool:
    """Cheap: whether something stands beside this path that must follow it."""
    return os.path.lexists(path + SIDECAR_SUFFIX)


def is_own(path: str) -> bool:
    return path.endswith(_OURS)


@dataclass(slots=True)
class Move:
    """A rename that is about to happen. `done` or `undo` must follow."""

    recorder: Recorder
    source: str
    target: str
    aside: bool = False

    def begin(self) -> None:
        """The target's bytes change: its manifest would accuse the new ones."""
        if concerns(self.target):
            self.aside = keep_and_set_aside(self.recorder, self.target)

    def undo(self) -> None:
        if self.aside:
            put_back(self.target)

    def done(self) -> None:
        recorder = self.recorder
        output = recorder.outputs.at(self.source)
        inner = recorder.outputs.under(self.source) if os.path.isdir(self.target) else []  # noqa: PTH112
        signed = False
        if output is not None:
            with recorder.guard(KIND, output.name):
                signed = recorder.outputs.moved(output, self.target)
        if signed:
            _drop(self.source)
        elif concerns(self.source):
            _carry(self.source, self.target)
        elif self.aside:
            discard_aside(self.target)
        for each in inner:
            self._inner(each)

    def _inner(self, output: Output) -> None:
        """A directory was renamed with what was saved in it."""
        self.recorder.outputs.moved(output, self.target + output.path[len(self.source) :])


def keep_and_set_aside(recorder: Recorder, path: str) -> bool:
    """Out of the way, but not lost: the store keeps manifests that came from elsewhere too."""
    sidecar = sidecar_path(path)
    with recorder.guard("keeping records in the store", recorder.names.logical(path)):
        recorder.store.put(sidecar.read_bytes())
    return set_aside(path)


def discard_aside(path: str) -> None:
    for place in (sidecar_path(path), index_path(path)):
        Path(f"{place}{ASIDE_SUFFIX}").unlink(missing_ok=True)


def _drop(path: str) -> None:
    for place in (sidecar_path(path), index_path(path)):
        place.unlink(missing_ok=True)


def _carry(source: str, target: str) -> None:
    index = index_path(source)
    write_sidecar(target, sidecar_path(source).read_bytes(), index.read_bytes() if index.exists() else None)
    _drop(source)


def copied(recorder: Recorder, source: str, target: str, *, aside: bool) -> None:
    """A file was copied: the same bytes, so the same manifest."""
    if concerns(source):
        write_sidecar(target, sidecar_path(source).read_bytes())
    elif aside:
        discard_aside(target)
