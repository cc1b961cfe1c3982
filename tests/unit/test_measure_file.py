"""One file: digests, kinds of files, descriptors, progress, memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from plain_measure import CHUNK, measured

from atlas import _core
from atlas.errors import NotFound, SystemFailure, UsageError
from atlas.measure import from_core, measure
from atlas.model import Digest

ROOT = Path(__file__).parents[2]
ALGORITHMS = ("sha256", "sha384", "sha512")
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5)

# (algorithm, size, first half of flat, first half of tree) of content(size): these may never change.
GOLDEN = [
    ("sha256", 0, "e3b0c44298fc1c149afbf4c8996fb924", "e3b0c44298fc1c149afbf4c8996fb924"),
    ("sha256", 1, "6e340b9cffb37a989ca544e6bb780a2c", "d9de27625445003d8a9739a851e3ff8d"),
    ("sha256", 1048575, "8b55c6a2d3444092a316985030e00c1e", "83a7339a9051a3e697909eb99fcd1585"),
    ("sha256", 1048576, "631b84027d6b9e52b539c4e8373622d2", "35b5427128054552a08aa95463b9992a"),
    ("sha256", 1048577, "5769f52bc3eef28afa39c6fc68cadb7d", "2f397518661ba7bc656e0298ab26a5e8"),
    ("sha256", 3145733, "b01669d77761c4dfdfc8fb927821087b", "1430ec8b341108a49bef88f710409018"),
    ("sha384", 1048577, "554be74fbb64e77f48ff3c05c80a0ad9", "4ada9d8ed986350cf7f78d78f94c6b0a"),
    ("sha384", 3145733, "f93dd424fed99b562d0c6c9c9054645b", "88b99b4e34fb44716eb70fa07de11b3b"),
    ("sha512", 1048577, "5e354eab69ae16c75df3a8a5d2a4c725", "cdb4153ee83dce86b08d032ed3d25d61"),
    ("sha512", 3145733, "4efd5690f44e541ac82036623ee8db41", "61b3fdf7036ac520157801946f9e80f5"),
]


def content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(content(3 * CHUNK + 5))
    return path


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """What hangs is killed by the alarm, so that the test fails instead of waiting."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("alg", "size", "flat", "tree"), GOLDEN)
def test_digests_are_the_same_forever(tmp_path: Path, alg: str, size: int, flat: str, tree: str) -> None:
    (tmp_path / "file").write_bytes(content(size))
    m = measure(tmp_path / "file", alg=alg)
    assert m.flat is not None
    assert m.tree is not None
    assert (m.flat.hex[:32], m.tree.hex[:32], m.size) == (flat, tree, size)


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_every_number_of_threads_gives_the_plain_answer(tmp_path: Path, alg: str, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(size))
    for threads in (0, *range(1, 9), 1000):
        for flat, tree in ((True, True), (True, False), (False, True)):
            expected = measured(content(size), alg, flat=flat, tree=tree)
            assert _core.measure_file(path, alg=alg, flat=flat, tree=tree, threads=threads) == expected


def test_flat_is_what_sha256sum_prints(file: Path) -> None:
    printed = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    m = measure(file)
    assert m.flat is not None
    assert printed.split()[0] == m.flat.hex


def test_a_measurement_says_what_was_measured(file: Path) -> None:
    m = measure(file)
    assert (m.kind, m.size, m.files, m.index, dict(m.links)) == ("file", 3 * CHUNK + 5, 1, None, {})
    assert isinstance(m.oms, Digest)
    assert measure(file, alg="sha512").oms is None
    assert measure(file, flat=False).flat is None
    assert measure(file, tree=False).tree is None
    assert m == from_core(_core.measure_file(str(file))) == from_core(_core.measure_file(os.fsencode(file)))


def test_a_link_that_the_caller_names_is_followed(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    assert measure(link) == measure(file)


def test_a_hard_link_is_a_file_like_any_other(file: Path) -> None:
    os.link(file, file.with_name("twin"))
    assert measure(file.with_name("twin")) == measure(file)


# ------------------------------------------------------------------------------------------------ descriptors


def test_a_descriptor_is_measured_from_the_start_and_keeps_its_position(file: Path) -> None:
    with file.open("rb") as stream:
        stream.seek(17)
        assert from_core(_core.measure_fd(stream.fileno())) == measure(file)
        assert stream.tell() == 17


def test_a_deleted_file_is_measured_through_its_descriptor(file: Path) -> None:
    expected = measure(file)
    with file.open("rb") as stream:
        file.unlink()
        assert from_core(_core.measure_fd(stream.fileno())) == expected


def test_a_memory_file_is_measured() -> None:
    fd = os.memfd_create("file")
    try:
        os.write(fd, content(CHUNK + 1))
        assert _core.measure_fd(fd) == measured(content(CHUNK + 1))
    finally:
        os.close(fd)


def test_descriptors_that_cannot_be_read_are_errors(file: Path) -> None:
    fd = os.open(file, os.O_WRONLY)
    with pytest.raises(SystemFailure, match="cannot read it"):
        _core.measure_fd(fd)
    os.close(fd)
    with pytest.raises(SystemFailure, match="Bad file descriptor"):
        _core.measure_fd(fd)
    with pytest.raises(SystemFailure):
        _core.measure_fd(-1)


def test_a_pipe_is_refused_without_waiting_for_it() -> None:
    reader, writer = os.pipe()
    with time_limit(10), pytest.raises(SystemFailure, match="not a regular file") as caught:
        _core.measure_fd(reader)
    assert caught.value.code == "ATLAS_E_REFUSED"
    os.close(reader)
    os.close(writer)


# --------------------------------------------------------------------------------------------- what is refused


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "none" / "below"):
        with pytest.raises(NotFound) as caught:
            measure(path)
        assert isinstance(caught.value, FileNotFoundError)
    (tmp_path / "dangling").symlink_to("none")
    with pytest.raises(NotFound):
        measure(tmp_path / "dangling")


def test_fifos_devices_and_sockets_are_refused_without_hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    listener.bind("socket")
    for path in (tmp_path / "fifo", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null")):
        with time_limit(10), pytest.raises(SystemFailure, match="a device, a FIFO or a socket") as caught:
            measure(path)
        assert caught.value.code == "ATLAS_E_REFUSED"
    listener.close()


def test_a_fifo_with_a_writer_loses_nothing(tmp_path: Path) -> None:
    """Not even opened: the writer would go on, and its bytes would be gone."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SystemFailure):
        measure(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_a_directory_is_no_file_and_a_file_no_directory(file: Path) -> None:
    with pytest.raises(SystemFailure, match="is a directory"):
        _core.measure_file(file.parent)
    with pytest.raises(SystemFailure, match="is not a directory"):
        _core.measure_directory(file)


def test_a_file_without_permission_is_an_error_that_names_it(file: Path) -> None:
    file.chmod(0)
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setuid(65534)  # root may read everything
        try:
            measure(file)
        except SystemFailure as error:
            os._exit(0 if "Permission denied" in error.text and error.where == str(file) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_path_too_long_for_the_message_shows_its_end(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 60] * 4)
    with pytest.raises(NotFound) as caught:
        measure(deep / "weights.bin")
    assert caught.value.where.startswith("...")
    assert caught.value.where.endswith("d/weights.bin")


def test_wrong_arguments_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="unknown hash algorithm 'md5'"):
        measure(file, alg="md5")
    with pytest.raises(UsageError, match="neither"):
        measure(file, flat=False, tree=False)
    with pytest.raises(ValueError, match="threads"):
        measure(file, threads=-1)
    with pytest.raises(TypeError, match="progress"):
        _core.measure_file(file, progress=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="null byte"):
        _core.measure_file("a\0b")


# ---------------------------------------------------------------------------------------------------- progress


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def test_progress_goes_up_from_nothing_to_everything(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file", 192 * CHUNK)
    for arguments in ({}, {"flat": False}, {"tree": False}, {"threads": 1}):
        calls: list[tuple[int, int]] = []
        measure(path, progress=lambda done, total, calls=calls: calls.append((done, total)), **arguments)
        assert calls[0] == (0, 192 * CHUNK)
        assert calls[-1] == (192 * CHUNK, 192 * CHUNK)
        assert calls == sorted(calls)


@pytest.mark.parametrize("threads", [1, 4])
def test_progress_that_answers_false_stops_the_measurement(tmp_path: Path, threads: int) -> None:
    path = sparse(tmp_path / "file", 512 * CHUNK)
    calls: list[int] = []

    def until_begun(done: int, _: int) -> bool:
        calls.append(done)
        return done == 0

    with pytest.raises(SystemFailure, match="cancelled") as caught:
        measure(path, progress=until_begun, threads=threads)
    assert caught.value.code == "ATLAS_E_CANCELLED"
    assert 0 < calls[-1] < 512 * CHUNK


def test_an_exception_in_the_callback_comes_out_as_it_is(tmp_path: Path) -> None:
    def fail(done: int, _: int) -> None:
        raise ZeroDivisionError(done)

    for path in (sparse(tmp_path / "file", 2 * CHUNK), tmp_path):
        with pytest.raises(ZeroDivisionError, match="0"):
            measure(path, progress=fail)


def test_a_signal_interrupts_without_any_callback(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file", 4096 * CHUNK)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            measure(path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 2


def test_other_python_threads_run_meanwhile(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file", 256 * CHUNK)
    turns = 0
    stop = threading.Event()

    def spin() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            time.sleep(0.001)

    thread = threading.Thread(target=spin)
    thread.start()
    before = turns
    measure(path)
    during = turns - before
    stop.set()
    thread.join()
    assert during > 10


# ------------------------------------------------------------------------------------------------------ limits


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file", 768 * CHUNK)
    program = (
        "import resource, sys; from atlas import _core\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); _core.measure_file(sys.argv[1], flat=False, threads=8); print(peak() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64 * 1024


def test_no_descriptor_and_no_thread_is_left_behind(tmp_path: Path) -> None:
    def count(what: str) -> int:
        return len(list(Path(f"/proc/self/{what}").iterdir()))

    path = sparse(tmp_path / "file", 8 * CHUNK)
    before = count("fd"), count("task")
    for _ in range(20):
        measure(path, threads=4)
        measure(tmp_path, threads=4)
        with pytest.raises(NotFound):
            measure(tmp_path / "none")
    assert (count("fd"), count("task")) == before


def test_a_child_that_was_forked_after_a_measurement_can_measure(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file", 8 * CHUNK)
    expected = measure(path, threads=4)
    child = os.fork()
    if child == 0:
        os._exit(0 if measure(path, threads=4) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
