"""Evidence in manifests: made for something else, copied, weaker than demanded, or missing. All under a test root."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import arena
import pytest
from forge import cbor, chain, world
from forge.manifest import Assertion, assertion_url
from forge_attest import ccel
from forge_attest import tpm as forge
from forge_attest.pki import DAY
from forge_attest.snp import Snp
from forge_attest.tdx import Tdx, at, td15
from forge_attest.tpm import Tpm, hcl_binding, hcl_report, rsa_key, runtime_data

from atlas import _core
from atlas.claim import sign_manifest
from atlas.errors import AtlasError, MalformedError, UsageError
from atlas.measure import measure
from atlas.model import Input, SignedManifest, Verdict
from atlas.policy import Policy
from atlas.sign import Signer, keygen, load_signer
from atlas.store import write_sidecar
from atlas.verify import verify

NOW = int(time.time())
WORLD = at(td15(), NOW)
RUN = "6a6a14c4-8e0b-4f5c-9a53-f6d0e0d9b7a1"
CREATED = "2026-01-15T12:00:00Z"
TDX = "org.atlasml.tdx"

Quote = Callable[[bytes], bytes]  # report data to evidence


def quoted(report_data: bytes, world: Tdx = WORLD) -> bytes:
    return world.but(report_data=report_data).quote()


def bundle(world: Tdx = WORLD) -> bytes:
    return json.dumps(world.bundle()).encode()


def accepting(world: Tdx = WORLD) -> bytes:
    return json.dumps({"version": 1, "tdx": {"mrtd": [world.mrtd.hex()]}}).encode()


def spki_of(signer: Signer) -> bytes:
    return _core.certificate_info(signer.chain[0])["spki"]


@dataclass(frozen=True)
class Lab:
    """An attester whose every answer can be changed: honest as it is."""

    signer: Signer
    mode: str = "artifact"
    type: str = TDX
    quote: Quote = quoted
    collateral: tuple[bytes, ...] = (bundle(),)
    event_log: bytes | None = None
    key: Signer | None = None  # whose key it speaks of
    claim: bytes | None = None  # of which claim
    run: str = RUN
    binding: Callable[[bytes], bytes] = bytes  # what is written, after the hardware was asked about the honest one
    copied: bytes | None = None  # the whole assertion

    def assertion(self, claim: bytes) -> bytes:
        if self.copied is not None:
            return self.copied
        spki = spki_of(self.key or self.signer)
        if self.mode == "session":
            tbs = _core.attestation_binding(spki, CREATED, run=self.run)
        else:
            partial = hashlib.sha256(self.claim or claim).digest()
            tbs = _core.attestation_binding(spki, CREATED, partial=partial, nonce=bytes(range(32)))
        evidence = self.quote(hashlib.sha512(tbs).digest())
        return _core.attestation_write(
            self.type, self.binding(tbs), evidence, collateral=self.collateral, event_log=self.event_log
        )


class Bench:
    """Artifacts signed by Alice, with evidence from a lab."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.alice = self._signer("alice")
        self.bob = self._signer("bob")
        self.roots = b"".join((root / name / "root.pem").read_bytes() for name in ("alice", "bob"))
        self.lab = Lab(self.alice)

    def _signer(self, name: str) -> Signer:
        keygen(name.title(), self.root / name)
        return load_signer(self.root / name / "key.pem")

    def sign(self, lab: Lab | None, name: str = "model.bin", **options: Any) -> SignedManifest:
        path = self.root / name
        path.write_bytes(b"weights of " + name.encode())
        options = {"run": {"version": 1, "run": RUN, "step": "train"}} | options
        signed = sign_manifest(
            measurement=measure(path), name=name, signer=lab.signer if lab else self.alice, attester=lab, **options
        )
        write_sidecar(path, signed.store, None)
        return signed

    def judge(self, name: str = "model.bin", **rules: Any) -> Verdict:
        policy = Policy(roots=self.roots, at=NOW, appraisal=accepting(), evidence_anchor=WORLD.anchor())
        return verify(self.root / name, policy=replace(policy, **rules), store=self.root / "store")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def codes(verdict: Verdict) -> set[str]:
    return {check.code for check in verdict.failures}


def evidence_of(verdict: Verdict) -> Any:
    assert verdict.nodes[0].evidence is not None
    return verdict.nodes[0].evidence


BINDING = {"org.atlasml.attestation.binding"}
REQUIRED = {"org.atlasml.attestation.required"}

# ------------------------------------------------------------------------------------------------------- honest


@pytest.mark.parametrize("mode", ["artifact", "session"])
def test_honest_evidence_is_bound_and_verified_and_under_a_given_root_never_holds(bench: Bench, mode: str) -> None:
    bench.sign(replace(bench.lab, mode=mode))
    verdict = bench.judge()
    found = evidence_of(verdict)
    assert verdict.answer == "VALID"
    assert (found.type, found.mode, found.bound, found.holds) == (TDX, mode, True, False)
    assert found.appraisal.signature and found.appraisal.tcb and found.appraisal.appraisal == "attested"
    assert found.appraisal.binding == "matched" and not found.appraisal.hardware_rooted
    assert "under a given root" in found.why
    demanded = bench.judge(require_evidence=((None, "session"),))
    assert (demanded.answer, codes(demanded)) == ("UNTRUSTED", REQUIRED)


def test_without_the_anchor_a_test_root_is_not_the_vendors(bench: Bench) -> None:
    bench.sign(bench.lab)
    found = evidence_of(bench.judge(evidence_anchor=None))
    assert found.bound and not found.holds and not found.appraisal.signature


@pytest.mark.parametrize("kind", ["snp", "tpm", "azure"])
def test_the_other_kinds_are_bound_the_same_way(bench: Bench, kind: str) -> None:
    lab = OTHERS[kind](bench)
    bench.sign(lab)
    verdict = bench.judge(**RULES[kind])
    found = evidence_of(verdict)
    assert (verdict.answer, found.kind, found.bound, found.holds) == ("VALID", kind, True, False), verdict.explain()
    assert found.appraisal.binding == "matched", found.why
    bench.sign(replace(lab, quote=lambda _data: lab.quote(bytes(64 - 1) + b"\1")))
    assert codes(bench.judge(**RULES[kind])) == BINDING


SNP = Snp()
TPM = Tpm()
RUNTIME = runtime_data(rsa_key("tpm ak"))
HCL = WORLD.but(report_data=hcl_binding(RUNTIME))
AZURE = Tpm(scheme=forge.RSASSA, log=None, tee={"hcl": hcl_report(RUNTIME), "quote": HCL.quote()})
OTHERS: dict[str, Callable[[Bench], Lab]] = {
    "snp": lambda b: replace(
        b.lab,
        type="org.atlasml.snp",
        quote=lambda d: SNP.but(report_data=d).report(),
        collateral=tuple(SNP.collateral()),
    ),
    "tpm": lambda b: replace(
        b.lab, type="org.atlasml.tpm", quote=lambda d: TPM.but(report_data=d).evidence(), collateral=()
    ),
    "azure": lambda b: replace(
        b.lab, type="org.atlasml.azure", quote=lambda d: AZURE.but(report_data=d).evidence()
    ),
}
RULES: dict[str, dict[str, Any]] = {
    "snp": {"evidence_anchor": SNP.anchor()},
    "tpm": {"evidence_anchor": None, "appraisal": TPM.policy()},
    "azure": {},
}

# ------------------------------------------------------------------------------------------- made for something else


def altered(name: str, value: Any) -> Callable[[bytes], bytes]:
    """A member of the binding, changed after the hardware was asked."""
    return lambda tbs: _core.cbor_encode(_core.cbor_decode(tbs) | {name: value})


FALSE: dict[str, tuple[Callable[[Bench], Lab], str]] = {
    "someone else's genuine quote": (
        lambda b: replace(b.lab, quote=lambda _data: quoted(hashlib.sha512(b"their claim").digest())),
        "made for something else",
    ),
    "zero report data": (lambda b: replace(b.lab, quote=lambda _data: quoted(bytes(64))), "made for nothing"),
    "evidence of another claim": (lambda b: replace(b.lab, claim=b"another claim"), "another claim"),
    "another signer's key": (lambda b: replace(b.lab, key=b.bob), "another key"),
    "another run": (lambda b: replace(b.lab, mode="session", run="another run"), "another run"),
    "a nonce that the hardware never saw": (
        lambda b: replace(b.lab, binding=altered("nonce", bytes(32))),
        "made for something else",
    ),
    "a key that the hardware never saw": (
        lambda b: replace(b.lab, key=b.bob, binding=altered("pub-key", spki_of(b.alice))),
        "made for something else",
    ),
    "a run that the hardware never saw": (
        lambda b: replace(b.lab, mode="session", run="another run", binding=altered("run", RUN)),
        "made for something else",
    ),
    "one more member in the binding": (
        lambda b: replace(
            b.lab,
            binding=altered("more", 1),
            quote=lambda _d: quoted(hashlib.sha512(b"").digest()),
        ),
        "made for something else",
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_evidence_for_something_else_is_a_false_statement_whatever_the_policy(bench: Bench, name: str) -> None:
    lab, reason = FALSE[name]
    bench.sign(lab(bench))
    verdict = bench.judge()
    assert (verdict.answer, codes(verdict)) == ("INVALID", BINDING), verdict.explain()
    assert reason in verdict.failures[0].text
    assert not evidence_of(verdict).bound and not evidence_of(verdict).holds


def test_artifact_evidence_copied_from_another_manifest_is_refused(bench: Bench) -> None:
    first = bench.sign(bench.lab, "first.bin")
    carried = next(
        box for box in _core.store_read(first.store)[-1]["assertions"] if box["label"] == "c2pa.attestation"
    )["content"]
    bench.sign(replace(bench.lab, copied=_core.cbor_encode(carried)), "second.bin")
    verdict = bench.judge("second.bin")
    assert (verdict.answer, codes(verdict)) == ("INVALID", BINDING)
    assert "another claim" in verdict.failures[0].text


def test_session_evidence_of_one_signer_vouches_for_no_other(bench: Bench) -> None:
    first = bench.sign(replace(bench.lab, mode="session"), "first.bin")
    carried = _core.store_read(first.store)[-1]["assertions"][-1]
    assert carried["label"] == "c2pa.attestation"
    bench.sign(Lab(bench.bob, copied=_core.cbor_encode(carried["content"])), "second.bin")
    assert codes(bench.judge("second.bin")) == BINDING


def test_session_evidence_needs_a_manifest_that_names_the_run(bench: Bench) -> None:
    bench.sign(replace(bench.lab, mode="session"), run=None)
    assert codes(bench.judge()) == BINDING


# --------------------------------------------------------------------------------------------- genuine, and forged


def flipped(evidence: bytes, at: int) -> bytes:
    return evidence[:at] + bytes([evidence[at] ^ 1]) + evidence[at + 1 :]


def test_a_quote_that_the_hardware_did_not_sign_is_proof_of_forgery(bench: Bench) -> None:
    size = len(WORLD.signed_part())
    bench.sign(replace(bench.lab, quote=lambda data: flipped(quoted(data), size + 4)))
    verdict = bench.judge()
    assert (verdict.answer, codes(verdict)) == ("INVALID", {"org.atlasml.attestation.forged"})


WRONG_LABELS = {
    "a TPM's quote that claims to be TDX": (TDX, lambda data: TPM.but(report_data=data).evidence()),
    "a TDX quote that claims to be SEV-SNP": ("org.atlasml.snp", quoted),
    "a TDX quote that claims to be a TPM's": ("org.atlasml.tpm", quoted),
    "nothing at all": (TDX, lambda _data: b""),
}


@pytest.mark.parametrize("name", WRONG_LABELS)
def test_evidence_under_the_label_of_another_kind_is_malformed(bench: Bench, name: str) -> None:
    kind, quote = WRONG_LABELS[name]
    bench.sign(replace(bench.lab, type=kind, quote=quote))
    verdict = bench.judge()
    assert (verdict.answer, codes(verdict)) == ("MALFORMED", {"org.atlasml.attestation.malformed"})


def test_a_software_quote_is_said_to_be_self_asserted_and_satisfies_nothing(bench: Bench) -> None:
    bench.sign(OTHERS["tpm"](bench))
    rules = {"evidence_anchor": None, "appraisal": TPM.policy(pinned=False)}
    found = evidence_of(bench.judge(**rules))
    assert found.bound and not found.holds and found.appraisal.trust == "self-asserted"
    assert codes(bench.judge(**rules, require_evidence=((None, "session"),))) == REQUIRED


def test_a_kind_that_nobody_knows_proves_nothing(bench: Bench) -> None:
    bench.sign(replace(bench.lab, type="org.example.enclave", quote=lambda _data: b"trust me"))
    verdict = bench.judge()
    assert verdict.answer == "VALID" and not evidence_of(verdict).bound and not evidence_of(verdict).holds
    assert bench.judge(require_evidence=((None, "session"),)).answer == "UNTRUSTED"


def test_an_event_log_that_does_not_lead_to_the_registers_proves_nothing(bench: Bench) -> None:
    bench.sign(replace(bench.lab, event_log=ccel.log([(1, ccel.VARIABLE, b"another kernel")])))
    found = evidence_of(bench.judge())
    assert found.bound and not found.holds and "the log does not replay to RTMR0" in found.why


def test_collateral_that_ran_out_before_the_signature_proves_nothing_and_says_so(bench: Bench) -> None:
    bench.sign(bench.lab)
    found = evidence_of(bench.judge(at=NOW + 60 * DAY))
    assert (found.bound and not found.holds and not found.appraisal.signature) or not found.appraisal.tcb
    assert found.why


def test_collateral_of_the_policy_takes_the_place_of_what_the_manifest_carries(bench: Bench) -> None:
    bench.sign(replace(bench.lab, collateral=()))
    assert "missing" in evidence_of(bench.judge()).why or evidence_of(bench.judge()).appraisal.incomplete
    found = evidence_of(bench.judge(evidence_collateral=(bundle(),)))
    assert found.appraisal.signature and found.appraisal.tcb


MALFORMED_BINDINGS = {
    "another algorithm": ("artifact", altered("alg", "sha512")),
    "a claim and a run": ("artifact", altered("run", RUN)),
    "a run and a claim": ("session", altered("partial-claim-hash", bytes(32))),
    "a run and a nonce": ("session", altered("nonce", bytes(32))),
}


@pytest.mark.parametrize("name", MALFORMED_BINDINGS)
def test_a_binding_is_of_one_mode_and_one_algorithm(bench: Bench, name: str) -> None:
    mode, change = MALFORMED_BINDINGS[name]
    write = _core.attestation_write
    lab = replace(bench.lab, mode=mode)
    with pytest.MonkeyPatch.context() as patch:  # our writer refuses them
        patch.setattr(
            _core,
            "attestation_write",
            lambda kind, tbs, *rest, **more: _core.cbor_encode(
                _core.cbor_decode(write(kind, tbs, *rest, **more)) | {"attestation-tbs": _core.cbor_decode(change(tbs))}
            ),
        )
        bench.sign(lab)
    verdict = bench.judge()
    assert (verdict.answer, codes(verdict)) == ("MALFORMED", {"org.atlasml.attestation.malformed"}), verdict.explain()
    with pytest.raises(AtlasError):
        bench.sign(replace(lab, binding=change))


@pytest.mark.parametrize(
    "members", [{}, {"partial": bytes(32)}, {"nonce": bytes(32)}, {"run": RUN, "nonce": bytes(32)}], ids=" ".join
)
def test_no_binding_is_made_of_no_mode(members: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        _core.attestation_binding(b"key", CREATED, **members)


def test_more_collateral_than_the_limit_is_not_even_written(bench: Bench) -> None:
    with pytest.raises(MalformedError):
        bench.sign(replace(bench.lab, collateral=(b"x",) * 17))


# ------------------------------------------------------------------------------------------------------- demanded


def test_missing_evidence_is_nothing_until_it_is_demanded(bench: Bench) -> None:
    bench.sign(None)
    assert bench.judge().answer == "VALID" and bench.judge().nodes[0].evidence is None
    verdict = bench.judge(require_evidence=((None, "session"),))
    assert (verdict.answer, codes(verdict)) == ("INCOMPLETE", REQUIRED)


def test_session_evidence_never_stands_in_for_artifact_evidence(bench: Bench) -> None:
    bench.sign(replace(bench.lab, mode="session"))
    verdict = bench.judge(require_evidence=((None, "artifact"),))
    assert (verdict.answer, codes(verdict)) == ("UNTRUSTED", REQUIRED)
    assert "only evidence for the session" in verdict.failures[0].text


def test_a_step_of_the_policy_must_be_found_and_carry_evidence(bench: Bench) -> None:
    bench.sign(None)
    assert bench.judge(require_evidence=(("train", "session"),)).answer == "INCOMPLETE"
    other = bench.judge(require_evidence=(("distil", "session"),))
    assert other.answer == "INCOMPLETE" and "no manifest of this chain names that step" in other.failures[0].text


def test_a_demand_for_one_step_leaves_the_others_alone(bench: Bench) -> None:
    data = bench.sign(None, "data.bin", run={"version": 1, "run": RUN, "step": "clean"})
    source = Input(name="data.bin", measurement=measure(bench.root / "data.bin"), manifest=data.store)
    bench.sign(bench.lab, inputs=[source])
    verdict = bench.judge(require_evidence=(("train", "artifact"),))
    failed = [check.node for check in verdict.failures]
    assert [verdict.nodes[n].step for n in failed] == ["train"]
    assert bench.judge(require_evidence=(("clean", "session"),)).answer == "INCOMPLETE"


def test_evidence_that_was_stripped_breaks_the_signature(bench: Bench) -> None:
    signed = bench.sign(bench.lab)
    label = b"c2pa.attestation\0"
    assert signed.store.count(label) == 1
    at = signed.store.index(label)
    store = signed.store[:at] + b"c2pa.attestatioX\0" + signed.store[at + len(label) :]
    write_sidecar(bench.root / "model.bin", store, None)
    assert bench.judge().answer in ("INVALID", "MALFORMED")


# ------------------------------------------------------------------------------------- in manifests of a chain, forged


def carried(scene: world.Scene, label: str = "c2pa.attestation", listed: str = "created_assertions") -> None:
    """The tuned model's manifest carries an attestation that is well formed."""
    tbs = _core.attestation_binding(b"key", CREATED, partial=bytes(32), nonce=bytes(32))
    content = _core.attestation_write("org.example.enclave", tbs, b"evidence")
    scene.node(world.TUNED).add(Assertion(label, cbor.Raw(content)), listed=listed)


def test_a_second_attestation_is_refused(tmp_path: Path) -> None:
    scene = world.Scene.at(tmp_path)
    carried(scene)
    carried(scene, "c2pa.attestation__1")
    verdict = arena.judge(scene, scene.publish())
    assert verdict.answer == "MALFORMED" and "more than one attestation" in verdict.failures[0].text


def test_an_attestation_that_its_signer_did_not_make_is_none(tmp_path: Path) -> None:
    scene = world.Scene.at(tmp_path)
    carried(scene, listed="gathered_assertions")
    path = scene.publish()
    verdict = arena.judge(scene, path)
    assert verdict.answer == "VALID", arena.told(verdict)
    assert {node.evidence for node in verdict.nodes} == {None}
    assert arena.judge(scene, path, rules={"require_evidence": ((None, "session"),)}).answer == "INCOMPLETE"


REDACTED = "c2pa.attestation"


def redact(scene: world.Scene, label: str = REDACTED) -> Path:
    uri = assertion_url(scene.urn(world.TUNED), label)
    scene.store.seal()
    chain.take_out(scene.store, uri)
    scene.node(world.REPORT).claim["redacted_assertions"] = [uri]
    step = {"action": "c2pa.redacted", "reason": "c2pa.PII.present", "parameters": {"redacted": uri}}
    scene.node(world.REPORT)["c2pa.actions.v2"].content["actions"].append(step)
    return scene.publish()


def test_evidence_that_was_redacted_is_missing_where_it_is_demanded(tmp_path: Path) -> None:
    scene = world.Scene.at(tmp_path)
    carried(scene)
    path = redact(scene)
    assert arena.judge(scene, path).answer == "INVALID"
    allowed = {"allow_redaction": (REDACTED,)}
    assert arena.judge(scene, path, rules=allowed).answer == "VALID"
    demanded = arena.judge(scene, path, rules=allowed | {"require_evidence": ((None, "session"),)})
    assert demanded.answer == "INCOMPLETE" and codes(demanded) == REQUIRED


RUN_LABEL = "org.atlasml.run"


def trained(scene: world.Scene, *names: str) -> None:
    """These manifests say that they are of the step "train"."""
    for name in names:
        scene.node(name)[RUN_LABEL].content.update(run=RUN, step="train")


def test_a_redaction_of_the_step_does_not_take_the_demand_for_evidence_away(tmp_path: Path) -> None:
    scene = world.Scene.at(tmp_path)
    trained(scene, world.BASE, world.TUNED)
    path = redact(scene, RUN_LABEL)
    assert arena.judge(scene, path).answer == "VALID", arena.told(arena.judge(scene, path))
    verdict = arena.judge(scene, path, rules={"require_evidence": (("train", "session"),)})
    failed = {verdict.nodes[check.node].urn for check in verdict.failures}
    assert failed == {scene.urn(world.BASE), scene.urn(world.TUNED)} and codes(verdict) == REQUIRED
    lone = arena.judge(scene, path, rules={"require_evidence": (("distil", "session"),)})
    assert "no manifest of this chain names that step" in " ".join(check.text for check in lone.failures)


def test_evidence_for_a_run_that_was_redacted_proves_nothing_and_accuses_nobody(tmp_path: Path) -> None:
    scene = world.Scene.at(tmp_path)
    trained(scene, world.TUNED)
    spki = _core.certificate_info(scene.node(world.TUNED).signer.chain[0])["spki"]
    tbs = _core.attestation_binding(spki, CREATED, run=RUN)
    evidence = _core.attestation_write(TDX, tbs, quoted(hashlib.sha512(tbs).digest()), collateral=(bundle(),))
    scene.node(world.TUNED).add(Assertion("c2pa.attestation", cbor.Raw(evidence)), listed="created_assertions")
    path = redact(scene, RUN_LABEL)
    verdict = arena.judge(scene, path)
    assert verdict.answer == "VALID", arena.told(verdict)
    (found,) = (node.evidence for node in verdict.nodes if node.evidence is not None)
    assert not found.bound and not found.holds and "the run that it speaks of was redacted" in found.why
    assert arena.judge(scene, path, rules={"require_evidence": (("train", "session"),)}).answer != "VALID"


def test_a_manifest_of_two_runs_is_malformed(tmp_path: Path) -> None:
    scene = world.Scene.at(tmp_path)
    second = {"run": RUN, "step": "another"}
    scene.node(world.TUNED).add(Assertion(f"{RUN_LABEL}__1", second), listed="created_assertions")
    verdict = arena.judge(scene, scene.publish())
    assert verdict.answer == "MALFORMED" and "more than one run" in verdict.failures[0].text
