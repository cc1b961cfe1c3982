"""Sidecars: the files beside an artifact that hold its manifest. Names, and writes that survive a crash.

    model.pt -> model.pt.c2pa          data/ -> data.c2pa and data.c2pa-index
             -> model.pt.tlog-proof    that the manifest's signature was logged (.tle.json in the form of sigstore)

Overwriting an artifact goes in this order: `set_aside` before its first byte changes, `write_sidecar` when it is
complete. A crash between the two leaves "no manifest", never a manifest that accuses the new bytes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from atlas.errors import SystemFailure
from atlas.files import StrPath, is_there, sync_directory, write_atomic

SIDECAR_SUFFIX = ".c2pa"
INDEX_SUFFIX = ".c2pa-index"
ASIDE_SUFFIX = ".old"
PROOF_SUFFIXES = (".tlog-proof", ".tle.json")


def _beside(path: StrPath, suffix: str) -> Path:
    place = Path(path)
    if place.name in ("", ".."):  # ".", "..", "/": only the resolved path has a name
        place = Path(os.path.realpath(place))
    return place.parent / (place.name + suffix)


def sidecar_path(path: StrPath) -> Path:
    """Where the manifest of this file or directory stands."""
    return _beside(path, SIDECAR_SUFFIX)


def index_path(path: StrPath) -> Path:
    """Where the index of this directory stands."""
    return _beside(path, INDEX_SUFFIX)


def proof_paths(path: StrPath) -> list[Path]:
    """Where proofs stand that the manifest of this artifact was logged."""
    return [_beside(path, suffix) for suffix in PROOF_SUFFIXES]


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ASIDE_SUFFIX)


def set_aside(path: StrPath) -> bool:
    """Move the sidecar of an artifact that is about to change to `<sidecar>.old`; True when there was one.

    The manifest goes first: an index or a proof alone says nothing.
    """
    moved = _move_aside(sidecar_path(path), index_path(path), *proof_paths(path))
    if moved:
        sync_directory(sidecar_path(path).parent)
    return moved


def _move_aside(*places: Path) -> bool:
    moved = False
    for place in places:
        try:
            place.replace(_aside(place))
            moved = True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SystemFailure(
                f"the old manifest cannot be moved aside: {error.strerror}",
                where=str(place),
                hint="it would accuse the new bytes; make the directory writable or remove the file",
            ) from error
    return moved


def put_back(path: StrPath) -> None:
    """Undo `set_aside` for an artifact that was not changed after all. The manifest comes last, as in writing."""
    for place in (*proof_paths(path), index_path(path), sidecar_path(path)):
        with contextlib.suppress(OSError):
            if not is_there(place):
                _aside(place).replace(place)


def write_sidecar(path: StrPath, manifest: bytes, index: bytes | None = None) -> Path:
    """Put a manifest (and a directory's index) beside its artifact; returns the sidecar's path.

    A lone manifest replaces the old one in one rename. With an index the old manifest is moved aside first, so that
    no crash leaves an old manifest beside a new index. A proof of the old manifest goes before the new one comes.
    """
    sidecar = sidecar_path(path)
    _move_aside(*proof_paths(path))
    if index is not None:
        set_aside(path)
        write_atomic(index_path(path), index)
    write_atomic(sidecar, manifest)
    for place in (sidecar, index_path(path), *proof_paths(path)):
        with contextlib.suppress(OSError):
            _aside(place).unlink()
    return sidecar
