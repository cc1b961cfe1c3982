"""A stream of bytes, measured as it is written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from plain_measure import CHUNK, chunks, digest, file_tree, measured

from atlas import _core
from atlas.errors import UsageError
from atlas.measure import from_core, measure

DATA = os.urandom(5 * CHUNK + 4321)
ALGORITHMS = ("sha256", "sha384", "sha512")


def streamed(data: bytes, *sizes: int, alg: str = "sha256", threads: int = 0, **wanted: bool) -> tuple[object, ...]:
    """Measure data in pieces of these sizes, over and over."""
    measurer = _core.Measurer(alg, threads=threads, **wanted)
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        measurer.update(data[at : at + size])
        at, turn = at + size, turn + 1
    return measurer.finish()


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("n", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, len(DATA)])
def test_pieces_of_any_size_give_what_the_whole_gives(alg: str, n: int) -> None:
    data = DATA[:n]
    for sizes in ((70_000,), (CHUNK,), (CHUNK + 1,), (CHUNK - 1, 1), (3, 3 * CHUNK, 70_000), (len(DATA),)):
        assert streamed(data, *sizes, alg=alg) == measured(data, alg)


def test_every_number_of_threads_gives_the_same() -> None:
    for threads in range(9):
        for flat, tree in ((True, True), (True, False), (False, True)):
            answer = streamed(DATA, 4 * CHUNK + 7, threads=threads, flat=flat, tree=tree)
            assert answer == measured(DATA, flat=flat, tree=tree)


def test_one_byte_at_a_time(tmp_path: Path) -> None:
    data = DATA[:5000]
    (tmp_path / "file").write_bytes(data)
    assert from_core(streamed(data, 1)) == measure(tmp_path / "file")


def test_every_kind_of_buffer_is_taken_and_nothing_else() -> None:
    measurer = _core.Measurer()
    measurer.update(b"")
    measurer.update(bytearray(DATA[:10]))
    measurer.update(memoryview(DATA)[10 : CHUNK + 10])
    measurer.update(memoryview(DATA[CHUNK + 10 : CHUNK + 18]).cast("Q"))
    with pytest.raises(TypeError):
        measurer.update("text")  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        measurer.update(memoryview(DATA)[::2])
    assert measurer.finish() == measured(DATA[: CHUNK + 18])


def test_the_bytes_are_hashed_before_update_returns() -> None:
    """The optimizer may change the tensors as soon as the save is over."""
    buffer = bytearray(DATA)
    measurer = _core.Measurer()
    measurer.update(buffer)
    buffer[:] = bytes(len(buffer))
    assert measurer.finish() == measured(DATA)


def test_a_buffer_can_be_resized_after_update() -> None:
    buffer = bytearray(DATA)
    measurer = _core.Measurer()
    measurer.update(buffer)
    buffer.clear()
    assert measurer.finish() == measured(DATA)


def test_a_finished_measurer_is_spent() -> None:
    measurer = _core.Measurer()
    measurer.finish()
    with pytest.raises(UsageError, match="finished"):
        measurer.finish()
    with pytest.raises(UsageError, match="finished"):
        measurer.update(b"more")


def test_two_threads_at_once_are_refused_and_leave_the_first_alone() -> None:
    data = bytes(128 * CHUNK)
    measurer = _core.Measurer()
    refused: list[str] = []
    thread = threading.Thread(target=measurer.update, args=(data,))
    thread.start()
    while thread.is_alive() and not refused:
        try:
            measurer.update(b"")
        except UsageError as error:
            refused.append(error.code)
    thread.join()
    assert refused == ["ATLAS_E_BUSY"]
    expected = _core.Measurer()
    expected.update(data)
    assert measurer.finish() == expected.finish()


def test_a_measurer_is_an_error_in_a_forked_child_and_goes_on_in_the_parent() -> None:
    measurer = _core.Measurer()
    measurer.update(DATA[:CHUNK])
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (lambda: measurer.update(b"more"), measurer.finish):
            try:
                call()
            except UsageError as error:
                refused += "forked" in error.text
        os._exit(0 if refused == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    measurer.update(DATA[CHUNK:])
    assert measurer.finish() == measured(DATA)


def test_a_measurer_in_use_while_the_process_forks_does_not_hang_the_child() -> None:
    data = bytes(128 * CHUNK)
    measurer = _core.Measurer()
    thread = threading.Thread(target=measurer.update, args=(data,))
    thread.start()
    child = os.fork()
    if child == 0:
        try:
            measurer.update(b"more")
        except UsageError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()


def test_a_new_measurer_in_a_forked_child_works() -> None:
    streamed(DATA, len(DATA), threads=4)
    child = os.fork()
    if child == 0:
        os._exit(0 if streamed(DATA, len(DATA), threads=4) == measured(DATA) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="neither"):
        _core.Measurer(flat=False, tree=False)
    with pytest.raises(ValueError, match="unknown hash algorithm"):
        _core.Measurer("sha1")
    with pytest.raises(ValueError, match="threads"):
        _core.Measurer(threads=-1)
    with pytest.raises(TypeError):
        type("Sub", (_core.Measurer,), {})


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_chunk_digests_and_their_root_are_the_tree(alg: str) -> None:
    for n in (0, 1, CHUNK, CHUNK + 1, len(DATA)):
        for threads in (0, 1, 3):
            digests = _core.chunk_digests(DATA[:n], alg, threads)
            assert digests == b"".join(digest(chunk, alg) for chunk in chunks(DATA[:n]))
            assert _core.tree_root(alg, digests) == file_tree(DATA[:n], alg)
