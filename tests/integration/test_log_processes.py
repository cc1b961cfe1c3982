"""One writer at a time, whoever wants to write: processes side by side, killed, forked, and waiting for each other."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atlas.errors import AtlasError, SystemFailure
from atlas.log import TileLog
from tests.log_crash import ORIGIN, build_library, entries_of, in_memory, run_preloaded
from tests.log_kill import trials


@pytest.fixture
def place() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    return child


def ended_well(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def test_eight_processes_append_a_thousand_entries_each_without_gap_or_duplicate(place: Path) -> None:
    log = TileLog.init(place / "log", origin=ORIGIN, store=place / "store")

    def work(number: int) -> None:
        mine = TileLog(place / "log", store=place / "store")
        chance = random.Random(number)
        lines = []
        done = 0
        while done < 1000:
            count = min(chance.choice([1, 2, 20, 60]), 1000 - done)
            first = mine.append([b"%d/%d" % (number, done + i) for i in range(count)]).first
            lines += [f"{first + i} {number}/{done + i}\n" for i in range(count)]
            done += count
        (place / f"said-{number}").write_text("".join(lines))

    children = [in_child(lambda n=n: work(n)) for n in range(8)]
    ended = [ended_well(child) for child in children]
    assert all(ended)
    said = dict(line.split() for n in range(8) for line in (place / f"said-{n}").read_text().splitlines())
    found = entries_of(log, log.refresh().checkpoint)
    assert sorted(map(int, said)) == list(range(8000)), "every index once"
    assert [said[str(i)].encode() for i in range(8000)] == found
    assert len(set(found)) == 8000
    assert log.check() == (0, [])


def test_writers_that_are_killed_at_any_moment_lose_nothing(place: Path) -> None:
    size, acknowledged = trials(place, 40)
    assert 0 < acknowledged <= size


def test_who_waits_too_long_for_the_lock_is_told_and_has_appended_nothing(place: Path) -> None:
    TileLog.init(place / "log", origin=ORIGIN, store=place / "store")
    log = TileLog(place / "log", store=place / "store", wait=0.05)
    with (place / "log" / ".state" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemFailure) as raised:
            log.append([b"entry"])
        assert raised.value.code == "ATLAS_E_LOCKED"
    assert log.append([b"entry"]).first == 0, "and may try again"


def test_a_lock_file_that_was_exchanged_locks_nobody_out_and_lets_nobody_in(place: Path) -> None:
    """Two files of that name would be two locks: whoever got the old one takes the new one too."""
    log = TileLog.init(place / "log", origin=ORIGIN, store=place / "store")
    lock = place / "log" / ".state" / "lock"
    ready, may_go = os.pipe(), os.pipe()

    def append() -> None:
        mine = TileLog(place / "log", store=place / "store")
        os.write(ready[1], b"!")
        os.read(may_go[0], 1)
        mine.append([b"child"])

    child = in_child(append)
    os.read(ready[0], 1)
    with lock.open() as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        os.write(may_go[1], b"!")
        time.sleep(0.2)
        lock.unlink()
        assert log.append([b"parent"]).first == 0
        with lock.open() as new:
            fcntl.flock(new, fcntl.LOCK_EX)
            fcntl.flock(old, fcntl.LOCK_UN)
            time.sleep(0.3)
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "it took the lock of a file that is gone for the lock"
    assert ended_well(child)
    for end in (*ready, *may_go):
        os.close(end)
    assert entries_of(log, log.refresh().checkpoint) == [b"parent", b"child"]


# ----------------------------------------------------------------------------------------------------------------- fork


def test_a_child_of_fork_opens_the_log_again_by_itself(place: Path) -> None:
    log = TileLog.init(place / "log", origin=ORIGIN, store=place / "store")
    log.append([b"parent"])
    assert ended_well(in_child(lambda: _append_as_second(log)))
    assert log.append([b"parent again"]).first == 2
    assert entries_of(log, log.head().checkpoint) == [b"parent", b"child", b"parent again"]


def _append_as_second(log: TileLog) -> None:
    assert log.append([b"child"]).first == 1
    assert log.prove(0).size == 2


def test_the_core_refuses_a_log_that_was_opened_before_the_fork(place: Path) -> None:
    log = TileLog.init(place / "log", origin=ORIGIN, store=place / "store")
    core = log._core

    def work() -> None:
        for call in (lambda: core.append([b"entry"]), core.refresh, core.head, lambda: core.prove(0, 1), core.check):
            with pytest.raises(AtlasError) as raised:
                call()
            assert raised.value.code == "ATLAS_E_BUSY"

    assert ended_well(in_child(work))
    assert log.append([b"entry"]).first == 0


FORKED = """
import threading, time, signal
from atlas.log import TileLog
os.close(1)
os.close(2)  # or whoever waits for the output would wait for the child
base, parent_dies = sys.argv[1], sys.argv[2] == "dies"
log = TileLog(base + "/log", store=base + "/store")
faults.fault_arm(3, 4, 700)  # the commit sleeps in the middle, with the lock
thread = threading.Thread(target=lambda: log.append([b"entry"]), daemon=True)
thread.start()
while faults.fault_count() < 4:
    time.sleep(0.01)
time.sleep(0.05)
# One that Python hears of, or one of a library: then only unlocking helps, which closing alone is not.
child = os.fork() if sys.argv[3] == "os" else ctypes.PyDLL(None).fork()
if child == 0:
    open(base + "/child", "w").write(str(os.getpid()))
    time.sleep(30)
    os._exit(0)
while not os.path.exists(base + "/child"):
    time.sleep(0.01)
if parent_dies:
    os.kill(os.getpid(), signal.SIGKILL)
thread.join()
os._exit(0 if log.head().size == 1 else 1)
"""


@pytest.mark.parametrize(("parent", "fork"), [("lives", "os"), ("lives", "libc"), ("dies", "os")])
def test_a_child_that_was_forked_in_the_middle_of_a_commit_does_not_keep_the_lock(
    place: Path, parent: str, fork: str
) -> None:
    """A worker of a data loader, say, that lives on: with its parent's descriptors."""
    library = build_library(place)
    if library is None:
        pytest.skip("no C compiler")
    TileLog.init(place / "log", origin=ORIGIN, store=place / "store")
    done = run_preloaded(library, FORKED, place, parent, fork)
    assert done.returncode == (0 if parent == "lives" else -9)
    child = int((place / "child").read_text())
    try:
        log = TileLog(place / "log", store=place / "store", wait=1)
        assert log.append([b"after"]).first == (1 if parent == "lives" else 0)
    finally:
        os.kill(child, 9)
