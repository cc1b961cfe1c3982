"""Many files as one input: the index of docs/manifest.md over exactly the files that were read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atlas.model import Digest, Measurement

HEADER = b"atlas-index 1 sha256\n"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an index."""

    flat: bytes
    tree: bytes
    size: int


def encode_path(path: str | bytes) -> bytes:
    """docs/manifest.md: percent-encoded, upper-case hexadecimal, outside 0x21..0x7E and for '%'."""
    raw = os.fsencode(path)
    return b"".join(bytes((b,)) if 0x21 <= b <= 0x7E and b != 0x25 else b"%%%02X" % b for b in raw)


def common_directory(paths: Iterable[str]) -> str:
    """The deepest directory that holds all of these absolute paths."""
    directories = {os.path.dirname(path) for path in paths}  # noqa: PTH120
    return os.path.commonpath(directories) if directories else ""


def index_of(members: Mapping[str, Member], directory: str) -> Measurement:
    """`members` maps absolute paths below `directory`."""
    lines = sorted(
        (os.fsencode(os.path.relpath(path, directory)), m.flat, m.tree, m.size) for path, m in members.items()
    )
    texts = [
        b"%s %s %d %s" % (flat.hex().encode(), tree.hex().encode(), size, encode_path(name))
        for name, flat, tree, size in lines
    ]
    index = HEADER + b"".join(text + b"\n" for text in texts)
    return Measurement(
        kind="directory",
        flat=Digest("sha256", hashlib.sha256(index).digest()),
        tree=Digest("sha256", tree_hash(texts)),
        size=sum(m.size for m in members.values()),
        files=len(members),
        index=index,
    )


def tree_hash(entries: list[bytes]) -> bytes:
    """RFC 6962, 2.1. Level by level: an odd node moves up as it is, which gives the same tree."""
    if not entries:
        return hashlib.sha256(b"").digest()
    level = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    while len(level) > 1:
        paired = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def read_index(index: bytes, directory: str) -> dict[str, Member]:
    """The files of an index by absolute path. Only for an index whose digest was compared with a manifest before."""
    members = {}
    for line in index[len(HEADER) :].splitlines():
        flat, tree, size, name = line.split(b" ")
        path = os.path.join(directory, _decode_path(name))  # noqa: PTH118
        members[path] = Member(bytes.fromhex(flat.decode()), bytes.fromhex(tree.decode()), int(size))
    return members


def _decode_path(name: bytes) -> str:
    first, *rest = name.split(b"%")
    return os.fsdecode(first + b"".join(bytes((int(part[:2], 16),)) + part[2:] for part in rest))
