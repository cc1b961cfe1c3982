"""CBOR: a deterministic encoder (RFC 8949, 4.2.1) that also writes what no honest encoder would.

`Raw` stands for bytes that go in verbatim, `Pairs` for a map in the given order with whatever keys.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import cbor2


class Raw(bytes):
    """One encoded item, written verbatim."""


class Pairs(list[tuple[Any, Any]]):
    """A map written in this order; keys may repeat."""


def head(major: int, value: int, *, width: int | None = None) -> bytes:
    """The head of an item. `width` (0, 1, 2, 4 or 8 bytes) overrides the shortest form."""
    if width is None:
        width = 0 if value < 24 else 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4 if value < 1 << 32 else 8
    if width == 0:
        return bytes([major << 5 | value])
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[width]]) + value.to_bytes(width, "big")


def dumps(item: Any) -> bytes:
    match item:
        case Raw():
            return bytes(item)
        case None | bool():
            return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[item]
        case int():
            return head(0, item) if item >= 0 else head(1, -1 - item)
        case float():
            return _float(item)
        case bytes():
            return head(2, len(item)) + item
        case str():
            text = item.encode()
            return head(3, len(text)) + text
        case Pairs():
            return head(5, len(item)) + b"".join(dumps(k) + dumps(v) for k, v in item)
        case list() | tuple():
            return head(4, len(item)) + b"".join(map(dumps, item))
        case dict():
            pairs = sorted((dumps(key), dumps(value)) for key, value in item.items())
            return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)
        case cbor2.CBORTag():
            return head(6, item.tag) + dumps(item.value)
    raise TypeError(f"no CBOR for {type(item).__name__}")


def long_head(item: Any) -> Raw:
    """The item with a head one size longer than needed."""
    data = dumps(item)
    major, info = data[0] >> 5, data[0] & 31
    size = 0 if info < 24 else 1 << info - 24
    value = info if info < 24 else int.from_bytes(data[1 : 1 + size], "big")
    return Raw(head(major, value, width=max(1, size * 2)) + data[1 + size :])


def duplicate_key(item: dict[Any, Any]) -> Raw:
    """The map with its first key twice, the second time with another value."""
    pairs = list(item.items())
    return Raw(dumps(Pairs([*pairs, (pairs[0][0], None)])))


def unsorted(item: dict[Any, Any]) -> Raw:
    """The map with its keys the wrong way round: legal for a reader of this profile."""
    return Raw(dumps(Pairs(sorted(item.items(), key=lambda pair: dumps(pair[0]), reverse=True))))


def indefinite(item: dict[Any, Any]) -> Raw:
    """The map without its length."""
    return Raw(b"\xbf" + b"".join(dumps(key) + dumps(value) for key, value in item.items()) + b"\xff")


def trailing(item: Any) -> Raw:
    return Raw(dumps(item) + b"\x00")


def _float(value: float) -> bytes:
    for form, first in (">e", 0xF9), (">f", 0xFA):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value or math.isnan(value):
            return bytes([first]) + packed
    return b"\xfb" + struct.pack(">d", value)


def loads(data: bytes) -> Any:
    """Decodes one honest item; what is read is what gets written again."""
    return _Decoder(data).decode()


class _Decoder:
    """A reader of its own: cbor2 turns tag 0 into a datetime, which does not come back as the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        piece = self.data[self.at : self.at + n]
        if len(piece) != n:
            raise ValueError("CBOR ends early")
        self.at += n
        return piece

    def decode(self) -> Any:
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(first)
        if info > 27:
            raise ValueError("indefinite length")
        value = info if info < 24 else int.from_bytes(self.take(1 << info - 24), "big")
        return self._item(major, value)

    def _item(self, major: int, value: int) -> Any:
        match major:
            case 0:
                return value
            case 1:
                return -1 - value
            case 2:
                return self.take(value)
            case 3:
                return self.take(value).decode()
            case 4:
                return [self.decode() for _ in range(value)]
            case 5:
                return {self.decode(): self.decode() for _ in range(value)}
        return cbor2.CBORTag(value, self.decode())

    def _simple(self, first: int) -> Any:
        if first in (0xF4, 0xF5, 0xF6):
            return {0xF4: False, 0xF5: True, 0xF6: None}[first]
        form, size = {0xF9: (">e", 2), 0xFA: (">f", 4), 0xFB: (">d", 8)}[first]
        return struct.unpack(form, self.take(size))[0]
