"""sigstore's JSON: proofs that are written, and the log entries of bundles."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from forge import logged, pki, tlog, world
from forge.manifest import Store

from atlas import _core
from atlas.errors import MalformedError, SystemFailure, VerificationError
from atlas.remote.note import VerifierKey
from atlas.remote.sigstore import check_bundle, encode_entry

LOG = tlog.NoteKey("log.example/team")
POLICY = logged.policy(LOG)
SIGNER = world.CA.leaf("Signer")
LEAF, OTHER = pki.der(SIGNER.leaf), pki.der(world.TUNER.leaf)
MESSAGE = b"an artifact"
Document = dict[str, Any]


def sign(message: bytes) -> bytes:
    assert isinstance(SIGNER.key, ec.EllipticCurvePrivateKey)
    return SIGNER.key.sign(message, ec.ECDSA(hashes.SHA256()))


def digest(data: bytes) -> bytes:
    made = hashes.Hash(hashes.SHA256())
    made.update(data)
    return made.finalize()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def hashedrekord(data: bytes, signature: bytes, leaf: bytes = LEAF) -> bytes:
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": b64(leaf)}}
    record = {
        "data": {"algorithm": "SHA2_256", "digest": b64(data)},
        "signature": {"content": b64(signature), "verifier": verifier},
    }
    document = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def bundle_of(body: bytes, content: Document, leaf: bytes = LEAF) -> Document:
    log = tlog.ForgedLog(LOG, [b"before", body, b"after"])
    entry = json.loads(logged.sigstore(log, 1))
    return {"verificationMaterial": {"certificate": {"rawBytes": b64(leaf)}, "tlogEntries": [entry]}} | content


def message_bundle() -> Document:
    signature = sign(MESSAGE)
    content = {"messageDigest": {"algorithm": "SHA2_256", "digest": b64(digest(MESSAGE))}, "signature": b64(signature)}
    return bundle_of(hashedrekord(digest(MESSAGE), signature), {"messageSignature": content})


PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'
PAE = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(PAYLOAD) + PAYLOAD


def envelope_bundle() -> Document:
    """As Rekor v2 has envelopes since 2.3: a hashedrekord over what DSSE signs."""
    signature = sign(PAE)
    signatures = [{"sig": b64(signature)}]
    envelope = {"payload": b64(PAYLOAD), "payloadType": "application/vnd.in-toto+json", "signatures": signatures}
    return bundle_of(hashedrekord(digest(PAE), signature), {"dsseEnvelope": envelope})


def check(document: Document) -> tuple[str, int]:
    place = check_bundle(json.dumps(document).encode(), POLICY)
    return place.origin, place.index


@pytest.mark.parametrize("make", [message_bundle, envelope_bundle])
def test_the_entry_of_a_bundle_is_of_its_own_signature(make: Callable[[], Document]) -> None:
    assert check(make()) == (LOG.name, 1)


def change(path: str, value: Any) -> Callable[[Document], None]:
    def apply(document: Document) -> None:
        *names, last = path.split(".")
        for name in names:
            document = document[int(name) if name.isdigit() else name]
        document[last] = value

    return apply


@pytest.mark.parametrize(
    ("make", "lie", "says"),
    [
        (message_bundle, change("messageSignature.messageDigest.digest", b64(bytes(32))), "another digest"),
        (message_bundle, change("messageSignature.signature", b64(sign(b"other"))), "another signature"),
        (message_bundle, change("verificationMaterial.certificate.rawBytes", b64(OTHER)), "another key"),
        (envelope_bundle, change("dsseEnvelope.payload", b64(b"{}")), "another digest"),
        (envelope_bundle, change("dsseEnvelope.payloadType", "text/plain"), "another digest"),
        (envelope_bundle, change("dsseEnvelope.signatures.0.sig", b64(sign(b"other"))), "another signature"),
        (envelope_bundle, change("verificationMaterial.tlogEntries.0.inclusionProof.hashes", []), "does not hold"),
    ],
    ids=range(7),
)  # fmt: skip
def test_the_entry_of_something_else_is_refused(
    make: Callable[[], Document], lie: Callable[[Document], None], says: str
) -> None:
    document = make()
    lie(document)
    with pytest.raises(VerificationError, match=says):
        check(document)


def test_what_is_no_bundle_or_not_known_says_so() -> None:
    with pytest.raises(MalformedError):
        check({})
    document = message_bundle()
    del document["messageSignature"]
    with pytest.raises(MalformedError):
        check(document)
    document = message_bundle()
    document["verificationMaterial"]["publicKey"] = document["verificationMaterial"].pop("certificate")
    with pytest.raises(SystemFailure, match="without a certificate"):
        check(document)
    content = {"messageSignature": message_bundle()["messageSignature"]}
    document = bundle_of(b'{"apiVersion":"0.0.1","kind":"intoto","spec":{}}', content)
    with pytest.raises(SystemFailure, match=r"intoto 0\.0\.1"):
        check(document)
    with pytest.raises(VerificationError) as caught:
        check_bundle(json.dumps(message_bundle()).encode(), logged.policy(tlog.NoteKey("other.example")))
    assert caught.value.code == "ATLAS_E_UNKNOWN_LOG"


def test_a_proof_is_written_as_sigstore_reads_it() -> None:
    sidecar = world.honest()[world.BASE].sidecar
    log = logged.log_of(LOG, [Store.parse(sidecar).active])
    text = encode_entry(_core.log_entry(sidecar), logged.prove(log, 3), VerifierKey.parse(LOG.vkey))
    assert _core.LogPolicy(POLICY).manifest(sidecar, text)[:2] == (LOG.name, 3)
    document = json.loads(text)
    assert base64.b64decode(document["logId"]["keyId"])[:4] == LOG.id
    assert document["inclusionProof"]["treeSize"] == "4" and document["logIndex"] == "3"


def test_sigstores_own_model_takes_it() -> None:
    models = pytest.importorskip("sigstore_models.rekor.v1")
    sidecar = world.honest()[world.BASE].sidecar
    log = logged.log_of(LOG, [Store.parse(sidecar).active])
    text = encode_entry(_core.log_entry(sidecar), logged.prove(log, 3), VerifierKey.parse(LOG.vkey))
    entry = models.TransparencyLogEntry.from_json(text)
    assert entry.inclusion_proof.tree_size == 4 and entry.log_index == 3
    assert x509.load_der_x509_certificate(LEAF)


@pytest.mark.skipif("ATLAS_VECTORS" not in os.environ, reason="ATLAS_VECTORS is not set")
def test_a_public_bundle_of_rekor_v1_is_of_its_own_entry() -> None:
    from tests.vectors.test_rekor import BUNDLE, KEY, ORIGIN

    policy = f"log {KEY}\nquorum none\n".encode()
    assert check_bundle(BUNDLE.read_bytes(), policy).origin == ORIGIN
    document = json.loads(BUNDLE.read_text())
    document["dsseEnvelope"]["payload"] = b64(b"{}")
    with pytest.raises(VerificationError, match="another digest"):
        check_bundle(json.dumps(document).encode(), policy)
    assert Path(BUNDLE).is_file()
