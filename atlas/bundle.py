"""Bundle: an artifact's manifest and every manifest that its chain refers to, gathered into one directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from atlas.entry import Reference, name_of, read_manifests, references
from atlas.errors import NotFound
from atlas.locate import Locator
from atlas.model import Digest
from atlas.sidecar import StrPath, index_path, read_regular, sidecar_path, write_atomic
from atlas.store import MAX_OBJECT_BYTES, Store, find_manifest, looked_for

MAX_REFERENCES = 65536  # ATLAS_MAX_NODES of atlas.h


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was written, and the ancestors that were found nowhere."""

    written: tuple[Path, ...]
    missing: tuple[Reference, ...]


def bundle(
    path: StrPath,
    directory: StrPath,
    *,
    manifest: StrPath | None = None,
    root: StrPath | None = None,
    store: Store | None = None,
) -> Bundle:
    """Write the artifact's own manifest (and index) under its sidecar's name, the others as `<sha256>.c2pa`.

    Nothing is verified here but that each referred manifest has the hash it is referred to by.
    """
    store = store if store is not None else Store()
    own = find_manifest(path, manifest=manifest, store=store)
    if own is None:
        raise NotFound("has no manifest", where=str(path), hint=f"looked for {looked_for(path, store)}")
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    written = [_write(target / sidecar_path(path).name, own.data)]
    if index_path(path).exists():
        written.append(_write(target / index_path(path).name, read_regular(index_path(path), limit=MAX_OBJECT_BYTES)))
    manifests = read_manifests(own.data)
    locator = Locator(Path(path), root=root, bundle=None, store=store)
    locator.anchor(name_of(manifests[-1]))
    missing: list[Reference] = []
    seen: set[tuple[str, bytes]] = set()
    todo = references(manifests)
    while todo and len(seen) < MAX_REFERENCES:
        reference = todo.pop()
        if (reference.alg, reference.value) in seen:
            continue
        seen.add((reference.alg, reference.value))
        data = locator.manifest(Digest(reference.alg, reference.value), reference.name)
        if data is None:
            missing.append(reference)
        else:
            written.append(_write(target / f"{reference.value.hex()}.c2pa", data))
            todo += references(read_manifests(data))
    return Bundle(tuple(written), tuple(missing))


def _write(path: Path, data: bytes) -> Path:
    write_atomic(path, data)
    return path
