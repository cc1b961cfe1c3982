"""Where ancestors are looked for, and which file at an ancestor's name is another artifact."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import atlas
from atlas.claim import sign_manifest
from atlas.locate import Locator
from atlas.model import Digest
from atlas.sign import Signer, keygen, load_signer
from atlas.store import Store


@pytest.fixture(scope="module", name="signer")
def _signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    directory = tmp_path_factory.mktemp("keys") / "alice"
    keygen("Alice", directory)
    return load_signer(directory / "key.pem")


def locator(artifact: Path, **places: Path) -> Locator:
    return Locator(
        artifact,
        root=places.get("root"),
        bundle=places.get("bundle"),
        store=Store(artifact.parent / "no-store"),
    )


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_artifacts_own_name_tells_the_root(tmp_path: Path) -> None:
    base = put(tmp_path / "project/base/model.pt")
    look = locator(put(tmp_path / "project/out/model.pt"))
    assert look.artifact("base/model.pt", "urn")[0] is None
    look.anchor("out/model.pt")
    assert look.artifact("base/model.pt", "urn") == (base, "")


def test_a_given_root_comes_before_what_lies_beside(tmp_path: Path) -> None:
    put(tmp_path / "here/base.pt")
    wanted = put(tmp_path / "root/base.pt")
    look = locator(put(tmp_path / "here/model.pt"), root=tmp_path / "root")
    assert look.artifact("base.pt", "urn")[0] == wanted


@pytest.mark.parametrize("name", ["data/train.txt", "train.txt"])
def test_what_lies_beside_the_artifact_is_found_by_its_name_or_its_last_part(name: str, tmp_path: Path) -> None:
    put(tmp_path / name)
    assert locator(put(tmp_path / "model.pt")).artifact("data/train.txt", "urn")[0] == tmp_path / name


def test_the_artifact_under_verification_is_never_its_own_ancestor(tmp_path: Path) -> None:
    look = locator(put(tmp_path / "model.pt"))
    assert look.artifact("model.pt", "urn")[0] is None


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../secret", ""])
def test_a_name_that_leads_out_of_the_root_is_not_looked_for(name: str, tmp_path: Path) -> None:
    put(tmp_path / "secret")
    look = locator(put(tmp_path / "in/model.pt"), root=tmp_path / "in")
    assert look.artifact(name, "urn")[0] is None


def test_a_name_that_another_manifest_took_over_is_another_artifact(tmp_path: Path, signer: Signer) -> None:
    path = put(tmp_path / "last.pt", b"second")
    newer = sign_manifest(measurement=atlas.measure(path), name="last.pt", signer=signer)
    put(tmp_path / "last.pt.c2pa", newer.store)
    look = locator(put(tmp_path / "best.pt", b"first"))
    found, why = look.artifact("last.pt", "urn:c2pa:the-older-one")
    assert found is None
    assert "another manifest" in why
    assert look.artifact("last.pt", newer.urn)[0] == path


def test_a_sidecar_that_cannot_be_read_does_not_hide_the_file(tmp_path: Path) -> None:
    """Otherwise rubbish beside an altered file would keep it from being measured."""
    path = put(tmp_path / "data.txt")
    put(tmp_path / "data.txt.c2pa", b"rubbish")
    assert locator(put(tmp_path / "m.pt")).artifact("data.txt", "urn")[0] == path


def test_a_manifest_is_taken_by_its_hash_and_not_by_its_place(tmp_path: Path) -> None:
    wanted = b"the right one"
    digest = Digest("sha256", hashlib.sha256(wanted).digest())
    look = locator(put(tmp_path / "m.pt"), bundle=tmp_path / "bundle")
    put(tmp_path / "a.pt.c2pa", b"another one")
    put(tmp_path / f"bundle/{digest.hex}.c2pa", b"a forged one")
    assert look.manifest(digest, "a.pt") is None
    put(tmp_path / "a.pt.c2pa", wanted)
    assert look.manifest(digest, "a.pt") == wanted
