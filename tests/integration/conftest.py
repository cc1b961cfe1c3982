"""The real command, in a process of its own, with a home of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ATLAS, Command
from recording import Project

import atlas as atlas_package


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of this machine's user is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATLAS_", "XDG_"))}
    kept.pop("NO_COLOR", None)
    package = Path(atlas_package.__file__).parent.parent  # works without an installation too
    path = os.pathsep.join(filter(None, (str(package), kept.get("PYTHONPATH"))))
    return {**kept, "HOME": str(tmp_path / "home"), "ATLAS_STORE": str(tmp_path / "store"), "PYTHONPATH": path}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The directory in which commands run."""
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.fixture
def atlas(work: Path, home: dict[str, str]) -> Command:
    """`atlas("verify", "model.pt", ...)`; keyword arguments become variables of the environment."""

    def run(*words: object, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ATLAS, *map(str, words)],
            cwd=work,
            env={**home, **environment},
            capture_output=True,
            text=True,
            input=stdin if stdin is not None else "",
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture
def signed(work: Path, atlas: Command) -> Path:
    """keys/, data/ and a model.pt made from it, both signed by Alice."""
    (work / "data").mkdir()
    (work / "data" / "a.txt").write_text("one\n")
    (work / "data" / "b.txt").write_text("two\n")
    (work / "model.pt").write_bytes(b"weights" * 1000)
    ingredient = ("--role", "training data", "--ingredient", "data")
    for words in (
        ("keygen", "--name", "Alice", "keys"),
        ("sign", "data", "--key", "keys/key.pem"),
        ("sign", "model.pt", "--key", "keys/key.pem", *ingredient),
    ):
        ran = atlas(*words)
        assert ran.returncode == 0, ran.stderr
    return work


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A directory with a key in which programs are recorded, in this process or in one of their own."""
    with Project.at(tmp_path, monkeypatch) as made:
        yield made
