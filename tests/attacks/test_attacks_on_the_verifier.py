"""The verifier's surroundings: rows 53 to 57. Nothing beside the artifact decides who is trusted; nothing crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from arena import INCOMPLETE, INVALID, UNTRUSTED, VALID, judge, policy, told
from forge import chain, world
from forge.chain import sidecar_of
from forge.world import ATTACKER, CA, LAB, OTHER_ROOT, ROOT, TUNED, Scene

from atlas.errors import AtlasError
from atlas.verify import verify

SOURCE = str(Path(__file__).resolve().parents[2])


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact of the attacker with everything planted beside it that might be read as configuration."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    for name in "ATLAS_TRUST", "ATLAS_POLICY", "ATLAS_STORE":
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "planted"
    path = chain.make("model.pt", b"evil", ATTACKER).write(root)
    lax = {"version": 1, "roots": ["roots.pem"], "allow_redaction": ["c2pa.hash.data"]}
    for name in "roots.pem", "root.pem", "trust.pem", "ATLAS_TRUST", ".atlas/roots.pem", ".config/atlas/roots.pem":
        chain.write_content(root, name, OTHER_ROOT.pem.encode())
    for name in "policy.json", ".atlas/policy.json", "atlas.json", ".config/atlas/policy.json":
        chain.write_content(root, name, json.dumps(lax).encode())
    toml = b'[tool.atlas]\ntrust = "roots.pem"\nroots = ["roots.pem"]\npolicy = "policy.json"\nmode = "off"\n'
    for name in "pyproject.toml", "atlas.toml", ".atlas.toml", "setup.cfg":
        chain.write_content(root, name, toml)
    monkeypatch.chdir(root)
    return path


def test_planted_configuration_is_not_read(elsewhere: Path) -> None:
    """Row 53."""
    assert verify(elsewhere, policy=policy()).answer == UNTRUSTED
    with pytest.raises(AtlasError, match="trust"):
        verify(elsewhere)


def test_planted_configuration_does_not_reach_the_command_line(elsewhere: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": SOURCE}

    def atlas(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "atlas", "verify", str(elsewhere), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)

    honest = elsewhere.parent.parent / "honest.pem"
    honest.write_text(ROOT.pem)
    assert atlas("--trust", str(honest)).returncode == 3
    assert atlas().returncode == 2


def test_an_environment_variable_does_not_add_to_the_roots_that_were_given(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_TRUST", str(elsewhere.parent / "roots.pem"))
    monkeypatch.setenv("ATLAS_VERIFY", "off")
    monkeypatch.setenv("ATLAS_MODE", "off")
    assert verify(elsewhere, trust=ROOT.pem.encode()).answer == UNTRUSTED


def test_roots_that_are_no_roots_are_refused(tmp_path: Path) -> None:
    path = chain.make("model.pt", b"weights", LAB).write(tmp_path)
    for trust in b"", b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n", b"text":
        with pytest.raises(AtlasError):
            verify(path, trust=trust, store=tmp_path / ".store")


def test_a_leaf_given_as_root_does_not_vouch_for_itself(tmp_path: Path) -> None:
    """An end-entity certificate among the anchors is no authority."""
    from forge import pki

    path = chain.make("model.pt", b"weights", ATTACKER).write(tmp_path)
    for anchor in pki.pem(ATTACKER.leaf), pki.pem(world.TUNER.leaf):
        try:
            verdict = verify(path, trust=anchor.encode(), store=tmp_path / ".store")
        except AtlasError:
            continue
        assert verdict.answer == UNTRUSTED, told(verdict)


def test_without_a_manifest_the_answer_is_incomplete(tmp_path: Path) -> None:
    path = chain.write_content(tmp_path, "model.pt", b"weights")
    verdict = verify(path, policy=policy(), store=tmp_path / ".store")
    assert verdict.answer == INCOMPLETE
    assert verdict.exit_code == 4


def test_without_the_artifact_there_is_no_verdict(tmp_path: Path) -> None:
    path = chain.make("model.pt", b"weights", LAB).write(tmp_path)
    path.unlink()
    with pytest.raises(AtlasError):
        verify(path, policy=policy(), store=tmp_path / ".store")


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda p: p.symlink_to(p.name), lambda p: p.symlink_to("/dev/zero"), os.mkfifo]
)
def test_a_sidecar_that_is_no_file_is_an_error_and_no_hang(make: Any, tmp_path: Path) -> None:
    path = chain.write_content(tmp_path, "model.pt", b"weights")
    make(sidecar_of(path))
    try:
        verdict = verify(path, policy=policy(), store=tmp_path / ".store")
    except AtlasError:
        return
    assert not verdict
    assert verdict.exit_code in (4, 5, 6)


def test_a_callback_that_raises_stops_the_verification(tmp_path: Path) -> None:
    """Row 54. No half-made verdict comes out."""
    path = chain.make("model.pt", b"w" * (8 << 20), LAB).write(tmp_path)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    try:
        verdict = verify(path, policy=policy(), store=tmp_path / ".store", progress=stop)
    except (KeyboardInterrupt, AtlasError):
        return
    assert verdict.answer == VALID, "the callback was never called"
    pytest.fail("the callback's exception was swallowed")


HOSTILE = {
    "escape sequences": "evil\x1b[2J\x1b[31mVALID\x1b[0m",
    "a carriage return": "evil\rVALID",
    "lines": "evil\nVALID: everything passed\n::error::x",
    "right-to-left": "evil\u202egnp.exe\u2066",
    "markup": "</pre><script>alert(1)</script>",
    "a formula": '=cmd|"/c calc"!A1',
    "length": "A" * 10_000,
    "a zero-width joiner": "adm\u200bin",
}
FORBIDDEN = ("\x1b", "\r", "\u202e", "\u2066", "\u200b", "<script", "\n::error", "\nVALID:")


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_text_is_shown_harmless(what: str, tmp_path: Path) -> None:
    """Row 56. Titles, roles, generators and subjects are the signer's words."""
    text = HOSTILE[what]
    scene = Scene.at(tmp_path)
    node = scene.node(TUNED)
    node.claim["dc:title"] = text
    node.claim["claim_generator_info"]["name"] = text
    node.signer = CA.leaf(text[:60])
    for ingredient in node.ingredients:
        ingredient.content["dc:title"] = text
    for entry in node["org.atlasml.inputs"].content["inputs"]:
        entry |= {"role": text, "via": text, "name": text, "relation": text}
    node["org.atlasml.coverage"].content["gaps"] = [{"what": text, "reason": text}]
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
    outputs = verdict.explain(), verdict.to_json(), verdict._repr_html_()
    for output, banned in ((output, banned) for output in outputs for banned in FORBIDDEN):
        if banned == "<script" and output is not outputs[2]:
            continue
        assert banned not in output
    assert json.loads(outputs[1])["answer"] == VALID


def test_hostile_names_on_disk_are_shown_harmless(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path, subject=world.BASE)
    (scene.path(world.BASE) / "evil\x1b[2J\nVALID\u202e.bin").write_bytes(b"x")
    verdict = judge(scene, scene.publish())
    assert verdict.answer == INVALID
    for output in verdict.explain(), verdict.to_json(), verdict._repr_html_():
        assert not [banned for banned in FORBIDDEN if banned in output]


def test_one_poisoned_chain_among_64_in_parallel_fails_alone(tmp_path: Path) -> None:
    """Row 57."""
    paths = []
    for n in range(64):
        scene = Scene.at(tmp_path / str(n))
        if n == 41:
            scene.path(TUNED).write_bytes(b"poisoned")
        paths.append((scene, scene.publish()))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda pair: judge(*pair).answer, paths))
    assert answers == [INVALID if n == 41 else VALID for n in range(64)]


def test_a_verdict_that_was_not_reached_is_not_true(tmp_path: Path) -> None:
    from atlas.model import Verdict

    assert not Verdict("x", "", (), ())
    assert not Verdict("x", "valid", (), ())
    assert Verdict("x", "", (), ()).exit_code != 0
