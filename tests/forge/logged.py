"""Entries and proofs of manifests, made by another hand than the product's: for every node of a chain."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from . import cose, tlog
from .manifest import Manifest

_NAMES: dict[int, tuple[str, Any, str]] = {
    -7: ("SHA2_256", hashlib.sha256, "PKIX_ECDSA_P256_SHA_256"),
    -35: ("SHA2_384", hashlib.sha384, "PKIX_ECDSA_P384_SHA_384"),
    -36: ("SHA2_512", hashlib.sha512, "PKIX_ECDSA_P521_SHA_512"),
    -8: ("SHA2_512", hashlib.sha512, "PKIX_ED25519"),
    -37: ("SHA2_256", hashlib.sha256, "PKIX_RSA_PSS_2048_SHA256"),
}


def der(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def parts(manifest: Manifest) -> tuple[int, bytes, bytes, bytes]:
    """Algorithm, what is signed, signature as logs have it, certificate."""
    signature = manifest.signature
    header = cose.cbor.loads(signature.protected)
    alg = header[1]
    raw = signature.signature
    tbs = cose.sig_structure(signature.protected, manifest.claim_bytes)
    return alg, tbs, der(raw) if alg in (-7, -35, -36) else raw, signature.chain[0]


def entry(manifest: Manifest, *, certificate: bool = False, **changes: bytes) -> bytes:
    """The canonical hashedrekord 0.0.2; changes: another digest, signature or key."""
    alg, tbs, signature, leaf = parts(manifest)
    name, function, details = _NAMES[alg]
    spki = (
        x509.load_der_x509_certificate(leaf)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    key = {"x509Certificate": {"rawBytes": tlog.b64(leaf)}} if certificate else {
        "publicKey": {"rawBytes": tlog.b64(changes.get("key", spki))}
    }  # fmt: skip
    record = {
        "data": {"algorithm": name, "digest": tlog.b64(changes.get("digest", function(tbs).digest()))},
        "signature": {
            "content": tlog.b64(changes.get("signature", signature)), "verifier": {"keyDetails": details, **key}
        },
    }  # fmt: skip
    document = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def entry_v1(manifest: Manifest) -> bytes:
    """hashedrekord 0.0.1, as Rekor v1 has it."""
    alg, tbs, signature, leaf = parts(manifest)
    function = _NAMES[alg][1]
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(leaf) + b"-----END CERTIFICATE-----\n"
    document = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": function().name, "value": function(tbs).hexdigest()}},
            "signature": {"content": tlog.b64(signature), "publicKey": {"content": tlog.b64(pem)}},
        },
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def proof(index: int, path: Iterable[bytes], note: bytes, *, extra: bytes | None = None) -> bytes:
    lines = ["c2sp.org/tlog-proof@v1"]
    lines += [f"extra {tlog.b64(extra)}"] if extra is not None else []
    lines += [f"index {index}", *map(tlog.b64, path), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note


def prove(log: tlog.ForgedLog, index: int, *cosigners: tlog.NoteKey, size: int | None = None) -> bytes:
    """The proof of that entry in the log's tree of `size`, cosigned by these witnesses."""
    size = len(log.entries) if size is None else size
    note = log.checkpoint(size) + b"".join(key.line(log.text(size), time=1_700_000_000) for key in cosigners)
    return proof(index, tlog.inclusion(log.leaves[:size], index), note)


def sigstore(log: tlog.ForgedLog, index: int, *, body: bytes | None = None, **changes: Any) -> bytes:
    """The same as a TransparencyLogEntry: protojson, where 64-bit numbers are text and zero is left out."""
    path = tlog.inclusion(log.leaves, index)
    inclusion: dict[str, Any] = {
        "rootHash": tlog.b64(log.root),
        "treeSize": str(len(log.entries)),
        "hashes": [tlog.b64(digest) for digest in path],
        "checkpoint": {"envelope": log.checkpoint().decode()},
    } | ({"logIndex": str(index)} if index else {})
    document = {
        "logIndex": str(index),
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
        "inclusionProof": inclusion | changes,
        "canonicalizedBody": tlog.b64(log.entries[index] if body is None else body),
    }
    return json.dumps(document).encode()


def log_of(key: tlog.NoteKey, manifests: Iterable[Manifest], *, before: int = 3) -> tlog.ForgedLog:
    """A log of some strangers' entries, then one entry for each manifest, in their order."""
    entries = [b"a stranger's entry %d" % n for n in range(before)]
    return tlog.ForgedLog(key, entries + [entry(manifest) for manifest in manifests])


def policy(log: tlog.NoteKey, *witnesses: tlog.NoteKey, quorum: int = 0) -> bytes:
    """A tlog-policy: the log, the witnesses, and how many of them must have cosigned."""
    lines = [f"log {log.vkey}", *(f"witness w{n} {key.vkey}" for n, key in enumerate(witnesses))]
    if quorum:
        lines += [f"group g {quorum} " + " ".join(f"w{n}" for n in range(len(witnesses))), "quorum g"]
    else:
        lines.append("quorum none")
    return "".join(f"{line}\n" for line in lines).encode()
