"""`atlas diff`: two models, from their files, from shards, or from their manifests alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Command

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture
def models(work: Path) -> Path:
    torch.manual_seed(0)
    base = {"encoder.weight": torch.randn(40, 10), "head.weight": torch.randn(10, 10)}
    tuned = base | {"head.weight": torch.randn(10, 10)}
    torch.save(base, work / "base.pt")
    torch.save(tuned, work / "tuned.pt")
    safetensors.save_file(base, work / "base.safetensors")
    torch.save(base | {"extra": torch.ones(3)}, work / "other.pt")
    (work / "shards").mkdir()
    for name, tensor in base.items():
        safetensors.save_file({name: tensor}, work / "shards" / f"{name}.safetensors")
    return work


def test_a_fine_tune_is_told_with_its_share_of_the_bytes(atlas: Command, models: Path) -> None:
    ran = atlas("diff", "base.pt", "tuned.pt")
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[0] == (
        "a fine-tune: same names and shapes  (1 unchanged, 1 changed, 0 added, 0 removed; "
        "20.0 % of 2.0 KiB in changed or added tensors)"
    )
    assert "~ head.weight  float32 [10, 10]  400 B" in ran.stdout
    document = json.loads(atlas("diff", "--json", "base.pt", "tuned.pt").stdout)
    assert document["fine_tune"] is True
    assert document["bytes"]["share_changed"] == 0.2
    assert [entry["name"] for entry in document["changed"]] == ["head.weight"]


def test_the_same_tensors_are_exit_code_0_whatever_the_format(atlas: Command, models: Path) -> None:
    for other in ("base.safetensors", "shards"):
        ran = atlas("diff", "base.pt", other)
        assert (ran.returncode, ran.stdout) == (0, "same tensors  (2, 2.0 KiB)\n")


def test_what_appeared_and_vanished_is_listed(atlas: Command, models: Path) -> None:
    ran = atlas("diff", "tuned.pt", "other.pt")
    assert ran.returncode == 1
    assert ran.stdout.startswith("another structure")
    assert "+ extra  float32 [3]  12 B" in ran.stdout
    assert "- extra  float32 [3]  12 B" in atlas("diff", "other.pt", "base.pt").stdout


def test_two_manifests_are_enough_when_the_store_has_the_tables(atlas: Command, models: Path) -> None:
    atlas("keygen", "--name", "Alice", "keys")
    for name in ("base.pt", "tuned.pt"):
        assert atlas("sign", name, "--key", "keys/key.pem").returncode == 0
    expected = atlas("diff", "base.pt", "tuned.pt").stdout
    (models / "base.pt").unlink()
    (models / "tuned.pt").rename(models / "elsewhere.pt")
    for a, b in [("base.pt", "tuned.pt"), ("base.pt.c2pa", "tuned.pt.c2pa"), ("base.pt.c2pa", "elsewhere.pt")]:
        ran = atlas("diff", a, b)
        assert (ran.returncode, ran.stdout) == (1, expected)


def test_without_a_table_nothing_is_compared(atlas: Command, models: Path) -> None:
    (models / "bytes.bin").write_bytes(b"weights")
    atlas("keygen", "--name", "Alice", "keys")
    atlas("sign", "bytes.bin", "--key", "keys/key.pem")
    for name, code, says in [
        ("bytes.bin", 5, "neither a checkpoint"),
        ("bytes.bin.c2pa", 4, "names no tensor table"),
        ("missing.pt", 6, "no such file"),
    ]:
        ran = atlas("diff", "base.pt", name)
        assert (ran.returncode, ran.stdout) == (code, "")
        assert says in ran.stderr
        assert json.loads(atlas("diff", "--json", "base.pt", name).stdout)["exit_code"] in {code, 6}
