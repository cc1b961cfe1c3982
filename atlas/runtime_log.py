"""What a run did, line by line, in a register that can be extended and never set: RTMR3 of an Intel TDX guest.

    log = RuntimeLog()                                       # Linux 6.16 and later, as root
    log.start()                                              # goes on with the log of this boot, or begins one
    log.extend(event("model-load", sha256=digest))
    with log.frozen() as lines:                              # nobody of Atlas adds a line meanwhile
        evidence = tsm.collect(report_data)                  # a quote whose RTMR3 is explained by `lines`

There is one log per boot of a machine, shared by all of its processes, because there is one register. Its form, which
`csrc/stage/attest_runtime_log.c` replays:

    INIT/sha384 <what the register held before the first line>
    <domain> <operation> <content>                           # RTMR3 := SHA-384(RTMR3 || SHA-384(this line))

A line is in the file before it is in the register, and no line is ever taken back: whoever has root can add lines, but
neither change, drop nor move one that a quote has covered.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas import _core
from atlas.errors import MalformedError, SystemFailure, UsageError

REGISTER = "/sys/devices/virtual/misc/tdx_guest/measurements/rtmr3:sha384"
FOLDER = "/run/atlas"  # empty after each boot, as the register is
FILE = "rtmr3.log"
DOMAIN = "org.atlasml/v1"
MAX_LOG_BYTES = 4 << 20  # ATLAS_MAX_RUNTIME_LOG_BYTES of attest.h
MAX_LINE_BYTES = 8191  # ATLAS_MAX_RUNTIME_LINE

Operation = Literal["run-start", "model-load", "dataset-open", "checkpoint", "manifest-sign"]
Reason = Literal["NOT_AVAILABLE", "PERMISSION", "NOT_A_REGISTER", "UNCHANGED", "SHARED", "BUSY", "FAILED"]

_SIZE = 48
_PATIENCE = 60.0  # seconds that another process may take for a quote
_TEXT: dict[Reason, tuple[str, str]] = {
    "NOT_AVAILABLE": (
        "this machine offers no measurement register",
        "it needs an Intel TDX guest and Linux 6.16 or later",
    ),
    "PERMISSION": ("the kernel refuses: only root may extend a register", "run as root"),
    "NOT_A_REGISTER": ("is not a measurement register of 48 bytes", ""),
    "UNCHANGED": ("the kernel took the digest and extended nothing", "a guest may extend RTMR2 and RTMR3 alone"),
    "SHARED": (
        "the register holds something that the log does not tell: another program extended it",
        "start() begins a new log at its present value; a verifier is told that nobody knows what came before",
    ),
    "BUSY": ("another process has kept the log for too long", "a process that collects evidence may hang"),
    "FAILED": ("the kernel did not extend the register", ""),
}
_BY_ERRNO: dict[int, Reason] = {
    errno.ENOENT: "NOT_AVAILABLE",
    errno.ENODEV: "NOT_AVAILABLE",
    errno.ENXIO: "NOT_AVAILABLE",
    errno.ENOTDIR: "NOT_AVAILABLE",
    errno.EROFS: "PERMISSION",
    errno.EACCES: "PERMISSION",
    errno.EPERM: "PERMISSION",
}


class RegisterError(SystemFailure):
    """The register was not extended, or the log does not explain it. `.reason` is one of `Reason`."""

    def __init__(self, reason: Reason, *, where: str, cause: OSError | None = None) -> None:
        text, hint = _TEXT[reason]
        if cause is not None and cause.strerror:
            text = f"{text} ({cause.strerror})"
        super().__init__(text, code=f"ATLAS_REGISTER_{reason}", where=where, hint=hint)
        self.reason = reason


def event(operation: Operation, **content: object) -> bytes:
    """A line for `extend`: printable ASCII, whatever the content holds."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("\x7f", "\\u007f")
    return f"{DOMAIN} {operation} {text}".encode("ascii")


@dataclass(frozen=True, slots=True)
class RuntimeLog:
    """The log of a register, and the folder where all processes of this machine keep it together."""

    register: Path = Path(REGISTER)
    folder: Path = Path(FOLDER)

    @property
    def path(self) -> Path:
        return self.folder / FILE

    @property
    def offered(self) -> bool:
        """Does the kernel show such a register?"""
        return self.register.exists()

    def start(self) -> None:
        """Go on with the log that explains the register; without one, begin at the value that it holds now."""
        with self._locked() as fd:
            value = self._value()
            data = _explaining(_contents(fd), value)
            _overwrite(fd, data if data is not None else b"INIT/sha384 %s\n" % value.hex().encode())

    def extend(self, line: bytes) -> None:
        """Add one line, without its end. Returns once the register has it."""
        if not 0 < len(line) <= MAX_LINE_BYTES or not all(0x20 <= byte <= 0x7E for byte in line):
            raise UsageError(f"a line of the log is printable ASCII, 1 to {MAX_LINE_BYTES} bytes, without a line end")
        digest = hashlib.sha384(line).digest()
        with self._locked() as fd:
            data = self._told(fd)
            if len(data) + len(line) >= MAX_LOG_BYTES:
                raise SystemFailure(f"the run-time log is longer than {MAX_LOG_BYTES} bytes", where=str(self.path))
            old = self._value()
            try:
                _append(fd, line + b"\n", len(data), str(self.path))
                self._write(digest)
            finally:
                if self._value() == old:  # else the line stays: the register has it
                    os.ftruncate(fd, len(data))
            self._check(old, digest)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[bytes]:
        """The log as it explains the register, and will while this lasts: no process of Atlas extends it meanwhile."""
        with self._locked() as fd:
            yield self._told(fd)

    def snapshot(self) -> bytes:
        """The log as it explains the register now."""
        with self.frozen() as data:
            return data

    # -------------------------------------------------------------------------------------------- register

    def _value(self) -> bytes:
        try:
            fd = os.open(self.register, os.O_RDONLY | os.O_CLOEXEC)
            try:
                value = os.read(fd, _SIZE + 1)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(error) from error
        if len(value) != _SIZE:
            raise RegisterError("NOT_A_REGISTER", where=str(self.register))
        return value

    def _write(self, digest: bytes) -> None:
        """One write of 48 bytes at offset 0: the kernel extends with it."""
        try:
            fd = os.open(self.register, os.O_WRONLY | os.O_CLOEXEC)
            try:
                written = os.write(fd, digest)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(error) from error
        if written != _SIZE:
            raise RegisterError("NOT_A_REGISTER", where=str(self.register))

    def _check(self, old: bytes, digest: bytes) -> None:
        value = self._value()
        if value == old:
            raise RegisterError("UNCHANGED", where=str(self.register))
        if value != hashlib.sha384(old + digest).digest():
            raise RegisterError("SHARED", where=str(self.register))

    def _error(self, error: OSError) -> RegisterError:
        return RegisterError(_BY_ERRNO.get(error.errno or 0, "FAILED"), where=str(self.register), cause=error)

    # ------------------------------------------------------------------------------------------------ file

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, with nobody else in it."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SystemFailure(f"the run-time log cannot be kept: {error.strerror}", where=str(self.path)) from error
        try:
            self._lock(fd)
            yield fd
        finally:
            os.close(fd)

    def _lock(self, fd: int) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RegisterError("BUSY", where=str(self.path)) from None
                time.sleep(0.01)
            else:
                return

    def _told(self, fd: int) -> bytes:
        """The lines that the register has; what a process that died left behind them goes."""
        found = _contents(fd)
        if not found:
            raise UsageError("the log was not started", where=str(self.path), hint="call start() once in each run")
        data = _explaining(found, self._value())
        if data is None:
            raise RegisterError("SHARED", where=str(self.register))
        if len(data) != len(found):
            os.ftruncate(fd, len(data))
        return data


def _contents(fd: int) -> bytes:
    data = bytearray()
    while block := os.pread(fd, 1 << 16, len(data)):
        data += block
        if len(data) > MAX_LOG_BYTES:
            return b""
    return bytes(data)


def _overwrite(fd: int, data: bytes) -> None:
    os.pwrite(fd, data, 0)
    os.ftruncate(fd, len(data))


def _append(fd: int, data: bytes, offset: int, where: str) -> None:
    try:
        written = os.pwrite(fd, data, offset)
    except OSError as error:
        raise SystemFailure(f"the run-time log cannot be written: {error.strerror}", where=where) from error
    if written != len(data):
        raise SystemFailure("the run-time log cannot be written: no space is left", where=where)


def _explaining(data: bytes, value: bytes) -> bytes | None:
    """As much of the log as explains the value: all of it, or all but a line that a process wrote before it died and
    did not live to extend. None when it tells of something else, such as another boot."""
    whole = data[: data.rfind(b"\n") + 1]
    without_last = whole[: whole.rfind(b"\n", 0, -1) + 1]
    for candidate in (whole, without_last):
        with contextlib.suppress(MalformedError):
            if _core.runtime_log_replay(candidate)[1] == value:
                return candidate
    return None
