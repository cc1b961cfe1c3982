"""A private copy is what was verified, or there is none."""

import os
from pathlib import Path

import pytest
from forge import chain, world

import atlas
from atlas.errors import AtlasError, SystemFailure, VerificationError
from atlas.model import Verdict
from atlas.private_copy import copy_verified
from atlas.store import Store

ROOTS = world.pki.roots(world.ROOT).encode()
FILES = {"a b.txt": b"a", "sub/\u00e9t\u00e9.txt": b"b", "empty": b""}


def verified(path: Path) -> Verdict:
    return atlas.verify(path, trust=ROOTS, store=Store(path.parent / "no store"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return chain.make("m.pt", b"weights" * 300_000, world.TUNER).write(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return chain.make("data", FILES, world.CURATOR).write(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "out"
    directory.mkdir()
    return directory


def test_a_file_is_copied_under_its_name(model: Path, out: Path) -> None:
    copy = copy_verified(verified(model), out)
    assert copy == out / "m.pt"
    assert copy.read_bytes() == model.read_bytes()
    assert not copy.samefile(model)


def test_a_link_is_copied_as_the_file_it_leads_to(model: Path, out: Path) -> None:
    link = model.with_name("link.pt")
    link.symlink_to("m.pt")
    copy = copy_verified(verified(link), out)
    assert not copy.is_symlink()
    assert copy.read_bytes() == model.read_bytes()


def test_a_directory_is_copied_with_odd_names_and_empty_files(data: Path, out: Path) -> None:
    copy = copy_verified(verified(data), out)
    assert {str(p.relative_to(copy)): p.read_bytes() for p in copy.rglob("*") if p.is_file()} == FILES


@pytest.mark.parametrize("with_index", [True, False])
def test_what_is_ignored_when_verifying_is_not_handed_out(data: Path, out: Path, with_index: bool) -> None:
    (data / "__pycache__").mkdir()
    (data / "__pycache__" / "x.pyc").write_bytes(b"evil")
    verdict = verified(data)
    assert verdict
    if not with_index:
        chain.index_of(data).unlink()
    copy = copy_verified(verdict, out)
    assert not (copy / "__pycache__").exists()


def test_an_index_that_is_not_the_signed_one_is_not_followed(data: Path, out: Path) -> None:
    verdict = verified(data)
    chain.index_of(data).write_bytes(b"atlas-index 1 sha256\n")
    copy = copy_verified(verdict, out)
    assert {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()} == set(FILES)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (d / "empty").write_bytes(b"x"),
        lambda d: (d / "empty").unlink(),
        lambda d: ((d / "empty").unlink(), (d / "empty").symlink_to("/dev/zero")),
        lambda d: ((d / "empty").unlink(), os.mkfifo(d / "empty")),
        lambda d: (chain.index_of(d).write_bytes(b"atlas-index 1 sha256\n"), (d / "empty").write_bytes(b"x")),
    ],
    ids=["changed", "removed", "device", "fifo", "index too"],
)
def test_a_directory_that_changed_after_it_was_verified_is_refused(data: Path, out: Path, change: object) -> None:
    verdict = verified(data)
    change(data)  # type: ignore[operator]
    with pytest.raises(AtlasError):
        copy_verified(verdict, out)


def test_a_file_that_changed_after_it_was_verified_is_refused(model: Path, out: Path) -> None:
    verdict = verified(model)
    model.write_bytes(b"swapped")
    with pytest.raises(VerificationError, match="changed after it was verified"):
        copy_verified(verdict, out)
    model.unlink()
    os.mkfifo(model)
    with pytest.raises(SystemFailure):
        copy_verified(verdict, out / "..")


def test_only_a_valid_verdict_gives_a_copy(model: Path, out: Path) -> None:
    verdict = atlas.verify(model, trust=world.pki.roots(world.OTHER_ROOT).encode())
    with pytest.raises(VerificationError, match="UNTRUSTED"):
        copy_verified(verdict, out)
    assert list(out.iterdir()) == []
