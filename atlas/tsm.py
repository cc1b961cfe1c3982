"""Evidence from the kernel: configfs-tsm (Linux 6.7 and later), for Intel TDX and AMD SEV-SNP.

Source: Documentation/ABI/testing/configfs-tsm-report. Each way in which it can fail has a name of its own, because each
has a remedy of its own; an empty quote, which misconfigured hosts hand out without an error, is a failure as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.attest import MAX_EVIDENCE_BYTES, Kind, read_claims
from atlas.errors import MalformedError, SystemFailure, UsageError

REPORTS = "/sys/kernel/config/tsm/report"
REPORT_DATA_BYTES = 64

_PROVIDERS: dict[str, Kind] = {"tdx_guest": "tdx", "sev_guest": "snp"}
_ATTEMPTS = 5
_ROW = 24  # bytes of an entry of the host's table of certificates
_FIRST_PAUSE = 0.05  # seconds; doubles

Reason = Literal[
    "NOT_AVAILABLE",
    "PERMISSION",
    "BUSY",
    "INTERFERENCE",
    "HOST_FAILED",
    "EMPTY",
    "TOO_LARGE",
    "UNKNOWN_PROVIDER",
    "WRONG_REPORT_DATA",
    "FAILED",
]

_TEXT: dict[str, tuple[str, str]] = {
    "NOT_AVAILABLE": (
        "this machine offers no hardware evidence",
        "it needs a confidential VM, Linux 6.7 or later, and configfs mounted (in a container: -v {path}:{path})",
    ),
    "PERMISSION": ("the kernel refuses: only root may ask for evidence", "run as root, or let root own this step"),
    "BUSY": ("the host is busy or limits how often it answers", "try again later; ask once per run, not per step"),
    "INTERFERENCE": ("somebody else used the same report entry meanwhile", "try again"),
    "HOST_FAILED": (
        "the host could not make a quote",
        "the quote generation service or its connection to QEMU is not set up; ask whoever runs the host",
    ),
    "EMPTY": (
        "the host gave an empty quote and no error",
        "QEMU or the quote generation service of the host is misconfigured; ask whoever runs the host",
    ),
    "TOO_LARGE": ("the quote is larger than the kernel hands out", "update the kernel"),
    "UNKNOWN_PROVIDER": ("the kernel has a provider of evidence that Atlas does not know", ""),
    "WRONG_REPORT_DATA": ("the quote holds other report data than was asked for", "nothing from it was used"),
    "FAILED": ("the kernel could not make the report", ""),
}

_BY_ERRNO: dict[int, Reason] = {
    errno.ENOENT: "NOT_AVAILABLE",
    errno.ENODEV: "NOT_AVAILABLE",
    errno.ENXIO: "NOT_AVAILABLE",
    errno.ENOTDIR: "NOT_AVAILABLE",
    errno.EROFS: "PERMISSION",
    errno.EACCES: "PERMISSION",
    errno.EPERM: "PERMISSION",
    errno.EBUSY: "BUSY",
    errno.EWOULDBLOCK: "INTERFERENCE",
    errno.EINVAL: "INTERFERENCE",
    errno.EIO: "HOST_FAILED",
    errno.ETIMEDOUT: "HOST_FAILED",
    errno.EFBIG: "TOO_LARGE",
}
_TRY_AGAIN = frozenset({"BUSY", "INTERFERENCE"})


def reason_of(error: OSError) -> Reason:
    """What the kernel's answer means."""
    return _BY_ERRNO.get(error.errno or 0, "FAILED")


class CollectError(SystemFailure):
    """No evidence was collected. `.reason` is one of `Reason`."""

    def __init__(self, reason: Reason, *, where: str, cause: OSError | None = None) -> None:
        text, hint = _TEXT[reason]
        if cause is not None and cause.strerror:
            text = f"{text} ({cause.strerror})"
        super().__init__(text, code=f"ATLAS_COLLECT_{reason}", where=where, hint=hint.format(path=where))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the kernel handed out: `raw` the quote or report, `aux` certificates that came with it."""

    kind: Kind
    provider: str
    raw: bytes
    aux: bytes | None


def collect(report_data: bytes, *, path: str | os.PathLike[str] = REPORTS) -> Evidence:
    """Ask the kernel for evidence that is bound to these 64 bytes. CollectError when there is none."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise UsageError(f"report data has {REPORT_DATA_BYTES} bytes, not {len(report_data)}")
    pause = _FIRST_PAUSE
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _collect_once(report_data, Path(path))
        except CollectError as error:
            if error.reason not in _TRY_AGAIN or attempt == _ATTEMPTS:
                raise
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


def _collect_once(report_data: bytes, reports: Path) -> Evidence:
    try:
        with _entry(reports) as entry:
            evidence = _ask(entry, report_data)
    except OSError as error:
        if isinstance(error, CollectError):
            raise
        raise CollectError(reason_of(error), where=str(reports), cause=error) from error
    _check_report_data(evidence, report_data, str(reports))
    return evidence


@contextlib.contextmanager
def _entry(reports: Path) -> Iterator[Path]:
    """A report entry of our own; removed in any case."""
    entry = reports / f"atlas-{os.getpid()}-{secrets.token_hex(8)}"
    entry.mkdir(mode=0o700)
    try:
        yield entry
    finally:
        with contextlib.suppress(OSError):
            entry.rmdir()


def _ask(entry: Path, report_data: bytes) -> Evidence:
    before = _generation(entry)
    _write(entry / "inblob", report_data)
    raw = _read(entry / "outblob")
    aux = _optional(entry / "auxblob")
    provider = _read(entry / "provider").decode("ascii", "backslashreplace").strip()
    if _generation(entry) != before + 1:  # one write, ours
        raise CollectError("INTERFERENCE", where=str(entry))
    if not raw:
        raise CollectError("EMPTY", where=str(entry))
    if provider not in _PROVIDERS:
        raise CollectError("UNKNOWN_PROVIDER", where=f"{entry}: {provider}")
    return Evidence(_PROVIDERS[provider], provider, raw, aux)


def _generation(entry: Path) -> int:
    text = _read(entry / "generation").strip()
    if not text.isdigit():
        raise CollectError("FAILED", where=str(entry / "generation"))
    return int(text)


def _write(path: Path, data: bytes) -> None:
    """One write: the kernel takes the bytes of each write as the whole attribute."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.write(fd, data) != len(data):
            raise CollectError("FAILED", where=str(path))
    finally:
        os.close(fd)


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = bytearray()
        while block := os.read(fd, 1 << 16):
            data += block
            if len(data) > MAX_EVIDENCE_BYTES:
                raise CollectError("TOO_LARGE", where=str(path))
        return bytes(data)
    finally:
        os.close(fd)


def _optional(path: Path) -> bytes | None:
    try:
        return _read(path) or None
    except FileNotFoundError:
        return None


def certificates(aux: bytes | None) -> list[bytes]:
    """The certificates (DER) that an SEV-SNP host hands out with a report: a table of GUID, offset and length, ended by
    zeros (GHCB specification, SNP extended guest request). [] for none."""
    found = []
    table = aux or b""
    for at in range(0, len(table), _ROW):
        row = table[at : at + _ROW]
        if row == bytes(len(row)):
            break
        offset, size = int.from_bytes(row[16:20], "little"), int.from_bytes(row[20:24], "little")
        if len(row) < _ROW or not size or offset + size > len(table):
            raise MalformedError("the table of certificates points outside itself", where="auxblob", offset=at)
        found.append(table[offset : offset + size])
    return found


def _check_report_data(evidence: Evidence, report_data: bytes, where: str) -> None:
    """What came back is about what was asked; a host that serves an old quote is noticed here already."""
    if read_claims(evidence.raw, kind=evidence.kind)["report_data"] != report_data:
        raise CollectError("WRONG_REPORT_DATA", where=where)
