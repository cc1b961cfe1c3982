"""Sidecars: the files beside an artifact that hold its manifest. Names, bounded reads, and writes that survive a crash.

    model.pt -> model.pt.c2pa          data/ -> data.c2pa and data.c2pa-index

Overwriting an artifact goes in this order: `set_aside` before its first byte changes, `write_sidecar` when it is
complete. A crash between the two leaves "no manifest", never a manifest that accuses the new bytes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from atlas.errors import LimitError, NotFound, SystemFailure

SIDECAR_SUFFIX = ".c2pa"
INDEX_SUFFIX = ".c2pa-index"
ASIDE_SUFFIX = ".old"
TEMPORARY_PREFIX = ".atlas-"
MAX_STORE_BYTES = 64 << 20  # ATLAS_MAX_STORE_BYTES of atlas.h
MAX_LINKS = 40  # as many hops as the kernel follows (path_resolution(7))

StrPath = str | os.PathLike[str]


def _beside(path: StrPath, suffix: str) -> Path:
    place = Path(path)
    if place.name in ("", ".."):  # ".", "..", "/": only the resolved path has a name
        place = Path(os.path.realpath(place))
    return place.parent / (place.name + suffix)


def sidecar_path(path: StrPath) -> Path:
    """Where the manifest of this file or directory stands."""
    return _beside(path, SIDECAR_SUFFIX)


def index_path(path: StrPath) -> Path:
    """Where the index of this directory stands."""
    return _beside(path, INDEX_SUFFIX)


def link_targets(path: StrPath) -> Iterator[Path]:
    """Each hop of a symbolic link, nearest first; nothing when the path is not a link."""
    place = Path(path)
    for _ in range(MAX_LINKS):
        try:
            target = place.readlink()
        except OSError:
            return
        place = place.parent / target
        yield place


def open_regular(path: StrPath) -> BinaryIO:
    """A regular file, open for reading. Never blocks on a FIFO and never opens a device or a directory for long."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise NotFound("no such file", where=str(path)) from None
    except OSError as error:
        raise SystemFailure(f"cannot be opened: {error.strerror}", where=str(path)) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SystemFailure("is not a regular file", where=str(path))
    return os.fdopen(fd, "rb")


def read_regular(path: StrPath, *, limit: int = MAX_STORE_BYTES) -> bytes:
    """The bytes of a regular file of at most `limit` bytes."""
    with open_regular(path) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise SystemFailure(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > limit:
        raise LimitError(f"is larger than {limit} bytes", where=str(path))
    return data


def sync_directory(directory: StrPath) -> None:
    """Make renames in this directory durable. File systems that cannot do it (EINVAL) are left to their own ways."""
    with contextlib.suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_atomic(path: Path, data: bytes, *, mtime_ns: int | None = None) -> None:
    """The file appears whole or not at all, power cuts included: temporary file beside it, fsync, rename, fsync."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}.tmp"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                if mtime_ns is not None:
                    os.utime(fd, ns=(mtime_ns, mtime_ns))
                os.fsync(fd)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise SystemFailure(f"cannot be written: {error.strerror or error}", where=str(path)) from error
    sync_directory(path.parent)


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ASIDE_SUFFIX)


def set_aside(path: StrPath) -> bool:
    """Move the sidecar of an artifact that is about to change to `<sidecar>.old`; True when there was one.

    The manifest goes first: an index alone says nothing.
    """
    moved = False
    for place in (sidecar_path(path), index_path(path)):
        try:
            place.replace(_aside(place))
            moved = True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SystemFailure(
                f"the old manifest cannot be moved aside: {error.strerror}",
                where=str(place),
                hint="it would accuse the new bytes; make the directory writable or remove the file",
            ) from error
    if moved:
        sync_directory(sidecar_path(path).parent)
    return moved


def put_back(path: StrPath) -> None:
    """Undo `set_aside` for an artifact that was not changed after all. The manifest comes last, as in writing."""
    for place in (index_path(path), sidecar_path(path)):
        with contextlib.suppress(OSError):
            if not place.exists():
                _aside(place).replace(place)


def write_sidecar(path: StrPath, manifest: bytes, index: bytes | None = None) -> Path:
    """Put a manifest (and a directory's index) beside its artifact; returns the sidecar's path.

    A lone manifest replaces the old one in one rename. With an index the old manifest is moved aside first, so that
    no crash leaves an old manifest beside a new index.
    """
    sidecar = sidecar_path(path)
    if index is not None:
        set_aside(path)
        write_atomic(index_path(path), index)
    write_atomic(sidecar, manifest)
    for place in (sidecar, index_path(path)):
        with contextlib.suppress(OSError):
            _aside(place).unlink()
    return sidecar
