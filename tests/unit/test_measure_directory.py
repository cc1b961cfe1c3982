"""A directory: the index, what is left out, names, limits."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from plain_measure import CHUNK, digest, directory, file_tree, listed, tree_hash

from atlas import _core
from atlas.errors import LimitError, NotFound, SystemFailure, UsageError
from atlas.measure import measure
from atlas.model import DEFAULT_IGNORE
from atlas.record.rollup import Member, index_of

Files = dict[bytes, bytes]

FILES: Files = {
    b"b": b"two",
    b"a/b/c": b"deep",
    b"a-b": b"sorts before a/",
    b"empty": b"",
    b"big": os.urandom(2 * CHUNK + 1),
    b"Big": b"case matters",
}


def make(root: Path, files: Files) -> Path:
    for name, data in files.items():
        path = os.fsencode(root) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - bytes
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(data)
    return root


def paths(index: bytes | None) -> list[str]:
    assert index is not None
    return [path for path, _, _, _ in _core.index_parse(index)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data", FILES)


@pytest.mark.parametrize("alg", ["sha256", "sha384", "sha512"])
def test_every_number_of_threads_gives_the_plain_answer(root: Path, alg: str) -> None:
    for threads in range(9):
        assert _core.measure_directory(root, alg=alg, threads=threads) == directory(FILES, alg)


def test_the_index_says_what_sha256sum_says(root: Path) -> None:
    index = measure(root).index
    assert index is not None
    assert index.startswith(b"atlas-index 1 sha256\n")
    for path, flat, _, size in _core.index_parse(index):
        printed = subprocess.run(["sha256sum", root / path], capture_output=True, text=True, check=True).stdout
        assert printed.split()[0] == flat
        assert (root / path).stat().st_size == size


def test_a_line_of_the_index_has_a_short_proof(root: Path) -> None:
    m = measure(root)
    assert m.index is not None
    assert m.tree is not None
    lines = m.index.splitlines()[1:]
    leaves = b"".join(_core.merkle_leaf("sha256", line) for line in lines)
    for i, line in enumerate(lines):
        proof = _core.merkle_inclusion_prove("sha256", leaves, i)
        leaf = _core.merkle_leaf("sha256", line)
        _core.merkle_inclusion_check("sha256", i, len(lines), leaf, proof, m.tree.value)


def test_an_empty_directory_has_an_index_without_lines(tmp_path: Path) -> None:
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    m = measure(tmp_path)
    assert m.index == b"atlas-index 1 sha256\n"
    assert (m.size, m.files) == (0, 0)
    assert m.tree is not None
    assert m.tree.value == digest(b"") == tree_hash([])


def test_the_measurement_keeps_the_ignore_list_that_was_used(root: Path) -> None:
    assert measure(root).ignore == DEFAULT_IGNORE
    assert measure(root, ignore=iter(["x"])).ignore == ("x",)


def test_large_and_small_files_share_the_threads(tmp_path: Path) -> None:
    for i, size in enumerate((40 * CHUNK, 17 * CHUNK + 3, 16 * CHUNK - 1, 5 * CHUNK)):
        with (tmp_path / f"big{i}").open("wb") as stream:
            stream.truncate(size)
    (tmp_path / "small").write_bytes(b"small")
    answers = [_core.measure_directory(tmp_path, threads=threads) for threads in (1, 2, 3, 4, 8)]
    assert all(answer == answers[0] for answer in answers)
    for path, flat, tree, size in _core.index_parse(answers[0][6]):
        alone = _core.measure_file(tmp_path / path)
        assert alone[1] is not None
        assert alone[2] is not None
        assert (alone[1][1].hex(), alone[2][1].hex(), alone[3]) == (flat, tree, size)


# -------------------------------------------------------------------------------------------------- closed world


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "extra").write_bytes(b""),
        lambda root: (root / "a" / "extra").write_bytes(b""),
        lambda root: (root / "b").unlink(),
        lambda root: (root / "b").rename(root / "B"),
        lambda root: (root / "b").write_bytes(b"owt"),
        lambda root: os.truncate(root / "b", 0),
        lambda root: os.truncate(root / "big", 2 * CHUNK),
        lambda root: os.truncate(root / "b", 4),
        lambda root: (root / ".hidden").write_bytes(b""),
    ],
)
def test_any_change_of_any_file_changes_every_digest(root: Path, change: object) -> None:
    before = measure(root)
    assert measure(root) == before
    change(root)  # type: ignore[operator]
    after = measure(root)
    assert after.flat != before.flat
    assert after.tree != before.tree


def test_swapped_names_change_the_digest(root: Path) -> None:
    before = measure(root)
    (root / "b").rename(root / "x")
    (root / "a-b").rename(root / "b")
    (root / "x").rename(root / "a-b")
    assert measure(root).flat != before.flat


# ---------------------------------------------------------------------------------------------- what is left out

IGNORED: Files = {
    b".git/config": b"x",
    b"a/.git/HEAD": b"x",
    b".gitignore": b"x",
    b"a/b/.gitattributes": b"x",
    b".github/workflows/x.yml": b"x",
    b"a/.DS_Store": b"x",
    b".ipynb_checkpoints/x": b"x",
    b"a/__pycache__/x.pyc": b"x",
    b".cache/huggingface/x": b"x",
}


def test_the_default_ignore_list_leaves_out_exactly_these(root: Path) -> None:
    before = measure(root)
    make(root, IGNORED)
    assert measure(root) == before
    make(
        root, {b"a/.cache/huggingface/x": b"listed: a path counts from the root", b".cache/x": b"listed", b".gitx": b""}
    )
    assert set(paths(measure(root).index)) - set(paths(before.index)) == {
        "a/.cache/huggingface/x",
        ".cache/x",
        ".gitx",
    }


def test_without_an_ignore_list_everything_is_listed(root: Path) -> None:
    make(root, IGNORED)
    assert _core.measure_directory(root) == directory({**FILES, **IGNORED})


def test_what_is_ignored_is_not_looked_at(root: Path) -> None:
    os.mkfifo(root / ".git")
    (root / "a" / "__pycache__").symlink_to("/nowhere")
    assert measure(root).files == len(FILES)


@pytest.mark.parametrize("entry", ["", "/", "/abs", "a//b", "a/", "../x", "a/../b", ".", "./a", "a\0b", "x" * 5000])
def test_an_entry_that_could_never_match_is_refused(root: Path, entry: str) -> None:
    with pytest.raises(UsageError, match="neither a name nor a relative path"):
        measure(root, ignore=["fine", entry])


def test_the_ignore_list_has_a_limit(root: Path) -> None:
    measure(root, ignore=[f"name{i}" for i in range(1024)])
    with pytest.raises(LimitError):
        measure(root, ignore=[f"name{i}" for i in range(1025)])


def test_an_ignore_list_is_no_single_string(root: Path) -> None:
    with pytest.raises(TypeError, match="not one name"):
        _core.measure_directory(root, ignore="abc")
    with pytest.raises(TypeError):
        _core.measure_directory(root, ignore=[b"abc"])  # type: ignore[list-item]


def test_an_entry_with_undecodable_bytes_matches_the_name(root: Path) -> None:
    make(root, {b"\xff\xfe": b"x"})
    assert measure(root, ignore=[os.fsdecode(b"\xff\xfe")]).files == len(FILES)


SIDECARS: Files = {
    b"b.c2pa": b"x",
    b"b.tlog-proof": b"x",
    b"b.c2pa.tlog-proof": b"x",
    b"b.c2pa-index": b"x",
    b"a.c2pa": b"of a directory",
    b"a.c2pa-index": b"x",
    b"a.c2pa.tlog-proof": b"x",
    b"a/b.c2pa": b"x",
    b"a/b/c.c2pa": b"x",
}


def test_sidecars_and_proofs_of_listed_files_are_left_out(root: Path) -> None:
    before = measure(root)
    make(root, SIDECARS)
    assert measure(root) == before


@pytest.mark.parametrize(
    "name",
    [
        b"none.c2pa",  # of nothing
        b"a/none.tlog-proof",
        b".c2pa",
        b"a/.c2pa-index",
        b"b.C2PA",
        b"b.c2pa.bak",
        b"b.c2pa.c2pa",  # of a file that is itself left out
        b"a/b/b.c2pa",  # of a file elsewhere
        b"big.c2pa/x",  # a directory is no sidecar
    ],
)
def test_what_only_looks_like_a_sidecar_is_listed(root: Path, name: bytes) -> None:
    make(root, {b"b.c2pa": b"x", name: b"x"})
    expected = dict(FILES)
    expected[name] = b"x"
    assert _core.measure_directory(root) == directory(expected)


def test_a_sidecar_without_its_file_is_listed(root: Path) -> None:
    make(root, SIDECARS)
    (root / "b").unlink()
    listed_now = set(paths(measure(root).index))
    assert {"b.c2pa", "b.tlog-proof", "b.c2pa-index"} <= listed_now
    assert "b.c2pa.tlog-proof" not in listed_now  # the proof of b.c2pa, which is listed now


def test_a_sidecar_of_an_ignored_file_is_listed(root: Path) -> None:
    make(root, {b".gitignore": b"x", b".gitignore.c2pa": b"x"})
    assert ".gitignore.c2pa" in paths(measure(root).index)


# --------------------------------------------------------------------------------------------------------- names

ODD: Files = {
    b"with space": b"1",
    b"with!bang": b"2",
    b"percent%41": b"3",
    b"new\nline": b"4",
    b"tab\there": b"5",
    "größe/日本".encode(): b"6",
    "e\u0301".encode(): b"NFD",
    "\u00e9".encode(): b"NFC",
    b"back\\slash": b"7",
    b"\x1b[31mred": b"8",
    b"\x7f": b"9",
    b"-rf": b"10",
    b"~": b"11",
    b"'\"`$(x)": b"12",
}


def test_odd_names_are_listed_in_one_encoded_form(tmp_path: Path) -> None:
    make(tmp_path, ODD)
    assert _core.measure_directory(tmp_path) == directory(ODD)
    names = paths(measure(tmp_path).index)
    assert {"with%20space", "percent%2541", "new%0Aline", "gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC", "back\\slash"} <= {
        *names
    }
    assert names.index("with%20space") < names.index("with!bang"), "sorted as the names are, not as they are encoded"


def test_the_recorders_index_of_files_that_were_read_is_the_directorys(tmp_path: Path) -> None:
    make(tmp_path, ODD)
    members = {
        str(tmp_path / os.fsdecode(name)): Member(digest(data), file_tree(data), len(data))
        for name, data in ODD.items()
    }
    read = index_of(members, str(tmp_path))
    there = measure(tmp_path)
    assert (read.index, read.flat, read.tree, read.size) == (there.index, there.flat, there.tree, there.size)


def test_names_that_are_not_utf8_are_listed_but_have_no_oms_digest(tmp_path: Path) -> None:
    files = {b"\xff\x80": b"1", b"ok": b"2"}
    make(tmp_path, files)
    assert _core.measure_directory(tmp_path) == directory(files)
    assert measure(tmp_path).oms is None


def test_an_error_shows_a_hostile_name_encoded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "\x1b[31m\nVALID")
    with pytest.raises(SystemFailure) as caught:
        measure(tmp_path)
    assert caught.value.where == "%1B[31m%0AVALID"


# -------------------------------------------------------------------------------------------- refused and limited


def test_fifos_devices_and_sockets_anywhere_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "a" / "fifo")
    with pytest.raises(SystemFailure, match="a device, a FIFO or a socket") as caught:
        measure(root)
    assert (caught.value.where, caught.value.code) == ("a/fifo", "ATLAS_E_REFUSED")
    (root / "a" / "fifo").unlink()
    monkeypatch.chdir(root)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    with pytest.raises(SystemFailure, match="a device, a FIFO or a socket"):
        measure(root)
    listener.close()
    (root / "socket").unlink()
    assert measure(root).files == len(FILES)


def test_a_directory_that_cannot_be_entered_is_an_error(root: Path) -> None:
    (root / "a" / "b").chmod(0)
    (root.parent).chmod(0o755)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(root)
            if os.getuid() == 0:
                os.setuid(65534)  # root may enter everything
            measure(".")
        except SystemFailure as error:
            os._exit(0 if "Permission denied" in error.text and error.where == "a/b" else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    (root / "a" / "b").chmod(0o755)


def test_a_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        _core.measure_directory(tmp_path / "none")


def test_depth_is_limited_at_128_components(tmp_path: Path) -> None:
    bottom = tmp_path.joinpath(*["d"] * 127)
    bottom.mkdir(parents=True)
    (bottom / "f").write_bytes(b"at the limit")
    assert measure(tmp_path).files == 1
    (bottom / "f").unlink()
    (bottom / "d").mkdir()
    (bottom / "d" / "f").write_bytes(b"one below")
    with pytest.raises(LimitError, match="too deep"):
        measure(tmp_path)


def test_the_length_of_a_path_is_limited_at_4095_bytes(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(16):  # 16 * 251 = 4016 bytes
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("f" * 79, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    assert measure(tmp_path).files == 1
    os.rename("f" * 79, "f" * 80, src_dir_fd=here, dst_dir_fd=here)
    with pytest.raises(LimitError, match="too long"):
        measure(tmp_path)
    os.close(here)


def test_many_small_files_are_all_there(tmp_path: Path) -> None:
    files = {b"%d/%d" % (i % 7, i): b"%d" % i for i in range(2000)}
    make(tmp_path, files)
    assert dict(listed(tmp_path)).keys() == files.keys()
    assert _core.measure_directory(tmp_path, threads=4) == directory(files)
