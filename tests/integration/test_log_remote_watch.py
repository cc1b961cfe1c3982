"""Logs watched from outside: monitor, copies, and the proof that a log has two histories."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from atlas.errors import MalformedError, NotFound, SystemFailure, VerificationError
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.equivocation import compare, read_report
from atlas.remote.monitor import TwoHistories, Watched, watch
from atlas.remote.source import Folder
from atlas.remote.state import State
from atlas.remote.sync import sync
from atlas.remote.tree import Tree
from tests.forge import tlog

LOG = tlog.NoteKey("log.example/team")
ALICE, MALLORY = b"the key of alice", b"the key of mallory"


def entry(number: int, spki: bytes = ALICE) -> bytes:
    signature = {"content": "AA==", "verifier": {"publicKey": {"rawBytes": base64.b64encode(spki).decode()}}}
    data = {"algorithm": "SHA2_256", "digest": base64.b64encode(number.to_bytes(32, "big")).decode()}
    spec = {"hashedRekordV002": {"data": data, "signature": signature}}
    return json.dumps({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}).encode()


def log_of(size: int, *, fork: int | None = None) -> tlog.ForgedLog:
    """From entry `fork` on they are signed with another key: another history."""
    entries = [entry(i, MALLORY if fork is not None and i >= fork else ALICE) for i in range(size)]
    return tlog.ForgedLog(LOG, entries)


def look(folder: Path, state: Path, **options: object) -> Watched:
    with State(state) as kept:
        return watch(Folder(folder), kept, log_keys=[LOG.vkey], **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ monitor


def test_a_monitor_follows_a_log_that_grows(tmp_path: Path) -> None:
    log = log_of(700)
    for before, size in ((None, 3), (3, 256), (256, 300), (300, 300), (300, 700)):
        found = look(log.write(tmp_path / "log", size), tmp_path / "state")
        assert (found.before, found.size, found.root) == (before, size, tlog.mth(log.leaves[:size]))
        assert found.alerts == ()


def test_a_monitor_lists_the_entries_of_its_keys_and_raises_the_alarm_over_unknown_ones(tmp_path: Path) -> None:
    log = log_of(6, fork=4)
    alice = hashlib.sha256(ALICE).digest()
    log.write(tmp_path / "log")
    found = look(tmp_path / "log", tmp_path / "a", keys={alice})
    assert [(e.index, e.known) for e in found.entries] == [(i, None) for i in range(4)]
    assert found.alerts == ()
    found = look(tmp_path / "log", tmp_path / "b", keys={alice}, known=set(log.leaves[:3]))
    assert [e.known for e in found.entries] == [True, True, True, False]
    assert found.alerts == ("entry 3 is signed with a watched key and is not among the known ones",)
    assert look(tmp_path / "log", tmp_path / "b", keys={alice}, known=set()).entries == ()
    assert len(look(tmp_path / "log", tmp_path / "b", keys={alice}, known=set(), everything=True).alerts) == 4


@pytest.mark.parametrize("strange", [b"", b"{}", b"[" * 10000, b'{"kind":"hashedrekord","spec":[]}', b"\xff"])
def test_an_entry_that_is_no_hashedrekord_is_an_alert(tmp_path: Path, strange: bytes) -> None:
    log = tlog.ForgedLog(LOG, [entry(0), strange])
    assert look(log.write(tmp_path / "log"), tmp_path / "state").alerts == ("entry 1 is no hashedrekord entry",)


@pytest.mark.parametrize("path", ["tile/entries/000", "tile/entries/001.p/44", "tile/0/000", "tile/1/000.p/1"])
def test_an_edit_of_any_file_is_found_and_nothing_is_remembered(tmp_path: Path, path: str) -> None:
    log_of(300).write(tmp_path / "log")
    target = tmp_path / "log" / path
    data = bytearray(target.read_bytes())
    data[20] ^= 1
    target.write_bytes(data)
    with pytest.raises(VerificationError):
        look(tmp_path / "log", tmp_path / "state")
    assert not list((tmp_path / "state").glob("*/checkpoint"))


def test_a_log_that_goes_back_is_not_followed(tmp_path: Path) -> None:
    log = log_of(9)
    look(log.write(tmp_path / "log"), tmp_path / "state")
    with pytest.raises(SystemFailure, match="had 9 entries and now shows a checkpoint of 5"):
        look(log.write(tmp_path / "log", 5), tmp_path / "state")
    assert look(log.write(tmp_path / "log"), tmp_path / "state").before == 9


def test_a_checkpoint_that_the_policy_refuses_is_not_followed(tmp_path: Path) -> None:
    def refuse(note: bytes) -> None:
        raise VerificationError("no witness")

    log_of(3).write(tmp_path / "log")
    with pytest.raises(VerificationError, match="no witness"):
        look(tmp_path / "log", tmp_path / "state", accept=refuse)
    assert not list((tmp_path / "state").glob("*/checkpoint"))


def test_a_log_under_another_key_is_not_followed(tmp_path: Path) -> None:
    log_of(3).write(tmp_path / "log")
    with (
        State(tmp_path / "state") as state,
        pytest.raises(VerificationError, match="not signed by a log that you trust"),
    ):
        watch(Folder(tmp_path / "log"), state, log_keys=[tlog.NoteKey("other").vkey])


def test_an_empty_log_is_followed_and_has_the_root_of_the_empty_tree(tmp_path: Path) -> None:
    look(log_of(0).write(tmp_path / "log"), tmp_path / "state")
    assert look(log_of(2).write(tmp_path / "log"), tmp_path / "state").before == 0
    (tmp_path / "log" / "checkpoint").write_bytes(LOG.note(tlog.checkpoint_text(LOG.name, 0, bytes(32))))
    with pytest.raises(VerificationError, match="root"):
        look(tmp_path / "log", tmp_path / "other")


# -------------------------------------------------------------------------------------------------- two histories


@pytest.mark.parametrize("size", [3, 4, 5, 9, 300])
def test_a_split_view_ends_in_a_report_that_a_third_party_can_check(tmp_path: Path, size: int) -> None:
    look(log_of(4).write(tmp_path / "honest"), tmp_path / "state")
    other = log_of(max(size, 4), fork=2)
    with pytest.raises(TwoHistories) as caught:
        look(other.write(tmp_path / "forked"), tmp_path / "state")
    report = caught.value.report.read_bytes()
    found = read_report(report, [LOG.vkey])
    assert (found.first.size, found.second.size) == (4, max(size, 4))
    assert "two histories" in str(caught.value)
    with pytest.raises(VerificationError):
        read_report(report, [tlog.NoteKey("other").vkey])
    assert look(tmp_path / "honest", tmp_path / "state").before == 4, "what was seen first stays remembered"


def honest_report(first: int, second: int) -> bytes:
    """A report against a log that has done nothing wrong, as far as one can be made."""
    log = log_of(second)
    small, large = (open_checkpoint(log.checkpoint(n), [LOG.vkey], where="") for n in (first, second))
    document = {
        "format": "atlas-equivocation/1",
        "first": small.note.decode(),
        "second": large.note.decode(),
        "prefix_root": base64.b64encode(small.root).decode(),
        "proof": [base64.b64encode(digest).decode() for digest in tlog.consistency(log.leaves, first)],
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize(("first", "second"), [(4, 4), (4, 9), (3, 9), (8, 9), (1, 2)])
def test_an_honest_log_cannot_be_accused(first: int, second: int) -> None:
    report = honest_report(first, second)
    with pytest.raises(VerificationError, match="does not prove"):
        read_report(report, [LOG.vkey])
    document = json.loads(report)
    for root in (bytes(32), b"", log_of(second).root):
        document["prefix_root"] = base64.b64encode(root).decode()
        if root == log_of(first).root:
            continue
        with pytest.raises(VerificationError, match="does not prove"):
            read_report(json.dumps(document).encode(), [LOG.vkey])
    document["proof"] = document["proof"] * 100
    with pytest.raises(VerificationError, match="does not prove"):
        read_report(json.dumps(document).encode(), [LOG.vkey])
    document["proof"] = document["proof"][:-1]
    with pytest.raises(VerificationError, match="does not prove"):
        read_report(json.dumps(document).encode(), [LOG.vkey])


def test_two_logs_do_not_make_one_that_lies() -> None:
    """Both keys are trusted, but no one of them has signed both."""
    second = tlog.ForgedLog(tlog.NoteKey("log.example/other"), [b"a", b"b", b"c", b"d"])
    document = json.loads(honest_report(4, 4))
    document["second"] = second.checkpoint().decode()
    with pytest.raises(VerificationError, match="does not prove"):
        read_report(json.dumps(document).encode(), [LOG.vkey, second.key.vkey])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": "atlas-equivocation/1"}', b"[" * 100000, b"\xff"])
def test_what_is_no_report_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_report(data, [LOG.vkey])


def test_checkpoints_of_one_history_do_not_contradict_each_other() -> None:
    log = log_of(9)
    small, large = (open_checkpoint(log.checkpoint(n), [LOG.vkey], where="") for n in (4, 9))

    class Memory:
        where = "memory"

        def read(self, path: str, *, limit: int) -> bytes:
            return log.files()[path]

    assert compare(small, large, Tree(Memory(), 9, log.root)) is None
    assert compare(small, small) is None


# ------------------------------------------------------------------------------------------------------------ copies


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_has_what_its_readers_need(tmp_path: Path) -> None:
    log = log_of(700)
    for size in (3, 3, 256, 300, 700):
        source, copy = tmp_path / f"log-{size}", tmp_path / "copy"
        sync(Folder(log.write(source, size)), copy, log_keys=[LOG.vkey])
        assert log.files(size).items() <= files(copy).items()
        assert look(copy, tmp_path / "state").size == size


def test_a_copy_never_goes_back_and_never_to_another_history(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    sync(Folder(log_of(9).write(tmp_path / "log")), copy, log_keys=[LOG.vkey])
    before = files(copy)
    with pytest.raises(SystemFailure, match="never goes back"):
        sync(Folder(log_of(5).write(tmp_path / "old")), copy, log_keys=[LOG.vkey])
    with pytest.raises(VerificationError, match="two histories"):
        sync(Folder(log_of(12, fork=2).write(tmp_path / "forked")), copy, log_keys=[LOG.vkey])
    with pytest.raises(VerificationError, match="two histories"):
        sync(Folder(log_of(9, fork=2).write(tmp_path / "same size")), copy, log_keys=[LOG.vkey])
    assert files(copy) == before


def test_a_copy_is_stopped_before_its_checkpoint_by_a_bad_tile(tmp_path: Path) -> None:
    source, copy = tmp_path / "log", tmp_path / "copy"
    log = log_of(600)
    sync(Folder(log.write(source, 300)), copy, log_keys=[LOG.vkey])
    log.write(source)
    (source / "tile/entries/001").write_bytes((source / "tile/entries/000").read_bytes())
    with pytest.raises(VerificationError):
        sync(Folder(source), copy, log_keys=[LOG.vkey])
    assert (copy / "checkpoint").read_bytes() == log.checkpoint(300)
    log.write(source)
    assert sync(Folder(source), copy, log_keys=[LOG.vkey]).size == 600


def test_a_file_in_the_copy_that_is_another_is_not_replaced(tmp_path: Path) -> None:
    log_of(9).write(tmp_path / "log")
    target = tmp_path / "copy/tile/0/000.p/9"
    target.parent.mkdir(parents=True)
    target.write_bytes(bytes(9 * 32))
    with pytest.raises(VerificationError, match="another file of this name"):
        sync(Folder(tmp_path / "log"), tmp_path / "copy", log_keys=[LOG.vkey])
    assert not (tmp_path / "copy/checkpoint").exists()


def test_a_log_without_a_checkpoint_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(NotFound):
        sync(Folder(tmp_path / "log"), tmp_path / "copy", log_keys=[LOG.vkey])
