"""Logical names: what a manifest calls a file. Relative to the project's root, never absolute, never above it."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import re
from pathlib import Path
from urllib.parse import quote

_MARKERS = (".git", "pyproject.toml")
# Names that half the machines of the world share say nothing about anybody.
_ANYBODY = frozenset(("root", "user", "users", "admin", "ubuntu", "debian", "jovyan", "runner", "localhost", "test"))
# An absolute path inside a text: not the rest of a URL, of a relative path or of a word.
_ABSOLUTE = re.compile(r"(?<![\w./~%-])/(?!/)[^\s'\"`,;:()\[\]{}<>|=*?]+")
_HUB = "/huggingface/hub/"


def find_root(start: Path) -> Path:
    """The nearest directory above that looks like a project, else `start` itself."""
    for place in (start, *start.parents):
        if any((place / marker).exists() for marker in _MARKERS):
            return place
    return start


class Names:
    """Turns paths into logical names, and texts into texts without absolute paths, user or host name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = str(root).rstrip("/") + "/"
        self._private = _private_words()

    def absolute(self, path: str | os.PathLike[str]) -> str:
        return os.path.abspath(os.fspath(path))  # noqa: PTH100 - keeps links as they are named

    def inside(self, path: str) -> bool:
        """Whether an absolute path lies under the root; nothing does when the root is the whole disk."""
        return self._prefix != "/" and path.startswith(self._prefix)

    def logical(self, path: str | os.PathLike[str]) -> str:
        place = self.absolute(path)
        if self.inside(place):
            name = place[len(self._prefix) :]
        elif _HUB in place:
            name = place.partition(_HUB)[2]
        else:
            name = os.path.basename(place)  # noqa: PTH119
        return encode_name(name) or "root"

    def scrub(self, text: str) -> str:
        text = _ABSOLUTE.sub(self._shorter, text)
        return self._private.sub("...", text) if self._private else text

    def _shorter(self, match: re.Match[str]) -> str:
        path = match[0]
        if path.rstrip("/").count("/") < 2 and not os.path.lexists(path):
            return path  # "/s", "/2": a unit or a fraction
        return self.logical(path)


def encode_name(name: str) -> str:
    """UTF-8, '/'-separated; bytes that are not text and characters a logical name must not have are percent-encoded."""
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    pieces = []
    for character in name:
        if character == "\\" or not character.isprintable():
            pieces.append(quote(character.encode("utf-8", "surrogateescape"), safe=""))
        else:
            pieces.append(character)
    return "".join(pieces)


def _private_words() -> re.Pattern[str] | None:
    words = set()
    with contextlib.suppress(KeyError, OSError):  # a container whose uid has no name
        words.add(getpass.getuser())
    host = platform.node()
    words |= {host, host.partition(".")[0]}
    telling = sorted((re.escape(w) for w in words if len(w) > 2 and w.lower() not in _ANYBODY), key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(telling)})(?![A-Za-z0-9])") if telling else None
