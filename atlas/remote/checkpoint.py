"""Checkpoints of logs (c2sp.org/tlog-checkpoint): signed notes, opened with keys that the user gave, and no others."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atlas.errors import UsageError, VerificationError
from atlas.remote.note import COSIGNATURE_KEY, ECDSA_KEY, VerifierKey, open_note, parse_checkpoint


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose signature by the log was verified."""

    origin: str
    size: int
    root: bytes
    key: str  # the verifier key that it holds under
    text: bytes  # what is signed
    note: bytes  # as it was read, signatures included


def open_checkpoint(note: bytes, log_keys: Iterable[str], *, where: str) -> Checkpoint:
    """The checkpoint, if one of these keys of logs signed it. VerificationError if none did."""
    keys = [VerifierKey.parse(text) for text in log_keys]
    for key in keys:
        if key.kind == COSIGNATURE_KEY:
            raise UsageError("not the key of a log", where=key.text)
    text, signatures = open_note(note, keys)
    origin, size, root = parse_checkpoint(text)
    signed_by = {(signature.name, signature.id) for signature in signatures}
    for key in keys:
        if _is_origin(origin, key) and (key.name, key.id) in signed_by:
            return Checkpoint(origin, size, root, key.text, text, note)
    raise VerificationError(
        f"the checkpoint of {origin!r} is not signed by a log that you trust",
        code="ATLAS_E_SIGNATURE",
        where=where,
        hint="give the log's verifier key; never take it from where the checkpoint came from",
    )


def _is_origin(origin: str, key: VerifierKey) -> bool:
    """A key carries its log's origin as its name; Rekor v1 adds the number of the tree to the origin."""
    return origin == key.name or (key.kind == ECDSA_KEY and origin.startswith(f"{key.name} - "))


def signature_lines(note: bytes) -> list[bytes]:
    """The signature lines of a note that was opened, newlines included."""
    return note[note.rindex(b"\n\n") + 2 :].splitlines(keepends=True)


def signer_of(line: bytes) -> tuple[bytes, bytes]:
    """Name and number of the key that a signature line says it is from."""
    _, name, blob = line.split(b" ", 2)
    return name, base64.b64decode(blob)[:4]


def with_lines(note: bytes, lines: Sequence[bytes]) -> bytes:
    """The note with these signature lines too. A newer line of a key takes the place of its older one."""
    kept = {signer_of(line): line for line in signature_lines(note)} | {signer_of(line): line for line in lines}
    return note[: note.rindex(b"\n\n") + 2] + b"".join(kept.values())


__all__ = ["Checkpoint", "open_checkpoint", "signature_lines", "signer_of", "with_lines"]
