"""Notebooks: the extension, its magic and what it displays."""

from pathlib import Path
from typing import Any

import pytest
from forge import chain, world

import atlas
from atlas.log import TileLog
from atlas.model import Check, Verdict
from atlas.notebook import atlas_magic, load_ipython_extension, verdict_html


class Shell:
    """What the extension needs of IPython."""

    def __init__(self) -> None:
        self.magics: dict[str, Any] = {}
        self.types: dict[type, Any] = {}
        self.display_formatter = self
        self.formatters = {"text/html": self}

    def register_magic_function(self, function: Any, kind: str, name: str) -> None:
        assert kind == "line"
        self.magics[name] = function

    def for_type(self, kind: type, function: Any) -> None:
        self.types[kind] = function


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATLAS_STORE", str(tmp_path / "store"))
    (tmp_path / "roots.pem").write_text(world.pki.roots(world.ROOT))
    return chain.make("m.pt", b"weights", world.TUNER).write(tmp_path)


def test_the_extension_is_found_under_the_packages_name() -> None:
    shell = Shell()
    atlas.load_ipython_extension(shell)
    assert shell.magics["atlas"] is atlas_magic
    assert shell.types[Verdict] is verdict_html


def test_the_magic_returns_a_verdict_that_the_cell_shows(model: Path) -> None:
    verdict = atlas_magic(f"verify '{model}' --trust '{model.parent}/roots.pem'")
    assert isinstance(verdict, Verdict)
    assert verdict
    html = verdict_html(verdict)
    assert "VALID" in html
    assert "Tuner" in html


def test_a_cell_shows_what_is_logged_where_logs_are_trusted(model: Path) -> None:
    assert "not proven to be logged" not in verdict_html(atlas.verify(model, trust=model.parent / "roots.pem"))
    log = TileLog.init(model.parent / "log", origin="log.example/notebook")
    html = verdict_html(atlas.verify(model, trust=model.parent / "roots.pem"))
    assert log.origin == "log.example/notebook"
    assert ">log<" in html and "not proven to be logged" in html


def test_the_magic_prints_what_the_other_verbs_print(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert atlas_magic(f"digest --flat '{model}'") is None
    assert str(model) in capsys.readouterr().out
    graph = atlas_magic(f"lineage '{model}'")
    shell = Shell()
    load_ipython_extension(shell)
    assert "m.pt" in shell.types[type(graph)](graph)


def test_the_display_tells_why_and_what_to_do(model: Path) -> None:
    model.write_bytes(b"other")
    html = verdict_html(atlas_magic(f"verify '{model}' --trust '{model.parent}/roots.pem'"))
    assert "assertion.dataHash.mismatch" in html
    assert "Do not use this artifact" in html


@pytest.mark.parametrize("name", ["</table><script>alert(1)</script>", "x\u202e\x1b[31m", '" onload="x', "n" * 10_000])
def test_hostile_names_stay_text(model: Path, name: str) -> None:
    evil = chain.reopened(chain.make("m.pt", b"weights", world.TUNER)).store
    evil.active.touch()["org.atlasml.measurement"].content |= {"name": name}
    model.with_name("m.pt.c2pa").write_bytes(bytes(evil))
    verdict = atlas_magic(f"verify '{model}' --trust '{model.parent}/roots.pem'")
    graph = atlas_magic(f"lineage '{model}'")
    shell = Shell()
    load_ipython_extension(shell)
    for html in (verdict_html(verdict), shell.types[type(graph)](graph), verdict._repr_html_()):
        assert "<script" not in html
        assert "onload=" not in html.replace("&quot; onload=&quot;x", "")
        assert not set(html) & {"\x1b", "\u202e"}
        assert html.count("<table") == html.count("</table")
        assert len(html) < 8000


def test_hostile_words_of_a_check_stay_text() -> None:
    check = Check("<b>code</b>", "failed", "INVALID", 0, "<i>where</i>", "<script>alert(1)</script>\x1b")
    html = verdict_html(Verdict("<u>path</u>", "INVALID", (check,), ()))
    for tag in ("<b>code", "<i>", "<u>", "<script", "\x1b"):
        assert tag not in html


def test_in_a_real_ipython(model: Path) -> None:
    pytest.importorskip("IPython")
    from IPython.testing.globalipapp import start_ipython

    shell = start_ipython()
    shell.run_line_magic("load_ext", "atlas")
    verdict = shell.run_line_magic("atlas", f"verify {model} --trust {model.parent}/roots.pem")
    shell.display_formatter.active_types = ["text/plain", "text/html"]  # as in a notebook; a terminal shows text only
    data, _ = shell.display_formatter.format(verdict)
    assert data["text/html"] == verdict_html(verdict)
