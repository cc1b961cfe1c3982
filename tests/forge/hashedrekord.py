"""hashedrekord 0.0.2 entries in their canonical form (RFC 8785), made by another hand than the product's."""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ORDER = {"SHA2_256": ec.SECP256R1(), "SHA2_384": ec.SECP384R1()}
_DETAILS = {"SHA2_256": "PKIX_ECDSA_P256_SHA_256", "SHA2_384": "PKIX_ECDSA_P384_SHA_384"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def key(name: str, algorithm: str = "SHA2_256") -> ec.EllipticCurvePrivateKey:
    """The same key every day."""
    secret = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 8
    return ec.derive_private_key(secret, _ORDER[algorithm])


def spki(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def entry(message: bytes, private: ec.EllipticCurvePrivateKey, algorithm: str = "SHA2_256") -> bytes:
    digest = {"SHA2_256": hashes.SHA256(), "SHA2_384": hashes.SHA384()}[algorithm]
    hashed = hashes.Hash(digest)
    hashed.update(message)
    verifier = {"keyDetails": _DETAILS[algorithm], "publicKey": {"rawBytes": b64(spki(private))}}
    record = {
        "data": {"algorithm": algorithm, "digest": b64(hashed.finalize())},
        "signature": {"content": b64(private.sign(message, ec.ECDSA(digest))), "verifier": verifier},
    }
    document = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
