"""torch.load: what is deserialised is what was hashed, and it becomes an input of what is saved afterwards."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tempfile
import zipfile
from pathlib import Path

import pytest
from recording import Project

import atlas
from atlas.hooks.stream import LEAF

torch = pytest.importorskip("torch")

EARLIER = "loaded earlier in this process"


def state(seed: int = 0, size: int = 16) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(torch.nn.Linear(size, size).state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def base(project: Project) -> Path:
    """A signed base model, made by an earlier run."""
    with project.init():
        Path("base").mkdir()
        torch.save(state(), "base/model.pt")
    return Path("base/model.pt")


def flat(path: str | Path) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


def test_a_loaded_file_is_an_input_with_its_manifest(project: Project, base: Path) -> None:
    with project.init():
        loaded = torch.load(base)
        torch.save(loaded, "out.pt")
    entry = project.manifest("out.pt").inputs["base/model.pt"]
    assert same(loaded, state())
    assert entry["flat"] == flat(base)
    assert (entry["via"], entry["role"], entry["relation"]) == ("torch.load", "base model", EARLIER)
    assert project.manifest("out.pt").has_manifest("base/model.pt")
    verdict = project.verify("out.pt")
    assert verdict and verdict.unknown == 0 and verdict.measured == 2


@pytest.mark.parametrize(
    "options", [{"weights_only": True}, {"weights_only": False}, {"mmap": True}, {"map_location": "cpu"}]
)
def test_every_way_to_load_a_path_is_measured(project: Project, base: Path, options: dict) -> None:
    with project.init():
        loaded = torch.load(str(base), **options)
        torch.save(state(1), "out.pt")
    assert same(loaded, state())
    assert project.manifest("out.pt").inputs["base/model.pt"]["flat"] == flat(base)
    assert project.verify("out.pt").unknown == 0


@pytest.mark.parametrize("options", [{"mode": "rb"}, {"mode": "rb", "buffering": 0}, {"mode": "r+b"}], ids=str)
def test_an_open_file_is_measured_under_its_name(project: Project, base: Path, options: dict) -> None:
    with project.init():
        with base.open(**options) as file:
            assert same(torch.load(file), state())
        torch.save(state(1), "out.pt")
    entry = project.manifest("out.pt").inputs["base/model.pt"]
    assert entry["flat"] == flat(base)
    assert project.manifest("out.pt").has_manifest("base/model.pt")


def test_bytes_in_memory_are_known_by_their_digest(project: Project, base: Path) -> None:
    with project.init():
        torch.load(io.BytesIO(base.read_bytes()))
        torch.save(state(1), "out.pt")
    (entry,) = [e for e in project.manifest("out.pt").inputs.values() if e["name"].startswith("stream-")]
    assert entry["flat"] == flat(base)
    assert project.verify("out.pt").unknown == 0


def test_a_clone_through_memory_is_no_input(project: Project) -> None:
    with project.init():
        buffer = io.BytesIO()
        torch.save(state(), buffer)
        buffer.seek(0)
        torch.load(buffer)
        torch.save(state(1), "out.pt")
    assert project.manifest("out.pt").inputs == {}


@pytest.mark.parametrize("wrap", ["gzip", "zip"])
def test_a_file_within_an_archive_is_measured_as_what_it_unpacks_to(project: Project, base: Path, wrap: str) -> None:
    data = base.read_bytes()
    if wrap == "gzip":
        Path("m.gz").write_bytes(gzip.compress(data))
        opened = gzip.open("m.gz", "rb")  # noqa: SIM115
    else:
        with zipfile.ZipFile("m.zip", "w") as archive:
            archive.writestr("m.pt", data)
        opened = zipfile.ZipFile("m.zip").open("m.pt")  # noqa: SIM115
    with project.init():
        with opened as file:
            assert same(torch.load(file), state())
        torch.save(state(1), "out.pt")
    digests = [e["flat"] for e in project.manifest("out.pt").inputs.values()]
    assert hashlib.sha256(data).digest() in digests


def test_the_legacy_format_is_measured(project: Project) -> None:
    torch.save(state(), "old.pt", _use_new_zipfile_serialization=False)
    with project.init():
        assert same(torch.load("old.pt"), state())
        torch.save(state(1), "out.pt")
    assert project.manifest("out.pt").inputs["old.pt"]["flat"] == flat("old.pt")


def test_several_legacy_objects_in_one_file_load_one_after_the_other(project: Project) -> None:
    with open("many.pt", "wb") as file:  # noqa: PTH123
        for seed in (1, 2):
            torch.save(state(seed), file, _use_new_zipfile_serialization=False)
    with project.init(), open("many.pt", "rb") as file:  # noqa: PTH123
        assert same(torch.load(file), state(1))
        assert same(torch.load(file), state(2))


def test_a_large_file_is_served_leaf_by_leaf_and_measured_whole(project: Project) -> None:
    big = {"a.w": torch.randn(3 * LEAF // 4 + 11), "b.w": torch.randn(7), "c.w": torch.randn(5 * LEAF)}
    torch.save(big, "big.pt")
    with project.init():
        loaded = torch.load("big.pt")
        torch.save(state(), "out.pt")
    assert same(loaded, big)
    assert project.manifest("out.pt").inputs["big.pt"]["flat"] == flat("big.pt")


def test_what_was_loaded_before_the_save_is_listed_and_what_comes_later_is_not(project: Project, base: Path) -> None:
    torch.save(state(5), "later.pt")
    with project.init():
        torch.load(base)
        torch.save(state(1), "out.pt")
        torch.load("later.pt")
    assert set(project.manifest("out.pt").inputs) == {"base/model.pt"}


def test_an_input_that_does_not_match_its_manifest_is_unknown_and_a_gap(project: Project, base: Path) -> None:
    """The swap: other bytes under an honest sidecar."""
    os.system(f"cp {base} honest.pt; rm {base}")
    torch.save(state(666), base)
    with project.init():
        torch.load(base)
        torch.save(state(1), "out.pt")
    manifest = project.manifest("out.pt")
    assert not manifest.has_manifest("base/model.pt")
    assert manifest.inputs["base/model.pt"]["flat"] == flat(base)
    assert "does not match the manifest" in manifest.gaps["base/model.pt"]
    assert project.verify("out.pt").unknown == 1


def test_a_missing_file_gives_the_usual_error_and_no_gap(project: Project) -> None:
    with project.init() as run:
        with pytest.raises(FileNotFoundError):
            torch.load("nowhere.pt")
        assert run.gaps == ()


def test_a_load_that_fails_is_no_input(project: Project) -> None:
    Path("junk.pt").write_bytes(b"not a checkpoint")
    with project.init():
        with pytest.raises((pickle.UnpicklingError, RuntimeError, EOFError)):
            torch.load("junk.pt")
        torch.save(state(), "out.pt")
    assert project.manifest("out.pt").inputs == {}


def test_code_in_a_pickle_is_still_refused_by_weights_only(project: Project) -> None:
    torch.save({"f": os.getcwd}, "code.pt")
    with project.init(), pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights"):
        torch.load("code.pt", weights_only=True)


def test_a_file_that_changes_while_it_is_read_is_a_gap(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas.hooks.stream import FileSource

    torch.save({"a.w": torch.zeros(LEAF)}, "model.pt")
    with project.init() as run:
        original = FileSource.read_into
        calls = []

        def meddle(self: FileSource, view: memoryview, offset: int) -> int:
            calls.append(offset)
            n = original(self, view, offset)
            if offset == 0 and calls.count(0) > 1:
                view[LEAF - 1] ^= 1  # within the tensor: the archive stays readable
            return n

        monkeypatch.setattr(FileSource, "read_into", meddle)
        monkeypatch.setattr("atlas.hooks.stream._CACHED_LEAVES", 0)
        torch.load("model.pt")
        assert any("changed while it was read" in gap.reason for gap in run.gaps)


def test_a_file_without_manifest_beside_it_is_known_by_the_store(project: Project, base: Path) -> None:
    os.system(f"cp {base} copy.pt")
    with project.init():
        torch.load("copy.pt")
        torch.save(state(1), "out.pt")
    assert project.manifest("out.pt").has_manifest("copy.pt")
    assert project.verify("out.pt").unknown == 0


def test_files_outside_the_project_go_by_their_last_name(project: Project) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        path = Path(elsewhere) / "foreign.pt"
        torch.save(state(), path)
        with project.init():
            torch.load(path)
            torch.save(state(1), "out.pt")
    assert set(project.manifest("out.pt").inputs) == {"foreign.pt"}
    assert elsewhere.encode() not in project.manifest("out.pt").store


def test_a_script_module_is_a_gap(project: Project) -> None:
    import warnings

    with project.init(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(torch.nn.Linear(2, 2))
        torch.jit.save(scripted, "scripted.pt")
        torch.jit.load("scripted.pt")
        torch.save(state(), "out.pt")
    assert "TorchScript" in project.manifest("out.pt").gaps["scripted.pt"]


def test_a_storage_mapped_by_hand_is_measured(project: Project, base: Path) -> None:
    size = base.stat().st_size
    with project.init():
        storage = torch.UntypedStorage.from_file(str(base), False, size)
        assert storage.nbytes() == size
        torch.save(state(1), "out.pt")
    assert project.manifest("out.pt").inputs["base/model.pt"]["flat"] == flat(base)


# ------------------------------------------------------------------------------------------------- enforce


class Bomb:
    """Unpickling it leaves a trace."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("exploded"),))


def test_enforce_loads_what_is_valid(project: Project, base: Path) -> None:
    with project.init(mode="enforce"):
        assert same(torch.load(base), state())
        assert same(torch.load(base, mmap=True), state())
        with base.open("rb") as file:
            assert same(torch.load(file), state())
        assert same(torch.load(io.BytesIO(base.read_bytes())), state())
        torch.save(state(1), "out.pt")
    assert project.verify("out.pt").unknown == 0


@pytest.mark.parametrize("options", [{"weights_only": False}, {"weights_only": False, "mmap": True}])
def test_enforce_refuses_an_altered_checkpoint_before_unpickling(project: Project, base: Path, options: dict) -> None:
    os.system(f"cp {base}.c2pa kept; rm {base}")
    torch.save(Bomb(), base)
    os.system(f"mv kept {base}.c2pa")
    with project.init(mode="enforce"), pytest.raises(atlas.VerificationError):
        torch.load(base, **options)
    assert not Path("exploded").exists()
    torch.load(base, weights_only=False)
    assert Path("exploded").exists()  # the twin: without enforce it does explode


def test_enforce_refuses_one_flipped_bit_in_the_weights(project: Project, base: Path) -> None:
    data = bytearray(base.read_bytes())
    data[len(data) // 2] ^= 1
    os.system(f"cp {base}.c2pa kept")
    base.write_bytes(data)
    with project.init(mode="enforce"), pytest.raises(atlas.VerificationError):
        torch.load(base)


def test_enforce_refuses_unknown_provenance_and_accepts_it_pinned(project: Project) -> None:
    torch.save(state(), "unknown.pt")
    with project.init(mode="enforce") as run:
        with pytest.raises(atlas.VerificationError, match="unknown provenance"):
            torch.load("unknown.pt")
        with pytest.raises(atlas.VerificationError):
            torch.load(io.BytesIO(Path("unknown.pt").read_bytes()))
        run.pin("sha256:" + flat("unknown.pt").hex())
        assert same(torch.load("unknown.pt"), state())
        torch.save(state(1), "out.pt")
    assert "unknown.pt" in project.manifest("out.pt").inputs


def test_enforce_refuses_a_manifest_of_a_foreign_root(project: Project, base: Path, tmp_path: Path) -> None:
    from atlas.sign import keygen

    keygen("Mallory", tmp_path / "mallory")
    with project.init(key=tmp_path / "mallory" / "key.pem"):
        torch.save(state(9), base)
    with project.init(mode="enforce"), pytest.raises(atlas.VerificationError):
        torch.load(base)


def test_enforce_fails_closed_when_checking_itself_fails(project: Project, base: Path, monkeypatch) -> None:
    def broken(*_args, **_kwargs):
        raise RuntimeError("a bug")

    with project.init(mode="enforce"):
        monkeypatch.setattr("atlas.record.inputs.verify_measured", broken)
        with pytest.raises(atlas.VerificationError, match="could not be checked"):
            torch.load(base)


def test_enforce_without_roots_fails_at_once(project: Project) -> None:
    project.trust.unlink()
    with pytest.raises(atlas.UsageError, match="roots"):
        project.init(mode="enforce")


def test_enforce_serves_only_the_leaves_that_were_verified(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is swapped in place after it was verified and before torch reads it."""
    from atlas.hooks import loading

    with project.init():
        torch.save({"a.w": torch.zeros(2 * LEAF)}, "model.pt")
    original = loading.Loading._verify

    def verify_then_swap(self, source) -> None:
        original(self, source)
        with open("model.pt", "r+b", buffering=0) as file:  # noqa: PTH123
            file.seek(3 * LEAF)
            file.write(b"swapped")

    monkeypatch.setattr(loading.Loading, "_verify", verify_then_swap)
    with project.init(mode="enforce"), pytest.raises(atlas.errors.FileChanged):
        torch.load("model.pt")


def test_enforce_maps_a_copy_that_nobody_can_change(project: Project) -> None:
    with project.init():
        torch.save({"a.w": torch.zeros(LEAF)}, "model.pt")
    with project.init(mode="enforce"):
        mapped = torch.load("model.pt", mmap=True)
        with open("model.pt", "r+b", buffering=0) as file:  # noqa: PTH123
            file.seek(2 * LEAF)
            file.write(b"\xff" * LEAF)
        assert torch.equal(mapped["a.w"], torch.zeros(LEAF))
