"""Stamps: verify once per session, but never miss a change."""

import os
import time
from pathlib import Path

import pytest

from atlas.stamp import SLACK_NS, stamp

LATER = 10**18  # so long after every change that all time stamps can be believed


def later() -> int:
    return time.time_ns() + LATER


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "a").write_bytes(b"a")
    (tmp_path / "d" / "link").symlink_to("sub/a")
    return tmp_path / "d"


def test_what_was_not_touched_has_the_same_stamp(tree: Path) -> None:
    assert stamp([tree], began_ns=later()) == stamp([tree], began_ns=later()) != None  # noqa: E711


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (d / "sub" / "a").write_bytes(b"b"),
        lambda d: (d / "sub" / "b").write_bytes(b""),
        lambda d: (d / "sub" / "a").unlink(),
        lambda d: (d / "sub" / "a").rename(d / "sub" / "b"),
        lambda d: (d / "sub" / "a").chmod(0o777),
        lambda d: ((d / "link").unlink(), (d / "link").symlink_to("sub")),
        lambda d: os.utime(d / "sub" / "a", ns=(0, 0)),
        lambda d: (d / "sub").mkdir(exist_ok=True) or (d / "new").mkdir(),
    ],
)
def test_every_change_changes_the_stamp(tree: Path, change: object) -> None:
    before = stamp([tree], began_ns=later())
    time.sleep(0.02)  # a tick of the file system's clock
    change(tree)  # type: ignore[operator]
    assert stamp([tree], began_ns=later()) != before


def test_a_change_that_keeps_size_and_modification_time_changes_the_stamp(tree: Path) -> None:
    path = tree / "sub" / "a"
    before, status = stamp([tree], began_ns=later()), path.stat()
    time.sleep(0.02)
    path.write_bytes(b"b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stamp([tree], began_ns=later()) != before


def test_what_is_younger_than_the_verification_or_almost_is_never_stamped(tree: Path) -> None:
    newest = max(p.stat(follow_symlinks=False).st_ctime_ns for p in (tree, *tree.rglob("*")))
    assert stamp([tree], began_ns=newest) is None
    assert stamp([tree], began_ns=newest + SLACK_NS) is None
    assert stamp([tree], began_ns=newest + SLACK_NS + 1) is not None


def test_the_file_behind_a_link_counts(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"a")
    (tmp_path / "link").symlink_to("blob")
    before = stamp([tmp_path / "link"], began_ns=later())
    time.sleep(0.02)
    (tmp_path / "blob").write_bytes(b"b")
    assert stamp([tmp_path / "link"], began_ns=later()) != before


def test_a_file_that_appears_or_vanishes_changes_the_stamp(tmp_path: Path) -> None:
    path = tmp_path / "m.pt.c2pa"
    before = stamp([path], began_ns=later())
    path.write_bytes(b"")
    assert stamp([path], began_ns=later()) != before


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    assert stamp([tmp_path / "a", tmp_path], began_ns=later()) is not None
