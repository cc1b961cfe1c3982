"""What happens when Atlas itself fails: the script goes on, one warning says so, a gap stays in the record."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

from atlas.errors import AtlasError, AtlasWarning, VerificationError

Gap = Callable[[str, str, bool], None]


class Guard:
    """Wraps every entry from a user's program into Atlas. One warning for each kind of failure."""

    def __init__(self, gap: Gap, scrub: Callable[[str], str]) -> None:
        self._gap = gap
        self._scrub = scrub
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, kind: str, what: str = "", *, input: bool = False) -> Iterator[None]:
        """`kind` is what Atlas was doing ("signing"), `what` the file it was doing it for, perhaps an `input`."""
        try:
            yield
        except VerificationError:
            raise  # enforce: the answer, not a failure
        except Exception as error:
            self.failed(kind, error, what, input=input)

    def failed(self, kind: str, error: BaseException, what: str = "", *, input: bool = False) -> None:
        try:
            reason, what = self._scrub(describe(error)), self._scrub(what)
        except Exception:  # what cannot be cleaned is not shown
            reason, what = type(error).__name__, ""
        try:
            self._gap(what or kind, f"{kind} failed: {reason}", input)
        except Exception as second:  # even the gap could not be kept: the warning is all there is
            reason += f"; the gap could not be recorded either: {type(second).__name__}"
        self.warn(kind, f"{kind} failed{f' for {what}' if what else ''}: {reason}")

    def warn(self, kind: str, text: str) -> None:
        """Once per kind. Never raises, not even under `-W error`: that would break the training it protects."""
        with self._lock:
            if kind in self._warned:
                return
            self._warned.add(kind)
        message = f"atlas: {text}; the script goes on, the record has a gap"
        try:
            warnings.warn(message, AtlasWarning, stacklevel=_stacklevel())
        except Exception:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(message + "\n")

    def forked(self) -> None:
        self._lock = threading.Lock()


_INNER = frozenset(("atlas", "contextlib", "torch", "safetensors", "shutil", "os"))


def _stacklevel() -> int:
    """The first frame that is neither ours nor torch's, so that the warning points at the user's line."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _INNER:
        frame = frame.f_back
        level += 1
    return level


def shown(target: object) -> str:
    """What a message about a file calls it before it is made a logical name; nothing here can fail."""
    if isinstance(target, bytes | str | os.PathLike):
        return os.path.abspath(os.fsdecode(target))  # noqa: PTH100
    return "stream"


def describe(error: BaseException) -> str:
    """One line: what went wrong, in the error's own words."""
    text = error.text if isinstance(error, AtlasError) else str(error)
    text = text.splitlines()[0] if text else ""
    if isinstance(error, AtlasError):
        return f"{error.where}: {text}" if error.where else text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
