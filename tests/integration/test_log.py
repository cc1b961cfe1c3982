"""The embedded log: what it writes is a tile log that others read, and what it says of it holds."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas import log as logs
from atlas.errors import AtlasError, KeyFileError, LimitError, MalformedError, SystemFailure, UsageError
from atlas.log import TileLog
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.source import Folder
from atlas.remote.tree import Tree, check_consistency, check_inclusion, leaf_hash
from tests.forge import tlog

ORIGIN = "log.example/team"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is some: a disk takes milliseconds for each of a commit's eleven flushes."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="atlas-test-log-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATLAS_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def log(tmp_path: Path) -> TileLog:
    return TileLog.init(tmp_path / "log", origin=ORIGIN)


def entries_of(first: int, count: int) -> list[bytes]:
    return [f"entry {i}".encode() * (i % 7) for i in range(first, first + count)]


def files_of(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file() and ".state" not in p.parts)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def read_by_others(log: TileLog) -> list[bytes]:
    """Every entry, through the reader of remote logs, which verifies all of it against the checkpoint."""
    source = Folder(log.folder)
    checkpoint = open_checkpoint(source.read("checkpoint", limit=1 << 16), [log.vkey], where="")
    tree = Tree(source, checkpoint.size, checkpoint.root)
    return [entry for i in range(-(-checkpoint.size // 256)) for entry in tree.entries(i)]


# ------------------------------------------------------------------------------------------------------------- format


@pytest.mark.parametrize("batches", [[1], [256], [255, 1, 1], [300, 212, 1], [1, 700], [65_536, 5]], ids=str)
def test_the_folder_has_the_files_that_another_hand_makes_of_the_same_entries(
    tmp_path: Path, batches: list[int]
) -> None:
    key = tlog.NoteKey(ORIGIN)
    (tmp_path / "key").write_text(key.skey)
    log = TileLog.init(tmp_path / "log", origin=ORIGIN, key=tmp_path / "key")
    forged = tlog.ForgedLog(key)
    for count in batches:
        more = [b"%d" % (len(forged.entries) + i) for i in range(count)]
        appended = log.append(more)
        assert (appended.first, appended.count) == (len(forged.entries), count)
        forged.entries += more
        assert appended.checkpoint == forged.checkpoint()
    assert log.vkey == key.vkey
    written = files_of(log.folder)
    assert {name: written.get(name) for name in forged.files()} == forged.files()


def test_every_checkpoint_ever_published_finds_its_tiles_until_they_are_full(log: TileLog) -> None:
    """Readers of an older checkpoint need its partial tiles; when the full one is there, they are gone."""
    notes = [log.append([b"%d" % i]).checkpoint for i in range(256)]
    for size in (1, 2, 100, 255):
        checkpoint = open_checkpoint(notes[size - 1], [log.vkey], where="")
        assert Tree(Folder(log.folder), size, checkpoint.root).entries(0) == [b"%d" % i for i in range(size)]
    assert not list(log.folder.rglob("tile/0/*.p/*")) and not list(log.folder.rglob("tile/entries/*.p/*"))
    log.append([b"next"])
    assert sorted(p.name for p in log.folder.rglob("tile/entries/*.p/*")) == ["1"]


def test_partial_tiles_of_every_published_size_stay_until_the_full_one_is_there(log: TileLog) -> None:
    for count in (3, 4, 90):
        log.append([b"entry"] * count)
    assert sorted(int(p.name) for p in log.folder.rglob("tile/0/000.p/*")) == [3, 7, 97]


def test_proofs_are_those_of_an_independent_reader(log: TileLog) -> None:
    log.append(entries_of(0, 700))
    tree = Tree(Folder(log.folder), log.head().size, log.head().root)
    for index in (0, 1, 255, 256, 511, 699):
        proof = log.prove(index)
        assert proof.leaf == leaf_hash(entries_of(index, 1)[0])
        assert list(proof.path) == tree.inclusion(index)
    for size in (1, 2, 255, 256, 257, 512, 699, 700):
        assert log.consistency(size) == tree.consistency(size)


def test_all_proofs_between_all_sizes_hold(log: TileLog) -> None:
    entries = entries_of(0, 70)
    roots = [hashlib.sha256(b"").digest()]
    for entry in entries:
        log.append([entry])
        roots.append(log.head().root)
    for second in range(1, 71):
        for first in range(1, second + 1):
            check_consistency(first, second, roots[first], roots[second], log.consistency(first, second))
            proof = log.prove(first - 1, second)
            check_inclusion(first - 1, second, leaf_hash(entries[first - 1]), proof.path, roots[second])


def test_an_entry_is_found_by_its_leaf_hash(log: TileLog) -> None:
    log.append(entries_of(0, 600))
    log.append([b"twice", b"other", b"twice"])
    assert log.find(leaf_hash(b"twice")) == 602
    assert log.find(leaf_hash(entries_of(5, 1)[0])) == 5
    assert log.find(leaf_hash(b"never")) is None
    with pytest.raises(UsageError):
        log.find(b"short")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_batches_the_log_reads_back_what_went_in(log: TileLog, seed: int) -> None:
    chance = random.Random(seed)
    everything: list[bytes] = []
    for _ in range(12):
        batch = [chance.randbytes(chance.choice([0, 1, 40, 700])) for _ in range(chance.choice([1, 2, 17, 256, 300]))]
        assert log.append(batch).first == len(everything)
        everything += batch
        if chance.random() < 0.3:
            log = TileLog(log.folder)
    assert read_by_others(log) == everything
    assert log.check() == (0, [])


def test_the_longest_entry_goes_in_and_a_longer_one_does_not(log: TileLog) -> None:
    log.append([b"x" * 65_535, b""])
    with pytest.raises(LimitError, match="entry 1 has more than 65535 bytes"):
        log.append([b"fine", b"x" * 65_536])
    assert read_by_others(log) == [b"x" * 65_535, b""]
    with pytest.raises(UsageError):
        log.append([])


# --------------------------------------------------------------------------------------------------------------- keys


def test_the_key_is_the_users_and_the_folder_has_none(log: TileLog, store: Path) -> None:
    memory = logs.memory_of(ORIGIN)
    assert memory.is_relative_to(store)
    assert (memory / "key").stat().st_mode & 0o777 == 0o600
    secret = (memory / "key").read_text().strip()
    assert all(secret.encode() not in path.read_bytes() for path in log.folder.rglob("*") if path.is_file())
    assert logs.known_key(ORIGIN) == log.vkey
    assert logs.known_key("other") is None


def test_a_folder_that_names_another_key_is_not_believed(log: TileLog, tmp_path: Path) -> None:
    """The attack: exchange log and key together."""
    other = tlog.NoteKey(ORIGIN)
    (tmp_path / "key").write_text(other.skey)
    os.environ["ATLAS_STORE"] = str(tmp_path / "elsewhere")
    TileLog.init(tmp_path / "forged", origin=ORIGIN, key=tmp_path / "key").append([b"forged"])
    os.environ["ATLAS_STORE"] = str(tmp_path / "store")
    with pytest.raises(AtlasError) as raised:
        TileLog(tmp_path / "forged")
    assert raised.value.code == "ATLAS_E_SIGNATURE"
    with pytest.raises(UsageError, match="another key"):
        TileLog(tmp_path / "forged", vkey=other.vkey, read_only=True)


def test_somebody_else_reads_with_the_verifier_key_and_appends_with_the_private_one(
    log: TileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = logs.memory_of(ORIGIN) / "key"
    monkeypatch.setenv("ATLAS_STORE", str(tmp_path / "other user"))
    with pytest.raises(SystemFailure, match="no key for the log"):
        TileLog(log.folder)
    with pytest.raises(UsageError, match="does not know the log"):
        TileLog(log.folder, read_only=True)
    reader = TileLog(log.folder, vkey=log.vkey, read_only=True)
    with pytest.raises(UsageError, match="without its private key"):
        reader.append([b"entry"])
    assert TileLog(log.folder, key=secret).append([b"entry"]).first == 0
    assert reader.refresh().size == 1


@pytest.mark.parametrize("name", [ORIGIN, "log.example/other"])
def test_nothing_is_signed_with_the_key_of_another_log(log: TileLog, tmp_path: Path, name: str) -> None:
    (tmp_path / "other").write_text(tlog.NoteKey(name).skey)
    with pytest.raises(UsageError, match="another key"):
        TileLog(log.folder, key=tmp_path / "other")
    with pytest.raises(KeyFileError, match="not the one of this log"):
        TileLog(log.folder, key=tmp_path / "other", vkey=log.vkey)


@pytest.mark.parametrize("what", ["no key", "PRIVATE+KEY+a+00000000+AA==", ""])
def test_a_file_that_is_no_key_is_said_to_be_none(tmp_path: Path, what: str) -> None:
    (tmp_path / "key").write_text(what)
    with pytest.raises(KeyFileError):
        TileLog.init(tmp_path / "log", origin=ORIGIN, key=tmp_path / "key")


def test_a_log_begins_once_and_in_a_folder_of_its_own(log: TileLog, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        TileLog.init(tmp_path / "again", origin=ORIGIN)
    with pytest.raises(UsageError, match="not empty"):
        TileLog.init(log.folder, origin="log.example/other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        TileLog.init(tmp_path / "full", origin="log.example/third")
    with pytest.raises(MalformedError, match="no log"):
        TileLog(tmp_path / "full")


# ------------------------------------------------------------------------------------------------------------ together


def test_threads_share_commits_and_every_entry_has_its_own_index(log: TileLog) -> None:
    found: dict[int, bytes] = {}
    sizes = set()

    def work(number: int) -> None:
        for i in range(20):
            entry = b"%d/%d" % (number, i)
            appended = log.append([entry])
            found[appended.first] = entry
            sizes.add(appended.size)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(320))
    assert read_by_others(log) == [found[i] for i in range(320)]
    assert len(sizes) < 320, "no two of them ever shared a commit"


def test_every_submitter_of_a_shared_commit_hears_that_it_failed(log: TileLog) -> None:
    for name in ("head", "version"):
        (log.folder / ".state" / name).unlink()
    failed = []

    def work() -> None:
        try:
            log.append([b"entry"])
        except AtlasError as error:
            failed.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ["ATLAS_E_LOG"] * 8


def test_two_who_have_the_log_open_see_each_others_entries(log: TileLog) -> None:
    other = TileLog(log.folder)
    everything = []
    for i in range(40):
        entry = b"%d" % i
        (log, other)[i % 2].append([entry])
        everything.append(entry)
    assert read_by_others(log) == everything
    assert log.head().size == 39 and log.refresh().size == 40


# -------------------------------------------------------------------------------------------------------- cosignatures


def test_a_checkpoint_is_shown_again_with_the_signatures_of_witnesses(log: TileLog) -> None:
    head = log.head()
    note = log.append([b"entry"]).checkpoint
    witness = tlog.NoteKey("witness.example", tlog.COSIGNATURE)
    text = note[: note.rindex(b"\n\n") + 1]
    cosigned = note + witness.line(text, time=1)
    log.publish(cosigned)
    assert (log.folder / "checkpoint").read_bytes() == cosigned
    assert TileLog(log.folder).head().checkpoint == note
    assert (log.folder / "checkpoint").read_bytes() == cosigned, "opening it again takes none away"
    with pytest.raises(UsageError, match="not that of the log's head"):
        log.publish(head.checkpoint)
    with pytest.raises(AtlasError):
        log.publish(tlog.NoteKey(ORIGIN).note(text))
    log.append([b"another"])
    assert log.head().size == 2
