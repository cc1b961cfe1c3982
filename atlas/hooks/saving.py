"""torch.save: the bytes are hashed on their way into the file, and signed when the file is complete."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.hooks.kinds import asset_type, is_in_main_memory
from atlas.hooks.writer import MeasuredWriter
from atlas.measure import measure
from atlas.model import Measurement
from atlas.record.follow import concerns, keep_and_set_aside
from atlas.record.outputs import SIGNING, Output
from atlas.store import put_back
from atlas.tensors.attach import attach

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

HASHING = "hashing what is saved"
ASIDE = "moving an old manifest aside"
Closed = Callable[["Saving"], None]


class Saving:
    """One call of torch.save, as the context manager that torch opens its file with."""

    def __init__(
        self,
        recorder: Recorder,
        target: str | IO[bytes],
        via: str,
        closed: Closed,
        original: Callable[[Any], Any] | None,
    ) -> None:
        """`original` is torch's own opener, which does the rest for a file object; None for the legacy format."""
        self._recorder = recorder
        self._closed = closed
        self._via = via
        self._aside = False
        self.kind: str | None = None
        self._file = None if isinstance(target, str) else target
        self._start = 0
        self.path = recorder.names.absolute(target) if isinstance(target, str) else _path_of(target)
        self.name = recorder.names.logical(self.path) if self.path else "stream"
        self.writer: MeasuredWriter | None = None
        try:
            with recorder.own():
                self.writer = self._open()
            self._inner = original(self.writer) if original is not None else None
        except BaseException:
            self._give_up()
            raise
        self.file_like: Any = self.writer if self._inner is None else getattr(self._inner, "file_like", None)

    def _open(self) -> MeasuredWriter:
        """The old manifest goes before the first byte changes."""
        if self.path and concerns(self.path):
            with self._recorder.guard(ASIDE, self.name):
                self._aside = keep_and_set_aside(self._recorder, self.path)
        if self._file is not None:
            self._start = _position(self._file)
            return MeasuredWriter(self._file, self._hash_failed)
        return MeasuredWriter(_open_new(self.path), self._hash_failed)

    def _give_up(self) -> None:
        """Torch will do it alone, or say why it cannot."""
        if self.writer is not None:
            with contextlib.suppress(OSError):
                self.writer.abort()
        if self._aside and self.writer is None:
            put_back(self.path)

    def _hash_failed(self, error: BaseException) -> None:
        self._recorder.guard.failed(HASHING, error, self.name)

    def saw(self, value: Any) -> None:
        self.kind = asset_type(value)
        if self.writer is not None:
            self.writer.table_wanted = self.kind == "model" and self._file is None
            if is_in_main_memory(value):
                self.writer.expect_callers_memory()

    def follow(self, archive: Any) -> Any:
        """What torch is to write its records with: the same, and our writer learns whose memory they are."""
        if self.writer is None or archive is not self.file_like:
            return archive
        return _Records(archive, self.writer)

    def __enter__(self) -> Any:
        return self._inner.__enter__() if self._inner is not None else self.writer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._closed(self)
        writer = self.writer
        assert writer is not None
        try:
            if self._inner is not None:
                self._inner.__exit__(kind, error, trace)
            writer.flush()
            writer.close()
        except BaseException as second:
            with contextlib.suppress(OSError):
                writer.abort()
            self._incomplete(second)
            raise
        if error is not None:
            self._incomplete(error)
        else:
            with self._recorder.entry(SIGNING, self.name):
                self._complete()

    def _incomplete(self, error: BaseException) -> None:
        """Half a file: no manifest, neither the old nor a new one."""
        with self._recorder.entry(SIGNING, self.name):
            self._recorder.diary.write(
                "incomplete", {"name": self.name, "path": self.path, "reason": type(error).__name__}
            )

    def _whole_file(self) -> str:
        """The path, if the file there holds what was written and nothing else."""
        assert self.writer is not None
        recorder, path = self._recorder, self.path
        if self._file is None or not path or _is_exactly(self._file, path, self._start, self.writer.written):
            return path
        if self._start > 0:
            recorder.outputs.removed(path)
            recorder.gap(Gap(self.name, "was written to at an offset: the file as a whole is not measured"))
        return ""

    def _read_again(self, path: str) -> Measurement | None:
        """What was hashed is not what stands in the file: bytes were overwritten, or changed while they were saved."""
        if not path:
            self._recorder.gap(Gap(self.name, "was overwritten while it was saved: not measured"))
            return None
        with self._recorder.own():
            return measure(path)

    def _complete(self) -> None:
        recorder = self._recorder
        assert self.writer is not None
        if self.writer.holes:
            recorder.gap(Gap(self.name, "a skeleton (torch.serialization.skip_data): not measured"))
            return
        path = self._whole_file()
        measurement = self.writer.finish() or self._read_again(path)
        if measurement is None:
            return
        if path and self.kind == "model":
            measurement = attach(measurement, path, known=self.writer.known)
        recorder.outputs.saved(
            Output(
                name=self.name,
                path=path,
                measurement=measurement,
                via=self._via,
                source="recorded",
                asset_type=self.kind,
                step=recorder.steps.current(),
                stream=self._file is not None and bool(path),
            )
        )


class _Records:
    """torch's archive writer. A record that is a storage is hashed behind torch's back, and kept alive until then."""

    def __init__(self, archive: Any, writer: MeasuredWriter) -> None:
        self._archive = archive
        self._writer = writer

    def write_record(self, name: Any, data: Any, *rest: Any) -> Any:
        with self._writer.holding(data):
            return self._archive.write_record(name, data, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)


def _open_new(path: str) -> int:
    """Readable too, so that what was written can be looked at; unless the file's mode forbids it."""
    flags = os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags, 0o666)
    except PermissionError:
        return os.open(path, os.O_WRONLY | flags, 0o666)


def _position(file: IO[bytes]) -> int:
    try:
        return file.tell()
    except (OSError, AttributeError, ValueError):
        return 0


def _path_of(file: Any) -> str:
    """The path of an open file; "" for a stream, or where the name is not its name."""
    name = getattr(file, "name", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return os.path.abspath(name) if isinstance(name, str) and name else ""  # noqa: PTH100


def _is_exactly(file: Any, path: str, start: int, written: int) -> bool:
    """Whether the file at `path` holds these bytes and nothing else, as far as can be seen now."""
    try:
        mine, there = os.fstat(file.fileno()), os.stat(path)  # noqa: PTH116
    except (OSError, AttributeError, ValueError):
        return False
    same = (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
    return same and start == 0 and stat.S_ISREG(mine.st_mode) and mine.st_size == written
