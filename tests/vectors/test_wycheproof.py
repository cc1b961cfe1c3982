"""Project Wycheproof through the function that verifies claims: `valid` is accepted, everything else refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from atlas import _core
from atlas.errors import MalformedError, VerificationError

VECTORS = os.environ.get("ATLAS_VECTORS")
pytestmark = pytest.mark.skipif(not VECTORS, reason="ATLAS_VECTORS is not set: no public test vectors")

FILES = {  # file -> COSE algorithm, number of cases; a file that shrinks must not pass quietly
    "ecdsa_secp256r1_sha256_p1363_test.json": ("ES256", 262),
    "ecdsa_secp384r1_sha384_p1363_test.json": ("ES384", 280),
    "ecdsa_secp521r1_sha512_p1363_test.json": ("ES512", 318),
    "ed25519_test.json": ("EdDSA", 151),
    "rsa_pss_2048_sha256_mgf1_32_test.json": ("PS256", 108),
    "rsa_pss_4096_sha384_mgf1_48_test.json": ("PS384", 141),
}


def _groups(name: str) -> list[dict[str, Any]]:
    return list(json.loads((Path(VECTORS or "") / "wycheproof" / name).read_text())["testGroups"])


def _accepts(alg: str, spki: str, message: str, signature: str) -> bool:
    try:
        _core.signature_verify(alg, bytes.fromhex(spki), bytes.fromhex(message), bytes.fromhex(signature))
    except VerificationError as error:
        assert error.code == "ATLAS_E_SIGNATURE", f"refused for the wrong reason: {error}"
        return False
    return True


@pytest.mark.parametrize("name", FILES)
def test_wycheproof_accepts_exactly_the_valid_signatures(name: str) -> None:
    alg, expected_cases = FILES[name]
    wrong, cases, valid = [], 0, 0
    for group in _groups(name):
        for case in group["tests"]:
            cases += 1
            valid += case["result"] == "valid"
            if _accepts(alg, group["publicKeyDer"], case["msg"], case["sig"]) != (case["result"] == "valid"):
                wrong.append((case["tcId"], case["comment"], case["result"]))
    assert not wrong
    assert cases == expected_cases
    assert 0 < valid < cases


@pytest.mark.parametrize("name", FILES)
def test_a_valid_signature_is_refused_under_every_other_algorithm(name: str) -> None:
    alg, _ = FILES[name]
    group = _groups(name)[0]
    case = next(case for case in group["tests"] if case["result"] == "valid")
    for other in {"ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512"} - {alg}:
        with pytest.raises((VerificationError, MalformedError)) as caught:
            _core.signature_verify(
                other, bytes.fromhex(group["publicKeyDer"]), bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            )
        same_family = other[:2] == alg[:2] == "PS"
        assert caught.value.code == ("ATLAS_E_SIGNATURE" if same_family else "ATLAS_E_ALGORITHM")
