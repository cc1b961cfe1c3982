"""An RFC 3161 time stamping authority, its tokens built by hand so that any field may lie."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from . import pki

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
_DIGESTS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_RSA_SHA256, _ECDSA_SHA256 = "1.2.840.113549.1.1.11", "1.2.840.10045.4.3.2"
_POLICY = "1.3.6.1.4.1.62558.999.1"


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for arc in rest:
        groups = [arc & 127]
        while arc := arc >> 7:
            groups.append(128 | arc & 127)
        out += bytes(reversed(groups))
    return tlv(0x06, bytes(out))


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return tlv(0x31, *sorted(parts))


def children(element: bytes) -> list[bytes]:
    """The elements inside a constructed DER element."""

    def size(at: int) -> int:
        first = element[at + 1]
        if first < 0x80:
            return 2 + first
        octets = first & 0x7F
        return 2 + octets + int.from_bytes(element[at + 2 : at + 2 + octets], "big")

    header = 2 if element[1] < 0x80 else 2 + (element[1] & 0x7F)
    found, at = [], header
    while at < len(element):
        found.append(element[at : at + size(at)])
        at += size(at)
    return found


def _algorithm(dotted: str, *, null: bool = True) -> bytes:
    return sequence(oid(dotted), tlv(0x05)) if null else sequence(oid(dotted))


def _attribute(dotted: str, value: bytes) -> bytes:
    return sequence(oid(dotted), set_of(value))


TSA_PROFILE: dict[str, Any] = {"ekus": (Eku.TIME_STAMPING,), "eku_critical": True}


@dataclass(frozen=True)
class Tsa:
    """`party` signs tokens; `stamp` gives a function for cose.Envelope.token."""

    party: pki.Party

    @staticmethod
    def under(authority: pki.Authority, name: str = "Forge TSA", alg: str = "PS256", **flaws: Any) -> Tsa:
        return Tsa(authority.leaf(name, alg, **{**TSA_PROFILE, **flaws}))

    def stamp(self, at: datetime.datetime = pki.NOW, **lies: Any) -> Any:
        return lambda message: self.token(message, at=at, **lies)

    def token(
        self,
        message: bytes,
        *,
        at: datetime.datetime = pki.NOW,
        over: bytes | None = None,  # the imprint is of these bytes instead
        imprint: bytes | None = None,  # of what is stamped, already hashed
        alg: str = "sha256",
        nonce: int | None = None,
        digest_lies: bool = False,  # the signed message digest is not that of the content
        mangle: bool = False,  # the signature has a flipped bit
        certificates: bool = True,
    ) -> bytes:
        imprint = imprint or hashlib.new(alg, message if over is None else over).digest()
        info = sequence(
            integer(1),
            oid(_POLICY),
            sequence(_algorithm(_DIGESTS[alg]), tlv(0x04, imprint)),
            integer(int.from_bytes(hashlib.sha256(imprint).digest()[:8], "big")),
            tlv(0x18, at.astimezone(datetime.UTC).strftime("%Y%m%d%H%M%SZ").encode()),
            *([integer(nonce)] if nonce is not None else []),
        )
        content = sequence(oid(_TST_INFO), tlv(0xA0, tlv(0x04, info)))
        leaf = self.party.leaf
        attributes = [
            _attribute(_CONTENT_TYPE, oid(_TST_INFO)),
            _attribute(_MESSAGE_DIGEST, tlv(0x04, hashlib.sha256(b"other" if digest_lies else info).digest())),
            _attribute(
                _SIGNING_CERTIFICATE_V2,
                sequence(sequence(sequence(tlv(0x04, hashlib.sha256(pki.der(leaf)).digest())))),
            ),
        ]
        signature = bytearray(self._sign(set_of(*attributes)))
        signature[-1] ^= mangle
        key_algorithm = _RSA_SHA256 if isinstance(self.party.key, rsa.RSAPrivateKey) else _ECDSA_SHA256
        signer_info = sequence(
            integer(1),
            sequence(leaf.issuer.public_bytes(), integer(leaf.serial_number)),
            _algorithm(_DIGESTS["sha256"]),
            tlv(0xA0, set_of(*attributes)[_header_size(set_of(*attributes)) :]),
            _algorithm(key_algorithm, null=key_algorithm == _RSA_SHA256),
            tlv(0x04, bytes(signature)),
        )
        chain = b"".join(c.public_bytes(Encoding.DER) for c in (leaf, *self.party.above))
        signed_data = sequence(
            integer(3),
            set_of(_algorithm(_DIGESTS["sha256"])),
            content,
            *([tlv(0xA0, chain)] if certificates else []),
            set_of(signer_info),
        )
        return sequence(oid(_SIGNED_DATA), tlv(0xA0, signed_data))

    def response(self, token: bytes) -> bytes:
        """A TimeStampResp: status granted and the token."""
        return sequence(sequence(integer(0)), token)

    def answer(self, request: bytes, *, at: datetime.datetime = pki.NOW) -> bytes:
        """The response to a TimeStampReq in DER: {version, {hash algorithm, imprint}, ?policy, ?nonce, ?certReq}."""
        (body,) = parts(request)
        _, imprint, *options = parts(body)
        algorithm, digest = parts(imprint)
        alg = next(name for name, dotted in _DIGESTS.items() if oid(dotted)[2:] == parts(algorithm)[0])
        tags = dict(zip(tags_of(body)[2:], options, strict=True))
        nonce = int.from_bytes(tags[0x02], "big", signed=True) if 0x02 in tags else None
        return self.response(self.token(b"", imprint=digest, alg=alg, nonce=nonce, at=at))

    def _sign(self, message: bytes) -> bytes:
        match self.party.key:
            case rsa.RSAPrivateKey() as private:
                return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey() as private:
                return private.sign(message, ec.ECDSA(hashes.SHA256()))
            case ed25519.Ed25519PrivateKey():
                raise NotImplementedError("a time stamping authority with Ed25519")


def _header_size(encoded: bytes) -> int:
    return 2 if encoded[1] < 128 else 2 + (encoded[1] & 127)


def _items(encoded: bytes) -> list[tuple[int, bytes]]:
    found = []
    while encoded:
        start = _header_size(encoded)
        size = encoded[1] if start == 2 else int.from_bytes(encoded[2:start], "big")
        found.append((encoded[0], encoded[start : start + size]))
        encoded = encoded[start + size :]
    return found


def parts(encoded: bytes) -> list[bytes]:
    """The contents of the DER items that stand one after the other."""
    return [content for _, content in _items(encoded)]


def tags_of(encoded: bytes) -> list[int]:
    return [tag for tag, _ in _items(encoded)]
