"""Sealed copies in memory: bytes that were hashed as they were copied, and that nobody, this process included, can
change any more."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from atlas.errors import FileChanged
from atlas.hooks.stream import LEAF, Source

_PIECE = 32 * LEAF
# memfd_create(2), fcntl(2): all four, so that neither the bytes nor the seals change
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class SealedCopy:
    """`leaves` are those of the copy: one pass over the source. It lives as long as somebody maps or opens it."""

    def __init__(self, source: Source) -> None:
        self._fd = os.memfd_create("atlas", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            self.leaves = self._fill(source)
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            self.close()
            raise

    def _fill(self, source: Source) -> list[bytes]:
        buffer = memoryview(bytearray(min(_PIECE, max(source.size, 1))))
        found = bytearray()
        for offset in range(0, source.size, _PIECE):
            piece = buffer[: min(len(buffer), source.size - offset)]
            found += source.read_hashed(piece, offset)
            while piece:
                piece = piece[os.write(self._fd, piece) :]
        return [bytes(found[i : i + 32]) for i in range(0, len(found), 32)]

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@contextlib.contextmanager
def copy(source: Source, leaves: list[bytes]) -> Iterator[str]:
    """Yields a path to a sealed copy of exactly the bytes with these leaves."""
    made = SealedCopy(source)
    try:
        if made.leaves != leaves:
            raise FileChanged("changed after it was verified")
        yield made.path
    finally:
        made.close()
