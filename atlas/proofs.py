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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atlas import _core
from atlas.errors import AtlasError, MalformedError, NotFound, SystemFailure, UsageError, VerificationError
from atlas.files import StrPath, is_there, need_directory, read_regular, write_atomic
from atlas.model import Logged
from atlas.sidecar import PROOF_SUFFIXES, proof_paths

if TYPE_CHECKING:
    from atlas.remote.checkpoint import Checkpoint
    from atlas.remote.equivocation import Equivocation
    from atlas.remote.tree import Tree
    from atlas.store import Store

MAX_PROOF_BYTES = 256 << 10
MAX_POLICY_BYTES = 256 << 10
MAX_KEY_BYTES = 4096
MAX_SEEN = 64  # checkpoints of one log that are remembered


def leaf_of(entry: bytes) -> bytes:
    return _core.merkle_leaf("sha256", entry)


# ---------------------------------------------------------------------------------------------------------- whose logs


def log_directory(store: Store, origin: str) -> Path:
    """What the user's store keeps of the log of this origin: apart from the log's own folder."""
    return store.directory / "logs" / hashlib.sha256(origin.encode()).hexdigest()


def _listed(store: Store, pattern: str) -> list[Path]:
    """A store that cannot be read is one without logs: then nothing is trusted, and nothing was seen."""
    try:
        return sorted((store.directory / "logs").glob(pattern))
    except OSError:
        return []


def own_logs(store: Store) -> list[str]:
    """Verifier keys of the user's own logs."""
    found = []
    for path in _listed(store, "*/vkey"):
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


def trusted_policy(policy: StrPath | bytes | None, store: Store) -> bytes:
    """The policy that was given, else the user's own; UsageError where there is none."""
    text = read_log_policy(policy) if policy is not None else default_log_policy(store)
    if not text:
        raise UsageError(
            "no log is trusted", hint="give --log-policy, or set ATLAS_LOG_POLICY; never take a key from the log itself"
        )
    return text


# ----------------------------------------------------------------------------------------------------- where they lie


class Shelf:
    """Finds all proofs of an entry. What is found is named by the entry's leaf hash, or beside the artifact itself."""

    def __init__(
        self, artifact: StrPath, *, folder: StrPath | None = None, bundle: StrPath | None = None, store: Store
    ) -> None:
        self._artifact = artifact
        self._folders = [Path(place) for place in map(need_directory, (folder, bundle)) if place is not None]
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
        yield from proof_paths(self._artifact) if subject else ()
        for suffix in PROOF_SUFFIXES:
            for folder in self._folders:
                yield folder / (name + suffix)
            yield _in_store(self._store, leaf, suffix)


def _in_store(store: Store, leaf: bytes, suffix: str = PROOF_SUFFIXES[0]) -> Path:
    return store.directory / "proofs" / leaf.hex()[:2] / (leaf.hex() + suffix)


def keep_proof(store: Store, entry: bytes, proof: bytes, *, beside: StrPath | None = None) -> Path:
    """Put a proof that was verified into the store, and beside the artifact whose manifest it is of."""
    place = _in_store(store, leaf_of(entry))
    _made(place.parent)
    write_atomic(place, proof)
    if beside is not None:
        place = proof_paths(beside)[0]
        write_atomic(place, proof)
    return place


def _made(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemFailure(f"cannot be made: {error.strerror}", where=str(directory)) from error


@dataclass(frozen=True, slots=True)
class Proven:
    """A signature that is in a log of the policy."""

    leaf: bytes
    place: Logged
    entry: bytes
    proof: bytes = field(repr=False)
    key: str | None  # the log's, of type 1


def prove_manifest(
    manifest: bytes,
    *,
    artifact: StrPath,
    policy: StrPath | bytes | None,
    proof: StrPath | None = None,
    proofs: StrPath | None = None,
    folder: StrPath | None = None,
    store: Store,
) -> Proven:
    """Is this manifest's signature logged? By `proof`, by what the log in `folder` proves, or by whatever is found.

    NotFound: there is no proof. VerificationError: one is false, or of no log of the policy.
    """
    text = trusted_policy(policy, store)
    entry = _core.log_entry(manifest)
    leaf = leaf_of(entry)
    if proof is not None:
        found = [read_regular(proof, limit=MAX_PROOF_BYTES)]
    elif folder is not None:
        found = [_proof_of_folder(folder, text, leaf, store)]
    else:
        found = Shelf(artifact, folder=proofs, store=store).find(leaf, subject=True)
    if not found:
        raise NotFound("nothing proves that it was logged", where=os.fspath(artifact), hint="`atlas log add` logs it")
    place, held = _check_all(manifest, found, text, store)
    return Proven(leaf, place, entry, held, _key_of(place.origin, text))


def _key_of(origin: str, policy: bytes) -> str | None:
    """The Ed25519 key of that log, if the policy has one."""
    for line in policy.decode().split("\n"):
        words = line.split()
        if words[:1] == ["log"] and words[1].split("+")[0] == origin:
            return words[1]
    return None


def _check_all(manifest: bytes, found: list[bytes], policy: bytes, store: Store) -> tuple[Logged, bytes]:
    """One must hold, and none may be false. What is no proof, or of a stranger's log, does not matter then."""
    checker = _core.LogPolicy(policy)
    seen = seen_heads(store)
    for head in seen:
        with contextlib.suppress(AtlasError):
            checker.head(head)
    places: list[tuple[Logged, bytes]] = []
    unknown: AtlasError | None = None
    for proof in found:
        try:
            note = _core.log_proof_read(proof)[2]
        except MalformedError as error:
            unknown = error
            continue
        try:
            place = Logged(*checker.manifest(manifest, proof))
        except VerificationError as error:
            if error.code == "ATLAS_E_FORKED":
                report = keep_evidence(store, policy, [*seen, note])
                error.hint = f"the proof of it is in {report}: keep it" if report else ""
            if error.code != "ATLAS_E_UNKNOWN_LOG":
                raise
            unknown = unknown or error
            continue
        places.append((place, proof))
        remember_head(store, place.origin, place.size, place.root, note)
    if places:
        return places[0]
    assert unknown is not None
    raise unknown


def _proof_of_folder(folder: StrPath, policy: bytes, leaf: bytes, store: Store) -> bytes:
    """Made from the tiles; the policy's keys open the checkpoint, and nothing else of the folder is believed."""
    from atlas.remote.checkpoint import open_checkpoint
    from atlas.remote.policy import parse_log_policy
    from atlas.remote.proof import encode_proof
    from atlas.remote.source import CHECKPOINT, MAX_CHECKPOINT_BYTES, TILE_WIDTH, Folder
    from atlas.remote.tree import Tree

    source = Folder(folder)
    keys = parse_log_policy(policy.decode()).log_keys
    checkpoint = open_checkpoint(source.read(CHECKPOINT, limit=MAX_CHECKPOINT_BYTES), keys, where=os.fspath(folder))
    tree = Tree(source, checkpoint.size, checkpoint.root)
    _check_grown(tree, checkpoint, store, keys)
    for tile in range((checkpoint.size + TILE_WIDTH - 1) // TILE_WIDTH):
        hashes = tree.tile(0, tile)
        if leaf in hashes:
            index = tile * TILE_WIDTH + hashes.index(leaf)
            return encode_proof(index, tree.inclusion(index), checkpoint.note)
    raise NotFound("the log has no entry of this signature", where=os.fspath(folder), hint="`atlas log add` logs it")


def _check_grown(tree: Tree, now: Checkpoint, store: Store, keys: list[str]) -> None:
    """What was seen of the log before must be the beginning of what it shows now."""
    from atlas.remote.checkpoint import open_checkpoint
    from atlas.remote.equivocation import compare

    for note in seen_heads(store):
        try:
            before = open_checkpoint(note, keys, where="checkpoint")
        except AtlasError:
            continue
        if before.origin != now.origin:
            continue
        if before.size > now.size:
            raise VerificationError(
                f"shows {now.size} entries; it had {before.size} before", code="ATLAS_E_ROLLED_BACK", where=now.origin
            )
        found = compare(before, now, tree)
        if found is not None:
            raise VerificationError(
                found.explain(),
                code="ATLAS_E_FORKED",
                where=now.origin,
                hint=f"the proof of it is in {_keep_report(store, found)}: keep it",
            )


# ------------------------------------------------------------------------------------------------ what was seen of logs


def seen_heads(store: Store) -> list[bytes]:
    """Checkpoints that were verified before, of all logs."""
    found = []
    for pattern in ("*/head", "*/seen/*"):
        for path in _listed(store, pattern):
            with contextlib.suppress(AtlasError):
                found.append(read_regular(path, limit=MAX_PROOF_BYTES))
    return found


def remember_head(store: Store, origin: str, size: int, root: bytes, note: bytes) -> None:
    """Keep a checkpoint that was verified. Of many, those of the largest trees stay."""
    folder = log_directory(store, origin) / "seen"
    _made(folder)
    write_atomic(folder / f"{size:020d}-{root.hex()[:16]}", note)
    kept = sorted(folder.glob("*-*"))
    for path in kept[:-MAX_SEEN]:
        path.unlink(missing_ok=True)


def find_equivocation(notes: Iterable[bytes], keys: Iterable[str]) -> Equivocation | None:
    """Two of these checkpoints that are of one log and one size and have different roots."""
    from atlas.remote.checkpoint import open_checkpoint
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
    return _keep_report(store, found)


def _keep_report(store: Store, found: Equivocation) -> Path:
    report = found.encode()
    place = log_directory(store, found.first.origin) / f"equivocation-{hashlib.sha256(report).hexdigest()[:16]}.json"
    _made(place.parent)
    write_atomic(place, report)
    return place


__all__ = [
    "Proven", "Shelf", "default_log_policy", "find_equivocation", "keep_evidence", "keep_proof", "leaf_of",
    "log_directory", "own_logs", "policy_text", "prove_manifest", "read_log_policy", "remember_head", "seen_heads",
    "trusted_policy",
]  # fmt: skip
