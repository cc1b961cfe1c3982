"""Proofs that signatures were logged: where they lie, whose logs are trusted, and what was seen of these logs.

    model.pt.tlog-proof                beside the artifact (or .tle.json, as sigstore's tools write it)
    DIR/<leaf hash>.tlog-proof         in a folder of proofs, or a bundle
    $ATLAS_STORE/proofs/<aa>/<leaf hash>.tlog-proof
    $ATLAS_STORE/logs/<sha256 of the origin>/vkey     a log of the user's own, as `atlas log init` left its key
                                            /seen/    checkpoints that were verified: what the log must not contradict

Nothing here decides anything: proofs and checkpoints are handed to the C core, which verifies them under a policy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from atlas import _core
from atlas.errors import AtlasError, NotFound, SystemFailure, UsageError
from atlas.files import StrPath, is_there, read_regular, write_atomic

if TYPE_CHECKING:
    from atlas.remote.equivocation import Equivocation
    from atlas.store import Store

PROOF_SUFFIX = ".tlog-proof"
SIGSTORE_SUFFIX = ".tle.json"
SUFFIXES = (PROOF_SUFFIX, SIGSTORE_SUFFIX)
MAX_PROOF_BYTES = 256 << 10
MAX_POLICY_BYTES = 256 << 10
MAX_KEY_BYTES = 4096
MAX_SEEN = 64  # checkpoints of one log that are remembered


def proof_path(artifact: StrPath, suffix: str = PROOF_SUFFIX) -> Path:
    """Where the proof of this artifact's manifest stands."""
    place = Path(artifact)
    if place.name in ("", ".."):
        place = Path(os.path.realpath(place))
    return place.parent / (place.name + suffix)


def leaf_of(entry: bytes) -> bytes:
    return _core.merkle_leaf("sha256", entry)


# ---------------------------------------------------------------------------------------------------------- whose logs


def log_directory(store: Store, origin: str) -> Path:
    """What the user's store keeps of the log of this origin: apart from the log's own folder."""
    return store.directory / "logs" / hashlib.sha256(origin.encode()).hexdigest()


def own_logs(store: Store) -> list[str]:
    """Verifier keys of the user's own logs."""
    found = []
    for path in sorted((store.directory / "logs").glob("*/vkey")):
        text = read_regular(path, limit=MAX_KEY_BYTES).decode("utf-8", "replace").strip()
        if text:
            found.append(text)
    return found


def policy_text(keys: Iterable[str]) -> bytes:
    """The policy that trusts these logs and asks for no witnesses."""
    return "".join([*(f"log {key}\n" for key in dict.fromkeys(keys)), "quorum none\n"]).encode()


def read_log_policy(source: StrPath | bytes) -> bytes:
    """A policy file's text, checked; UsageError names what is wrong with it."""
    text = source if isinstance(source, bytes) else read_regular(Path(source).expanduser(), limit=MAX_POLICY_BYTES)
    try:
        _core.LogPolicy(text)
    except AtlasError as error:
        where = "log policy" if isinstance(source, bytes) else os.fspath(source)
        raise UsageError(error.text, where=where, hint="see docs/log-proofs.md for its lines") from None
    return text


def default_log_policy(store: Store) -> bytes:
    """ATLAS_LOG_POLICY, else the user's own `log.policy`, else the logs that the user made; b"" for none of them."""
    from atlas.policy import user_directory

    chosen = os.environ.get("ATLAS_LOG_POLICY", "")
    if chosen:
        return read_log_policy(chosen)
    own = user_directory() / "log.policy"
    if is_there(own):
        return read_log_policy(own)
    keys = own_logs(store)
    return read_log_policy(policy_text(keys)) if keys else b""


# ----------------------------------------------------------------------------------------------------- where they lie


class Shelf:
    """Finds all proofs of an entry. What is found is named by the entry's leaf hash, or beside the artifact itself."""

    def __init__(
        self, artifact: StrPath, *, folder: StrPath | None = None, bundle: StrPath | None = None, store: Store
    ) -> None:
        self._artifact = artifact
        self._folders = [Path(place) for place in (folder, bundle) if place is not None]
        self._store = store

    def find(self, leaf: bytes, *, subject: bool) -> list[bytes]:
        """Every proof there is, each once. SystemFailure: one is there and cannot be read."""
        found: dict[bytes, None] = {}
        for path in self._places(leaf, subject):
            with contextlib.suppress(NotFound):
                found[read_regular(path, limit=MAX_PROOF_BYTES)] = None
        return list(found)

    def _places(self, leaf: bytes, subject: bool) -> Iterator[Path]:
        name = leaf.hex()
        for suffix in SUFFIXES:
            if subject:
                yield proof_path(self._artifact, suffix)
            for folder in self._folders:
                yield folder / (name + suffix)
            yield _in_store(self._store, leaf, suffix)


def _in_store(store: Store, leaf: bytes, suffix: str = PROOF_SUFFIX) -> Path:
    return store.directory / "proofs" / leaf.hex()[:2] / (leaf.hex() + suffix)


def keep_proof(store: Store, entry: bytes, proof: bytes, *, beside: StrPath | None = None) -> Path:
    """Put a proof that was verified into the store, and beside the artifact whose manifest it is of."""
    place = _in_store(store, leaf_of(entry))
    _made(place.parent)
    write_atomic(place, proof)
    if beside is not None:
        place = proof_path(beside)
        write_atomic(place, proof)
    return place


def _made(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemFailure(f"cannot be made: {error.strerror}", where=str(directory)) from error


# ------------------------------------------------------------------------------------------------ what was seen of logs


def seen_heads(store: Store) -> list[bytes]:
    """Checkpoints that were verified before, of all logs."""
    found = []
    for pattern in ("*/head", "*/seen/*"):
        for path in sorted((store.directory / "logs").glob(pattern)):
            with contextlib.suppress(AtlasError):
                found.append(read_regular(path, limit=MAX_PROOF_BYTES))
    return found


def remember_head(store: Store, origin: str, size: int, root: bytes, note: bytes) -> None:
    """Keep a checkpoint that was verified. Of many, the ones that were seen last stay."""
    folder = log_directory(store, origin) / "seen"
    _made(folder)
    write_atomic(folder / f"{size:020d}-{root.hex()[:16]}", note)
    kept = sorted(folder.glob("*-*"))
    for path in kept[:-MAX_SEEN]:
        path.unlink(missing_ok=True)


def find_equivocation(notes: Iterable[bytes], keys: Iterable[str]) -> Equivocation | None:
    """Two of these checkpoints that are of one log and one size and have different roots."""
    from atlas.remote.checkpoint import Checkpoint, open_checkpoint
    from atlas.remote.equivocation import compare

    trusted = list(keys)
    seen: dict[tuple[str, int], Checkpoint] = {}
    for note in notes:
        try:
            checkpoint = open_checkpoint(note, trusted, where="checkpoint")
        except AtlasError:
            continue
        other = seen.setdefault((checkpoint.origin, checkpoint.size), checkpoint)
        found = compare(other, checkpoint)
        if found is not None:
            return found
    return None


def keep_evidence(store: Store, policy: bytes, notes: Iterable[bytes]) -> Path | None:
    """Write the report that a log has two histories, for anybody to check (`atlas log equivocation`)."""
    from atlas.remote.policy import parse_log_policy

    found = find_equivocation(notes, parse_log_policy(policy.decode()).log_keys)
    if found is None:
        return None
    report = found.encode()
    place = log_directory(store, found.first.origin) / f"equivocation-{hashlib.sha256(report).hexdigest()[:16]}.json"
    _made(place.parent)
    write_atomic(place, report)
    return place


__all__ = [
    "PROOF_SUFFIX", "Shelf", "default_log_policy", "find_equivocation", "keep_evidence", "keep_proof", "leaf_of",
    "log_directory", "own_logs", "policy_text", "proof_path", "read_log_policy", "remember_head", "seen_heads",
]  # fmt: skip
