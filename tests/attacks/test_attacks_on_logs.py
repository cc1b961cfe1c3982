"""Somebody, or something, changed the folder of a log: each change is detected, with an error of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas import log as logs
from atlas.errors import AtlasError, SystemFailure
from atlas.log import TileLog
from tests.forge import tlog
from tests.log_crash import build_library, in_memory, run_preloaded

KEY = tlog.NoteKey("log.example/attacked")
SIZE = 600  # two full tiles of level 0, and partial ones of two levels


def entries_of(first: int, count: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(first, first + count)]


@pytest.fixture
def place() -> Iterator[Path]:
    with in_memory() as folder:
        (folder / "key").write_text(KEY.skey)
        yield folder


def made(place: Path, name: str = "log", size: int = SIZE, store: str = "store") -> TileLog:
    log = TileLog.init(place / name, origin=KEY.name, key=place / "key", store=place / store)
    log.append(entries_of(0, size))
    return log


def opened(place: Path, name: str = "log", store: str = "store") -> TileLog:
    return TileLog(place / name, key=place / "key", store=place / store)


def refused(place: Path, code: str, words: str | None = None) -> None:
    """It is not opened, for this reason, and nothing is written; twice, since an error must not wear off."""
    before = state_of(place / "log")
    for _ in range(2):
        with pytest.raises(AtlasError, match=words) as raised:
            opened(place)
        assert raised.value.code == code, raised.value
    assert state_of(place / "log") == before


def state_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def flip(path: Path, at: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


# ------------------------------------------------------------------------------------------------- an older folder


def test_a_folder_that_was_put_back_to_an_older_state_is_refused(place: Path) -> None:
    log = made(place)
    shutil.copytree(place / "log", place / "backup")
    log.append([b"the entry that somebody wants to be gone"])
    del log
    shutil.rmtree(place / "log")
    shutil.copytree(place / "backup", place / "log")
    refused(place, "ATLAS_E_ROLLED_BACK", "says 601 entries, and the log has only 600")


@pytest.mark.parametrize("memory", ["stays", "is put back too"])
def test_a_log_that_is_open_notices_that_its_files_were_put_back(place: Path, memory: str) -> None:
    log = made(place)
    shutil.copytree(place / "log", place / "backup")
    shutil.copytree(place / "store", place / "store backup")
    log.append([b"gone"])
    for name in (".state/head", "checkpoint"):
        shutil.copy(place / "backup" / name, place / "log" / name)
    if memory != "stays":
        shutil.copytree(place / "store backup", place / "store", dirs_exist_ok=True)
    with pytest.raises(AtlasError) as raised:
        log.append([b"more"])
    assert raised.value.code == "ATLAS_E_ROLLED_BACK"


def test_the_state_alone_put_back_is_refused(place: Path) -> None:
    """Even by somebody who remembers nothing: the public checkpoint is newer than the state."""
    log = made(place)
    head = (log.folder / ".state" / "head").read_bytes()
    log.append([b"gone"])
    (log.folder / ".state" / "head").write_bytes(head)
    (logs.memory_of(KEY.name, store=place / "store") / "head").unlink()
    refused(place, "ATLAS_E_ROLLED_BACK", "public checkpoint")


def test_a_public_checkpoint_that_is_older_is_brought_up_to_date(place: Path) -> None:
    log = made(place)
    checkpoint = (log.folder / "checkpoint").read_bytes()
    now = log.append([b"more"]).checkpoint
    (log.folder / "checkpoint").write_bytes(checkpoint)
    opened(place)
    assert (log.folder / "checkpoint").read_bytes() == now


# -------------------------------------------------------------------------------------------------- two histories


def forked(place: Path, more: int) -> None:
    """The folder is exchanged for a copy that went another way; its memory is another user's."""
    log = made(place)
    shutil.copytree(place / "log", place / "copy")
    log.append([b"ours"])
    other = TileLog(place / "copy", key=place / "key", vkey=KEY.vkey, store=place / "other store")
    for i in range(more):
        other.append([b"theirs %d" % i])
    del log, other
    shutil.rmtree(place / "log")
    (place / "copy").rename(place / "log")


@pytest.mark.parametrize("more", [1, 2, 300], ids=["of one size", "longer", "much longer"])
def test_a_folder_with_another_history_is_refused(place: Path, more: int) -> None:
    forked(place, more)
    refused(place, "ATLAS_E_FORKED", "another history of 601 entries")


def test_two_copies_that_are_both_written_to_are_noticed(place: Path) -> None:
    log = made(place)
    shutil.copytree(place / "log", place / "copy")
    log.append([b"ours"])
    with pytest.raises(AtlasError) as raised:
        TileLog(place / "copy", key=place / "key", store=place / "store")
    assert raised.value.code == "ATLAS_E_ROLLED_BACK"


@pytest.mark.parametrize(("name", "size"), [("checkpoint", SIZE), ("checkpoint", SIZE - 1), ("memory", SIZE - 1)])
def test_a_signed_head_of_another_history_anywhere_is_refused(place: Path, name: str, size: int) -> None:
    made(place)
    forged = tlog.ForgedLog(KEY, [b"forged"] * size)
    memory = logs.memory_of(KEY.name, store=place / "store") / "head"
    (memory if name == "memory" else place / "log" / name).write_bytes(forged.checkpoint())
    refused(place, "ATLAS_E_FORKED")


def test_a_larger_checkpoint_than_the_head_is_refused(place: Path) -> None:
    made(place)
    forged = tlog.ForgedLog(KEY, entries_of(0, SIZE + 1))
    (place / "log" / "checkpoint").write_bytes(forged.checkpoint())
    refused(place, "ATLAS_E_ROLLED_BACK", "says 601 entries, and the log has only 600")


# -------------------------------------------------------------------------------------------------- false signatures


@pytest.mark.parametrize("name", [".state/head", "checkpoint", "memory"])
@pytest.mark.parametrize("how", ["another key", "another origin", "flipped", "empty", "text"])
def test_a_head_that_the_log_did_not_sign_is_refused(place: Path, name: str, how: str) -> None:
    made(place)
    path = logs.memory_of(KEY.name, store=place / "store") / "head" if name == "memory" else place / "log" / name
    note = path.read_bytes()
    text = note[: note.rindex(b"\n\n") + 1]
    if how == "flipped":
        flip(path, 25)
    else:
        path.write_bytes(
            {
                "another key": tlog.NoteKey("somebody").note(text),
                "another origin": KEY.note(text.replace(KEY.name.encode(), b"log.example/other")),
                "empty": b"",
                "text": text,
            }[how]
        )
    with pytest.raises(AtlasError) as raised:
        opened(place)
    assert raised.value.code in ("ATLAS_E_SIGNATURE", "ATLAS_E_NOTE")


# -------------------------------------------------------------------------------------------------------------- tiles


def test_every_tile_and_bundle_that_is_edited_is_named_by_the_check(place: Path) -> None:
    log = made(place)
    log.append([b"so that older partial tiles are there"])
    for path in sorted(p for p in (log.folder / "tile").rglob("*") if p.is_file()):
        good = path.read_bytes()
        for at in (0, len(good) // 2, len(good) - 1):
            flip(path, at)
            wrong, told = log.check()
            assert wrong and path.relative_to(log.folder).as_posix() in " ".join(where for where, _ in told)
            path.write_bytes(good)
        path.write_bytes(good[:-1])
        assert log.check()[0]
        path.unlink()
        is_old = path.parent.name.endswith(".p") and path.name not in ("89", "2")
        assert bool(log.check()[0]) is not is_old, "an older partial tile need not be there for ever"
        path.write_bytes(good)
    assert log.check() == (0, [])


def test_a_tile_below_full_tiles_of_level_1_is_named_and_not_the_files_that_it_contradicts(place: Path) -> None:
    log = made(place, size=65536 + 300)  # one full tile of level 1, and a partial one
    for name in ("tile/0/000", "tile/0/256"):
        flip(log.folder / name, 64)
        wrong, told = log.check()
        assert (wrong, told[0][0]) == (1, str(log.folder / name)), told
        flip(log.folder / name, 64)
    assert log.check() == (0, [])


@pytest.mark.parametrize("tile", ["tile/0/002.p/88", "tile/1/000.p/2"])
@pytest.mark.parametrize("how", ["flipped", "short", "gone"])
def test_a_log_whose_edge_does_not_make_its_signed_root_is_not_opened(place: Path, tile: str, how: str) -> None:
    made(place)
    path = place / "log" / tile
    if how == "flipped":
        flip(path, 40)
    elif how == "short":
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-32])
    else:
        path.unlink()
    refused(place, "ATLAS_E_TILE")


@pytest.mark.parametrize("how", ["flipped", "short", "gone", "longer"])
def test_nothing_is_appended_after_entries_that_are_not_those_that_were_signed(place: Path, how: str) -> None:
    """Or the false entry would stand in the next bundle, under a new signature."""
    made(place)
    path = place / "log" / "tile/entries/002.p/88"
    good = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes({"flipped": good[:5] + b"X" + good[6:], "short": good[:-1], "longer": good + b"\0\0"}[how])
    before = state_of(place / "log")
    with pytest.raises(AtlasError, match=r"other entries than those that are signed|is missing") as raised:
        opened(place).append([b"more"])
    assert raised.value.code == "ATLAS_E_TILE"
    assert state_of(place / "log") == before


def test_a_proof_is_not_made_from_a_tile_that_was_edited(place: Path) -> None:
    log = made(place)
    flip(place / "log" / "tile/0/000", 64)
    for index in (2, 3, 0, 255):  # the entry itself, its neighbours, and who has a hash over it in its path
        with pytest.raises(AtlasError) as raised:
            log.prove(index, 512)
        assert raised.value.code == "ATLAS_E_TILE"
    with pytest.raises(AtlasError) as raised:
        log.prove(2, 100)  # the edited tile makes a root of its own, which only the newest one can refute
    assert raised.value.code == "ATLAS_E_TILE"
    assert log.prove(300).size == SIZE, "whose path has the tile's hash from the level above"
    with pytest.raises(AtlasError) as raised:
        log.consistency(3)
    assert raised.value.code == "ATLAS_E_TILE"


def test_a_file_that_was_put_where_a_tile_belongs_is_not_served_as_ours(place: Path) -> None:
    """The commit stands, and is finished when the file is out of the way."""
    log = made(place)
    planted = place / "log" / "tile/0/002.p/89"
    planted.write_bytes(b"x" * 89 * 32)
    with pytest.raises(AtlasError, match="not the file that was committed") as raised:
        log.append([b"entry"])
    assert raised.value.code == "ATLAS_E_TILE"
    del log
    with pytest.raises(AtlasError) as raised:
        opened(place)
    assert raised.value.code == "ATLAS_E_TILE"
    planted.unlink()
    log = opened(place)
    assert log.head().size == SIZE + 1
    assert log.check() == (0, [])


# ------------------------------------------------------------------------------------------------------------- stages


def test_a_torn_stage_of_a_commit_that_never_was_is_discarded(place: Path) -> None:
    made(place)
    stage = place / "log" / ".state" / "stage-601-0123456789abcdef"
    for data in (b"", b"atlas-log-stage 1\n", os.urandom(1000)):
        stage.write_bytes(data)
        (place / "log" / ".state" / "tmp-0").write_bytes(data)
        assert opened(place).head().size == SIZE
        assert not stage.exists()
        assert not (place / "log" / ".state" / "tmp-0").exists()


KILL = """
from atlas.log import TileLog
import shutil
base = sys.argv[1]
for n in range(1, 60):
    shutil.copytree(base, f"{base}-{n}")
    if os.fork() == 0:
        log = TileLog(f"{base}-{n}/log", key=f"{base}-{n}/key", store=f"{base}-{n}/store")
        faults.fault_arm(2, n, 0)
        log.append([b"committed, and not in place"] * 5)
        os._exit(0)
    os.wait()
    if b"\\n605\\n" in open(f"{base}-{n}/log/.state/head", "rb").read():
        shutil.rmtree(base)
        os.rename(f"{base}-{n}", base)
        break
"""


@pytest.fixture
def committed(place: Path) -> Path:
    """A log that was killed after its commit: the stage of 605 entries is all that has the new ones."""
    library = build_library(place)
    if library is None:
        pytest.skip("no C compiler")
    base = place / "base"
    base.mkdir()
    (place / "key").rename(base / "key")
    made(base)
    done = run_preloaded(library, KILL, base)
    assert done.returncode == 0, done.stderr
    for path in list(base.iterdir()):
        path.rename(place / path.name)
    (stage,) = (place / "log" / ".state").glob("stage-605-*")
    return stage


def test_a_committed_stage_that_was_edited_is_refused(place: Path, committed: Path) -> None:
    good = committed.read_bytes()
    for at in range(0, len(good), len(good) // 40):
        flip(committed, at)
        refused(place, "ATLAS_E_LOG")
        committed.write_bytes(good)
    for n in (0, 1, 100, len(good) - 1):
        committed.write_bytes(good[:n])
        refused(place, "ATLAS_E_LOG")
    committed.write_bytes(good + b"\0")
    refused(place, "ATLAS_E_LOG")
    committed.write_bytes(good)
    assert opened(place).head().size == 605


def test_a_well_formed_stage_of_another_commit_is_refused(place: Path, committed: Path) -> None:
    """Sealed as a stage must be, under the name of the head's: but it says another size."""
    good = committed.read_bytes()
    head = len(b"atlas-log-stage 1\n")
    count = int.from_bytes(good[head + 48 : head + 52], "big")
    end = head + 52
    for _ in range(count):
        end += 1 + good[end] + 4 + 32
    assert hashlib.sha256(good[:end]).digest() == good[end : end + 32]
    table = good[: head + 8] + (606).to_bytes(8, "big") + good[head + 16 : end]
    committed.write_bytes(table + hashlib.sha256(table).digest() + good[end + 32 :])
    refused(place, "ATLAS_E_LOG", "another commit")


@pytest.mark.parametrize("newer", ["memory", "checkpoint"])
def test_an_older_folder_is_refused_before_its_unfinished_commit_is_finished(
    place: Path, committed: Path, newer: str
) -> None:
    """`refused` sees that nothing was written: not one tile of that commit."""
    shutil.copytree(place / "log", place / "backup")
    opened(place).append([b"gone"])
    now = (place / "log" / "checkpoint").read_bytes()
    shutil.rmtree(place / "log")
    (place / "backup").rename(place / "log")
    if newer == "checkpoint":
        (place / "log" / "checkpoint").write_bytes(now)
        (logs.memory_of(KEY.name, store=place / "store") / "head").unlink()
    refused(place, "ATLAS_E_ROLLED_BACK")


def test_a_committed_stage_that_is_gone_is_refused(place: Path, committed: Path) -> None:
    committed.unlink()
    refused(place, "ATLAS_E_TILE", "is missing")


# ---------------------------------------------------------------------------------------------------- other than files


@pytest.mark.parametrize("name", ["checkpoint", ".state/head", ".state/version", "tile/0/002.p/88"])
def test_a_fifo_or_a_link_where_a_file_belongs_is_refused_at_once(place: Path, name: str) -> None:
    made(place)
    path = place / "log" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SystemFailure):
        opened(place)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SystemFailure):
        opened(place)


# ------------------------------------------------------------------------------------------------------- file systems

VOLUME = """
from atlas.errors import AtlasError
from atlas.log import TileLog
base = sys.argv[1]
log = TileLog.init(base + "/log", origin="log.example/volume", store=base + "/store")
for magic in map(int, sys.argv[2:]):
    faults.fault_magic(ctypes.c_long(magic))
    try:
        print(TileLog(base + "/log", store=base + "/store").warning or "fine")
    except AtlasError as error:
        print(error.code)
    try:
        TileLog.init(f"{base}/{magic}", origin=f"log.example/{magic}", store=base + "/store")
    except AtlasError as error:
        print(error.code)
    else:
        print("made")
"""


def test_a_file_system_that_cannot_keep_the_promise_is_refused_or_warned_of(place: Path) -> None:
    library = build_library(place)
    if library is None:
        pytest.skip("no C compiler")
    expected = {
        0xEF53: "fine", 0x58465342: "fine", 0x9123683E: "fine",
        0x6969: "ATLAS_E_VOLUME", 0xFF534D42: "ATLAS_E_VOLUME", 0xFE534D42: "ATLAS_E_VOLUME",
        0x65735546: "ATLAS_E_VOLUME", 0x0BD00BD0: "ATLAS_E_VOLUME", 0x01021997: "ATLAS_E_VOLUME",
        0x01021994: "gone when the machine stops", 0x794C7630: "overlay", 0x12345678: "not known",
    }  # fmt: skip
    done = run_preloaded(library, VOLUME, place, *expected)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for (magic, words), opening, making in zip(expected.items(), lines[::2], lines[1::2], strict=True):
        assert words in opening, hex(magic)
        assert making == ("ATLAS_E_VOLUME" if words == "ATLAS_E_VOLUME" else "made")
