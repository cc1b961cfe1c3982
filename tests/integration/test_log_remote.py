"""A log read from outside: static files, tiles verified before they are used, proofs made from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from atlas import _core
from atlas.errors import MalformedError, NotFound, SystemFailure, UsageError, VerificationError
from atlas.remote.source import Folder, Http, source_of, tile_path
from atlas.remote.tree import Tree
from tests import hostile
from tests.forge import tlog

KEY = tlog.NoteKey("log.example/test")
SIZES = [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 700]


class Memory:
    """Files of a log without a file system; counts what is read."""

    where = "memory"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.read_paths: list[str] = []

    def read(self, path: str, *, limit: int) -> bytes:
        self.read_paths.append(path)
        if path not in self.files:
            raise NotFound("no such file", where=path)
        assert len(self.files[path]) <= limit
        return self.files[path]


def log_of(size: int) -> tlog.ForgedLog:
    return tlog.ForgedLog(KEY, [f"entry {i}".encode() for i in range(size)])


@pytest.fixture(scope="module")
def large() -> tuple[tlog.ForgedLog, dict[str, bytes]]:
    """Deep enough for three levels of tiles."""
    log = log_of(65536 + 256 + 3)
    return log, log.files()


@pytest.mark.parametrize(
    ("index", "path"),
    [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067"), (10**9, "x001/x000/x000/000")],
)
def test_the_path_of_a_tile_is_that_of_the_specification(index: int, path: str) -> None:
    assert tile_path(0, index) == f"tile/0/{path}" == tlog.path_of(0, index)
    assert tile_path(None, index, 7) == f"tile/entries/{path}.p/7"


@pytest.mark.parametrize("size", SIZES)
def test_every_proof_made_from_tiles_is_the_one_of_the_rfc(size: int) -> None:
    log = log_of(size)
    tree = Tree(Memory(log.files()), size, log.root)
    for index in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        assert tree.inclusion(index) == tlog.inclusion(log.leaves, index)
        _core.merkle_inclusion_check("sha256", index, size, log.leaves[index], tree.inclusion(index), log.root)
    for old in {1, 2, 3, size // 2, size - 1, size} & set(range(1, size + 1)):
        assert tree.consistency(old) == tlog.consistency(log.leaves, old)
        assert tree.root_at(old) == tlog.mth(log.leaves[:old])
        tree.check_consistent(old, tlog.mth(log.leaves[:old]))


def test_all_small_trees_answer_all_small_questions() -> None:
    for size in range(1, 34):
        log = log_of(size)
        tree = Tree(Memory(log.files()), size, log.root)
        assert [tree.inclusion(i) for i in range(size)] == [tlog.inclusion(log.leaves, i) for i in range(size)]
        for old in range(1, size + 1):
            assert tree.consistency(old) == tlog.consistency(log.leaves, old)


def test_a_proof_from_a_tree_of_three_levels_reads_few_tiles(large: tuple[tlog.ForgedLog, dict[str, bytes]]) -> None:
    log, files = large
    source = Memory(files)
    size = len(log.entries)
    tree = Tree(source, size, log.root)
    assert tree.inclusion(12345) == tlog.inclusion(log.leaves, 12345)
    assert len(source.read_paths) <= 6
    assert tree.consistency(65537) == tlog.consistency(log.leaves, 65537)
    assert tree.entries(200)[17] == b"entry 51217"
    assert tree.find(tlog.leaf(b"entry 66")) == 66


def test_the_empty_tree_has_no_tiles_and_no_proofs() -> None:
    tree = Tree(Memory({}), 0, tlog.EMPTY)
    tree.check_consistent(0, tlog.EMPTY)
    assert tree.find(bytes(32)) is None
    with pytest.raises(UsageError):
        tree.inclusion(0)


def test_what_a_tree_does_not_have_is_a_usage_error() -> None:
    log = log_of(300)
    tree = Tree(Memory(log.files()), 300, log.root)
    for call in (lambda: tree.inclusion(300), lambda: tree.consistency(301), lambda: tree.tile(0, 2)):
        with pytest.raises(UsageError):
            call()


def test_every_flipped_tile_is_found_before_it_is_used() -> None:
    log = log_of(600)
    good = log.files()
    for path in [path for path in good if path.startswith("tile/") and "entries" not in path]:
        flipped = bytearray(good[path])
        flipped[len(flipped) // 2] ^= 1
        with pytest.raises(VerificationError) as caught:
            tree = Tree(Memory(good | {path: bytes(flipped)}), 600, log.root)
            tree.leaf(0)
            tree.leaf(256)
        assert caught.value.code == "ATLAS_E_DIGEST"


@pytest.mark.parametrize("cut", [0, 31, 32, 8191])
def test_a_tile_of_another_length_is_refused(cut: int) -> None:
    log = log_of(600)
    files = log.files()
    files["tile/0/000"] = files["tile/0/000"][:cut]
    tree = Tree(Memory(files), 600, log.root)
    with pytest.raises(SystemFailure, match="a tile of"):
        tree.leaf(0)


def test_an_edited_entry_is_found_and_named() -> None:
    log = log_of(300)
    files = log.files()
    files["tile/entries/001.p/44"] = files["tile/entries/001.p/44"].replace(b"entry 270", b"entry 271")
    with pytest.raises(VerificationError, match="entry 270"):
        Tree(Memory(files), 300, log.root).entries(1)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x07entry 0", b"\xff\xffentry 0"])
def test_a_bundle_cut_short_is_malformed(data: bytes) -> None:
    log = log_of(2)
    with pytest.raises(MalformedError, match="ends inside an entry"):
        Tree(Memory(log.files() | {"tile/entries/000.p/2": data}), 2, log.root).entries(0)


def test_a_dropped_partial_tile_is_read_from_the_full_one() -> None:
    log = log_of(520)
    files = {path: data for path, data in log.files().items() if ".p/" not in path} | {
        path: data for path, data in log.files().items() if path.startswith(("tile/0/002", "tile/entries/002"))
    }
    early = Tree(Memory(files | {"tile/1/000.p/1": log.files(300)["tile/1/000.p/1"]}), 300, tlog.mth(log.leaves[:300]))
    assert early.inclusion(299) == tlog.inclusion(log.leaves[:300], 299)
    assert early.entries(1) == log.entries[256:300]
    files["tile/0/001"] = files["tile/0/001"][:-1]
    with pytest.raises(SystemFailure, match="a tile of 8191 bytes"):
        Tree(Memory(files | {"tile/1/000.p/1": bytes(32)}), 300, tlog.mth(log.leaves[:300]))


def test_a_log_in_a_folder_and_one_over_http_answer_alike(tmp_path: Path) -> None:
    log = log_of(300)
    log.write(tmp_path)
    assert Tree(Folder(tmp_path), 300, log.root).inclusion(7) == tlog.inclusion(log.leaves, 7)

    def serve(connection: object, request: bytes) -> None:
        name = request.split()[1].decode().removeprefix("/prefix/")
        path = tmp_path / name
        reply = hostile.answer(200, path.read_bytes()) if path.is_file() else hostile.answer(404, b"")
        connection.sendall(reply)  # type: ignore[attr-defined]

    with hostile.hostile(serve) as server:
        source = source_of(f"{server.url}/prefix/")
        assert isinstance(source, Http)
        assert Tree(source, 300, log.root).inclusion(7) == tlog.inclusion(log.leaves, 7)
        with pytest.raises(NotFound):
            source.read("tile/9/000", limit=10)


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        source_of(tmp_path / "nowhere")


def test_a_fifo_in_the_place_of_a_tile_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "checkpoint")
    with pytest.raises(SystemFailure):
        Folder(tmp_path).read("checkpoint", limit=10)
