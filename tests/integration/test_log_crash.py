"""No acknowledged entry is ever lost: crashes that drop and reorder what was not flushed, and errors of every write."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.log import TileLog
from tests.log_crash import ORIGIN, build_library, enumerate_crashes, in_memory, read_record, run_preloaded

SHARE = float(os.environ.get("ATLAS_CRASH_SHARE", "0.02"))  # of all states; `make soak` takes all

APPEND = """
from atlas.log import TileLog
base, batches = sys.argv[1], eval(sys.argv[2])
log = TileLog(base + "/log", store=base + "/store")
faults.fault_record(os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT))
at = log.head().size
for n in batches:
    faults.fault_mark(str(log.append([b"entry %d" % i for i in range(at, at + n)]).size).encode())
    at += n
"""

OPEN = """
from atlas.log import TileLog
base = sys.argv[1]
faults.fault_record(os.open(base + ".record", os.O_WRONLY | os.O_APPEND))
faults.fault_mark(str(TileLog(base + "/log", store=base + "/store").head().size).encode())
"""

DIE = """
from atlas.log import TileLog
import shutil
base, count, n = sys.argv[1], int(sys.argv[2]), 0
while True:
    n += 1
    copy = f"{base}-{n}"
    shutil.copytree(base, copy)
    child = os.fork()
    if child == 0:
        faults.fault_record(os.open(copy + ".record", os.O_WRONLY | os.O_CREAT))
        log = TileLog(copy + "/log", store=copy + "/store")
        at = log.head().size
        faults.fault_arm(2, n, 0)
        log.append([b"entry %d" % i for i in range(at, at + count)])
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    print(copy)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


@pytest.fixture
def library(place: Path) -> Path:
    library = build_library(place)
    if library is None:
        pytest.skip("no C compiler")
    return library


def log_of(base: Path, size: int) -> str:
    log = TileLog.init(base / "log", origin=ORIGIN, store=base / "store")
    if size:
        log.append([b"entry %d" % i for i in range(size)])
    return log.vkey


def submitted(size: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(size)]


# -------------------------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize(("before", "batches"), [(0, [1, 1]), (253, [2, 2, 1]), (3, [600])], ids=str)
def test_whatever_a_crash_keeps_of_what_was_not_flushed_no_acknowledged_entry_is_lost(
    place: Path, library: Path, before: int, batches: list[int]
) -> None:
    base = place / "base"
    vkey = log_of(base, before)
    shutil.copytree(base, place / "before")
    done = run_preloaded(library, APPEND, base, batches, place / "record")
    assert done.returncode == 0, done.stderr
    changes = read_record(place / "record", base, place / "before")
    total = before + sum(batches)
    count, sizes = enumerate_crashes(
        place / "before", changes, vkey, submitted(total), place, samples=2, share=SHARE if batches != [1, 1] else 0.3
    )
    assert count > 20
    assert {before, total} <= sizes, "both before and after the commits were seen"


def killed_after_the_commit(place: Path, library: Path, before: int, count: int) -> list[Path]:
    """Logs whose writer was killed at any change after the new head was there, the first one before its name was
    flushed."""
    done = run_preloaded(library, DIE, place / "base", count)
    assert done.returncode == 0, done.stderr
    copies = [Path(line) for line in done.stdout.split()]
    head = b"\n%d\n" % (before + count)
    found = [copy for copy in copies if head in (copy / "log" / ".state" / "head").read_bytes()]
    return [copy for copy in found if list((copy / "log" / ".state").glob("stage-*"))]


@pytest.mark.parametrize(("before", "count"), [(254, 4), (0, 1)], ids=str)
def test_a_crash_of_the_recovery_loses_nothing_either(place: Path, library: Path, before: int, count: int) -> None:
    """Killed after the commit, before everything is in place; then, in the recovery or after it, the power goes, with
    whatever had not been flushed before the kill either."""
    vkey = log_of(place / "base", before)
    killed = killed_after_the_commit(place, library, before, count)
    assert len(killed) > 12
    step, share = (7, min(1, 5 * SHARE)) if before == 0 else (15, SHARE)
    for copy in killed if SHARE == 1 else killed[::step]:
        record = copy.with_name(copy.name + ".record")
        start = len(read_record(record, copy, place / "base"))
        done = run_preloaded(library, OPEN, copy)
        assert done.returncode == 0, done.stderr
        changes = read_record(record, copy, place / "base")
        _, sizes = enumerate_crashes(
            place / "base", changes, vkey, submitted(before + count), place, samples=1, share=share, start=start
        )
        assert before + count in sizes


# --------------------------------------------------------------------------------------------------------------- errors

SWEEP = """
from atlas.errors import AtlasError
from atlas.log import TileLog
from tests.log_crash import entries_of
base, number, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
submitted, acknowledged, errors, n = [], 0, 0, 0
log = TileLog(base + "/log", store=base + "/store")
submitted += entries_of(log, log.head().checkpoint)
while True:
    n += 1
    batch = [b"%d/%d" % (n, i) for i in range(count)]
    size = log.head().size
    faults.fault_arm(1, n, number)
    raised = False
    try:
        appended = log.append(batch)
    except AtlasError as error:
        hit = raised = True
        assert error.code == "ATLAS_E_IO", repr(error)
        assert os.strerror(number) in str(error), error
    else:
        hit = faults.fault_count() >= n
    finally:
        faults.fault_arm(0, 0, 0)
    if not hit:
        break
    errors += 1
    after = log.head().size
    try:
        log.append([b"more"])
    except AtlasError as error:
        assert error.code == "ATLAS_E_BROKEN", repr(error)
        went_on = False
    else:
        went_on = True
        assert not raised or n == 1, "only what comes before the commit may be tried again: the lock"
    log = TileLog(base + "/log", store=base + "/store")
    recovered = entries_of(log, (log.folder / "checkpoint").read_bytes())
    more = [b"more"] if went_on else []
    assert recovered in (submitted + batch + more, submitted + more), (n, len(submitted), len(recovered))
    assert len(recovered) >= after
    assert log.check() == (0, [])
    submitted = recovered
print("failed", errors, "of", n)
"""


@pytest.mark.parametrize(
    ("number", "before", "count"),
    [(errno.EIO, 0, 1), (errno.ENOSPC, 0, 1), (errno.EIO, 250, 300)],
    ids=["EIO", "ENOSPC", "EIO of many files"],
)
def test_every_change_of_the_disk_that_fails_in_turn_is_an_error_and_loses_nothing(
    place: Path, library: Path, number: int, before: int, count: int
) -> None:
    log_of(place / "base", before)
    done = run_preloaded(library, SWEEP, place / "base", number, count)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 25, done.stdout


OPEN_SWEEP = """
from atlas.errors import AtlasError
from atlas.log import TileLog
import shutil
from tests.log_crash import survived
killed, number, vkey = sys.argv[1], int(sys.argv[2]), sys.argv[3]
n = 0
while True:
    n += 1
    base = killed + "-copy"
    shutil.copytree(killed, base)
    faults.fault_arm(1, n, number)
    try:
        TileLog(base + "/log", store=base + "/store")
    except AtlasError as error:
        assert error.code == "ATLAS_E_IO", repr(error)
    hit = faults.fault_count() >= n
    faults.fault_arm(0, 0, 0)
    import pathlib
    assert survived(pathlib.Path(base), vkey, [b"entry %d" % i for i in range(258)], 254) == 258
    shutil.rmtree(base)
    if not hit:
        break
print("failed", n - 1)
"""


def test_every_change_of_a_recovery_that_fails_in_turn_is_an_error_and_loses_nothing(
    place: Path, library: Path
) -> None:
    vkey = log_of(place / "base", 254)
    killed = killed_after_the_commit(place, library, 254, 4)[4]
    done = run_preloaded(library, OPEN_SWEEP, killed, errno.EIO, vkey)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 15, done.stdout
