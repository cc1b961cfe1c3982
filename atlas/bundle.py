"""Bundle: an artifact's manifest and every manifest that its chain refers to, gathered into one directory, with the
proofs that their signatures were logged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from atlas import _core
from atlas.entry import Reference, name_of, read_manifests, references
from atlas.errors import MalformedError, UsageError, in_file
from atlas.files import StrPath, is_there, read_regular, write_atomic
from atlas.locate import Locator
from atlas.model import Digest
from atlas.proofs import Shelf
from atlas.sidecar import PROOF_SUFFIXES, index_path, sidecar_path
from atlas.store import MAX_OBJECT_BYTES, Store, need_manifest

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
    own = need_manifest(path, manifest=manifest, store=store)
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    written = [_write(target / sidecar_path(path).name, own.data)]
    if is_there(index_path(path)):
        written.append(_write(target / index_path(path).name, read_regular(index_path(path), limit=MAX_OBJECT_BYTES)))
    with in_file(own.where):
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
        data = _find(locator, reference)
        if data is None:
            missing.append(reference)
        else:
            written.append(_write(target / f"{reference.value.hex()}.c2pa", data))
            todo += references(read_manifests(data))
    written += _proofs(path, target, own.data, locator, store)
    return Bundle(tuple(written), tuple(missing))


def _proofs(path: StrPath, target: Path, manifest: bytes, locator: Locator, store: Store) -> list[Path]:
    """The proofs that are found, of embedded manifests too, by the entry's leaf hash. Nothing is verified."""
    written = []
    shelf = Shelf(path, store=store)
    for n, leaf in enumerate(_leaves(manifest, locator)):
        one_of_each_form = {PROOF_SUFFIXES[p[:1] == b"{"]: p for p in shelf.find(leaf, subject=n == 0) if _is_proof(p)}
        written += [_write(target / f"{leaf.hex()}{suffix}", proof) for suffix, proof in one_of_each_form.items()]
    return written


def _is_proof(data: bytes) -> bool:
    """What is none would only make the receiver's verdict MALFORMED."""
    try:
        _core.log_proof_read(data)
    except MalformedError:
        return False
    return True


def _leaves(manifest: bytes, locator: Locator) -> list[bytes]:
    """Leaf hashes of the log entries of a chain, the artifact's own first: what the verifier asks proofs for."""
    core = _core.Verifier(now=int(time.time()))
    core.trust_logs(b"quorum none\n", False, ())
    core.open(manifest)
    found: list[bytes] = []
    while (need := core.next()) is not None:
        if need["kind"] == "proof":
            found.append(need["digest"][1])
        data = locator.manifest(Digest(*need["digest"]), need["name"]) if need["kind"] == "manifest" else None
        if data is not None:
            core.manifest(data)
        else:
            core.absent("not looked for")
    return found


def _find(locator: Locator, reference: Reference) -> bytes | None:
    try:
        return locator.manifest(Digest(reference.alg, reference.value), reference.name)
    except UsageError:  # not a digest: nothing can have it
        return None


def _write(path: Path, data: bytes) -> Path:
    write_atomic(path, data)
    return path
