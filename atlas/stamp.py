"""Has a file or directory changed since it was verified, as far as the file system can tell without reading it?

Used only to verify once per test session instead of once per test. It is no digest cache: a stamp is refused when
anything was touched so shortly before (or after) the verification began that its time stamps could not show a change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SLACK_NS = 50_000_000  # coarser than the tick by which the kernel stamps files (4 ms at 250 Hz)


def _walk(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """The path itself, what it links to, and everything below; iterative, links inside are not followed."""
    for follow in (False, True):
        try:
            yield path, Path(path).stat(follow_symlinks=follow)
        except OSError:
            return
    todo = [path] if Path(path).is_dir() else []
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)


def stamp(paths: Iterable[str | os.PathLike[str]], *, began_ns: int) -> bytes | None:
    """A digest over names, inodes, sizes and times; None when something is too young to be told from a later change."""
    lines = []
    for path in paths:
        place = os.fspath(path)
        lines.append(place)
        for name, status in _walk(place):
            if max(status.st_mtime_ns, status.st_ctime_ns) >= began_ns - SLACK_NS:
                return None
            lines.append(
                f"{name}\0{status.st_dev}:{status.st_ino}:{status.st_mode}:{status.st_size}"
                f":{status.st_mtime_ns}:{status.st_ctime_ns}"
            )
    return hashlib.sha256("\0\0".join(sorted(lines)).encode(errors="surrogateescape")).digest()
