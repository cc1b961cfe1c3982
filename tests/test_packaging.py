"""What is shipped: a source distribution that can be built from, and one version everywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import atlas

ROOT = Path(__file__).parent.parent
SHIPPED = ["pyproject.toml", "setup.py", "README.md", "LICENSE"]
NOT_SHIPPED = shutil.ignore_patterns("*.so", "build", "__pycache__")


def sources(folder: Path, *patterns: str) -> set[str]:
    found = [path for pattern in patterns for path in folder.rglob(pattern)]
    return {path.relative_to(folder.parent).as_posix() for path in found if "build" not in path.parts}


def test_a_source_distribution_holds_every_file_that_the_build_needs(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    for name in SHIPPED:
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("atlas", "csrc"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=NOT_SHIPPED)
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", "dist"]
    made = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    archive = next((tmp_path / "dist").glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = sources(ROOT / "atlas", "*.py", "*.pyi", "py.typed") | sources(ROOT / "csrc", "*.c", "*.h")
    assert len(wanted) > 100 and wanted | set(SHIPPED) <= names, sorted(wanted - names)


def test_the_package_has_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == atlas.__version__
    assert f"## {atlas.__version__}" in (ROOT / "docs" / "CHANGELOG.md").read_text()
