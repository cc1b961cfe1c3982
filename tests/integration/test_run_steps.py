"""What a user says: steps, inputs, outputs, parameters, metrics; and the decorators."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from recording import Project

import atlas
from atlas import Dataset, In, Model, Out
from atlas.errors import AtlasWarning


def write(path: str, text: str = "x") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def test_an_output_declared_after_it_was_written(project: Project) -> None:
    write("raw.txt")
    with project.init() as run:
        run.input("raw.txt", role="raw data")
        write("clean.txt", "clean")
        assert run.output("clean.txt") == Path("clean.txt")
        assert project.verify("clean.txt")
    manifest = project.manifest("clean.txt")
    assert manifest.inputs["raw.txt"]["role"] == "raw data" and "relation" not in manifest.inputs["raw.txt"]
    assert manifest.own("measurement")["source"] == "declared"


def test_an_output_declared_before_it_is_written(project: Project) -> None:
    with project.init() as run, Path(run.output("report.json")).open("w") as file:
        json.dump({"accuracy": 1}, file)
    assert project.verify("report.json")


def test_an_output_declared_while_an_old_one_is_there_is_signed_with_its_new_content(project: Project) -> None:
    write("report.txt", "old")
    with project.init() as run:
        run.output("report.txt")
        write("report.txt", "new")
    assert project.verify("report.txt")


def test_an_output_that_is_written_again_with_the_same_content_is_signed_again(project: Project) -> None:
    write("report.txt", "same")
    with project.init() as run:
        run.output("report.txt")
        write("report.txt", "same")
    assert Path("report.txt.c2pa").exists() and project.verify("report.txt")


def test_an_output_that_is_never_written_is_a_warning_and_a_gap(project: Project) -> None:
    run = project.init()
    run.output("never.txt")
    with pytest.warns(AtlasWarning, match="never written"):
        run.finish()


def test_a_directory_as_output_covers_what_torch_saves_in_it(project: Project) -> None:
    torch = pytest.importorskip("torch")
    with project.init() as run:
        run.output("parts", kind="dataset")
        Path("parts").mkdir()
        for i in range(3):
            torch.save(torch.tensor(i), f"parts/{i}.pt")
    assert sorted(p.name for p in Path("parts").iterdir()) == ["0.pt", "1.pt", "2.pt"]
    manifest = project.manifest("parts")
    assert manifest.own("measurement")["files"] == 3
    assert project.verify("parts")


def test_a_directory_as_input_keeps_its_manifest_with_its_own_ignore_list(project: Project) -> None:
    write("data/a.txt")
    write("data/.git/config")
    with project.init() as run:
        run.output("data", kind="dataset")
    with project.init() as run:
        run.input("data", role="training data")
        write("out.txt")
        run.output("out.txt")
    assert project.manifest("out.txt").has_manifest("data")
    verdict = project.verify("out.txt")
    assert verdict and verdict.unknown == 0 and verdict.measured == 2


def test_a_file_in_a_signed_directory_is_vouched_for_by_it(project: Project) -> None:
    write("data/train.jsonl", "{}")
    write("data/test.jsonl", "[]")
    with project.init() as run:
        run.output("data", kind="dataset")
    with project.init() as run:
        run.input("data/train.jsonl", role="training data")
        write("out.txt")
        run.output("out.txt")
    manifest = project.manifest("out.txt")
    assert list(manifest.inputs) == ["data"] and manifest.has_manifest("data")
    assert manifest.inputs["data"]["role"] == "training data"
    assert project.verify("out.txt").unknown == 0


def test_a_missing_input_is_a_warning_in_observe_and_the_script_goes_on(project: Project) -> None:
    with project.init() as run:
        with pytest.warns(AtlasWarning, match="no such file"):
            run.input("nowhere.txt")
        write("out.txt")
        run.output("out.txt")
    assert "nowhere.txt" in project.manifest("out.txt").gaps


def test_enforce_refuses_a_declared_input_of_unknown_provenance_unless_pinned(project: Project) -> None:
    write("raw.txt", "raw")
    with project.init(mode="enforce") as run:
        with pytest.raises(atlas.VerificationError):
            run.input("raw.txt")
        digest = atlas.measure("raw.txt").flat
        run.input("raw.txt", digest=str(digest))
        write("out.txt")
        run.output("out.txt")
    assert list(project.manifest("out.txt").inputs) == ["raw.txt"]


def test_enforce_refuses_an_altered_directory(project: Project) -> None:
    write("data/a.txt")
    with project.init() as run:
        run.output("data")
    with project.init(mode="enforce") as run:
        run.input("data")
    write("data/b.txt")
    with project.init(mode="enforce") as run, pytest.raises(atlas.VerificationError):
        run.input("data")


def test_metrics_name_their_model_and_their_data(project: Project) -> None:
    write("model.bin")
    write("test.jsonl")
    with project.init() as run:
        run.metrics({"accuracy": 0.9}, of="model.bin", on="test.jsonl")
        write("report.json", "{}")
        run.output("report.json", kind="report")
    manifest = project.manifest("report.json")
    (result,) = manifest.own("metrics")["results"]
    assert (result["name"], result["value"]) == ("accuracy", 0.9)
    assert result["of"] == manifest.inputs["model.bin"]["ingredient"]
    assert result["on"] == manifest.inputs["test.jsonl"]["ingredient"]
    assert manifest.inputs["test.jsonl"]["role"] == "evaluation data"
    assert project.verify("report.json")


def test_metrics_that_come_after_the_output_are_in_its_manifest(project: Project) -> None:
    with project.init() as run:
        write("report.json", "{}")
        run.output("report.json")
        run.metrics(loss=0.5)
    assert project.manifest("report.json").own("metrics")["results"] == [{"name": "loss", "value": 0.5}]


def test_parameters_of_all_kinds(project: Project) -> None:
    import argparse
    from dataclasses import dataclass

    @dataclass
    class Config:
        layers: int = 2
        nested: Any = None

    with project.init() as run:
        run.params(argparse.Namespace(lr=0.1, data=Path("data/x")))
        run.params({"inf": float("inf"), "big": 1 << 70, "set": {2, 1}})
        run.params(config=Config(nested={"a": (1, 2)}))
        write("out.txt")
        run.output("out.txt")
    assert project.manifest("out.txt").run["params"] == {
        "lr": 0.1, "data": "data/x", "inf": "inf", "big": str(1 << 70), "set": [1, 2],
        "config": {"layers": 2, "nested": {"a": [1, 2]}},
    }  # fmt: skip


def test_the_last_values_of_a_log_are_recorded(project: Project) -> None:
    with project.init() as run:
        for i in range(10):
            run.log(step=i, loss=1 / (i + 1))
        write("out.txt")
        run.output("out.txt")
    assert project.manifest("out.txt").run["log"] == {"entries": 10, "last": {"step": 9, "loss": 0.1}}


def test_a_logged_loss_does_not_keep_its_graph(project: Project) -> None:
    torch = pytest.importorskip("torch")
    with project.init() as run:
        x = torch.ones(1, requires_grad=True)
        run.log(loss=(x * 2).sum())
        write("out.txt")
        run.output("out.txt")
        kept = run._recorder.steps.top.log["loss"]
        assert not kept.requires_grad
    assert project.manifest("out.txt").run["log"]["last"] == {"loss": 2.0}


def test_the_manifest_of_an_artifact_is_at_hand(project: Project) -> None:
    with project.init() as run:
        write("out.txt")
        run.output("out.txt")
        assert run.manifest("out.txt").store == Path("out.txt.c2pa").read_bytes()
        with pytest.raises(atlas.errors.NotFound):
            run.manifest("other.txt")


# ----------------------------------------------------------------------------------------------- lifetime


def test_init_called_again_returns_the_live_run(project: Project) -> None:
    run = project.init()
    assert atlas.init() is run
    assert project.init() is run
    with pytest.warns(AtlasWarning, match="key was not used"):
        atlas.init(key="other.pem")
    run.finish()
    again = project.init()
    assert again is not run and again.id != run.id


def test_a_finished_run_accepts_calls_and_does_nothing(project: Project) -> None:
    run = project.init()
    run.finish()
    run.finish()
    write("out.txt")
    run.output("out.txt")
    run.params(a=1)
    with run.step("x"):
        pass
    assert not Path("out.txt.c2pa").exists()


def test_off_records_nothing_and_needs_no_key(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_MODE", "off")
    run = atlas.init()
    write("out.txt")
    with run.step("x"):
        run.output("out.txt")
        run.input("out.txt")
        run.metrics(a=1)
        run.log(a=1)
        run.params(a=1)
    assert run.gaps == () and run.outputs == () and run.doctor() == {"mode": "off"}
    run.finish()
    assert sorted(p.name for p in Path().iterdir()) == ["keys", "out.txt", "pyproject.toml"]


@pytest.mark.parametrize(("options", "text"), [
    ({"key": None}, "no key"),
    ({"mode": "watch"}, "no such mode"),
    ({"attest": "tdx"}, "no such level"),
    ({"log": "log/"}, "is no log of Atlas"),
])  # fmt: skip
def test_what_cannot_work_fails_at_once_with_a_remedy(project: Project, options: dict[str, Any], text: str) -> None:
    with pytest.raises(atlas.AtlasError, match=text) as caught:
        project.init(**options)
    assert caught.value.hint


def test_a_key_that_is_named_and_cannot_be_used_fails_at_once(project: Project) -> None:
    with pytest.raises(atlas.AtlasError):
        project.init(key="keys/nowhere.pem")
    Path("junk.pem").write_text("junk")
    with pytest.raises(atlas.AtlasError):
        project.init(key="junk.pem")
    assert "ATLAS_ATTACH" not in __import__("os").environ


def test_trust_is_never_read_from_the_project(project: Project) -> None:
    Path("pyproject.toml").write_text('[tool.atlas]\ntrust = "evil.pem"\n')
    with pytest.raises(atlas.UsageError, match="must not set trust"):
        project.init()


def test_settings_of_the_project_are_weaker_than_the_environment(project: Project, monkeypatch) -> None:
    Path("pyproject.toml").write_text(
        '[tool.atlas]\nkey = "keys/key.pem"\nname = "from the project"\nexclude = ["*.tmp"]\n'
    )
    with atlas.init() as run:
        write("a.txt")
        run.output("a.txt")
    assert project.manifest("a.txt").run["name"] == "from the project"
    monkeypatch.setenv("ATLAS_NAME", "from the environment")
    with atlas.init() as run:
        run.output("a.txt")
    assert project.manifest("a.txt").run["name"] == "from the environment"


def test_a_signer_may_be_any_function(project: Project) -> None:
    from atlas.sign import load_signer

    inner = load_signer(project.key)
    calls = []

    def kms(data: bytes) -> bytes:
        calls.append(len(data))
        return inner.sign(data)

    with project.init(key=kms, chain=project.root / "keys" / "chain.pem") as run:
        write("out.txt")
        run.output("out.txt")
    assert calls and project.verify("out.txt")


# --------------------------------------------------------------------------------------------- decorators


def test_a_decorated_function_declares_its_ports_and_parameters(project: Project) -> None:
    @atlas.step
    def clean(raw: In[Dataset], out: Out[Dataset], min_len: int = 5) -> str:
        """Docs."""
        write(str(out), Path(raw).read_text().upper())
        return "done"

    write("raw.txt", "raw")
    with project.init():
        assert clean("raw.txt", out="data/clean.txt") == "done"
    manifest = project.manifest("data/clean.txt")
    assert set(manifest.inputs) == {"raw.txt"} and manifest.run["step"] == "clean"
    assert manifest.run["params"] == {"min_len": 5} and manifest.gaps == {}
    assert (clean.__name__, clean.__doc__) == ("clean", "Docs.")
    assert project.verify("data/clean.txt")


def test_steps_of_a_pipeline_link_into_a_chain(project: Project) -> None:
    @atlas.step
    def clean(raw: In[Dataset], out: Out[Dataset]) -> None:
        write(str(out), "clean")

    @atlas.step(name="train")
    def finetune(data: In[Dataset], out: Out[Model], lr: float = 0.1) -> None:
        write(str(out), "model")

    @atlas.pipeline(key=project.key)
    def main() -> None:
        clean("raw.txt", "clean.txt")
        finetune("clean.txt", "model.bin")

    write("raw.txt")
    main()
    manifest = project.manifest("model.bin")
    assert set(manifest.inputs) == {"clean.txt"} and manifest.has_manifest("clean.txt")
    assert manifest.run["name"] == "main" and manifest.run["step"] == "train"
    verdict = project.verify("model.bin")
    assert verdict and len(verdict.nodes) == 2


def test_a_step_without_a_run_begins_one_from_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    @atlas.step
    def make(out: Out[Dataset]) -> None:
        write(str(out))

    with pytest.raises(atlas.UsageError, match="no key"):
        make("out.txt")
    monkeypatch.setenv("ATLAS_KEY", str(project.key))
    make("out.txt")
    atlas.uninstall()
    assert project.verify("out.txt")


def test_a_step_that_fails_signs_nothing_and_says_so(project: Project) -> None:
    @atlas.step
    def fails(out: Out[Dataset]) -> None:
        write(str(out))
        raise ValueError("training diverged")

    with project.init() as run:
        with pytest.raises(ValueError, match="diverged"):
            fails("out.txt")
        journal = next(iter(Path(run._recorder.directory).glob("*.journal"))).read_text()
        assert '"status":"failed"' in journal
    assert not Path("out.txt.c2pa").exists()


def test_coroutines_that_run_at_the_same_time_keep_their_inputs_apart(project: Project) -> None:
    @atlas.step
    async def work(source: In[Dataset], out: Out[Dataset]) -> int:
        await asyncio.sleep(0.01)
        write(str(out), Path(source).read_text())
        await asyncio.sleep(0.01)
        return 1

    async def main() -> list[int]:
        return await asyncio.gather(*(work(f"in{i}.txt", f"out{i}.txt") for i in range(3)))

    for i in range(3):
        write(f"in{i}.txt", str(i))
    with project.init():
        assert asyncio.run(main()) == [1, 1, 1]
    for i in range(3):
        assert set(project.manifest(f"out{i}.txt").inputs) == {f"in{i}.txt"}


def test_a_generator_is_a_step_while_it_runs_and_not_while_its_caller_does(project: Project) -> None:
    @atlas.step
    def produce(source: In[Dataset], out: Out[Dataset]):
        got = yield 1
        assert got == "sent"
        yield 2
        write(str(out))
        return "end"

    write("in.txt")
    write("other.txt")
    with project.init() as run:
        generator = produce("in.txt", "out.txt")
        assert next(generator) == 1
        run.input("other.txt")  # the caller's own
        assert run._recorder.steps.current() is run._recorder.steps.top
        assert generator.send("sent") == 2
        with pytest.raises(StopIteration) as stop:
            next(generator)
        assert stop.value.value == "end"
    manifest = project.manifest("out.txt")
    assert "relation" not in manifest.inputs["in.txt"]
    assert manifest.inputs["other.txt"]["relation"] == "loaded earlier in this process"


def test_an_async_generator_is_a_step(project: Project) -> None:
    @atlas.step
    async def produce(out: Out[Dataset]):
        yield 1
        write(str(out))
        yield 2

    async def main() -> list[int]:
        return [item async for item in produce("out.txt")]

    with project.init():
        assert asyncio.run(main()) == [1, 2]
    assert project.manifest("out.txt").run["step"] == "produce"
