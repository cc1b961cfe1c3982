"""Where manifests live: sidecars first, and a content-addressed store that has every manifest.

    $ATLAS_STORE/objects/<aa>/<sha256>   the manifests, as they were signed (and tables that they name by hash)
                 index.sqlite            which of them speak of a digest; a hint, rebuilt from the objects
                 pending/<sha256>        written but not indexed yet
                 runs/                   journals of runs

Nothing in the store is trusted: `get` hashes what it returns, `find` opens every manifest that the index names.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from atlas.catalog import Catalog, Row, UnavailableError
from atlas.entry import Entry, describe, is_manifest
from atlas.errors import MalformedError, NotFound, SystemFailure
from atlas.files import StrPath, home_directory, is_there, link_targets, read_regular, write_atomic
from atlas.sidecar import index_path, put_back, set_aside, sidecar_path, write_sidecar

__all__ = [
    "Entry", "Found", "Health", "Store", "default_directory", "find_manifest", "index_path", "looked_for", "put_back",
    "set_aside", "sidecar_path", "write_sidecar",
]  # fmt: skip

_log = logging.getLogger("atlas.store")

MAX_OBJECT_BYTES = 512 << 20
MAX_FOUND = 100
_HEX = re.compile(r"[0-9a-f]{64}\Z")


class AnyDigest(Protocol):
    @property
    def alg(self) -> str: ...
    @property
    def value(self) -> bytes: ...


class AnyMeasurement(Protocol):
    @property
    def flat(self) -> AnyDigest | None: ...
    @property
    def tree(self) -> AnyDigest | None: ...


@dataclass(frozen=True, slots=True)
class Health:
    directory: Path
    writable: bool
    objects: int
    indexed: int | None  # None: the index cannot be used now
    pending: int


class Found(NamedTuple):
    data: bytes
    where: str


def default_directory() -> Path:
    """ATLAS_STORE, else the user's data directory."""
    chosen = os.environ.get("ATLAS_STORE", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else home_directory() / ".local" / "share"
    return base / "atlas"


def _unwritable(directory: Path, error: OSError) -> SystemFailure:
    return SystemFailure(
        f"the store cannot be written: {error.strerror}",
        where=str(directory),
        hint="set ATLAS_STORE to a directory that you can write to",
    )


# ------------------------------------------------------------------------------------------------- the store


class Store:
    """A content-addressed directory of manifests. Opening one touches nothing; the first `put` makes it."""

    def __init__(self, directory: StrPath | None = None) -> None:
        self.directory = Path(directory).expanduser().absolute() if directory is not None else default_directory()
        self._objects = self.directory / "objects"
        self._pending = self.directory / "pending"
        self._catalog = Catalog(self.directory / "index.sqlite", self._rows)

    def __repr__(self) -> str:
        return f"Store({str(self.directory)!r})"

    @property
    def runs(self) -> Path:
        """Directory of the journals of runs; made on first use."""
        return self._made(self.directory / "runs")

    def _made(self, directory: Path) -> Path:
        try:
            if not is_there(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.directory, error) from error
        return directory

    def _object(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def put(self, data: bytes) -> str:
        """Keep these bytes; returns their SHA-256. A manifest is indexed too, later if the index is busy."""
        data = bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        if is_manifest(data):
            self._mark(sha256)
        if self._read(sha256) != data:
            self._made(self._object(sha256).parent)
            write_atomic(self._object(sha256), data, mtime_ns=time.time_ns())
        if is_manifest(data):
            self._index([sha256])
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """The bytes with this SHA-256, hashed again; None when they are not there or no longer are what they were."""
        if not _HEX.match(sha256):
            return None
        data = self._read(sha256)
        if data is not None and hashlib.sha256(data).hexdigest() != sha256:
            _log.warning("%s is damaged and not used", self._object(sha256))
            return None
        return data

    def _read(self, sha256: str) -> bytes | None:
        try:
            return read_regular(self._object(sha256), limit=MAX_OBJECT_BYTES)
        except NotFound:
            return None
        except (SystemFailure, MalformedError) as error:
            _log.warning("%s", error)
            return None

    def find(self, digest: AnyDigest, *, limit: int = MAX_FOUND) -> list[Entry]:
        """The manifests whose artifact has this digest, flat or tree, newest first."""
        wanted = (digest.alg, bytes(digest.value))
        try:
            candidates = set(self._catalog.lookup(wanted[1], wanted[0])) if is_there(self._objects) else set()
        except UnavailableError as error:
            _log.warning("looking through every object, because the index cannot be used: %s", error)
            candidates = set(self._list())
        candidates.update(self._list_pending())
        entries: list[Entry] = []
        for sha256 in sorted(candidates, key=self._added_ns, reverse=True):
            entry = self.entry(sha256)
            if entry is not None and wanted in entry.digests:
                entries.append(entry)
            if len(entries) >= limit:
                break
        return entries

    def entry(self, sha256: str) -> Entry | None:
        """What the manifest with this SHA-256 says of its artifact."""
        data = self.get(sha256)
        return None if data is None else describe(sha256, data, self._added_ns(sha256))

    def rebuild(self) -> int:
        """Make the index again from the objects; returns the number of manifests in it."""
        self._made(self._objects)
        pending = self._list_pending()
        try:
            self._catalog.rebuild()
            self._unmark(pending)
            return self._catalog.count()
        except UnavailableError as error:
            raise SystemFailure(f"the index cannot be rebuilt: {error}", where=str(self.directory)) from error

    def health(self) -> Health:
        """Numbers for `atlas doctor`."""
        objects = list(self._list())
        try:
            indexed = self._catalog.count() if objects else 0
        except UnavailableError:
            indexed = None
        place = self.directory
        while not is_there(place):
            place = place.parent
        return Health(self.directory, os.access(place, os.W_OK), len(objects), indexed, len(self._list_pending()))

    # ----------------------------------------------------------------------------------------------- inside

    def _added_ns(self, sha256: str) -> int:
        try:
            return self._object(sha256).stat().st_mtime_ns
        except OSError:
            return 0

    def _list(self) -> Iterator[str]:
        """Names of all objects. What a crash left behind under a temporary name is no object."""
        with contextlib.suppress(OSError):
            for directory in sorted(self._objects.iterdir()):
                with contextlib.suppress(OSError):
                    yield from (file.name for file in sorted(directory.iterdir()) if _HEX.match(file.name))

    def _list_pending(self) -> list[str]:
        try:
            return [file.name for file in self._pending.iterdir() if _HEX.match(file.name)]
        except OSError:
            return []

    def _rows_of(self, sha256: str) -> list[Row]:
        entry = self.entry(sha256)
        return [] if entry is None else [(value, alg, sha256) for alg, value in entry.digests]

    def _rows(self) -> Iterator[Row]:
        for sha256 in self._list():
            yield from self._rows_of(sha256)

    def _mark(self, sha256: str) -> None:
        """A crash or a busy index after this line costs nothing: `find` looks at marked objects too."""
        marker = self._made(self._pending) / sha256
        try:
            marker.touch()
        except OSError as error:
            raise _unwritable(self.directory, error) from error

    def _unmark(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                (self._pending / name).unlink()

    def _index(self, names: Sequence[str]) -> None:
        """Index these, and with them whatever others could not finish (their objects are complete or not there)."""
        ready = [name for name in {*names, *self._list_pending()} if is_there(self._object(name))]
        try:
            self._catalog.add([row for name in ready for row in self._rows_of(name)])
        except UnavailableError as error:
            _log.info("indexed later: %s", error)
            return
        self._unmark(ready)


# ---------------------------------------------------------------------------------------------------- lookups


def _places(path: StrPath) -> Iterator[Path]:
    yield sidecar_path(path)
    for target in link_targets(str(path).rstrip("/") or "/"):
        yield sidecar_path(target)


def _measured(path: StrPath) -> AnyMeasurement:
    from atlas.measure import measure

    return measure(path)


def find_manifest(
    path: StrPath,
    *,
    manifest: StrPath | None = None,
    store: Store | None = None,
    measured: Callable[[StrPath], AnyMeasurement] = _measured,
) -> Found | None:
    """The manifest of an artifact: `manifest` if given, else its sidecar, the sidecar of a link's target, the store.

    The store is asked by digest, so `measured(path)` is called only when nothing stands beside the artifact. None when
    there is none: `looked_for` says where it looked. A `manifest` that is named must be there.
    """
    if manifest is not None:
        return Found(read_regular(manifest), str(manifest))
    for place in _places(path):
        with contextlib.suppress(NotFound):
            return Found(read_regular(place), str(place))
    store = store if store is not None else Store()
    if not is_there(store.directory) or not is_there(path):
        return None
    measurement = measured(path)
    for digest in (measurement.flat, measurement.tree):
        for entry in store.find(digest, limit=1) if digest is not None else []:
            data = store.get(entry.sha256)
            if data is not None:
                return Found(data, f"store, {entry.sha256}")
    return None


def need_manifest(path: StrPath, *, manifest: StrPath | None = None, store: Store | None = None) -> Found:
    """`find_manifest`, or NotFound: of the artifact, or with the places that were looked at."""
    store = store if store is not None else Store()
    found = find_manifest(path, manifest=manifest, store=store)
    if found is not None:
        return found
    if not is_there(path):
        raise NotFound("no such file or directory", where=str(path), hint="check the path of the artifact")
    raise NotFound("has no manifest", where=str(path), hint=f"looked for {looked_for(path, store)}")


def looked_for(path: StrPath, store: Store | None = None) -> str:
    """Where `find_manifest` looks, for the message when it found nothing."""
    store = store if store is not None else Store()
    places = [*dict.fromkeys(str(place) for place in _places(path)), f"the store {store.directory}"]
    return ", ".join(places)
