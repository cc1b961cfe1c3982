"""A whole file in memory of our own: read and hashed in one pass, so that what is handed out is what was hashed, and no
second copy is needed, because torch's tensors are made of this very memory. No torch here.
"""

from __future__ import annotations

import contextlib
import mmap

from atlas.errors import FileChanged
from atlas.hooks.stream import LEAF, Source

_PIECE = 256 * LEAF  # one call of the core; Ctrl-C gets through between two


class Taken:
    """`memory` belongs to nobody else: no other process and no file can change it. A source of bytes, too."""

    def __init__(self, source: Source) -> None:
        self.size = source.size
        self.memory = mmap.mmap(-1, max(source.size, 1))  # anonymous and private; never closed, only let go
        with contextlib.suppress(OSError):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.view = memoryview(self.memory)[: self.size]
        found = bytearray()
        for offset in range(0, self.size, _PIECE):
            found += source.read_hashed(self.view[offset : offset + _PIECE], offset)
        self.leaves = [bytes(found[i : i + 32]) for i in range(0, len(found), 32)]

    def read_into(self, view: memoryview, offset: int) -> int:
        piece = self.view[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def read_hashed(self, view: memoryview, offset: int) -> bytes:
        if self.read_into(view, offset) < len(view):
            raise FileChanged("ends before these bytes")
        first = offset // LEAF
        return b"".join(self.leaves[first : first - (-len(view) // LEAF)])
