"""Logs made by another hand than the product's: notes, cosignatures, tiles, bundles (c2sp.org), with `cryptography`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LOG = 0x01
COSIGNATURE = 0x04
EMPTY = hashlib.sha256(b"").digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class NoteKey:
    """A key of the signed-note format. The seed comes from the name: the same key every day."""

    name: str
    kind: int = LOG

    @property
    def seed(self) -> bytes:
        return hashlib.sha256(self.name.encode()).digest()

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.kind]) + self.public)}"

    @property
    def skey(self) -> str:
        return f"PRIVATE+KEY+{self.name}+{self.id.hex()}+{b64(bytes([self.kind]) + self.seed)}"

    def line(self, text: bytes, *, time: int | None = None) -> bytes:
        """The signature line over a note's text; a cosignature when the key is one for cosignatures."""
        signature = self._key.sign(text)
        if self.kind == COSIGNATURE:
            assert time is not None
            message = b"cosignature/v1\ntime %d\n" % time + text
            signature = time.to_bytes(8, "big") + self._key.sign(message)
        return f"— {self.name} {b64(self.id + signature)}\n".encode()

    def note(self, text: bytes) -> bytes:
        return text + b"\n" + self.line(text)


def checkpoint_text(origin: str, size: int, root: bytes, *extensions: str) -> bytes:
    return "".join(f"{line}\n" for line in (origin, size, b64(root), *extensions)).encode()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node(mth(leaves[:k]), mth(leaves[k:]))


def consistency(leaves: Sequence[bytes], size: int, whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2, word for word: SUBPROOF(size, leaves, whole)."""
    if size == len(leaves):
        return [] if whole else [mth(leaves)]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if size <= k:
        return [*consistency(leaves[:k], size, whole), mth(leaves[k:])]
    return [*consistency(leaves[k:], size - k, False), mth(leaves[:k])]


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """RFC 6962, 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < k:
        return [*inclusion(leaves[:k], index), mth(leaves[k:])]
    return [*inclusion(leaves[k:], index - k), mth(leaves[:k])]


def path_of(level: int | str, index: int, width: int = 256) -> str:
    text = f"{index:03d}"
    while len(text) % 3:
        text = "0" + text
    groups = [text[i : i + 3] for i in range(0, len(text), 3)]
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")


def bundle(entries: Iterable[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


@dataclass
class ForgedLog:
    """A log in memory that says what it is told to. `write` lays it out as static files."""

    key: NoteKey
    entries: list[bytes] = field(default_factory=list)

    @property
    def leaves(self) -> list[bytes]:
        return [leaf(entry) for entry in self.entries]

    @property
    def root(self) -> bytes:
        return mth(self.leaves)

    def text(self, size: int | None = None) -> bytes:
        size = len(self.entries) if size is None else size
        return checkpoint_text(self.key.name, size, mth(self.leaves[:size]))

    def checkpoint(self, size: int | None = None) -> bytes:
        return self.key.note(self.text(size))

    def files(self, size: int | None = None) -> dict[str, bytes]:
        """Everything that a client of this size's checkpoint may fetch, the checkpoint included."""
        size = len(self.entries) if size is None else size
        hashes = self.leaves[:size]
        found = {"checkpoint": self.checkpoint(size)}
        for start in range(0, size, 256):
            chunk = self.entries[start : min(start + 256, size)]
            found[path_of("entries", start // 256, len(chunk))] = bundle(chunk)
        level = 0
        while hashes:
            for start in range(0, len(hashes), 256):
                part = hashes[start : start + 256]
                found[path_of(level, start // 256, len(part))] = b"".join(part)
            hashes = [mth(hashes[i : i + 256]) for i in range(0, len(hashes) - len(hashes) % 256, 256)]
            level += 1
        return found

    def write(self, folder: Path, size: int | None = None) -> Path:
        for name, data in self.files(size).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder
