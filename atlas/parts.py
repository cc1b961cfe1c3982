"""Measure in parts: each worker a part of a file or directory, and one that puts the records together.

Of a file the parts are ranges of chunks (1 MiB) and give the tree; the flat digest is sequential and takes one pass of
one worker, as signing does. Of a directory they are ranges of files, in the order of the index, and give everything.
Records are small texts (docs/manifest.md, "Digests in parts"); they say which version they speak of, by inode and
times, so all workers must look at the same file system.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.errors import UsageError
from atlas.measure import from_core
from atlas.model import DEFAULT_IGNORE, Measurement

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable


def measure_part(
    path: str | os.PathLike[str],
    *,
    first: int = 0,
    end: int | None = None,
    share: tuple[int, int] | None = None,
    alg: str = "sha256",
    ignore: Iterable[str] = DEFAULT_IGNORE,
    threads: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> bytes:
    """The record of blocks `first` to `end` (not included; None: the last), or of share (i, n): i counts from 0."""
    index, of = share if share is not None else (0, 0)
    if share is not None and not 0 <= index < of:
        raise UsageError(f"no such share: {index} of {of}")
    return _core.measure_part(
        path, first=first, end=end, share=index, of=of, alg=alg, ignore=tuple(ignore), threads=threads,
        progress=progress,
    )  # fmt: skip


def merge_parts(records: Iterable[bytes]) -> bytes:
    """One record of parts that follow each other, given in any order. Merging may go in steps, in any grouping.

    Raises MalformedError for a gap, an overlap, or parts that are not of one version of one file.
    """
    return _core.part_merge(tuple(records))


def is_whole(record: bytes) -> bool:
    _kind, first, end, total = _core.part_range(record)
    return first == 0 and end == total


def measurement_of(record: bytes, *, ignore: Iterable[str] = DEFAULT_IGNORE) -> Measurement:
    """The measurement, from a record of the whole. A file's has no flat digest; `ignore` is what the workers used."""
    result = _core.part_measurement(record)
    if len(result) == 6:
        return from_core(result)
    return from_core(result[:6], index=result[6], links=MappingProxyType(result[7]), ignore=tuple(ignore))
