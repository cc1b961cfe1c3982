"""A private copy of verified bytes: what is handed out is what was hashed, whatever happens to the original.

The copy is hashed as it is written (a directory: measured when it is complete), where only this user can write.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from atlas import _core
from atlas.errors import UsageError, VerificationError
from atlas.files import StrPath, is_there, open_regular, read_regular
from atlas.measure import from_core, measure
from atlas.sidecar import index_path

if TYPE_CHECKING:
    from atlas.model import Digest, Measurement, Node, Verdict

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
        same = _is_what_was_signed(measure(target, alg=_alg_of(node), ignore=()), node)
    else:
        same = _is_what_was_signed(_copy_file(source, target, alg=_alg_of(node)), node)
    if not same:
        raise VerificationError("changed after it was verified", where=verdict.path, hint="verify it again")
    return target


def _signed(node: Node) -> list[Digest]:
    return [digest for digest in (node.flat, node.tree) if digest is not None]


def _alg_of(node: Node) -> str:
    return _signed(node)[-1].alg


def _is_what_was_signed(measured: Measurement, node: Node) -> bool:
    comparable = [digest for digest in _signed(node) if digest.alg == measured.alg]
    return bool(comparable) and all(digest in (measured.flat, measured.tree) for digest in comparable)


def _copy_file(source: Path, target: Path, *, alg: str = "sha256") -> Measurement:
    """Hashed on the way: what is measured is what was written, and nobody else can write there."""
    measurer = _core.Measurer(alg)
    with open_regular(source) as reader, target.open("xb") as writer:
        while piece := reader.read(_COPY_BYTES):
            measurer.update(piece)
            writer.write(piece)
    return from_core(measurer.finish())


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
    if is_there(place):
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
