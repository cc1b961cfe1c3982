"""Signatures that wait to be logged. Training writes them down here and goes on; `atlas log flush` submits.

    $ATLAS_STORE/log-queue/<leaf hash>-<log>.json    entry, where it goes, and beside which artifact its proof belongs

The order is: manifest in the store, line in this queue, log, proof in the store and beside the artifact, line removed.
What a crash leaves is submitted again: the same entry has the same leaf hash, and a log is asked for it first.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas import _core
from atlas.errors import AtlasError, MalformedError, NotFound
from atlas.files import StrPath, read_regular, write_atomic
from atlas.log_target import LogTarget
from atlas.proofs import keep_proof, leaf_of
from atlas.sidecar import sidecar_path
from atlas.store import Store

MAX_LINE_BYTES = 256 << 10
BATCH = 256
_FIELDS = ("place", "policy", "read_url", "token_file", "key")


@dataclass(frozen=True, slots=True)
class Pending:
    """One signature that is not proven to be logged yet."""

    entry: bytes
    target: LogTarget
    artifact: str  # "" when it has no place on the disk
    manifest: str  # SHA-256, in the store
    error: str = ""  # why the last attempt failed

    @property
    def leaf(self) -> bytes:
        return leaf_of(self.entry)

    def encode(self) -> bytes:
        target = {name: getattr(self.target, name) for name in _FIELDS}
        document = {
            "entry": base64.b64encode(self.entry).decode(),
            "artifact": self.artifact,
            "manifest": self.manifest,
            "error": self.error,
            "target": {name: None if value is None else os.fspath(value) for name, value in target.items()},
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, where: str) -> Pending:
        try:
            document: dict[str, Any] = json.loads(data)
            target = LogTarget(**{name: document["target"][name] for name in _FIELDS})
            texts = [str(document[name]) for name in ("artifact", "manifest", "error")]
            return cls(base64.b64decode(document["entry"], validate=True), target, *texts)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise MalformedError("not a line of the log queue", where=where, hint="remove it, and log again") from None


@dataclass(frozen=True, slots=True)
class Flushed:
    """What came of one flush."""

    logged: tuple[Pending, ...]
    failed: tuple[Pending, ...]  # with their reasons; they stay in the queue


class LogQueue:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.folder = store.directory / "log-queue"

    def _place(self, pending: Pending) -> Path:
        """One signature may wait for several logs."""
        target = hashlib.sha256(pending.target.place.encode()).hexdigest()[:16]
        return self.folder / f"{pending.leaf.hex()}-{target}.json"

    def add(self, manifest: bytes, sha256: str, target: LogTarget, artifact: StrPath = "") -> Pending:
        """Write down that this manifest's signature is to be logged."""
        artifact = str(Path(artifact).absolute()) if artifact else ""
        pending = Pending(_core.log_entry(manifest), target.absolute(), artifact, sha256)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._place(pending), pending.encode())
        return pending

    def pending(self) -> list[Pending]:
        found = []
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(NotFound):
                found.append(Pending.decode(read_regular(path, limit=MAX_LINE_BYTES), str(path)))
        return found

    def flush(self, wanted: Iterable[Pending] | None = None) -> Flushed:
        """Submit what waits, target by target. Never raises for one that fails: its reason is kept with it."""
        groups: dict[LogTarget, list[Pending]] = {}
        for pending in self.pending() if wanted is None else wanted:
            groups.setdefault(pending.target, []).append(pending)
        logged: list[Pending] = []
        failed: list[Pending] = []
        for target, group in groups.items():
            for start in range(0, len(group), BATCH):
                self._submit(target, group[start : start + BATCH], logged, failed)
        return Flushed(tuple(logged), tuple(failed))

    def _submit(self, target: LogTarget, batch: list[Pending], logged: list[Pending], failed: list[Pending]) -> None:
        results: list[bytes | AtlasError]
        try:
            results = target.submit([pending.entry for pending in batch], self._store)
        except AtlasError as error:
            results = [error] * len(batch)
        for pending, result in zip(batch, results, strict=True):
            try:
                if isinstance(result, AtlasError):
                    raise result
                keep_proof(self._store, pending.entry, result, beside=self._beside(pending))
                self._place(pending).unlink(missing_ok=True)
                logged.append(pending)
            except (AtlasError, OSError) as error:  # one that has no place must not hold up those behind it
                failed.append(self._failed(pending, str(error)))

    def _failed(self, pending: Pending, why: str) -> Pending:
        again = Pending(pending.entry, pending.target, pending.artifact, pending.manifest, why)
        if self._place(again).exists():
            write_atomic(self._place(again), again.encode())
        return again

    def _beside(self, pending: Pending) -> str | None:
        """The artifact, if its manifest is still this one: it may have been written and signed again."""
        if not pending.artifact:
            return None
        try:
            beside = read_regular(sidecar_path(pending.artifact))
        except (AtlasError, OSError):
            return None
        return pending.artifact if beside == self._store.get(pending.manifest) else None


__all__ = ["Flushed", "LogQueue", "Pending"]
