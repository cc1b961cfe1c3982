"""Proofs of logging (c2sp.org/tlog-proof@v1) made from what a remote log serves, verified before they are stored."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Sequence

from atlas.errors import AtlasError, NotFound, SystemFailure, VerificationError
from atlas.remote.checkpoint import Checkpoint, open_checkpoint
from atlas.remote.source import CHECKPOINT, MAX_CHECKPOINT_BYTES, Source
from atlas.remote.tree import Tree, check_inclusion, leaf_hash

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0

Accept = Callable[[bytes], object]


def encode_proof(index: int, path: Sequence[bytes], note: bytes) -> bytes:
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *(base64.b64encode(digest).decode() for digest in path), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note


def checked_proof(entry: bytes, index: int, path: Sequence[bytes], checkpoint: Checkpoint) -> bytes:
    """The proof that the entry is in that checkpoint's tree. VerificationError when it is not."""
    check_inclusion(index, checkpoint.size, leaf_hash(entry), path, checkpoint.root)
    return encode_proof(index, path, checkpoint.note)


def proof_from_tiles(
    source: Source,
    entry: bytes,
    index: int,
    *,
    log_keys: Iterable[str],
    accept: Accept | None = None,
    seconds: float = 60.0,
    pause: Callable[[float], None] = time.sleep,
) -> bytes:
    """The proof for an entry that the log says it has at `index`, as soon as a checkpoint covers it.

    accept: raises as long as a policy does not accept the checkpoint, for example for want of witnesses.
    """
    keys = list(log_keys)
    deadline = time.monotonic() + seconds
    wait = _FIRST_PAUSE
    while True:
        checkpoint, reason = _covering(source, index, keys, accept)
        if checkpoint is not None:
            tree = Tree(source, checkpoint.size, checkpoint.root)
            if tree.leaf(index) != leaf_hash(entry):
                raise VerificationError(
                    f"the log has another entry at {index}", code="ATLAS_E_DIGEST", where=source.where
                )
            return checked_proof(entry, index, tree.inclusion(index), checkpoint)
        if time.monotonic() + wait > deadline:
            raise SystemFailure(
                f"no checkpoint for entry {index} within {seconds:g} seconds: {reason}", where=source.where
            )
        pause(wait)
        wait = min(2 * wait, _LONGEST_PAUSE)


def _covering(source: Source, index: int, keys: list[str], accept: Accept | None) -> tuple[Checkpoint | None, str]:
    """The log's checkpoint if it covers the entry and is accepted, else why not yet."""
    try:
        note = source.read(CHECKPOINT, limit=MAX_CHECKPOINT_BYTES)
    except NotFound:
        return None, "there is no checkpoint yet"
    checkpoint = open_checkpoint(note, keys, where=source.where)
    if checkpoint.size <= index:
        return None, f"the checkpoint covers {checkpoint.size} entries"
    if accept is not None:
        try:
            accept(note)
        except AtlasError as error:
            return None, error.text
    return checkpoint, ""


__all__ = ["checked_proof", "encode_proof", "proof_from_tiles"]
