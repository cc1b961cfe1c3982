"""A project directory in which programs are recorded, and what their manifests say."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas import _core
from atlas.model import Verdict
from atlas.record.run import Run
from atlas.sign import keygen
from atlas.store import Store

PACKAGE = Path(atlas.__file__).parent.parent
NAMESPACE = "org.atlasml"


class Manifest:
    """A manifest taken apart, by label."""

    def __init__(self, store: bytes) -> None:
        self.store = store
        self.urn: str = _core.store_read(store)[-1]["urn"]
        self.assertions: dict[str, Any] = {a["label"]: a["content"] for a in _core.store_read(store)[-1]["assertions"]}

    def own(self, label: str) -> Any:
        return self.assertions.get(f"{NAMESPACE}.{label}", {})

    @property
    def name(self) -> str:
        return str(self.own("measurement")["name"])

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.own("inputs").get("inputs", [])}

    def ingredient(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.assertions[self.inputs[name]["ingredient"]]
        return found

    def has_manifest(self, name: str) -> bool:
        """Embedded or referred to: not of unknown provenance."""
        ingredient = self.ingredient(name)
        return "activeManifest" in ingredient or "data" in ingredient

    @property
    def gaps(self) -> dict[str, str]:
        return {gap["what"]: gap["reason"] for gap in self.own("coverage")["gaps"]}

    @property
    def loaders(self) -> list[dict[str, Any]]:
        return list(self.own("data-use").get("loaders", []))

    @property
    def run(self) -> dict[str, Any]:
        return dict(self.own("run"))


class Project:
    def __init__(self, root: Path, store: Path) -> None:
        self.root = root
        self.store = Store(store)
        self.key = root / "keys" / "key.pem"
        self.trust = root / "keys" / "root.pem"

    @classmethod
    @contextlib.contextmanager
    def at(cls, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
        root = place / "project"
        root.mkdir()
        for name in list(os.environ):
            if name.startswith("ATLAS_") and name != "ATLAS_VECTORS":
                monkeypatch.delenv(name)
        monkeypatch.setenv("ATLAS_STORE", str(place / "store"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
        monkeypatch.chdir(root)
        (root / "pyproject.toml").write_text("")
        keygen("Alice", root / "keys")
        try:
            yield cls(root, place / "store")
        finally:
            atlas.uninstall()

    def init(self, **options: Any) -> Run:
        return atlas.init(**({"key": self.key} | options))

    def manifest(self, path: str | Path) -> Manifest:
        return Manifest(Path(f"{path}.c2pa").read_bytes())

    def find(self, path: str | Path) -> list[Manifest]:
        """From the store alone, by digest; the newest first."""
        measured = atlas.measure(path)
        assert measured.flat is not None
        found = [self.store.get(entry.sha256) for entry in self.store.find(measured.flat)]
        return [Manifest(data) for data in found if data is not None]

    def verify(self, path: str | Path, **options: Any) -> Verdict:
        return atlas.verify(path, **({"trust": self.trust} | options))

    def python(
        self, program: str, *arguments: str, check: bool = True, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of its own in the project."""
        script = self.root / f"program_{len(list(self.root.glob('program_*.py')))}.py"
        script.write_text(textwrap.dedent(program))
        return self.run([sys.executable, str(script), *arguments], check=check, **environ)

    def run(self, command: list[str], *, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
        ran = subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": path, "ATLAS_KEY": str(self.key), "OMP_NUM_THREADS": "1", **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or ran.returncode == 0, ran.stderr
        return ran
