"""Where ancestors are looked for, and which file at an ancestor's name is another artifact."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from forge import world

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
    (tmp_path / "bundle").mkdir()
    look = locator(put(tmp_path / "m.pt"), bundle=tmp_path / "bundle")
    put(tmp_path / "a.pt.c2pa", b"another one")
    put(tmp_path / f"bundle/{digest.hex}.c2pa", b"a forged one")
    assert look.manifest(digest, "a.pt") is None
    put(tmp_path / "a.pt.c2pa", wanted)
    assert look.manifest(digest, "a.pt") == wanted


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", "n" * 5000])
def test_a_name_that_leads_out_of_the_root_or_nowhere_finds_nothing(tmp_path: Path, name: str) -> None:
    place = locator(put(tmp_path / "project" / "out" / "m.pt"), root=tmp_path / "project")
    assert place.artifact(name, "urn:c2pa:x")[0] is None
    assert place.manifest(Digest("sha256", bytes(32)), name) is None


@pytest.mark.parametrize("suffix", [".c2pa", ".c2pa-index"])
def test_a_fifo_where_a_manifest_or_an_index_should_be_blocks_nothing(tmp_path: Path, suffix: str) -> None:
    for made in world.honest().values():
        made.write(tmp_path)
    for changed in (False, True):
        place = tmp_path / f"{world.RAW}{suffix}"
        place.unlink(missing_ok=True)
        os.mkfifo(place)
        if changed:
            (tmp_path / world.RAW / "part-0.txt").write_text("changed")
        roots = world.pki.roots(world.ROOT).encode()
        verdict = atlas.verify(tmp_path / world.REPORT, trust=roots, store=tmp_path / "no store")
        assert verdict.answer == ("INVALID" if changed else "VALID")
