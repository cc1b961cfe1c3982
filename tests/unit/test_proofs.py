"""Whose logs are trusted without being told, where proofs are looked for, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from forge import logged, tlog

from atlas import proofs
from atlas.errors import MalformedError, SystemFailure, UsageError
from atlas.log_queue import LogQueue, Pending
from atlas.log_target import LogTarget
from atlas.proofs import Shelf, default_log_policy, keep_proof, leaf_of, read_log_policy, remember_head, seen_heads
from atlas.store import Store

ENV, CONFIG, OWN = (tlog.NoteKey(f"{name}.example") for name in ("env", "config", "own"))
ENTRY = b"an entry"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ATLAS_LOG_POLICY", raising=False)
    return Store(tmp_path / "store")


def test_the_nearest_policy_counts_and_no_other(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_log_policy(store) == b""
    place = store.directory / "logs" / "0" / "vkey"
    place.parent.mkdir(parents=True)
    place.write_text(OWN.vkey + "\n")
    assert default_log_policy(store) == f"log {OWN.vkey}\nquorum none\n".encode()
    (tmp_path / "config" / "atlas").mkdir(parents=True)
    (tmp_path / "config" / "atlas" / "log.policy").write_bytes(logged.policy(CONFIG))
    assert default_log_policy(store) == logged.policy(CONFIG)
    (tmp_path / "policy").write_bytes(logged.policy(ENV))
    monkeypatch.setenv("ATLAS_LOG_POLICY", str(tmp_path / "policy"))
    assert default_log_policy(store) == logged.policy(ENV)
    (tmp_path / "policy").write_text("nonsense\n")
    with pytest.raises(UsageError, match="line 1"):
        default_log_policy(store)


def test_a_bad_policy_names_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "log.policy"
    path.write_text(f"log {OWN.vkey}\n")
    with pytest.raises(UsageError, match="quorum") as caught:
        read_log_policy(path)
    assert caught.value.where == str(path)


def test_a_proof_is_found_once_wherever_it_lies(store: Store, tmp_path: Path) -> None:
    artifact, folder = tmp_path / "model.pt", tmp_path / "proofs"
    folder.mkdir()
    keep_proof(store, ENTRY, b"a proof", beside=artifact)
    (folder / f"{leaf_of(ENTRY).hex()}.tlog-proof").write_bytes(b"a proof")
    (folder / f"{leaf_of(ENTRY).hex()}.tle.json").write_bytes(b"{}")
    shelf = Shelf(artifact, folder=folder, store=store)
    assert shelf.find(leaf_of(ENTRY), subject=True) == [b"a proof", b"{}"]
    assert Shelf(artifact, store=store).find(leaf_of(b"another"), subject=False) == []
    (tmp_path / "model.pt.tlog-proof").unlink()
    (tmp_path / "model.pt.tlog-proof").mkdir()
    with pytest.raises(SystemFailure):
        shelf.find(leaf_of(ENTRY), subject=True)


def test_what_was_seen_of_a_log_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "MAX_SEEN", 3)
    for size in (5, 1, 4, 2, 3):
        remember_head(store, OWN.name, size, bytes([size]) * 32, b"note %d" % size)
    assert seen_heads(store) == [b"note 3", b"note 4", b"note 5"]


def test_a_line_of_the_queue_comes_back_as_it_went_in_and_a_damaged_one_is_named(store: Store) -> None:
    target = LogTarget("https://log.example", policy="p", read_url="https://tiles.example", token_file="t").absolute()
    line = Pending(ENTRY, target, "/somewhere/model.pt", "00" * 32, "why not")
    assert Pending.decode(line.encode(), "here") == line
    queue = LogQueue(store)
    queue.folder.mkdir(parents=True)
    for text in (b"", b"{}", b"[]", line.encode().replace(b'"entry": "', b'"entry": "!'), line.encode()[:-5]):
        (queue.folder / "x.json").write_bytes(text)
        with pytest.raises(MalformedError, match="log queue") as caught:
            queue.pending()
        assert caught.value.where == str(queue.folder / "x.json")
