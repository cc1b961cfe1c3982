"""Copy a log's static files outward: entries, then tiles, then the checkpoint, each verified on its way.

A reader of the copy never sees a checkpoint whose tiles are not all there, and the copy never goes back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from atlas.errors import NotFound, SystemFailure, VerificationError
from atlas.files import StrPath, read_regular, write_atomic
from atlas.remote.checkpoint import Checkpoint, open_checkpoint
from atlas.remote.equivocation import compare
from atlas.remote.proof import Accept
from atlas.remote.source import (
    CHECKPOINT,
    MAX_BUNDLE_BYTES,
    MAX_CHECKPOINT_BYTES,
    TILE_WIDTH,
    Folder,
    Source,
    tile_path,
)
from atlas.remote.tree import Tree


@dataclass(frozen=True, slots=True)
class Copied:
    before: int | None
    size: int
    files: int


def sync(source: Source, target: StrPath, *, log_keys: Iterable[str], accept: Accept | None = None) -> Copied:
    """Bring the copy in `target` up to date. Raises before anything is replaced when the histories differ."""
    trusted = list(log_keys)
    now = open_checkpoint(source.read(CHECKPOINT, limit=MAX_CHECKPOINT_BYTES), trusted, where=source.where)
    if accept is not None:
        accept(now.note)
    folder = Path(target)
    last = _checkpoint_of(folder, trusted)
    if last is not None and now.size < last.size:
        raise SystemFailure(
            f"the copy has {last.size} entries, the log only {now.size}: a copy never goes back", where=str(folder)
        )
    tree = Tree(source, now.size, now.root)
    if last is not None:
        found = compare(last, now, tree)
        if found is not None:
            raise VerificationError(found.explain(), code="ATLAS_E_DIGEST", where=str(folder))
        tree.check_consistent(last.size, last.root)
    start = last.size if last else 0
    written = sum(_put(folder, path, data) for path, data in _files(tree, start))
    Tree(Folder(folder) if folder.is_dir() else source, now.size, now.root)  # the copy itself makes this root
    if last is None or now.note != last.note:
        _make_directories(folder)
        write_atomic(folder / CHECKPOINT, now.note)
        written += 1
    return Copied(last.size if last else None, now.size, written)


def _checkpoint_of(folder: Path, trusted: list[str]) -> Checkpoint | None:
    try:
        note = read_regular(folder / CHECKPOINT, limit=MAX_CHECKPOINT_BYTES)
    except NotFound:
        return None
    return open_checkpoint(note, trusted, where=str(folder))


def _files(tree: Tree, start: int) -> Iterator[tuple[str, bytes]]:
    """Every file that a client of this tree needs and one of its first `start` entries did not: verified."""
    for number in range(start // TILE_WIDTH, -(-tree.size // TILE_WIDTH)):
        entries = tree.entries(number)
        data = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
        yield tile_path(None, number, len(entries)), data
    level, before, size = 0, start, tree.size
    while size:
        for number in range(before // TILE_WIDTH, -(-size // TILE_WIDTH)):
            hashes = tree.tile(level, number)
            yield tile_path(level, number, len(hashes)), b"".join(hashes)
        level, before, size = level + 1, before // TILE_WIDTH, size // TILE_WIDTH


def _put(folder: Path, name: str, data: bytes) -> bool:
    """Write an immutable file; one that is there already must be the same. Whether it was written."""
    path = folder / name
    try:
        present = read_regular(path, limit=MAX_BUNDLE_BYTES)
    except NotFound:
        _make_directories(path.parent)
        write_atomic(path, data)
        return True
    if present != data:
        raise VerificationError("the copy holds another file of this name", code="ATLAS_E_DIGEST", where=str(path))
    return False


def _make_directories(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemFailure(f"cannot be made: {error.strerror}", where=os.fspath(path)) from error


__all__ = ["Copied", "sync"]
