"""Signers that say something false about their own bytes: what no file and no directory can have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from arena import INVALID, LIMIT, MALFORMED, VALID, Case, attack, clean, policy, table
from forge import chain, measure, world
from forge.chain import index_of, sidecar_of
from forge.world import BASE, TUNED, Scene

from atlas.verify import verify


def signed_index(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Scene], None]:
    """The producer itself signs another index than the directory has; index, tree and hash agree with each other."""

    def apply(scene: Scene) -> None:
        content = scene.made[BASE].content
        assert not isinstance(content, bytes)
        lines = change(measure.index_lines(content))
        node = scene.node(BASE)
        node["c2pa.hash.data"].content["hash"] = measure.digest(measure.index_of(lines))
        node["org.atlasml.measurement"].content |= {"tree": measure.merkle_root(lines), "files": len(lines)}
        index_of(scene.path(BASE)).write_bytes(measure.index_of(lines))

    return apply


def with_name(name: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """The index gets one more line, for a file of that name."""
    digest = measure.digest(b"x").hex().encode()
    tree = measure.file_tree(b"x").hex().encode()
    return lambda lines: [*lines, digest + b" " + tree + b" 1 " + name]


BAD_NAMES = [b"../../../etc/passwd", b"/etc/passwd", b"a%00b", b"..%2F..%2Fx", b"a\\..\\b", b"", b".", b"a//b", b"a b"]
SIGNED_INDEXES: list[tuple[str, Callable[[list[bytes]], list[bytes]]]] = [
    *((f"with the name {name!r}", with_name(name)) for name in BAD_NAMES),
    ("with upper-case digests", lambda lines: [line[:64].upper() + line[64:] for line in lines]),
    ("with a line twice", lambda lines: [*lines, lines[-1]]),
    ("in another order", lambda lines: lines[::-1]),
    ("without one line", lambda lines: lines[1:]),
    ("with a size that lies", lambda lines: [line.replace(b" 96 ", b" 97 ") for line in lines]),
    ("without a line", lambda lines: []),
]


@table(
    Case(f"an index {what}", (INVALID, MALFORMED), BASE, signed_index(change), signed_index(lambda lines: lines))
    for what, change in SIGNED_INDEXES
)
def test_a_signed_index_that_no_directory_can_have_is_refused(case: Case, tmp_path: Path) -> None:
    """Row 7, and row 17 for hexadecimal digits: the index is compared with a measurement, never followed."""
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def stated(
    key: str, value: object, *, label: str = "org.atlasml.measurement", name: str = BASE
) -> Callable[[Scene], None]:
    """The producer signs a false or senseless statement about its own artifact."""

    def apply(scene: Scene) -> None:
        scene.node(name)[label].content[key] = value

    return apply


OTHER = measure.digest(b"other")
STATEMENTS = [
    Case("a tree of other bytes", INVALID, TUNED, stated("tree", measure.tree(b"other"), name=TUNED)),
    Case("a tree of other files", INVALID, BASE, stated("tree", measure.tree({"a": b"b"}))),
    Case("a hash of other bytes", INVALID, TUNED, stated("hash", OTHER, label="c2pa.hash.data", name=TUNED)),
    Case("a size that lies", INVALID, TUNED, stated("size", 1, name=TUNED)),
    Case("a size of a directory that lies", INVALID, BASE, stated("size", 1)),
    Case("a number of files that lies", INVALID, BASE, stated("files", 3)),
    Case("an OMS root of other files", INVALID, BASE, stated("oms", OTHER)),
    Case("a directory that calls itself a file", (INVALID, MALFORMED), BASE, stated("kind", "file")),
    Case("a file that calls itself a directory", (INVALID, MALFORMED), TUNED, stated("kind", "directory", name=TUNED)),
    Case("an unknown kind", MALFORMED, TUNED, stated("kind", "model", name=TUNED)),
    Case("another chunk size", (INVALID, MALFORMED), TUNED, stated("chunk", 4096, name=TUNED)),
    Case("another index version", (INVALID, MALFORMED), BASE, stated("index", 2)),
    Case("an unknown version", (INVALID, MALFORMED), TUNED, stated("version", 2, name=TUNED)),
    Case("an unknown algorithm", (INVALID, MALFORMED), TUNED, stated("alg", "md5", name=TUNED)),
    Case("a wider algorithm than its digest", (INVALID, MALFORMED), TUNED, stated("alg", "sha384", name=TUNED)),
    Case("an ignore list that hides a shard", INVALID, BASE, stated("ignore", ["shard-1.bin"])),
    Case("an ignore list that is a text", (INVALID, MALFORMED), BASE, stated("ignore", "shard-1.bin")),
    *(
        Case(f"an ignore list with {entry!r}", (INVALID, MALFORMED), BASE, stated("ignore", [entry]))
        for entry in ("", "..", "../x", "/etc", "a//b", "x\0y", ".", 7, None)
    ),
    Case("an endless ignore list", (INVALID, MALFORMED, LIMIT), BASE, stated("ignore", ["x"] * 20_000)),
    *(
        Case(f"the name {name!r}", MALFORMED, TUNED, stated("name", name, name=TUNED))
        for name in ("../model.pt", "/etc/passwd", "a\0b", "a\\b", "", ".", "a//b", "a/../b", "a\x1b[31mb")
    ),
]


@table(STATEMENTS)
def test_a_false_statement_of_the_signer_about_its_own_bytes_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


@pytest.mark.parametrize("option", ["flat", "tree"])
def test_flat_and_tree_of_different_files_are_refused_with_either_file(option: str, tmp_path: Path) -> None:
    """One signed manifest, the flat digest of one file and the tree of another: neither file may pass."""
    one, two = b"weights that were reviewed", b"weights that are delivered"
    made = chain.make("model.pt", one, world.LAB)
    scene = chain.reopened(made)
    scene.store.active["org.atlasml.measurement"].content["tree"] = measure.tree(two)
    scene.store.active.touch()
    path = chain.write_content(tmp_path, "model.pt", one if option == "flat" else two)
    sidecar_of(path).write_bytes(scene.sidecar)
    assert verify(path, policy=policy(), store=tmp_path / ".store").answer == INVALID


def test_a_signed_text_file_that_looks_like_an_index_is_no_directory(tmp_path: Path) -> None:
    """Someone is made to sign a text file whose bytes are the index of the attacker's directory."""
    files = {"model.bin": b"evil"}
    text = measure.index(files)
    made = chain.make("notes.txt", text, world.CURATOR)
    assert verify(made.write(tmp_path), policy=policy(), store=tmp_path / ".store").answer == VALID
    directory = chain.write_content(tmp_path, "evil", files)
    sidecar_of(directory).write_bytes(made.sidecar)
    index_of(directory).write_bytes(text)
    for tree in (False, True):
        assert verify(directory, policy=policy(), store=tmp_path / ".store", tree=tree).answer == INVALID


def test_the_index_of_a_signed_directory_is_no_signed_file(tmp_path: Path) -> None:
    made = chain.make("data", {"a": b"1"}, world.CURATOR)
    path = chain.write_content(tmp_path, "data.txt", made.bound)
    sidecar_of(path).write_bytes(made.sidecar)
    assert verify(path, policy=policy(), store=tmp_path / ".store").answer == INVALID
