"""Digests of files and directories as docs/manifest.md defines them, in plain Python.

A directory is a mapping from relative path to content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

CHUNK = 1 << 20
IGNORED = [
    ".git",
    ".gitignore",
    ".gitattributes",
    ".github",
    ".DS_Store",
    ".ipynb_checkpoints",
    "__pycache__",
    ".cache/huggingface",
]

Files = Mapping[str, bytes]
Content = bytes | Files


def digest(data: bytes, alg: str = "sha256") -> bytes:
    return hashlib.new(alg, data).digest()


def merkle_root(leaves: Sequence[bytes], alg: str = "sha256") -> bytes:
    """RFC 6962, 2.1: the Merkle tree hash."""
    if not leaves:
        return digest(b"", alg)
    level = [digest(b"\0" + leaf, alg) for leaf in leaves]
    while len(level) > 1:
        pairs = [digest(b"\1" + a + b, alg) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + (level[-1:] if len(level) % 2 else [])
    return level[0]


def file_tree(data: bytes, alg: str = "sha256") -> bytes:
    return merkle_root([digest(data[at : at + CHUNK], alg) for at in range(0, len(data), CHUNK)], alg)


def escape(path: str) -> str:
    """Percent-encoded for every byte outside 0x21..0x7E and for the percent sign."""
    raw = path.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else f"%{b:02X}" for b in raw)


def index_lines(files: Files, alg: str = "sha256") -> list[bytes]:
    lines = []
    for path in sorted(files, key=lambda name: name.encode("utf-8", "surrogateescape")):
        data = files[path]
        lines.append(f"{digest(data, alg).hex()} {file_tree(data, alg).hex()} {len(data)} {escape(path)}".encode())
    return lines


def index_of(lines: Sequence[bytes], alg: str = "sha256") -> bytes:
    return b"".join(line + b"\n" for line in [b"atlas-index 1 " + alg.encode(), *lines])


def index(files: Files, alg: str = "sha256") -> bytes:
    return index_of(index_lines(files, alg), alg)


def oms(files: Files) -> bytes:
    """The root digest of the OpenSSF Model Signing manifest of the same files."""
    ordered = sorted(files, key=lambda name: name.encode("utf-8", "surrogateescape"))
    return digest(b"".join(digest(files[path]) for path in ordered))


def bound(content: Content) -> bytes:
    """The bytes that the hard binding covers: the file, or the directory's index."""
    return content if isinstance(content, bytes) else index(content)


def tree(content: Content, alg: str = "sha256") -> bytes:
    if isinstance(content, bytes):
        return file_tree(content, alg)
    return merkle_root(index_lines(content, alg), alg)


def size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else sum(map(len, content.values()))
