"""Files and directories that change while they are measured: an error, or the digest of one version; never a mix."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from plain_measure import CHUNK, directory, file_tree

from atlas import _core
from atlas.errors import FileChanged, NotFound
from atlas.measure import from_core, measure

BIG = 64 * CHUNK


def sparse(path: Path, size: int = BIG) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


class Once:
    """A progress callback that acts when the measurement is in the middle, once."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act: Callable[[], Any] | None = act

    def __call__(self, done: int, total: int) -> None:
        if 0 < done < total and self.act is not None:
            act, self.act = self.act, None
            act()


# ------------------------------------------------------------------------------------------- one file, on cue


def poke(path: Path, at: int, data: bytes = b"X") -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def poke_and_restore_times(path: Path, at: int) -> None:
    before = path.stat()
    poke(path, at)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    sparse(path.with_name("new")).replace(path)


FILE_CHANGES: dict[str, Callable[[Path], Any]] = {
    "a byte that was read already": lambda path: poke(path, 0),
    "a byte that is still to be read": lambda path: poke(path, BIG - 1),
    "a byte, and the times set back": lambda path: poke_and_restore_times(path, 0),
    "appended to": lambda path: poke(path, BIG),
    "truncated by a byte": lambda path: os.truncate(path, BIG - 1),
    "truncated to nothing": lambda path: os.truncate(path, 0),
    "truncated and grown again": lambda path: (os.truncate(path, 0), os.truncate(path, BIG)),
    "replaced": replace,
    "removed": Path.unlink,
    "renamed": lambda path: path.rename(path.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", FILE_CHANGES)
@pytest.mark.parametrize("threads", [1, 4])
def test_a_file_that_changes_while_it_is_read_has_no_digest(tmp_path: Path, change: str, threads: int) -> None:
    path = sparse(tmp_path / "file")
    progress = Once(lambda: FILE_CHANGES[change](path))
    with pytest.raises(FileChanged) as caught:
        measure(path, flat=False, threads=threads, progress=progress)
    assert progress.act is None, "the file was not changed in the middle"
    assert caught.value.where == str(path)
    assert caught.value.code == "ATLAS_E_CHANGED"


def test_a_file_that_is_left_alone_has_one(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file")
    progress = Once(lambda: None)
    assert measure(path, progress=progress).size == BIG
    assert progress.act is None


@pytest.mark.parametrize("change", ["truncated to nothing", "appended to", "a byte that was read already"])
def test_a_descriptor_whose_file_changes_has_no_digest(tmp_path: Path, change: str) -> None:
    path = sparse(tmp_path / "file")
    with path.open("rb") as stream, pytest.raises(FileChanged):
        _core.measure_fd(stream.fileno(), flat=False, progress=Once(lambda: FILE_CHANGES[change](path)))


def test_a_file_that_was_written_a_moment_ago_is_measured_as_it_is(tmp_path: Path) -> None:
    """Within one tick of the clock that stamps files: the next write must not go unnoticed either."""
    path = tmp_path / "file"
    for i in range(50):
        path.write_bytes(b"%d" % i)
        m = measure(path)
        assert m.flat is not None
        assert m.flat.value == hashlib.sha256(b"%d" % i).digest()


# -------------------------------------------------------------------------------------- one file, at random


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


STREAM = os.urandom(4 * CHUNK)
SECONDS = 1.0


def rounds() -> Iterator[None]:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield


def test_a_file_that_is_swapped_gives_one_version_or_an_error(tmp_path: Path) -> None:
    versions = [STREAM, STREAM[: 3 * CHUNK] + bytes(CHUNK)]
    known = {(hashlib.sha256(v).digest(), file_tree(v)) for v in versions}
    path = tmp_path / "file"
    path.write_bytes(versions[0])
    turn = 0

    def swap() -> None:
        nonlocal turn
        turn += 1
        path.with_name("new").write_bytes(versions[turn % 2])
        path.with_name("new").replace(path)
        time.sleep(0.01 * (turn % 5))

    seen = 0
    with meanwhile(swap):
        for _ in rounds():
            try:
                m = measure(path, threads=2)
            except FileChanged:
                continue
            seen += 1
            assert m.flat is not None
            assert m.tree is not None
            assert (m.flat.value, m.tree.value) in known
    assert seen > 0
    assert turn > 1


def test_a_file_that_grows_and_shrinks_gives_a_prefix_or_an_error(tmp_path: Path) -> None:
    """Whatever length it had, its bytes were always the first ones of the stream."""
    path = tmp_path / "file"
    path.write_bytes(STREAM)
    turn = 0

    def resize() -> None:
        nonlocal turn
        turn += 1
        with path.open("r+b") as stream:
            size = stream.truncate((turn * 7919 * 4096) % len(STREAM))
            stream.seek(size)
            while stream.tell() < len(STREAM):
                stream.write(STREAM[stream.tell() : stream.tell() + 300_000])
                stream.flush()
        time.sleep(0.01 * (turn % 7))

    seen = 0
    with meanwhile(resize):
        for _ in rounds():
            try:
                m = measure(path, threads=2)
            except FileChanged:
                continue
            seen += 1
            assert m.flat is not None
            assert m.tree is not None
            assert m.flat.value == hashlib.sha256(STREAM[: m.size]).digest()
            assert m.tree.value == file_tree(STREAM[: m.size])
    assert seen > 0
    assert turn > 1


# --------------------------------------------------------------------------------------------- directories, on cue


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A large file, which is measured first, and small ones around it."""
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "one").write_bytes(b"one")
    (root / "sub" / "two").write_bytes(b"two")
    (root / "zzz").write_bytes(b"three")
    (root / "link").symlink_to("one")
    sparse(root / "mid")
    return root


def relink(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("./one")


def swap_for_link(root: Path) -> None:
    (root / "sub").rename(root.parent / "moved")
    (root / "sub").symlink_to("../moved")


def replace_root(root: Path) -> None:
    root.rename(root.with_name("old"))
    shutil.copytree(root.with_name("old"), root, symlinks=True)


DIRECTORY_CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a file appears": (lambda root: (root / "new").write_bytes(b""), "new"),
    "a file appears below": (lambda root: (root / "sub" / "new").write_bytes(b""), "sub/new"),
    "a directory with a file appears": (lambda root: shutil.copytree(root / "sub", root / "more"), "more/two"),
    "a small file vanishes": (lambda root: (root / "zzz").unlink(), "zzz"),
    "the large file vanishes": (lambda root: (root / "mid").unlink(), "mid"),
    "a directory vanishes": (lambda root: shutil.rmtree(root / "sub"), "sub/two"),
    "a file is renamed": (lambda root: (root / "one").rename(root / "eins"), "link"),
    "a file is written": (lambda root: (root / "sub" / "two").write_bytes(b"owt"), "sub/two"),
    "a file is written and times are set back": (lambda root: poke_and_restore_times(root / "zzz", 0), "zzz"),
    "a file becomes a FIFO": (lambda root: ((root / "zzz").unlink(), os.mkfifo(root / "zzz")), "zzz"),
    "a file becomes a link": (lambda root: ((root / "zzz").unlink(), (root / "zzz").symlink_to("one")), "zzz"),
    "a link leads elsewhere": (relink, "link"),
    "a directory becomes a link": (swap_for_link, "sub/two"),
}


@pytest.mark.parametrize("change", DIRECTORY_CHANGES)
def test_a_directory_that_changes_while_it_is_read_has_no_digest(root: Path, change: str) -> None:
    act, where = DIRECTORY_CHANGES[change]
    progress = Once(lambda: act(root))
    with pytest.raises(FileChanged) as caught:
        measure(root, progress=progress)
    assert progress.act is None, "the directory was not changed in the middle"
    assert caught.value.where == where


def test_a_directory_that_is_replaced_has_no_digest(root: Path) -> None:
    with pytest.raises(FileChanged, match="replaced") as caught:
        measure(root, progress=Once(lambda: replace_root(root)))
    assert caught.value.where == str(root)


def test_a_directory_that_vanishes_has_no_digest(root: Path) -> None:
    with pytest.raises(FileChanged):
        measure(root, progress=Once(lambda: shutil.rmtree(root)))


def test_what_is_ignored_may_change_meanwhile(root: Path) -> None:
    before = measure(root)

    def act() -> None:
        (root / ".git").mkdir()
        (root / "one.c2pa").write_bytes(b"a sidecar")
        (root / "empty").mkdir()

    progress = Once(act)
    assert measure(root, progress=progress) == before
    assert progress.act is None


# ------------------------------------------------------------------------------------------ directories, at random


def test_a_file_that_moves_to_and_fro_is_in_the_index_exactly_once(tmp_path: Path) -> None:
    files = {b"%d" % i: b"%d" % i for i in range(40)}
    for name, data in files.items():
        (tmp_path / name.decode()).write_bytes(data)
    (tmp_path / "sub").mkdir()
    (tmp_path / "mover").write_bytes(b"mover")
    known = {directory({**files, name: b"mover"})[6] for name in (b"mover", b"sub/mover")}
    turn = 0

    def move() -> None:
        nonlocal turn
        turn += 1
        (tmp_path / "mover").rename(tmp_path / "sub" / "mover")
        time.sleep(0.004 * (turn % 9))
        (tmp_path / "sub" / "mover").rename(tmp_path / "mover")
        time.sleep(0.004 * (turn % 7))

    seen = 0
    with meanwhile(move):
        for _ in rounds():
            try:
                m = from_core(_core.measure_directory(tmp_path, threads=2)[:6])
                assert m.files == 41
                index = measure(tmp_path, threads=2).index
            except (FileChanged, NotFound):
                continue
            seen += 1
            assert index in known
    assert seen > 0
    assert turn > 1


def test_a_directory_that_becomes_a_link_never_leads_out(tmp_path: Path) -> None:
    """An attacker exchanges a directory for a link to one outside, over and over."""
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_bytes(b"inside")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "file").write_bytes(b"secret")
    secret = hashlib.sha256(b"secret").hexdigest().encode()
    turn = 0

    def exchange() -> None:
        nonlocal turn
        turn += 1
        (root / "sub").rename(tmp_path / "aside")
        (root / "sub").symlink_to("../secrets")
        (root / "sub").unlink()
        (tmp_path / "aside").rename(root / "sub")
        time.sleep(0.005 * (turn % 3))

    seen = 0
    with meanwhile(exchange):
        for _ in rounds():
            try:
                index = measure(root).index
            except OSError:
                continue
            seen += 1
            assert index is not None
            assert secret not in index
    assert seen > 0
    assert turn > 1
