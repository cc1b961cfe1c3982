"""Logging in the flow: a run that logs what it signs, `atlas log add|verify|pending|flush`, and `--offline`."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import Command
from forge import chain, logged, tlog, world
from recording import Project

import atlas as product
from atlas.cli import main
from atlas.errors import AtlasWarning, UsageError
from atlas.log import TileLog, memory_of
from atlas.log_queue import LogQueue
from atlas.log_target import LogTarget
from atlas.record import logs
from atlas.sign import keygen, load_signer
from atlas.store import Store
from tests.unit import test_log_sigstore as sigstore

torch = pytest.importorskip("torch")

ORIGIN = "log.example/team"


@pytest.fixture
def log(project: Project) -> TileLog:
    return TileLog.init(project.root / "log", origin=ORIGIN)


def train(project: Project, *names: str, **options: object) -> None:
    with project.init(**options):
        for n, name in enumerate(names):
            torch.save({"weight": torch.full((4,), float(n))}, name)


# --------------------------------------------------------------------------------------------------------------- a run


def test_a_run_logs_every_manifest_that_it_signs(project: Project, log: TileLog) -> None:
    train(project, "a.pt", "b.pt", log=log.folder)
    assert log.refresh().size == 2
    assert LogQueue(Store()).pending() == []
    for name in ("a.pt", "b.pt"):
        verdict = project.verify(name)
        assert verdict.answer == "VALID" and verdict.nodes[0].logged is not None
        assert verdict.nodes[0].logged.origin == ORIGIN
        assert Path(f"{name}.tlog-proof").is_file()


def test_the_variable_does_what_the_argument_does(
    project: Project, log: TileLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_LOG", str(log.folder))
    train(project, "a.pt")
    assert log.refresh().size == 1


def test_a_checkpoint_that_is_written_again_loses_its_old_proof_first(project: Project, log: TileLog) -> None:
    train(project, "a.pt", "a.pt", log=log.folder)
    assert log.refresh().size == 2
    verdict = project.verify("a.pt")
    assert verdict.answer == "VALID" and verdict.nodes[0].logged and verdict.nodes[0].logged.index == 1
    train(project, "a.pt")
    verdict = project.verify("a.pt")
    assert verdict.answer == "VALID" and verdict.nodes[0].logged is None
    assert not Path("a.pt.tlog-proof").exists()


def test_a_proof_goes_where_its_artifact_goes(project: Project, log: TileLog) -> None:
    with project.init(log=log.folder):
        torch.save({"w": torch.zeros(4)}, "a.pt")
        for _ in range(100):
            if Path("a.pt.tlog-proof").exists():
                break
            time.sleep(0.05)
    with project.init():
        os.replace("a.pt", "moved.pt")  # noqa: PTH105
    assert Path("moved.pt.tlog-proof").exists() and not Path("a.pt.tlog-proof").exists()
    assert project.verify("moved.pt").nodes[0].logged is not None


def test_a_log_that_fails_breaks_no_training_and_is_made_up_for_later(project: Project, log: TileLog) -> None:
    secret = next((Store().directory / "logs").glob("*/key"))
    with pytest.warns(AtlasWarning, match="not every signature is logged yet"), project.init(log=log.folder):
        secret.rename(secret.with_name("away"))
        torch.save({"w": torch.zeros(4)}, "a.pt")
    assert project.verify("a.pt").answer == "VALID"
    (pending,) = LogQueue(Store()).pending()
    assert pending.artifact == str(project.root / "a.pt") and "no key for the log" in pending.error
    secret.with_name("away").rename(secret)
    assert LogQueue(Store()).flush().failed == ()
    assert LogQueue(Store()).pending() == [] and log.refresh().size == 1
    logged_at = project.verify("a.pt").nodes[0].logged
    assert logged_at is not None and logged_at.index == 0


def test_what_was_logged_before_a_crash_is_not_logged_twice(project: Project, log: TileLog) -> None:
    train(project, "a.pt", log=log.folder)
    manifest = Path("a.pt.c2pa").read_bytes()
    queue = LogQueue(Store())
    queue.add(manifest, Store().put(manifest), LogTarget.of(log.folder), "a.pt")
    queue.add(manifest, Store().put(manifest), LogTarget.of(log.folder), "a.pt")
    assert len(queue.pending()) == 1
    done = queue.flush()
    assert len(done.logged) == 1 and log.refresh().size == 1


def test_a_proof_that_has_no_place_holds_up_nobody_else(project: Project, log: TileLog) -> None:
    train(project, "a.pt", "b.pt", "c.pt")
    queue = LogQueue(Store())
    for name in ("a.pt", "b.pt", "c.pt"):
        manifest = Path(f"{name}.c2pa").read_bytes()
        queue.add(manifest, Store().put(manifest), LogTarget.of(log.folder), name)
    first = Path(queue.pending()[0].artifact + ".tlog-proof")
    first.mkdir()
    done = queue.flush()
    assert len(done.logged) == 2 and [str(first) in pending.error for pending in done.failed] == [True]
    first.rmdir()
    assert len(queue.flush().logged) == 1 and queue.pending() == [] and log.refresh().size == 3


def test_a_child_process_logs_nothing(project: Project, log: TileLog) -> None:
    with project.init(log=log.folder) as run:
        pid = os.fork()
        if pid == 0:
            torch.save({"w": torch.ones(4)}, "child.pt")
            os._exit(0)
        os.waitpid(pid, 0)
        assert run is not None
        torch.save({"w": torch.zeros(4)}, "a.pt")
    assert project.verify("a.pt").nodes[0].logged is not None


@pytest.mark.parametrize(
    ("alg", "where", "says"),
    [("EdDSA", "https://rekor.example", "Rekor v2 takes no signatures by pure Ed25519"),
     ("PS384", "log", "no name for signatures")],
)  # fmt: skip
def test_a_key_that_the_log_refuses_is_refused_when_the_run_starts(
    project: Project, log: TileLog, alg: str, where: str, says: str
) -> None:
    keys = keygen("Signer", project.root / alg, alg=alg)
    with pytest.raises(UsageError, match=says):
        product.init(key=load_signer(keys.key, alg=alg if alg.startswith("PS") else None), log=where)


@pytest.mark.parametrize(
    ("where", "says"),
    [("nowhere", "no log"), ("https://rekor.example", "no key of this log is known"), ("", "neither a folder nor")],
)  # fmt: skip
def test_a_log_that_cannot_be_used_is_refused_when_the_run_starts(project: Project, where: str, says: str) -> None:
    with pytest.raises(product.AtlasError, match=says):
        project.init(log=where)


def test_training_does_not_wait_for_a_log_that_hangs(
    project: Project, log: TileLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else holds the log's lock all the time."""
    monkeypatch.setattr(logs, "END_SECONDS", 0.2)
    run = project.init(log=log.folder)
    with (log.folder / ".state" / "lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        for name in ("a.pt", "b.pt"):
            torch.save({"w": torch.zeros(4)}, name)
        with pytest.warns(AtlasWarning, match="not answered yet"):
            run.finish()
        assert time.monotonic() - start < 5
        assert len(LogQueue(Store()).pending()) == 2
    for _ in range(100):  # the thread gets the lock at last
        if log.refresh().size == 2 and not LogQueue(Store()).pending():
            break
        time.sleep(0.05)
    assert LogQueue(Store()).pending() == []


# ------------------------------------------------------------------------------------------------------------ commands


@pytest.fixture
def cli(
    work: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command in this process: a process of its own takes a third of a second to begin."""
    monkeypatch.chdir(work)
    for name in [name for name in os.environ if name.startswith(("ATLAS_", "XDG_")) and name != "ATLAS_VECTORS"]:
        monkeypatch.delenv(name)

    def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            for name, value in ({"HOME": home["HOME"], "ATLAS_STORE": home["ATLAS_STORE"]} | environment).items():
                patch.setenv(name, value)
            code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess([], code, shown.out, shown.err)

    return run


@pytest.fixture
def signed(work: Path, home: dict[str, str]) -> Path:
    """A model that Alice signed, the root above her, and a log."""
    chain.make("model.pt", b"weights" * 100, world.CA.leaf("Alice")).write(work)
    (work / "root.pem").write_text(world.ROOT.pem)
    TileLog.init(work / "team-log", origin=ORIGIN, store=home["ATLAS_STORE"])
    return work


@pytest.fixture
def memory(signed: Path, home: dict[str, str]) -> Path:
    """What the log's owner knows of it."""
    return memory_of(ORIGIN, store=home["ATLAS_STORE"])


@pytest.fixture
def vkey(memory: Path) -> str:
    return memory.joinpath("vkey").read_text().strip()


def test_an_artifact_is_logged_and_its_proof_verifies_without_the_log(cli: Command, signed: Path) -> None:
    ran = cli("log", "add", "model.pt", "--log", "team-log")
    assert ran.returncode == 0 and ran.stdout.startswith("logged "), ran.stderr
    for words in (["--log", "team-log"], ["--proof", "model.pt.tlog-proof", "--offline"]):
        ran = cli("log", "verify", "model.pt", *words)
        assert ran.returncode == 0, ran.stderr
        assert f"its signature is entry 0 of the 1 in {ORIGIN}" in ran.stdout
    ran = cli("log", "verify", "model.pt", "--export", "model.pt.tle.json")
    assert ran.returncode == 0, ran.stderr
    (signed / "model.pt.tlog-proof").rename(signed / "away")
    ran = cli("log", "verify", "model.pt", "--proof", "model.pt.tle.json")
    assert ran.returncode == 0 and "entry 0 of the 1" in ran.stdout, ran.stderr
    (signed / "team-log").rename(signed / "elsewhere")
    ran = cli("log", "verify", "model.pt", "--json")
    assert json.loads(ran.stdout)["index"] == 0
    ran = cli("verify", "model.pt", "--trust", "root.pem", "--require-log")
    assert ran.returncode == 0 and "1 of 1 logged" in ran.stdout, ran.stdout
    assert cli("log", "add", "model.pt", "--log", "elsewhere").returncode == 0
    assert TileLog(signed / "elsewhere", read_only=True, store=signed.parent / "store").head().size == 1
    assert cli("log", "flush").stdout == "0 logged, 0 not\n"


def test_a_bundle_carries_one_proof_and_not_what_is_none(cli: Command, signed: Path) -> None:
    assert cli("log", "add", "model.pt", "--log", "team-log").returncode == 0
    proof = (signed / "model.pt.tlog-proof").read_bytes()
    (signed / "model.pt.tlog-proof").write_bytes(b"no proof\n")
    ran = cli("bundle", "model.pt", "out")
    assert ran.returncode == 0, ran.stderr
    listed = [name for name in ran.stdout.split() if name.endswith(".tlog-proof")]
    assert len(listed) == 1
    assert (signed / listed[0]).read_bytes() == proof


def test_what_is_no_proof_does_not_matter_where_another_one_holds(cli: Command, signed: Path) -> None:
    assert cli("log", "add", "model.pt", "--log", "team-log").returncode == 0
    (signed / "model.pt.tlog-proof").write_bytes(b"no proof\n")
    assert cli("log", "verify", "model.pt").returncode == 0  # the store has one, and `atlas verify` goes by it too
    assert cli("verify", "model.pt", "--trust", "root.pem", "--require-log").returncode == 0
    assert cli("log", "verify", "model.pt", "--proof", "model.pt.tlog-proof").returncode == 5


def test_a_bundle_of_sigstore_is_held_against_its_log(cli: Command, work: Path) -> None:
    (work / "bundle.json").write_text(json.dumps(sigstore.message_bundle()))
    (work / "log.policy").write_bytes(sigstore.POLICY)
    ran = cli("log", "bundle", "bundle.json", "--log-policy", "log.policy")
    assert ran.returncode == 0 and "its signature is entry 1 of the 3" in ran.stdout, ran.stderr
    lie = sigstore.message_bundle()
    sigstore.change("messageSignature.signature", sigstore.b64(sigstore.sign(b"other")))(lie)
    (work / "bundle.json").write_text(json.dumps(lie))
    assert cli("log", "bundle", "bundle.json", "--log-policy", "log.policy").returncode == 1


def test_somebody_else_needs_the_logs_key_from_its_operator(cli: Command, signed: Path, vkey: str) -> None:
    cli("log", "add", "model.pt", "--log", "team-log")
    elsewhere = {"ATLAS_STORE": str(signed / "another-store")}
    ran = cli("log", "verify", "model.pt", **elsewhere)
    assert ran.returncode == 2 and "no log is trusted" in ran.stderr
    ran = cli("log", "verify", "model.pt", "--log", "team-log", **elsewhere)
    assert ran.returncode == 2 and "no log is trusted" in ran.stderr
    (signed / "log.policy").write_text(f"log {vkey}\nquorum none\n")
    ran = cli("log", "verify", "model.pt", "--log-policy", "log.policy", **elsewhere)
    assert ran.returncode == 0, ran.stderr
    (signed / "other.policy").write_text(f"log {tlog.NoteKey('other.example').vkey}\nquorum none\n")
    ran = cli("log", "verify", "model.pt", "--log-policy", "other.policy", **elsewhere)
    assert ran.returncode == 3 and "no log of the policy signed" in ran.stderr
    ran = cli("verify", "model.pt", "--trust", "root.pem", "--log-policy", "other.policy", **elsewhere)
    assert ran.returncode == 3, ran.stdout


def test_what_is_not_logged_says_so_with_its_own_exit_code(cli: Command, signed: Path) -> None:
    assert cli("log", "verify", "model.pt").returncode == 4
    assert cli("log", "verify", "model.pt", "--log", "team-log").returncode == 4
    assert cli("verify", "model.pt", "--trust", "root.pem", "--require-log").returncode == 4
    assert cli("log", "add", "model.pt").returncode == 2
    assert cli("log", "add", "model.pt", "--url", "rekor.example").returncode == 2
    assert cli("log", "add", "model.pt", "--log", "nowhere").returncode != 0
    assert cli("log", "pending").stdout == "0 signatures not logged yet\n"


def test_a_policy_file_demands_proofs(cli: Command, signed: Path, vkey: str) -> None:
    cli("log", "add", "model.pt", "--log", "team-log")
    (signed / "log.policy").write_text(f"log {vkey}\nquorum none\n")
    rules = {"version": 1, "roots": ["root.pem"], "log_policy": "log.policy", "require_log": True}
    (signed / "policy.json").write_text(json.dumps(rules))
    elsewhere = {"ATLAS_STORE": str(signed / "another-store")}
    ran = cli("verify", "model.pt", "--policy", "policy.json", **elsewhere)
    assert ran.returncode == 0 and f"logged: entry 0 of {ORIGIN}" in ran.stdout, ran.stdout
    (signed / "model.pt.tlog-proof").unlink()
    ran = cli("verify", "model.pt", "--policy", "policy.json", **elsewhere)
    assert ran.returncode == 4 and "org.atlasml.log.missing" in ran.stdout, ran.stdout
    (signed / "policy.json").write_text(json.dumps(rules | {"log_policy": ["x"]}))
    assert cli("verify", "model.pt", "--policy", "policy.json", **elsewhere).returncode == 2


def test_a_folder_with_another_history_than_was_seen_is_refused_and_reported(
    cli: Command, signed: Path, memory: Path, vkey: str
) -> None:
    cli("log", "add", "model.pt", "--log", "team-log")
    assert cli("log", "verify", "model.pt").returncode == 0
    secret = memory.joinpath("key").read_text().strip()
    manifest = (signed / "model.pt.c2pa").read_bytes()
    from forge.manifest import Store as Forged

    key = _SignedBy(secret)
    log = tlog.ForgedLog(key, [b"an entry before", logged.entry(Forged.parse(manifest).active)])
    log.write(signed / "forged")
    other = tlog.ForgedLog(key, log.entries[1:])
    other.entries[0] = b"what the log says instead"
    ran = cli("log", "verify", "model.pt", "--log", "forged")
    assert ran.returncode == 1 and "two histories" in ran.stderr, ran.stderr
    (report,) = memory.glob("equivocation-*.json")
    assert cli("log", "equivocation", report, "--log", vkey).returncode == 0
    tlog.ForgedLog(key, []).write(signed / "empty")
    assert cli("log", "verify", "model.pt", "--log", "empty").returncode == 1


class _SignedBy(tlog.NoteKey):
    """The key of a log whose private key leaked."""

    def __init__(self, skey: str) -> None:
        super().__init__(skey.split("+")[2])
        object.__setattr__(self, "_seed", tlog.base64.b64decode(skey.split("+", 4)[4])[1:])

    @property
    def seed(self) -> bytes:
        return self._seed  # type: ignore[attr-defined, no-any-return]


NO_NETWORK = """
import sys

def hook(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto", "urllib.Request")):
        sys.stderr.write(f"NETWORK: {event} {args}\\n")
        import os
        os._exit(99)

sys.addaudithook(hook)
"""


def test_offline_makes_no_network_call(atlas: Command, signed: Path, vkey: str) -> None:
    """Every way to a socket ends the process. The policy names a log and a witness with URLs, which is tempting."""
    atlas("log", "add", "model.pt", "--log", "team-log")
    witness = tlog.NoteKey("witness.example/w1", tlog.COSIGNATURE)
    policy = f"log {vkey} https://log.example/\nwitness w {witness.vkey} https://witness.example/\nquorum none\n"
    (signed / "log.policy").write_text(policy)
    (signed / "no").mkdir()
    (signed / "no" / "sitecustomize.py").write_text(NO_NETWORK)
    path = os.pathsep.join([str(signed / "no"), str(Path(product.__file__).parent.parent)])
    quiet = {"PYTHONPATH": path}
    trust = ("--trust", "root.pem", "--log-policy", "log.policy", "--offline")
    ran = atlas("verify", "model.pt", *trust, "--require-log", **quiet)
    assert ran.returncode == 0 and "NETWORK" not in ran.stderr, ran.stderr
    ran = atlas("log", "verify", "model.pt", "--log-policy", "log.policy", "--offline", **quiet)
    assert ran.returncode == 0, ran.stderr
    (signed / "model.pt.tlog-proof").unlink()
    elsewhere = {"ATLAS_STORE": str(signed / "another-store"), **quiet}
    assert atlas("verify", "model.pt", *trust, "--require-log", **elsewhere).returncode == 4
    probe = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')"
    ran = subprocess.run([sys.executable, "-c", probe], env={**os.environ, **quiet}, capture_output=True, check=False)
    assert ran.returncode == 99, "the trap itself must work"
