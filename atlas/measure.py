"""Measure: bytes to digests. docs/manifest.md, "Digests", says what each of them is."""

from __future__ import annotations

import os
import stat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.model import DEFAULT_IGNORE, Digest, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def measure(
    path: str | os.PathLike[str],
    *,
    alg: str = "sha256",
    flat: bool = True,
    tree: bool = True,
    ignore: Iterable[str] = DEFAULT_IGNORE,
    threads: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> Measurement:
    """The digests of a file or directory, by what is on disk; a link given as `path` is followed.

    `flat` and `tree` choose the digests of a file; a directory always has both. `ignore` (directories only) lists
    names, at any depth, and relative paths. `threads` is 0 for one per CPU. `progress(done, total)` is called now and
    then with bytes, total being 0 while it is not known; it may return False, or raise, to stop.

    Raises FileChanged when anything changes meanwhile, NotFound, or SystemFailure; its code is ATLAS_E_REFUSED for what
    is never measured: devices, FIFOs, sockets, links that lead out of the directory.
    """
    if _is_directory(path):
        ignored = tuple(ignore)
        result = _core.measure_directory(path, alg=alg, ignore=ignored, threads=threads, progress=progress)
        return from_core(result[:6], index=result[6], links=MappingProxyType(result[7]), ignore=ignored)
    return from_core(_core.measure_file(path, alg=alg, flat=flat, tree=tree, threads=threads, progress=progress))


def from_core(result: tuple[Any, ...], **directory: Any) -> Measurement:
    """What `_core.measure_file`, `measure_fd` or `Measurer.finish` returned, as a Measurement."""
    kind, flat, tree, size, files, oms = result
    return Measurement(kind, Digest.of(flat), Digest.of(tree), size, files, Digest.of(oms), **directory)


def _is_directory(path: str | os.PathLike[str]) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - whatever os.fspath takes
    except OSError:
        return False  # the core says what is wrong with it
