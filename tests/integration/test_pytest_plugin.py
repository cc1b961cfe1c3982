"""The marker, its fixtures and its options, in pytest sessions of their own."""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest
from forge import chain, logged, tlog, world

import atlas

pytest_plugins = ["pytester"]

MODEL = "out/model.pt"


@pytest.fixture
def made(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> dict[str, chain.Made]:
    """A project: data/raw -> data/train + base.pt of unknown provenance -> out/model.pt, and tests/ beside them."""
    for name in ("ATLAS_TRUST", "ATLAS_POLICY"):
        monkeypatch.delenv(name, raising=False)
    root = pytester.path
    package = Path(atlas.__file__).parent.parent  # works without an installation too
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(package), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # the same with and without an installation, and faster
    for name in ("HOME", "XDG_CONFIG_HOME", "ATLAS_STORE"):
        monkeypatch.setenv(name, str(root / "home" / name))
    raw = chain.make("data/raw", {"a.txt": b"raw a\n", "sub/b.txt": b"raw b\n"}, world.CURATOR)
    train = chain.make("data/train", {"t.jsonl": b"{}\n"}, world.PREPARER, [chain.Input(raw)])
    alien = chain.make("base.pt", b"from nowhere", world.LAB)
    inputs = [chain.Input(train, "training data"), chain.Input(alien, "base model", "unknown")]
    model = chain.make(MODEL, b"weights" * 100, world.TUNER, inputs)
    for artifact in (raw, train, model):
        artifact.write(root)
    (root / "roots.pem").write_text(world.pki.roots(world.ROOT))
    (root / "other.pem").write_text(world.pki.roots(world.OTHER_ROOT))
    (root / "tests").mkdir()
    pytester.makeini("[pytest]\n")
    return {"raw": raw, "train": train, "model": model}


def write(pytester: pytest.Pytester, body: str, *, marker: str = f'"{MODEL}", trust="roots.pem"') -> None:
    text = f"import pytest\nfrom pathlib import Path\npytestmark = pytest.mark.atlas({marker})\n{body}"
    (pytester.path / "tests" / "test_it.py").write_text(text)


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "atlas.pytest_plugin", "-p", "no:cacheprovider", *words)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


# ---------------------------------------------------------------------------------------------------- marker


def test_the_marker_alone_verifies_and_a_valid_artifact_runs_the_test(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    write(pytester, "def test_it(): pass\n")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["VALID  *out/model.pt  (3 of 3 artifacts present)"])


def test_an_artifact_that_is_not_valid_fails_before_any_fixture_or_body_runs(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    flip(pytester.path / MODEL)
    write(
        pytester,
        """
@pytest.fixture(autouse=True, scope="module")
def loads_the_model_at_once():
    Path("ran").write_text("fixture")
def test_it():
    Path("ran").write_text("body")
class TestMore:
    def test_more(self): pass
""",
    )
    result = run(pytester)
    result.assert_outcomes(errors=2)
    assert result.ret == 1
    assert not (pytester.path / "ran").exists()
    result.stdout.fnmatch_lines(["INVALID  *model.pt*", "*why:*", "*what to do:*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        (f'"{MODEL}", trust="other.pem"', "UNTRUSTED  *"),
        (f'"{MODEL}", trust="roots.pem", signer="Somebody else"', "UNTRUSTED  *"),
        ('"roots.pem", trust="roots.pem"', "INCOMPLETE  *"),
        (f'"{MODEL}"', "*no trust roots*"),
        ('"missing.pt", trust="roots.pem"', "*missing.pt*no such file*"),
        (f'"{MODEL}", trust="gone.pem"', "*gone.pem: no such file*"),
        (f'"{MODEL}", roots="roots.pem"', "*unknown argument 'roots'*"),
        ('trust="roots.pem"', "*it takes one artifact*"),
    ],
)
def test_whatever_is_not_valid_fails_with_its_reason(
    pytester: pytest.Pytester, made: dict[str, chain.Made], marker: str, says: str
) -> None:
    write(pytester, "def test_it(): pass\n", marker=marker)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([says])
    result.stdout.no_fnmatch_line("*During handling of*")


def test_tests_without_the_marker_are_left_alone(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    (pytester.path / "tests" / "test_plain.py").write_text("def test_plain(): pass\n")
    result = run(pytester, "--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*provenance*")


def test_the_marker_is_known_to_strict_pytest_and_listed(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    write(pytester, "def test_it(): pass\n")
    run(pytester, "--strict-markers", "--strict-config").assert_outcomes(passed=1)
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.atlas(path, ?, trust=None*"])


def test_every_marker_of_a_test_counts(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    flip(pytester.path / "data" / "raw" / "a.txt")
    body = '@pytest.mark.atlas("data/raw", trust="roots.pem")\ndef test_it(): pass\n'
    write(pytester, body, marker='"data/train", trust="roots.pem"')
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["INVALID  *data/raw*"])


def test_relative_paths_are_looked_for_beside_the_test_file_first(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    beside = pytester.path / "tests" / "out"
    beside.mkdir()
    (beside / "model.pt").write_bytes(b"another model, unsigned")
    write(pytester, "def test_it(): pass\n")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["INCOMPLETE  *tests/out/model.pt*"])


# -------------------------------------------------------------------------------------------- once per session


COUNT = """
import sys, atlas
v = sys.modules["atlas.verify"]
real = v.verify
def counted(*a, **k):
    with open("count", "a") as f: f.write("x")
    return real(*a, **k)
v.verify = counted
"""


def settle(root: Path) -> None:
    """Make every file old enough for its time stamps to be believed."""
    assert root.exists()
    time.sleep(0.1)


def test_an_artifact_is_verified_once_per_session(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    pytester.makeconftest(COUNT)
    write(pytester, "@pytest.mark.parametrize('n', range(5))\ndef test_it(n, provenance): pass\n")
    settle(pytester.path)
    run(pytester).assert_outcomes(passed=5)
    assert (pytester.path / "count").read_text() == "x"


@pytest.mark.parametrize("victim", [MODEL, "data/raw/a.txt", "data/train.c2pa"])
def test_it_is_verified_again_when_anything_of_the_chain_changed(
    pytester: pytest.Pytester, made: dict[str, chain.Made], victim: str
) -> None:
    write(
        pytester,
        f"""
def test_before():
    path = Path({victim!r})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
def test_after(): pass
""",
    )
    settle(pytester.path)
    result = run(pytester)
    if victim.endswith(".c2pa"):  # the model embeds that manifest; its sidecar is not part of the chain
        result.assert_outcomes(passed=2)
    else:
        result.assert_outcomes(passed=1, errors=1)


def test_it_is_verified_again_when_a_proof_of_logging_comes_or_goes(
    pytester: pytest.Pytester, made: dict[str, chain.Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "log.policy").write_bytes(logged.policy(tlog.NoteKey("log.example/team")))
    monkeypatch.setenv("ATLAS_LOG_POLICY", str(pytester.path / "log.policy"))
    write(pytester, f"def test_before(): Path('{MODEL}.tlog-proof').write_text('none')\ndef test_after(): pass\n")
    settle(pytester.path)
    run(pytester).assert_outcomes(passed=1, errors=1)


@pytest.mark.parametrize(("changed", "becomes"), [("copy.pem", "other.pem"), ("elsewhere.c2pa", "data/raw.c2pa")])
def test_it_is_verified_again_when_the_roots_or_the_manifest_that_were_named_changed(
    pytester: pytest.Pytester, made: dict[str, chain.Made], changed: str, becomes: str
) -> None:
    (pytester.path / f"{MODEL}.c2pa").rename(pytester.path / "elsewhere.c2pa")
    (pytester.path / "copy.pem").write_bytes((pytester.path / "roots.pem").read_bytes())
    body = f"""
def test_valid(): Path({changed!r}).write_bytes(Path({becomes!r}).read_bytes())
def test_not_valid_any_more(): pass
"""
    write(pytester, body, marker=f'"{MODEL}", trust="copy.pem", manifest="elsewhere.c2pa"')
    settle(pytester.path)
    run(pytester).assert_outcomes(passed=1, errors=1)


def test_a_change_whose_time_was_set_back_is_seen(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    pytester.makeconftest(f"""
import os
from pathlib import Path
def pytest_runtest_logfinish(nodeid):
    path = Path({MODEL!r})
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
""")
    write(pytester, "@pytest.mark.parametrize('n', range(20))\ndef test_race(n): pass\n")
    run(pytester).assert_outcomes(passed=10, errors=10)


# -------------------------------------------------------------------------------------------------- fixtures


def test_provenance_tells_the_whole_chain_and_unknown_inputs_are_in_it(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    write(
        pytester,
        """
def test_it(provenance):
    p = provenance
    assert p.verdict and p.verdict.answer == "VALID"
    assert {d.name for d in p.datasets} == {"data/train", "data/raw"}
    assert [(m.name, m.known, m.signer) for m in p.models] == [("base.pt", False, None)]
    assert [i.name for i in p.unknown] == ["base.pt"]
    assert [i.name for i in p.inputs] == ["data/train", "base.pt", "data/raw"]
    assert p.signers == {"Tuner", "Data Preparer", "Data Curator"}
    assert p.gaps == ()
    train = p.ingredient("data/train")
    assert (train.kind, train.role, train.signer, train.known) == ("directory", "training data", "Data Preparer", True)
    assert all(str(d).startswith("sha256:") for d in train.digests)
    with pytest.raises(ValueError, match="no input is called 'x'"):
        p.ingredient("x")
""",
    )
    run(pytester).assert_outcomes(passed=1)


def test_gaps_are_what_the_signers_recorded(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    gappy = chain.reopened(chain.make("gappy.pt", b"gappy", world.TUNER)).store
    gap = {"what": "weird.bin", "reason": "not seekable", "input": True}
    gappy.active.touch()["org.atlasml.coverage"].content = {"version": 1, "seen": 1, "gaps": [gap]}
    (pytester.path / "gappy.pt").write_bytes(b"gappy")
    (pytester.path / "gappy.pt.c2pa").write_bytes(bytes(gappy))
    body = """
def test_it(provenance):
    (gap,) = provenance.gaps
    assert (gap.artifact, gap.what, gap.reason) == ("gappy.pt", "weird.bin", "not seekable")
"""
    write(pytester, body, marker='"gappy.pt", trust="roots.pem"')
    run(pytester).assert_outcomes(passed=1)


def test_verified_path_is_a_private_copy_that_a_later_swap_does_not_reach(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    write(
        pytester,
        f"""
def test_it(verified_path):
    original = Path({MODEL!r}).resolve()
    before = original.read_bytes()
    original.write_bytes(b"swapped")
    assert verified_path.read_bytes() == before
    assert verified_path.name == "model.pt"
    assert verified_path.resolve() != original
    assert verified_path.parent.stat().st_mode & 0o077 == 0
    Path("where").write_text(str(verified_path))
""",
    )
    run(pytester).assert_outcomes(passed=1)
    assert not Path((pytester.path / "where").read_text()).exists(), "large copies are removed after the test"


def test_verified_path_of_a_directory_holds_what_was_signed_and_nothing_else(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    (pytester.path / "data" / "raw" / "__pycache__").mkdir()
    (pytester.path / "data" / "raw" / "__pycache__" / "evil.pyc").write_bytes(b"ignored, so never verified")
    body = """
def test_it(verified_path):
    files = [p for p in verified_path.rglob("*") if p.is_file()]
    assert {str(p.relative_to(verified_path)) for p in files} == {"a.txt", "sub/b.txt"}
    assert (verified_path / "a.txt").read_bytes() == b"raw a\\n"
"""
    write(pytester, body, marker='"data/raw", trust="roots.pem"')
    run(pytester).assert_outcomes(passed=1)
    (pytester.path / "data" / "raw.c2pa-index").unlink()
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize("name", [MODEL, "data/raw"])
def test_a_swap_between_verifying_and_copying_fails_the_test(
    pytester: pytest.Pytester, made: dict[str, chain.Made], name: str
) -> None:
    victim = MODEL if name == MODEL else "data/raw/a.txt"
    pytester.makeconftest(f"""
import atlas.private_copy as c
from pathlib import Path
real = c.copy_verified
def late(verdict, directory):
    Path({victim!r}).write_bytes(b"swapped")
    return real(verdict, directory)
c.copy_verified = late
""")
    write(pytester, "def test_it(verified_path): Path('ran').touch()\n", marker=f'"{name}", trust="roots.pem"')
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*changed after it was verified*"])
    assert not (pytester.path / "ran").exists()


def test_a_fixture_without_the_marker_says_what_is_missing(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    (pytester.path / "tests" / "test_it.py").write_text("def test_it(verified_path): pass\n")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*verified_path needs the marker*"])


# --------------------------------------------------------------------------------------------------- options


def test_roots_come_from_the_command_line_before_the_marker_and_the_environment_after_it(
    pytester: pytest.Pytester, made: dict[str, chain.Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pytester, "def test_it(): pass\n")
    run(pytester, "--atlas-trust", "other.pem").assert_outcomes(errors=1)
    write(pytester, "def test_it(): pass\n", marker=f'"{MODEL}", trust="other.pem"')
    run(pytester, "--atlas-trust", "roots.pem").assert_outcomes(passed=1)
    write(pytester, "def test_it(): pass\n", marker=f'"{MODEL}"')
    monkeypatch.setenv("ATLAS_TRUST", str(pytester.path / "roots.pem"))
    run(pytester).assert_outcomes(passed=1)


def test_a_policy_may_refuse_unknown_inputs(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    (pytester.path / "strict.json").write_text('{"version": 1, "refuse_unknown_inputs": true}')
    write(pytester, "def test_it(): pass\n")
    run(pytester, "--atlas-policy", "strict.json").assert_outcomes(errors=1)
    write(pytester, "def test_it(): pass\n", marker=f'"{MODEL}", trust="roots.pem", policy="strict.json"')
    run(pytester).assert_outcomes(errors=1)


def test_neither_ini_nor_pyproject_is_asked_for_trust(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    (pytester.path / "pyproject.toml").write_text('[tool.atlas]\ntrust = "roots.pem"\n')
    pytester.makeini("[pytest]\natlas_trust = roots.pem\natlas-trust = roots.pem\n")
    write(pytester, "def test_it(): pass\n", marker=f'"{MODEL}"')
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no trust roots*"])


def test_the_report_holds_every_verdict_and_the_tests_that_depend_on_it(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    (pytester.path / "none").mkdir()
    flip(pytester.path / "data" / "raw" / "a.txt")
    (pytester.path / "tests" / "test_raw.py").write_text(
        "import pytest\n@pytest.mark.atlas('data/raw', trust='roots.pem')\ndef test_raw(): pass\n"
    )
    write(
        pytester, "def test_one(): pass\ndef test_two(): pass\n", marker='"data/train", trust="roots.pem", root="none"'
    )
    settle(pytester.path)
    run(pytester, "--atlas-report", "report.json")
    report = json.loads((pytester.path / "report.json").read_text())
    assert report["version"] == 1
    found = {tuple(v["tests"]): v["answer"] for v in report["verdicts"]}
    assert found[("tests/test_raw.py::test_raw",)] == "INVALID"
    assert ("tests/test_it.py::test_one", "tests/test_it.py::test_two") in found


def test_a_report_that_cannot_be_written_is_said_before_the_first_test(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    write(pytester, "def test_it(): pass\n")
    result = run(pytester, "--atlas-report", "no/such/report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--atlas-report no/such/report.json*"])


def test_hostile_names_are_harmless_in_the_terminal_and_in_junit(
    pytester: pytest.Pytester, made: dict[str, chain.Made]
) -> None:
    evil = chain.reopened(chain.make("m.pt", b"weights", world.ATTACKER)).store
    evil.active.touch()["org.atlasml.measurement"].content |= {"name": "\x1b[32mVALID\u202e\n::error::</testcase>"}
    (pytester.path / "m.pt").write_bytes(b"weights")
    (pytester.path / "m.pt.c2pa").write_bytes(bytes(evil))
    write(pytester, "def test_it(): pass\n", marker='"m.pt", trust="roots.pem"')
    result = run(pytester, "--junitxml=junit.xml")
    result.assert_outcomes(errors=1)
    shown = result.stdout.str()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert not any(line.lstrip().startswith("::") for line in shown.splitlines())
    text = (pytester.path / "junit.xml").read_text()
    assert "\u202e" not in text
    assert len(list(ElementTree.fromstring(text).iter("testcase"))) == 1


@pytest.mark.skipif("atlas" not in entry_points(group="pytest11").names, reason="the package is not installed")
def test_an_installed_atlas_is_found_by_pytest_itself(
    pytester: pytest.Pytester, made: dict[str, chain.Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    write(pytester, "def test_it(provenance): pass\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers").assert_outcomes(passed=1)


def test_the_plugin_imports_no_torch(pytester: pytest.Pytester, made: dict[str, chain.Made]) -> None:
    write(pytester, "import sys\ndef test_it(provenance, verified_path): assert 'torch' not in sys.modules\n")
    run(pytester).assert_outcomes(passed=1)
