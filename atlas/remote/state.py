"""What a witness or a monitor has seen of each log, kept apart from the log: `DIR/<sha256 of the origin>/checkpoint`.

It is their one possession, and only ever moves forward. One process at a time; every change is on the disk before
anybody hears of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

from atlas.errors import NotFound, SystemFailure
from atlas.files import StrPath, read_regular
from atlas.remote.source import MAX_CHECKPOINT_BYTES


def directory_of(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


class State:
    """Holds the lock on its folder until `close`."""

    def __init__(self, folder: StrPath) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SystemFailure(f"cannot be used: {error.strerror}", where=os.fspath(folder)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise SystemFailure("another process keeps its state here", where=os.fspath(folder)) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # a forked child may hold the same lock
            os.close(self._lock)

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, directory: str) -> bytes | None:
        """The checkpoint in this directory of the state."""
        try:
            return read_regular(self.folder / directory / "checkpoint", limit=MAX_CHECKPOINT_BYTES)
        except NotFound:
            return None

    def keep(self, origin: str, note: bytes) -> None:
        """Whole and on the disk, or OSError: unlike elsewhere a directory that cannot be flushed is an error."""
        directory = self.folder / directory_of(origin)
        if not directory.is_dir():
            directory.mkdir()
            _flush(self.folder)
        temporary = directory / ".next"
        with temporary.open("wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / "checkpoint")
        _flush(directory)


def _flush(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["State", "directory_of"]
