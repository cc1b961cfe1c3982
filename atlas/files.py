"""Files, read and written so that a hostile or a dying machine does no harm: bounded, never blocking, whole or not."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from atlas.errors import LimitError, NotFound, SystemFailure

TEMPORARY_PREFIX = ".atlas-"
MAX_STORE_BYTES = 64 << 20  # ATLAS_MAX_STORE_BYTES of atlas.h
MAX_LINKS = 40  # as many hops as the kernel follows (path_resolution(7))

StrPath = str | os.PathLike[str]


def home_directory() -> Path:
    """The user's home; a place that does not exist for a user without one, as in some containers."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser raises where there is no home
    return Path(home) if Path(home).is_absolute() else Path("/nonexistent")


def is_there(path: StrPath) -> bool:
    """Path.exists, but a name that is too long, or lies in a directory that is closed to us, is simply not there."""
    try:
        Path(path).stat()
    except (OSError, ValueError):
        return False
    return True


def need_directory(path: StrPath | None) -> Path | None:
    """A folder that was named must be there: a typing error would otherwise read as "nothing found"."""
    if path is not None and not Path(path).is_dir():
        raise NotFound("no such directory", where=os.fspath(path))
    return Path(path) if path is not None else None


def open_regular(path: StrPath) -> BinaryIO:
    """A regular file, open for reading. Never blocks on a FIFO and never opens a device or a directory for long."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name
        raise NotFound("no such file", where=str(path)) from None
    except OSError as error:
        raise SystemFailure(f"cannot be opened: {error.strerror}", where=str(path)) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SystemFailure("is not a regular file", where=str(path))
    return os.fdopen(fd, "rb")


def version_of(path: StrPath) -> tuple[int, ...]:
    """Changes with the file, as far as its times tell."""
    try:
        s = os.stat(path)  # noqa: PTH116 - whatever os.fspath takes
    except OSError as error:
        raise SystemFailure(f"cannot be looked at: {error.strerror}", where=os.fspath(path)) from error
    return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns


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
