"""What README and docs say is true: their commands run, their tables are complete, their output is real."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from case_study import ROOT, environment, quick

from atlas import errors

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md")), *sorted((ROOT / "examples").glob("**/*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SLOW = {"make demo", "make test", "make setup"}  # run by people and CI, not by a test of the same suite


def shape(text: str) -> list[str]:
    """Lines without what differs from run to run: digests, names by chance, numbers, sizes, spacing."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|h'[0-9a-f]{8}|\b[0-9a-f]{64}\b", "#", text)
    text = re.sub(r"\d[\d,.:TZ-]*", "#", text)
    text = re.sub(r"# ?([KMG]i)?B\b", "# B", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


# ---------------------------------------------------------------------------------------------- commands in pages


@dataclass
class Command:
    line: str
    expected: list[str] = field(default_factory=list)


def commands(block: str) -> Iterator[Command]:
    command: Command | None = None
    for line in block.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command
            command = Command(line[2:].split("  #")[0].strip())
        elif command is not None:
            command.expected.append(line)
    if command is not None:
        yield command


def assert_shown(command: Command, shown: str) -> None:
    """The output that the page shows is the output; `...` stands for any number of lines."""
    actual = shape(shown)
    pieces: list[list[str]] = [[]]
    for line in command.expected:
        if line.strip() == "...":
            pieces.append([])
        else:
            pieces[-1] += shape(line)
    assert actual[: len(pieces[0])] == pieces[0], f"{command.line}\n{shown}"
    if len(pieces) == 1:
        assert actual == pieces[0], f"{command.line}\n{shown}"
    for piece in pieces[1:]:
        missing = [line for line in piece if line not in actual]
        assert not missing, f"{command.line}: {missing} not in\n{shown}"


def programs(place: Path) -> Path:
    """`atlas`, `python` and `pytest` as this interpreter has them, also where the package is not installed."""
    folder = place / "bin"
    folder.mkdir()
    python = shlex.quote(sys.executable)
    plugin = "" if any(e.name == "atlas" for e in entry_points(group="pytest11")) else "-p atlas.pytest_plugin"
    for name, words in {"python": "", "atlas": "-m atlas", "pytest": f"-m pytest {plugin}"}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {python} {words} "$@"\n')
        script.chmod(0o755)
    return folder


def has_commands(page: Path) -> bool:
    return any(kind == "console" for kind, _ in FENCE.findall(page.read_text("utf-8")))


@pytest.mark.parametrize("page", [p for p in PAGES if has_commands(p)], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_run_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = programs(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    environ = environment(PATH=path, ATLAS_STORE=str(tmp_path / "store"), HOME=str(tmp_path))
    for kind, block in FENCE.findall(page.read_text("utf-8")):
        name = re.match(r"# (\w+\.py)\n", block)
        if kind == "python" and name:
            (work / name[1]).write_text(block)
        for command in commands(block) if kind == "console" else ():
            if command.line in SLOW:
                continue
            done = subprocess.run(
                ["bash", "-c", command.line], cwd=work, env=environ, check=False, encoding="utf-8",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert done.returncode == 0, f"{command.line}\n{done.stdout}"
            assert_shown(command, done.stdout.replace(str(work), "/home/alice/project"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_make_knows_every_target_that_the_pages_name() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= set(re.findall(r"^([\w-]+):", (ROOT / "csrc" / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"(?:`|^ {4})make (\w+)", text, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


# ------------------------------------------------------------------------------------------------- generated parts


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))


@pytest.mark.usefixtures("generators")
def test_the_screen_of_output_in_the_readme_is_what_the_case_study_prints() -> None:
    pytest.importorskip("torch")
    import readme_output

    study = quick()
    assert study.code == 0, study.log
    assert shape(readme_output.shown()) == shape(readme_output.screen(study.log))


@pytest.mark.usefixtures("generators")
def test_the_annotated_dump_is_what_atlas_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    import manifest_dump

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    assert shape(manifest_dump.PAGE.read_text("utf-8")) == shape(manifest_dump.page())


# ------------------------------------------------------------------------------------------------------- tables


def table(page: Path) -> dict[str, list[str]]:
    """Rows by the name in backticks in their first column."""
    rows = {}
    for line in page.read_text("utf-8").splitlines():
        if match := re.match(r"\| `(\w+)` \|", line):
            rows[match[1]] = [cell.strip().strip("`") for cell in line.split("|")[2:-1]]
    return rows


def test_every_error_code_of_the_core_has_its_row_and_its_remedy() -> None:
    text = (ROOT / "csrc" / "base" / "types.h").read_text()
    enum = re.search(r"enum atlas_err \{(.*?)\};", text, re.DOTALL)
    assert enum is not None
    codes = {name: int(number) for name, number in re.findall(r"(ATLAS_\w+) = (-?\d+)", enum[1])}
    rows = {name: row for name, row in table(DOCS / "errors.md").items() if name.startswith("ATLAS_")}
    assert {name: int(row[0]) for name, row in rows.items()} == codes
    for name, number in codes.items():
        if number != 0:
            raised = type(errors.from_core(number, name, "", None, "text")).__name__
            assert rows[name][1] == raised and rows[name][3], name


def test_every_exception_has_its_row_and_its_remedy() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    rows = {name: row for name, row in table(DOCS / "errors.md").items() if not name.startswith("ATLAS_")}
    assert set(rows) == classes
    assert all(row[2] for row in rows.values())


def test_every_library_and_package_has_its_reason() -> None:
    page = (DOCS / "dependencies.md").read_text("utf-8")
    pyproject = (ROOT / "pyproject.toml").read_text()
    extras = pyproject[pyproject.index("[project.optional-dependencies]") : pyproject.index("[project.scripts]")]
    for package in re.findall(r'"([A-Za-z][\w-]*)', extras):
        assert package in page, package
    for library in re.findall(r'"(lib[\w-]+-dev)"', (ROOT / "setup.py").read_text()):
        assert library in page, library


def test_no_page_is_longer_than_a_reader_has_patience_for() -> None:
    for page in PAGES:
        if page.name != "manifest-dump.md":
            assert len(page.read_text("utf-8").splitlines()) <= 260, page
