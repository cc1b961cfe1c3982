"""torch.load: what is deserialised is what was hashed. In enforce, what is deserialised was verified before."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import stat
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from atlas import _core
from atlas.claim import Gap
from atlas.errors import FileChanged, VerificationError
from atlas.hooks import sealed
from atlas.hooks.kinds import role
from atlas.hooks.stream import FileSource, MeasuredReader, ObjectSource, Source, leaves_of
from atlas.hooks.taken import Taken
from atlas.measure import from_core
from atlas.model import Digest, Measurement
from atlas.record.guard import describe
from atlas.record.reads import Reading

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

READING = "recording an input"
MAX_STREAM_TWICE = 256 << 20  # a stream up to this size is read again for its flat digest
KEEP_FROM = 64 << 20  # in enforce, an archive of this size is read once, into memory that torch then uses
MAX_MAPPING = 16 << 30  # a mapping that was asked for outside torch.load is hashed up to this size
Closed = Callable[["Loading"], None]


class Again:
    """Measures the open file once more, for both digests; owns its descriptor."""

    _fd = -1

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)

    def __call__(self) -> Measurement:
        try:
            return from_core(_core.measure_fd(self._fd))
        finally:
            self.close()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class Loading:
    """One call of torch.load, as the context manager that torch opens its file with."""

    def __init__(
        self, recorder: Recorder, target: str | IO[bytes], via: str, closed: Closed, *, into_copy: bool = False
    ) -> None:
        """`into_copy`: the program will get a sealed copy, so that is what is hashed."""
        self._into_copy = into_copy
        self.copy: sealed.SealedCopy | None = None
        self._recorder = recorder
        self._closed = closed
        self._via = via
        self.role = "data"
        self.path = recorder.names.absolute(target) if isinstance(target, str) else _path_of(target)
        self._file = None if isinstance(target, str) else target
        self._manifest: bytes | None = None
        self._fd = -1
        self.expected: list[bytes] | None = None
        self.taken: Taken | None = None
        position = self._file.tell() if self._file is not None else 0
        try:
            source = self._open(target)
            self.name = recorder.names.logical(self.path) if self.path else "stream"
            if recorder.inputs.enforce:
                with recorder.own():
                    self._verify(source)
            self.reader = MeasuredReader(
                source if self.taken is None else self.taken,
                name=self.name,
                expected=self.expected,
                strict=recorder.inputs.enforce,
                position=position,
            )
            if self.expected is not None and (self.taken is not None or self.copy is not None):
                self.reader.hashed(self.expected)
        except BaseException:
            self._close()
            raise
        self.file_like = self.reader

    def _open(self, target: str | IO[bytes]) -> Source:
        """A file of the file system through a descriptor of our own, anything else through its own methods."""
        if isinstance(target, str):
            with self._recorder.own():
                self._fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise io.UnsupportedOperation("not a regular file")
            return FileSource(self._fd)
        plain = getattr(target, "file", target)  # tempfile's wrapper
        if self.path and isinstance(plain, io.BufferedReader | io.FileIO | io.BufferedRandom):
            plain.flush()
            self._fd = os.dup(plain.fileno())
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                return FileSource(self._fd)
        self.path = ""
        return ObjectSource(target)

    def _verify(self, source: Source) -> None:
        """Hash everything, then ask for a manifest that is valid for exactly these bytes.

        A large archive is kept as it is hashed: torch gets that memory. All else is hashed again as it is handed out.
        """
        if self._into_copy:
            self.copy = sealed.SealedCopy(source)
            leaves = self.copy.leaves
        elif source.size >= KEEP_FROM and self._is_archive(source):
            self.taken = Taken(source)
            leaves = self.taken.leaves
        else:
            leaves = leaves_of(source)
        root = Digest("sha256", _core.tree_root("sha256", b"".join(leaves)))
        measurement = Measurement("file", None, root, source.size, 1)
        self.expected = leaves
        if not self.path and self._recorder.outputs.is_own_stream(measurement):
            return
        if self._recorder.inputs.pins and self._fd >= 0:
            both = from_core(_core.measure_fd(self._fd))
            if both.tree == measurement.tree:
                measurement = both
        self._manifest = self._recorder.inputs.require(self.path, self.name, measurement)

    def _is_archive(self, source: Source) -> bool:
        head = bytearray(4)
        return source.read_into(memoryview(head), 0) == 4 and head == b"PK\x03\x04"

    def saw(self, value: Any) -> None:
        self.role = role(value)

    def __enter__(self) -> MeasuredReader:
        return self.reader

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._closed(self)
        try:
            if self.reader.error is not None and self.reader.error is not error:
                raise self.reader.error  # torch turned it into something else
            if error is None:
                with self._recorder.entry(READING, self.name, input=True):
                    self._complete()
            if self._file is not None:
                self._file.seek(self.reader.tell())
        finally:
            with self._recorder.guard(READING, self.name):
                self._close()

    def _complete(self) -> None:
        reader = self.reader
        measurement = reader.finish()
        full: Callable[[], Measurement] | None = None
        if self._fd >= 0:
            full = Again(self._fd)
            if reader.source.size != os.fstat(self._fd).st_size:
                reader.changed = True
        elif reader.source.size <= MAX_STREAM_TWICE:
            measurement = _both(reader, measurement)
        name = self.name if self.path else f"stream-{measurement.tree.hex[:12] if measurement.tree else ''}"
        hand_over(
            self._recorder,
            Reading(
                self.path, name, measurement, self._via, role=self.role, full=full, changed=reader.changed,
                manifest=self._manifest,
            ),
        )  # fmt: skip

    def _close(self) -> None:
        if self.copy is not None:
            self.copy.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    # ------------------------------------------------------------------------------------------- mmap

    def sealed(self) -> contextlib.AbstractContextManager[str]:
        """In enforce: a copy of the verified bytes that nobody can change."""
        assert self.expected is not None  # of a file that was not kept as it was hashed
        return sealed.copy(self.reader.source, self.expected)

    def mapped(self, storage: Any) -> None:
        """torch.load(mmap=True) mapped the file: the program will see the mapping, so that is what is hashed."""
        if self.expected is None:
            self.reader.mapped(_core.chunk_digests(memory_of(storage)))


def hand_over(recorder: Recorder, reading: Reading) -> None:
    """To the loader in whose data set this happened, or to the step."""
    use, loader = recorder.current_loader()
    recorder.reads.loaded(reading, use, loader)


def _both(reader: MeasuredReader, measurement: Measurement) -> Measurement:
    """A stream cannot be read in the background: read it again now."""
    measurer = _core.Measurer()
    position = reader.tell()
    reader.seek(0)
    while piece := reader.read(8 << 20):
        measurer.update(piece)
    reader.seek(position)
    again = from_core(measurer.finish())
    return again if again.tree == measurement.tree else measurement


def _path_of(file: Any) -> str:
    name = getattr(file, "name", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return os.path.abspath(name) if isinstance(name, str) and name else ""  # noqa: PTH100


def memory_of(storage: Any) -> memoryview:
    """The bytes of a torch storage in main memory, without a copy."""
    size = storage.nbytes()
    if size == 0:
        return memoryview(b"")
    return memoryview((ctypes.c_char * size).from_address(storage.data_ptr())).cast("B")


class Mapping:
    """torch.UntypedStorage.from_file outside torch.load: safetensors bound early, or the program itself."""

    def __init__(self, recorder: Recorder, filename: str) -> None:
        self._recorder = recorder
        self.path = recorder.names.absolute(filename)
        self.name = recorder.names.logical(self.path)

    def observe(self, storage: Any) -> None:
        recorder = self._recorder
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size > MAX_MAPPING or storage.nbytes() < size:
                why = (
                    "was mapped and is too large to be hashed in passing"
                    if size > MAX_MAPPING
                    else "was mapped in part"
                )
                recorder.gap(Gap(self.name, f"{why}; declare it with run.input()", input=True))
                return
            root = _core.tree_root("sha256", _core.chunk_digests(memory_of(storage)[:size]))
            measurement = Measurement("file", None, Digest("sha256", root), size, 1)
            hand_over(recorder, Reading(self.path, self.name, measurement, "mmap", role="base model", full=Again(fd)))
        finally:
            os.close(fd)


@contextlib.contextmanager
def verified_copy(recorder: Recorder, path: str, via: str) -> Any:
    """In enforce: a sealed copy of a file whose bytes were verified, and the reading to be recorded."""
    loading = Loading(recorder, path, via, lambda _loading: None, into_copy=True)
    try:
        assert loading.copy is not None
        yield loading.copy.path
        with recorder.entry(READING, loading.name, input=True):
            loading.role = "base model"
            loading._complete()
    finally:
        loading._close()


def fail_closed(name: str, error: Exception) -> VerificationError:
    """In enforce, not being able to check is not being allowed to load."""
    return VerificationError(f"could not be checked: {describe(error)}", where=name)


__all__ = ["FileChanged", "Loading", "Mapping", "fail_closed", "hand_over", "memory_of", "verified_copy"]
