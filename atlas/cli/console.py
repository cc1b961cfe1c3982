"""What the command line shows: results on stdout, everything else on stderr, every foreign name escaped."""

from __future__ import annotations

import contextlib
import json as json_module
import os
import sys
import time
from typing import Any, TextIO

from atlas.errors import AtlasError, KeyFileError, MalformedError, UsageError
from atlas.escape import escape, escape_lines

USAGE = 2
MISSING = 4
MALFORMED = 5
FAILED = 6
INTERRUPTED = 130
PIPE_CLOSED = 141

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}
_PROGRESS_AFTER = 0.3  # seconds; shorter work shows nothing
_PROGRESS_EVERY = 0.1
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def exit_code_of(error: BaseException) -> int:
    if isinstance(error, (UsageError, KeyFileError)):
        return USAGE
    if isinstance(error, MalformedError):
        return MALFORMED
    return FAILED


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def human_size(size: int) -> str:
    value = float(size)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{size} B"


class Console:
    """One per command. `json` makes the result one document; `fail` honours it too."""

    def __init__(self, *, json: bool, verb: str) -> None:
        self.json = json
        self.verb = verb
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # an ASCII terminal must not turn a name into a crash
        self._colour = _wants_colour(sys.stdout)
        self._line_open = False

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colour else text

    def result(self, text: str = "") -> None:
        """A line of the result. Text from elsewhere must have gone through `escape`."""
        self.clear()
        print(text, file=sys.stdout)

    def document(self, value: Any) -> None:
        self.clear()
        print(json_module.dumps(value, indent=2, ensure_ascii=True), file=sys.stdout)

    def note(self, text: str) -> None:
        """A message beside the result."""
        self.clear()
        with contextlib.suppress(OSError):
            print(f"atlas {self.verb}: {escape_lines(text)}", file=sys.stderr, flush=True)

    def fail(self, error: BaseException, *, code: int | None = None) -> None:
        if isinstance(error, AtlasError):
            self.note(str(error))
        elif isinstance(error, OSError):
            place = f"{error.filename}: " if error.filename else ""
            self.note(f"{place}{error.strerror or error}")
        elif isinstance(error, MemoryError):
            self.note("out of memory; nothing was checked")
        else:
            self.note(
                f"an error in Atlas itself: {type(error).__name__}: {error}\n"
                "  please report it; ATLAS_DEBUG=1 shows where it happened"
            )
        if self.json:
            with contextlib.suppress(OSError):
                self.document(
                    {"error": _plain_error(error), "exit_code": exit_code_of(error) if code is None else code}
                )
                self.flush()

    def flush(self) -> None:
        sys.stdout.flush()

    # ------------------------------------------------------------------------------------------- progress

    def progress(self, what: str) -> Progress:
        """To be handed to anything that measures. Shows a line on a terminal only, but always lets Ctrl-C through."""
        return Progress(self, escape(what, limit=40), sys.stderr.isatty() and os.environ.get("TERM") != "dumb")

    def draw(self, line: str) -> None:
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        self._line_open = True

    def clear(self) -> None:
        if self._line_open:
            self._line_open = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _plain_error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, AtlasError):
        fields = ("code", "where", "offset", "text", "hint")
        return {"class": type(error).__name__} | {name: getattr(error, name) for name in fields}
    return {"class": type(error).__name__, "code": "", "where": "", "offset": None, "text": str(error), "hint": ""}


class Progress:
    def __init__(self, console: Console, what: str, visible: bool) -> None:
        self._console = console
        self._what = what
        self._visible = visible
        self._start = time.monotonic()
        self._next = self._start + _PROGRESS_AFTER

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._visible or now < self._next:
            return
        self._next = now + _PROGRESS_EVERY
        share = f"{100 * done // total:3d}%" if total else human_size(done)
        rate = human_size(int(done / (now - self._start)))
        self._console.draw(f"{self._what}  {share}  {rate}/s")
