"""sigstore's JSON: a proof written as a TransparencyLogEntry, and the log entry of a bundle held against the bundle.

What is read here was proven by the C core first: the entry is in a log of the policy. What remains is whether it is the
entry of this bundle: same digest, same signature, same certificate or key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

from atlas import _core
from atlas.errors import MalformedError, SystemFailure, VerificationError
from atlas.model import Logged
from atlas.remote.note import VerifierKey

_HASHES = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def encode_entry(entry: bytes, proof: bytes, key: VerifierKey) -> bytes:
    """A TransparencyLogEntry of protobuf-specs, as protojson writes it. proof: a tlog-proof of a log with this key."""
    index, hashes, note, _ = _core.log_proof_read(proof)
    _, size, root = note.split(b"\n", 3)[:3]
    kind = json.loads(entry)
    number = hashlib.sha256(key.name.encode() + b"\n" + bytes([key.kind]) + key.public).digest()
    document = {
        "logIndex": str(index),
        "logId": {"keyId": _b64(number)},
        "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
        "inclusionProof": {
            "logIndex": str(index),
            "rootHash": root.decode(),
            "treeSize": size.decode(),
            "hashes": [_b64(digest) for digest in hashes],
            "checkpoint": {"envelope": note.decode()},
        },
        "canonicalizedBody": _b64(entry),
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


# ------------------------------------------------------------------------------------------------------------- bundles


def check_bundle(bundle: bytes, policy: bytes, *, where: str = "bundle") -> Logged:
    """The entry of a bundle is in a log of the policy, and it is of this bundle's signature. The signature itself, its
    certificate and the artifact are not looked at: that is for a verifier of bundles.

    VerificationError when it is not; SystemFailure for kinds of entries that are not known here.
    """
    body = _core.log_proof_read(bundle)[3]
    if body is None:
        raise MalformedError("not a sigstore bundle", where=where)
    place = Logged(*_core.LogPolicy(policy).entry(body, bundle))
    try:
        said = _said_by(json.loads(bundle))
        logged = _said_in(json.loads(body), said)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError, binascii.Error):
        raise MalformedError("a bundle or an entry without digest, signature or key", where=where) from None
    for name in ("digest", "signature", "key"):
        if logged[name] != said[name]:
            raise VerificationError(f"the entry is of another {name}", code="ATLAS_E_DIGEST", where=where)
    return place


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _said_by(bundle: dict[str, Any]) -> dict[str, Any]:
    """What the bundle itself holds; `message` where it has the bytes that were signed."""
    material = bundle["verificationMaterial"]
    if "certificate" in material:
        key = _decoded(material["certificate"]["rawBytes"])
    elif "x509CertificateChain" in material:
        key = _decoded(material["x509CertificateChain"]["certificates"][0]["rawBytes"])
    else:
        text = "a bundle without a certificate is not known here"
        raise SystemFailure(text, code="ATLAS_E_UNSUPPORTED", where="bundle")
    if "messageSignature" in bundle:
        signed = bundle["messageSignature"]
        digest = _decoded(signed["messageDigest"]["digest"])
        return {"digest": digest, "signature": _decoded(signed["signature"]), "key": key}
    envelope = bundle["dsseEnvelope"]
    (signature,) = envelope["signatures"]
    payload, kind = _decoded(envelope["payload"]), envelope["payloadType"].encode()
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    return {"message": pae, "payload": payload, "signature": _decoded(signature["sig"]), "key": key}


def _said_in(entry: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """What the entry says; adds to `said` the digest that an entry of this kind is over."""
    kind = (entry["kind"], entry["apiVersion"])
    if kind == ("hashedrekord", "0.0.2"):
        spec = entry["spec"]["hashedRekordV002"]
        if "message" in said:
            said["digest"] = hashlib.new(_HASHES[spec["data"]["algorithm"]], said["message"]).digest()
        key = _decoded(spec["signature"]["verifier"]["x509Certificate"]["rawBytes"])
        signature = _decoded(spec["signature"]["content"])
        return {"digest": _decoded(spec["data"]["digest"]), "signature": signature, "key": key}
    if kind == ("hashedrekord", "0.0.1") and "message" not in said:
        spec = entry["spec"]
        key = _certificate(spec["signature"]["publicKey"]["content"])
        digest = bytes.fromhex(spec["data"]["hash"]["value"])
        return {"digest": digest, "signature": _decoded(spec["signature"]["content"]), "key": key}
    if kind == ("dsse", "0.0.1") and "message" in said:
        spec = entry["spec"]
        (signature,) = spec["signatures"]
        said["digest"] = hashlib.sha256(said["payload"]).digest()
        digest = bytes.fromhex(spec["payloadHash"]["value"])
        key = _certificate(signature["verifier"])
        return {"digest": digest, "signature": _decoded(signature["signature"]), "key": key}
    raise SystemFailure(
        f"an entry of kind {kind[0]} {kind[1]} is not known here", code="ATLAS_E_UNSUPPORTED", where="log entry"
    )


def _certificate(text: str) -> bytes:
    """The DER in the PEM in Base64."""
    return _core.certificates_from_pem(_decoded(text))[0]


__all__ = ["check_bundle", "encode_entry"]
