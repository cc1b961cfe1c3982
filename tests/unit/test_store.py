"""The store: manifests by content, found by digest, whatever happens to the index."""

import hashlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from forge import chain, world

from atlas.errors import SystemFailure
from atlas.model import Digest
from atlas.store import Store, default_directory

CONTENT = b"weights"
FLAT = Digest("sha256", hashlib.sha256(CONTENT).digest())


def manifest(name: str = "m.pt", content: bytes = CONTENT) -> bytes:
    return chain.make(name, content, world.TUNER).sidecar


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def names(store: Store, digest: Digest = FLAT) -> list[str]:
    return [entry.name for entry in store.find(digest)]


def index(store: Store) -> Path:
    return store.directory / "index.sqlite"


# --------------------------------------------------------------------------------------------------- contents


def test_what_is_put_comes_back_under_its_sha256(store: Store) -> None:
    data = manifest()
    sha256 = store.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.get(sha256) == data
    assert (store.directory / "objects" / sha256[:2] / sha256).read_bytes() == data
    assert store.put(data) == sha256


def test_opening_and_asking_a_store_makes_no_directory(store: Store) -> None:
    assert store.get("0" * 64) is None
    assert store.find(FLAT) == []
    assert not store.directory.exists()


@pytest.mark.parametrize("name", ["", "..", "0" * 63, "0" * 65, "../../etc/passwd", "A" * 64, "0" * 64 + "\n"])
def test_only_a_sha256_names_an_object(store: Store, name: str, caplog: pytest.LogCaptureFixture) -> None:
    store.put(manifest())
    assert store.get(name) is None
    assert not caplog.records, "nothing was even opened"


def test_a_damaged_object_is_not_returned_and_not_found(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    sha256 = store.put(manifest())
    path = store.directory / "objects" / sha256[:2] / sha256
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with caplog.at_level(logging.WARNING):
        assert store.get(sha256) is None
    assert "is damaged" in caplog.text
    assert store.find(FLAT) == []


def test_putting_again_mends_a_damaged_object(store: Store) -> None:
    sha256 = store.put(manifest())
    (store.directory / "objects" / sha256[:2] / sha256).write_bytes(b"rotten")
    store.put(manifest())
    assert store.get(sha256) == manifest()


def test_an_object_that_became_a_fifo_does_not_block(store: Store) -> None:
    sha256 = store.put(manifest())
    path = store.directory / "objects" / sha256[:2] / sha256
    path.unlink()
    os.mkfifo(path)
    assert store.get(sha256) is None


def test_bytes_that_are_no_manifest_are_kept_but_not_found(store: Store) -> None:
    table = b'{"tensor": "table"}'
    assert store.get(store.put(table)) == table
    assert store.health().indexed == 0


def test_a_manifest_that_cannot_be_parsed_is_kept_but_not_found(store: Store) -> None:
    broken = manifest()[:-20]
    assert store.get(store.put(broken)) == broken
    assert store.find(FLAT) == []


# ---------------------------------------------------------------------------------------------------- finding


def test_an_artifact_is_found_by_its_flat_and_by_its_tree_digest_newest_first(store: Store) -> None:
    for name in ("first.pt", "second.pt", "third.pt"):
        store.put(manifest(name))
    tree = Digest("sha256", world.chain.measure.file_tree(CONTENT))
    assert names(store) == ["third.pt", "second.pt", "first.pt"]
    assert names(store, tree) == ["third.pt", "second.pt", "first.pt"]
    assert [entry.name for entry in store.find(FLAT, limit=1)] == ["third.pt"]
    assert store.find(Digest("sha256", bytes(32))) == []


def test_a_directory_is_found_by_the_digest_of_its_index(store: Store) -> None:
    made = world.honest()[world.RAW]
    store.put(made.sidecar)
    (entry,) = store.find(Digest("sha256", hashlib.sha256(made.bound).digest()))
    assert (entry.name, entry.kind, entry.run) == (world.RAW, "directory", "forge run")


def test_an_ancestor_is_not_mistaken_for_the_artifact(store: Store) -> None:
    report = world.honest()[world.REPORT]
    store.put(report.sidecar)
    model = Digest("sha256", hashlib.sha256(world.honest()[world.TUNED].bound).digest())
    assert store.find(model) == []


def test_an_index_that_lies_names_nothing(store: Store) -> None:
    sha256 = store.put(manifest("other.pt", b"other"))
    with sqlite3.connect(index(store)) as connection:
        connection.execute("INSERT INTO binding VALUES (?, 'sha256', ?)", (FLAT.value, sha256))
        connection.execute("INSERT INTO binding VALUES (?, 'sha256', '../../../etc/passwd')", (FLAT.value,))
    assert store.find(FLAT) == []


def test_a_manifest_with_a_hostile_size_is_indexed_like_any_other(store: Store) -> None:
    forged = chain.reopened(chain.make("m.pt", CONTENT, world.TUNER)).store
    forged.active.touch()["org.atlasml.measurement"].content |= {"size": 2**64 - 1, "name": 7, "kind": ["x"]}
    forged.active.touch()["org.atlasml.run"].content = {"run": b"bytes", "step": None}
    store.put(bytes(forged))
    (entry,) = store.find(FLAT)
    assert (entry.size, entry.kind, entry.run) == (2**64 - 1, "file", "")


# -------------------------------------------------------------------------------------------------- the index


def test_a_deleted_index_is_built_again(store: Store) -> None:
    store.put(manifest())
    index(store).unlink()
    assert names(store) == ["m.pt"]
    assert index(store).exists()


@pytest.mark.parametrize("content", [b"", b"x"])
def test_an_index_cut_short_by_a_crash_is_built_again(store: Store, content: bytes) -> None:
    store.put(manifest())
    index(store).write_bytes(content)
    assert names(store) == ["m.pt"]
    assert store.health().indexed == 1


@pytest.mark.parametrize("damage", [b"not a database " * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_index_is_built_again_with_a_warning(
    store: Store, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(manifest())
    index(store).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert names(store) == ["m.pt"]
    assert "is damaged" in caplog.text
    assert store.health().indexed == 1


def test_damage_in_the_middle_of_the_index_is_survived_by_put_and_find(store: Store) -> None:
    for n in range(200):
        store.put(manifest(f"{n}.pt", b"%d" % n))
    data = bytearray(index(store).read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    index(store).write_bytes(data)
    store.put(manifest("new.pt", b"new"))
    for n in range(200):
        assert names(store, Digest("sha256", hashlib.sha256(b"%d" % n).digest())) == [f"{n}.pt"]


def test_whoever_comes_second_to_mend_the_index_leaves_the_new_one_alone(store: Store) -> None:
    store.put(manifest())
    inode = index(store).stat().st_ino
    store._catalog._replace()
    assert index(store).stat().st_ino == inode


def test_a_database_of_somebody_else_is_replaced(store: Store) -> None:
    store.put(manifest())
    index(store).unlink()
    with sqlite3.connect(index(store)) as connection:
        connection.execute("CREATE TABLE binding (x)")
    assert names(store) == ["m.pt"]


def test_the_index_of_a_newer_version_is_left_alone_and_done_without(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(manifest("old.pt"))
    with sqlite3.connect(index(store)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = index(store).read_bytes()
    store.put(manifest("new.pt"))
    with caplog.at_level(logging.WARNING):
        assert names(store) == ["new.pt", "old.pt"]
    assert "another version" in caplog.text
    assert index(store).read_bytes() == before


def test_a_locked_index_loses_nothing_and_breaks_nothing(store: Store) -> None:
    store.put(manifest("before.pt"))
    store._catalog._busy = 0.05
    other = sqlite3.connect(index(store), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store.put(manifest("during.pt"))
    assert names(store) == ["during.pt", "before.pt"]
    assert store.health().indexed is None
    other.execute("ROLLBACK")
    other.close()
    assert names(store) == ["during.pt", "before.pt"]
    assert store.health().pending == 1
    store.put(manifest("after.pt"))
    assert names(store) == ["after.pt", "during.pt", "before.pt"]
    health = store.health()
    assert (health.objects, health.indexed, health.pending) == (3, 3, 0)


def test_a_crash_before_indexing_loses_nothing(store: Store) -> None:
    store.put(manifest("before.pt"))
    sha256 = hashlib.sha256(manifest("crashed.pt")).hexdigest()
    store._mark(sha256)
    place = store.directory / "objects" / sha256[:2] / sha256
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(manifest("crashed.pt"))
    assert set(names(store)) == {"crashed.pt", "before.pt"}


def test_leftovers_of_a_crash_are_no_objects(store: Store) -> None:
    sha256 = store.put(manifest())
    (store.directory / "objects" / sha256[:2] / ".atlas-0123.tmp").write_bytes(b"half")
    (store.directory / "pending" / ("0" * 64)).touch()
    assert store.health().objects == 1
    assert names(store) == ["m.pt"]
    assert store.rebuild() == 1
    assert store.health().pending == 0


def test_rebuild_gives_the_same_answers_in_the_same_order(store: Store) -> None:
    for n in range(5):
        store.put(manifest(f"{n}.pt"))
    before = store.find(FLAT)
    assert store.rebuild() == 5
    assert store.find(FLAT) == before
    index(store).unlink()
    assert store.find(FLAT) == before


def test_a_store_whose_directory_vanished_answers_and_can_be_used_again(store: Store) -> None:
    sha256 = store.put(manifest())
    shutil.rmtree(store.directory)
    assert store.get(sha256) is None
    assert store.find(FLAT) == []
    store.put(manifest())
    assert names(store) == ["m.pt"]


def test_a_store_that_cannot_be_written_says_so_and_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemFailure) as caught:
        Store(tmp_path / "file" / "store").put(manifest())
    assert "ATLAS_STORE" in caught.value.hint


# -------------------------------------------------------------------------------------------------- read-only


# Root writes wherever it likes, unless this capability is taken from it.
_HUMBLE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

_ASK = """
import sys
from atlas.errors import SystemFailure
from atlas.model import Digest
from atlas.store import Store
store = Store(sys.argv[1])
print([entry.name for entry in store.find(Digest.parse(sys.argv[2]))])
try:
    store.put(b"new")
except SystemFailure as error:
    print("refused:", "cannot be written" in str(error))
"""


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.skipif(bool(_HUMBLE) and not shutil.which("setpriv"), reason="root needs setpriv to be refused anything")
def test_a_read_only_store_answers_with_and_without_an_index(store: Store, with_index: bool) -> None:
    store.put(manifest())
    if not with_index:
        index(store).unlink()
    for place in (store.directory, *store.directory.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        ran = subprocess.run(
            [*_HUMBLE, sys.executable, "-c", _ASK, str(store.directory), str(FLAT)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for place in (store.directory, *store.directory.rglob("*")):
            place.chmod(0o755)
    assert ran.stdout.splitlines() == ["['m.pt']", "refused: True"], ran.stderr
    assert index(store).exists() is with_index


# -------------------------------------------------------------------------------------------------- full disk

_FILL = """
import resource, sys
from atlas.errors import SystemFailure
from atlas.store import Store
data = open(sys.argv[2], "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
try:
    print(Store(sys.argv[1]).put(data))
except SystemFailure as error:
    print("refused:", error.text)
"""


@pytest.mark.parametrize("room", ["nothing", "the object"])
def test_a_full_disk_is_an_error_or_a_later_index_and_never_half_an_object(
    store: Store, tmp_path: Path, room: str
) -> None:
    store.put(manifest("before.pt"))
    data = manifest("new.pt")
    (tmp_path / "new").write_bytes(data)
    limit = 100 if room == "nothing" else len(data)
    words = [sys.executable, "-c", _FILL, str(store.directory), str(tmp_path / "new"), str(limit)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    sha256 = hashlib.sha256(data).hexdigest()
    if room == "nothing":
        assert ran.stdout.startswith("refused: cannot be written")
        assert store.get(sha256) is None
        assert names(store) == ["before.pt"]
    else:
        assert ran.stdout.strip() == sha256
        assert store.health().pending == 1, "the index had no room"
        assert names(store) == ["new.pt", "before.pt"]
    assert not list(store.directory.rglob("*.tmp"))
    store.put(data)
    assert store.health().indexed == 2


# ------------------------------------------------------------------------------------------------- many at once

_PUT = """
import sys
sys.path.insert(0, sys.argv[3])
from forge import chain, world
from atlas.store import Store
store = Store(sys.argv[1])
for n in range(20):
    store.put(chain.make(f"{sys.argv[2]}-{n}.pt", b"weights", world.TUNER).sidecar)
"""


def test_eight_processes_put_at_once_and_everything_is_found(store: Store) -> None:
    tests = str(Path(__file__).parent.parent)
    running = [
        subprocess.Popen([sys.executable, "-c", _PUT, str(store.directory), str(n), tests], stderr=subprocess.PIPE)
        for n in range(8)
    ]
    for process in running:
        assert process.wait() == 0, process.stderr.read().decode() if process.stderr else ""
        assert process.stderr is not None
        process.stderr.close()
    assert len(store.find(FLAT, limit=1000)) == 160
    health = store.health()
    assert (health.objects, health.pending) == (160, 0)
    assert health.indexed == 160


# -------------------------------------------------------------------------------------------------- where it is


def test_the_directory_comes_from_atlas_store_else_from_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_STORE", "/somewhere/else")
    assert default_directory() == Path("/somewhere/else")
    monkeypatch.delenv("ATLAS_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_directory() == Path("/data/atlas")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_directory() == Path("~/.local/share/atlas").expanduser()


def test_a_relative_store_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.put(manifest())
    assert (tmp_path / "store" / "objects").is_dir()


def test_journals_of_runs_have_a_directory(store: Store) -> None:
    assert store.runs == store.directory / "runs"
    assert store.runs.is_dir()
