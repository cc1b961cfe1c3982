"""Journals: what a process saw, written through line by line, so that nothing is lost when it is killed.

One file per process. A line is `<crc32 of the rest, 8 hex digits> <JSON>`; one `write` each, appended. A line that was
torn by a crash does not match its sum and ends the reading.
"""

from __future__ import annotations

import binascii
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIX = ".journal"
STATE_SUFFIX = ".state"
_STATE_BYTES = 1 << 20

Record = dict[str, Any]


def _line(record: Record) -> bytes:
    text = json.dumps(record, ensure_ascii=True, separators=(",", ":"), default=_plain).encode("ascii")
    return b"%08x %s\n" % (binascii.crc32(text), text)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    return type(value).__name__


def _record(line: bytes) -> Record | None:
    total, _, text = line.partition(b" ")
    try:
        if int(total, 16) != binascii.crc32(text):
            return None
        record = json.loads(text, object_hook=_revive)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def started_ns(pid: int) -> int:
    """When a process began, in clock ticks since boot: with the pid it names a process for good. 0: it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = stat.rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])  # proc(5): state, ..., (22) starttime


def _revive(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["$bytes"]) if value.keys() == {"$bytes"} else value


class Journal:
    """The journal of this process; made when the first line is written."""

    def __init__(self, directory: Path, label: str = "") -> None:
        self.pid = os.getpid()
        self.name = f"{label}{self.pid}-{time.time_ns()}"
        self.path = directory / (self.name + SUFFIX)
        self._fd = -1
        self._lock = threading.Lock()

    def append(self, kind: str, record: Record) -> None:
        line = _line({"t": kind, "at": time.time()} | record)
        with self._lock:
            if self._fd < 0:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _write_all(self._fd, line)

    def state(self, record: Record) -> None:
        """Replace the state of this process: counters that change too often to be appended."""
        data = _line({"t": "state", "at": time.time()} | record)
        place = self.path.with_suffix(STATE_SUFFIX)
        temporary = place.with_suffix(".tmp")
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(fd, data)
            finally:
                os.close(fd)
            os.rename(temporary, place)  # noqa: PTH104

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def forked(self) -> None:
        """In a child: the parent's file is not ours to write to, and its lock may be held for ever."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._lock = threading.Lock()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Follower:
    """Reads a journal that may still grow; each call yields what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self.damaged = False

    def records(self) -> Iterator[Record]:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return
        *lines, _rest = data.split(b"\n")
        for line in lines:
            record = _record(line)
            if record is None:
                self.damaged = True
                return
            self._offset += len(line) + 1
            yield record

    def state(self) -> Record | None:
        try:
            data = self.path.with_suffix(STATE_SUFFIX).read_bytes()
        except OSError:
            return None
        return _record(data.rstrip(b"\n"))
