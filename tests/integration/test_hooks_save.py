"""torch.save: what is written is what was hashed, and a manifest stands beside it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
from recording import Project

from atlas.errors import AtlasWarning

torch = pytest.importorskip("torch")


def weights(seed: int = 0, size: int = 16) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(torch.nn.Linear(size, size).state_dict())


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_saved_file_is_valid_and_its_digest_is_that_of_the_file(project: Project) -> None:
    with project.init():
        torch.save(weights(), "model.pt")
    manifest = project.manifest("model.pt")
    assert manifest.assertions["c2pa.hash.data"]["hash"] == hashlib.sha256(Path("model.pt").read_bytes()).digest()
    assert manifest.name == "model.pt"
    assert manifest.own("measurement")["source"] == "recorded"
    assert project.verify("model.pt").answer == "VALID"


def test_the_saved_file_loads_without_atlas_and_gives_the_same_tensors(project: Project) -> None:
    state = weights()
    with project.init():
        torch.save(state, "model.pt")
    assert equal(torch.load("model.pt"), state)


def test_only_the_name_of_the_archive_differs_from_a_save_without_atlas(project: Project) -> None:
    import zipfile

    state = weights()
    torch.save(state, "model.pt")
    plain = {
        i.filename.partition("/")[2]: zipfile.ZipFile("model.pt").read(i)
        for i in zipfile.ZipFile("model.pt").infolist()
    }
    with project.init():
        torch.save(state, "model.pt")
    ours = {i.filename: zipfile.ZipFile("model.pt").read(i) for i in zipfile.ZipFile("model.pt").infolist()}
    ours.pop("archive/.data/serialization_id")
    plain.pop(".data/serialization_id")
    assert ours == {f"archive/{name}": data for name, data in plain.items()}


def test_pathlike_and_pickle_protocol_pass_through(project: Project) -> None:
    with project.init():
        torch.save(weights(), Path("model.pt"), pickle_protocol=3)
    assert project.verify("model.pt")


def test_a_name_that_is_not_ascii_is_recorded(project: Project) -> None:
    with project.init():
        torch.save(weights(), "modèle.pt")
    assert project.manifest("modèle.pt").name == "modèle.pt"
    assert project.verify("modèle.pt")


def test_the_legacy_format_is_measured(project: Project) -> None:
    state = weights()
    with project.init():
        torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
    assert project.verify("old.pt")
    assert equal(torch.load("old.pt"), state)


def test_a_save_into_memory_is_found_by_digest_wherever_it_is_written_later(project: Project) -> None:
    buffer = io.BytesIO()
    with project.init():
        torch.save(weights(), buffer)
        Path("later.pt").write_bytes(buffer.getvalue())
    assert not Path("later.pt.c2pa").exists()
    assert len(project.find("later.pt")) == 1
    assert project.verify("later.pt").answer == "VALID"


def test_a_save_into_an_open_file_is_recorded_under_its_name(project: Project) -> None:
    with project.init(), open("model.pt", "wb") as file:  # noqa: PTH123
        torch.save(weights(), file)
    assert project.manifest("model.pt").name == "model.pt"
    assert project.verify("model.pt")


def test_more_bytes_after_the_save_withdraw_the_manifest(project: Project) -> None:
    with project.init() as run:
        with open("model.pt", "wb") as file:  # noqa: PTH123
            torch.save(weights(), file)
            file.write(b"trailer")
        assert Path("model.pt.c2pa").exists()
        run.finish()
    assert not Path("model.pt.c2pa").exists()
    assert project.verify("model.pt").answer == "INCOMPLETE"


def test_two_saves_into_one_file_leave_no_manifest_that_accuses_it(project: Project) -> None:
    with project.init() as run:
        with open("both.pt", "wb") as file:  # noqa: PTH123
            torch.save(weights(1), file)
            torch.save(weights(2), file)
        assert any("at an offset" in gap.reason for gap in run.gaps)
    assert project.verify("both.pt").answer == "INCOMPLETE"


def test_a_temporary_name_and_os_replace_end_under_the_final_name(project: Project) -> None:
    with project.init():
        torch.save(weights(), "model.pt.tmp")
        os.replace("model.pt.tmp", "model.pt")  # noqa: PTH105
    assert not Path("model.pt.tmp.c2pa").exists()
    assert project.manifest("model.pt").name == "model.pt"
    assert project.verify("model.pt")


@pytest.mark.parametrize(
    "rename", [lambda a, b: Path(a).rename(b), shutil.move, os.rename], ids=["Path", "move", "rename"]
)
def test_every_way_to_rename_takes_the_manifest_along(project: Project, rename) -> None:
    with project.init():
        torch.save(weights(), "a.pt")
        rename("a.pt", "b.pt")
    assert sorted(p.name for p in Path().glob("*.c2pa*")) == ["b.pt.c2pa"]
    assert project.verify("b.pt")


def test_a_rename_over_an_artifact_replaces_its_manifest(project: Project) -> None:
    with project.init():
        torch.save(weights(1), "model.pt")
        torch.save(weights(2), "next.pt")
        os.replace("next.pt", "model.pt")  # noqa: PTH105
    assert project.verify("model.pt")
    assert sorted(p.name for p in Path().glob("*.c2pa*")) == ["model.pt.c2pa"]


def test_a_file_from_elsewhere_renamed_over_an_artifact_does_not_inherit_its_manifest(project: Project) -> None:
    with project.init():
        torch.save(weights(), "model.pt")
        Path("download").write_bytes(b"something else")
        os.replace("download", "model.pt")  # noqa: PTH105
    assert not Path("model.pt.c2pa").exists()
    assert project.verify("model.pt").answer == "INCOMPLETE"


def test_a_directory_renamed_after_saving_into_it_has_manifests_with_the_final_names(project: Project) -> None:
    with project.init():
        Path("tmp-checkpoint-1").mkdir()
        torch.save(weights(), "tmp-checkpoint-1/model.pt")
        os.rename("tmp-checkpoint-1", "checkpoint-1")  # noqa: PTH104
    assert project.manifest("checkpoint-1/model.pt").name == "checkpoint-1/model.pt"
    assert project.verify("checkpoint-1/model.pt")


def test_a_name_bound_before_the_run_is_followed_too(project: Project) -> None:
    from os import replace

    with project.init():
        torch.save(weights(), "model.pt.tmp")
        replace("model.pt.tmp", "model.pt")  # noqa: PTH105
    assert project.verify("model.pt")
    assert not Path("model.pt.tmp.c2pa").exists()


def test_a_named_temporary_file_leaves_nothing_behind(project: Project) -> None:
    with project.init(), tempfile.NamedTemporaryFile(dir=project.root, suffix=".pt") as file:
        torch.save(weights(), file)
    assert list(Path().glob("*.c2pa*")) == []


def test_a_copy_is_found_by_digest_and_a_copy_by_shutil_has_a_manifest_beside_it(project: Project) -> None:
    with project.init():
        torch.save(weights(), "last.pt")
        os.system("cp last.pt best.pt")
        shutil.copy("last.pt", "kept.pt")
    assert not Path("best.pt.c2pa").exists()
    assert project.verify("best.pt").answer == "VALID"
    assert Path("kept.pt.c2pa").exists()
    assert project.verify("kept.pt").answer == "VALID"


def test_a_copy_over_an_artifact_replaces_its_manifest(project: Project) -> None:
    with project.init():
        torch.save(weights(1), "best.pt")
        torch.save(weights(2), "last.pt")
        shutil.copyfile("last.pt", "best.pt")
    assert project.verify("best.pt")


def test_removing_a_checkpoint_removes_its_manifest_and_the_store_keeps_it(project: Project) -> None:
    with project.init() as run:
        torch.save(weights(), "old.pt")
        sha256 = run.manifest("old.pt").sha256
        os.remove("old.pt")  # noqa: PTH107
    assert not Path("old.pt.c2pa").exists()
    assert project.store.get(sha256) is not None


def test_overwriting_moves_the_old_manifest_aside_before_the_first_byte_changes(project: Project) -> None:
    """A pickle that looks around while it is being saved: at that moment there is no manifest."""
    seen = []

    class Looks:
        def __reduce__(self) -> tuple:
            seen.append((Path("model.pt.c2pa").exists(), Path("model.pt.c2pa.old").exists()))
            return (dict, ())

    with project.init():
        torch.save(weights(1), "model.pt")
        torch.save({"state": weights(2), "x": Looks()}, "model.pt")
    assert seen == [(False, True)]
    assert sorted(p.name for p in Path().glob("*.c2pa*")) == ["model.pt.c2pa"]
    assert project.verify("model.pt")


def test_any_python_code_that_overwrites_an_artifact_moves_its_manifest_aside(project: Project) -> None:
    with project.init():
        torch.save(weights(), "model.pt")
        Path("model.pt").write_bytes(b"not what was signed")
    assert not Path("model.pt.c2pa").exists()
    assert project.verify("model.pt").answer == "INCOMPLETE"


class Explodes:
    def __reduce__(self) -> tuple:
        raise ValueError("cannot be pickled")


def test_an_exception_in_the_middle_of_a_save_leaves_no_manifest(project: Project) -> None:
    with project.init() as run:
        torch.save(weights(), "model.pt")
        with pytest.raises(ValueError, match="cannot be pickled"):
            torch.save({"state": weights(), "x": Explodes()}, "model.pt")
        assert not Path("model.pt.c2pa").exists()
        journal = next(iter(Path(run._recorder.directory).glob("*.journal"))).read_text()
        assert '"t":"incomplete"' in journal
        torch.save(weights(), "model.pt")
    assert project.verify("model.pt")


def test_a_save_within_a_save_is_part_of_the_outer_one(project: Project) -> None:
    class Nested:
        def __reduce__(self) -> tuple:
            inner = io.BytesIO()
            torch.save(weights(3), inner)
            return (bytes, (inner.getvalue(),))

    with project.init() as run:
        torch.save({"state": weights(), "x": Nested()}, "model.pt")
        assert [m.name for m in run.outputs] == ["model.pt"]
    assert project.verify("model.pt")
    assert project.store.health().indexed == 1


def test_a_skeleton_without_data_has_no_manifest(project: Project) -> None:
    if not hasattr(torch.serialization, "skip_data"):
        pytest.skip("this torch has no skip_data")
    with project.init() as run:
        with torch.serialization.skip_data():
            torch.save(weights(), "skeleton.pt")
        assert any("skeleton" in gap.reason for gap in run.gaps)
    assert not Path("skeleton.pt.c2pa").exists()


def test_short_writes_of_the_callers_file_are_completed(project: Project) -> None:
    class Short(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:  # type: ignore[override]
            part = bytes(data[:1000])
            self.data += part
            return len(part)

    target = Short()
    with project.init():
        torch.save(weights(size=64), target)
    Path("model.pt").write_bytes(target.data)
    assert equal(torch.load("model.pt"), weights(size=64))
    assert project.verify("model.pt")


def test_a_file_that_takes_nothing_more_is_an_error_and_not_a_truncated_model(project: Project) -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data) -> int:  # type: ignore[override]
            return 0

    with project.init(), pytest.raises((OSError, RuntimeError)):
        torch.save(weights(), Full())


def test_a_directory_that_is_not_there_gives_torchs_own_error(project: Project) -> None:
    with pytest.raises(Exception) as plain:
        torch.save(weights(), "nowhere/model.pt")
    with project.init(), warnings.catch_warnings(), pytest.raises(type(plain.value), match=str(plain.value)):
        warnings.simplefilter("error", AtlasWarning)
        torch.save(weights(), "nowhere/model.pt")


def test_devices_are_left_alone(project: Project) -> None:
    with project.init() as run:
        torch.save(weights(), "/dev/null")
        assert run.outputs == ()
    assert Path("/dev/null").is_char_device()


def test_excluded_files_are_saved_without_a_manifest(project: Project) -> None:
    with project.init(exclude=["*.tmp", "scratch/"]):
        Path("scratch").mkdir()
        torch.save(weights(), "a.tmp")
        torch.save(weights(), "scratch/b.pt")
        torch.save(weights(), "c.pt")
    assert sorted(str(p) for p in Path().rglob("*.c2pa")) == ["c.pt.c2pa"]


def test_large_tensors_are_hashed_in_one_piece_and_right(project: Project) -> None:
    with project.init():
        torch.save({"a.weight": torch.arange(5_000_003, dtype=torch.uint8), "b.weight": torch.zeros(3)}, "large.pt")
    assert project.verify("large.pt")


def test_a_symbolic_link_is_followed_and_its_manifest_stands_beside_the_name(project: Project) -> None:
    with project.init():
        Path("real").mkdir()
        Path("model.pt").symlink_to("real/model.pt")
        torch.save(weights(), "model.pt")
    assert Path("real/model.pt").is_file()
    assert project.verify("model.pt")
