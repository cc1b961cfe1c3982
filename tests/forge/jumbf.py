"""JUMBF box trees (ISO 19566-5 as C2PA 2.x uses it): read, changed, written, byte for byte.

A `Box` is a content box, a `Super` a superbox. Either may carry `header`, bytes written instead of the honest eight.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_UUID_TAIL = bytes.fromhex("00110010800000aa00389b71")
STORE, MANIFEST, UPDATE, ASSERTIONS, CLAIM, SIGNATURE = b"c2pa", b"c2ma", b"c2um", b"c2as", b"c2cl", b"c2cs"


def uuid(kind: bytes) -> bytes:
    """The type UUID of a superbox: four letters and a fixed tail."""
    return kind + _UUID_TAIL


@dataclass
class Box:
    kind: bytes
    payload: bytes
    header: bytes | None = None

    def __bytes__(self) -> bytes:
        return _framed(self.kind, self.payload, self.header)


@dataclass
class Super:
    """`kind` is the four-letter type, or all sixteen bytes of a type UUID."""

    kind: bytes
    label: str
    children: list[Box | Super] = field(default_factory=list)
    salt: bytes | None = None
    header: bytes | None = None
    toggles: int | None = None

    @property
    def payload(self) -> bytes:
        """What hashed URIs cover: the description box and the content, without the superbox's own header."""
        toggles = self.toggles if self.toggles is not None else 0x13 if self.salt is not None else 0x03
        description = (uuid(self.kind) if len(self.kind) == 4 else self.kind) + bytes([toggles])
        description += self.label.encode("utf-8", "surrogateescape") + b"\0"
        if self.salt is not None:
            description += bytes(Box(b"c2sh", self.salt))
        return bytes(Box(b"jumd", description)) + b"".join(map(bytes, self.children))

    def __bytes__(self) -> bytes:
        return _framed(b"jumb", self.payload, self.header)

    def digest(self, alg: str = "sha256") -> bytes:
        return hashlib.new(alg, self.payload).digest()

    def __getitem__(self, label: str) -> Super:
        for child in self.children:
            if isinstance(child, Super) and child.label == label:
                return child
        raise KeyError(label)

    def walk(self) -> Iterator[Super]:
        """This superbox and every one below it."""
        todo: list[Super] = [self]
        while todo:
            box = todo.pop()
            yield box
            todo += [child for child in reversed(box.children) if isinstance(child, Super)]


def _framed(kind: bytes, payload: bytes, header: bytes | None) -> bytes:
    if header is None:
        header = struct.pack(">I", len(payload) + 8) + kind
    return header + payload


def parse(data: bytes) -> Super:
    """The tree of exactly one superbox. Only the honest form is understood: 8-byte headers, labels, optional salt."""
    box, rest = _next(data)
    if rest or not isinstance(box, Super):
        raise ValueError("not exactly one superbox")
    return box


def _next(data: bytes) -> tuple[Box | Super, bytes]:
    size, kind = struct.unpack_from(">I4s", data)
    if not 8 <= size <= len(data):
        raise ValueError("box length")
    payload, rest = data[8:size], data[size:]
    return (_super(payload) if kind == b"jumb" else Box(kind, payload)), rest


def _super(payload: bytes) -> Super:
    description, rest = _next(payload)
    if not isinstance(description, Box) or description.kind != b"jumd":
        raise ValueError("no description box")
    kind, toggles = description.payload[:16], description.payload[16]
    label, _, private = description.payload[17:].partition(b"\0")
    salt = _next(private)[0].payload if toggles & 0x10 else None
    short = kind[:4] if kind[4:] == _UUID_TAIL else kind
    box = Super(short, label.decode(), [], salt, toggles=None if toggles in (0x03, 0x13) else toggles)
    while rest:
        child, rest = _next(rest)
        box.children.append(child)
    return box
