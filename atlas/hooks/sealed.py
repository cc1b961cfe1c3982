"""Sealed copies in memory: bytes that were verified and that nobody, this process included, can change any more."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from atlas import _core
from atlas.errors import FileChanged
from atlas.hooks.stream import LEAF, Source

_PIECE = 32 * LEAF
# memfd_create(2), fcntl(2): all four, so that neither the bytes nor the seals change
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@contextlib.contextmanager
def copy(source: Source, leaves: list[bytes]) -> Iterator[str]:
    """Yields a path to a sealed copy of exactly the bytes with these leaves; it lives as long as somebody maps it."""
    fd = os.memfd_create("atlas", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _fill(fd, source, leaves)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _fill(fd: int, source: Source, leaves: list[bytes]) -> None:
    buffer = memoryview(bytearray(min(_PIECE, max(source.size, 1))))
    for offset in range(0, source.size, _PIECE):
        piece = buffer[: min(len(buffer), source.size - offset)]
        if source.read_into(piece, offset) < len(piece):
            raise FileChanged("became shorter while it was read")
        first = offset // LEAF
        digests = _core.chunk_digests(piece)
        if digests != b"".join(leaves[first : first + len(digests) // 32]):
            raise FileChanged("changed after it was verified")
        while piece:
            piece = piece[os.write(fd, piece) :]
