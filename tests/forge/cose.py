"""COSE_Sign1 for C2PA: the seven algorithms, signatures, and envelopes with any flaw one asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from . import cbor

ALGORITHMS = {"ES256": -7, "ES384": -35, "ES512": -36, "PS256": -37, "PS384": -38, "PS512": -39, "EdDSA": -8}
HASHES: dict[str, Any] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
ALG, X5CHAIN = 1, 33

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def _hash(alg: str) -> hashes.HashAlgorithm:
    made: hashes.HashAlgorithm = HASHES[alg[2:]]()
    return made


def sign(alg: str, key: PrivateKey, message: bytes) -> bytes:
    """The raw COSE signature: r || s for ECDSA."""
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(message)
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(message, ec.ECDSA(_hash(alg), deterministic_signing=True)))
            size = (key.curve.key_size + 7) // 8
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        case rsa.RSAPrivateKey():
            h = _hash(alg)
            return key.sign(message, padding.PSS(padding.MGF1(h), h.digest_size), h)
    raise TypeError(alg)


def verify(alg: str, public_key: Any, message: bytes, signature: bytes) -> bool:
    try:
        match public_key:
            case ed25519.Ed25519PublicKey():
                public_key.verify(signature, message)
            case ec.EllipticCurvePublicKey():
                half = len(signature) // 2
                r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
                public_key.verify(encode_dss_signature(r, s), message, ec.ECDSA(_hash(alg)))
            case rsa.RSAPublicKey():
                h = _hash(alg)
                public_key.verify(signature, message, padding.PSS(padding.MGF1(h), h.digest_size), h)
    except InvalidSignature:
        return False
    return True


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    return cbor.dumps(["Signature1", protected, b"", payload])


def counter_structure(protected: bytes, signature: bytes) -> bytes:
    """What a C2PA 2.x time stamp (sigTst2) covers: the signature goes in as its own CBOR encoding."""
    return cbor.dumps(["CounterSignature", protected, b"", cbor.dumps(signature)])


@dataclass
class Envelope:
    """How a claim is wrapped. The defaults are honest; each field is one way not to be."""

    alg: Any = None  # what the protected header says instead of the signer's algorithm; ABSENT leaves it out
    chain: list[bytes] | None = None  # instead of the signer's
    protected: Callable[[dict[Any, Any]], Any] = lambda header: header
    unprotected: dict[Any, Any] = field(default_factory=dict)
    payload: Any = None
    tagged: bool = True
    mangle: Callable[[bytes], bytes] = lambda signature: signature
    token: Callable[[bytes], bytes] | None = None  # counter-signature message -> DER of a time stamp token
    ocsp: list[bytes] = field(default_factory=list)
    message: Callable[[bytes], bytes] = lambda to_be_signed: to_be_signed


ABSENT = object()


def seal(claim: bytes, signer: Any, envelope: Envelope) -> bytes:
    """The tagged COSE_Sign1 over a detached claim. `signer` has .alg, .chain (DER, leaf first) and .sign(bytes)."""
    chain = signer.chain if envelope.chain is None else envelope.chain
    header = {ALG: envelope.alg or ALGORITHMS[signer.alg], X5CHAIN: chain[0] if len(chain) == 1 else list(chain)}
    if envelope.alg is ABSENT:
        del header[ALG]
    changed = envelope.protected(header)
    protected = changed if isinstance(changed, bytes) and not isinstance(changed, cbor.Raw) else cbor.dumps(changed)
    signature = envelope.mangle(signer.sign(envelope.message(sig_structure(protected, claim))))
    unprotected = dict(envelope.unprotected)
    if envelope.token:
        token = envelope.token(counter_structure(protected, signature))
        unprotected["sigTst2"] = {"tstTokens": [{"val": token}]}
    if envelope.ocsp:
        unprotected["rVals"] = {"ocspVals": list(envelope.ocsp)}
    body = [protected, unprotected, envelope.payload, signature]
    return cbor.dumps(cbor2.CBORTag(18, body) if envelope.tagged else body)


@dataclass(frozen=True)
class Sign1:
    """A COSE_Sign1 taken apart."""

    protected: bytes
    unprotected: dict[Any, Any]
    payload: Any
    signature: bytes

    @staticmethod
    def parse(data: bytes) -> Sign1:
        item = cbor.loads(data)
        return Sign1(*(item.value if isinstance(item, cbor2.CBORTag) else item))

    @property
    def chain(self) -> list[bytes]:
        chain = cbor.loads(self.protected)[X5CHAIN]
        return [chain] if isinstance(chain, bytes) else chain

    def verify(self, claim: bytes) -> bool:
        """Whether the first certificate's key made this signature over the claim."""
        number = cbor.loads(self.protected)[ALG]
        alg = next(name for name, value in ALGORITHMS.items() if value == number)
        key = x509.load_der_x509_certificate(self.chain[0]).public_key()
        return verify(alg, key, sig_structure(self.protected, claim), self.signature)
