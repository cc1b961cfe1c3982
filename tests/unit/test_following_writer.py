"""The writer that hashes behind the caller's back: the digest is always that of the bytes in the file."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import io
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas.hooks.lane import Lane
from atlas.hooks.writer import MeasuredWriter
from atlas.measure import measure

MIB = 1 << 20


class Storage:
    """Memory with the two methods of a torch storage."""

    def __init__(self, size: int) -> None:
        content = bytearray(os.urandom(4099) * (size // 4099 + 1))
        self.array = (ctypes.c_char * size).from_buffer(content)

    def data_ptr(self) -> int:
        return ctypes.addressof(self.array)

    def nbytes(self) -> int:
        return len(self.array)

    @property
    def view(self) -> memoryview:
        return memoryview(self.array).cast("B")


def fails(error: BaseException) -> None:
    raise AssertionError(error)


def writer_to(path: Path, mode: int = os.O_RDWR) -> MeasuredWriter:
    return MeasuredWriter(os.open(path, mode | os.O_CREAT | os.O_TRUNC), fails)


def write(writer: MeasuredWriter, storages: list[Storage], between: Callable[[int], object] = lambda _i: None) -> None:
    for number, storage in enumerate(storages):
        writer.write(b"header %d" % number)
        with writer.holding(storage):
            writer.write(storage.view)
        between(number)
    writer.write(b"end")
    writer.flush()


def is_of_file(writer: MeasuredWriter, path: Path) -> bool:
    return writer.finish() == measure(path)


SIZES = [0, 1, 4096, 300_000, MIB - 1, MIB, MIB + 1, 3 * MIB + 5, 40 * MIB + 3, 7]


@pytest.mark.parametrize("owned", [True, False])
def test_the_digest_is_that_of_the_file_for_pieces_of_every_size(tmp_path: Path, owned: bool) -> None:
    writer = writer_to(tmp_path / "f")
    writer.table_wanted = True
    for size in SIZES:
        storage = Storage(size)
        if owned:
            with writer.holding(storage):
                writer.write(storage.view)
        else:
            writer.write(storage.view)
    writer.close()
    assert not writer.reread
    assert is_of_file(writer, tmp_path / "f")
    data, at = (tmp_path / "f").read_bytes(), 0
    for size in SIZES:
        known = writer.known(at, size)
        assert known in (None, hashlib.sha256(data[at : at + size]).digest())
        assert (known is not None) == (owned and size > 4096)  # the smallest are not worth it
        at += size


def test_a_file_object_gets_every_byte_at_once_and_is_measured(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    writer = MeasuredWriter(buffer, fails)
    for size in (5, 300_000, 2 * MIB, 7 * MIB, 3):
        writer.write(Storage(size).view)
    assert buffer.tell() == writer.written  # nothing is held back from the caller
    writer.close()
    (tmp_path / "f").write_bytes(buffer.getvalue())
    assert is_of_file(writer, tmp_path / "f")


def test_memory_that_changes_after_it_was_written_means_that_the_file_is_read_again(tmp_path: Path) -> None:
    """What hashing sees later than the file did would be a false accusation of the file."""
    writer = writer_to(tmp_path / "f")
    gate = threading.Event()
    assert writer._measurer is not None
    honest = writer._measurer.update

    class Slow:
        finish = writer._measurer.finish

        @staticmethod
        def update(view: memoryview) -> None:
            gate.wait()
            honest(view)

    writer._measurer = Slow()  # type: ignore[assignment]
    storage = Storage(8 * MIB)

    def change(_number: int) -> None:
        ctypes.memset(storage.data_ptr(), 0, storage.nbytes())
        gate.set()

    write(writer, [storage], between=change)
    writer.close()
    assert writer.reread
    assert writer.finish() is None
    assert writer.known(0, 8) is None


def test_a_write_over_what_was_written_means_that_the_file_is_read_again(tmp_path: Path) -> None:
    writer = writer_to(tmp_path / "f")
    write(writer, [Storage(MIB)])
    writer.seek(5)
    writer.write(b"overwritten")
    writer.close()
    assert (writer.reread, writer.holes, writer.finish()) == (True, False, None)
    assert (tmp_path / "f").read_bytes()[5:16] == b"overwritten"


def test_a_seek_to_where_it_stands_changes_nothing_and_one_beyond_leaves_a_hole(tmp_path: Path) -> None:
    writer = writer_to(tmp_path / "f")
    write(writer, [Storage(MIB)])
    assert writer.seek(0, os.SEEK_CUR) == writer.tell() == writer.written
    assert not (writer.holes or writer.reread)
    writer.seek(10, os.SEEK_CUR)
    writer.write(b"x")
    writer.close()
    assert writer.holes
    assert writer.finish() is None


def test_an_owner_lives_until_its_bytes_are_hashed_and_no_longer(tmp_path: Path) -> None:
    """On a GPU every storage is a copy of its own that torch forgets when it has written it."""
    writer = writer_to(tmp_path / "f")
    alive: list[Any] = []
    most = 0
    for _ in range(6):
        storage = Storage(24 * MIB)
        alive.append(weakref.ref(storage))
        with writer.holding(storage):
            writer.write(storage.view)
        del storage
        most = max(most, sum(ref() is not None for ref in alive))
    writer.close()
    gc.collect()
    assert most <= 3  # the one being written, and what is at most 32 MiB behind
    assert not any(ref() is not None for ref in alive)
    assert is_of_file(writer, tmp_path / "f")


def test_memory_that_is_not_its_owners_is_hashed_before_the_write_returns(tmp_path: Path) -> None:
    writer = writer_to(tmp_path / "f")
    data = bytearray(os.urandom(4 * MIB))
    with writer.holding(Storage(4 * MIB)):
        writer.write(data)
    data[:] = bytes(len(data))
    writer.close()
    assert not writer.reread
    assert is_of_file(writer, tmp_path / "f")


def test_a_file_that_cannot_be_read_back_is_not_followed(tmp_path: Path) -> None:
    writer = writer_to(tmp_path / "f", os.O_WRONLY)
    write(writer, [Storage(4 * MIB)])
    writer.close()
    assert not writer.reread
    assert is_of_file(writer, tmp_path / "f")


def test_a_failure_of_hashing_costs_no_byte(tmp_path: Path) -> None:
    seen: list[BaseException] = []
    writer = MeasuredWriter(os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT), seen.append)

    class Broken:
        def update(self, _view: memoryview) -> None:
            raise MemoryError("injected")

    writer._measurer = Broken()  # type: ignore[assignment]
    storages = [Storage(5 * MIB), Storage(5 * MIB)]
    write(writer, storages)
    writer.close()
    assert [str(error) for error in seen] == ["injected"]
    assert writer.reread
    expected = b"".join(b"header %d" % i + bytes(s.view) for i, s in enumerate(storages)) + b"end"
    assert (tmp_path / "f").read_bytes() == expected


def test_a_full_disk_is_the_callers_error_and_ends_the_threads() -> None:
    before = threading.active_count()
    writer = MeasuredWriter(os.open("/dev/full", os.O_RDWR), fails)
    with pytest.raises(OSError, match="No space"), writer.holding(storage := Storage(8 * MIB)):
        writer.write(storage.view)
    writer.abort()
    assert threading.active_count() == before


def test_a_lane_works_in_order_and_passes_over_what_comes_after_a_failure() -> None:
    seen: list[bytes] = []

    def work(view: memoryview) -> None:
        time.sleep(0.001)
        if view == b"bad":
            raise ValueError("injected")
        seen.append(bytes(view))

    lane = Lane("test", work)
    for piece in (b"a", b"b", b"bad", b"c"):
        lane.put(memoryview(piece), None)
    lane.wait()
    assert (seen, str(lane.error), lane.done, lane.total) == ([b"a", b"b"], "injected", 6, 6)
    lane.close()


def test_a_lane_that_is_closed_touches_no_memory_any_more() -> None:
    started = threading.Event()

    def work(_view: memoryview) -> None:
        started.set()
        time.sleep(0.05)

    lane = Lane("test", work)
    storage = Storage(100)
    held = weakref.ref(storage)
    for _ in range(50):
        lane.put(storage.view, storage)
    started.wait()
    lane.close()
    del storage
    gc.collect()
    assert held() is None
    assert lane.done <= 200
