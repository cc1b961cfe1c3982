"""Lineage: rows 31 to 39. Every manifest is well signed; what is false is how they belong together."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arena import (
    INCOMPLETE,
    INVALID,
    LIMIT,
    MALFORMED,
    UNTRUSTED,
    VALID,
    Case,
    attack,
    clean,
    judge,
    policy,
    table,
    told,
    untouched,
)
from edits import Change, content, node, outer
from forge import chain, jumbf, manifest, measure, world
from forge.chain import Input, Made, sidecar_of
from forge.manifest import Assertion, Frozen
from forge.world import BASE, CLEAN, HELD_OUT, LABEL, RAW, REPORT, TUNED, Scene

from atlas.verify import verify

BROKEN = (MALFORMED, INVALID)
INPUTS, COVERAGE, METRICS = "org.atlasml.inputs", "org.atlasml.coverage", "org.atlasml.metrics"
SECOND = f"{LABEL}__1"


# --------------------------------------------------------------------------------------- rows 31-34, 36: the links


def swapped_ancestor(scene: Scene) -> None:
    """The grandparent is replaced by a consistent forgery; nobody above it signs again."""
    forged = chain.reopened(scene.made[RAW]).store.active
    forged.signer = world.ATTACKER
    forged.touch().seal({})
    new = forged.box
    assert new is not None
    outer(lambda t: t.children.__setitem__(place(t, forged.urn), new))(scene)


def place(tree: jumbf.Super, urn: str) -> int:
    return next(n for n, box in enumerate(tree.children) if getattr(box, "label", None) == urn)


def dropped(name: str) -> Change:
    """The manifest of an ancestor is taken out of the store."""
    return lambda scene: outer(lambda t: t.children.pop(place(t, scene.urn(name))))(scene)


def retargeted(scene: Scene) -> None:
    """The training data's ingredient points to another honest data set; what was read is recorded as it was."""
    body = scene.node(TUNED)[SECOND].content
    other = chain.ingredient(Input(scene.made[HELD_OUT]))
    body |= {key: other[key] for key in ("activeManifest", "claimSignature", "validationResults")}
    # Ancestors come first in a store, and the report brings this one too.
    held = scene.store[scene.urn(HELD_OUT)]
    scene.store.manifests.remove(held)
    scene.store.manifests.insert(0, held)


def points_to(urn: str, body: dict[str, Any]) -> dict[str, Any]:
    """An ingredient like another one that leads to some other manifest; its hashes cannot be right."""
    changed = dict(body)
    for key, url in ("activeManifest", manifest.manifest_url(urn)), ("claimSignature", manifest.signature_url(urn)):
        changed[key] = Frozen({**body[key], "url": url})
    return changed


def cycle(scene: Scene) -> None:
    """CLEAN comes from TUNED, which comes from CLEAN."""
    target = scene.node(CLEAN)
    target[LABEL].content = points_to(scene.urn(TUNED), target[LABEL].content)


def own_ingredient(scene: Scene) -> None:
    target = scene.node(CLEAN)
    target[LABEL].content = points_to(target.urn, target[LABEL].content)


def equivocation(*, behind: bool) -> Change:
    """The store has a second manifest with the same URN and another body."""

    def apply(scene: Scene) -> None:
        other = chain.reopened(scene.made[RAW]).store
        other.active["org.atlasml.run"].content["parameters"] = {"lr": 9.0}
        other.active.touch()
        second = other.seal().active.box
        assert second is not None
        outer(lambda t: t.children.insert(place(t, scene.urn(RAW)) + behind, second))(scene)

    return apply


def link_hash(key: str, name: str = TUNED) -> Change:
    def apply(scene: Scene) -> None:
        body = scene.node(name)[LABEL].content
        body[key] = Frozen({**body[key], "hash": measure.digest(b"other")})

    return apply


def crossed_signature(scene: Scene) -> None:
    """activeManifest leads to one manifest, claimSignature to another one's signature."""
    target = scene.node(TUNED)
    target[LABEL].content["claimSignature"] = dict(target[SECOND].content["claimSignature"])


def to_no_manifest(scene: Scene) -> None:
    body = scene.node(TUNED)[LABEL].content
    urn = "urn:c2pa:00000000-0000-4000-8000-000000000000"
    scene.node(TUNED)[LABEL].content = points_to(urn, body)


LINKS = [
    Case("a forged grandparent that nobody above signed", INVALID, CLEAN, swapped_ancestor),
    Case("an ancestor taken out", INCOMPLETE, TUNED, dropped(BASE), says="ingredient.manifest.missing"),
    Case("a grandparent taken out", INCOMPLETE, CLEAN, dropped(RAW), says="ingredient.manifest.missing"),
    Case("an ingredient that leads nowhere", INCOMPLETE, TUNED, to_no_manifest, says="ingredient.manifest.missing"),
    Case("an ingredient retargeted to other data", INVALID, TUNED, retargeted),
    Case("a cycle", BROKEN, CLEAN, cycle, says="ingredient.cycle"),
    Case("an artifact that is its own input", BROKEN, CLEAN, own_ingredient, says="ingredient.cycle"),
    Case("two bodies of one name, the false one last", BROKEN, None, equivocation(behind=True)),
    Case("two bodies of one name, the false one first", BROKEN, None, equivocation(behind=False)),
    Case("another hash of the ancestor's manifest", INVALID, TUNED, link_hash("activeManifest")),
    Case("another hash of the ancestor's signature", INVALID, TUNED, link_hash("claimSignature")),
    Case("the signature of another ancestor", BROKEN, TUNED, crossed_signature),
]


@table(LINKS)
def test_a_link_that_does_not_hold_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def referred(name: str, change: Callable[[Path], object]) -> Change:
    """In the form by reference: something happens to the sidecar of an ancestor."""
    return lambda scene: change(sidecar_of(scene.path(name)))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_valid(scene: Scene) -> None:
    """A newer, honest manifest of the same bytes lies where the older one was."""
    newer = chain.make(BASE, scene.made[BASE].content, world.LAB, seed="newer")
    sidecar_of(scene.path(BASE)).write_bytes(newer.sidecar)


REFERENCES = [
    Case("is gone", INCOMPLETE, TUNED, referred(BASE, Path.unlink), untouched, mode="refer"),
    Case("of a grandparent is gone", INCOMPLETE, CLEAN, referred(RAW, Path.unlink), untouched, mode="refer"),
    Case("is a folder", INCOMPLETE, TUNED, referred(BASE, as_folder), untouched, mode="refer"),
    Case("is empty", INCOMPLETE, TUNED, referred(BASE, lambda p: p.write_bytes(b"")), untouched, mode="refer"),
    Case("has a flipped bit", (INCOMPLETE, INVALID), TUNED, referred(BASE, lambda p: p.write_bytes(
        p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1]))), untouched, mode="refer"),
    Case("is another honest one", (INCOMPLETE, INVALID), TUNED, other_valid, untouched, mode="refer"),
]  # fmt: skip


@table(REFERENCES)
def test_an_ancestor_by_reference_must_be_there_byte_for_byte(case: Case, tmp_path: Path) -> None:
    """Row 33: the sidecar that a manifest refers to ..."""
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def reference(change: Callable[[dict[str, Any]], object]) -> Change:
    return content(LABEL, lambda c: change(c["data"]))


BY_REFERENCE = [
    Case("no hash", BROKEN, TUNED, reference(lambda d: d.pop("hash")), mode="refer", subject=TUNED),
    Case("no algorithm", BROKEN, TUNED, reference(lambda d: d.pop("alg")), mode="refer", subject=TUNED),
    Case("a cut hash", BROKEN, TUNED, reference(lambda d: d.update(hash=d["hash"][:16])), mode="refer", subject=TUNED),
    Case("a size that lies", BROKEN, TUNED, reference(lambda d: d.update(size=1)), mode="refer", subject=TUNED),
    Case("another manifest's name", BROKEN, TUNED, content(LABEL, lambda c: c.update(
        instanceID="urn:c2pa:00000000-0000-4000-8000-000000000000")), mode="refer", subject=TUNED),
    Case("a hash of nothing known", INCOMPLETE, TUNED, reference(lambda d: d.update(hash=bytes(32))),
         mode="refer", subject=TUNED),
]  # fmt: skip


@table(BY_REFERENCE)
def test_a_reference_that_says_something_false_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def test_one_name_with_an_embedded_and_a_referred_body_is_refused(tmp_path: Path) -> None:
    """Row 36 across stores: two honest-looking inputs carry the same URN with different bodies."""
    one = chain.make("data.txt", b"data", world.CURATOR)
    two = chain.reopened(one)
    two.store.active["org.atlasml.run"].content["parameters"] = {"lr": 9.0}
    two.store.active.touch()
    inputs = [Input(one), Input(Made("copy.txt", b"data", world.CURATOR, two.store.seal()), mode="refer")]
    path = chain.make("model.pt", b"weights", world.TUNER, inputs).write(tmp_path)
    two.write(tmp_path / "elsewhere")
    chain.write_content(tmp_path, "copy.txt", b"data")
    sidecar_of(tmp_path / "copy.txt").write_bytes(two.sidecar)
    verdict = verify(path, policy=policy(), store=tmp_path / ".store")
    assert verdict.answer == INVALID, told(verdict)


# ------------------------------------------------------------------------ rows 37-39: what was read, and what of it


def entry(change: Callable[[dict[str, Any]], object], at: int = 0, name: str = TUNED) -> Change:
    return content(INPUTS, lambda c: change(c["inputs"][at]), name)


def entries(change: Callable[[list[dict[str, Any]]], object]) -> Change:
    return content(INPUTS, lambda c: change(c["inputs"]))


def seen(number: int) -> Change:
    return content(COVERAGE, lambda c: c.update(seen=number))


def result(**changes: Any) -> Change:
    return content(METRICS, lambda c: c["results"][0].update(changes), REPORT)


def swapped_base(scene: Scene) -> None:
    """base/ckpt was swapped before training while its honest sidecar stayed; the trainer records what it read."""
    swapped = {"shard-1.bin": b"backdoor"}
    scene.node(TUNED)[INPUTS].content["inputs"][0] |= {
        "flat": measure.digest(measure.bound(swapped)),
        "tree": measure.tree(swapped),
        "size": measure.size(swapped),
    }


def crossed(scene: Scene) -> None:
    """The digests of the two inputs are exchanged."""
    one, two = scene.node(TUNED)[INPUTS].content["inputs"]
    for key in "flat", "tree", "size":
        one[key], two[key] = two[key], one[key]


OTHER = measure.digest(b"other")
NOT_TRAINED = {"entries": {"cawg.ai_training": {"use": "notAllowed"}}}
TRAINED = {"entries": {"cawg.ai_training": {"use": "allowed"}}}


def training_use(body: dict[str, Any]) -> Change:
    return node(lambda n: n.add(Assertion("cawg.training-mining", body, bytes(32))), CLEAN)


READ = [
    Case("a base that was swapped before training", INVALID, TUNED, swapped_base),
    Case("a flat digest of other bytes", INVALID, TUNED, entry(lambda e: e.update(flat=OTHER))),
    Case("a tree of other bytes", INVALID, TUNED, entry(lambda e: e.update(tree=OTHER))),
    Case("only a tree, of other bytes", INVALID, TUNED, entry(lambda e: (e.pop("flat"), e.update(tree=OTHER)))),
    Case("a size that lies", INVALID, TUNED, entry(lambda e: e.update(size=7))),
    Case("a file that was a directory", BROKEN, TUNED, entry(lambda e: e.update(kind="file"))),
    Case("two inputs with their digests exchanged", INVALID, TUNED, crossed),
    Case("no digest at all", BROKEN, TUNED, entry(lambda e: (e.pop("flat"), e.pop("tree")))),
    Case("a digest that is cut", BROKEN, TUNED, entry(lambda e: e.update(flat=OTHER[:31]))),
    Case("an entry for no ingredient", BROKEN, TUNED, entry(lambda e: e.update(ingredient=f"{LABEL}__7"))),
    Case("an entry for an assertion that is no ingredient", BROKEN, TUNED, entry(
        lambda e: e.update(ingredient="c2pa.hash.data"))),
    Case("an ingredient without an entry", INVALID, TUNED, entries(list.pop)),
    Case("two entries for one ingredient", BROKEN, TUNED, entries(lambda c: c.append(dict(c[0])))),
    Case("no entries", INVALID, TUNED, node(lambda n: n.remove(INPUTS))),
    Case("an evaluation of another model", INVALID, REPORT, entry(lambda e: e.update(flat=OTHER), name=REPORT)),
    Case("one of four inputs listed", INVALID, TUNED, seen(4)),
    Case("more inputs listed than were seen", INVALID, TUNED, seen(1)),
    Case("no coverage", INVALID, TUNED, node(lambda n: n.remove(COVERAGE))),
    Case("a metric of no ingredient", INVALID, REPORT, result(of=f"{LABEL}__9")),
    Case("a metric on no ingredient", INVALID, REPORT, result(on="c2pa.hash.data")),
    Case("data that must not be trained on", UNTRUSTED, None, training_use(NOT_TRAINED), training_use(TRAINED)),
]  # fmt: skip


@table(READ)
def test_what_was_read_must_be_what_the_ingredients_are_bound_to(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def test_gaps_add_up_with_the_inputs(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    gaps = [{"what": "stdin", "reason": "not a file", "input": True}, {"what": "x", "reason": "y"}]
    scene.node(TUNED)[COVERAGE].content |= {"seen": 3, "gaps": gaps}
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
    assert verdict.gaps == 2


def test_a_failure_that_the_producer_recorded_comes_to_light(tmp_path: Path) -> None:
    """What an ingredient's producer saw fail must be read in the verdict, whatever we see ourselves."""
    scene = Scene.at(tmp_path)
    code = "signingCredential.untrusted"
    failure = {"code": code, "url": manifest.signature_url(scene.urn(BASE))}
    scene.node(TUNED)[LABEL].content["validationResults"]["activeManifest"]["failure"] = [failure]
    verdict = judge(scene, scene.publish())
    mine = [c for c in verdict.checks if "recorded" in c.text and verdict.nodes[c.node].urn == scene.urn(TUNED)]
    assert mine, told(verdict)
    assert all(check.status in ("failed", "note") for check in mine)


def test_an_input_of_unknown_provenance_is_counted_and_can_be_refused(tmp_path: Path) -> None:
    unknown = Input(chain.make("data.txt", b"data", world.CURATOR), mode="unknown")
    path = chain.make("model.pt", b"weights", world.TUNER, [unknown]).write(tmp_path)
    verdict = verify(path, policy=policy(), store=tmp_path / ".store")
    assert verdict.answer == VALID, told(verdict)
    assert verdict.unknown == 1
    assert "unknown" in verdict.explain().splitlines()[0]
    strict = verify(path, policy=policy(refuse_unknown_inputs=True), store=tmp_path / ".store")
    assert strict.answer == UNTRUSTED


# --------------------------------------------------------------------------------------------- size and shape


def ladder(levels: int) -> Made:
    """Two artifacts per level, each made from both of the level below: 2^levels paths, 2 * levels manifests."""
    below: list[Made] = []
    for level in range(levels):
        inputs = [Input(made) for made in below]
        below = [chain.make(f"l{level}/{side}.pt", b"%d %d" % (level, side), world.LAB, inputs) for side in range(2)]
    return chain.make("top.pt", b"top", world.LAB, [Input(made) for made in below])


def timed(made: Made, root: Path, **options: Any) -> tuple[Any, float]:
    path = made.write(root)
    start = time.perf_counter()
    verdict = verify(path, policy=policy(), store=root / ".store", **options)
    return verdict, time.perf_counter() - start


def test_a_diamond_ladder_takes_linear_time(tmp_path: Path) -> None:
    """Row 35: 2^64 paths through 129 manifests."""
    _, quarter = timed(ladder(16), tmp_path / "16")
    verdict, whole = timed(ladder(64), tmp_path / "64")
    assert verdict.answer == VALID, told(verdict)
    assert len(verdict.nodes) == 129
    assert whole < 5
    assert whole < 16 * quarter + 0.5


@pytest.mark.parametrize(("ancestors", "answer"), [(127, VALID), (128, VALID), (129, LIMIT), (200, LIMIT)])
def test_embedded_ancestors_beyond_the_limit_are_said_to_be(ancestors: int, answer: str, tmp_path: Path) -> None:
    verdict, seconds = timed(chain.line(world.CA, ancestors + 1), tmp_path)
    assert verdict.answer == answer, told(verdict)
    assert seconds < 5


@pytest.mark.parametrize(("count", "answer"), [(1024, VALID), (1025, LIMIT)])
def test_ingredients_beyond_the_limit_are_said_to_be(count: int, answer: str, tmp_path: Path) -> None:
    raw = chain.make("data.txt", b"data", world.CURATOR)
    verdict, seconds = timed(chain.make("m.pt", b"m", world.LAB, [Input(raw, mode="unknown")] * count), tmp_path)
    assert verdict.answer == answer, told(verdict)
    assert seconds < 5


def test_a_long_chain_by_reference_is_walked_to_its_end(tmp_path: Path) -> None:
    """Checkpoints of one run refer to each other; only the bundle knows all their manifests."""
    made = chain.line(world.CA, 300, mode="refer")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for ancestor in chain.ancestry(made):
        (bundle / f"{measure.digest(ancestor.sidecar).hex()}.c2pa").write_bytes(ancestor.sidecar)
    verdict, seconds = timed(made, tmp_path / "w", bundle=bundle)
    assert verdict.answer == VALID, told(verdict)
    assert len(verdict.nodes) == 300
    assert seconds < 5
    missing = next(a for a in chain.ancestry(made) if a.name == "step7/model.pt")
    (bundle / f"{measure.digest(missing.sidecar).hex()}.c2pa").unlink()
    verdict, _ = timed(made, tmp_path / "w", bundle=bundle)
    assert verdict.answer == INCOMPLETE
