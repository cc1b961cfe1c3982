"""Event logs of a confidential guest, and what they replay to."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

SHA384, SHA256 = 0x0C, 0x0B
NO_ACTION, SEPARATOR, VARIABLE = 3, 4, 0x80000001

Event = tuple[int, int, bytes]  # register, type, data


def header(algorithms: Iterable[tuple[int, int]] = ((SHA384, 48),), signature: bytes = b"Spec ID Event03\0") -> bytes:
    listed = list(algorithms)
    data = signature + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(listed))
    data += b"".join(struct.pack("<HH", a, n) for a, n in listed) + b"\0"
    return struct.pack("<II", 0, NO_ACTION) + bytes(20) + struct.pack("<I", len(data)) + data


def event(register: int, kind: int, data: bytes, digest: bytes | None = None, algorithm: int = SHA384) -> bytes:
    if digest is None:
        digest = (hashlib.sha384 if algorithm == SHA384 else hashlib.sha256)(data).digest()
    return struct.pack("<IIIH", register, kind, 1, algorithm) + digest + struct.pack("<I", len(data)) + data


def log(events: Iterable[Event], *, size: int = 4096, padding: bytes = b"\xff") -> bytes:
    body = header() + b"".join(event(*e) for e in events)
    return body + padding * (size - len(body))


def replay(events: Iterable[Event]) -> tuple[bytes, ...]:
    registers = [bytes(48)] * 5
    for register, kind, data in events:
        if kind != NO_ACTION:
            registers[register] = hashlib.sha384(registers[register] + hashlib.sha384(data).digest()).digest()
    return tuple(registers[1:])


# ------------------------------------------------------------------------------------------------- of a TPM's PCRs


def pcr_log(events: Iterable[Event]) -> bytes:
    return header([(SHA256, 32)]) + b"".join(event(*e, algorithm=SHA256) for e in events)


def pcr_replay(events: Iterable[Event], locality: int = 0) -> dict[int, bytes]:
    pcrs = {0: bytes(31) + bytes([locality])}
    for register, kind, data in events:
        if kind != NO_ACTION:
            old = pcrs.get(register, bytes(32))
            pcrs[register] = hashlib.sha256(old + hashlib.sha256(data).digest()).digest()
    return pcrs
