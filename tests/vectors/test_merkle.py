"""transparency-dev/merkle's RFC 6962 proofs: accept exactly those with wantErr false."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from atlas import _core
from atlas.errors import VerificationError

if "ATLAS_VECTORS" not in os.environ:
    pytest.skip("ATLAS_VECTORS is not set", allow_module_level=True)

VECTORS = Path(os.environ["ATLAS_VECTORS"]) / "merkle"


def read(kind: str) -> list[Any]:
    paths = sorted((VECTORS / kind).rglob("*.json"))
    return [pytest.param(json.loads(p.read_text()), id=str(p.relative_to(VECTORS))) for p in paths]


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def hashes(vector: dict[str, Any]) -> list[bytes]:
    return [raw(text) for text in vector["proof"] or []]


def accepts(check: Any, *args: Any) -> bool:
    try:
        check("sha256", *args)
    except VerificationError as error:
        assert error.code == "ATLAS_E_DIGEST"
        return False
    return True


def test_there_are_as_many_vectors_as_the_source_has() -> None:
    assert len(read("inclusion")) + len(read("consistency")) == 196


@pytest.mark.parametrize("v", read("inclusion"))
def test_an_inclusion_proof_is_answered_as_the_vector_says(v: dict[str, Any]) -> None:
    answer = accepts(
        _core.merkle_inclusion_check, v["leafIdx"], v["treeSize"], raw(v["leafHash"]), hashes(v), raw(v["root"])
    )
    assert answer is not v["wantErr"]


@pytest.mark.parametrize("v", read("consistency"))
def test_a_consistency_proof_is_answered_as_the_vector_says(v: dict[str, Any]) -> None:
    answer = accepts(
        _core.merkle_consistency_check, v["size1"], v["size2"], raw(v["root1"]), raw(v["root2"]), hashes(v)
    )
    assert answer is not v["wantErr"]
