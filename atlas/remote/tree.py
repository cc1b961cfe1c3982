"""A log's Merkle tree, read from its tiles (c2sp.org/tlog-tiles). No hash is used before it is verified.

A tile's own hash stands in the tile above it, at most seven times; the tiles of the right edge, which nothing stands
above, together make the root that the checkpoint states. So a checked checkpoint vouches for everything that is read
here, and whoever serves the files can only refuse.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from atlas import _core
from atlas.errors import MalformedError, UsageError, VerificationError
from atlas.remote.source import HASH_BYTES, TILE_WIDTH, Source, read_tile, tile_path

_BITS = 8  # of a tile's width
_MAX_SIZE = (1 << 63) - 1
_MAX_PROOF = 64
_CACHED_TILES = 256  # 2 MiB
EMPTY_ROOT = hashlib.sha256(b"").digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _fold(roots: list[bytes]) -> bytes:
    """The root over perfect subtrees that get smaller from left to right (RFC 6962, 2.1)."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def perfect(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees (level, index) that cover the leaves [start, end), from left to right, where `start` is a
    multiple of the first one's size."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _combine(hashes: list[bytes]) -> bytes:
    """The root of a power of two of sibling hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def _proof(hashes: Sequence[bytes]) -> list[bytes]:
    """No tree below 2^63 entries needs more hashes."""
    if len(hashes) > _MAX_PROOF or any(len(digest) != HASH_BYTES for digest in hashes):
        raise VerificationError("not a proof of at most 64 hashes", code="ATLAS_E_DIGEST")
    return list(hashes)


def check_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """VerificationError unless that leaf is at that place of the tree."""
    _core.merkle_inclusion_check("sha256", index, size, leaf, _proof(path), root)


def check_consistency(first: int, second: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """VerificationError unless the second tree begins with the first, which is not empty."""
    _core.merkle_consistency_check("sha256", first, second, root1, root2, _proof(proof))


def _split(tile: bytes) -> list[bytes]:
    return [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]


class Tree:
    """The tree of one checkpoint, whose size and root the caller has verified."""

    def __init__(self, source: Source, size: int, root: bytes) -> None:
        if not 0 <= size <= _MAX_SIZE or len(root) != HASH_BYTES:
            raise UsageError("a tree has a size below 2^63 and a root of 32 bytes")
        self.source = source
        self.size = size
        self.root = root
        self._tiles: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        self._edge = self._read_edge()

    # --------------------------------------------------------------------------------------------------- tiles

    def _read_edge(self) -> dict[int, list[bytes]]:
        """The partial tile of every level, verified together."""
        edge: dict[int, list[bytes]] = {}
        roots: list[bytes] = []
        for level in reversed(range((self.size.bit_length() + _BITS - 1) // _BITS)):
            width = (self.size >> (_BITS * level)) % TILE_WIDTH
            if width == 0:
                continue
            hashes = _split(read_tile(self.source, level, self.size >> (_BITS * (level + 1)), width))
            edge[level] = hashes
            roots += [_combine(hashes[i << k : (i + 1) << k]) for k, i in perfect(0, width)]
        if _fold(roots) != self.root:
            raise VerificationError(
                f"the tiles do not make the root that the checkpoint of size {self.size} states",
                code="ATLAS_E_DIGEST",
                where=self.source.where,
            )
        return edge

    def tile(self, level: int, index: int) -> list[bytes]:
        """The verified hashes of a tile, as wide as this tree has it."""
        wanted: list[tuple[int, int]] = []  # this tile and those above it, until one is known
        while (known := self._known(level, index)) is None:
            wanted.append((level, index))
            level, index = level + 1, index // TILE_WIDTH
        for level, index in reversed(wanted):
            data = read_tile(self.source, level, index, TILE_WIDTH)
            hashes = _split(data)
            if _combine(hashes) != known[index % TILE_WIDTH]:
                raise VerificationError(
                    "the tile is not the one that the checkpoint vouches for",
                    code="ATLAS_E_DIGEST",
                    where=f"{self.source.where}/{tile_path(level, index)}",
                )
            self._keep(level, index, hashes)
            known = hashes
        return known

    def _known(self, level: int, index: int) -> list[bytes] | None:
        complete = self.size >> (_BITS * (level + 1))
        if index > complete or (index == complete and level not in self._edge):
            raise UsageError(f"a tree of {self.size} entries has no such tile", where=tile_path(level, index))
        if index == complete:
            return self._edge[level]
        return self._tiles.get((level, index))

    def _keep(self, level: int, index: int, hashes: list[bytes]) -> None:
        self._tiles[level, index] = hashes
        if len(self._tiles) > _CACHED_TILES:
            self._tiles.popitem(last=False)

    # --------------------------------------------------------------------------------------------------- nodes

    def node(self, level: int, index: int) -> bytes:
        """The hash over the leaves [index * 2^level, (index + 1) * 2^level)."""
        height = level % _BITS
        first = index << height
        hashes = self.tile(level // _BITS, first // TILE_WIDTH)
        at = first % TILE_WIDTH
        if at + (1 << height) > len(hashes):
            raise UsageError(f"a tree of {self.size} entries has no node {index} at level {level}")
        return _combine(hashes[at : at + (1 << height)])

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` leaves."""
        return _fold([self.node(level, index) for level, index in perfect(0, self._within(size))])

    def _within(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise UsageError(f"a tree of {self.size} entries says nothing about {size}")
        return size

    def _beside(self, level: int, index: int) -> bytes:
        """The hash of a node that may lie at the right edge, and then be no perfect subtree."""
        end = min((index + 1) << level, self.size)
        return _fold([self.node(k, i) for k, i in perfect(index << level, end)])

    def _path(self, leaf: int, level: int) -> list[bytes]:
        """The siblings of what lies over `leaf` at `level`, up to the root."""
        inner = (leaf ^ (self.size - 1)).bit_length()
        path = [self._beside(k, (leaf >> k) ^ 1) for k in range(level, inner)]
        for k in range(max(level, inner), self.size.bit_length()):
            if (leaf >> k) & 1:
                path.append(self.node(k, (leaf >> k) - 1))
        return path

    # -------------------------------------------------------------------------------------------------- proofs

    def inclusion(self, index: int) -> list[bytes]:
        """The proof that the leaf is in this tree (RFC 6962, 2.1.1)."""
        if not 0 <= index < self.size:
            raise UsageError(f"a tree of {self.size} entries has no entry {index}")
        return self._path(index, 0)

    def consistency(self, size: int) -> list[bytes]:
        """The proof that this tree begins with that of its first `size` leaves (RFC 6962, 2.1.2)."""
        if self._within(size) in (0, self.size):
            return []
        level = (size & -size).bit_length() - 1
        seed = [] if size == 1 << level else [self.node(level, (size - 1) >> level)]
        return seed + self._path(size - 1, level)

    def check_consistent(self, size: int, root: bytes) -> None:
        """VerificationError unless this tree begins with the one of that size and root."""
        if size:
            check_consistency(size, self.size, root, self.root, self.consistency(size))

    # ------------------------------------------------------------------------------------------------- entries

    def leaf(self, index: int) -> bytes:
        return self.tile(0, index // TILE_WIDTH)[index % TILE_WIDTH]

    def entries(self, index: int) -> list[bytes]:
        """The verified entries of a bundle, as many as this tree has of it."""
        hashes = self.tile(0, index)
        data = read_tile(self.source, None, index, len(hashes))
        entries = unbundle(data, len(hashes), where=f"{self.source.where}/{tile_path(None, index, len(hashes))}")
        for offset, (entry, expected) in enumerate(zip(entries, hashes, strict=True)):
            if leaf_hash(entry) != expected:
                raise VerificationError(
                    "the entry is not the one that the checkpoint vouches for",
                    code="ATLAS_E_DIGEST",
                    where=f"{self.source.where}: entry {index * TILE_WIDTH + offset}",
                )
        return entries

    def find(self, wanted: bytes, *, start: int = 0) -> int | None:
        """The index of the first entry, from `start` on, with that leaf hash."""
        for number in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            for offset, found in enumerate(self.tile(0, number)):
                if found == wanted and number * TILE_WIDTH + offset >= start:
                    return number * TILE_WIDTH + offset
        return None


def unbundle(data: bytes, count: int, *, where: str) -> list[bytes]:
    """The first `count` entries: each is its length in two bytes, big-endian, and its bytes."""
    entries: list[bytes] = []
    at = 0
    while len(entries) < count:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise MalformedError("a bundle that ends inside an entry", where=where, offset=at)
        entries.append(data[at + 2 : end])
        at = end
    return entries


__all__ = ["EMPTY_ROOT", "Tree", "check_consistency", "check_inclusion", "leaf_hash", "node_hash", "unbundle"]
