"""Inputs: which manifest came with the bytes that were read, and, in enforce, whether they may be used at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.claim import Gap
from atlas.entry import MEASUREMENT, content, number_of, read_manifests
from atlas.errors import AtlasError, NotFound, SystemFailure, VerificationError
from atlas.measure import measure
from atlas.model import DEFAULT_IGNORE, Digest, Measurement
from atlas.record.guard import describe
from atlas.record.names import Names
from atlas.record.rollup import Member, read_index
from atlas.record.settings import Settings
from atlas.store import Store, find_manifest, sidecar_path
from atlas.verify import examine, verify_measured

_REFUSED = ("INVALID", "MALFORMED", "LIMIT", "ERROR")
_MAX_MISSES = 64  # lookups in the store without an answer, for one directory
MAX_IN_PASSING = 16 << 30  # bytes of a signed directory that are measured because one of its files was read

Report = Callable[[Gap], None]


@dataclass(frozen=True, slots=True)
class SignedDirectory:
    """A directory with a manifest, measured as a whole and found to match it."""

    path: str
    measurement: Measurement
    manifest: bytes
    members: dict[str, Member]

    def holds(self, path: str, measurement: Measurement) -> bool:
        member = self.members.get(path)
        tree = measurement.tree
        return member is not None and tree is not None and member.tree == tree.value


class Inputs:
    def __init__(self, settings: Settings, names: Names, store: Store, report: Report) -> None:
        self._settings = settings
        self._names = names
        self._store = store
        self._report = report
        self.pins: set[tuple[str, bytes]] = set()
        self._misses: dict[str, int] = {}
        self._directories: dict[str, SignedDirectory | None] = {}
        self._lock = threading.RLock()
        self.measured: dict[str, tuple[int, ...]] = {}  # absolute path -> signature of the file when it was measured
        self.measured_directories: set[str] = set()

    def forked(self) -> None:
        self._lock = threading.RLock()

    @property
    def enforce(self) -> bool:
        return self._settings.mode == "enforce"

    def pin(self, digest: Digest) -> None:
        """Allow bytes of unknown provenance, by their flat or tree digest."""
        self.pins.add(digest.pair)

    def is_pinned(self, measurement: Measurement) -> bool:
        return any(d is not None and d.pair in self.pins for d in (measurement.flat, measurement.tree))

    def knows(self, path: str) -> bool:
        """Whether this file was measured, alone or as part of a directory, and has not changed since."""
        known = self.measured.get(path)
        if known is not None:
            return not known or known == signature(path)
        return any(path.startswith(f"{directory}/") for directory in self.measured_directories)

    # ------------------------------------------------------------------------------------------- observe

    def match(self, path: str, name: str, measurement: Measurement) -> bytes | None:
        """The manifest that is bound to exactly these bytes; without one, None, and a gap where one claims to be."""
        try:
            found = self._find(path, measurement)
        except (AtlasError, OSError) as error:
            self._report(Gap(name, f"its manifest cannot be read: {self._names.scrub(describe(error))}"))
            return None
        if found is None:
            return None
        verdict = examine(found, measurement)
        if verdict.answer in _REFUSED:
            why = verdict.failures[0].text if verdict.failures else verdict.answer
            self._report(Gap(name, f"does not match the manifest beside it, which was not used: {why}"))
            return None
        return found

    def _find(self, path: str, measurement: Measurement) -> bytes | None:
        parent = os.path.dirname(path)  # noqa: PTH120
        if path and (self._misses.get(parent, 0) < _MAX_MISSES or os.path.lexists(sidecar_path(path))):
            found = find_manifest(path, store=self._store, measured=lambda _path: measurement)
            if found is None:
                self._misses[parent] = self._misses.get(parent, 0) + 1
            return found.data if found is not None else None
        return None if path else self._by_digest(measurement)

    def _by_digest(self, measurement: Measurement) -> bytes | None:
        for digest in (measurement.flat, measurement.tree):
            for entry in self._store.find(digest, limit=1) if digest is not None else []:
                return self._store.get(entry.sha256)
        return None

    # ------------------------------------------------------------------------------------------- enforce

    def require(self, path: str, name: str, measurement: Measurement) -> bytes | None:
        """The manifest under which these bytes may be used; None for pinned bytes of unknown provenance.

        `measurement` is of the bytes that the caller holds and hands out. Raises VerificationError for all else.
        """
        if self.is_pinned(measurement):
            return self.match(path, name, measurement)
        directory = self._required_directory(path, measurement)
        if directory is not None:
            return None
        found = self._find(path, measurement)
        if found is None:
            raise VerificationError(
                "unknown provenance: no manifest vouches for it",
                code="org.atlasml.input.unknown",
                where=name,
                hint=f'if these bytes are trusted all the same: run.pin("{measurement.tree or measurement.flat}")',
            )
        verdict = verify_measured(
            measurement, found, path=path or name, trust=self._settings.trust, store=self._store
        )
        verdict.raise_for_status()
        stated = verdict.nodes[0].tree if verdict.nodes else None
        if stated != measurement.tree or (measurement.tree is None):
            raise VerificationError("the bytes are not the ones that the manifest is bound to", where=name)
        return found

    def _required_directory(self, path: str, measurement: Measurement) -> SignedDirectory | None:
        if not path or os.path.lexists(sidecar_path(path)):
            return None
        directory = self.directory_of(path)
        return directory if directory is not None and directory.holds(path, measurement) else None

    # ---------------------------------------------------------------------------------------- directories

    def directory_of(self, path: str) -> SignedDirectory | None:
        """The nearest directory above that has a manifest and matches it; measured once, in enforce verified once."""
        return self._nearest(self._parents(path))

    def directory_at(self, path: str) -> SignedDirectory | None:
        """This directory, or the nearest one above, that has a manifest and matches it."""
        return self._nearest(self._parents(f"{path}/any"))

    def _nearest(self, parents: list[str]) -> SignedDirectory | None:
        for parent in parents:
            if os.path.lexists(sidecar_path(parent)):
                with self._lock:
                    if parent not in self._directories:
                        self._directories[parent] = self._take_directory(parent)
                    return self._directories[parent]
        return None

    def _parents(self, path: str) -> list[str]:
        root = str(self._names.root)
        parents = [str(p) for p in Path(path).parents]
        if self._names.inside(path):
            return [p for p in parents if self._names.inside(p) and p != root]
        return parents[:3]

    def _take_directory(self, path: str) -> SignedDirectory | None:
        name = self._names.logical(path)
        try:
            size = number_of(content(read_manifests(sidecar_path(path).read_bytes())[-1], MEASUREMENT), "size")
            if size > MAX_IN_PASSING:
                self._report(Gap(name, "is too large to be measured in passing; declare it with run.input()"))
                return None
            measurement = self.measure_directory(path)
        except (AtlasError, OSError, LookupError) as error:
            self._report(Gap(name, f"has a manifest but cannot be measured: {self._names.scrub(describe(error))}"))
            return None
        manifest = self.match(path, name, measurement)
        if manifest is None or measurement.index is None:
            return None
        if self.enforce:
            held = verify_measured(measurement, manifest, path=path, trust=self._settings.trust, store=self._store)
            held.raise_for_status()
        return SignedDirectory(path, measurement, manifest, read_index(measurement.index, path))

    def measure_directory(self, path: str) -> Measurement:
        """Measured under the ignore list of its own manifest, if it has one."""
        ignore: Any = None
        try:
            found = find_manifest(path, store=self._store, measured=_not_measured)
            if found is not None:
                ignore = content(read_manifests(found.data)[-1], MEASUREMENT).get("ignore")
        except (AtlasError, OSError, LookupError):
            ignore = None
        chosen = (
            tuple(ignore) if isinstance(ignore, list) and all(isinstance(i, str) for i in ignore) else DEFAULT_IGNORE
        )
        return measure(path, ignore=chosen, cache=self._settings.cache)


def _not_measured(_path: object) -> Measurement:
    return Measurement("directory", None, None, 0)


def signature(path: str) -> tuple[int, ...]:
    """Changes whenever the file does, short of deliberate forgery: used to notice, never to prove."""
    try:
        s = os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns)


def check_exists(path: str) -> None:
    if not os.path.exists(path):  # noqa: PTH110
        raise NotFound("no such file or directory", where=path, hint="check the path of the input")
    if not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH113, PTH112
        raise SystemFailure("is neither a file nor a directory", where=path)
