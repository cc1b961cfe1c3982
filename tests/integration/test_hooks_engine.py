"""Hooks go in and come out: what was there before is there again, the very same objects."""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from recording import Project

import atlas
from atlas.hooks.engine import Engine, HookPoint, like

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

for late in ("safetensors.numpy", "safetensors.torch", "torch.distributed.checkpoint.filesystem", "torch.export"):
    importlib.import_module(late)


def attributes() -> dict[str, Any]:
    """What stands at every hook point: the object in the holder's own dictionary, or its absence."""
    from atlas.hooks import Hooks

    run = atlas.recorder.live()
    assert run is not None
    points = Hooks(run._recorder)._engine._points
    return {point.id: (point.module, point.attribute) for point in points}


def standing(where: dict[str, tuple[str, str]]) -> dict[str, Any]:
    found = {}
    for identifier, (module, dotted) in where.items():
        holder: Any = sys.modules.get(module)
        *parents, name = dotted.split(".")
        for parent in parents:
            holder = getattr(holder, parent, None)
        found[identifier] = vars(holder).get(name, "absent") if holder is not None else "no module"
    return found


def test_uninstall_restores_every_attribute_by_identity(project: Project) -> None:
    project.init()
    where = attributes()
    hooked = standing(where)
    atlas.uninstall()
    plain = standing(where)
    assert not any(
        "/atlas/" in getattr(getattr(value, "__code__", None), "co_filename", "") for value in plain.values()
    )
    assert sum(hooked[i] is not plain[i] for i in where) >= 20
    project.init()
    atlas.uninstall()
    again = standing(where)
    assert all(again[i] is plain[i] for i in where)
    assert not any(type(finder).__module__.startswith("atlas") for finder in sys.meta_path)


def test_every_hook_point_is_live_with_this_torch(project: Project) -> None:
    with project.init() as run:
        states = {hook["id"]: hook["state"] for hook in run.doctor()["hooks"]}
    assert set(states.values()) == {"live"}, states


def test_torch_behaves_as_before_afterwards(project: Project) -> None:
    state = {"a.w": torch.arange(4.0)}
    before = io.BytesIO()
    torch.save(state, before)
    torch.save(state, "before.pt")
    with project.init():
        torch.save(state, "during.pt")
    after = io.BytesIO()
    torch.save(state, after)
    plain = Path("before.pt").read_bytes()
    torch.save(state, "before.pt")
    assert before.getvalue() == after.getvalue()
    assert Path("before.pt").read_bytes() == plain
    assert not Path("before.pt.c2pa").exists()
    assert torch.equal(torch.load("during.pt")["a.w"], state["a.w"])
    step = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    step.step()


def test_hooks_are_out_after_the_run_is_finished(project: Project) -> None:
    original = torch.serialization._open_zipfile_writer
    with project.init():
        assert torch.serialization._open_zipfile_writer is not original
    assert torch.serialization._open_zipfile_writer is original


def test_hooked_functions_look_like_what_they_replace(project: Project) -> None:
    original = torch.serialization._open_file_like
    with project.init():
        ours = torch.serialization._open_file_like
        assert inspect.signature(ours) == inspect.signature(original)
        assert (ours.__name__, ours.__doc__, ours.__module__) == (
            original.__name__,
            original.__doc__,
            original.__module__,
        )
        assert pickle.loads(pickle.dumps(torch.save)) is torch.save
        assert pickle.loads(pickle.dumps(ours)) is ours


def test_a_hook_that_somebody_wrapped_stays_and_passes_through(project: Project) -> None:
    original = torch.serialization._open_zipfile_writer
    project.init()
    ours = torch.serialization._open_zipfile_writer
    torch.serialization._open_zipfile_writer = functools.partial(ours)
    atlas.uninstall()
    try:
        torch.save({"a.w": torch.zeros(1)}, "model.pt")
        assert torch.equal(torch.load("model.pt")["a.w"], torch.zeros(1))
        assert not Path("model.pt.c2pa").exists()
    finally:
        torch.serialization._open_zipfile_writer = original


def engine(point: HookPoint) -> tuple[Engine, list[str]]:
    failures: list[str] = []
    return Engine([point], lambda what, error: failures.append(f"{what}: {error}")), failures


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "hooked_module.py").write_text(
        "def f():\n    'doc'\n    return 1\nclass C:\n    @staticmethod\n    def s():\n        return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hooked_module", raising=False)
    importlib.invalidate_caches()
    return "hooked_module"


def plus_one(original: Any) -> Any:
    return like(original, lambda: original() + 1)


def test_a_module_that_comes_later_is_hooked_when_it_comes(module: str) -> None:
    made, _ = engine(HookPoint("x", module, "f", plus_one))
    made.install()
    assert made.status()[0].state == "waiting"
    imported = importlib.import_module(module)
    assert imported.f() == 2 and made.status()[0].state == "live"
    assert "finder" not in repr(imported.__spec__.loader).lower() and imported.__loader__ is imported.__spec__.loader
    assert "def f()" in inspect.getsource(imported)
    made.uninstall()
    assert imported.f() == 1 and imported.f.__doc__ == "doc"


def test_static_methods_stay_static(module: str) -> None:
    imported = importlib.import_module(module)
    made, _ = engine(HookPoint("x", module, "C.s", plus_one))
    made.install()
    assert imported.C.s() == imported.C().s() == 2
    made.uninstall()
    assert imported.C.s() == 1 and isinstance(vars(imported.C)["s"], staticmethod)


def test_an_inherited_attribute_is_inherited_again_afterwards() -> None:
    class Base:
        def f(self) -> int:
            return 1

    class Derived(Base):
        pass

    fake = types.ModuleType("fake_for_hooks")
    fake.Derived = Derived  # type: ignore[attr-defined]
    sys.modules["fake_for_hooks"] = fake
    try:
        made, _ = engine(
            HookPoint("x", "fake_for_hooks", "Derived.f", lambda original: lambda self: original(self) + 1)
        )
        made.install()
        assert (Derived().f(), Base().f()) == (2, 1)
        made.uninstall()
        assert Derived().f() == 1 and "f" not in vars(Derived)
    finally:
        del sys.modules["fake_for_hooks"]


def test_an_attribute_that_is_not_there_is_reported(module: str) -> None:
    importlib.import_module(module)
    made, failures = engine(HookPoint("x", module, "nowhere", plus_one))
    made.install()
    assert made.status()[0].state == "broken" and failures
    optional, failures = engine(HookPoint("x", module, "nowhere", plus_one, optional=True))
    optional.install()
    assert optional.status()[0].state == "missing" and failures == []
    made.uninstall()
    optional.uninstall()
