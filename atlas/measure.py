"""Measure: bytes to digests. docs/manifest.md, "Digests", says what each of them is."""

from __future__ import annotations

import os
import stat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.model import DEFAULT_IGNORE, CacheLevel, Digest, Measurement

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
    cache: CacheLevel = "off",
) -> Measurement:
    """The digests of a file or directory, by what is on disk; a link given as `path` is followed.

    `flat` and `tree` choose the digests of a file; a directory always has both. `ignore` (directories only) lists
    names, at any depth, and relative paths. `threads` is 0 for one per CPU. `progress(done, total)` is called now and
    then with bytes, total being 0 while it is not known; it may return False, or raise, to stop. `cache` other than
    "off" takes digests of files that did not change from the user's cache (docs/measure.md); `Measurement.cache` says
    what it was used for.

    Raises FileChanged when anything changes meanwhile, NotFound, or SystemFailure; its code is ATLAS_E_REFUSED for what
    is never measured: devices, FIFOs, sockets, links that lead out of the directory.
    """
    from atlas.cache import level_of, open_cache

    opened = open_cache(level_of(cache), alg)
    core, share = opened.core, opened.share
    if _is_directory(path):
        ignored = tuple(ignore)
        found = _core.measure_directory(
            path, alg=alg, ignore=ignored, threads=threads, progress=progress, cache=core, cache_share=share
        )
        links = MappingProxyType(found[7])
        return from_core(found[:6], index=found[6], links=links, ignore=ignored, cache=opened.close())
    one = _core.measure_file(
        path, alg=alg, flat=flat, tree=tree, threads=threads, progress=progress, cache=core, cache_share=share
    )
    return from_core(one, cache=opened.close())


def from_core(result: tuple[Any, ...], **more: Any) -> Measurement:
    """What `_core.measure_file`, `measure_fd` or `Measurer.finish` returned, as a Measurement."""
    kind, flat, tree, size, files, oms = result
    return Measurement(kind, Digest.of(flat), Digest.of(tree), size, files, Digest.of(oms), **more)


def _is_directory(path: str | os.PathLike[str]) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - whatever os.fspath takes
    except OSError:
        return False  # the core says what is wrong with it


def kernels() -> dict[str, str]:
    """What hashes in this process (docs/measure.md), by algorithm; under "failed" a kernel that gives wrong digests on
    this machine, and is not used."""
    found = _core.kernels()
    named = {"sha256": "{} ({} lanes)".format(*found["sha256"])}
    named |= dict.fromkeys(("sha384", "sha512"), "{} ({} lanes)".format(*found["sha512"]))
    return named | ({"failed": found["failed"]} if found["failed"] else {})
