"""Sidecars go where their artifacts go: renamed, copied, removed, overwritten by something else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas import _core
from atlas.files import write_atomic
from atlas.proofs import keep_proof
from atlas.sidecar import ASIDE_SUFFIX, INDEX_SUFFIX, PROOF_SUFFIXES, SIDECAR_SUFFIX, proof_paths
from atlas.store import index_path, put_back, set_aside, sidecar_path, write_sidecar

if TYPE_CHECKING:
    from atlas.record.outputs import Output
    from atlas.record.recorder import Recorder

_KEPT = (SIDECAR_SUFFIX, INDEX_SUFFIX, *PROOF_SUFFIXES)
_OURS = (*_KEPT, *(suffix + ASIDE_SUFFIX for suffix in _KEPT))
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
        manifest = sidecar.read_bytes()
        recorder.store.put(manifest)
        for proof in filter(Path.exists, proof_paths(path)):
            keep_proof(recorder.store, _core.log_entry(manifest), proof.read_bytes())
    return set_aside(path)


def discard_aside(path: str) -> None:
    for place in (sidecar_path(path), index_path(path), *proof_paths(path)):
        Path(f"{place}{ASIDE_SUFFIX}").unlink(missing_ok=True)


def _drop(path: str) -> None:
    for place in (sidecar_path(path), index_path(path), *proof_paths(path)):
        place.unlink(missing_ok=True)


def _carry(source: str, target: str) -> None:
    index = index_path(source)
    write_sidecar(target, sidecar_path(source).read_bytes(), index.read_bytes() if index.exists() else None)
    _carry_proofs(source, target)
    _drop(source)


def _carry_proofs(source: str, target: str) -> None:
    for old, new in zip(proof_paths(source), proof_paths(target), strict=True):
        if old.exists():
            write_atomic(new, old.read_bytes())


def copied(recorder: Recorder, source: str, target: str, *, aside: bool) -> None:
    """A file was copied: the same bytes, so the same manifest."""
    if concerns(source):
        write_sidecar(target, sidecar_path(source).read_bytes())
        _carry_proofs(source, target)
    elif aside:
        discard_aside(target)
