"""Signed notes (c2sp.org/signed-note) and cosignatures (c2sp.org/tlog-cosignature): Ed25519, by the C core's crypto.

A note is a text that ends in a newline, an empty line, and signature lines. Lines of unknown keys are passed over; a
line of a known key that does not hold makes the whole note worthless.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from atlas import _core
from atlas.errors import LimitError, MalformedError, UsageError, VerificationError

LOG_KEY = 0x01
ECDSA_KEY = 0x02  # P-256 with SHA-256: logs of Rekor v1, to be read only
COSIGNATURE_KEY = 0x04
MAX_NOTE_BYTES = 64 << 10
MAX_SIGNATURES = 64
_ED25519_BYTES = 32
_P256_SPKI_BYTES = 91
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410, 4: everything before the key itself
_ED25519_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410, 7: everything before the seed
_ID_BYTES = 4
_TIME_BYTES = 8
_NAME = re.compile(r"[^\s+]{1,255}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_DASH = "\N{EM DASH} "


class Signature(NamedTuple):
    """A signature that holds."""

    name: str
    id: bytes
    kind: int
    time: int | None  # of a cosignature


def key_id(name: str, kind: int, public: bytes) -> bytes:
    if kind == ECDSA_KEY:
        return hashlib.sha256(public).digest()[:_ID_BYTES]
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_ID_BYTES]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """NAME+HEX+BASE64, as logs and witnesses publish their keys."""

    text: str
    name: str
    id: bytes
    kind: int
    public: bytes

    @classmethod
    def make(cls, name: str, kind: int, public: bytes) -> VerifierKey:
        number = key_id(name, kind, public)
        encoded = base64.b64encode(bytes([kind]) + public).decode()
        return cls(f"{name}+{number.hex()}+{encoded}", name, number, kind, public)

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """UsageError for what is no key of a log or a witness."""
        try:
            name, number, encoded = text.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            key = cls(text, name, bytes.fromhex(number), raw[0], raw[1:])
        except (ValueError, IndexError, binascii.Error):
            raise UsageError("not a verifier key", where=text[:200], hint="it reads NAME+HEX+BASE64") from None
        sizes = {LOG_KEY: _ED25519_BYTES, COSIGNATURE_KEY: _ED25519_BYTES, ECDSA_KEY: _P256_SPKI_BYTES}
        if len(key.public) != sizes.get(key.kind):
            raise UsageError("not a verifier key of type 1, 2 or 4", where=text[:200])
        if key.id != key_id(name, key.kind, key.public) or not _NAME.fullmatch(name):
            raise UsageError("the verifier key is damaged: name, number and key do not belong together", where=text)
        return key

    def check(self, text: bytes, blob: bytes) -> Signature:
        """The signature in the blob of a line of this key. VerificationError when it does not hold."""
        time, message = None, text
        if self.kind == COSIGNATURE_KEY:
            time = int.from_bytes(blob[:_TIME_BYTES], "big")
            blob, message = blob[_TIME_BYTES:], _cosigned(text, time)
            if time >= 1 << 63:
                raise VerificationError("a cosignature from beyond all time", code="ATLAS_E_SIGNATURE", where=self.name)
        alg, spki = ("EdDSA", _ED25519_SPKI + self.public)
        if self.kind == ECDSA_KEY:
            alg, spki, blob = "ES256", self.public, _raw_of(blob)
        try:
            _core.signature_verify(alg, spki, message, blob)
        except VerificationError as error:
            raise VerificationError(
                f"the signature of {self.name!r} does not hold", code=error.code, where=self.name
            ) from error
        return Signature(self.name, self.id, self.kind, time)


def _raw_of(der: bytes) -> bytes:
    """r || s of an ECDSA signature in DER; nothing that verifies where it is none."""
    rest, parts = der[2:], []
    if der[:1] != b"\x30" or len(der) > 72 or der[1:2] != bytes([len(rest)]):
        return b""
    while rest:
        if rest[:1] != b"\x02" or len(rest) < 2 or len(rest) < 2 + rest[1]:
            return b""
        parts.append(rest[2 : 2 + rest[1]].lstrip(b"\0"))
        rest = rest[2 + rest[1] :]
    return b"".join(part.rjust(32, b"\0") for part in parts)


class SigningKey:
    """PRIVATE+KEY+NAME+HEX+BASE64, as the tools of the Go checksum database write it."""

    def __init__(self, text: str) -> None:
        try:
            private, word, self.name, number, encoded = text.strip().split("+", 4)
            raw = base64.b64decode(encoded, validate=True)
            if (private, word) != ("PRIVATE", "KEY") or raw[0] != LOG_KEY or len(raw) != 1 + _ED25519_BYTES:
                raise ValueError
            pem = base64.encodebytes(_ED25519_PKCS8 + raw[1:])
            self._key = _core.Key(b"-----BEGIN PRIVATE KEY-----\n" + pem + b"-----END PRIVATE KEY-----\n")
        except (ValueError, IndexError, binascii.Error):
            raise UsageError("not a private key of a log or a witness", hint="make one with --new NAME") from None
        self._public = self._key.spki[len(_ED25519_SPKI) :]
        if VerifierKey.make(self.name, LOG_KEY, self._public).id.hex() != number:
            raise UsageError("the private key is damaged: name, number and key do not belong together")

    @classmethod
    def generate(cls, name: str) -> tuple[SigningKey, str]:
        """A new key, and its text."""
        if not _NAME.fullmatch(name):
            raise UsageError("a key's name has neither spaces nor +", where=name)
        seed = secrets.token_bytes(_ED25519_BYTES)
        pem = base64.encodebytes(_ED25519_PKCS8 + seed)
        key = _core.Key(b"-----BEGIN PRIVATE KEY-----\n" + pem + b"-----END PRIVATE KEY-----\n")
        number = key_id(name, LOG_KEY, key.spki[len(_ED25519_SPKI) :]).hex()
        text = f"PRIVATE+KEY+{name}+{number}+{base64.b64encode(bytes([LOG_KEY]) + seed).decode()}"
        return cls(text), text

    def verifier(self, kind: int = LOG_KEY) -> VerifierKey:
        return VerifierKey.make(self.name, kind, self._public)

    def cosign(self, text: bytes, time: int) -> bytes:
        """The line that says: at that time, this is the longest history of the log that I have seen."""
        signature = self._key.sign(_cosigned(text, time), "EdDSA")
        blob = self.verifier(COSIGNATURE_KEY).id + time.to_bytes(_TIME_BYTES, "big") + signature
        return f"{_DASH}{self.name} {base64.b64encode(blob).decode()}\n".encode()


def _cosigned(text: bytes, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time + text


def _line(line: str) -> tuple[str, bytes]:
    """Name and blob of a signature line."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        blob = b""
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name) or len(blob) <= _ID_BYTES:
        raise MalformedError("a signed note has a line that is no signature")
    return name, blob


def open_note(note: bytes, keys: Iterable[VerifierKey]) -> tuple[bytes, list[Signature]]:
    """The text of a note, and those of its signatures that are of these keys: they hold."""
    if len(note) > MAX_NOTE_BYTES:
        raise LimitError(f"a signed note of more than {MAX_NOTE_BYTES} bytes")
    try:
        decoded = note.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a signed note that is not UTF-8", offset=error.start) from None
    if any(ord(character) < 0x20 and character != "\n" for character in decoded) or not decoded.endswith("\n"):
        raise MalformedError("a signed note has control characters, or no newline at its end")
    text, separator, signatures = decoded.rpartition("\n\n")
    lines = signatures.split("\n")[:-1]
    if not separator or not lines:
        raise MalformedError("a signed note has an empty line before its signatures, and at least one of them")
    if len(lines) > MAX_SIGNATURES:
        raise LimitError(f"a signed note with more than {MAX_SIGNATURES} signatures")
    signed = text.encode() + b"\n"
    known = {(key.name, key.id): key for key in keys}
    found = []
    for name, blob in map(_line, lines):
        key = known.get((name, blob[:_ID_BYTES]))
        if key is not None:
            found.append(key.check(signed, blob[_ID_BYTES:]))
    return signed, found


def parse_checkpoint(text: bytes) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint's text (c2sp.org/tlog-checkpoint). Extension lines may follow."""
    lines = text.decode().split("\n")
    try:
        origin, size, encoded = lines[:3]
        root = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise MalformedError("a checkpoint has an origin, a size and a root") from None
    if not origin or not _SIZE.fullmatch(size) or int(size) >= 1 << 63 or len(root) != 32 or "" in lines[3:-1]:
        raise MalformedError("a checkpoint has an origin, a size below 2^63 and a root of 32 bytes")
    return origin, int(size), root


__all__ = [
    "COSIGNATURE_KEY", "ECDSA_KEY", "LOG_KEY", "Signature", "SigningKey", "VerifierKey", "open_note",
    "parse_checkpoint",
]  # fmt: skip
