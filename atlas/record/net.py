"""The net below the hooks: files that the interpreter opened and nobody measured.

An audit hook sees every `open` of Python code (not of C++ libraries). It cannot be removed, so there is one for the
life of the process, which looks whether a recorder is listening. Its answers are gaps: never an input, because nobody
knows which bytes were really read.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from atlas.claim import Gap
from atlas.record.names import Names
from atlas.record.steps import Step

MAX_SEEN = 200_000
MAX_LISTED = 20
_CODE = (".py", ".pyc", ".pyi", ".so", ".pth", ".pyd", ".egg-link")
_ATLAS = (
    ".c2pa", ".c2pa-index", ".c2pa.old", ".c2pa-index.old", ".tlog-proof", ".tlog-proof.old", ".tle.json",
    ".tle.json.old", ".journal", ".state",
)  # fmt: skip
_WRITES = frozenset("wax+")

Event = Callable[[str, tuple[Any, ...]], None]
_listener: Event | None = None
_installed = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every event of the interpreter: decide on the first letter, leave at once.
    if event[0] == "o" and _listener is not None and event in _EVENTS:
        _listener(event, arguments)


_EVENTS = frozenset(("open", "os.rename", "os.remove"))


def listen(listener: Event | None) -> None:
    """Hand events to `listener`; None stops."""
    global _installed, _listener
    if listener is not None and not _installed:
        sys.addaudithook(_audit)
        _installed = True
    _listener = listener


class Net:
    """Which files were opened for reading, in which step, under the project's root."""

    def __init__(self, names: Names, skip: tuple[str, ...]) -> None:
        self._names = names
        # Not data: the interpreter's own files, and Atlas' store.
        places = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *skip}
        root = str(names.root) + "/"
        self._skip = tuple(
            p for p in (place.rstrip("/") + "/" for place in places) if p != "/" and not root.startswith(p)
        )
        self._opened: dict[str, Step] = {}
        self._written: set[str] = set()
        self._lock = threading.Lock()
        self.overflow = False

    def forked(self) -> None:
        self._lock = threading.Lock()

    def interesting(self, path: Any) -> str:
        """The absolute path if this can be data of the project, else ""."""
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str) or path.endswith(_CODE) or path.endswith(_ATLAS):
            return ""
        place = path if path.startswith("/") else os.path.abspath(path)  # noqa: PTH100
        if not self._names.inside(place) or "/." in place[len(str(self._names.root)) :] or place.startswith(self._skip):
            return ""
        return place

    def opened(self, path: Any, mode: Any, flags: Any, step: Step) -> str:
        """Note an `open`; the path if it was read and is new here, else ""."""
        place = self.interesting(path)
        if not place:
            return ""
        writes = (
            not _WRITES.isdisjoint(mode) if isinstance(mode, str) else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        )
        if writes:
            self._written.add(place)
            return ""
        if place in self._opened or place in self._written:
            return ""
        if len(self._opened) >= MAX_SEEN:
            self.overflow = True
            return ""
        self._opened[place] = step
        return place

    def gaps(self, step: Step, known: Callable[[str], bool]) -> list[Gap]:
        """What belongs to the step and was not measured; many files of one directory are one gap."""
        missed: dict[str, list[str]] = defaultdict(list)
        for path, where in list(self._opened.items()):
            if (step.contains(where) or where.contains(step)) and not known(path) and os.path.isfile(path):  # noqa: PTH113
                missed[os.path.dirname(path)].append(path)  # noqa: PTH120
        gaps = []
        reason = "was read without being measured; declare it with run.input()"
        for directory, paths in sorted(missed.items()):
            if len(paths) > MAX_LISTED:
                what = f"{len(paths)} files of {self._names.logical(directory)}"
                gaps.append(Gap(what, reason.replace("was", "were").replace("it", "them"), input=True))
            else:
                gaps += [Gap(self._names.logical(path), reason, input=True) for path in sorted(paths)]
        if self.overflow:
            gaps.append(Gap("more files", f"more than {MAX_SEEN} files were opened", input=True))
        return gaps
