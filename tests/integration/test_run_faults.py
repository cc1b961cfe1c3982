"""Observe mode: whatever fails in Atlas, training goes on, with one warning and a recorded gap."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from recording import Project

import atlas
from atlas.errors import AtlasWarning, SystemFailure

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(torch.nn.Linear(4, 4).state_dict())


def train(project: Project) -> None:
    """An ordinary script that reads and writes three times; everything it does must work."""
    for i in range(3):
        Path("notes.txt").write_text("epoch")
        assert Path("notes.txt").read_text() == "epoch"
        torch.save(state(i), f"out{i}.pt")
        loaded = torch.load(f"out{i}.pt")
        assert torch.equal(loaded["weight"], state(i)["weight"])
        for _ in DataLoader(TensorDataset(torch.zeros(4)), batch_size=2):
            pass


@contextmanager
def one_warning(match: str) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    ours = [str(w.message) for w in caught if issubclass(w.category, AtlasWarning)]
    assert len(ours) == 1, ours
    assert match in ours[0]


def fails(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError("injected")


# every place where hooks enter our code, and what stands behind it
INJECTED = [
    ("atlas.record.attesting.sign_manifest", "recording an artifact failed"),
    ("atlas.record.outputs.assemble", "recording an artifact failed"),
    ("atlas.record.outputs.write_sidecar", "writing a manifest beside its artifact failed"),
    ("atlas.store.Store.put", "keeping records in the store failed"),
    ("atlas.record.journal.Journal.append", "keeping records in the store failed"),
    ("atlas.hooks.saving.Saving._open", "hashing what is saved failed"),
    ("atlas.hooks.saving.Saving.saw", "recording an artifact failed"),
    ("atlas.hooks.saving.Saving._complete", "recording an artifact failed"),
    ("atlas.hooks.saving.MeasuredWriter._hash", "hashing what is saved failed"),
    ("atlas.hooks.loading.Loading.__init__", "recording an input failed"),
    ("atlas.hooks.loading.Loading._complete", "recording an input failed"),
    ("atlas.hooks.loading.MeasuredReader.finish", "recording an input failed"),
    ("atlas.record.inputs.examine", "recording an input failed"),
    ("atlas.record.ledger.Ledger.add", "recording an input failed"),
    ("atlas.hooks.data.LoaderHooks._use_for", "counting the samples of a DataLoader failed"),
    ("atlas.hooks.data.LoaderHooks._commit", "counting the samples of a DataLoader failed"),
    ("atlas.hooks.identity.Identifier.identify", "counting the samples of a DataLoader failed"),
    ("atlas.hooks.files.FileHooks._event", "watching files failed"),
    ("atlas.record.context.Context.record", "recording an artifact failed"),
    ("atlas.record.steps.Steps.current", "failed"),
]


@pytest.mark.parametrize(("place", "text"), INJECTED, ids=[place.removeprefix("atlas.") for place, _ in INJECTED])
def test_a_bug_anywhere_in_our_code_is_one_warning_and_a_gap(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str, text: str
) -> None:
    run = project.init()
    if place.endswith("MeasuredWriter._hash"):
        monkeypatch.setattr("atlas.hooks.writer._core.Measurer", lambda **_: type("M", (), {"update": fails})())
    else:
        monkeypatch.setattr(place, fails)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(project)
    monkeypatch.undo()
    ours = {str(w.message) for w in caught if issubclass(w.category, AtlasWarning)}
    kinds = {message.split(" failed")[0] for message in ours}
    assert len(kinds) == len(ours) >= 1, ours  # one for each kind of failure, however often it failed
    assert any(text in message for message in ours), ours
    if place != "atlas.record.steps.Steps.current":
        assert any("injected" in gap.reason for gap in run.gaps)


# What a bug in which cannot be survived: the bytes themselves pass through it, or it is what survives the others.
LOAD_BEARING = {
    "atlas.hooks.lane": {"Lane"},
    "atlas.hooks.writer": {"MeasuredWriter", "_lies_in", "_threads"},
    "atlas.hooks.stream": {"MeasuredReader", "FileSource", "ObjectSource", "Source"},
    "atlas.hooks.engine": {"Engine", "_Finder", "_Loader", "HookPoint", "HookStatus", "_Patch", "like"},
    "atlas.hooks.saving": {"Saving.__enter__", "Saving.__exit__", "Closed", "_Records"},
    "atlas.hooks.loading": {"Loading.__enter__", "Loading.__exit__"},
    "atlas.hooks.torch": {"TorchHooks._begin_save", "TorchHooks._begin_load", "TorchHooks._stack", "TorchHooks._saved",
                          "TorchHooks._loaded", "TorchHooks.passing_through", "_is_missing"},
    "atlas.hooks.data": {"LoaderHooks._before", "LoaderHooks._after", "LoaderHooks._begin"},
    "atlas.hooks.files": {"FileHooks._away", "FileHooks.event", "FileHooks._begin_move", "FileHooks._removed", "_path"},
    "atlas.hooks.safetensors": {"SafetensorsHooks._away", "SafetensorsHooks._observed", "SafetensorsHooks._enforced"},
    "atlas.hooks.processes": {"_is_worker"},
    "atlas.record.guard": {"Guard", "shown", "describe", "_stacklevel"},
    "atlas.record.recorder": {"Recorder.own", "Recorder.entry", "Recorder.guard", "Recorder._failure"},
    "atlas.record.net": {"_audit", "listen"},
    "atlas.record.run": {"Run", "OffRun", "StepScope"},
}  # fmt: skip


def functions() -> Iterator[tuple[str, Any, str]]:
    """Every function and method of the recorder and its hooks that a running program calls."""
    import importlib
    import inspect
    import pkgutil

    import atlas.hooks
    import atlas.record

    for package in (atlas.record, atlas.hooks):
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            module = importlib.import_module(info.name)
            spared = LOAD_BEARING.get(info.name, set())
            for name, value in vars(module).items():
                if getattr(value, "__module__", "") != info.name or name in spared:
                    continue
                if inspect.isfunction(value):
                    yield f"{info.name}.{name}", module, name
                elif inspect.isclass(value):
                    for method, inner in vars(value).items():
                        if inspect.isfunction(inner) and f"{name}.{method}" not in spared:
                            yield f"{info.name}.{name}.{method}", value, method


def everything(run: Any) -> None:
    """Each hook once; every assertion is about the program, none about Atlas."""
    safetensors = pytest.importorskip("safetensors.torch")
    base = {"weight": torch.ones(3)}
    torch.save(base, "a.pt")
    os.replace("a.pt", "b.pt")  # noqa: PTH105
    assert torch.equal(torch.load("b.pt", mmap=True)["weight"], base["weight"])
    safetensors.save_file(base, "c.safetensors")
    assert torch.equal(safetensors.load_file("c.safetensors")["weight"], base["weight"])
    with run.step("step"):
        run.input("b.pt")
        run.params(a=1)
        run.metrics(a=1)
        run.log(a=1)
        assert len(list(DataLoader(TensorDataset(torch.zeros(4)), batch_size=2))) == 2
        Path("d.txt").write_text("d")
        run.output("d.txt")
    os.remove("b.pt")  # noqa: PTH107
    run.finish()


def called_by(action: Any) -> set[Any]:
    """The code objects that ran, in every thread."""
    seen: set[Any] = set()

    def note(frame: Any, event: str, _argument: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return seen


def test_no_function_of_ours_can_break_training(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in turn raises whenever it is called; the script does not notice."""
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # hundreds of runs: durability is not what is tested here
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as store:
        run = project.init(store=store)
        seen = called_by(lambda: everything(run))
        tried = [(place, holder, name) for place, holder, name in functions() if code_of(holder, name) in seen]
        broke: dict[str, str] = {}
        for place, holder, name in tried:
            run = project.init(store=store)
            with warnings.catch_warnings(), monkeypatch.context() as patch:
                warnings.simplefilter("ignore")
                patch.setattr(holder, name, fails)
                try:
                    everything(run)
                except Exception as error:
                    broke[place] = repr(error)
            atlas.uninstall()
    assert not broke, "\n".join(f"{place}: {error}" for place, error in broke.items())
    assert len(tried) > 150


def code_of(holder: Any, name: str) -> Any:
    return getattr(holder, name).__code__


def test_warnings_that_are_errors_do_not_break_training(project: Project, monkeypatch, capsys) -> None:
    project.init()
    monkeypatch.setattr("atlas.record.attesting.sign_manifest", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(project)
    assert "atlas:" in capsys.readouterr().err


def test_the_gap_stands_in_the_next_manifest(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with project.init():
        with one_warning("injected"), monkeypatch.context() as patch:
            patch.setattr("atlas.record.attesting.sign_manifest", fails)
            torch.save(state(), "lost.pt")
        torch.save(state(1), "next.pt")
    assert "injected" in project.manifest("next.pt").gaps["lost.pt"]
    assert project.verify("next.pt")


def test_a_signer_that_is_gone_costs_the_manifest_and_not_the_model(project: Project) -> None:
    from atlas.sign import load_signer

    inner = load_signer(project.key)
    broken: list[bool] = []

    def kms(data: bytes) -> bytes:
        if broken:
            raise ConnectionError("the KMS does not answer")
        return inner.sign(data)

    with project.init(key=kms, chain=project.root / "keys" / "chain.pem"):
        broken.append(True)
        with one_warning("KMS does not answer"):
            torch.save(state(1), "a.pt")
            torch.save(state(2), "b.pt")
        broken.clear()
        torch.save(state(3), "c.pt")
    assert torch.equal(torch.load("a.pt")["weight"], state(1)["weight"])
    assert not Path("a.pt.c2pa").exists()
    assert set(project.manifest("c.pt").gaps) == {"a.pt", "b.pt"}


def test_a_sidecar_that_cannot_be_written_leaves_the_manifest_in_the_store(project: Project) -> None:
    Path("out.pt.c2pa.old").mkdir()
    with project.init() as run:
        Path("out.pt.c2pa").mkdir()
        Path("out.pt.c2pa/in the way").touch()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.save(state(), "out.pt")
        assert len([w for w in caught if w.category is AtlasWarning]) >= 1
        assert run.gaps
    assert len(project.find("out.pt")) == 1


def test_a_read_only_directory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so the refusal is injected where the sidecar is made."""
    Path("frozen").mkdir()
    Path("frozen/data.txt").write_text("data")

    def refuse(path: Path, *_args: Any, **_kwargs: Any) -> None:
        raise SystemFailure("cannot be written: Read-only file system", where=str(path))

    with project.init() as run:
        with one_warning("Read-only"), monkeypatch.context() as patch:
            patch.setattr("atlas.record.outputs.write_sidecar", refuse)
            run.output("frozen/data.txt")
            run.output("frozen/data.txt")
        torch.save(state(), "next.pt")
    assert "Read-only" in project.manifest("next.pt").gaps["frozen/data.txt"]
    assert project.verify("frozen/data.txt").answer == "VALID"  # from the store


def test_a_read_only_directory_for_somebody_who_is_not_root(project: Project) -> None:
    if os.geteuid() == 0 and subprocess.run(["runuser", "-u", "nobody", "true"], check=False).returncode != 0:
        pytest.skip("needs a user other than root")
    if os.geteuid() != 0:
        pytest.skip("covered by the injected refusal")
    os.chmod(project.root.parent, 0o755)  # noqa: PTH101
    program = project.root / "p.py"
    program.write_text(
        "import atlas, sys, warnings\n"
        "run = atlas.init()\n"
        "with warnings.catch_warnings(record=True) as w:\n"
        "    warnings.simplefilter('always')\n"
        "    run.output('data.txt')\n"
        "print([str(x.message) for x in w])\n"
        "assert len(w) == 1 and 'Permission denied' in str(w[0].message), w\n"
        "assert any('Permission denied' in g.reason for g in run.gaps)\n"
    )
    (project.root / "data.txt").write_text("data")
    keys = project.root / "keys"
    for path in (keys, *keys.rglob("*")):
        os.chmod(path, 0o755)  # noqa: PTH101
    store = project.root.parent / "nobody"
    store.mkdir(mode=0o777)
    os.chmod(store, 0o777)  # noqa: PTH101
    command = ["runuser", "-u", "nobody", "--preserve-environment", "--", sys.executable, str(program)]
    reach = subprocess.run([*command[:-1], "-c", "import atlas"], check=False, capture_output=True,
                           env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})  # fmt: skip
    if reach.returncode != 0:
        pytest.skip("that user cannot read this installation")
    ran = project.run(command, ATLAS_STORE=str(store), HOME=str(store), check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not (project.root / "data.txt.c2pa").exists()


def test_a_full_disk_after_the_model_was_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with project.init():
        with monkeypatch.context() as patch:
            patch.setattr("atlas.sidecar.os.fsync", full)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                torch.save(state(1), "a.pt")
                torch.save(state(2), "b.pt")
        texts = [str(w.message) for w in caught if w.category is AtlasWarning]
        assert len(texts) == 2  # one for the store, one for the sidecars
        torch.save(state(3), "c.pt")
    assert torch.equal(torch.load("b.pt")["weight"], state(2)["weight"])
    assert "No space left" in project.manifest("c.pt").gaps["a.pt"]


def test_a_real_full_disk(project: Project) -> None:
    """A limit on the size of files makes every write beyond it fail; the model fits, Atlas' own files do not."""
    ran = project.python(
        """
        import resource, signal, sys, warnings
        import atlas, torch
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        state = {"a.w": torch.zeros(8)}
        run = atlas.init()
        torch.save(state, "probe.pt")
        import os
        size = os.path.getsize("probe.pt")
        assert os.path.getsize("probe.pt.c2pa") > size
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8, resource.RLIM_INFINITY))
            for i in range(3):
                torch.save({"a.w": torch.full((8,), float(i))}, "model.pt")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        kinds = [str(w.message).split(" failed")[0] for w in caught]
        assert kinds and len(kinds) == len(set(kinds)), kinds
        assert torch.load("model.pt")["a.w"][0] == 2.0
        assert run.gaps
        torch.save(state, "after.pt")
        """
    )
    assert ran.returncode == 0
    assert not Path("model.pt.c2pa").exists()
    assert any("File too large" in reason for reason in project.manifest("after.pt").gaps.values())


def test_the_users_own_full_disk_is_the_users_error(project: Project) -> None:
    ran = project.python(
        """
        import resource, signal
        import atlas, torch
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        torch.save({"a.w": torch.zeros(10)}, "warm.pt")
        run = atlas.init()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        try:
            torch.save({"a.w": torch.zeros(1_000_000)}, "model.pt")
        except (OSError, RuntimeError) as error:
            print("failed as without Atlas:", type(error).__name__)
        else:
            raise SystemExit("a truncated file was saved without an error")
        """
    )
    assert "failed as without Atlas" in ran.stdout
    assert not Path("model.pt.c2pa").exists()


def test_a_locked_index_of_the_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.catalog.BUSY_SECONDS", 0.1)
    with project.init() as run:
        torch.save(state(), "first.pt")
        run._recorder.store._catalog._busy = 0.1
        blocker = sqlite3.connect(project.store.directory / "index.sqlite", isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        torch.save(state(1), "second.pt")
        blocker.execute("ROLLBACK")
    assert project.verify("second.pt")
    assert len(project.find("second.pt")) == 1


def test_a_store_that_is_gone(project: Project) -> None:
    import shutil

    with project.init():
        torch.save(state(), "first.pt")
        shutil.rmtree(project.store.directory)
        project.store.directory.write_text("a file where the store was")
        with one_warning("keeping records in the store failed"):
            torch.save(state(1), "second.pt")
            torch.save(state(2), "third.pt")
    assert project.verify("third.pt")  # the sidecar is there
    assert any("store" in reason for reason in project.manifest("third.pt").gaps.values())


def test_a_store_that_was_never_there(project: Project) -> None:
    Path("file").write_text("")
    with one_warning("keeping records in the store failed"), project.init(store="file/store"):
        torch.save(state(), "out.pt")
    assert project.verify("out.pt")


def test_a_gap_that_cannot_be_recorded_is_still_one_warning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.init()
    with one_warning("could not be recorded either: RuntimeError"), monkeypatch.context() as patch:
        patch.setattr("atlas.record.attesting.sign_manifest", fails)
        patch.setattr("atlas.record.ledger.Ledger.gap", fails)
        torch.save(state(1), "a.pt")
        torch.save(state(2), "b.pt")


def test_the_end_of_the_run_never_raises(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = project.init()
    with one_warning("ending the run failed"), monkeypatch.context() as patch:
        patch.setattr("atlas.record.outputs.Outputs.settle", fails)
        run.finish()
    assert not run.live
