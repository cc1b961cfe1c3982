"""safetensors: saved files are signed, loaded ones are inputs, and in enforce only a verified copy is mapped."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from recording import Project

import atlas

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import numpy  # noqa: E402
import safetensors  # noqa: E402
import safetensors.numpy  # noqa: E402
import safetensors.torch  # noqa: E402
from safetensors import safe_open as bound_early  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402


def tensors(fill: float = 1.0) -> dict[str, torch.Tensor]:
    return {"a": torch.full((64, 64), fill), "b": torch.arange(10)}


@pytest.fixture
def base(project: Project) -> Path:
    with project.init():
        save_file(tensors(), "base.safetensors")
    return Path("base.safetensors")


def flat(path: str | Path) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


def test_a_saved_file_is_valid(project: Project, base: Path) -> None:
    assert project.verify(base).answer == "VALID"
    assert project.manifest(base).own("measurement")["source"] == "recorded"


def test_save_model_and_numpy_are_recorded_too(project: Project) -> None:
    with project.init():
        safetensors.torch.save_model(torch.nn.Linear(4, 4), "model.safetensors")
        safetensors.numpy.save_file({"x": numpy.zeros(3)}, "array.safetensors")
    assert project.verify("model.safetensors") and project.verify("array.safetensors")


def test_overwriting_leaves_the_manifest_of_the_new_bytes(project: Project, base: Path) -> None:
    with project.init():
        save_file(tensors(2.0), base)
    assert project.verify(base)


def loaders() -> dict[str, object]:
    def handle(path: Path):
        with safetensors.safe_open(path, framework="pt") as f:
            return {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118

    def early(path: Path):
        with bound_early(path, framework="pt") as f:
            return {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118

    return {"load_file": load_file, "safe_open": handle, "safe_open bound early": early}


@pytest.mark.parametrize("how", loaders().values(), ids=loaders().keys())
def test_a_loaded_file_is_an_input_with_its_manifest(project: Project, base: Path, how) -> None:
    with project.init():
        loaded = how(base)
        torch.save({"x.w": torch.zeros(1)}, "out.pt")
    assert all(torch.equal(loaded[k], v) for k, v in tensors().items())
    manifest = project.manifest("out.pt")
    assert manifest.inputs["base.safetensors"]["flat"] == flat(base)
    assert manifest.has_manifest("base.safetensors")
    assert project.verify("out.pt").unknown == 0


def test_numpy_loads_are_inputs(project: Project, base: Path) -> None:
    with project.init():
        loaded = safetensors.numpy.load_file(base)
        torch.save({"x.w": torch.zeros(1)}, "out.pt")
    assert loaded["a"][0, 0] == 1.0
    assert project.manifest("out.pt").has_manifest("base.safetensors")


def test_torch_load_of_a_safetensors_file_is_recorded_once(project: Project, base: Path) -> None:
    with project.init():
        try:
            torch.load(base)
        except Exception:
            pytest.skip("this torch does not load safetensors")
        torch.save({"x.w": torch.zeros(1)}, "out.pt")
    assert list(project.manifest("out.pt").inputs) == ["base.safetensors"]


def test_a_handle_stays_usable_after_opening(project: Project, base: Path) -> None:
    with project.init():
        handle = safetensors.safe_open(base, framework="pt")
        with handle as f:
            assert torch.equal(f.get_slice("b")[2:4], torch.tensor([2, 3]))
            assert f.metadata() is None


def test_a_swapped_file_is_unknown(project: Project, base: Path) -> None:
    os.system(f"cp {base}.c2pa kept; rm {base}")
    save_file(tensors(666.0), base)
    os.system(f"mv kept {base}.c2pa")
    with project.init():
        load_file(base)
        torch.save({"x.w": torch.zeros(1)}, "out.pt")
    assert not project.manifest("out.pt").has_manifest("base.safetensors")
    assert "base.safetensors" in project.manifest("out.pt").gaps


def test_a_missing_file_gives_the_usual_error(project: Project) -> None:
    with pytest.raises(Exception) as plain:
        load_file("nowhere.safetensors")
    with project.init(), pytest.raises(type(plain.value)):
        load_file("nowhere.safetensors")


@pytest.mark.parametrize("how", [loaders()["load_file"], loaders()["safe_open"]], ids=["load_file", "safe_open"])
def test_enforce_loads_the_valid_and_refuses_the_altered(project: Project, base: Path, how) -> None:
    with project.init(mode="enforce"):
        assert torch.equal(how(base)["a"], tensors()["a"])
    os.system(f"cp {base}.c2pa kept; rm {base}")
    save_file(tensors(666.0), base)
    os.system(f"mv kept {base}.c2pa")
    with project.init(mode="enforce"), pytest.raises(atlas.VerificationError):
        how(base)


def test_enforce_maps_a_copy_that_nobody_can_change(project: Project, base: Path) -> None:
    with project.init(mode="enforce"):
        loaded = load_file(base)
        size = base.stat().st_size
        os.system(f"head -c {size} /dev/zero | dd of={base} conv=notrunc status=none")
        assert torch.equal(loaded["a"], tensors()["a"])
