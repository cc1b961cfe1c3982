"""COSE_Sign1 examples of the COSE working group, through the reader and the verifier that claims go through."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atlas import _core
from atlas.errors import AtlasError

VECTORS = os.environ.get("ATLAS_VECTORS")
pytestmark = pytest.mark.skipif(not VECTORS, reason="ATLAS_VECTORS is not set: no public test vectors")

ACCEPTED = {
    "ecdsa-examples/ecdsa-sig-01",
    "ecdsa-examples/ecdsa-sig-02",
    "ecdsa-examples/ecdsa-sig-03",
    "eddsa-examples/eddsa-sig-01",
    "sign1-tests/sign-pass-02",
}
REFUSED = {  # and why: the code that must come out
    "ecdsa-examples/ecdsa-sig-04": "ATLAS_E_ALGORITHM",  # P-256 with ES512
    "eddsa-examples/eddsa-sig-02": "ATLAS_E_ALGORITHM",  # Ed448
    "sign1-tests/sign-pass-01": "ATLAS_E_COSE",  # alg unprotected
    "sign1-tests/sign-pass-03": "ATLAS_E_COSE",  # no tag
    "sign1-tests/sign-fail-01": "ATLAS_E_COSE",  # another tag
    "sign1-tests/sign-fail-02": "ATLAS_E_SIGNATURE",  # payload changed
    "sign1-tests/sign-fail-03": "ATLAS_E_ALGORITHM",  # alg -999
    "sign1-tests/sign-fail-04": "ATLAS_E_ALGORITHM",  # alg "unknown"
    "sign1-tests/sign-fail-06": "ATLAS_E_SIGNATURE",  # protected attribute added
    "sign1-tests/sign-fail-07": "ATLAS_E_SIGNATURE",  # protected attribute removed
}


def _load(name: str) -> dict[str, Any]:
    return dict(json.loads((Path(VECTORS or "") / "cose" / f"{name}.json").read_text()))


def _number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _spki(key: dict[str, str]) -> bytes:
    public: Any
    if key["kty"] == "EC":
        curve = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}[key["crv"]]()
        public = ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
    else:
        kind = {"Ed25519": ed25519.Ed25519PublicKey, "Ed448": ed448.Ed448PublicKey}[key["crv"]]
        public = kind.from_public_bytes(bytes.fromhex(key["x_hex"]))
    return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _verify(example: dict[str, Any]) -> None:
    sign0 = example["input"]["sign0"]
    sign1 = _core.cose_read(bytes.fromhex(example["output"]["cbor"]))
    aad = bytes.fromhex(sign0.get("external", ""))
    tbs = _core.cose_sig_structure(sign1["protected"], aad, sign1["payload"] or b"")
    _core.signature_verify(sign1["alg"], _spki(sign0["key"]), tbs, sign1["signature"])


def test_every_example_is_in_one_of_the_two_tables() -> None:
    folder = Path(VECTORS or "") / "cose"
    found = {str(path.relative_to(folder))[: -len(".json")] for path in folder.rglob("*.json")}
    assert found == ACCEPTED | REFUSED.keys()


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_an_example_of_the_profile_is_accepted(name: str) -> None:
    _verify(_load(name))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_example_outside_the_profile_is_refused(name: str) -> None:
    with pytest.raises(AtlasError) as caught:
        _verify(_load(name))
    assert caught.value.code == REFUSED[name]


@pytest.mark.parametrize("name", sorted(ACCEPTED | REFUSED.keys()))
def test_sig_structure_is_byte_equal(name: str) -> None:
    example = _load(name)
    sign0 = example["input"]["sign0"]
    expected = example["intermediates"]["ToBeSign_hex"]
    protected = _protected_of(bytes.fromhex(expected))
    tbs = _core.cose_sig_structure(
        protected, bytes.fromhex(sign0.get("external", "")), example["input"]["plaintext"].encode()
    )
    assert tbs.hex().upper() == expected


def _protected_of(tbs: bytes) -> bytes:
    """["Signature1", protected, ...]: the byte string after the first text, short in all examples."""
    size = tbs[12] & 0x1F
    assert tbs[:12] == b"\x84\x6aSignature1" and tbs[12] >> 5 == 2 and size < 24
    return tbs[13 : 13 + size]
