"""Very large files, very many files, odd names: bounded memory and time, one answer for any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from plain_measure import CHUNK, directory, file_tree, listed

from atlas import _core
from atlas.errors import AtlasError, FileChanged, MalformedError, SystemFailure
from atlas.measure import measure
from atlas.parts import measure_part, measurement_of, merge_parts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """Eight terabytes, all holes."""
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        try:
            stream.truncate(8 << 40)
        except OSError:
            pytest.skip("this file system has no files of that size")
    return path


STOPPED = """
import resource, sys
from atlas import _core
from atlas.errors import SystemFailure
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
seen = []
def stop(done, total):
    seen.append(total)
    return done < 600 << 20
for call in (_core.measure_file, lambda path, progress: _core.measure_part(path, progress=progress)):
    try:
        call(sys.argv[1], progress=stop)
    except SystemFailure as error:
        print(error.code, seen[-1] == 8 << 40, peak() - before < 192 << 10)
"""


def test_a_sparse_file_of_terabytes_takes_bounded_memory_and_can_be_stopped(huge: Path) -> None:
    command = [sys.executable, "-c", STOPPED, huge]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.splitlines() == ["ATLAS_E_CANCELLED True True"] * 2


def test_the_last_chunks_of_a_sparse_file_of_terabytes_are_a_part(huge: Path) -> None:
    total = (8 << 40) // CHUNK
    record = measure_part(huge, first=total - 2)
    assert _core.part_range(record) == ("file", total - 2, total, total)
    assert record.splitlines()[3].decode() == file_tree(bytes(2 * CHUNK)).hex()


GROWTH = """
import resource, sys
from atlas import _core
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
_core.measure_directory(sys.argv[1])
before = peak()
_core.measure_directory(sys.argv[2])
print((peak() - before) * 1024 / int(sys.argv[3]))
"""


def test_an_entry_of_a_directory_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    """So ten million, which is the limit, take less than 10 GB; both walks, the digests and the index are in it."""
    few, many, n = tmp_path / "few", tmp_path / "many", 12_000
    few.mkdir()
    many.mkdir()
    for i in range(n):
        os.close(os.open(many / f"{i:08}", os.O_CREAT | os.O_WRONLY))
    command = [sys.executable, "-c", GROWTH, few, many, str(n)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1024


def test_a_long_listing_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    for i in range(4200):
        (tmp_path / f"{i:05}").touch()
    for name in ("00001.c2pa", "00002.tlog-proof", "alone.c2pa", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "__pycache__")  # ignored: not looked at
    (tmp_path / os.fsdecode(b"\xff\xfe name")).write_bytes(b"odd")
    ignore = (".DS_Store", "__pycache__")
    files = {path: Path(os.fsdecode(place)).read_bytes() for path, place in listed(tmp_path, ignore)}
    assert len(files) == 4202
    for threads in (1, 2, 5):
        assert _core.measure_directory(tmp_path, ignore=ignore, threads=threads) == directory(files)


def test_the_error_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    for i in range(24):
        (tmp_path / f"{i:02}").mkdir()
        (tmp_path / f"{i:02}" / "file").touch()
        os.mkfifo(tmp_path / f"{i:02}" / "fifo")
    errors = set()
    for _ in range(10):
        for threads in (1, 3, 8):
            with pytest.raises(SystemFailure) as caught:
                measure(tmp_path, threads=threads)
            errors.add((caught.value.where, caught.value.text))
    assert len(errors) == 1


def test_names_of_any_bytes_are_measured_cached_and_shared_out_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_CACHE_DIR", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    for byte in range(1, 256):
        if byte not in b"./":
            (data / os.fsdecode(bytes([byte]))).write_bytes(bytes([byte]))
    time.sleep(0.03)
    plain = measure(data)
    assert plain.files == 253
    for _ in range(2):
        assert measure(data, cache="stat") == plain
    assert measurement_of(merge_parts(measure_part(data, share=(i, 4)) for i in range(4))) == plain


def test_workers_that_meet_a_swapper_give_one_version_or_an_error(tmp_path: Path) -> None:
    versions = [os.urandom(4 * CHUNK) for _ in range(2)]
    known = {file_tree(version) for version in versions}
    path = tmp_path / "file"
    path.write_bytes(versions[0])
    stop = threading.Event()
    turns = writes = written = 0

    def swap() -> None:
        nonlocal turns, writes, written
        while not stop.is_set():
            turns += 1
            if turns % 3:
                with path.open("r+b") as stream:
                    writes += 1
                    stream.write(versions[turns % 2])
                written += 1
            else:
                path.with_name("new").write_bytes(versions[turns % 2])
                path.with_name("new").replace(path)
            time.sleep(0.015 * (turns % 5))

    thread = threading.Thread(target=swap)
    thread.start()
    seen = 0
    try:
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            before = written
            try:
                m = measurement_of(merge_parts([measure_part(path, share=(i, 2), threads=1) for i in range(2)]))
            except (FileChanged, MalformedError) as error:
                assert isinstance(error, AtlasError)
                continue
            seen += 1
            assert m.tree is not None
            # times are taken when a write call begins: what it does later (a mix on the disk itself) cannot be seen
            assert m.tree.value in known or before != writes
    finally:
        stop.set()
        thread.join()
    assert turns > 3
    assert seen > 0
