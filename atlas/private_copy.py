"""A private copy of verified bytes: what is handed out is what was hashed, whatever happens to the original.

The copy is made first and then measured itself, in a directory that only this user can write to.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from atlas import _core
from atlas.errors import UsageError, VerificationError
from atlas.measure import measure
from atlas.sidecar import StrPath, index_path, open_regular, read_regular

if TYPE_CHECKING:
    from atlas.model import Node, Verdict

MAX_INDEX_BYTES = 512 << 20
_COPY_BYTES = 4 << 20


def copy_verified(verdict: Verdict, directory: StrPath) -> Path:
    """Copy the artifact of a VALID verdict into `directory`; returns the copy.

    Raises VerificationError when the bytes copied are not the bytes that were verified: the original has changed.
    """
    verdict.raise_for_status()
    source, node = Path(verdict.path), verdict.nodes[0]
    if node.flat is None:
        raise UsageError("the verdict speaks of no digest", where=verdict.path)
    target = Path(directory) / (source.name or Path(os.path.realpath(source)).name)
    if node.kind == "directory":
        _copy_directory(source, target, node)
    else:
        _copy_file(source, target)
    if not _is_what_was_signed(target, node):
        raise VerificationError("changed after it was verified", where=verdict.path, hint="verify it again")
    return target


def _is_what_was_signed(copy: Path, node: Node) -> bool:
    signed = [digest for digest in (node.flat, node.tree) if digest is not None]
    measured = measure(copy, alg=signed[-1].alg, ignore=())
    comparable = [digest for digest in signed if digest.alg == signed[-1].alg]
    return all(digest in (measured.flat, measured.tree) for digest in comparable)


def _copy_file(source: Path, target: Path) -> None:
    with open_regular(source) as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, _COPY_BYTES)


def _copy_directory(source: Path, target: Path, node: Node) -> None:
    """Only what the signed index lists: an ignored file, such as a cached bytecode file, was never verified."""
    target.mkdir()
    for parts in _listed(_signed_index(source, node)):
        place = target.joinpath(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(source.joinpath(*parts), place)


def _signed_index(source: Path, node: Node) -> bytes:
    assert node.flat is not None
    place = index_path(source)
    if place.exists():
        index = read_regular(place, limit=MAX_INDEX_BYTES)
        if hashlib.new(node.flat.alg, index).digest() == node.flat.value:
            return index
    index = measure(source).index or b""
    if hashlib.new(node.flat.alg, index).digest() != node.flat.value:
        raise VerificationError("changed after it was verified", where=str(source), hint="verify it again")
    return index


def _listed(index: bytes) -> Iterator[tuple[str, ...]]:
    """The paths of an index; the core has refused absolute ones, `..` and every second way to spell a path."""
    for encoded, *_ in _core.index_parse(index):
        yield tuple(os.fsdecode(unquote_to_bytes(encoded)).split("/"))
