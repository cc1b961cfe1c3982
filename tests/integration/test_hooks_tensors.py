"""Saved models have the root of their tensor table in their manifest, and the table in the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recording import Project

from atlas.tensors import table_of_file, table_of_state
from atlas.tensors.models import model_of

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with Project.at(tmp_path, monkeypatch) as made:
        yield made


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(50, 30), torch.nn.Linear(30, 2))


def root_of(project: Project, path: str) -> bytes | None:
    root: bytes | None = project.manifest(path).own("measurement").get("tensors")
    return root


@pytest.mark.parametrize("how", ["torch", "file object", "safetensors"])
def test_a_saved_model_states_its_tensors(project: Project, how: str) -> None:
    project.init()
    state = model().state_dict()
    if how == "safetensors":
        safetensors.save_file(state, "m.safetensors")
        path = "m.safetensors"
    elif how == "torch":
        torch.save(state, "m.pt")
        path = "m.pt"
    else:
        with Path("m.pt").open("wb") as file:
            torch.save(state, file)
        path = "m.pt"
    table = table_of_file(path)
    assert table.encoded == table_of_state(state).encoded
    assert root_of(project, path) == table.root
    assert model_of(f"{path}.c2pa", store=project.store).table.encoded == table.encoded
    verdict = project.verify(path)
    assert verdict
    assert "org.atlasml.tensors.match" in {check.code for check in verdict.checks}


def test_what_has_no_table_is_signed_without_one(project: Project) -> None:
    project.init()
    torch.save(model(), "module.pt")
    torch.save(model().state_dict(), "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save([torch.ones(3)], "data.pt")
    for path in ("module.pt", "legacy.pt", "data.pt"):
        assert root_of(project, path) is None
        verdict = project.verify(path)
        assert verdict
        assert not any(check.code.startswith("org.atlasml.tensors") for check in verdict.checks)


def test_a_child_that_saves_hands_its_table_on(project: Project) -> None:
    project.python(
        """
        import os
        import atlas, torch
        run = atlas.init(key="keys/key.pem")
        if os.fork() == 0:
            torch.save({"layer.weight": torch.ones(3)}, "m.pt")
            os._exit(0)
        os.wait()
        run.finish()
        """
    )
    assert root_of(project, "m.pt") == table_of_file("m.pt").root
    assert model_of("m.pt.c2pa", store=project.store).table


def large_model() -> dict[str, Any]:
    torch.manual_seed(0)
    state = {f"layer.{i}.weight": torch.randn(1 << n) for i, n in enumerate((3, 12, 17, 20, 21, 22, 22, 20))}
    return state | {"t.weight": torch.randn(700, 900).t(), "tied.weight": state["layer.3.weight"]}


@pytest.mark.parametrize("how", ["path", "file", "legacy", "memory"])
def test_what_is_hashed_while_it_is_written_is_what_stands_in_the_file(project: Project, how: str) -> None:
    import hashlib
    import io

    state = large_model()
    project.init()
    if how == "memory":
        buffer = io.BytesIO()
        torch.save(state, buffer)
        Path("m.pt").write_bytes(buffer.getvalue())
        manifest = project.find("m.pt")[0]
    else:
        if how == "file":
            with Path("m.pt").open("wb") as file:
                torch.save(state, file)
        else:
            torch.save(state, "m.pt", _use_new_zipfile_serialization=how == "path")
        manifest = project.manifest("m.pt")
    data = Path("m.pt").read_bytes()
    assert manifest.assertions["c2pa.hash.data"]["hash"] == hashlib.sha256(data).digest()
    assert project.verify("m.pt")
    loaded = torch.load("m.pt")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    if how in ("path", "file"):
        assert root_of(project, "m.pt") == table_of_state(state).root


def test_weights_that_change_while_they_are_saved_accuse_nobody(project: Project) -> None:
    """Who trains on while another thread saves has torn weights in the file, and a manifest that fits them."""
    import threading

    state = {f"layer.{i}.weight": torch.randn(1 << 20) for i in range(8)}
    stop = threading.Event()

    def train() -> None:
        while not stop.is_set():
            for tensor in state.values():
                tensor.add_(1)

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        project.init()
        for _ in range(4):
            torch.save(state, "m.pt")
            assert project.verify("m.pt").answer == "VALID"
    finally:
        stop.set()
        trainer.join()
