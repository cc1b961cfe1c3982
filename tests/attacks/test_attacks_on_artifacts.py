"""Artifacts and their names: whatever changes on disk after signing is refused, and the artifact is named."""

from __future__ import annotations

import io
import os
import pickle
import socket
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from arena import INVALID, LIMIT, MALFORMED, VALID, Case, attack, clean, judge, policy, table, told, untouched
from forge import chain, measure, world
from forge.chain import index_of, sidecar_of
from forge.manifest import Assertion
from forge.world import BASE, CLEAN, HELD_OUT, RAW, REPORT, TUNED, Scene

from atlas.verify import verify

Edit = Callable[[Path], object]


def on(name: str, edit: Edit) -> Callable[[Scene], None]:
    """An attack that edits the file or directory of that artifact."""
    return lambda scene: edit(scene.path(name)) and None


def flip(path: Path, at: int = 0, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def rewrite(change: Callable[[bytes], bytes]) -> Edit:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def swap(directory: Path, one: str, two: str) -> None:
    a, b = (directory / one).read_bytes(), (directory / two).read_bytes()
    (directory / one).write_bytes(b)
    (directory / two).write_bytes(a)


def linked_outside(directory: Path) -> None:
    """A shard becomes a link to the same bytes outside of every root."""
    outside = directory.parents[1].with_name(directory.parents[1].name + "-outside")
    (directory / "shard-1.bin").rename(outside)
    (directory / "shard-1.bin").symlink_to(outside)


def hard_linked(directory: Path) -> None:
    (directory / "shard-1.bin").rename(directory.parents[1] / "elsewhere")
    os.link(directory.parents[1] / "elsewhere", directory / "shard-1.bin")


def replaced(path: Path, make: Edit) -> None:
    path.unlink()
    make(path)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(path.parent)  # a socket's name has at most 107 bytes
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path.name)
    finally:
        os.chdir(here)


def renamed(directory: Path, old: str, new: str) -> None:
    (directory / old).rename(directory / new)


def cases_on_a_directory() -> list[Case]:
    """Rows 1-9: a sharded checkpoint three steps below the report, and the same one verified by itself."""
    edits: list[tuple[str, Edit]] = [
        ("one bit flipped in shard 3", lambda d: flip(d / "shard-3.bin", 5, 3)),
        ("shards 1 and 2 swapped", lambda d: swap(d, "shard-1.bin", "shard-2.bin")),
        ("a shard deleted", lambda d: (d / "shard-4.bin").unlink()),
        ("an unlisted file added", lambda d: (d / "evil.bin").write_bytes(b"")),
        ("an unlisted file in a new folder", lambda d: chain.write_content(d, "deep/er/evil.bin", b"x")),
        ("a sidecar of no listed file", lambda d: (d / "evil.bin.c2pa").write_bytes(b"x")),
        ("a name that only resembles the ignore list", lambda d: (d / ".gitignored").write_bytes(b"x")),
        ("a shard truncated to nothing", lambda d: (d / "shard-2.bin").write_bytes(b"")),
        ("a shard extended by zeros", lambda d: rewrite(lambda b: b + bytes(64))(d / "shard-2.bin")),
        ("a shard cut to its first half", lambda d: rewrite(lambda b: b[:48])(d / "shard-2.bin")),
        ("a byte moved from one shard to the next", lambda d: move_byte(d, "shard-1.bin", "shard-2.bin")),
        ("a name in other case", lambda d: renamed(d, "shard-1.bin", "Shard-1.bin")),
        ("a twin in other case added", lambda d: (d / "CONFIG.json").write_bytes(b"{}")),
        ("a shard that is a link to the same bytes outside", linked_outside),
        ("a FIFO added", lambda d: os.mkfifo(d / "pipe")),
        ("a shard replaced by a FIFO", lambda d: replaced(d / "shard-1.bin", os.mkfifo)),
        ("a socket added", lambda d: unix_socket(d / "socket")),
        ("a link loop added", lambda d: (d / "loop").symlink_to(".")),
        ("a link to itself added", lambda d: (d / "self").symlink_to("self")),
        ("a link to nowhere added", lambda d: (d / "nowhere").symlink_to("gone")),
        ("a folder in the place of a shard", lambda d: replaced(d / "shard-1.bin", lambda p: p.mkdir())),
    ]
    refused = (INVALID, MALFORMED)
    cases = [Case(f"{what} (ancestor)", refused, BASE, on(BASE, edit), untouched) for what, edit in edits]
    return cases + [
        Case(f"{what} (itself)", refused, BASE, on(BASE, edit), untouched, subject=BASE) for what, edit in edits
    ]


def move_byte(directory: Path, one: str, two: str) -> None:
    """The concatenation of all files stays the same; only the boundary moves."""
    a, b = (directory / one).read_bytes(), (directory / two).read_bytes()
    (directory / one).write_bytes(a[:-1])
    (directory / two).write_bytes(a[-1:] + b)


def cases_on_a_file() -> list[Case]:
    edits: list[tuple[str, Edit]] = [
        ("one bit flipped", lambda p: flip(p, 100, 7)),
        ("truncated to nothing", lambda p: p.write_bytes(b"")),
        ("cut by one byte", rewrite(lambda b: b[:-1])),
        ("extended by one zero", rewrite(lambda b: b + b"\0")),
        ("other bytes of the same size", rewrite(lambda b: b[::-1])),
        ("replaced by a FIFO", lambda p: replaced(p, os.mkfifo)),
        ("replaced by a folder", lambda p: replaced(p, lambda q: q.mkdir())),
    ]
    cases = [Case(f"{what} (ancestor)", INVALID, TUNED, on(TUNED, edit), untouched) for what, edit in edits]
    return cases + [
        Case(f"{what} (itself)", INVALID, TUNED, on(TUNED, edit), untouched, subject=TUNED) for what, edit in edits
    ]


@table(cases_on_a_directory() + cases_on_a_file())
def test_an_artifact_that_differs_from_what_was_signed_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "w")


@pytest.mark.parametrize("subject", world.NAMES)
@pytest.mark.parametrize("mode", ["embed", "refer"])
def test_every_artifact_of_the_honest_chain_is_valid(subject: str, mode: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path, subject=subject, mode=mode)
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
    ancestors = {made.urn for made in chain.ancestry(scene.made[subject])}
    assert {node.urn for node in verdict.nodes} == ancestors
    assert {node.bytes for node in verdict.nodes} == {"measured"}


def test_the_changed_file_of_a_directory_is_named(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path, subject=BASE)
    flip(scene.path(BASE) / "shard-3.bin")
    (scene.path(BASE) / "evil.bin").write_bytes(b"x")
    verdict = judge(scene, scene.publish())
    assert "shard-3.bin" in told(verdict)
    assert "evil.bin" in told(verdict)


HARMLESS: list[tuple[str, Edit]] = [
    ("a hard link to the same bytes", hard_linked),
    ("a folder of the ignore list", lambda d: chain.write_content(d, ".git/config", b"x")),
    ("a file of the ignore list, deeper", lambda d: chain.write_content(d, "notes/.DS_Store", b"x")),
    ("a sidecar of a listed file", lambda d: (d / "shard-1.bin.c2pa").write_bytes(b"not even a manifest")),
    ("an empty folder", lambda d: (d / "empty").mkdir()),
    ("other times and modes", lambda d: (os.utime(d / "shard-1.bin", (1, 1)), (d / "shard-1.bin").chmod(0o600))),
]


@pytest.mark.parametrize(("what", "edit"), HARMLESS, ids=[what for what, _ in HARMLESS])
def test_what_the_profile_exempts_stays_valid(what: str, edit: Edit, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path / "w")
    edit(scene.path(BASE))
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_unicode_twin_is_never_matched(form: str, tmp_path: Path) -> None:
    """Row 6. The other normal form of a listed name is another name."""
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    name, twin = (unicodedata.normalize(f, "modèle.bin") for f in (form, other))
    made = chain.make("ckpt", {name: b"x"}, world.LAB)
    path = made.write(tmp_path)
    options = {"policy": policy(), "store": tmp_path / ".store"}
    assert verify(path, **options).answer == VALID
    renamed(path, name, twin)
    assert verify(path, **options).answer == INVALID


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


def test_the_tree_alone_still_refuses_other_bytes(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path, subject=TUNED)
    verdict = judge(scene, scene.publish(), tree=True)
    assert verdict.answer == VALID, told(verdict)
    assert verdict.tree_only
    assert "hard binding not checked" in verdict.explain()
    flip(scene.path(TUNED))
    assert judge(scene, scene.path(TUNED), tree=True).answer == INVALID


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("two chunks swapped", lambda b: b[1 << 20 : 2 << 20] + b[: 1 << 20] + b[2 << 20 :]),
        ("a zero chunk appended", lambda b: b + bytes(1 << 20)),
        ("the last chunk cut", lambda b: b[: 2 << 20]),
        ("a bit in the last byte", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    ],
)
@pytest.mark.parametrize("tree", [False, True], ids=["flat and tree", "tree"])
def test_a_change_in_any_chunk_of_a_large_file_is_refused(
    what: str, change: Callable[[bytes], bytes], tree: bool, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 4096 + b"second" * 174763 + b"end"
    path = chain.make("model.pt", content, world.LAB).write(tmp_path)
    options = {"policy": policy(), "store": tmp_path / ".store", "tree": tree}
    assert verify(path, **options).answer == VALID
    path.write_bytes(change(content))
    assert verify(path, **options).answer == INVALID


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


@pytest.mark.parametrize("other", [RAW, CLEAN, HELD_OUT, TUNED, REPORT])
def test_the_sidecar_of_another_artifact_vouches_for_nothing(other: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path, subject=BASE)
    path = scene.publish()
    sidecar_of(path).write_bytes(scene.made[other].sidecar)
    assert judge(scene, path).answer == INVALID


class Harmful:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch pickle-was-loaded",))


def odd_zip() -> bytes:
    """Names twice, bytes in front, a wrong CRC: what zip readers disagree about."""
    out = io.BytesIO(b"")
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data.pkl", b"one")
        archive.writestr("archive/data.pkl", b"two")
    data = bytearray(b"prepended" + out.getvalue())
    data[data.index(b"PK\x01\x02") + 16] ^= 1
    return bytes(data)


@pytest.mark.parametrize("content", [odd_zip, lambda: pickle.dumps(Harmful())], ids=["odd zip", "harmful pickle"])
def test_bytes_are_bound_whatever_a_loader_makes_of_them(
    content: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 11 and 12: provenance is VALID, any change is not, and nothing is ever unpickled."""
    monkeypatch.chdir(tmp_path)
    path = chain.make("model.pt", content(), world.LAB).write(tmp_path)
    options = {"policy": policy(), "store": tmp_path / ".store"}
    assert verify(path, **options).answer == VALID
    assert not (tmp_path / "pickle-was-loaded").exists()
    for at in range(0, len(content()), 7):
        rewrite(lambda b, at=at: b[:at] + bytes([b[at] ^ 1]) + b[at + 1 :])(path)
        assert verify(path, **options).answer == INVALID
        path.write_bytes(content())


def test_a_valid_pickle_is_not_called_safe(tmp_path: Path) -> None:
    """Row 12. Whoever reads VALID must not read "safe to load"."""
    path = chain.make("model.pt", pickle.dumps(Harmful()), world.LAB).write(tmp_path)
    text = verify(path, policy=policy(), store=tmp_path / ".store").explain().lower()
    assert "safe" in text


def test_links_inside_a_directory_count_by_content(tmp_path: Path) -> None:
    """Row 8: a link that stays inside is followed and hashed by content; another target with other bytes is refused."""
    files = {"a.bin": b"same", "b.bin": b"same", "c.bin": b"other"}
    made = chain.make("ckpt", files, world.LAB)
    again = chain.reopened(made)
    again.store.active["org.atlasml.measurement"].content["links"] = {"b.bin": "a.bin"}
    again.store.active.touch()
    path = again.write(tmp_path)
    replaced(path / "b.bin", lambda p: p.symlink_to("a.bin"))
    options = {"policy": policy(), "store": tmp_path / ".store"}
    assert verify(path, **options).answer == VALID
    replaced(path / "b.bin", lambda p: p.symlink_to("c.bin"))
    assert verify(path, **options).answer == INVALID


def test_an_artifact_reached_through_a_link_is_checked_by_its_bytes(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path / "w", subject=TUNED)
    path = scene.publish()
    link = tmp_path / "w/tuned/latest.pt"
    link.symlink_to("model.pt")
    assert judge(scene, link).answer == VALID
    flip(path)
    assert judge(scene, link).answer == INVALID


def test_missing_ancestors_are_said_to_be_unmeasured(tmp_path: Path) -> None:
    """The chain can be VALID without the ancestors' bytes, but nobody may read that they were looked at."""
    scene = Scene.at(tmp_path / "w")
    path = scene.publish()
    alone = tmp_path / "elsewhere/report.json"
    alone.parent.mkdir()
    alone.write_bytes(path.read_bytes())
    sidecar_of(alone).write_bytes(sidecar_of(path).read_bytes())
    verdict = verify(alone, policy=policy(), store=tmp_path / ".store")
    assert verdict.answer == VALID, told(verdict)
    assert sorted(node.bytes for node in verdict.nodes) == ["measured"] + ["not measured"] * 5
    assert "1 of 6" in verdict.explain()
    required = verify(alone, policy=policy(require_artifacts=True), store=tmp_path / ".store")
    assert required.answer == "INCOMPLETE"


def test_an_unknown_assertion_is_kept_and_no_failure(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    scene.node(TUNED).add(Assertion("com.example.note", {"text": "hello"}, bytes(32)))
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
