"""Watch a log from outside: does it only grow, does everything in it hash to what it signed, who has entries in it?"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from atlas import _core
from atlas.errors import AtlasError, SystemFailure, UsageError, VerificationError
from atlas.files import read_regular, write_atomic
from atlas.remote.checkpoint import Checkpoint, open_checkpoint
from atlas.remote.equivocation import Equivocation, compare
from atlas.remote.source import CHECKPOINT, MAX_CHECKPOINT_BYTES, TILE_WIDTH, Source
from atlas.remote.state import State, directory_of
from atlas.remote.tree import EMPTY_ROOT, Tree, leaf_hash

_MAX_CERTIFICATE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry whose key is one of those that are watched."""

    index: int
    leaf: bytes
    key: bytes  # SHA-256 of the SubjectPublicKeyInfo
    known: bool | None  # None: nobody said which are known


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look at the log has found. `alerts` is empty when all is well."""

    origin: str
    before: int | None  # the size that was seen last, None the first time
    size: int
    root: bytes
    entries: tuple[Entry, ...]
    alerts: tuple[str, ...]


class TwoHistories(VerificationError):
    """The log was caught. `report` is the file that proves it."""

    def __init__(self, found: Equivocation, report: Path) -> None:
        super().__init__(
            found.explain(), code="ATLAS_E_DIGEST", where=found.first.origin, hint=f"the proof is in {report}: keep it"
        )
        self.found = found
        self.report = report


def watch(
    source: Source,
    state: State,
    *,
    log_keys: Iterable[str],
    accept: Callable[[bytes], object] | None = None,
    keys: Container[bytes] = (),
    known: Container[bytes] | None = None,
    everything: bool = False,
) -> Watched:
    """Look at the log once: its checkpoint, everything that is new since the last look, and that nothing old changed.

    accept: raises when a policy does not accept the checkpoint (witnesses). keys: SHA-256 of the keys to watch. known:
    leaf hashes of the entries that their owner made. everything: read all entries again, not only new ones. What was
    seen is remembered only when all of it was verified.
    """
    trusted = list(log_keys)
    now = open_checkpoint(source.read(CHECKPOINT, limit=MAX_CHECKPOINT_BYTES), trusted, where=source.where)
    if accept is not None:
        accept(now.note)
    remembered = state.read(directory_of(now.origin))
    last = open_checkpoint(remembered, trusted, where=str(state.folder)) if remembered is not None else None
    tree = _grown(source, state, last, now)
    start = 0 if last is None or everything else last.size
    entries, alerts = _read_entries(tree, start, keys, known)
    state.keep(now.origin, now.note)
    return Watched(now.origin, last.size if last else None, now.size, now.root, tuple(entries), tuple(alerts))


def _grown(source: Source, state: State, last: Checkpoint | None, now: Checkpoint) -> Tree:
    """The tree of `now`, which begins with that of `last`."""
    if last is not None and now.size == last.size:
        _caught(compare(last, now), state)
    if last is not None and now.size < last.size:
        raise SystemFailure(
            f"the log had {last.size} entries and now shows a checkpoint of {now.size}",
            where=source.where,
            hint="an old copy (a cache), or the log was rolled back; nothing was remembered, look again later",
        )
    if now.size == 0 and now.root != EMPTY_ROOT:
        raise VerificationError("an empty log with the root of another", code="ATLAS_E_DIGEST", where=source.where)
    tree = Tree(source, now.size, now.root)
    if last is not None:
        _caught(compare(last, now, tree), state)
        tree.check_consistent(last.size, last.root)
    return tree


def _caught(found: Equivocation | None, state: State) -> None:
    if found is None:
        return
    report = found.encode()
    path = state.folder / f"equivocation-{hashlib.sha256(report).hexdigest()[:16]}.json"
    write_atomic(path, report)
    raise TwoHistories(found, path)


def _read_entries(
    tree: Tree, start: int, keys: Container[bytes], known: Container[bytes] | None
) -> tuple[list[Entry], list[str]]:
    found: list[Entry] = []
    alerts: list[str] = []
    for number in range(start // TILE_WIDTH, -(-tree.size // TILE_WIDTH)):
        for index, entry in enumerate(tree.entries(number), start=number * TILE_WIDTH):
            if index < start:
                continue
            key = key_of(entry)
            if key is None:
                alerts.append(f"entry {index} is no hashedrekord entry")
            elif key in keys:
                leaf = leaf_hash(entry)
                is_known = None if known is None else leaf in known
                found.append(Entry(index, leaf, key, is_known))
                if is_known is False:
                    alerts.append(f"entry {index} is signed with a watched key and is not among the known ones")
    return found, alerts


def key_of(entry: bytes) -> bytes | None:
    """SHA-256 of the SubjectPublicKeyInfo in a hashedrekord entry; None for anything else."""
    try:
        document = json.loads(entry)
        if document["kind"] != "hashedrekord":
            return None
        verifier = document["spec"]["hashedRekordV002"]["signature"]["verifier"]
        if "publicKey" in verifier:
            spki = base64.b64decode(verifier["publicKey"]["rawBytes"], validate=True)
        else:
            spki = _core.certificate_info(base64.b64decode(verifier["x509Certificate"]["rawBytes"], validate=True))[
                "spki"
            ]
    except (ValueError, KeyError, TypeError, RecursionError, AtlasError):
        return None
    return hashlib.sha256(spki).digest()


def key_hash(text: str) -> bytes:
    """SHA-256 of a SubjectPublicKeyInfo: given in hex, or that of the first certificate of a PEM file."""
    try:
        given = bytes.fromhex(text)
    except ValueError:
        given = b""
    if len(given) == 32:
        return given
    certificates = _core.certificates_from_pem(read_regular(text, limit=_MAX_CERTIFICATE_BYTES))
    if not certificates:
        raise UsageError("holds no certificate", where=text)
    return _core.certificate_info(certificates[0])["spki_sha256"]


def read_hashes(path: str) -> frozenset[bytes]:
    """Leaf hashes from a file, in hex, one a line."""
    found = set()
    for number, line in enumerate(read_regular(path).decode("ascii", "replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            digest = bytes.fromhex(line.strip())
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise UsageError(f"line {number} is no leaf hash (64 hexadecimal digits)", where=path)
        found.add(digest)
    return frozenset(found)


__all__ = ["Entry", "TwoHistories", "Watched", "key_hash", "key_of", "read_hashes", "watch"]
