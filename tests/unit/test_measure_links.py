"""Links in a directory: inside it, or from a Hugging Face snapshot to its blobs; each attack beside its clean twin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plain_measure import directory

from atlas import _core
from atlas.errors import LimitError, SystemFailure
from atlas.measure import measure


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """data/{file,sub/deep,sub/more/x}, and secrets beside it."""
    (tmp_path / "data" / "sub" / "more").mkdir(parents=True)
    (tmp_path / "data" / "file").write_bytes(b"inside")
    (tmp_path / "data" / "sub" / "deep").write_bytes(b"deep")
    (tmp_path / "data" / "sub" / "more" / "x").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "file").write_bytes(b"outside")
    return tmp_path / "data"


FILES = {b"file": b"inside", b"sub/deep": b"deep", b"sub/more/x": b"x"}


def answer(files: dict[bytes, bytes], links: dict[str, str]) -> tuple[object, ...]:
    return (*directory(files)[:-1], links)


def refused(root: Path, match: str) -> SystemFailure:
    with pytest.raises(SystemFailure, match=match) as caught:
        measure(root)
    assert caught.value.code == "ATLAS_E_REFUSED"
    return caught.value


# ------------------------------------------------------------------------------------------------------- inside


@pytest.mark.parametrize(
    ("link", "target", "content"),
    [
        ("link", "file", b"inside"),
        ("link", "./file", b"inside"),
        ("link", "sub//deep", b"deep"),
        ("link", "sub/../file", b"inside"),
        ("link", "sub/more/../../sub/deep", b"deep"),
        ("sub/link", "../file", b"inside"),
        ("sub/link", "deep", b"deep"),
        ("sub/more/link", "../../sub/more/x", b"x"),
    ],
)
def test_a_link_to_a_file_inside_is_followed_and_recorded(root: Path, link: str, target: str, content: bytes) -> None:
    (root / link).symlink_to(target)
    assert _core.measure_directory(root) == answer({**FILES, link.encode(): content}, {link: target})


def test_a_link_to_a_link_inside_is_followed(root: Path) -> None:
    (root / "one").symlink_to("sub/two")
    (root / "sub" / "two").symlink_to("../file")
    expected = {**FILES, b"one": b"inside", b"sub/two": b"inside"}
    assert _core.measure_directory(root) == answer(expected, {"one": "sub/two", "sub/two": "../file"})


def test_a_link_to_a_directory_inside_is_followed_and_recorded(root: Path) -> None:
    (root / "latest").symlink_to("sub")
    expected = {**FILES, b"latest/deep": b"deep", b"latest/more/x": b"x"}
    assert _core.measure_directory(root) == answer(expected, {"latest": "sub"})


def test_a_link_through_a_linked_directory_is_followed(root: Path) -> None:
    (root / "latest").symlink_to("sub/more")
    (root / "link").symlink_to("latest/x")
    (root / "up").symlink_to("latest/../deep")  # up from where the link leads, as the kernel does it
    expected = {**FILES, b"latest/x": b"x", b"link": b"x", b"up": b"deep"}
    links = {"latest": "sub/more", "link": "latest/x", "up": "latest/../deep"}
    assert _core.measure_directory(root) == answer(expected, links)


def test_the_target_of_a_link_is_part_of_the_answer_but_not_of_the_digest(root: Path) -> None:
    (root / "link").symlink_to("file")
    before = measure(root)
    (root / "link").unlink()
    (root / "link").symlink_to("./file")
    after = measure(root)
    assert after.flat == before.flat
    assert after.links != before.links


def test_paths_and_targets_of_links_are_encoded(root: Path) -> None:
    (root / "a b").write_bytes(b"x")
    (root / "li nk").symlink_to("a b")
    assert dict(measure(root).links) == {"li%20nk": "a%20b"}


def test_a_link_is_as_good_a_name_for_a_sidecar_as_a_file(root: Path) -> None:
    (root / "link").symlink_to("file")
    (root / "latest").symlink_to("sub")
    before = measure(root)
    for sidecar in ("link.c2pa", "latest.c2pa", "latest.c2pa-index"):
        (root / sidecar).write_bytes(b"x")
    (root / "file.c2pa").symlink_to("sub/deep")
    assert measure(root) == before
    (root / "file.c2pa").unlink()
    (root / "file.c2pa").symlink_to("../secret")
    refused(root, "leads out")


# ------------------------------------------------------------------------------------------------------- attacks


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "sub/../../secret", "../data/file", "..", "../..", "/"])
def test_a_link_that_leads_out_is_refused(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    assert refused(root, "leads out").where == "link"


def test_an_absolute_link_is_refused_even_when_it_leads_inside(root: Path) -> None:
    (root / "link").symlink_to(root / "file")
    refused(root, "leads out")


def test_a_link_out_by_way_of_another_link_is_refused(root: Path) -> None:
    (root / "sub" / "out").symlink_to("../../secrets")
    (root / "link").symlink_to("sub/out/file")
    refused(root, "leads out")


def test_a_link_up_from_a_linked_directory_is_judged_by_where_it_really_is(root: Path) -> None:
    """latest/../secret reads like data/secret and means sub/secret, or the other way round."""
    (root / "latest").symlink_to("sub/more")
    (root / "sub" / "more" / "link").symlink_to("../../../secret")
    refused(root, "leads out")


@pytest.mark.parametrize("target", ["nothing", "sub/nothing", "file/below", "file/..", "file/", "nothing/../file"])
def test_a_link_that_leads_nowhere_is_refused(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    refused(root, "leads nowhere")


def test_links_in_a_loop_are_refused(root: Path) -> None:
    (root / "self").symlink_to("self")
    refused(root, "loop")
    (root / "self").unlink()
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    refused(root, "loop")


@pytest.mark.parametrize("target", [".", "..", "../more", "../../sub"])
def test_a_link_to_a_directory_that_it_is_in_is_refused(root: Path, target: str) -> None:
    (root / "sub" / "more" / "link").symlink_to(target)
    refused(root, "a directory that it is in")


def test_two_directories_that_link_to_each_other_are_refused(root: Path) -> None:
    (root / "other").mkdir()
    (root / "sub" / "link").symlink_to("../other")
    assert measure(root).files == 3
    (root / "other" / "link").symlink_to("../sub")
    refused(root, "loop")


def ladder(root: Path, rungs: int) -> None:
    """Every directory has two links to the next one: 2^rungs ways down."""
    for i in range(rungs):
        (root / f"rung{i}").mkdir()
    for i in range(rungs - 1):
        for side in ("left", "right"):
            (root / f"rung{i}" / side).symlink_to(f"../rung{i + 1}")
    (root / f"rung{rungs - 1}" / "bottom").write_bytes(b"x")


def test_a_ladder_of_links_ends_soon(tmp_path: Path) -> None:
    ladder(tmp_path, 9)
    assert measure(tmp_path).files == 2**9 - 1
    (tmp_path / "deep").mkdir()
    ladder(tmp_path / "deep", 64)
    refused(tmp_path, "too many linked directories")


def test_directories_visited_through_links_are_limited(tmp_path: Path) -> None:
    """Wide instead of deep: 40 links, each to 40 links, each to 41 links, each to a directory."""
    for i in range(4):
        (tmp_path / f"level{i}").mkdir()
    for i in range(3):
        for k in range(41):
            (tmp_path / f"level{i}" / f"link{k}").symlink_to(f"../level{i + 1}")
    with pytest.raises(LimitError, match="through links"):
        measure(tmp_path)


def test_links_to_devices_and_fifos_are_refused(root: Path) -> None:
    os.mkfifo(root.parent / "fifo")
    (root / "link").symlink_to("../fifo")
    refused(root, "leads out")
    (root / "link").unlink()
    os.mkfifo(root / "sub" / "fifo")
    (root / "link").symlink_to("sub/fifo")
    refused(root, "a device, a FIFO or a socket")


def test_a_chain_of_links_is_limited_at_forty(root: Path) -> None:
    (root / "hop0").symlink_to("file")
    for i in range(1, 40):
        (root / f"hop{i}").symlink_to(f"hop{i - 1}")
    assert measure(root).files == 3 + 40
    (root / "hop40").symlink_to("hop39")
    refused(root, "too many in a row")


# ----------------------------------------------------------------------------------------- Hugging Face repository


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / "0123abcd"
    (snapshot / "sub").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "aaaa").write_bytes(b"weights")
    (repository / "blobs" / "bbbb").write_bytes(b"config")
    (snapshot / "model.bin").symlink_to("../../blobs/aaaa")
    (snapshot / "sub" / "config").symlink_to("../../../blobs/bbbb")
    return snapshot


SNAPSHOT = {b"model.bin": b"weights", b"sub/config": b"config"}
BLOB_LINKS = {"model.bin": "../../blobs/aaaa", "sub/config": "../../../blobs/bbbb"}


def test_a_snapshot_is_measured_through_its_links(snapshot: Path) -> None:
    assert _core.measure_directory(snapshot) == answer(SNAPSHOT, BLOB_LINKS)


def test_part_of_a_snapshot_is_measured_too(snapshot: Path) -> None:
    expected = answer({b"config": b"config"}, {"config": "../../../blobs/bbbb"})
    assert _core.measure_directory(snapshot / "sub") == expected


def test_a_snapshot_has_the_digest_of_the_plain_files(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "plain" / "sub").mkdir(parents=True)
    for name, data in SNAPSHOT.items():
        (tmp_path / "plain" / name.decode()).write_bytes(data)
    assert measure(tmp_path / "plain").flat == measure(snapshot).flat


def test_a_snapshot_that_is_itself_reached_through_a_link_is_measured(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(snapshot)
    assert measure(tmp_path / "model") == measure(snapshot)


def test_a_whole_repository_needs_no_exception(snapshot: Path) -> None:
    assert measure(snapshot.parents[1]).files == 4


@pytest.mark.parametrize(
    "target",
    [
        "../../../models--org--other/blobs/cccc",
        "../../blobs/../refs/main",
        "../../blobs/sub/dddd",
        "../../blobs",
        "../../blobs/",
        "../../blobs/.",
        "../../blobs/..",
        "../../blobs/aaaa/",
        "../../refs/main",
        "../9999/model.bin",
        "../../blobs/link",
        "../../blobs/fifo",
    ],
)
def test_a_snapshot_leads_nowhere_but_to_the_files_in_its_own_blobs(snapshot: Path, target: str) -> None:
    repository = snapshot.parents[1]
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_bytes(b"0123abcd")
    (repository / "blobs" / "sub").mkdir()
    (repository / "blobs" / "sub" / "dddd").write_bytes(b"x")
    (repository / "blobs" / "link").symlink_to("../../../../secret")
    os.mkfifo(repository / "blobs" / "fifo")
    (repository / "snapshots" / "9999").mkdir()
    (repository / "snapshots" / "9999" / "model.bin").write_bytes(b"x")
    other = repository.parent / "models--org--other" / "blobs"
    other.mkdir(parents=True)
    (other / "cccc").write_bytes(b"x")
    assert _core.measure_directory(snapshot) == answer(SNAPSHOT, BLOB_LINKS)
    (snapshot / "link").symlink_to(target)
    refused(snapshot, "leads out")


def test_a_missing_blob_leads_nowhere(snapshot: Path) -> None:
    (snapshot / "link").symlink_to("../../blobs/none")
    refused(snapshot, "leads nowhere")


def test_blobs_beside_a_directory_that_is_no_snapshot_are_outside(tmp_path: Path) -> None:
    for parent in ("elsewhere", "snapshots-x"):
        root = tmp_path / parent / "data"
        root.mkdir(parents=True)
        (root / "link").symlink_to("../../blobs/aaaa")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "aaaa").write_bytes(b"x")
    refused(tmp_path / "elsewhere" / "data", "leads out")
    (tmp_path / "snapshots").symlink_to("elsewhere")  # only a real directory counts
    refused(tmp_path / "elsewhere" / "data", "leads out")
    (tmp_path / "snapshots").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "snapshots")
    assert measure(tmp_path / "snapshots" / "data").files == 1


def test_blobs_that_are_a_link_are_outside(snapshot: Path) -> None:
    blobs = snapshot.parents[1] / "blobs"
    blobs.rename(blobs.with_name("real"))
    blobs.symlink_to("real")
    refused(snapshot, "leads out")
