"""Logs of a run, and what they replay to in a measurement register."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

ZERO = bytes(48)


def log(lines: Iterable[bytes], start: bytes = ZERO) -> bytes:
    return b"".join(line + b"\n" for line in (b"INIT/sha384 " + start.hex().encode(), *lines))


def replay(lines: Iterable[bytes], start: bytes = ZERO) -> bytes:
    value = start
    for line in lines:
        value = hashlib.sha384(value + hashlib.sha384(line).digest()).digest()
    return value
