"""The digest cache: what did not change is not read again; whatever did, or may have, is. Attacks on the times, on the
file of the cache and on its key: a correct answer, if a slower one."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import hmac
import json
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from plain_measure import CHUNK

from atlas import _core
from atlas.cache import cache_directory, level_of
from atlas.cli import main
from atlas.errors import FileChanged, UsageError
from atlas.measure import measure
from atlas.model import Measurement

ROOT = Path(__file__).parents[2]
KEY = b"k" * 32
AGE = 0.03  # older than any clock tick


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("ATLAS_CACHE_DIR", str(place))
    return place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files that are old enough to be remembered."""
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    for i in range(12):
        (root / f"{i:02}").write_bytes(b"%02d" % i * 1000)
    (root / "sub" / "large").write_bytes(os.urandom(CHUNK + 5))
    (root / "sub" / "empty").touch()
    time.sleep(AGE)
    if measure(root / "00", cache="stat").cache.level != "stat":
        pytest.skip("the temporary directory is on a file system whose times are not trusted")
    return root


def plain(path: Path) -> Measurement:
    return measure(path)


def cached(path: Path) -> Measurement:
    """Twice: what the first remembers, the second takes."""
    measure(path, cache="stat")
    return measure(path, cache="stat")


# ------------------------------------------------------------------------------------------------------ what it does


def test_files_that_did_not_change_are_not_read_again(root: Path) -> None:
    first = measure(root, cache="stat")
    second = measure(root, cache="stat")
    assert first == second == plain(root)
    assert (first.cache.files, second.cache.files) == (1, 14)  # one was asked for before
    assert second.cache.level == "stat"
    assert plain(root).cache.level == "off"
    one = measure(root / "sub" / "large", cache="stat")
    assert one == plain(root / "sub" / "large")
    assert one.cache.files == 1


@pytest.mark.parametrize("alg", ["sha256", "sha384", "sha512"])
def test_every_algorithm_has_a_cache_of_its_own(root: Path, alg: str) -> None:
    for path in (root, root / "sub" / "large"):
        measure(path, alg=alg, cache="stat")
        again = measure(path, alg=alg, cache="stat")
        assert again == measure(path, alg=alg)
        assert again.cache.files == again.files


def test_a_digest_that_is_not_known_is_taken_and_the_other_stays_known(root: Path) -> None:
    path = root / "sub" / "large"
    assert measure(path, tree=False, cache="stat").cache.files == 0
    assert measure(path, flat=False, cache="stat").cache.files == 0
    both = measure(path, cache="stat")
    assert both == plain(path)
    assert both.cache.files == 1


def test_one_changed_file_is_the_only_one_that_is_read(root: Path) -> None:
    cached(root)
    (root / "03").write_bytes(b"new")
    time.sleep(AGE)
    changed = measure(root, cache="stat")
    assert changed == plain(root)
    assert changed.cache.files == 13
    assert measure(root, cache="stat").cache.files == 14


def test_links_are_followed_with_a_cache_too(root: Path) -> None:
    (root / "link").symlink_to("sub/large")
    again = cached(root)
    assert again == plain(root)
    assert again.cache.files == 15


def test_nothing_is_remembered_unless_asked(root: Path, home: Path) -> None:
    shutil.rmtree(home)
    measure(root)
    assert not home.exists()
    with pytest.raises(UsageError, match="no such cache level"):
        level_of("always")


# --------------------------------------------------------------------------------------------- attacks on the times


def keep_times(path: Path, act: Callable[[], Any]) -> None:
    before = path.stat()
    act()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.write(data)


def new_inode(path: Path) -> None:
    data = b"x" * path.stat().st_size
    path.unlink()
    path.write_bytes(data)


def moved_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"x" * path.stat().st_size)
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "an edit in place, with the times set back": lambda p: keep_times(p, lambda: overwrite(p, b"EDIT")),
    "a new file of the same size and time": lambda p: keep_times(p, lambda: new_inode(p)),
    "another file of the same size and time moved over it": moved_over,
    "two files of one size exchanged": lambda p: (
        p.rename(p.with_name("aside")),
        p.with_name("05").rename(p),
        p.with_name("aside").rename(p.with_name("05")),
    ),
    "truncated and grown again": lambda p: keep_times(p, lambda: (os.truncate(p, 0), os.truncate(p, 2000))),
    "appended to": lambda p: p.write_bytes(p.read_bytes() + b"x"),
    "written through a mapping": lambda p: keep_times(p, lambda: write_mapped(p)),
    "written through another name": lambda p: (
        os.link(p, p.with_name("99")),
        keep_times(p, lambda: overwrite(p.with_name("99"), b"EDIT")),
        p.with_name("99").unlink(),
    ),
}


def write_mapped(path: Path) -> None:
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        mapped[:4] = b"MMAP"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("age", [0, AGE])
def test_a_change_is_seen_however_it_is_hidden(root: Path, change: str, age: float) -> None:
    assert cached(root).cache.files == 14
    before = plain(root)
    CHANGES[change](root / "04")
    time.sleep(age)
    for path in (root, root / "04"):
        assert measure(path, cache="stat") == plain(path)
        assert measure(path, cache="stat") == plain(path)
    assert plain(root) != before


def known(path: Path) -> bool:
    return measure(path, cache="stat").cache.files == 1


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path, root: Path) -> None:
    """A later change within the same tick of the clock would have the same times."""
    path = tmp_path / "racy"
    tried = 0
    for i in range(40):
        path.write_bytes(b"%03d" % i)
        if i % 2:
            os.utime(path, ns=(0, 0))  # the time of change says nothing, the time of status change all
        cache = _core.Cache("sha256", KEY, b"boot")
        answer = _core.measure_file(path, cache=cache)
        if time.time_ns() - path.stat().st_ctime_ns < 9_000_000:
            tried += 1
            assert cache.count == 0
        assert answer == _core.measure_file(path)
    assert tried > 0


def test_a_file_that_somebody_holds_open_for_writing_is_not_remembered(root: Path) -> None:
    """A write call takes its time when it begins: bytes may follow."""
    path = root / "06"
    with path.open("r+b"):
        assert not known(path)
        assert not known(path)
    assert cached(path).cache.files == 1


def test_a_file_that_is_mapped_for_writing_is_not_remembered(root: Path) -> None:
    """After the first store to a page the times stand still, until the kernel has written the page."""
    path = root / "06"
    with path.open("r+b") as stream:
        mapped = mmap.mmap(stream.fileno(), 0)
    mapped[:1] = b"1"
    time.sleep(AGE)
    assert not known(path)
    mapped[:1] = b"2"
    assert measure(path, cache="stat") == plain(path)
    assert not known(path)
    mapped.close()
    time.sleep(AGE)
    assert cached(path).cache.files == 1


def test_a_mapping_that_was_there_before_is_seen_when_it_stores_again(root: Path) -> None:
    path = root / "07"
    assert cached(path).cache.files == 1
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        for i in range(20):
            mapped[:2] = b"%02d" % i
            assert measure(path, cache="stat") == plain(path)
            time.sleep(0.012)


def test_a_file_system_that_cannot_be_trusted_has_no_cache(root: Path) -> None:
    """tmpfs: a store through a mapping never shows in the times."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("no /dev/shm here")
    folder = shm / f"atlas-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "file").write_bytes(b"tmpfs")
        time.sleep(AGE)
        for path in (folder, folder / "file", folder):
            m = measure(path, cache="stat")
            assert m == plain(path)
            assert (m.cache.level, m.cache.files) == ("off", 0)
    finally:
        shutil.rmtree(folder)


# -------------------------------------------------------------------------------------------- attacks on the cache


def saved(home: Path) -> Path:
    return home / "sha256"


def reseal(data: bytes, key: bytes) -> bytes:
    """The seal once more in Python: HMAC over the head and the digests of the entries' pieces."""
    head, entries = data[:96], data[96:-32]
    pieces = [hashlib.sha256(entries[at : at + CHUNK]).digest() for at in range(0, len(entries), CHUNK)]
    return head + entries + hmac.digest(key, head + b"".join(pieces), "sha256")


def edited(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "attack",
    [
        lambda data: b"",
        lambda data: b"x",
        lambda data: os.urandom(5000),
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[: len(data) // 2],
        lambda data: edited(data, 100),
        lambda data: edited(data, 96 + 64),
        lambda data: edited(data, len(data) - 1),
        lambda data: edited(data, 24),
        lambda data: reseal(edited(data, 96 + 64), KEY),
        lambda data: data[:96] + data[96 + 128 : 96 + 256] + data[96 + 128 :],
    ],
)
def test_a_damaged_or_forged_cache_is_not_believed_and_made_anew(
    root: Path, home: Path, attack: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    cached(root)
    saved(home).write_bytes(attack(saved(home).read_bytes()))
    again = measure(root, cache="stat")
    assert again == plain(root)
    assert again.cache.files == 0
    assert saved(home).stat().st_size != 0
    assert bool(again.cache.warning) == bool(caplog.records)
    assert measure(root, cache="stat").cache.files == 14


def test_every_bit_of_a_saved_cache_is_under_its_seal(root: Path) -> None:
    cache = _core.Cache("sha256", KEY, b"boot")
    _core.measure_file(root / "00", cache=cache)
    data = cache.save()
    assert data == reseal(data, KEY)
    assert len(data) == 96 + 128 + 32
    for at in range(len(data)):
        assert _core.Cache("sha256", KEY, b"boot", edited(data, at)).state in ("damaged", "old")
    assert _core.Cache("sha256", KEY, b"boot", data).count == 1


def test_a_cache_does_not_outlive_the_start_of_the_machine_or_its_key(root: Path) -> None:
    cache = _core.Cache("sha256", KEY, b"boot")
    _core.measure_file(root / "00", cache=cache)
    data = cache.save()
    for other, state in (
        (_core.Cache("sha256", KEY, b"boot", data), "sound"),
        (_core.Cache("sha256", KEY, b"boot 2", data), "old"),
        (_core.Cache("sha384", KEY, b"boot", data), "old"),
        (_core.Cache("sha256", b"x" * 32, b"boot", data), "damaged"),
        (_core.Cache("sha256", KEY, b"boot", reseal(struct.pack("16s", b"atlas-cache 2") + data[16:], KEY)), "old"),
        (_core.Cache("sha256", KEY, b"boot", reseal(data[:24] + struct.pack("Q", 2**61) + data[32:], KEY)), "damaged"),
    ):
        assert (other.state, other.count) == (state, int(state == "sound"))
    with pytest.raises(UsageError):
        _core.Cache("sha256", b"short", b"boot")
    with pytest.raises(UsageError, match="another algorithm"):
        _core.measure_file(root / "00", alg="sha512", cache=cache)
    with pytest.raises(TypeError):
        _core.measure_file(root / "00", cache="stat")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key.chmod(0o644),
        lambda key: key.write_bytes(b"short"),
        lambda key: key.write_bytes(bytes(33)),
        lambda key: (key.rename(key.with_name("moved")), key.symlink_to("moved")),
        lambda key: (key.unlink(), key.mkdir()),
        lambda key: (key.unlink(), os.mkfifo(key, 0o600)),
    ],
)
def test_a_key_that_others_could_know_is_not_used(root: Path, home: Path, spoil: Callable[[Path], Any]) -> None:
    cached(root)
    spoil(home / "key")
    again = measure(root, cache="stat")
    assert again == plain(root)
    assert (again.cache.level, again.cache.files) == ("off", 0)
    assert "key" in again.cache.warning


def test_the_key_is_its_owners_alone_and_made_once(root: Path, home: Path) -> None:
    shutil.rmtree(home)
    cached(root)
    key = (home / "key").read_bytes()
    assert len(key) == 32
    assert (home / "key").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    cached(root)
    assert (home / "key").read_bytes() == key
    assert sorted(path.name for path in home.iterdir()) == ["key", "sha256", "sha256.lock"]


def test_a_cache_that_is_locked_is_read_but_not_written(root: Path, home: Path) -> None:
    cached(root)
    (root / "00").write_bytes(b"new")
    time.sleep(AGE)
    with Path(f"{saved(home)}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        again = measure(root, cache="stat")
        assert time.monotonic() - start < 5
    assert again == plain(root)
    assert again.cache.files == 13
    assert "held by another process" in again.cache.warning


@pytest.mark.parametrize("where", ["the directory is a file", "the cache is a directory", "no directory can be made"])
def test_a_cache_that_cannot_be_kept_is_done_without(
    root: Path, home: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(home)
    if where == "the directory is a file":
        home.write_bytes(b"")
    elif where == "the cache is a directory":
        saved(home).mkdir(parents=True)
    else:
        monkeypatch.setenv("ATLAS_CACHE_DIR", "/proc/nowhere")
    for _ in range(2):
        again = measure(root, cache="stat")
        assert again == plain(root)
        assert again.cache.files == 0
        assert again.cache.warning


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from atlas.measure import measure
m = measure(sys.argv[1], cache="stat")
print(m.tree, m.cache.files, m.cache.warning)
"""


def test_a_full_disk_costs_the_cache_and_nothing_else(root: Path, home: Path) -> None:
    """Every write beyond 100 bytes fails."""
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, root], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert run.startswith(f"{plain(root).tree} 1 the digest cache was not saved: ")
    assert not list(home.glob(".atlas-*"))
    assert measure(root, cache="stat").cache.files == 1  # what was there before is still sound


# ------------------------------------------------------------------------------------------------------- sampling


def test_sampling_reads_known_files_and_notices_a_false_entry(root: Path) -> None:
    """Whoever has the key can write what he wants into the cache: only reading tells."""
    cache = _core.Cache("sha256", KEY, b"boot")
    expected = _core.measure_directory(root, cache=cache)
    assert _core.measure_directory(root, cache=cache, cache_share=1_000_000) == expected
    assert (cache.use()["checked"], cache.use()["files"]) == (14, 0)
    lie = reseal(edited(cache.save(), 96 + 64), KEY)
    believing = _core.Cache("sha256", KEY, b"boot", lie)
    assert _core.measure_directory(root, cache=believing) != expected
    checking = _core.Cache("sha256", KEY, b"boot", lie)
    assert _core.measure_directory(root, cache=checking, cache_share=1_000_000) == expected
    use = checking.use()
    assert (use["false"], use["files"], use["checked"]) == (True, 0, 0)
    assert _core.measure_directory(root, cache=checking) == expected  # what it knows now was read


def test_sampling_one_file_notices_too_and_the_result_says_so(root: Path) -> None:
    path = root / "00"
    cache = _core.Cache("sha256", KEY, b"boot")
    expected = _core.measure_file(path, cache=cache)
    lie = _core.Cache("sha256", KEY, b"boot", reseal(edited(cache.save(), 96 + 64), KEY))
    assert _core.measure_file(path, cache=lie, cache_share=1_000_000) == expected
    assert lie.use()["false"]
    assert _core.measure_file(path, cache=lie) == expected
    assert measure(root, cache="stat+sample").cache.level == "stat+sample"
    with pytest.raises(ValueError, match="millionths"):
        _core.measure_file(path, cache=cache, cache_share=1_000_001)


def test_the_share_that_is_read_again_is_about_what_was_asked_for(tmp_path: Path, root: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for i in range(1500):
        (many / str(i)).touch()
    time.sleep(AGE)
    cache = _core.Cache("sha256", KEY, b"boot")
    _core.measure_directory(many, cache=cache)
    drawn = set()
    for _ in range(3):
        _core.measure_directory(many, cache=cache, cache_share=200_000)
        assert cache.use()["checked"] + cache.use()["files"] == 1500
        assert 200 < cache.use()["checked"] < 400
        drawn.add(cache.use()["checked"])
    assert len(drawn) > 1, "the same files every time"


# --------------------------------------------------------------------------------------------------------- races


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


def test_a_file_that_is_rewritten_all_the_time_never_has_an_old_digest(tmp_path: Path, root: Path) -> None:
    """Every version is on record before it is written; what is measured must be one not older than that."""
    path = tmp_path / "racy"
    versions: list[bytes] = [b"0000"]
    path.write_bytes(versions[0])

    def write() -> None:
        data = b"%04d" % len(versions)
        versions.append(data)
        with path.open("r+b") as stream:
            stream.write(data)
        time.sleep(0.004 * (len(versions) % 9))

    end = time.monotonic() + 0.8
    with meanwhile(write):
        while time.monotonic() < end:
            oldest = max(len(versions) - 2, 0)
            try:
                m = measure(path, cache="stat")
            except FileChanged:
                continue
            assert m.flat is not None
            assert m.flat.value in {hashlib.sha256(v).digest() for v in versions[oldest:]}
    assert len(versions) > 10


def test_directories_that_are_exchanged_are_never_mixed(tmp_path: Path, root: Path) -> None:
    """Their files are known and never touched, so nothing is read: only the directories' times tell. `a` is exchanged
    before `z`, and back in the other order: the old `a` with the new `z` never existed."""
    data = tmp_path / "exchange"
    for name in ("a", "z"):
        (data / name).mkdir(parents=True)
        (data / name / "file").write_bytes(b"old " + name.encode())
        (tmp_path / f"{name}.aside").mkdir()
        (tmp_path / f"{name}.aside" / "file").write_bytes(b"new " + name.encode())
    for i in range(250):
        (data / f"m{i:03}").mkdir()
        (data / f"m{i:03}" / "file").touch()
    time.sleep(AGE)
    old_a, new_z = (hashlib.sha256(b).hexdigest().encode() for b in (b"old a", b"new z"))
    cache = _core.Cache("sha256", KEY, b"boot")
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2

    def exchange(name: str) -> None:
        there, aside = os.fsencode(data / name), os.fsencode(tmp_path / f"{name}.aside")
        assert renameat2(-100, there, -100, aside, 2) == 0

    def turn() -> None:
        for first, second in (("a", "z"), ("z", "a")):
            exchange(first)
            exchange(second)
            time.sleep(random.uniform(0.001, 0.02))

    seen = 0
    _core.measure_directory(data, cache=cache)
    end = time.monotonic() + 1.2
    with meanwhile(turn):
        while time.monotonic() < (end if seen else end + 20):  # a busy machine may need longer
            try:
                index = _core.measure_directory(data, cache=cache, threads=1)[6]
            except FileChanged:
                continue
            seen += cache.use()["files"] == 252
            assert not (old_a in index and new_z in index)
    assert seen > 0, "the cache was never enough"


def test_processes_that_save_at_once_lose_nothing(tmp_path: Path, root: Path, home: Path) -> None:
    script = "import sys; from atlas.measure import measure; print(measure(sys.argv[1], cache='stat').cache.warning)"
    for i in range(3):
        (tmp_path / f"set{i}").mkdir()
        for j in range(40):
            (tmp_path / f"set{i}" / f"{j}").write_bytes(b"%d %d" % (i, j))
    time.sleep(AGE)
    started = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path / f"set{i}"], cwd=ROOT, stdout=subprocess.PIPE)
        for i in range(3)
    ]
    assert [process.communicate()[0] for process in started] == [b"\n"] * 3
    for i in range(3):
        assert measure(tmp_path / f"set{i}", cache="stat").cache.files == 40


def test_threads_that_measure_at_once_do_not_disturb_each_other(root: Path) -> None:
    answers: list[Measurement] = []
    threads = [threading.Thread(target=lambda: answers.append(measure(root, cache="stat"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [plain(root)] * 6


# ------------------------------------------------------------------------------------------------- what is said of it


def test_the_command_line_says_which_level_was_used(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digest", str(root), "--cache", "stat", "--json"]) == 0
    assert main(["digest", str(root), "--cache", "stat+sample", "--json"]) == 0
    decoder = json.JSONDecoder()
    text = capsys.readouterr().out
    first, end = decoder.raw_decode(text)
    second = json.loads(text[end:])
    assert (first["cache"]["level"], second["cache"]["level"]) == ("stat", "stat+sample")
    assert second["cache"]["files"] + second["cache"]["checked"] == 14
    assert main(["digest", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cache"]["level"] == "off"
    assert first["tree"] == second["tree"]


def test_a_signed_manifest_says_what_was_not_read_again(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_STORE", str(tmp_path / "store"))
    assert main(["keygen", "--name", "Alice", str(tmp_path / "keys")]) == 0
    key = str(tmp_path / "keys" / "key.pem")
    cached(root)
    capsys.readouterr()
    assert main(["sign", str(root), "--key", key, "--cache", "stat", "--json"]) == 0
    [gap] = json.loads(capsys.readouterr().out)["gaps"]
    assert gap["reason"] == "14 of 14 files were not read again: unchanged by the digest cache, level stat"
    assert main(["sign", str(root), "--key", key, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gaps"] == []


def test_the_cache_lies_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ATLAS_CACHE_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "atlas" / "cache"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".local" / "share" / "atlas" / "cache"
