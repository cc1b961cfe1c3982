"""`atlas log monitor|sync|equivocation|witness|serve` as a person runs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Command
from tests.forge import hashedrekord, tlog
from tests.recorded.questions import body

LOG = tlog.NoteKey("log.example/team")
ALICE = hashedrekord.key("alice")


def log_of(size: int, salt: str = "") -> tlog.ForgedLog:
    return tlog.ForgedLog(LOG, [hashedrekord.entry(b"%d%s" % (i, salt.encode()), ALICE) for i in range(size)])


@contextmanager
def running(*arguments: str | Path) -> Iterator[list[str]]:
    """`atlas log ...` in the background; the lines that it says when it listens."""
    command = [sys.executable, "-m", "atlas", "log", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            if "witness" in arguments:
                lines.append(process.stdout.readline())
            yield [line.split()[-1] for line in lines]
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_a_log_is_served_copied_and_watched(atlas: Command, tmp_path: Path) -> None:
    log = log_of(3)
    log.write(tmp_path / "log")
    with running("serve", tmp_path / "log", "--listen", "127.0.0.1:0") as (url,):
        ran = atlas("log", "sync", url, str(tmp_path / "copy"), "--log", LOG.vkey, "--json")
        assert (ran.returncode, json.loads(ran.stdout)["size"]) == (0, 3)
        state = ("--state", str(tmp_path / "state"), "--log", LOG.vkey)
        assert atlas("log", "monitor", url, *state).returncode == 0
        known = tmp_path / "known"
        known.write_text("\n".join(leaf.hex() for leaf in log.leaves[:2]))
        key = hashlib.sha256(hashedrekord.spki(ALICE)).hexdigest()
        options = ("--all", "--key", key, "--known", str(known), "--json")
        ran = atlas("log", "monitor", str(tmp_path / "copy"), *state, *options)
        assert ran.returncode == 1
        seen = json.loads(ran.stdout)
        assert [entry["known"] for entry in seen["entries"]] == [True, True, False]
        assert seen["alerts"] == ["entry 2 is signed with a watched key and is not among the known ones"]


def test_a_log_with_two_histories_is_caught_and_the_proof_can_be_checked(atlas: Command, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"), "--log", LOG.vkey)
    log_of(3).write(tmp_path / "one")
    log_of(5, "another").write(tmp_path / "other")
    assert atlas("log", "monitor", str(tmp_path / "one"), *state).returncode == 0
    caught = atlas("log", "monitor", str(tmp_path / "other"), *state)
    assert caught.returncode == 1
    assert "two histories" in caught.stderr
    (report,) = (tmp_path / "state").glob("equivocation-*.json")
    proven = atlas("log", "equivocation", str(report), "--log", LOG.vkey)
    assert (proven.returncode, proven.stdout.startswith("proven: ")) == (0, True)
    stranger = atlas("log", "equivocation", str(report), "--log", tlog.NoteKey("stranger").vkey)
    assert stranger.returncode == 1


def test_a_witness_of_our_own_runs_and_remembers(atlas: Command, tmp_path: Path) -> None:
    key, state = tmp_path / "witness.key", tmp_path / "state"
    arguments = ("witness", state, "--key", key, "--log", LOG.vkey, "--listen", "127.0.0.1:0")
    vkeys = []
    log = log_of(4)
    for extra, old, size in ((("--new", "witness.example/team"), 0, 2), ((), 2, 4)):
        with running(*arguments, *extra) as (url, vkey):
            vkeys.append(vkey)
            request = urllib.request.Request(f"{url}/add-checkpoint", data=body(log, old, size))
            with urllib.request.urlopen(request, timeout=5) as response:
                assert response.read().startswith("— witness.example/team ".encode())
    assert vkeys[0] == vkeys[1]
    assert key.stat().st_mode & 0o777 == 0o600
    again = atlas("log", *map(str, arguments), "--new", "witness.example/team")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999", ""])
def test_what_is_no_address_is_a_usage_error(atlas: Command, tmp_path: Path, address: str) -> None:
    assert atlas("log", "serve", str(tmp_path), "--listen", address).returncode == 2


def test_a_policy_is_asked_for_its_witnesses(atlas: Command, tmp_path: Path) -> None:
    log = log_of(3)
    log.write(tmp_path / "log")
    witness = tlog.NoteKey("witness.example/w1", tlog.COSIGNATURE)
    policy = tmp_path / "policy"
    policy.write_text(f"log {LOG.vkey}\nwitness w1 {witness.vkey}\nquorum w1\n")
    look = ("log", "monitor", str(tmp_path / "log"), "--state", str(tmp_path / "state"))
    copy = ("log", "sync", str(tmp_path / "log"), str(tmp_path / "copy"))
    for command in (look, copy):
        ran = atlas(*command, "--policy", str(policy))
        assert (ran.returncode, "no cosignature of w1" in ran.stderr) == (1, True)
    (tmp_path / "log/checkpoint").write_bytes(log.checkpoint() + witness.line(log.text(), time=1))
    for command in (look, copy):
        assert atlas(*command, "--policy", str(policy)).returncode == 0
        assert atlas(*command, "--policy", str(policy), "--log", LOG.vkey).returncode == 2
        assert atlas(*command).returncode == 2
