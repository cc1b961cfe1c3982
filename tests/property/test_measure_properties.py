"""Random files and directory trees against two implementations in plain Python, written from the text alone."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
from pathlib import Path

import forge.measure
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_measure import CHUNK, chunks, digest, directory, encode, index_of, measured

from atlas import _core
from atlas.errors import MalformedError

ALGORITHMS = st.sampled_from(["sha256", "sha384", "sha512"])
THREADS = st.integers(0, 8)

# Sizes where something can go wrong, and any others.
BORDERS = [n for k in range(5) for n in (k * CHUNK - 1, k * CHUNK, k * CHUNK + 1) if n >= 0]
SIZES = st.one_of(st.sampled_from(BORDERS), st.integers(0, 5 * CHUNK), st.integers(0, 200))


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@settings(max_examples=60, deadline=None)
@given(size=SIZES, seed=st.integers(0, 2**32), alg=ALGORITHMS, threads=THREADS, flat=st.booleans(), tree=st.booleans())
def test_any_file(*, size: int, seed: int, alg: str, threads: int, flat: bool, tree: bool) -> None:
    data = content(seed, size)
    tree = tree or not flat
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        answer = _core.measure_file(file.name, alg=alg, flat=flat, tree=tree, threads=threads)
        assert answer == measured(data, alg, flat=flat, tree=tree)
        assert _core.measure_fd(file.fileno(), alg=alg, flat=flat, tree=tree, threads=threads) == answer
    assert not tree or answer[2] == (alg, forge.measure.tree(data, alg))


@settings(max_examples=60, deadline=None)
@given(
    size=SIZES,
    seed=st.integers(0, 2**32),
    alg=ALGORITHMS,
    threads=THREADS,
    cuts=st.lists(st.floats(0, 1), max_size=12),
)
def test_any_stream_in_any_pieces(size: int, seed: int, alg: str, threads: int, cuts: list[float]) -> None:
    data = content(seed, size)
    places = sorted({0, size, *(int(cut * size) for cut in cuts)})
    measurer = _core.Measurer(alg, threads=threads)
    for start, end in itertools.pairwise(places):
        measurer.update(memoryview(data)[start:end])
    assert measurer.finish() == measured(data, alg)
    assert _core.chunk_digests(data, alg, threads) == b"".join(digest(chunk, alg) for chunk in chunks(data))


# A few parts that collide often, and any bytes that a name may have.
PARTS = st.one_of(
    st.sampled_from([b"a", b"b", b"a b", b"a!", b"a%20b", b"A", b"a.c2pa", b"a.c2pa-index", b"..a", b"-", b"\xff"]),
    st.binary(min_size=1, max_size=12).map(lambda b: b.replace(b"/", b"_").replace(b"\0", b"_")),
).filter(lambda part: part not in (b".", b".."))
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=20), max_size=12)


def without_conflicts(files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """No name is both a file and a directory."""
    kept: dict[bytes, bytes] = {}
    for path, data in sorted(files.items(), key=lambda item: -item[0].count(b"/")):
        if not any(other.startswith(path + b"/") for other in kept):
            kept[path] = data
    return kept


def without_sidecars(files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """What is listed of these files: the rule for sidecars, from the text."""
    owners = {path[:i] for path in files for i in range(len(path)) if path[i : i + 1] == b"/"}  # directories
    listed: dict[bytes, bytes] = {}
    for path in sorted(files, key=len):
        suffixes = (b".c2pa", b".c2pa-index", b".tlog-proof", b".c2pa.tlog-proof")
        stems = [path[: -len(s)] for s in suffixes if path.endswith(s)]
        if not any(stem in owners for stem in stems):
            owners.add(path)
            listed[path] = files[path]
    return listed


def write(root: bytes, files: dict[bytes, bytes]) -> None:
    for path, data in files.items():
        place = root + b"/" + path
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120 - bytes
        with open(place, "wb") as stream:  # noqa: PTH123
            stream.write(data)


@settings(max_examples=150, deadline=None)
@given(tree=TREES, alg=ALGORITHMS, threads=THREADS)
def test_any_directory(tree: dict[bytes, bytes], alg: str, threads: int) -> None:
    files = without_conflicts(tree)
    with tempfile.TemporaryDirectory() as root:
        write(os.fsencode(root), files)
        answer = _core.measure_directory(root, alg=alg, threads=threads)
    assert answer == directory(without_sidecars(files), alg)
    if alg == "sha256":
        names = {os.fsdecode(path): data for path, data in without_sidecars(files).items()}
        assert answer[6] == forge.measure.index(names)


@settings(max_examples=50, deadline=None)
@given(tree=TREES, links=st.lists(st.tuples(PATHS, PATHS), max_size=4), threads=THREADS)
def test_links_never_show_what_is_outside(
    tree: dict[bytes, bytes], links: list[tuple[bytes, bytes]], threads: int
) -> None:
    """Whatever the links: an answer whose lines are files of the directory, or an error."""
    files = {b"data/" + path: data for path, data in without_conflicts(tree).items()}
    with tempfile.TemporaryDirectory() as root:
        top = os.fsencode(root)
        write(top, {**files, b"a": b"outside", b"b/a": b"outside", b"data/a-file": b"inside"})
        for path, target in links:
            place = top + b"/data/" + path
            try:
                os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
                up = random.Random(path).choice([b"", b"../", b"../../", b"./"])
                os.symlink(up + target, place)  # noqa: PTH211
            except OSError:
                continue
        try:
            index = _core.measure_directory(root + "/data", threads=threads)[6]
        except OSError:
            return
    assert digest(b"outside").hex() not in {flat for _, flat, _, _ in _core.index_parse(index)}


@settings(max_examples=200, deadline=None)
@given(tree=TREES, alg=ALGORITHMS)
def test_an_index_is_read_back_as_it_was_written(tree: dict[bytes, bytes], alg: str) -> None:
    files = without_conflicts(tree)
    index, _ = index_of(files, alg)
    assert _core.index_parse(index) == [
        (encode(path), digest(files[path], alg).hex(), measured(files[path], alg)[2][1].hex(), len(files[path]))  # type: ignore[index]
        for path in sorted(files)
    ]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_index_in_one_form_or_refused(data: bytes) -> None:
    for text in (data, b"atlas-index 1 sha256\n" + data):
        try:
            entries = _core.index_parse(text)
        except MalformedError:
            continue
        lines = [f"{flat} {tree} {size} {path}\n" for path, flat, tree, size in entries]
        assert text == ("atlas-index 1 sha256\n" + "".join(lines)).encode()


@settings(max_examples=150, deadline=None)
@given(before=TREES, after=TREES)
def test_the_comparison_of_two_indexes_is_the_one_of_their_files(
    before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> None:
    both = before.keys() & after.keys()
    assert _core.index_compare(index_of(before)[0], index_of(after)[0]) == {
        "added": [encode(path) for path in sorted(after.keys() - both)],
        "removed": [encode(path) for path in sorted(before.keys() - both)],
        "changed": [encode(path) for path in sorted(both) if before[path] != after[path]],
    }


def test_the_size_of_a_chunk_is_what_the_manifest_says() -> None:
    assert CHUNK == 1048576
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "file"
        path.write_bytes(bytes(CHUNK + 1))
        two = digest(bytes(CHUNK)), digest(b"\0")
        assert _core.measure_file(path)[2] == ("sha256", _core.tree_root("sha256", b"".join(two)))
