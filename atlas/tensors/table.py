"""The table itself: its text, its root, and the names in it (docs/manifest.md, "Tensor table")."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from atlas import _core
from atlas.errors import LimitError, MalformedError

HEADER = b"atlas-tensors 1 sha256"
MAX_TENSORS = 1 << 20
MAX_TABLE_BYTES = 256 << 20
MAX_DIMS = 64
MAX_DEPTH = 64
MAX_ELEMENTS = 1 << 59  # of one tensor: its bytes fit 63 bits
# Not "%", which begins an escape, "/", which joins, and "#", which begins a number.
_PLAIN = frozenset(range(0x21, 0x7F)) - set(b"%/#")
_LINE = re.compile(rb"([0-9a-f]{64}) ([a-z0-9_]{1,32}) \[((?:(?:0|[1-9][0-9]{0,18})(?:,(?=[0-9])|(?=\])))*)\] ([!-~]+)")
_COMPONENT = re.compile(r"%|#(?:0|-?[1-9][0-9]*)|(?:[!\"$&-.0-~]|%[0-9A-F]{2})+")

ELEMENT_BYTES = {
    "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor. `digest` is the SHA-256 of its elements, row by row and little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * ELEMENT_BYTES[self.dtype]

    def line(self) -> bytes:
        return f"{self.digest.hex()} {self.dtype} [{','.join(map(str, self.shape))}] {self.name}".encode("ascii")


@dataclass(frozen=True)
class Table:
    """Entries sorted by name; no name twice."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry], where: str = "") -> Table:
        ordered = sorted(entries, key=lambda entry: entry.name)
        for before, after in itertools.pairwise(ordered):
            if before.name == after.name:
                raise MalformedError(f"two tensors have the name {after.name}", where=where)
        return cls(tuple(ordered))

    @classmethod
    def parse(cls, data: bytes, where: str = "tensor table") -> Table:
        """Exactly what `encoded` writes, or MalformedError with the line."""
        if len(data) > MAX_TABLE_BYTES:
            raise LimitError(f"is larger than {MAX_TABLE_BYTES} bytes", where=where)
        lines = data.split(b"\n")
        if lines[0] != HEADER or lines[-1] != b"" or len(lines) < 2:
            raise MalformedError("is not a tensor table of version 1", where=where)
        entries = [_parse_line(line, number, where) for number, line in enumerate(lines[1:-1], start=2)]
        if any(before.name >= after.name for before, after in itertools.pairwise(entries)):
            raise MalformedError("its lines are not in the order of their names, or a name stands twice", where=where)
        return cls(tuple(entries))

    @cached_property
    def encoded(self) -> bytes:
        return b"\n".join([HEADER, *(entry.line() for entry in self.entries), b""])

    @cached_property
    def root(self) -> bytes:
        """RFC 6962 over the lines, without the first one and without their newlines."""
        return _core.tree_root("sha256", b"") if not self.entries else _root([e.line() for e in self.entries])

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.encoded).digest()

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _root(lines: Sequence[bytes]) -> bytes:
    level = [_core.merkle_leaf("sha256", line) for line in lines]
    while len(level) > 1:  # RFC 6962, 2.1: an odd one at the end goes up as it is
        pairs = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(level) & ~1 :]
    return level[0]


def _parse_line(line: bytes, number: int, where: str) -> Entry:
    found = _LINE.fullmatch(line)
    if found is None:
        raise MalformedError(f"line {number} is not <digest> <dtype> [<shape>] <name>", where=where)
    dtype, name = found[2].decode("ascii"), found[4].decode("ascii")
    shape = tuple(int(n) for n in found[3].split(b",")) if found[3] else ()
    if dtype not in ELEMENT_BYTES or len(shape) > MAX_DIMS or math.prod(shape) >= MAX_ELEMENTS:
        raise MalformedError(f"line {number} has a dtype or shape that no tensor has", where=where)
    parts = [] if name == "/" else name.split("/")
    escapes = [int(digits, 16) for digits in re.findall("%([0-9A-F]{2})", name)]
    if not all(_COMPONENT.fullmatch(part) for part in parts) or not _PLAIN.isdisjoint(escapes):
        raise MalformedError(f"line {number} has a name that is not encoded as it should be", where=where)
    return Entry(name, dtype, shape, bytes.fromhex(found[1].decode("ascii")))


# --------------------------------------------------------------------------------------------------- names


def encode_key(key: str | int) -> str:
    """A key of a dictionary, or a position in a list, as one component of a name."""
    if type(key) is int:
        return f"#{key}"
    raw = str(key).encode("utf-8", "surrogatepass")
    return "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in raw) or "%"


def encode_name(path: Sequence[str | int]) -> str:
    """`/` for a tensor that is not in any container."""
    return "/".join(encode_key(key) for key in path) or "/"
