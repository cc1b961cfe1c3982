"""pytest: tests that depend on where an artifact came from.

    pytestmark = pytest.mark.atlas("out/model.pt", trust="keys/root.pem")

The marker alone verifies: every test under it fails with the explained verdict unless the answer is VALID, before its
fixtures and its body run. `provenance` is what the chain says, `verified_path` a private copy of the bytes that were
verified. Trust comes from --atlas-trust and --atlas-policy, the marker, ATLAS_TRUST or the user's own configuration;
never from pytest.ini or pyproject.toml. Nothing here imports torch.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from atlas.model import Verdict
    from atlas.provenance import Provenance

_OPTIONS = ("trust", "policy", "signer", "manifest", "root", "bundle", "tree")
_PATHS = frozenset(("trust", "policy", "manifest", "root", "bundle"))
_MARKER = (
    "atlas(path, *, trust=None, policy=None, signer=None, manifest=None, root=None, bundle=None, tree=False): "
    "fail unless the artifact and the chain behind it are VALID"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("atlas", "provenance of models and data")
    group.addoption(
        "--atlas-trust", metavar="ROOTS", action="append", help="PEM roots to trust, whatever the marker says"
    )
    group.addoption("--atlas-policy", metavar="FILE", help="policy file, whatever the marker says")
    group.addoption("--atlas-report", metavar="FILE", help="write every verdict to this JSON file")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    config.stash[_SESSION] = _Session(config)
    report = config.getoption("--atlas-report")
    if report and not (config.invocation_params.dir / report).parent.is_dir():
        raise pytest.UsageError(f"--atlas-report {report}: there is no such directory")


# ----------------------------------------------------------------------------------------------- verifying


@dataclass(slots=True)
class _Verified:
    verdict: Verdict
    stamp: bytes | None
    tests: list[str] = field(default_factory=list)


class _Session:
    """The verdicts of this session. One is used again only while nothing that it looked at has changed."""

    def __init__(self, config: pytest.Config) -> None:
        self._invoked_from = config.invocation_params.dir
        self._rootpath = config.rootpath
        self._trust: list[str] | None = config.getoption("--atlas-trust")
        self._policy: str | None = config.getoption("--atlas-policy")
        self._known: dict[object, _Verified] = {}
        self.verified: list[_Verified] = []
        self.from_workers: list[dict[str, Any]] = []

    def verdict(self, item: pytest.Item, marker: pytest.Mark) -> Verdict:
        arguments = self._arguments(item, marker)
        key = repr(sorted(arguments.items()))
        known = self._known.get(key)
        if known is None or known.stamp is None or _stamp(known.verdict, arguments, time.time_ns()) != known.stamp:
            known = self._known[key] = self._verify(arguments)
            self.verified.append(known)
        if item.nodeid not in known.tests:
            known.tests.append(item.nodeid)
        return known.verdict

    def _verify(self, arguments: dict[str, Any]) -> _Verified:
        from atlas.verify import verify

        began = time.time_ns()
        verdict = verify(**arguments)
        return _Verified(verdict, _stamp(verdict, arguments, began))

    def _arguments(self, item: pytest.Item, marker: pytest.Mark) -> dict[str, Any]:
        unknown = sorted(set(marker.kwargs) - set(_OPTIONS))
        if len(marker.args) != 1 or unknown:
            wrong = f"unknown argument {unknown[0]!r}" if unknown else "it takes one artifact"
            pytest.fail(f"pytest.mark.atlas: {wrong}\n  {_MARKER}", pytrace=False)
        arguments = {name: value for name, value in marker.kwargs.items() if value is not None}
        for name in _PATHS & arguments.keys():
            arguments[name] = self._place(item, arguments[name])
        if self._trust is not None:
            arguments["trust"] = [self._invoked_from / root for root in self._trust]
        if self._policy is not None:
            arguments["policy"] = self._invoked_from / self._policy
        return {**arguments, "path": self._place(item, marker.args[0])}

    def _place(self, item: pytest.Item, value: Any) -> Any:
        """A relative path is looked for beside the test file, then in pytest's root directory."""
        if isinstance(value, (list, tuple)):
            return [self._place(item, one) for one in value]
        if not isinstance(value, (str, Path)):
            return value
        beside = item.path.parent / value
        at_root = self._rootpath / value
        return at_root if not beside.exists() and at_root.exists() else beside

    def report(self) -> list[dict[str, Any]]:
        own = [{**known.verdict.to_dict(), "tests": known.tests} for known in self.verified]
        return own + self.from_workers


_SESSION = pytest.StashKey[_Session]()


def _stamp(verdict: Verdict, arguments: dict[str, Any], began_ns: int) -> bytes | None:
    """Over everything that the verdict came from, but the store, whose objects never change."""
    from atlas.sidecar import index_path, proof_paths, sidecar_path
    from atlas.stamp import stamp

    artifacts = dict.fromkeys((verdict.path, *(node.path for node in verdict.nodes if node.path)))
    paths = [place for path in artifacts for place in (path, sidecar_path(path), index_path(path))]
    paths += [place for path in artifacts for place in proof_paths(path)]
    for name in ("manifest", "bundle", "policy", "trust"):
        value = arguments.get(name)
        paths += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Path)]
    return stamp(paths, began_ns=began_ns)


def _verdict_of(item: pytest.Item, marker: pytest.Mark) -> Verdict:
    """The verdict, or a failed test that says what to do."""
    from atlas.errors import AtlasError
    from atlas.escape import escape_lines

    try:
        return item.config.stash[_SESSION].verdict(item, marker)
    except AtlasError as error:
        why = escape_lines(error)
    pytest.fail(f"could not be verified: {why}", pytrace=False)  # out here: not "during handling of another exception"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of the test: a fixture may already load the model."""
    for marker in item.iter_markers("atlas"):
        verdict = _verdict_of(item, marker)
        if not verdict:
            pytest.fail(verdict.explain(), pytrace=False)


# ------------------------------------------------------------------------------------------------ fixtures


def _closest(request: pytest.FixtureRequest) -> Verdict:
    marker = request.node.get_closest_marker("atlas")
    if marker is None:
        pytest.fail(
            f"{request.fixturename} needs the marker: @pytest.mark.atlas('model.pt', trust='root.pem')", pytrace=False
        )
    verdict = _verdict_of(request.node, marker)
    if not verdict:
        pytest.fail(verdict.explain(), pytrace=False)
    return verdict


@pytest.fixture
def provenance(request: pytest.FixtureRequest) -> Provenance:
    """What the verified chain of the marked artifact says: see atlas.provenance.Provenance."""
    from atlas.provenance import Provenance

    return Provenance(_closest(request))


@pytest.fixture
def verified_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A private copy of the marked artifact, itself hashed: the bytes verified are the bytes handed out."""
    from atlas.errors import AtlasError
    from atlas.escape import escape_lines
    from atlas.private_copy import copy_verified

    verdict = _closest(request)
    directory = tmp_path_factory.mktemp("verified")
    try:
        try:
            copy = copy_verified(verdict, directory)
        except AtlasError as error:
            pytest.fail(escape_lines(error), pytrace=False)
        yield copy
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # models are large; pytest would keep three sessions' worth


# -------------------------------------------------------------------------------------------------- reports


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """pytest-xdist: collect what the workers verified."""
    report = getattr(node, "workeroutput", {}).get("atlas_report", "[]")
    node.config.stash[_SESSION].from_workers += json.loads(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    found = config.stash[_SESSION].report()
    if hasattr(config, "workeroutput"):
        config.workeroutput["atlas_report"] = json.dumps(found)
    elif config.getoption("--atlas-report"):
        target = config.invocation_params.dir / config.getoption("--atlas-report")
        target.write_text(json.dumps({"version": 1, "verdicts": found}, indent=2) + "\n", encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    from atlas.escape import escape

    found = config.stash[_SESSION].report()
    if not found:
        return
    terminalreporter.section("provenance")
    lines = [
        f"{one['answer']}  {escape(one['path'])}  "
        f"({one['artifacts']['measured']} of {one['artifacts']['of']} artifacts present)"
        for one in found
    ]
    for line in dict.fromkeys(lines):
        terminalreporter.line(line)
