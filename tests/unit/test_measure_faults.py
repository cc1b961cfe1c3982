"""The machine fails: EIO, EINTR, short reads, no threads, an unreadable directory. An error, or the right digest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def answer(library: Path, fault: str, path: Path, kind: str = "file", threads: int = 4) -> str:
    environment = {**os.environ, "LD_PRELOAD": str(library), "ATLAS_FAULT": fault}
    command = [sys.executable, "-c", PROGRAM, path, kind, str(threads)]
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


def test_a_read_error_inside_a_directory_names_the_file(library: Path, file: Path) -> None:
    (file.parent / "small").write_bytes(b"small")
    text = answer(library, "eio", file.parent, "directory")
    assert text == "ATLAS_E_IO file: cannot read it: Input/output error"
    assert answer(library, "none", file.parent, "directory") == str(directory({b"file": DATA, b"small": b"small"}))


def test_a_directory_that_cannot_be_listed_to_its_end_is_an_error(library: Path, tmp_path: Path) -> None:
    files = dict.fromkeys([b"a", b"b", b"c", b"d", b"e", b"f"], b"")
    for name in files:
        (tmp_path / name.decode()).touch()
    assert "cannot list the directory: Input/output error" in answer(library, "readdir", tmp_path, "directory")
    assert answer(library, "none", tmp_path, "directory") == str(
        directory(dict.fromkeys(map(str.encode, "abcdef"), b""))
    )


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
    assert len(failures) == 5
    assert min(failures) >= 3, "the allocations were not seen"
    assert failures[1] > 30
