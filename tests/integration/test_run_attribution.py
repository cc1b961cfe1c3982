"""Attribution: each artifact's manifest lists what went into it, as a person would have written it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from recording import Project

import atlas

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

EARLIER = "loaded earlier in this process"
PREVIOUS = "previous checkpoint of this run"


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(torch.nn.Linear(4, 4).state_dict())


def flat(path: str | Path) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


def train_a_little(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for (x,) in DataLoader(TensorDataset(torch.randn(8, 4)), batch_size=4):
        model(x).sum().backward()
        optimizer.step()
    return dict(model.state_dict())


def test_five_trials_in_one_process_have_five_right_manifests(project: Project) -> None:
    torch.save(torch.randn(3), "shared.pt")
    for i in range(5):
        torch.save(torch.randn(i + 1), f"data{i}.pt")
    with project.init() as run:
        torch.load("shared.pt")
        for i in range(5):
            with run.step(f"trial {i}", lr=0.1 * i):
                torch.load(f"data{i}.pt")
                torch.save(train_a_little(i), f"trial{i}.pt")
    for i in range(5):
        manifest = project.manifest(f"trial{i}.pt")
        assert set(manifest.inputs) == {"shared.pt", f"data{i}.pt"}
        assert manifest.inputs["shared.pt"]["relation"] == EARLIER
        assert "relation" not in manifest.inputs[f"data{i}.pt"]
        assert manifest.run["step"] == f"trial {i}" and manifest.run["params"] == {"lr": 0.1 * i}
        assert [entry["samples"] for entry in manifest.loaders] == [8]
        assert manifest.gaps == {}
        assert project.verify(f"trial{i}.pt")


def test_five_trials_in_threads_have_five_right_manifests(project: Project) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for i in range(5):
        torch.save(torch.randn(i + 1), f"data{i}.pt")
    with project.init() as run:

        def trial(i: int) -> None:
            with run.step(f"trial {i}"):
                torch.load(f"data{i}.pt")
                time.sleep(0.05)
                torch.save(state(i), f"trial{i}.pt")

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(trial, range(5)))
    for i in range(5):
        assert set(project.manifest(f"trial{i}.pt").inputs) == {f"data{i}.pt"}
        assert project.verify(f"trial{i}.pt")


def test_a_thread_that_a_step_starts_works_for_that_step(project: Project) -> None:
    import threading

    torch.save(torch.randn(1), "data.pt")
    with project.init() as run:
        with run.step("first"):
            pass
        with run.step("second"):
            for work in (lambda: torch.load("data.pt"), lambda: torch.save(state(), "out.pt")):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
    manifest = project.manifest("out.pt")
    assert manifest.run["step"] == "second" and set(manifest.inputs) == {"data.pt"}


def test_a_step_within_a_step_sees_the_inputs_of_the_outer_one_as_earlier(project: Project) -> None:
    for name in ("outer", "inner"):
        torch.save(torch.randn(2), f"{name}.pt")
    with project.init() as run, run.step("outer"):
        torch.load("outer.pt")
        with run.step("inner"):
            torch.load("inner.pt")
            torch.save(state(1), "a.pt")
        torch.save(state(2), "b.pt")
    inner, outer = project.manifest("a.pt"), project.manifest("b.pt")
    assert inner.run["step"] == "outer/inner"
    assert inner.inputs["outer.pt"]["relation"] == EARLIER and "relation" not in inner.inputs["inner.pt"]
    assert set(outer.inputs) == {"outer.pt", "inner.pt"}


def test_ten_thousand_small_files_become_one_input(project: Project) -> None:
    Path("samples").mkdir()
    torch.save(torch.zeros(1), "sample")
    data = Path("sample").read_bytes()
    n = 10_000
    for i in range(n):
        Path(f"samples/{i:05}.pt").write_bytes(data)

    class Samples(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, i: int) -> torch.Tensor:
            return torch.load(f"samples/{i:05}.pt")

    with project.init():
        for _ in DataLoader(Samples(), batch_size=500, num_workers=2):
            pass
        torch.save(state(), "out.pt")
    manifest = project.manifest("out.pt")
    assert list(manifest.inputs) == ["samples"]
    assert manifest.inputs["samples"]["size"] == n * len(data)
    assert manifest.loaders[0]["dataset"]["files"] == n
    whole = atlas.measure("samples")
    assert whole.flat is not None and manifest.inputs["samples"]["flat"] == whole.flat.value
    assert manifest.gaps == {} and len(manifest.store) < 64 << 10
    assert project.verify("out.pt")


def test_many_files_loaded_one_by_one_become_one_input_too(project: Project) -> None:
    Path("samples").mkdir()
    for i in range(200):
        torch.save(torch.tensor(i), f"samples/{i}.pt")
    with project.init():
        for i in range(200):
            torch.load(f"samples/{i}.pt")
        torch.save(state(), "out.pt")
    (entry,) = project.manifest("out.pt").inputs.values()
    assert (entry["name"], entry["kind"], entry["relation"]) == ("samples", "directory", EARLIER)
    assert project.verify("out.pt")


def test_periodic_checkpoints_refer_to_the_one_before(project: Project) -> None:
    with project.init():
        for epoch in range(3):
            torch.save(train_a_little(epoch), f"epoch-{epoch}.pt")
            torch.save({"lr": 0.1}, "scheduler.pt")
    assert project.manifest("epoch-0.pt").inputs == {}
    for epoch in (1, 2):
        (entry,) = project.manifest(f"epoch-{epoch}.pt").inputs.values()
        before = f"epoch-{epoch - 1}.pt"
        assert (entry["name"], entry["role"], entry["relation"]) == (before, "checkpoint", PREVIOUS)
        assert entry["flat"] == flat(before)
        assert "activeManifest" not in project.manifest(f"epoch-{epoch}.pt").ingredient(before)  # by hash
    verdict = project.verify("epoch-2.pt")
    assert verdict and verdict.measured == 3 and verdict.unknown == 0


def test_a_checkpoint_that_is_rotated_away_stays_in_the_chain(project: Project) -> None:
    with project.init():
        for epoch in range(4):
            torch.save(train_a_little(epoch), f"epoch-{epoch}.pt")
            if epoch >= 2:
                os.remove(f"epoch-{epoch - 2}.pt")  # noqa: PTH107
    assert sorted(p.name for p in Path().glob("epoch*")) == [
        "epoch-2.pt", "epoch-2.pt.c2pa", "epoch-3.pt", "epoch-3.pt.c2pa",
    ]  # fmt: skip
    verdict = project.verify("epoch-3.pt")
    assert verdict and len(verdict.nodes) == 4 and verdict.measured == 2


def test_a_checkpoint_that_is_overwritten_stays_in_the_chain(project: Project) -> None:
    with project.init():
        for epoch in range(3):
            torch.save(train_a_little(epoch), "last.pt")
            if epoch == 1:
                os.system("cp last.pt best.pt")
    verdict = project.verify("last.pt")
    assert verdict and len(verdict.nodes) == 3 and verdict.unknown == 0
    assert project.verify("best.pt").answer == "VALID"


def test_overwriting_by_a_temporary_name_stays_in_the_chain(project: Project) -> None:
    with project.init():
        for epoch in range(3):
            torch.save(train_a_little(epoch), "last.pt.tmp")
            os.replace("last.pt.tmp", "last.pt")  # noqa: PTH105
    verdict = project.verify("last.pt")
    assert verdict and [node.name for node in verdict.nodes] == ["last.pt"] * 3


def test_data_files_that_are_written_one_after_the_other_are_no_checkpoints_of_each_other(project: Project) -> None:
    with project.init():
        for i in range(3):
            torch.save(torch.full((2,), i), f"part{i}.pt")
    assert project.manifest("part2.pt").inputs == {}


def test_a_resumed_run_has_the_checkpoint_as_an_input_with_its_manifest(project: Project) -> None:
    with project.init():
        torch.save({"model": train_a_little(0), "epoch": 1}, "last.pt")
    before = flat("last.pt")
    with project.init() as run:
        torch.load("last.pt")
        second = run.id
        torch.save({"model": train_a_little(1), "epoch": 2}, "last.pt")
    manifest = project.manifest("last.pt")
    entry = manifest.inputs["last.pt"]
    assert (entry["role"], entry["flat"]) == ("checkpoint", before) and manifest.has_manifest("last.pt")
    assert manifest.run["run"] == second
    verdict = project.verify("last.pt")
    assert verdict and len(verdict.nodes) == 2 and verdict.unknown == 0


def test_the_same_file_loaded_twice_is_one_input(project: Project) -> None:
    torch.save(state(), "base.pt")
    with project.init():
        torch.load("base.pt")
        torch.load("base.pt")
        torch.save(state(1), "out.pt")
    assert len(project.manifest("out.pt").own("inputs")["inputs"]) == 1


def test_the_best_of_the_run_loaded_again_is_an_input(project: Project) -> None:
    with project.init() as run:
        with run.step("train"):
            torch.save(train_a_little(0), "best.pt")
        with run.step("export"):
            torch.save(torch.load("best.pt"), "final.pt")
    assert project.manifest("final.pt").has_manifest("best.pt")
    assert set(project.manifest("final.pt").inputs) == {"best.pt"}


def test_the_base_swapped_before_training_while_its_honest_manifest_stays(project: Project) -> None:
    with project.init():
        Path("base").mkdir()
        torch.save(state(1), "base/model.pt")
    os.system("mv base/model.pt.c2pa kept; rm base/model.pt")
    torch.save(state(666), "base/model.pt")
    os.system("mv kept base/model.pt.c2pa")
    with project.init():
        torch.load("base/model.pt")
        torch.save(train_a_little(0), "out.pt")
    verdict = project.verify("out.pt")
    assert [edge.node for edge in verdict.nodes[0].inputs] == [None]  # nobody vouches for what was read
    assert verdict.unknown == 1 and verdict.gaps == 1


def test_files_that_were_read_without_being_measured_are_gaps(project: Project) -> None:
    Path("vocab.txt").write_text("a b c")
    Path("notes.txt").write_text("not read")
    with project.init():
        Path("vocab.txt").read_text()
        torch.save(state(), "out.pt")
    manifest = project.manifest("out.pt")
    assert set(manifest.gaps) == {"vocab.txt"}
    coverage = manifest.own("coverage")
    assert coverage["seen"] == 1 and coverage["gaps"][0]["input"] is True
    assert project.verify("out.pt")


def test_many_unmeasured_files_of_a_directory_are_one_gap(project: Project) -> None:
    Path("raw").mkdir()
    for i in range(300):
        Path(f"raw/{i}.txt").write_text(str(i))
    with project.init():
        for path in Path("raw").iterdir():
            path.read_text()
        torch.save(state(), "out.pt")
    assert list(project.manifest("out.pt").gaps) == ["300 files of raw"]
    assert project.verify("out.pt")


def test_a_declared_file_may_be_read_and_one_that_changes_afterwards_is_a_gap(project: Project) -> None:
    Path("vocab.txt").write_text("a b c")
    with project.init() as run:
        Path(run.input("vocab.txt", role="tokenizer")).read_text()
        torch.save(state(), "out.pt")
        assert project.manifest("out.pt").gaps == {}
        os.system("echo more >> vocab.txt")
        torch.save(state(1), "again.pt")
    assert "vocab.txt" in project.manifest("again.pt").gaps


def test_what_the_run_wrote_itself_is_no_gap_when_it_reads_it(project: Project) -> None:
    with project.init():
        Path("cache.txt").write_text("intermediate")
        Path("cache.txt").read_text()
        torch.save(state(), "out.pt")
    assert project.manifest("out.pt").gaps == {}
