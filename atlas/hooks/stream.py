"""A file object that measures what is read through it: what torch gets is what was hashed. No torch here.

PyTorch's C++ side calls `readinto`, and `read` when that came back short: an exception in `readinto` is lost, so
`MeasuredReader` keeps it, returns 0, and raises it from the `read` that follows.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from typing import IO, Any, Protocol

from atlas import _core
from atlas.errors import FileChanged
from atlas.model import Digest, Measurement

LEAF = 1 << 20  # docs/manifest.md: the chunk of the tree digest
_CACHED_LEAVES = 8
_READ_BYTES = 32 * LEAF


class Source(Protocol):
    """Bytes at offsets."""

    size: int

    def read_into(self, view: memoryview, offset: int) -> int: ...

    def read_hashed(self, view: memoryview, offset: int) -> bytes:
        """Fill the view; the digests of its leaves, of exactly these bytes. FileChanged where there are fewer."""


class FileSource:
    """A descriptor of our own; the caller's position stays."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size

    def read_into(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < len(view):
            n = os.preadv(self.fd, [view[done:]], offset + done)
            if n == 0:
                break
            done += n
        return done

    def read_hashed(self, view: memoryview, offset: int) -> bytes:
        return _core.read_chunks(self.fd, offset, view)


class ObjectSource:
    """The caller's file object: BytesIO, a member of an archive, a remote file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        position = file.tell()
        file.seek(0, os.SEEK_END)
        self.size = file.tell()
        file.seek(position)

    def read_into(self, view: memoryview, offset: int) -> int:
        self._file.seek(offset)
        done = 0
        while done < len(view):
            data = self._file.read(min(len(view) - done, _READ_BYTES))
            if not data:
                break
            view[done : done + len(data)] = data
            done += len(data)
        return done

    def read_hashed(self, view: memoryview, offset: int) -> bytes:
        if self.read_into(view, offset) < len(view):
            raise FileChanged("became shorter while it was read")
        return _core.chunk_digests(view)


class MeasuredReader:
    """Serves bytes only after it hashed them. With `expected` leaves, only the bytes that have these digests.

    Leaf by leaf: whole leaves are read straight into the caller's memory and hashed there; parts of a leaf come from a
    copy that was hashed. A leaf that is read again must be what it was.
    """

    def __init__(
        self, source: Source, *, name: str, expected: list[bytes] | None = None, strict: bool = False, position: int = 0
    ) -> None:
        self.source = source
        self.error: Exception | None = None
        self.changed = False
        self._name = name
        self._expected = expected
        self._strict = strict
        self._position = position
        self._count = -(-source.size // LEAF)
        self._leaves: list[bytes | None] = [None] * self._count
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    # -------------------------------------------------------------------------------------- leaves

    def _saw(self, first: int, digests: bytes) -> None:
        """Compare with what is expected and with what was seen before; strict readers refuse, others remember."""
        size = 32
        for i in range(len(digests) // size):
            digest = digests[i * size : (i + 1) * size]
            index = first + i
            known = self._leaves[index] if self._expected is None else self._expected[index]
            if known is not None and known != digest:
                self.changed = True
                if self._strict:
                    raise FileChanged("changed while it was read, or is not what was verified", where=self._name)
            self._leaves[index] = digest

    def _leaf(self, index: int) -> bytes:
        data = self._cache.get(index)
        if data is not None:
            self._cache.move_to_end(index)
            return data
        buffer = bytearray(min(LEAF, self.source.size - index * LEAF))
        n = self.source.read_into(memoryview(buffer), index * LEAF)
        if n < len(buffer):
            self._short()
        data = bytes(buffer[:n])
        self._saw(index, _core.chunk_digests(data))
        self._cache[index] = data
        while len(self._cache) > _CACHED_LEAVES:
            self._cache.popitem(last=False)
        return data

    def _short(self) -> None:
        self.changed = True
        if self._strict:
            raise FileChanged("became shorter while it was read", where=self._name)

    def _fill(self, view: memoryview) -> int:
        """Like readinto, at the position."""
        done = 0
        while done < len(view) and self._position < self.source.size:
            index, offset = divmod(self._position, LEAF)
            whole = self._whole(len(view) - done) if offset == 0 else 0
            n = self._straight(view[done : done + whole], index) if whole else self._part(view[done:], index, offset)
            if n == 0:
                break
            done += n
            self._position += n
        return done

    def _whole(self, room: int) -> int:
        """How many bytes of whole leaves fit, the short last leaf of the file included."""
        rest = self.source.size - self._position
        return rest if rest <= room else room - room % LEAF

    def _straight(self, view: memoryview, index: int) -> int:
        try:
            digests = self.source.read_hashed(view, index * LEAF)
        except FileChanged:
            self._short()
            n = self.source.read_into(view, index * LEAF)
            digests = _core.chunk_digests(view[:n]) if n else b""
        else:
            n = len(view)
        self._saw(index, digests)
        return n

    def _part(self, view: memoryview, index: int, offset: int) -> int:
        piece = memoryview(self._leaf(index))[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    # ------------------------------------------------------------------------------ the file protocol

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            return self._fill(view)
        except Exception as error:
            self.error = error
            return 0

    def read(self, n: int | None = -1) -> bytes:
        self._raise()
        rest = max(0, self.source.size - self._position)
        buffer = bytearray(rest if n is None or n < 0 else min(n, rest))
        try:
            done = self._fill(memoryview(buffer))
        except Exception as error:
            self.error = error
            raise
        return bytes(buffer[:done])

    def readline(self, limit: int = -1) -> bytes:
        self._raise()
        pieces = []
        rest = limit if limit is not None and limit >= 0 else self.source.size
        while rest > 0 and self._position < self.source.size:
            index, offset = divmod(self._position, LEAF)
            leaf = self._leaf(index)
            end = leaf.find(b"\n", offset, offset + rest)
            piece = leaf[offset : end + 1] if end >= 0 else leaf[offset : offset + rest]
            self._position += len(piece)
            rest -= len(piece)
            pieces.append(piece)
            if end >= 0 or not piece:
                break
        return b"".join(pieces)

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.source.size}[whence]
        if base + offset < 0:
            raise OSError(22, "Invalid argument")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        return

    def fileno(self) -> int:
        # torch reads legacy files through the descriptor when there is one
        raise io.UnsupportedOperation("fileno: the bytes must pass through here")

    # ------------------------------------------------------------------------------------- the result

    def mapped(self, leaves: bytes) -> None:
        """The whole content as somebody mapped it: must agree with what was served."""
        self._saw(0, leaves)

    def hashed(self, leaves: list[bytes]) -> None:
        """These were seen already: the source is memory that was hashed as it was filled."""
        self._leaves = list(leaves)

    def finish(self) -> Measurement:
        """Hash what was never asked for; the tree digest of the whole content."""
        for index, leaf in enumerate(self._leaves):
            if leaf is None:
                self._leaf(index)
        digests = b"".join(leaf for leaf in self._leaves if leaf is not None)
        return Measurement("file", None, Digest("sha256", _core.tree_root("sha256", digests)), self.source.size, 1)


def leaves_of(source: Source) -> list[bytes]:
    """The digest of every leaf, on all cores."""
    found = bytearray()
    buffer = memoryview(bytearray(min(_READ_BYTES, max(source.size, 1))))
    for offset in range(0, source.size, _READ_BYTES):
        found += source.read_hashed(buffer[: min(len(buffer), source.size - offset)], offset)
    return [bytes(found[i : i + 32]) for i in range(0, len(found), 32)]
