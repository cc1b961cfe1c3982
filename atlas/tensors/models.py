"""The tensor table of whatever names a model: a checkpoint, a directory of shards, a manifest, or a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from atlas.entry import MEASUREMENT, content, is_manifest, read_manifests
from atlas.errors import LimitError, MalformedError, NotFound
from atlas.files import StrPath, is_there, open_regular, read_regular
from atlas.sidecar import SIDECAR_SUFFIX, sidecar_path
from atlas.store import Store
from atlas.tensors.source import is_checkpoint, table_of_fd
from atlas.tensors.table import HEADER, MAX_TABLE_BYTES, MAX_TENSORS, Entry, Table

MAX_SHARDS = 4096
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True)
class Model:
    """A table and what it was read from: "file", "shards", "manifest" (the table was in the store) or "table"."""

    path: str
    source: str
    table: Table


def model_of(path: StrPath, *, store: Store | None = None) -> Model:
    """Raises NotFound where there is nothing or no table, MalformedError for what has none."""
    place = Path(path)
    if place.is_dir():
        return Model(str(path), "shards", _of_shards(place))
    if not is_there(place) and is_there(sidecar_path(place)):
        place = sidecar_path(place)
    if place.name.endswith(SIDECAR_SUFFIX):
        return Model(str(path), "manifest", _of_manifest(place, store if store is not None else Store()))
    with open_regular(place) as file:
        fd, where = file.fileno(), os.fspath(place)
        if os.pread(fd, len(HEADER), 0) == HEADER:
            return Model(str(path), "table", Table.parse(read_regular(place, limit=MAX_TABLE_BYTES), where))
        return Model(str(path), "file", table_of_fd(fd, where))


def _of_manifest(place: Path, store: Store) -> Table:
    data = read_regular(place)
    if not is_manifest(data):
        raise MalformedError("is not a manifest", where=str(place))
    stated = content(read_manifests(data)[-1], MEASUREMENT)
    root, sha256 = stated.get("tensors"), stated.get("tensor-table")
    if not isinstance(root, bytes) or not isinstance(sha256, bytes):
        raise NotFound("this manifest names no tensor table", where=str(place), hint="give the model itself")
    table = store.get(sha256.hex())
    if table is None:
        raise NotFound(
            f"the store {store.directory} does not have its tensor table",
            where=str(place),
            hint="ATLAS_STORE names another store; or give the model itself",
        )
    parsed = Table.parse(table, f"tensor table of {place}")
    if parsed.root != root:
        raise MalformedError("names a tensor table that does not have the root that it states", where=str(place))
    return parsed


def _of_shards(directory: Path) -> Table:
    """Every checkpoint directly in the directory, or only those of safetensors where there are both kinds."""
    entries: list[Entry] = []
    files = sorted(place for place in directory.iterdir() if place.suffix in _SUFFIXES and place.is_file())
    shards = [place for place in files if place.suffix == _SUFFIXES[0]] or files
    if len(shards) > MAX_SHARDS:
        raise LimitError(f"more than {MAX_SHARDS} checkpoints", where=str(directory))
    for place in shards:
        with open_regular(place) as file:
            if not is_checkpoint(file.fileno(), str(place)):
                continue
            entries += table_of_fd(file.fileno(), str(place))
        if len(entries) > MAX_TENSORS:
            raise LimitError(f"more than {MAX_TENSORS} tensors", where=str(directory))
    if not entries:
        raise NotFound("no checkpoint is in this directory", where=str(directory), hint="give a file, or its directory")
    return Table.of(entries, str(directory))
