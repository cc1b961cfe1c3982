"""Claims, assertions and signature envelopes that are well encoded and false, or break a rule of C2PA.

Everything is signed again by the honest key of the node unless the line says that it is not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arena import INCOMPLETE, INVALID, MALFORMED, Case, attack, clean, table, untouched
from edits import Change, claim, content, cose, envelope, node, replaced
from forge import cbor, manifest, measure, world
from forge.jumbf import Super
from forge.manifest import Assertion, Frozen, Manifest
from forge.world import BASE, LABEL, REPORT, TUNED, Scene

BROKEN = (MALFORMED, INVALID)

# ------------------------------------------------------------------------------- rows 16, 18, 20: not signed again


def keep_signature(scene: Scene, of: str) -> None:
    """The node carries a signature that was made before the change."""
    old = scene.made[of].store.active.box
    assert old is not None

    def reshape(tree: Super) -> Super:
        tree["c2pa.signature"].children = list(old["c2pa.signature"].children)
        return tree

    scene.node(TUNED).reshape = reshape


def edited_with_its_hash(scene: Scene) -> None:
    scene.node(TUNED)["org.atlasml.run"].content["parameters"] = {"lr": 0.2}
    keep_signature(scene, TUNED)


METRIC = struct.pack(">d", 0.9)
EDITS = [
    Case("the title", INVALID, TUNED, replaced(b"tuned/model.pt", b"tuned/Model.pt"), untouched),
    Case("the generator", INVALID, REPORT, replaced(b"forge", b"Forge"), untouched),
    Case("a metric", INVALID, REPORT, replaced(METRIC, struct.pack(">d", 0.99)), untouched),
    Case("a role", INVALID, TUNED, replaced(b"base model", b"some model"), untouched),
    Case("a relationship", BROKEN, REPORT, replaced(b"inputTo", b"inputTO"), untouched),
    Case("a label", INVALID, TUNED, replaced(b"org.atlasml.run", b"org.atlasml.ran"), untouched),
    Case("an assertion and its hash", INVALID, TUNED, edited_with_its_hash, says="claimSignature.mismatch"),
    Case("another node's signature", INVALID, TUNED, lambda s: keep_signature(s, BASE), says="claimSignature.mismatch"),
]


@table(EDITS)
def test_an_edit_after_signing_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# ------------------------------------------------------------------------------------------- row 17: hashed URIs


def link(**changes: Any) -> Change:
    """Changes the last entry of created_assertions; its hash is not put right."""

    def apply(scene: Scene) -> None:
        entries = scene.node(TUNED).claim["created_assertions"]
        entries[-1] = Frozen({**entries[-1], **changes})

    return apply


def own_hash(cut: int) -> Change:
    def apply(scene: Scene) -> None:
        link(hash=scene.node(TUNED).claim["created_assertions"][-1]["hash"][:cut])(scene)

    return apply


def of_another_manifest(scene: Scene) -> None:
    box = scene.store[scene.urn(BASE)].box
    assert box is not None
    target = box["c2pa.assertions"]["org.atlasml.run"]
    link(url=manifest.assertion_url(scene.urn(BASE), "org.atlasml.run"), hash=target.digest())(scene)


def foreign_signature(scene: Scene) -> None:
    scene.node(TUNED).claim["signature"] = manifest.signature_url(scene.urn(BASE))


def without(key: str) -> Change:
    return claim(lambda c: c.pop(key))


def generator(**changes: Any) -> Change:
    def change(c: dict[str, Any]) -> None:
        info = {**c["claim_generator_info"], **changes}
        c["claim_generator_info"] = {key: value for key, value in info.items() if value is not None}

    return claim(change)


def sha(alg: str, cut: int | None = None) -> bytes:
    return measure.digest(b"x", alg)[:cut]


def twice(manifest: Manifest) -> None:
    manifest.assertions.append(Assertion("org.atlasml.run", {"run": "another"}, bytes(32)))


def listed_twice(c: dict[str, Any]) -> None:
    c["created_assertions"].append(dict(c["created_assertions"][0]))


GONE = manifest.own_url("org.atlasml.gone")
CLIMBS = "self#jumbf=c2pa.assertions/../c2pa.assertions/org.atlasml.coverage"
LINKS = [
    Case("a hash of other bytes", INVALID, TUNED, link(hash=sha("sha256")), says="assertion.hashedURI.mismatch"),
    Case("a hash that is cut", BROKEN, TUNED, own_hash(31)),
    Case("an empty hash", BROKEN, TUNED, own_hash(0)),
    Case("a SHA-512 cut to 32 bytes", BROKEN, TUNED, link(hash=sha("sha512", 32))),
    Case("SHA-384 for a SHA-256 digest", BROKEN, TUNED, link(alg="sha384")),
    Case("MD5", BROKEN, TUNED, link(alg="md5", hash=sha("md5"))),
    Case("SHA-1", BROKEN, TUNED, link(alg="sha1", hash=sha("sha1"))),
    Case("an algorithm in capitals", BROKEN, TUNED, link(alg="SHA256")),
    Case("an assertion that is not there", (INVALID, INCOMPLETE), TUNED, link(url=GONE), says="assertion.missing"),
    Case("an assertion of another manifest", BROKEN, TUNED, of_another_manifest),
    Case("an address that climbs", BROKEN, TUNED, link(url=CLIMBS)),
    Case("an address on the web", BROKEN, TUNED, link(url="https://example.com/x")),
    Case(
        "an assertion that is not listed",
        INVALID,
        TUNED,
        claim(lambda c: c["created_assertions"].pop()),
        says="assertion.undeclared",
    ),
    Case("two assertions of one label", BROKEN, TUNED, node(twice)),
    Case("an assertion listed twice", BROKEN, TUNED, claim(listed_twice)),
    Case("nothing listed", BROKEN, TUNED, claim(lambda c: c.update(created_assertions=[]))),
    Case("no list", BROKEN, TUNED, without("created_assertions")),
    Case("the address of another signature", BROKEN, TUNED, foreign_signature),
    Case("no signature address", BROKEN, TUNED, without("signature")),
    Case("no instance", BROKEN, TUNED, without("instanceID")),
    Case("no generator", BROKEN, TUNED, without("claim_generator_info")),
    Case("a generator without a name", BROKEN, TUNED, generator(name=None)),
    Case("a generator whose version is a number", BROKEN, TUNED, generator(version=1)),
    Case("a generator whose specification is a list", BROKEN, TUNED, generator(specVersion=[])),
    Case("a generator whose system is a number", BROKEN, TUNED, generator(operating_system=1.5)),
    Case("no algorithm anywhere", BROKEN, TUNED, without("alg")),
    Case("an unknown algorithm", BROKEN, TUNED, claim(lambda c: c.update(alg="blake3"))),
    Case(
        "a list for a claim",
        MALFORMED,
        TUNED,
        node(lambda n: setattr(n, "encode_claim", lambda data: b"\x81" + data)),
    ),
]


@table(LINKS)
def test_a_claim_whose_links_do_not_hold_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# ------------------------------------------------------------------------------------ rules of C2PA for a manifest


def second_binding(manifest: Manifest) -> None:
    manifest.add(Assertion("c2pa.hash.data__1", dict(manifest["c2pa.hash.data"].content), bytes(32)))


def gathered_binding(manifest: Manifest) -> None:
    manifest.claim["gathered_assertions"] = [manifest.claim["created_assertions"].pop(0)]


def renamed(label: str, new: str) -> Change:
    def change(target: Manifest) -> None:
        target[label].label = new
        for entry in target.claim["created_assertions"]:
            if entry["url"] == manifest.own_url(label):
                entry["url"] = manifest.own_url(new)

    return node(change)


def two_parents(target: Manifest) -> None:
    for assertion in target.ingredients:
        assertion.content["relationship"] = "parentOf"


def binding(**changes: Any) -> Change:
    return content("c2pa.hash.data", lambda c: c.update(changes))


def action(change: Callable[[dict[str, Any]], object]) -> Change:
    return content("c2pa.actions.v2", lambda c: change(c["actions"][0]))


def opened(first: dict[str, Any]) -> None:
    first["action"] = "c2pa.opened"
    del first["digitalSourceType"]


def actions(change: Callable[[list[dict[str, Any]]], object]) -> Change:
    return content("c2pa.actions.v2", lambda c: change(c["actions"]))


def ingredient_without(key: str) -> Change:
    return content(LABEL, lambda c: c.pop(key))


def recorded(change: Callable[[dict[str, Any]], object]) -> Change:
    return content(LABEL, lambda c: change(c["validationResults"]["activeManifest"]))


def typed(label: str, kind: bytes) -> Change:
    """The superbox of an assertion has another type; its content is as it was."""
    return node(lambda n: setattr(n[label], "type", kind))


def cut_ingredient(scene: Scene) -> None:
    body = scene.node(TUNED)[LABEL].content
    body["activeManifest"] = Frozen(body["activeManifest"], hash=body["activeManifest"]["hash"][:20])


MISSING = (*BROKEN, INCOMPLETE)
EXCLUDED = [{"start": 0, "length": 4}]
RULES = [
    Case("two hard bindings", BROKEN, TUNED, node(second_binding), says="assertion.multipleHardBindings"),
    Case(
        "no hard binding",
        MISSING,
        TUNED,
        node(lambda n: n.remove("c2pa.hash.data")),
        says="claim.hardBindings.missing",
    ),
    Case("a hard binding that was only gathered", MISSING, TUNED, node(gathered_binding)),
    Case("a hard binding for media", MISSING, TUNED, renamed("c2pa.hash.data", "c2pa.hash.boxes")),
    Case("a hard binding with an exclusion", BROKEN, TUNED, binding(exclusions=EXCLUDED)),
    Case("a hard binding with an empty exclusion list", BROKEN, TUNED, binding(exclusions=[])),
    Case(
        "a hard binding that is cut", BROKEN, TUNED, content("c2pa.hash.data", lambda c: c.update(hash=c["hash"][:16]))
    ),
    Case("a hard binding with MD5", BROKEN, TUNED, binding(alg="md5", hash=sha("md5"))),
    Case("a hard binding that says SHA-384", BROKEN, TUNED, binding(alg="sha384")),
    Case("a hard binding of something on the web", BROKEN, TUNED, binding(url="https://example.com/model.pt")),
    Case("a hard binding without padding", BROKEN, TUNED, content("c2pa.hash.data", lambda c: c.pop("pad"))),
    Case("no actions", BROKEN, TUNED, node(lambda n: n.remove("c2pa.actions.v2"))),
    Case("an empty list of actions", BROKEN, TUNED, actions(list.clear)),
    Case(
        "a first action that neither creates nor opens", BROKEN, TUNED, action(lambda a: a.update(action="c2pa.edited"))
    ),
    Case("a creation without its source type", BROKEN, TUNED, action(lambda a: a.pop("digitalSourceType"))),
    Case("a second creation", BROKEN, TUNED, actions(lambda a: a.append(dict(a[0])))),
    Case("an opening without a parent", BROKEN, TUNED, action(opened)),
    Case("two parents", BROKEN, TUNED, node(two_parents), says="manifest.multipleParents"),
    Case("an unknown relationship", BROKEN, TUNED, content(LABEL, lambda c: c.update(relationship="siblingOf"))),
    Case("an ingredient without validation results", BROKEN, TUNED, ingredient_without("validationResults")),
    Case("an ingredient without its claim signature", BROKEN, TUNED, ingredient_without("claimSignature")),
    Case("an ingredient without a relationship", BROKEN, TUNED, ingredient_without("relationship")),
    Case("an ingredient whose hash is cut", BROKEN, TUNED, cut_ingredient),
    Case("a recorded result without a code", BROKEN, TUNED, recorded(lambda r: r["success"][0].pop("code"))),
    Case("a recorded result that is a text", BROKEN, TUNED, recorded(lambda r: r["success"].append("all well"))),
    Case("recorded results that are no list", BROKEN, TUNED, recorded(lambda r: r.update(failure={}))),
    Case("an assertion in a box of no known type", BROKEN, TUNED, typed("org.atlasml.run", b"xxxx")),
    Case("a known assertion in a box of no known type", BROKEN, TUNED, typed("c2pa.asset-type.v2", b"xxxx")),
    Case("a known assertion in JSON", BROKEN, TUNED, typed("c2pa.asset-type.v2", b"json")),
]


@table(RULES)
def test_a_manifest_that_breaks_a_rule_of_c2pa_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# ---------------------------------------------------------------------------------------- COSE envelope around it


def unprotected_chain(scene: Scene) -> None:
    target = scene.node(TUNED).envelope
    target.protected = lambda header: {1: header[1]}
    target.unprotected[33] = world.TUNER.chain


def protected(**entries: Any) -> Change:
    keys = {"crit": 2, "content_type": 3}
    return envelope(protected=lambda header: {**header, **{keys.get(k, k): v for k, v in entries.items()}})


ENVELOPES = [
    Case("no tag", MALFORMED, TUNED, envelope(tagged=False)),
    Case("a payload inside", BROKEN, TUNED, envelope(payload=b"junk")),
    Case("an empty payload inside", BROKEN, TUNED, envelope(payload=b"")),
    Case("certificates in both headers", BROKEN, TUNED, envelope(unprotected={33: world.ATTACKER.chain})),
    Case("certificates under both names", BROKEN, TUNED, protected(x5chain=world.ATTACKER.chain)),
    Case("certificates only in the unprotected header", BROKEN, TUNED, unprotected_chain),
    Case("an algorithm in both headers", BROKEN, TUNED, envelope(unprotected={1: -7})),
    Case("three elements", MALFORMED, TUNED, cose(lambda body: body[:3])),
    Case("five elements", MALFORMED, TUNED, cose(lambda body: [*body, b""])),
    Case("a text for a signature", MALFORMED, TUNED, cose(lambda body: [*body[:3], "signature"])),
    Case("a map for the protected header", MALFORMED, TUNED, cose(lambda body: [cbor.loads(body[0]), *body[1:]])),
    Case("a critical header that nobody knows", BROKEN, TUNED, protected(crit=["x"], x=1)),
    Case("an unknown field outside of the signed part", BROKEN, TUNED, envelope(unprotected={"note": "not signed"})),
]


@table(ENVELOPES)
def test_a_signature_envelope_outside_the_profile_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")
