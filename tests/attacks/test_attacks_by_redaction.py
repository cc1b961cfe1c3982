"""Redaction: C2PA lets whoever builds on a manifest take assertions out of it. Atlas names what may go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arena import INCOMPLETE, INVALID, LIMIT, MALFORMED, VALID, Case, attack, clean, judge, policy, table, told
from edits import Change, both, node
from forge import chain, manifest, world
from forge.chain import sidecar_of
from forge.manifest import Assertion
from forge.world import BASE, EVALUATOR, LABEL, RAW, REPORT, TUNED, Scene

from atlas.verify import verify

BROKEN = (INVALID, MALFORMED)
RUN = "org.atlasml.run"


def redacted(
    label: str, of: str = TUNED, by: str = REPORT, *, listed: bool = True, action: bool = True, taken: bool = True
) -> Change:
    """`by` takes an assertion out of `of`, as the report's author may or may not."""

    def apply(scene: Scene) -> None:
        uri = manifest.assertion_url(scene.urn(of), label)
        redactor = scene.node(by)
        if listed:
            redactor.claim.setdefault("redacted_assertions", []).append(uri)
        if action:
            step = {"action": "c2pa.redacted", "reason": "c2pa.PII.present", "parameters": {"redacted": uri}}
            redactor["c2pa.actions.v2"].content["actions"].append(step)
        if taken and of != by:
            chain.take_out(scene.store, uri)

    return apply


def listing(uri: str) -> Change:
    """The report's claim says that it redacted something."""
    return node(lambda n: n.claim.update(redacted_assertions=[uri]), REPORT)


NOWHERE = manifest.assertion_url("urn:c2pa:00000000-0000-4000-8000-000000000000", RUN)
HONEST = redacted(RUN)
EITHER = (TUNED, REPORT)
REDACTIONS = [
    *(
        Case(f"{label} of an ancestor", INVALID, EITHER, redacted(label), HONEST)
        for label in (
            LABEL,
            f"{LABEL}__1",
            "c2pa.hash.data",
            "c2pa.actions.v2",
            "org.atlasml.measurement",
            "org.atlasml.inputs",
            "org.atlasml.coverage",
        )
    ),
    Case("an assertion that nobody says was redacted", (INVALID, INCOMPLETE), TUNED,
         redacted(RUN, listed=False, action=False), HONEST, says="assertion.missing"),
    Case("an assertion that is said to be and still there", INVALID, EITHER, redacted(RUN, taken=False), HONEST),
    Case("an assertion of one's own", BROKEN, REPORT, redacted(RUN, of=REPORT), HONEST, says="assertion.selfRedacted"),
    Case("an action without the claim", BROKEN, EITHER, redacted(RUN, listed=False), HONEST),
    Case("an assertion of no known manifest", BROKEN, REPORT, listing(NOWHERE), HONEST),
    Case("a relative address", BROKEN, REPORT, listing(manifest.own_url(RUN)), HONEST),
    Case("a whole manifest", BROKEN, REPORT, listing(manifest.manifest_url("urn:c2pa:x")), HONEST),
    Case("something that is no address", BROKEN, REPORT, listing("anything"), HONEST),
    Case("what a manifest aside of the lineage redacts", (INVALID, INCOMPLETE), EITHER, both(
        redacted(RUN, of=TUNED, by=BASE, action=False)), HONEST),
]  # fmt: skip


@table(REDACTIONS)
def test_a_redaction_that_hides_what_counts_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


ALLOWED: list[tuple[str, Change]] = [
    ("of an ancestor's run", HONEST),
    ("of a great-grandparent's run", redacted(RUN, of=RAW)),
    ("of two", both(redacted(RUN, of=RAW), redacted(RUN, of=BASE))),
    ("by a node in the middle", redacted(RUN, of=BASE, by=TUNED)),
    ("of an asset type", redacted("c2pa.asset-type.v2", of=BASE)),
]


@pytest.mark.parametrize(("what", "change"), ALLOWED, ids=[what for what, _ in ALLOWED])
def test_a_redaction_of_what_may_go_is_valid_and_said(what: str, change: Change, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    change(scene)
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
    assert any(check.code == "assertion.redacted" for check in verdict.checks)


@pytest.mark.parametrize("label", [LABEL, "org.atlasml.inputs", "org.atlasml.coverage", "org.atlasml.measurement"])
def test_a_policy_can_allow_a_redaction_by_its_label(label: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    redacted(label, of=TUNED)(scene)
    path = scene.publish()
    assert judge(scene, path).answer == INVALID
    verdict = judge(scene, path, rules={"allow_redaction": (label,)})
    assert verdict.answer == VALID, told(verdict)
    other = judge(scene, path, rules={"allow_redaction": ("org.atlasml.metrics",)})
    assert other.answer == INVALID


def test_an_attestation_cannot_be_redacted_silently(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    body = {"att-type": "org.atlasml.tdx", "attestation-tbs": {}, "attestation-results": b""}
    scene.node(TUNED).add(Assertion("c2pa.attestation", body, bytes(32)))
    scene.store.seal()
    redacted("c2pa.attestation")(scene)
    assert judge(scene, scene.publish()).answer == INVALID


def test_redactions_beyond_the_limit_are_said_to_be(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    many = [manifest.assertion_url(scene.urn(TUNED), f"com.example.a{n}") for n in range(1025)]
    scene.node(REPORT).claim["redacted_assertions"] = many
    assert judge(scene, scene.publish()).answer in (LIMIT, INVALID)


# ----------------------------------------------------------------------------------------------- update manifests


def updated(scene: Scene, **options: Any) -> Path:
    made = chain.update(scene.made[REPORT], EVALUATOR, **options)
    scene.store = made.store
    return scene.publish()


def test_an_update_keeps_the_binding_of_what_it_updates(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    path = updated(scene)
    verdict = judge(scene, path)
    assert verdict.answer == VALID, told(verdict)
    path.write_bytes(b"{}")
    assert judge(scene, path).answer == INVALID


def test_an_update_may_redact_what_may_go(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    path = updated(scene, redact=[manifest.assertion_url(scene.urn(REPORT), RUN)])
    verdict = judge(scene, path)
    assert verdict.answer == VALID, told(verdict)


@pytest.mark.parametrize("label", [LABEL, "c2pa.hash.data", "c2pa.actions.v2", "org.atlasml.measurement"])
def test_an_update_may_not_redact_what_counts(label: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    path = updated(scene, redact=[manifest.assertion_url(scene.urn(REPORT), label)])
    assert judge(scene, path).answer == INVALID


UPDATES: dict[str, Any] = {
    "with a hard binding of its own": lambda n: n.add(
        Assertion("c2pa.hash.data", chain.hash_data(b"{}", "x"), bytes(32))
    ),
    "without an ingredient": lambda n: n.remove(LABEL),
    "of an input": lambda n: n[LABEL].content.update(relationship="inputTo"),
    "that creates": lambda n: (
        n["c2pa.actions.v2"].content["actions"].append({"action": "c2pa.created", "digitalSourceType": chain.TRAINED})
    ),
    "that edits": lambda n: n["c2pa.actions.v2"].content["actions"].append({"action": "c2pa.edited"}),
    "of two manifests": lambda n: n.add(Assertion(f"{LABEL}__1", dict(n[LABEL].content), bytes(32)), at=1),
}


@pytest.mark.parametrize("what", UPDATES)
def test_an_update_that_does_more_than_update_is_refused(what: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    updated(scene)
    UPDATES[what](scene.store.active.touch())
    verdict = judge(scene, scene.publish())
    assert verdict.answer in BROKEN, told(verdict)
    assert scene.store.active.urn in {verdict.nodes[c.node].urn for c in verdict.failures}


def test_an_update_cannot_be_made_unknown(tmp_path: Path) -> None:
    """Unknown boxes in a store are ignored, but a manifest must not turn into one and bring back what it replaced."""
    scene = Scene.at(tmp_path)
    path = updated(scene)
    data = sidecar_of(path).read_bytes()
    start = data.rindex(b"jumdc2um") + 4
    for bit in range(start * 8, (start + 17) * 8):
        flipped = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        verdict = judge(scene, path, manifest=flipped)
        assert not verdict, f"bit {bit - start * 8} of the type: {verdict.nodes[0].urn}"


def test_an_update_by_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    scene.store = chain.update(scene.made[REPORT], world.ATTACKER).store
    verdict = judge(scene, scene.publish())
    assert verdict.answer == "UNTRUSTED", told(verdict)


def test_an_update_does_not_carry_over_to_other_bytes(tmp_path: Path) -> None:
    """The update of one artifact, laid beside another one."""
    made = chain.update(chain.make("a.pt", b"a", world.LAB), world.LAB)
    path = chain.write_content(tmp_path, "b.pt", b"b")
    sidecar_of(path).write_bytes(made.sidecar)
    assert verify(path, policy=policy(), store=tmp_path / ".store").answer == INVALID
