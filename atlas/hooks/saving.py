"""torch.save: the bytes are hashed on their way into the file, and signed when the file is complete."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.hooks.kinds import asset_type
from atlas.hooks.stream import MeasuredWriter
from atlas.record.follow import concerns, keep_and_set_aside
from atlas.record.outputs import SIGNING, Output
from atlas.store import put_back

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

HASHING = "hashing what is saved"
Closed = Callable[["Saving"], None]


class Saving:
    """One call of torch.save, as the context manager that torch opens its file with."""

    def __init__(self, recorder: Recorder, target: str | IO[bytes], via: str, closed: Closed) -> None:
        self._recorder = recorder
        self._closed = closed
        self._via = via
        self._inner: Any = None
        self._aside = False
        self.kind: str | None = None
        self.file_like: Any = None
        self._file = None if isinstance(target, str) else target
        self._start = 0
        self.path = recorder.names.absolute(target) if isinstance(target, str) else _path_of(target)
        self.name = recorder.names.logical(self.path) if self.path else "stream"
        with recorder.own():
            self._open()

    def _open(self) -> None:
        """The old manifest goes before the first byte changes; if the file cannot be opened, it comes back."""
        if self.path and concerns(self.path):
            with self._recorder.guard("moving an old manifest aside", self.name):
                self._aside = keep_and_set_aside(self._recorder, self.path)
        try:
            if self._file is None:
                target: Any = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            else:
                target = self._file
                self._start = _position(target)
            self.writer = MeasuredWriter(target, self._hash_failed)
        except BaseException:
            if self._aside:
                put_back(self.path)
            raise

    def _hash_failed(self, error: BaseException) -> None:
        self._recorder.guard.failed(HASHING, error, self.name)

    def wrap(self, original: Callable[[Any], Any]) -> Saving:
        """Torch's own opener for file objects does the rest, with the options of this version of torch."""
        try:
            self._inner = original(self.writer)
        except BaseException:
            self.writer.close()
            raise
        self.file_like = getattr(self._inner, "file_like", None)
        return self

    def bare(self) -> Saving:
        """The legacy format writes to the file object itself."""
        self.file_like = self.writer
        return self

    def saw(self, value: Any) -> None:
        self.kind = asset_type(value)

    def __enter__(self) -> Any:
        return self._inner.__enter__() if self._inner is not None else self.writer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._closed(self)
        try:
            if self._inner is not None:
                self._inner.__exit__(kind, error, trace)
            self.writer.flush()
            if self._file is None:
                self.writer.close()
        except BaseException as second:
            self._incomplete(second)
            raise
        finally:
            if self._file is None:
                with contextlib.suppress(OSError):
                    self.writer.close()
        if error is not None:
            self._incomplete(error)
        else:
            with self._recorder.entry(SIGNING, self.name):
                self._complete()

    def _incomplete(self, error: BaseException) -> None:
        """Half a file: no manifest, neither the old nor a new one."""
        with self._recorder.entry(SIGNING, self.name):
            self._recorder.journal("incomplete", {"name": self.name, "path": self.path, "reason": type(error).__name__})

    def _complete(self) -> None:
        recorder = self._recorder
        measurement = self.writer.finish()
        if measurement is None:
            if self.writer.holes:
                recorder.gap(Gap(self.name, "a skeleton (torch.serialization.skip_data): not measured"))
            return
        path = self.path
        if self._file is not None and path and not _is_exactly(self._file, path, self._start, self.writer.written):
            if self._start > 0:
                recorder.outputs.removed(path)
                recorder.gap(Gap(self.name, "was written to at an offset: the file as a whole is not measured"))
            path = ""
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
