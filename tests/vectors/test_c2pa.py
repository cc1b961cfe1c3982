"""The public C2PA file: a JPEG whose active manifest is an update manifest (claim v2) over a claim v1 parent."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cbor2
import pytest
from forge import jumbf

from atlas import _core
from atlas.errors import VerificationError

VECTORS = os.environ.get("ATLAS_VECTORS")
pytestmark = pytest.mark.skipif(not VECTORS, reason="ATLAS_VECTORS is not set")
AT = 1_735_689_600  # 2025-01-01, inside the validity of the signer's certificate


def folder() -> Path:
    assert VECTORS is not None
    return Path(VECTORS) / "c2pa"


def manifest_store(jpeg: bytes) -> bytes:
    """The JUMBF superbox that is spread over APP11 segments (ISO/IEC 19566-5, annex D)."""
    store = b""
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", jpeg[at + 2 : at + 4])
        segment = jpeg[at + 4 : at + 2 + length]
        if jpeg[at + 1] == 0xEB and segment[:2] == b"JP":
            sequence = struct.unpack(">I", segment[4:8])[0]
            store += segment[8:] if sequence == 1 else segment[16:]  # the box header is repeated in every segment
        at += 2 + length
    return store


def verdict(store: bytes) -> tuple[str, list[tuple[object, ...]]]:
    core = _core.Verifier(trust=roots(), now=AT)
    core.open(store)
    while core.next() is not None:
        core.absent("the JPEG is not looked at")
    answer, checks, _ = core.finish()
    return answer, checks


def roots() -> bytes:
    return (folder() / "test_cert_root_bundle.pem").read_bytes()


@pytest.fixture(name="store")
def _store() -> bytes:
    return manifest_store((folder() / "update_manifest.jpg").read_bytes())


def test_the_signature_of_the_update_manifest_holds_under_its_bundle(store: bytes) -> None:
    manifest = jumbf.parse(store).children[-1]
    claim = bytes(manifest["c2pa.claim.v2"].children[0].payload)
    cose = _core.cose_read(bytes(manifest["c2pa.signature"].children[0].payload))
    tbs = _core.cose_sig_structure(cose["protected"], b"", claim)
    leaf = _core.certificate_info(cose["chain"][0])
    _core.signature_verify(cose["alg"], leaf["spki"], tbs, cose["signature"])
    _core.Trust(anchors=roots()).check_chain(cose["chain"], AT, AT)
    with pytest.raises(VerificationError):
        _core.signature_verify(cose["alg"], leaf["spki"], tbs + b"x", cose["signature"])


def test_the_assertion_hashes_of_the_update_manifest_hold(store: bytes) -> None:
    manifest = jumbf.parse(store).children[-1]
    claim = cbor2.loads(manifest["c2pa.claim.v2"].children[0].payload)
    links = claim["created_assertions"] + claim.get("gathered_assertions", [])
    assert len(links) >= 2
    for link in links:
        label = link["url"].rpartition("/")[2]
        assert manifest["c2pa.assertions"][label].digest() == link["hash"]


def test_an_encoding_outside_the_profile_is_refused_although_the_signature_holds(store: bytes) -> None:
    """c2pa-rs of 2025 wrote maps of indefinite length into claims; the profile refuses them."""
    answer, checks = verdict(store)
    assert answer == "MALFORMED"
    assert any("no definite length" in str(check[5]) for check in checks)
