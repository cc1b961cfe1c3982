"""The machine fails: EIO, EINTR, short reads, no threads, an unreadable directory. An error, or the right digest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plain_measure import CHUNK, directory, measured

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from atlas import _core
from atlas.errors import AtlasError
try:
    measure = _core.measure_directory if sys.argv[2] == "directory" else _core.measure_file
    print(measure(sys.argv[1], threads=int(sys.argv[3])))
except AtlasError as error:
    print(error.code, error)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source, "-ldl"], check=True)
    return path


def answer(library: Path, fault: str, path: Path, kind: str = "file", threads: int = 4, *, before: str = "") -> str:
    environment = {**os.environ, "LD_PRELOAD": str(library), "ATLAS_FAULT": fault}
    command = [sys.executable, "-c", before + PROGRAM, path, kind, str(threads)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()


DATA = os.urandom(3 * CHUNK + 17)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("fault", ["none", "eintr", "short", "nothread"])
@pytest.mark.parametrize("threads", [1, 4])
def test_interruptions_short_reads_and_missing_threads_change_nothing(
    library: Path, file: Path, fault: str, threads: int
) -> None:
    assert answer(library, fault, file, threads=threads) == str(measured(DATA))


@pytest.mark.parametrize("threads", [1, 4])
def test_a_read_error_is_an_error_that_names_the_file(library: Path, file: Path, threads: int) -> None:
    assert answer(library, "eio", file, threads=threads) == f"ATLAS_E_IO {file}: cannot read it: Input/output error"


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("fault", ["end", "beyond"])
def test_a_file_that_is_not_as_long_as_it_says_has_no_digest(
    library: Path, file: Path, fault: str, threads: int
) -> None:
    assert answer(library, fault, file, threads=threads).startswith(f"ATLAS_E_CHANGED {file}: ")


CHANGES_IN_ONE_TICK = """
import os, sys
from atlas import _core
from atlas.errors import FileChanged
missed = acted = 0
for round in range(15):
    with open(sys.argv[1], "r+b", buffering=0) as stream:
        os.pwrite(stream.fileno(), os.urandom(8), 0)
        turns = []
        def change(done, total):
            if 0 < done < total and not turns:
                turns.append(os.pwrite(stream.fileno(), os.urandom(8), 0))
        try:
            _core.measure_file(sys.argv[1], threads=1, progress=change)
        except FileChanged:
            acted += 1
        else:
            missed += len(turns)
print(acted, missed)
"""


def test_a_change_within_one_tick_of_the_clock_that_stamps_files_is_noticed(library: Path, file: Path) -> None:
    environment = {**os.environ, "LD_PRELOAD": str(library), "ATLAS_FAULT": "tick"}
    command = [sys.executable, "-c", CHANGES_IN_ONE_TICK, file]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["15", "0"]


def test_a_read_error_inside_a_directory_names_the_file(library: Path, file: Path) -> None:
    (file.parent / "small").write_bytes(b"small")
    text = answer(library, "eio", file.parent, "directory")
    assert text == "ATLAS_E_IO file: cannot read it: Input/output error"
    assert answer(library, "none", file.parent, "directory") == str(directory({b"file": DATA, b"small": b"small"}))


def test_a_disk_that_has_to_be_waited_for_is_asked_by_more_threads(library: Path, tmp_path: Path) -> None:
    """However few the cores are; with the same answer."""
    files = {}
    for i in range(700):
        files[b"%02d/%03d" % (i % 7, i)] = data = os.urandom(i)
        path = tmp_path / "data" / f"{i % 7:02}" / f"{i:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "data" / "big").write_bytes(DATA)
    expected = str(directory({**files, b"big": DATA}))
    start = time.monotonic()
    assert answer(library, "slow", tmp_path / "data", "directory", threads=1) == expected
    alone = time.monotonic() - start
    start = time.monotonic()
    assert answer(library, "slow", tmp_path / "data", "directory", threads=0) == expected
    assert time.monotonic() - start < alone / 2
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
    assert answer(library, "slow", tmp_path / "data", "directory", threads=0, before=few) == expected


def test_a_directory_that_cannot_be_listed_to_its_end_is_an_error(library: Path, tmp_path: Path) -> None:
    files = dict.fromkeys([b"a", b"b", b"c", b"d", b"e", b"f"], b"")
    for name in files:
        (tmp_path / name.decode()).touch()
    assert "cannot list the directory: Input/output error" in answer(library, "readdir", tmp_path, "directory")
    assert answer(library, "none", tmp_path, "directory") == str(
        directory(dict.fromkeys(map(str.encode, "abcdef"), b""))
    )


VERITY = """
import sys, time
from atlas import _core
time.sleep(0.03)
cache = _core.Cache("sha256", bytes(32), b"boot")
for _ in range(2):
    m = _core.measure_file(sys.argv[1], cache=cache)
print(m, cache.use()["trusted"], cache.use()["files"], cache.use()["verity"], sep="; ")
"""


@pytest.mark.parametrize(("fault", "verity"), [("none", 0), ("verity", 1), ("verity-eio", 0)])
def test_a_file_that_the_kernel_guards_is_said_to_be_and_its_digest_stays_ours(
    library: Path, file: Path, fault: str, verity: int
) -> None:
    """This is the ioctl's answer, made up where the kernel has no fs-verity; any error is a plain file."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "ATLAS_FAULT": fault}
    command = [sys.executable, "-c", VERITY, file]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    answer, trusted, *counts = run.stdout.strip().split("; ")
    assert answer == str(measured(DATA))
    assert counts == (["1", str(verity)] if trusted == "True" else ["0", "0"])


ALLOCATIONS = """
import ctypes, sys
from atlas import _core
from atlas.errors import InternalError
shim, path, folder, threads = ctypes.CDLL(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
data = open(path, "rb").read()

def stream():
    measurer = _core.Measurer(threads=threads)
    measurer.update(data)
    return measurer.finish()

calls = [
    lambda: _core.measure_file(path, threads=threads),
    lambda: _core.measure_directory(folder, threads=threads, ignore=["x"]),
    lambda: _core.measure_directory(folder, threads=threads, cache=_core.Cache("sha256", bytes(32), b"boot")),
    lambda: _core.measure_part(path, threads=threads),
    lambda: _core.chunk_digests(data, threads=threads),
    lambda: _core.merkle_inclusion_prove("sha256", bytes(32 * 5), 2),
    stream,
]
for call in calls:
    expected = call()
    n = 0
    while True:
        n += 1
        shim.fault_arm(n)
        try:
            answer = call()
        except (MemoryError, InternalError):
            answer = None
        if not shim.fault_fired():
            break
        assert answer in (None, expected), answer
        assert call() == expected
    assert answer == expected
    print(n - 1, end=" ")
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_every_allocation_may_fail_without_a_wrong_digest(library: Path, file: Path, threads: int) -> None:
    folder = file.parent / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "one").write_bytes(b"one")
    (folder / "sub" / "two").write_bytes(DATA[: CHUNK + 1])
    (folder / "link").symlink_to("sub/two")
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    command = [sys.executable, "-c", ALLOCATIONS, library, file, folder, str(threads)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    failures = [int(n) for n in run.stdout.split()]
    assert len(failures) == 7
    assert min(failures) >= 3, "the allocations were not seen"
    assert failures[1] > 30
