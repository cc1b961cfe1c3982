"""Evidence of a confidential VM on Azure: hardware -> runtime data -> key of the vTPM -> quote, each link cut once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from forge_attest import tpm as forge
from forge_attest.pki import NOW
from forge_attest.snp import Snp
from forge_attest.tdx import Tdx, td15
from forge_attest.tpm import BINDING, Tpm, hcl_binding, hcl_report, pcr, rsa_key, runtime_data

from atlas.attest import Appraisal, Collateral, kind_of, verify
from atlas.errors import AtlasError, MalformedError

AK = rsa_key("tpm ak")
RUNTIME = runtime_data(AK)
MINIMUM = {"bootloader": 3, "tee": 0, "snp": 20, "microcode": 209}


def evidence(td: Tdx, runtime: bytes = RUNTIME, **changes: Any) -> Tpm:
    tee = {"hcl": hcl_report(runtime), "quote": td.quote()}
    return Tpm(scheme=forge.RSASSA, log=None, tee=tee).but(**changes)


def judge(world: Tpm, td: Tdx, *, kind: Any = "azure", report_data: bytes = BINDING, **rules: Any) -> Appraisal:
    chosen: dict[str, Any] = {"version": 1, "tpm": {"pcrs": {"sha256": {"7": [pcr(7).hex()]}}}} | rules
    return verify(
        world.evidence(),
        collateral=Collateral(json.dumps(td.bundle()).encode()),
        at=NOW,
        anchor=td.anchor(),
        policy=json.dumps(chosen).encode(),
        report_data=report_data,
        kind=kind,
    )


def failed(result: Appraisal) -> set[str]:
    return {check.id for check in result.failures}


def good(result: Appraisal) -> bool:
    return result.signature and result.tcb and result.appraisal == "attested" and result.binding == "matched"


TD = td15(report_data=hcl_binding(RUNTIME))


def test_an_honest_tdx_machine_is_attested() -> None:
    world = evidence(TD)
    assert kind_of(world.evidence()) == "azure"
    result = judge(world, TD)
    assert good(result), result.explain()
    assert (result.kind, result.trust, result.tcb_status) == ("azure", "tee", "UpToDate")
    assert not result.hardware_rooted and not result.holds  # the anchor is the test's
    assert len(result.checks) < 60


def test_an_honest_snp_machine_is_attested() -> None:
    snp = Snp(report_data=hcl_binding(RUNTIME))
    world = Tpm(scheme=forge.RSASSA, tee={"hcl": hcl_report(RUNTIME, kind=2, hardware=snp.report())})
    rules = {
        "snp": {"minimum_tcb": MINIMUM, "unchecked_revocation": "warn"},
        "tpm": {"pcrs": {"sha256": {"7": [pcr(7).hex()]}}},
    }
    result = verify(
        world.evidence(),
        collateral=Collateral(*snp.collateral()),
        at=NOW,
        anchor=snp.anchor(),
        policy=json.dumps({"version": 1} | rules).encode(),
        report_data=BINDING,
    )
    assert good(result), result.explain()


def test_longer_hashes_of_the_runtime_data_are_known() -> None:
    for number, name in ((2, "sha384"), (3, "sha512")):
        td = td15(report_data=hashlib.new(name, RUNTIME).digest().ljust(64, b"\0"))
        tee = {"hcl": hcl_report(RUNTIME, hash_type=number), "quote": td.quote()}
        assert good(judge(evidence(td, tee=tee), td))


OTHER_RUNTIME = runtime_data(rsa_key("other"))
LEFT = hcl_binding(RUNTIME)[:32]

CUT: dict[str, tuple[Tpm, Tdx, set[str]]] = {
    "runtime data that the hardware did not sign": (evidence(TD, OTHER_RUNTIME), TD, {"azure.runtime_data"}),
    "runtime data with a byte more": (evidence(TD, RUNTIME + b" "), TD, {"azure.runtime_data"}),
    "report data with something behind the digest": (
        evidence(td15(report_data=LEFT + b"\0" * 31 + b"\1")),
        td15(report_data=LEFT + b"\0" * 31 + b"\1"),
        {"azure.runtime_data"},
    ),
    "a genuine quote for no runtime data": (
        evidence(td15(report_data=BINDING)),
        td15(report_data=BINDING),
        {"azure.runtime_data"},
    ),
    "the key of another vTPM": (
        evidence(td15(report_data=hcl_binding(OTHER_RUNTIME)), OTHER_RUNTIME),
        td15(report_data=hcl_binding(OTHER_RUNTIME)),
        {"azure.attestation_key"},
    ),
    "an ECC key": (evidence(TD, scheme=forge.ECDSA), TD, {"azure.attestation_key"}),
    "a quote by another key": (evidence(TD, wrong_key=rsa_key("other")), TD, {"tpm.quote"}),
    "a key that signs anything": (evidence(TD, attributes=forge.AK & ~(1 << 16)), TD, {"tpm.key"}),
    "PCR values exchanged": (evidence(TD, values=lambda v: bytes(32) + v[32:]), TD, {"tpm.pcrs"}),
    "a quote for another binding": (evidence(TD, report_data=b"\1" * 64), TD, {"tpm.qualifying_data"}),
    "a quote for nothing": (evidence(TD, extra=b""), TD, {"tpm.qualifying_data"}),
}


@pytest.mark.parametrize(("world", "td", "checks"), CUT.values(), ids=CUT)
def test_a_cut_link_is_found(world: Tpm, td: Tdx, checks: set[str]) -> None:
    result = judge(world, td)
    # When the report data is wrong, the hardware's own check of it says so as well.
    assert failed(result) - {"tdx.report_data"} == checks, result.explain()
    assert not good(result) and result.binding != "matched"


def test_a_td_quote_that_is_not_genuine_ends_it() -> None:
    broken = evidence(TD)
    assert broken.tee is not None
    quote = bytearray(broken.tee["quote"])
    quote[700] ^= 1  # in the signature
    result = judge(broken.but(tee=broken.tee | {"quote": bytes(quote)}), TD)
    assert not result.signature and result.trust == "none"
    assert not any(check.id.startswith(("azure", "tpm")) for check in result.checks)


def test_the_binding_of_the_hardware_is_not_taken_for_ours() -> None:
    result = judge(evidence(TD), TD, report_data=hcl_binding(RUNTIME))
    assert result.binding == "mismatch" and failed(result) == {"tpm.qualifying_data"}


def test_naming_the_hardware_alone_does_not_name_the_software() -> None:
    """MRTD is the paravisor's: what runs in the machine shows in the PCRs."""
    rules = {"tdx": {"mrtd": [TD.mrtd.hex()]}}
    assert judge(evidence(TD), TD, tpm={}, **rules).appraisal == "unknown software"


def test_evidence_of_azure_is_no_evidence_of_a_plain_tpm_and_the_other_way_round() -> None:
    with pytest.raises(MalformedError, match="of kind azure"):
        judge(evidence(TD), TD, kind="tpm")
    with pytest.raises(MalformedError, match="there is none"):
        judge(Tpm(scheme=forge.RSASSA), TD)


def tee(**changes: Any) -> Tpm:
    return Tpm(scheme=forge.RSASSA, tee={"hcl": hcl_report(RUNTIME, **changes), "quote": TD.quote()})


def raw(report: bytes) -> Tpm:
    return Tpm(scheme=forge.RSASSA, tee={"hcl": report, "quote": TD.quote()})


REPORTS: dict[str, tuple[Tpm, str]] = {
    "another magic": (tee(magic=b"HCLB"), "not an HCL report"),
    "another kind of machine": (tee(kind=3), "neither of a TDX nor of an SNP VM"),
    "an unknown hash": (tee(hash_type=4), "an unknown hash"),
    "no hash": (tee(hash_type=0), "an unknown hash"),
    "no quote": (Tpm(scheme=forge.RSASSA, tee={"hcl": hcl_report(RUNTIME)}), "the TDX quote is missing"),
    "cut off in the header": (raw(hcl_report(RUNTIME)[:1230]), "cut off"),
    "cut off in the runtime data": (raw(hcl_report(RUNTIME)[:-1]), "the runtime data is cut off"),
    "empty runtime data": (raw(hcl_report(b"")), "the runtime data is cut off"),
    "larger than any": (raw(hcl_report(RUNTIME).ljust(65537, b"\0")), "65537 bytes"),
}


@pytest.mark.parametrize(("world", "text"), REPORTS.values(), ids=REPORTS)
def test_a_report_outside_its_format_is_refused(world: Tpm, text: str) -> None:
    with pytest.raises(AtlasError, match=text):
        judge(world, TD)


NO_RSA = "no RSA key as the format has it"
RUNTIMES = {
    "no JSON": (b"{", ""),
    "no keys": (b"{}", "names no attestation key"),
    "no key of ours": (json.dumps({"keys": [forge.jwk(AK, "HCLEkPub")]}).encode(), "names no attestation key"),
    "our key twice": (json.dumps({"keys": [forge.jwk(AK, "HCLAkPub")] * 2}).encode(), "two attestation keys"),
    "not RSA": (json.dumps({"keys": [forge.jwk(AK, "HCLAkPub") | {"kty": "EC"}]}).encode(), NO_RSA),
    "another exponent": (json.dumps({"keys": [forge.jwk(AK, "HCLAkPub") | {"e": "Aw"}]}).encode(), NO_RSA),
    "no base64": (json.dumps({"keys": [forge.jwk(AK, "HCLAkPub") | {"n": "+"}]}).encode(), NO_RSA),
    "bits left over": (json.dumps({"keys": [forge.jwk(AK, "HCLAkPub") | {"n": "AQB"}]}).encode(), NO_RSA),
}


@pytest.mark.parametrize(("runtime", "text"), RUNTIMES.values(), ids=RUNTIMES)
def test_runtime_data_that_names_no_key_is_refused(runtime: bytes, text: str) -> None:
    td = td15(report_data=hcl_binding(runtime))
    (failure,) = judge(evidence(td, runtime), td).failures
    assert failure.id == "azure.attestation_key" and text in failure.text
