"""A swapper that replaces or alters a checkpoint while it is loaded: no byte that was not verified gets to torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recording import Project

from atlas.errors import AtlasError, FileChanged, VerificationError
from atlas.hooks import loading as loading_module
from atlas.private_copy import copy_verified
from atlas.verify import verify

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

ROUNDS = 6
ELEMENTS = 600_000  # several leaves of a tree


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with Project.at(tmp_path, monkeypatch) as made:
        yield made


def state(value: float) -> dict[str, Any]:
    return {f"layer.{i}.weight": torch.full((ELEMENTS,), value) for i in range(3)}


def is_good(loaded: dict[str, Any]) -> bool:
    return all(bool((tensor == 1.0).all()) for tensor in loaded.values())


def save(value: float, path: str) -> None:
    if path.endswith(".safetensors"):
        safetensors.save_file(state(value), path)
    else:
        torch.save(state(value), path, _use_new_zipfile_serialization=not path.endswith("old.pt"))


class Swapper:
    """Good and evil take turns at one name: by rename, or by writing into the same file."""

    def __init__(self, path: str, *, in_place: bool) -> None:
        self.path, self.in_place = path, in_place
        self.good, self.evil = Path(path).read_bytes(), Path(f"{path}.evil").read_bytes()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def put(self, data: bytes) -> None:
        if self.in_place:
            with open(self.path, "r+b") as file:  # noqa: PTH123
                file.write(data)
        else:
            Path(f"{self.path}.tmp").write_bytes(data)
            os.rename(f"{self.path}.tmp", self.path)  # noqa: PTH104

    def run(self) -> None:
        while not self.stop.is_set():
            self.put(self.evil)
            self.put(self.good)

    def __enter__(self) -> Swapper:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.put(self.good)


LOADS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "torch.load": ("m.pt", torch.load),
    "torch.load with mmap": ("m.pt", lambda path: torch.load(path, mmap=True)),
    "torch.load of a file object": ("m.pt", lambda path: torch.load(open(path, "rb"))),  # noqa: SIM115, PTH123
    "torch.load of the old format": ("old.pt", torch.load),
    "safetensors": ("m.safetensors", safetensors.load_file),
}


@pytest.mark.parametrize("in_place", [True, False], ids=["altered", "replaced"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "hashed again"])
@pytest.mark.parametrize("how", LOADS)
def test_a_file_that_is_swapped_while_it_is_loaded_never_gets_through(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str, kept: bool, in_place: bool
) -> None:
    path, load = LOADS[how]
    with project.init():
        save(1.0, path)
    save(2.0, f"{path}.evil" if not path.endswith("old.pt") else "evil_old.pt")
    if path.endswith("old.pt"):
        shutil.move("evil_old.pt", f"{path}.evil")
    monkeypatch.setattr(loading_module, "KEEP_FROM", 0 if kept else 1 << 60)
    project.init(mode="enforce")
    assert is_good(load(path))
    with Swapper(path, in_place=in_place):
        for _ in range(ROUNDS):
            with contextlib.suppress(VerificationError, FileChanged):
                loaded = load(path)
                assert is_good(loaded)
    Path(path).write_bytes(Path(f"{path}.evil").read_bytes())
    with pytest.raises(VerificationError):
        load(path)


@pytest.mark.parametrize("how", ["torch.load", "torch.load with mmap", "safetensors"])
def test_what_was_loaded_does_not_change_with_the_file_afterwards(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path, load = LOADS[how]
    with project.init():
        save(1.0, path)
    project.init(mode="enforce")
    for keep_from in (0, 1 << 60):
        monkeypatch.setattr(loading_module, "KEEP_FROM", keep_from)
        loaded = load(path)
        good = Path(path).read_bytes()
        Path(path).write_bytes(bytes(len(good)))
        assert is_good(loaded)
        Path(path).write_bytes(good)


def test_a_large_archive_is_read_once_and_torch_gets_that_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second pass and no second copy: every byte is read once, and the tensors lie where it was read to."""
    from atlas import _core
    from atlas.hooks import stream

    with project.init():
        save(1.0, "m.pt")
    size = Path("m.pt").stat().st_size
    read: list[tuple[int, int]] = []

    def counting(fd: int, offset: int, view: Any, *rest: Any) -> bytes:
        read.append((_core.address_of(view), len(view)))
        return _core.read_chunks(fd, offset, view, *rest)

    monkeypatch.setattr(loading_module, "KEEP_FROM", 0)
    monkeypatch.setattr(stream, "_core", type("C", (), {**vars(_core), "read_chunks": staticmethod(counting)}))
    project.init(mode="enforce")
    for options in ({}, {"mmap": True}):
        read.clear()
        loaded = torch.load("m.pt", **options)
        assert sum(n for _, n in read) == size
        start, length = read[0][0], size
        for tensor in loaded.values():
            assert start <= tensor.data_ptr() < start + length
        loaded["layer.0.weight"].add_(1)  # ordinary memory: it can be trained on
        assert bool((loaded["layer.0.weight"] == 2.0).all())


@pytest.mark.parametrize("in_place", [True, False], ids=["altered", "replaced"])
def test_a_private_copy_holds_what_was_verified_or_is_refused(project: Project, tmp_path: Path, in_place: bool) -> None:
    with project.init():
        save(1.0, "m.pt")
    save(2.0, "m.pt.evil")
    good = Path("m.pt").read_bytes()
    with Swapper("m.pt", in_place=in_place):
        for number in range(ROUNDS):
            verdict = verify("m.pt", trust=project.trust)
            place = tmp_path / f"copy{number}"
            place.mkdir()
            with contextlib.suppress(AtlasError):
                assert copy_verified(verdict, place).read_bytes() == good


def test_a_shared_mapping_is_refused_with_the_reason(project: Project) -> None:
    with project.init():
        save(1.0, "m.pt")
    project.init(mode="enforce")
    size = Path("m.pt").stat().st_size
    with pytest.raises(VerificationError, match="others may write to it"):
        torch.UntypedStorage.from_file("m.pt", shared=True, nbytes=size)
