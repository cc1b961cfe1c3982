"""Measured in parts and put together: the same digests as in one piece, whatever the cuts and the order; nothing else
is put together."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from plain_measure import CHUNK, measured

from atlas import _core
from atlas.cli import main
from atlas.errors import FileChanged, MalformedError, NotFound, SystemFailure, UsageError
from atlas.measure import measure
from atlas.parts import is_whole, measure_part, measurement_of, merge_parts

ROOT = Path(__file__).parents[2]
CHUNKS = 11
DATA = os.urandom((CHUNKS - 1) * CHUNK + 17)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    for i in range(23):
        (root / f"{i:02}").write_bytes(b"%d" % i * (i * 100))
    (root / "sub" / "large").write_bytes(DATA[: 3 * CHUNK])
    (root / "odd \xe9 name").write_bytes(b"odd")
    (root / "link").symlink_to("sub/large")
    return root


# ------------------------------------------------------------------------------------------------------------ merge


@pytest.mark.parametrize("alg", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cuts", [(), (1,), (3, 4), (2, 2, 7), range(1, CHUNKS), (8,), (5, 6, 10)])
def test_any_cuts_of_a_file_give_its_tree(file: Path, alg: str, cuts: tuple[int, ...]) -> None:
    edges = [0, *cuts, None]
    parts = [measure_part(file, first=a or 0, end=b, alg=alg, threads=2) for a, b in itertools.pairwise(edges)]
    random.Random(1).shuffle(parts)
    whole = merge_parts(parts)
    assert is_whole(whole)
    expected = measured(DATA, alg, flat=False)
    assert _core.part_measurement(whole) == expected
    assert not any(is_whole(part) for part in parts) or len(parts) == 1


def test_merging_is_associative_and_has_one_result(file: Path) -> None:
    parts = [measure_part(file, share=(i, 5)) for i in range(5)]
    whole = merge_parts(parts)
    for i in range(1, 5):
        assert merge_parts([merge_parts(parts[i:]), merge_parts(parts[:i])]) == whole
    assert merge_parts([merge_parts([parts[0], merge_parts(parts[1:4])]), parts[4]]) == whole
    assert merge_parts([whole]) == whole == measure_part(file)


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 40])
def test_any_number_of_shares_gives_the_measurement(file: Path, root: Path, workers: int) -> None:
    whole = merge_parts([measure_part(file, share=(i, workers)) for i in range(workers)])
    assert measurement_of(whole) == measure(file, flat=False)
    records = [measure_part(root, share=(i, workers)) for i in reversed(range(workers))]
    assert measurement_of(merge_parts(records)) == measure(root)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_small_files_have_parts_too(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA[:size])
    whole = merge_parts([measure_part(path, share=(i, 3)) for i in range(3)])
    assert measurement_of(whole) == measure(path, flat=False)


def test_a_directory_in_ranges_of_files(root: Path) -> None:
    parts = [measure_part(root, end=4), measure_part(root, first=4, end=20), measure_part(root, first=20)]
    assert measurement_of(merge_parts(parts)) == measure(root)
    empty = root / "sub" / "empty"
    empty.mkdir()
    assert measurement_of(measure_part(empty)) == measure(empty)


def test_the_ignore_list_holds_for_parts(root: Path) -> None:
    parts = [measure_part(root, share=(i, 2), ignore=("sub", "link")) for i in range(2)]
    assert measurement_of(merge_parts(parts), ignore=("sub", "link")) == measure(root, ignore=("sub", "link"))


def test_names_that_are_not_utf8_go_through(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    (tmp_path / "plain").write_bytes(b"y")
    whole = merge_parts([measure_part(tmp_path, share=(i, 2)) for i in range(2)])
    assert measurement_of(whole) == measure(tmp_path)
    assert measurement_of(whole).oms is None


def test_shares_have_about_the_same_number_of_bytes(tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / f"{i}").write_bytes(bytes(CHUNK))
    (tmp_path / "0").write_bytes(bytes(8 * CHUNK))
    sizes = [_core.part_range(measure_part(tmp_path, share=(i, 2)))[1:3] for i in range(2)]
    assert sizes == [(0, 1), (1, 8)]


# ------------------------------------------------------------------------------------- what does not belong together


def test_a_gap_and_an_overlap_are_errors_that_say_where(file: Path) -> None:
    a, b, c = (measure_part(file, first=x, end=y) for x, y in ((0, 4), (4, 8), (8, None)))
    with pytest.raises(MalformedError, match="nobody measured what lies between blocks 4 and 8"):
        merge_parts([a, c])
    with pytest.raises(MalformedError, match="two parts overlap between blocks 3 and 4"):
        merge_parts([a, measure_part(file, first=3, end=8)])
    with pytest.raises(MalformedError, match="two parts overlap"):
        merge_parts([a, b, a, c])
    with pytest.raises(MalformedError, match="only blocks 0 to 8 of 11") as caught:
        measurement_of(merge_parts([a, b]))
    assert caught.value.code == "ATLAS_E_PART"
    with pytest.raises(MalformedError, match="only blocks 4 to 11"):
        measurement_of(merge_parts([b, c]))


def test_parts_of_two_versions_are_never_put_together(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    first = measure_part(path, end=5)
    with path.open("r+b") as stream:
        stream.seek(7 * CHUNK)
        stream.write(b"changed")
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    with pytest.raises(MalformedError, match="different versions"):
        merge_parts([first, measure_part(path, first=5)])


def test_parts_of_two_files_of_one_size_are_never_put_together(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(DATA)
    with pytest.raises(MalformedError, match="different files"):
        merge_parts([measure_part(file, end=5), measure_part(other, first=5)])
    with pytest.raises(MalformedError, match="other options"):
        merge_parts([measure_part(file, end=5), measure_part(file, first=5, alg="sha384")])


def test_a_directory_that_changed_between_two_workers_has_no_digest(root: Path) -> None:
    first = measure_part(root, share=(0, 2))
    (root / "00").write_bytes(b"new")
    with pytest.raises(MalformedError, match="different versions"):
        merge_parts([first, measure_part(root, share=(1, 2))])


def test_a_file_or_directory_that_changes_meanwhile_has_no_part(root: Path) -> None:
    def change(done: int, total: int) -> None:
        if done > 0:
            with (root / "sub" / "large").open("ab") as stream:
                stream.write(b"x")

    with pytest.raises(FileChanged):
        measure_part(root / "sub" / "large", threads=1, progress=change)
    with pytest.raises(FileChanged):
        measure_part(root, threads=1, progress=change)


def test_wrong_arguments_are_refused(file: Path, tmp_path: Path) -> None:
    for options in ({"first": 5, "end": 4}, {"first": CHUNKS + 1}, {"share": (2, 2)}, {"share": (0, 0)}):
        with pytest.raises(UsageError):
            measure_part(file, **options)
    with pytest.raises(UsageError, match="no part"):
        merge_parts([])
    with pytest.raises(NotFound):
        measure_part(tmp_path / "missing")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SystemFailure):
        measure_part(tmp_path / "fifo")
    with pytest.raises(SystemFailure):
        measure_part(tmp_path)


# ------------------------------------------------------------------------------------------------------- the records


def test_a_record_has_exactly_one_form(file: Path, root: Path) -> None:
    """Every byte of a record counts: what is not refused is another record, never the same in another form."""
    for record in (measure_part(file, first=1, end=4), measure_part(root, end=3)):
        for at in range(len(record)):
            for changed in (record[:at] + record[at + 1 :], record[:at] + b"0" + record[at:], record[:at]):
                try:
                    again = merge_parts([changed])
                except MalformedError as error:
                    assert error.code == "ATLAS_E_PART"
                    continue
                assert again == changed


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"atlas-part 1", b"atlas-part 2", "does not begin"),
        (b"sha256", b"md5", "no known hash"),
        (b"\nfile ", b"\npile ", "neither of a file nor"),
        (b"\nfile 1", b"\nfile 01", "no size"),
        (b"range 1 4", b"range 4 1", "no range"),
        (b"range 1 4", b"range 1 12", "no range"),
        (b"range 1 4", b"range 1 2", "more lines"),
        (b"range 1 4", b"range 1 7", "not the hash"),
        (b"range 1 4\n", b"range 1 4\nx", "not the hash"),
    ],
)
def test_a_record_that_is_not_one_is_refused(file: Path, old: bytes, new: bytes, text: str) -> None:
    record = measure_part(file, first=1, end=4)
    assert old in record
    with pytest.raises(MalformedError, match=text) as caught:
        merge_parts([record.replace(old, new, 1)])
    assert caught.value.offset is not None


def test_lines_of_a_directory_that_are_out_of_order_across_parts_are_refused(root: Path) -> None:
    a, b = (measure_part(root, share=(i, 2)) for i in range(2))
    line = b.splitlines(keepends=True)[-1]
    forged = b.replace(b.splitlines(keepends=True)[4], line, 1)
    with pytest.raises(MalformedError):
        merge_parts([a, forged])


# ------------------------------------------------------------------------------------------------------- with Ray


class Remote:
    """As much of a Ray task as the example uses: what goes in and comes out is pickled."""

    def __init__(self, function: Callable[..., bytes]) -> None:
        self.function = function

    def remote(self, *arguments: object) -> bytes:
        return pickle.dumps(self.function(*pickle.loads(pickle.dumps(arguments))))


def test_the_example_for_ray_gives_the_measurement(root: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself takes seconds to start: its contract alone. The example was run with Ray 2.60."""
    ray = types.ModuleType("ray")
    ray.remote = lambda **_options: Remote  # type: ignore[attr-defined]
    ray.get = lambda answers: [pickle.loads(answer) for answer in answers]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    example = runpy.run_path(str(ROOT / "examples" / "ray_digest.py"))
    assert example["digest"](str(root), 3) == measure(root)
    assert example["digest"](str(file), 4) == measure(file, flat=False)


# ------------------------------------------------------------------------------------------------------ command line


def test_the_command_line_measures_in_parts(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / name) for name in "abc"]
    for share, name in zip(("0:3", "3:7", "7:"), names, strict=True):
        assert main(["digest", str(file), "--blocks", share, "--out", name]) == 0
    assert main(["digest", "--merge", *reversed(names)]) == 0
    printed = capsys.readouterr().out.split()[0]
    assert main(["digest", str(file)]) == 0
    assert capsys.readouterr().out.split()[0] == printed
    assert main(["digest", "--merge", names[0], names[2]]) == 5
    assert "nobody measured" in capsys.readouterr().err
    assert main(["digest", "--merge", names[1], names[0], "--out", str(tmp_path / "ab")]) == 0
    assert main(["digest", "--merge", str(tmp_path / "ab"), names[2]]) == 0
    assert capsys.readouterr().out.split()[0] == printed


@pytest.mark.parametrize(
    "words",
    [
        ["--blocks", "0:1"],
        ["--out", "x"],
        ["--blocks", "0:1", "--out", "x", "--flat"],
        ["--merge", "x"],
    ],
)
def test_words_that_do_not_go_together_are_a_usage_error(
    file: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["digest", str(file), *words]) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("words", [["--blocks", "5"], ["--blocks", "a:b"], ["--share", "0/2"], ["--share", "3/2"]])
def test_blocks_and_shares_have_one_form(file: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["digest", str(file), *words, "--out", "x"])
    assert caught.value.code == 2
