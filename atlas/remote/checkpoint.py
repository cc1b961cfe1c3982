"""Checkpoints of logs (c2sp.org/tlog-checkpoint): signed notes, opened with keys that the user gave, and no others."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atlas import _core
from atlas.errors import UsageError, VerificationError

LOG_KEY = 0x01
COSIGNATURE_KEY = 0x04
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """name+hex+base64, as logs and witnesses publish their keys."""

    text: str
    name: str
    id: bytes
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """UsageError for what is no Ed25519 key of a log or a witness."""
        try:
            name, id_hex, encoded = text.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            key = cls(text, name, bytes.fromhex(id_hex), raw[0], raw[1:])
        except (ValueError, IndexError, binascii.Error):
            raise UsageError(
                "not a verifier key", where=text[:200], hint="it reads NAME+HEX+BASE64, as `atlas log init` prints it"
            ) from None
        if key.kind not in (LOG_KEY, COSIGNATURE_KEY) or len(key.public) != _ED25519_BYTES:
            raise UsageError("not an Ed25519 verifier key", where=text[:200])
        if key.id != key_id(name, key.kind, key.public):
            raise UsageError("the verifier key is damaged: its name, number and key do not belong together", where=text)
        return key


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def cosigner_key(log_key: str) -> str:
    """The verifier key for cosignatures (type 4) of the same pair that `log_key` (type 1) is for."""
    key = VerifierKey.parse(log_key)
    number = key_id(key.name, COSIGNATURE_KEY, key.public).hex()
    return f"{key.name}+{number}+{base64.b64encode(bytes([COSIGNATURE_KEY]) + key.public).decode()}"


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
    text, signatures = _core.note_open(note, [key.text for key in keys])
    origin, size, root, _ = _core.checkpoint_parse(text)
    signed_by = {(name, bytes(number)) for name, number, kind, _ in signatures if kind == LOG_KEY}
    for key in keys:
        if key.name == origin and (key.name, key.id) in signed_by:
            return Checkpoint(origin, size, bytes(root), key.text, bytes(text), bytes(note))
    raise VerificationError(
        f"the checkpoint of {origin!r} is not signed by a log that you trust",
        code="ATLAS_E_SIGNATURE",
        where=where,
        hint="give the log's verifier key; never take it from where the checkpoint came from",
    )


def signature_lines(note: bytes) -> list[bytes]:
    """The signature lines of a note that `_core.note_open` has accepted, newlines included."""
    return note[note.rindex(b"\n\n") + 2 :].splitlines(keepends=True)


def signer_of(line: bytes) -> tuple[bytes, bytes]:
    """Name and number of the key that a signature line says it is from."""
    _, name, blob = line.split(b" ", 2)
    return name, base64.b64decode(blob)[:4]


def with_lines(note: bytes, lines: Sequence[bytes]) -> bytes:
    """The note with these signature lines too. A newer line of a key takes the place of its older one."""
    kept = {signer_of(line): line for line in signature_lines(note)} | {signer_of(line): line for line in lines}
    return note[: note.rindex(b"\n\n") + 2] + b"".join(kept.values())


__all__ = ["Checkpoint", "VerifierKey", "cosigner_key", "open_checkpoint", "signature_lines", "signer_of", "with_lines"]
