"""A file object that measures what is written through it. No torch here.

PyTorch's C++ side calls `write(memoryview)` and ignores what it returns, so a short write would be silent corruption:
`MeasuredWriter` writes on or raises.

Large pieces are hashed on threads while they are written. A piece whose owner is known (`holding`) is followed: the
write returns at once and hashing goes on through the owner's memory, which is kept alive. What was followed is compared
with the file in samples afterwards: memory that somebody changed meanwhile means that the file is read again. For all
else the write returns when its bytes are hashed.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any

from atlas import _core
from atlas.hooks.lane import Lane
from atlas.measure import from_core
from atlas.model import Measurement

_COALESCE = 1 << 18
_FEW = 4 << 20  # a stream of small writes this long is not worth a thread
_PIECE = 4096  # a smaller tensor is read again for its digest
# Bytes that hashing may be behind when the next piece comes: of memory that torch would have freed, and of memory that
# the caller has anyway.
_BEHIND = 32 << 20
_BEHIND_CALLER = 1 << 30
_SAMPLE_EVERY = 1 << 20
_SAMPLE_BYTES = 4096


def _threads() -> int:
    """For flat digest and tree; the writer and the digests of tensors have a core each."""
    return max(1, len(os.sched_getaffinity(0)) - 2)


class MeasuredWriter:
    """Hashes what is written to `target`, a descriptor of ours or a file object of the caller's."""

    def __init__(self, target: int | IO[bytes], on_failure: Callable[[BaseException], None]) -> None:
        self._fd = target if isinstance(target, int) else -1
        self._file = None if isinstance(target, int) else target
        self._measurer: _core.Measurer | None = _core.Measurer(threads=_threads())
        self._failed = on_failure
        self._readable = self._fd >= 0 and fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        self._held = bytearray()  # small writes are put together
        self._held_at = 0
        self._held_pieces: list[tuple[int, int]] = []  # storages among them
        self._closed = False
        self._whole: Lane | None = None
        self._tensors: Lane | None = None
        self._owner: Any = None
        self._followed: deque[tuple[int, memoryview, Any, tuple[int, int]]] = deque()  # ends in both lanes
        self._pieces: list[tuple[int, int]] = []
        self._digests: list[bytes] = []
        self._position = 0  # counted from where the save began
        self.written = 0  # bytes of the stream so far
        self.holes = False  # torch.serialization.skip_data: bytes were left out
        self.reread = False  # what was hashed is not what stands in the file
        self.table_wanted = False
        self.behind = _BEHIND

    def writable(self) -> bool:
        return True

    def expect_callers_memory(self) -> None:
        """What comes is memory that the caller holds all the time, not copies of it from another device."""
        self.behind = _BEHIND_CALLER

    @contextlib.contextmanager
    def holding(self, owner: Any) -> Iterator[None]:
        """What is written now is `owner`'s memory, if it lies there: a storage, with data_ptr and nbytes."""
        self._owner = owner if hasattr(owner, "data_ptr") and hasattr(owner, "nbytes") else None
        try:
            yield
        finally:
            self._owner = None

    # ----------------------------------------------------------------------------------------------- writing

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._closed:
            return len(view)  # the destructor of a writer that failed tries to finish its archive
        at, self._position = self._position, self._position + len(view)
        self.reread = self.reread or at < self.written
        self.written = max(self.written, self._position)
        if len(view) < _COALESCE:
            if self._file is not None:
                self._hand_on(view)
            self._hold(view, at)
        else:
            self._drain()
            self._pass(view, at)
        return len(view)

    def _hold(self, view: memoryview, at: int) -> None:
        """A copy of little ones: the caller's file object has them already, our descriptor gets them together."""
        if not self._held:
            self._held_at = at
        if self._owner is not None and self.table_wanted and len(view) >= _PIECE:
            self._held_pieces.append((at - self._held_at, len(view)))
        self._held += view
        if len(self._held) >= _COALESCE:
            self._drain()

    def _drain(self) -> None:
        if not self._held:
            return
        view, self._held = memoryview(self._held), bytearray()
        pieces, self._held_pieces = self._held_pieces, []
        self._guarded(lambda: self._hash_copy(view, pieces))
        if self._file is None:
            self._put_out(view)

    def _pass(self, view: memoryview, at: int) -> None:
        """Hash and write at the same time."""
        followed = self._guarded(lambda: self._hash(view, at))
        if self._file is not None:
            self._hand_on(view)
        else:
            self._put_out(view)
        if not followed and self._whole is not None:
            self._whole.wait()

    def _put_out(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._fd, view) :]

    def _hand_on(self, view: memoryview) -> None:
        assert self._file is not None
        rest = view
        while rest:
            done = self._file.write(rest)
            if done is None or not 0 <= done <= len(rest):
                break  # file objects of all kinds return all kinds of things; then all of it was taken
            if done == 0:
                raise OSError("write returned 0: nothing more can be written")
            rest = rest[done:]

    # ----------------------------------------------------------------------------------------------- hashing

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Whether the caller may go on before the bytes are hashed. The user's bytes are written all the same."""
        if self._measurer is None or self.reread:
            return True
        try:
            return work()
        except Exception as error:
            self._give_up(error)
            return True

    def _hash_copy(self, view: memoryview, pieces: list[tuple[int, int]]) -> bool:
        """Bytes that nobody else has: they need no owner. The first few are not worth a thread."""
        if self._whole is None and self.written < _FEW:
            assert self._measurer is not None
            self._measurer.update(view)
            return True
        self._room().put(view, None)
        for start, size in pieces:
            self._follow_tensor(view[start : start + size], None, self._held_at + start)
        return True

    def _hash(self, view: memoryview, at: int) -> bool:
        owner = self._owner if self._readable and _lies_in(view, self._owner) else None
        whole = self._room()
        whole.put(view, owner)
        if owner is None:
            return False
        if self.table_wanted:
            self._follow_tensor(view, owner, at)
        self._followed.append((at, view, owner, (whole.total, self._tensors.total if self._tensors else 0)))
        return True

    def _room(self) -> Lane:
        """The lane of the file's digests, not far behind any more."""
        if self._whole is None:
            assert self._measurer is not None
            self._whole = Lane("atlas-hash", self._measurer.update, sliced=True)
        self._whole.wait(behind=self.behind)
        self._settle()
        return self._whole

    def _follow_tensor(self, view: memoryview, owner: Any, at: int) -> None:
        """Its own digest too: most storages are one tensor, from the first byte to the last."""
        if self._tensors is None:
            self._tensors = Lane("atlas-tensors", self._digest)
        self._tensors.wait(behind=self.behind)
        self._tensors.put(view, owner)
        self._pieces.append((at, len(view)))

    def _digest(self, view: memoryview) -> None:
        self._digests.append(_core.tensor_digests([(view, 0, 1, 1, (len(view),), (1,))], threads=1))

    def _settle(self) -> None:
        """Let go of what is hashed, once samples of it were found in the file."""
        done = (self._whole.done if self._whole else 0, self._tensors.done if self._tensors else 0)
        while self._followed and all(end <= now for end, now in zip(self._followed[0][3], done, strict=True)):
            offset, view, _owner, _ = self._followed.popleft()
            self.reread = self.reread or not self._stands(offset, view)

    def _stands(self, offset: int, view: memoryview) -> bool:
        for number, start in enumerate(range(0, len(view), _SAMPLE_EVERY)):
            room = min(_SAMPLE_EVERY, len(view) - start) - _SAMPLE_BYTES
            at = start + (number * 0x9E3779B1 % room if room > 0 else 0)
            piece = view[at : at + _SAMPLE_BYTES]
            if os.pread(self._fd, len(piece), offset + at) != piece:
                return False
        return True

    def _give_up(self, error: BaseException) -> None:
        self._measurer = None
        self.reread = True
        self._failed(error)

    # ------------------------------------------------------------------------------------- the file protocol

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """skip_data seeks forward: what is left out was never hashed. Whoever goes back means to overwrite."""
        before = self.tell()
        self._drain()
        if self._file is not None:
            now = self._file.seek(offset, whence)
            now = self._file.tell() if now is None else now
        else:
            now = os.lseek(self._fd, offset, whence)
        self._position += now - before
        self.holes = self.holes or self._position > self.written
        return now

    def tell(self) -> int:
        if self._file is not None:
            return self._file.tell()
        return os.lseek(self._fd, 0, os.SEEK_CUR) + len(self._held)

    def flush(self) -> None:
        self._drain()
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """When everything is hashed. Closes our own descriptor; the caller closes what is the caller's."""
        self._closed = True
        try:
            self._drain()
            self._catch_up()
        finally:
            self.abort()

    def _catch_up(self) -> None:
        for lane in (self._whole, self._tensors):
            if lane is not None:
                lane.wait()
                if lane.error is not None and self._measurer is not None:
                    self._give_up(lane.error)
        try:
            self._settle()
        except OSError as error:  # the file cannot be read back
            self._give_up(error)

    def abort(self) -> None:
        """End the threads and close the descriptor, wherever they are."""
        self._closed = True
        for lane in (self._whole, self._tensors):
            if lane is not None:
                lane.close()
        self._followed.clear()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno: the bytes must pass through here")

    # ---------------------------------------------------------------------------------------------- results

    def finish(self) -> Measurement | None:
        """None when the stream cannot be measured, or (`reread`) when only the file itself can tell. After close."""
        if self._measurer is None or self.holes or self.reread:
            return None
        return from_core(self._measurer.finish())

    def known(self, offset: int, size: int) -> bytes | None:
        """The SHA-256 of these bytes of the file, where they were a piece of their own."""
        if self.reread or len(self._digests) != len(self._pieces):
            return None
        found = dict(zip(self._pieces, self._digests, strict=True))
        return found.get((offset, size))


def _lies_in(view: memoryview, owner: Any) -> bool:
    if owner is None:
        return False
    start, size = int(owner.data_ptr()), int(owner.nbytes())
    at: int = _core.address_of(view)
    return start <= at and at + len(view) <= start + size
