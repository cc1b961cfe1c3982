"""`atlas log init|checkpoint|prove|check`, and `serve` with a token, as a person runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atlas.errors import AtlasError
from atlas.log import TileLog
from atlas.remote import append
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.tree import leaf_hash
from tests.command import Command

ORIGIN = "log.example/team"


@pytest.fixture
def store(atlas: Command, tmp_path: Path) -> Path:
    """The store of the user who runs the commands."""
    found = json.loads(atlas("log", "init", str(tmp_path / "log"), "--origin", ORIGIN, "--json").stdout)
    (memory,) = tmp_path.rglob("logs/*")
    assert (memory / "vkey").read_text().strip() == found["key"]
    return memory.parent.parent


def test_a_log_is_made_once_and_says_its_key(atlas: Command, store: Path, tmp_path: Path) -> None:
    again = atlas("log", "init", str(tmp_path / "other"), "--origin", ORIGIN)
    assert again.returncode == 2
    assert "already" in again.stderr and not (tmp_path / "other").exists()
    full = atlas("log", "init", str(tmp_path / "log"), "--origin", "log.example/other")
    assert full.returncode == 2 and "not empty" in full.stderr


def test_checkpoints_and_proofs_are_printed_as_everybody_else_writes_them(
    atlas: Command, store: Path, tmp_path: Path
) -> None:
    log = TileLog(tmp_path / "log", store=store)
    log.append([b"%d" % i for i in range(300)])
    shown = atlas("log", "checkpoint", str(log.folder))
    assert shown.returncode == 0
    assert open_checkpoint(shown.stdout.encode(), [log.vkey], where="").size == 300
    by_index = atlas("log", "prove", str(log.folder), "7").stdout
    by_leaf = atlas("log", "prove", str(log.folder), leaf_hash(b"7").hex()).stdout
    assert by_index == by_leaf and by_index.startswith("c2sp.org/tlog-proof@v1\nindex 7\n")
    written = atlas("log", "prove", str(log.folder), "7", "--output", str(tmp_path / "proof"))
    assert written.returncode == 0 and (tmp_path / "proof").read_text() == by_index
    for wrong in ("300", "-1", "07", "abc", leaf_hash(b"nothing").hex()):
        assert atlas("log", "prove", str(log.folder), "--", wrong).returncode == 2, wrong


def test_the_check_names_what_is_wrong_and_ends_with_1(atlas: Command, store: Path, tmp_path: Path) -> None:
    log = TileLog(tmp_path / "log", store=store)
    log.append([b"%d" % i for i in range(300)])
    good = atlas("log", "check", str(log.folder))
    assert good.returncode == 0 and "every file hashes to the signed root" in good.stdout
    tile = log.folder / "tile" / "entries" / "000"
    tile.chmod(0o644)
    tile.write_bytes(tile.read_bytes().replace(b"\x00\x03100", b"\x00\x03999"))
    bad = json.loads((ran := atlas("log", "check", str(log.folder), "--json")).stdout)
    assert ran.returncode == 1
    assert (bad["size"], bad["wrong"], bad["files"][0]["file"].endswith("tile/entries/000")) == (300, 1, True)


def test_a_log_that_was_put_back_ends_with_1_and_no_log_with_5(atlas: Command, store: Path, tmp_path: Path) -> None:
    log = TileLog(tmp_path / "log", store=store)
    shutil.copytree(log.folder, tmp_path / "backup")
    log.append([b"entry"])
    del log
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "backup").rename(tmp_path / "log")
    ran = atlas("log", "check", str(tmp_path / "log"), "--json")
    assert (ran.returncode, json.loads(ran.stdout)["error"]["code"]) == (1, "ATLAS_E_ROLLED_BACK")
    assert atlas("log", "check", str(tmp_path)).returncode == 5


def test_somebody_else_needs_the_verifier_key(atlas: Command, store: Path, tmp_path: Path) -> None:
    log = TileLog(tmp_path / "log", store=store)
    log.append([b"entry"])
    other = {"ATLAS_STORE": str(tmp_path / "other")}
    command = [sys.executable, "-m", "atlas", "log", "checkpoint", str(log.folder)]
    environ = {**os.environ, **other}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and "--log" in ran.stderr
    ran = subprocess.run([*command, "--log", log.vkey], env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.startswith(ORIGIN)


@contextmanager
def serving(folder: Path, store: Path, token: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "atlas", "log", "serve", str(folder), "--token-file", str(token)]
    environ = {**os.environ, "ATLAS_STORE": str(store)}
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait(10)


def test_a_served_log_takes_entries_with_the_token_and_proves_them(store: Path, tmp_path: Path) -> None:
    log = TileLog(tmp_path / "log", store=store)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    with serving(log.folder, store, token) as url:
        for i in range(3):
            proof = append.submit(b"from afar %d" % i, url=url, token="0123456789abcdef", log_keys=[log.vkey])
            assert b"\nindex %d\n" % i in proof
        with pytest.raises(AtlasError, match="token"):
            append.submit(b"no", url=url, token="0123456789abcdeX", log_keys=[log.vkey])
    assert log.refresh().size == 3
    assert log.check() == (0, [])
