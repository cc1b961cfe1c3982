"""The bytes of a sidecar: encodings and boxes that are not what the profile says.

Changes inside a manifest are signed again, so that no hash and no signature stands in for the rule under test.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arena import INCOMPLETE, INVALID, MALFORMED, VALID, Case, attack, clean, judge, table, told, untouched
from edits import Change, boxes, cose, envelope, finished, node, outer
from forge import cbor, chain, jumbf, world
from forge.jumbf import Box, Super
from forge.manifest import Assertion, Manifest
from forge.world import LABEL, TUNED, Scene

BROKEN = (MALFORMED, INVALID)
NO_CLAIM = (MALFORMED, INCOMPLETE)
Flaw = Callable[[Any], cbor.Raw]

# ------------------------------------------------------------------------------------------- row 13: the encoding

FLAWS: dict[str, Flaw] = {
    "a head longer than needed": cbor.long_head,
    "a key twice": cbor.duplicate_key,
    "an indefinite length": cbor.indefinite,
    "a trailing byte": cbor.trailing,
}
READ_ASSERTIONS = [
    "c2pa.hash.data",
    LABEL,
    "c2pa.actions.v2",
    "org.atlasml.measurement",
    "org.atlasml.inputs",
    "org.atlasml.coverage",
]


def in_assertion(label: str) -> Callable[[Flaw], Change]:
    def place(flaw: Flaw) -> Change:
        def apply(scene: Scene) -> None:
            scene.store.seal()  # hashes inside the assertion are right before it becomes bytes
            assertion = scene.node(TUNED)[label]
            assertion.content = flaw(assertion.content)

        return apply

    return place


def in_claim(flaw: Flaw) -> Change:
    return node(lambda n: setattr(n, "encode_claim", lambda data: bytes(flaw(cbor.loads(data)))))


def in_protected(flaw: Flaw) -> Change:
    return envelope(protected=flaw)


def in_unprotected(flaw: Flaw) -> Change:
    return cose(lambda body: [body[0], flaw({"pad": b"", "pad2": b""}), *body[2:]])


def encodings(what: str, place: Callable[[Flaw], Change], *answers: str) -> Iterator[Case]:
    """Every flaw in one place; the twin has its map unsorted, which the profile accepts."""
    for flaw, write in FLAWS.items():
        yield Case(f"{flaw} in {what}", answers or MALFORMED, TUNED, place(write), place(cbor.unsorted))


ENCODINGS = [
    *encodings("the claim", in_claim),
    *encodings("the protected header", in_protected),
    *encodings("the unprotected header", in_unprotected),
    # What cannot be read cannot keep its promise to other assertions either, which may be the worse failure.
    *(case for label in READ_ASSERTIONS for case in encodings(label, in_assertion(label), *BROKEN)),
]


@table(ENCODINGS)
def test_cbor_outside_the_profile_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# --------------------------------------------------------------------------------- rows 14, 15: boxes of a manifest


def extra(kind: bytes, label: str, *, at: int | None = None) -> Callable[[Super], object]:
    """One more superbox in the manifest, by default a copy of the one of its kind."""

    def change(tree: Super) -> None:
        same = [box for box in tree.children if isinstance(box, Super) and box.kind == kind]
        new = Super(kind, label, list(same[0].children) if same else [Box(b"cbor", b"\xa0")])
        tree.children.insert(len(tree.children) if at is None else at, new)

    return change


def without(label: str) -> Callable[[Super], object]:
    return lambda tree: tree.children.remove(tree[label])


def appended(box: Box, *path: str) -> Change:
    """A content box at the end of the superbox at that path in the manifest."""

    def change(tree: Super) -> None:
        for label in path:
            tree = tree[label]
        tree.children.append(box)

    return boxes(change)


MEASUREMENT = ("c2pa.assertions", "org.atlasml.measurement")
BOXES = [
    Case("a second claim", MALFORMED, TUNED, boxes(extra(jumbf.CLAIM, "c2pa.claim.v2"))),
    Case("a second claim in front", MALFORMED, TUNED, boxes(extra(jumbf.CLAIM, "c2pa.claim.v2", at=0))),
    Case("a second claim of version 1", MALFORMED, TUNED, boxes(extra(jumbf.CLAIM, "c2pa.claim"))),
    Case("a second signature", MALFORMED, TUNED, boxes(extra(jumbf.SIGNATURE, "c2pa.signature"))),
    Case("a second assertion store", MALFORMED, TUNED, boxes(extra(jumbf.ASSERTIONS, "c2pa.assertions"))),
    Case("an unknown superbox in the manifest", MALFORMED, TUNED, boxes(extra(b"xxxx", "com.example"))),
    Case("no claim", NO_CLAIM, TUNED, boxes(without("c2pa.claim.v2"))),
    Case("no assertion store", (MALFORMED, INCOMPLETE), TUNED, boxes(without("c2pa.assertions"))),
    Case("a content box in the manifest", MALFORMED, TUNED, appended(Box(b"free", b""))),
    Case("a second box in an assertion", BROKEN, TUNED, appended(Box(b"cbor", b"\xa0"), *MEASUREMENT)),
    Case("padding in an assertion", BROKEN, TUNED, appended(Box(b"free", bytes(8)), *MEASUREMENT)),
    Case("a second box in the claim", MALFORMED, TUNED, appended(Box(b"cbor", b"\xa0"), "c2pa.claim.v2")),
    Case("a second box in the signature", MALFORMED, TUNED, appended(Box(b"cbor", b"\xa0"), "c2pa.signature")),
    Case("a claim of version 1", MALFORMED, TUNED, node(lambda n: setattr(n, "claim_label", "c2pa.claim"))),
    Case("a compressed manifest", MALFORMED, TUNED, node(lambda n: setattr(n, "kind", b"c2cm"))),
    Case("a deprecated manifest", MALFORMED, TUNED, node(lambda n: setattr(n, "kind", b"c2md"))),
    Case("an unknown kind of manifest", (*BROKEN, INCOMPLETE), None, node(lambda n: setattr(n, "kind", b"c2xx"))),
    Case("a claim of another type", NO_CLAIM, TUNED, boxes(lambda t: setattr(t["c2pa.claim.v2"], "kind", b"json"))),
]


@table(BOXES)
def test_a_manifest_with_other_boxes_than_its_three_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def patched(data: bytes) -> Change:
    """Other bytes at the start of the sidecar."""
    return finished(lambda store: data + store[len(data) :])


OUTER = [
    Case("a byte after the store", MALFORMED, None, finished(lambda b: b + b"\0"), untouched),
    Case("a second store after the store", MALFORMED, None, finished(lambda b: b + b), untouched),
    Case("a byte before the store", MALFORMED, None, finished(lambda b: b"\0" + b), untouched),
    Case("the last byte cut", MALFORMED, None, finished(lambda b: b[:-1]), untouched),
    Case("nothing at all", MALFORMED, None, finished(lambda b: b""), untouched),
    Case("a length of zero, to the end", MALFORMED, None, patched(bytes(4)), untouched),
    Case("an empty store", (MALFORMED, INCOMPLETE), None, outer(lambda t: t.children.clear()), untouched),
    Case("another label", MALFORMED, None, outer(lambda t: setattr(t, "label", "c2pb")), untouched),
    Case("another type", MALFORMED, None, outer(lambda t: setattr(t, "kind", b"c2pb")), untouched),
    Case("text", MALFORMED, None, finished(lambda b: b"-----BEGIN C2PA MANIFEST-----\n"), untouched),
]


@table(OUTER)
def test_a_sidecar_that_is_not_exactly_one_store_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# --------------------------------------------------------------------------------------- what others may write


def stranger(scene: Scene) -> None:
    other = chain.make("other.bin", b"other", world.LAB)
    scene.store.manifests.insert(0, chain.reopened(other).store.active)


def without_salt(manifest: Manifest) -> None:
    for assertion in manifest.assertions:
        assertion.salt = None


def long_header(tree: Super) -> None:
    box = tree["c2pa.assertions"]["org.atlasml.run"]
    box.header = struct.pack(">I4sQ", 1, b"jumb", len(box.payload) + 16)


def gathered(manifest: Manifest) -> None:
    manifest.add(Assertion("com.example.found", {"text": "x"}, bytes(32)), listed="gathered_assertions")


def with_sha384(manifest: Manifest) -> None:
    for entry in manifest.claim["created_assertions"]:
        entry["alg"] = "sha384"


RELATIVE = "self#jumbf=c2pa.signature"
TOLERATED: list[tuple[str, Change]] = [
    ("an unknown superbox in the store", outer(lambda t: t.children.insert(0, Super(b"xxxx", "com.example")))),
    ("a manifest that nothing refers to", stranger),
    ("the same manifest twice, byte for byte", outer(lambda t: t.children.insert(0, t.children[0]))),
    ("a claim signature address relative to the manifest", node(lambda n: n.claim.update(signature=RELATIVE))),
    ("assertions without salt", node(without_salt)),
    ("a long box header where a short one would do", boxes(long_header)),
    ("assertions in another order than the claim's", boxes(lambda t: t["c2pa.assertions"].children.reverse())),
    ("the parts of a manifest in another order", boxes(lambda t: t.children.reverse())),
    ("an assertion that was gathered", node(gathered)),
    ("an assertion that nobody knows", node(lambda n: n.add(Assertion("com.example.note", {"a": 1}, bytes(32))))),
    ("hashed URIs with SHA-384", node(with_sha384)),
    ("padding of the signature", envelope(unprotected={"pad": bytes(100), "pad2": bytes(3)})),
]


@pytest.mark.parametrize(("what", "change"), TOLERATED, ids=[what for what, _ in TOLERATED])
def test_what_other_producers_may_write_is_valid(what: str, change: Change, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    change(scene)
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
