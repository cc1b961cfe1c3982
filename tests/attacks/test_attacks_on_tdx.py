"""Forged TDX worlds, one thing wrong at a time: the check that must notice, and how the three results come out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from forge_attest.pki import DAY, NOW, key, point
from forge_attest.tdx import Level, Module, Svn, Tdx, pcs_body, td15
from forge_attest.worlds import HONEST, LEVELS, SIGNATURE, STATUSES, flip, relaunch

from atlas.attest import Appraisal, Collateral, verify
from atlas.errors import AtlasError, LimitError, MalformedError, SystemFailure, VerificationError


def policy(world: Tdx | None = None, **tdx: Any) -> bytes:
    named = {"mrtd": [world.mrtd.hex()]} if world is not None else {}
    return json.dumps({"version": 1, "tdx": named | tdx}).encode()


def collateral(world: Tdx) -> Collateral:
    return Collateral(json.dumps(world.bundle()).encode())


def judge(world: Tdx, at: int = NOW, **tdx: Any) -> Appraisal:
    """Verified under the test root, by a policy that names the world's MRTD."""
    return verify(
        world.quote(),
        collateral=collateral(world),
        at=at,
        anchor=world.anchor(),
        policy=policy(world, **tdx),
        report_data=world.report_data,
        kind="tdx",
    )


def good(result: Appraisal) -> bool:
    return result.signature and result.tcb and result.appraisal == "attested"


def failed(result: Appraisal) -> set[str]:
    return {check.id.removeprefix("tdx.") for check in result.failures}


# ------------------------------------------------------------------------------------------------ honest worlds


@pytest.mark.parametrize("world", HONEST.values(), ids=HONEST)
def test_an_honest_world_holds_under_the_test_root(world: Tdx) -> None:
    extra = Collateral((world.ca.pem() + world.root.pem()).encode(), json.dumps(world.bundle()).encode())
    result = verify(
        world.quote(),
        collateral=extra,
        at=NOW,
        anchor=world.anchor(),
        policy=policy(world),
        report_data=world.report_data,
    )
    assert good(result), result.explain()
    assert failed(result) == set()
    assert result.binding == "matched"


@pytest.mark.parametrize("form", ["bundle", "raw", "dump", "encoded"])
def test_every_form_of_collateral_says_the_same(form: str) -> None:
    world = td15()
    bodies = world.raw_bodies()
    encoded = (world.signer.pem() + world.root.pem()).replace("\n", "%0A").replace(" ", "%20").replace("+", "%2B")
    files = {
        "bundle": [json.dumps(world.bundle()).encode()],
        "raw": bodies,
        "dump": [world.dump()],
        "encoded": [*bodies[:2], encoded.encode(), *(crl.hex().encode() for crl in bodies[3:])],
    }[form]
    for order in (files, files[::-1]):
        result = verify(
            world.quote(), collateral=Collateral(*order), at=NOW, anchor=world.anchor(), policy=policy(world)
        )
        assert good(result), result.explain()


# ---------------------------------------------------------------------------------------------- a test root is no root


def test_a_verdict_under_a_given_anchor_says_so_and_never_holds() -> None:
    result = judge(Tdx())
    assert good(result) and not result.hardware_rooted and not result.holds and not result
    assert result.exit_code == 3
    assert "not hardware-rooted" in result.answer.lower()
    assert result.to_dict()["anchor"]["hardware_rooted"] is False
    with pytest.raises(VerificationError, match="not the hardware vendor's own"):
        result.require()


def test_without_the_anchor_a_forged_world_is_not_genuine() -> None:
    world = Tdx()
    result = verify(world.quote(), collateral=collateral(world), at=NOW, policy=policy(world))
    assert not result.signature and failed(result) == {"pck_chain"}
    assert result.exit_code == 1


def test_a_root_named_like_intels_is_not_intels() -> None:
    world = Tdx(root_name="Intel SGX Root CA")
    result = verify(world.quote(), collateral=collateral(world), at=NOW, policy=policy(world))
    assert failed(result) == {"pck_chain"}


def test_an_anchor_that_is_no_single_certificate_is_refused() -> None:
    world = Tdx()
    with pytest.raises(MalformedError):
        verify(world.quote(), collateral=collateral(world), at=NOW, anchor=world.anchor() * 2)
    with pytest.raises(MalformedError):
        verify(world.quote(), collateral=collateral(world), at=NOW, anchor=b"nothing")


# --------------------------------------------------------------------------------------------- signature group


@pytest.mark.parametrize(("world", "check", "code"), SIGNATURE.values(), ids=SIGNATURE)
def test_what_is_not_genuine_is_noticed_by_its_own_check(world: Tdx, check: str, code: int) -> None:
    result = judge(world)
    assert failed(result) == {check}, result.explain()
    assert result.failures[0].code == code, result.explain()
    assert not result.signature and not result.tcb and result.appraisal == "not_run"
    assert result.exit_code == (4 if code == -202 else 1)


@pytest.mark.parametrize("member", ["root_ca_crl", "pck_crl", "tcb_info", "qe_identity"])
def test_a_bundle_without_a_part_is_refused(member: str) -> None:
    bundle = Tdx().bundle()
    del bundle[member]
    with pytest.raises(MalformedError):
        Collateral(json.dumps(bundle).encode())


@pytest.mark.parametrize(
    ("missing", "check"), [(0, "tcb_signer"), (1, "qe_signer"), (2, "tcb_signer"), (3, "pck_chain"), (4, "pck_chain")]
)
def test_a_missing_file_is_said_to_be_missing(missing: int, check: str) -> None:
    world = Tdx()
    files = world.raw_bodies()
    del files[missing]
    result = verify(world.quote(), collateral=Collateral(*files), at=NOW, anchor=world.anchor(), policy=policy(world))
    assert failed(result) == {check}
    assert result.failures[0].code == -202 and result.exit_code == 4 and result.incomplete


def test_the_chain_of_the_collateral_serves_where_the_quote_has_none() -> None:
    world = Tdx(cert_type=2)
    bundle = world.bundle() | {"pck_certificate_chain": world.pck.pem() + world.ca.pem() + world.root.pem()}
    result = verify(
        world.quote(),
        collateral=Collateral(json.dumps(bundle).encode()),
        at=NOW,
        anchor=world.anchor(),
        policy=policy(world),
    )
    assert good(result), result.explain()


def test_two_documents_for_one_purpose_are_refused() -> None:
    world = Tdx()
    both = collateral(world)
    both.core.add(json.dumps(world.bundle()).encode())  # the same again is fine
    for other in (world.but(info_number=19), world.but(qe_number=19), world.but(crl_end=NOW + DAY)):
        with pytest.raises(MalformedError, match="two different"):
            collateral(world).core.add(json.dumps(other.bundle()).encode())


def test_each_document_is_verified_with_the_chain_that_signed_it() -> None:
    """Two TCB signing chains among raw files: the newer for one document, the older for the other."""
    world = Tdx()
    info, identity, chain, *crls = world.raw_bodies()
    other = Tdx(signer_name="ATLAS TEST SGX TCB Signing 2").signer
    second = type(other)(other.name, key("tdx signer 2"), other.issuer, end=other.end)
    from forge_attest.pki import sign

    identity = pcs_body("enclaveIdentity", world.qe_identity(), sign(key("tdx signer 2"), world.qe_identity().encode()))
    pem = (second.pem() + world.root.pem()).encode()
    for files in ([info, identity, chain, pem, *crls], [info, identity, pem, chain, *crls]):
        result = verify(
            world.quote(), collateral=Collateral(*files), at=NOW, anchor=world.anchor(), policy=policy(world)
        )
        assert good(result), result.explain()


@pytest.mark.parametrize(
    "text",
    [
        '{"tcbInfo":INFO,"tcbInfo":{},"signature":"SIG"}',
        '{"tcbInfo":{},"tcbInfo":INFO,"signature":"SIG"}',
        '{"tcbInfo":INFO,"signature":"SIG","signature":"SIG"}',
        '{"tcbInfo":INFO,"nested":{"signature":"SIG"}}',
        '{"tcbInfo":INFO,"signature":"SI"}',
        '{"tcbInfo":INFO,"signature":"SIG"}x',
        '{"tcb\\u0049nfo":INFO,"signature":"SIG"}',
        '{"tcbInfo":INFO,"signature":"SIG"',
        '{"tcbInfo":"INFO","signature":"SIG"}',
        '{"x":' + "[" * 40 + "]" * 40 + ',"tcbInfo":INFO,"signature":"SIG"}',
        "[]",
        "{}",
    ],
)
def test_a_pcs_answer_that_could_be_read_in_two_ways_is_refused(text: str) -> None:
    world = Tdx()
    signature = world.signatures()[0].hex()
    body = text.replace("INFO", world.tcb_info()).replace("SIG", signature).encode()
    with pytest.raises((MalformedError, SystemFailure)):
        Collateral(body)


def test_the_signature_covers_the_bytes_as_served() -> None:
    """White space inside the signed value counts; around it, it does not."""
    world = Tdx()
    info, identity, *rest = world.raw_bodies()
    spaced = info.replace(b'{"tcbInfo":', b' { "tcbInfo" :\n ').replace(b',"signature"', b' , "signature"')
    changed = info.replace(b'"version":3', b'"version": 3')
    for body, fine in ((spaced, True), (changed, False)):
        result = verify(
            world.quote(),
            collateral=Collateral(body, identity, *rest),
            at=NOW,
            anchor=world.anchor(),
            policy=policy(world),
        )
        assert result.signature is fine
        assert failed(result) == (set() if fine else {"tcb_info"})


# ------------------------------------------------------------------------------------------------------- form

FORM: dict[str, tuple[Tdx, type[AtlasError]]] = {
    "empty": (Tdx(), MalformedError),
    "version 3": (Tdx(header=lambda h: b"\x03" + h[1:]), SystemFailure),
    "version 6": (Tdx(header=lambda h: b"\x06" + h[1:]), MalformedError),
    "P-384 key": (Tdx(header=lambda h: h[:2] + b"\x03" + h[3:]), SystemFailure),
    "SGX": (Tdx(header=lambda h: h[:4] + b"\0" + h[5:]), SystemFailure),
    "unknown TEE": (Tdx(header=lambda h: h[:4] + b"\x82" + h[5:]), MalformedError),
    "another vendor": (Tdx(header=lambda h: h[:12] + bytes(16) + h[28:]), SystemFailure),
    "body type 1": (Tdx(version=5, body_type=1), SystemFailure),
    "body type 5": (Tdx(version=5, body_type=5), MalformedError),
    "body size one less": (td15(sizes={"body": -1}), MalformedError),
    "body size one more": (td15(sizes={"body": 1}), MalformedError),
    "auth size one more": (Tdx(sizes={"auth": 1}), MalformedError),
    "auth size one less": (Tdx(sizes={"auth": -1}), MalformedError),
    "outer size one more": (Tdx(sizes={"outer": 1}), MalformedError),
    "outer size one less": (Tdx(sizes={"outer": -1}), MalformedError),
    "inner size one more": (Tdx(sizes={"inner": 1}), MalformedError),
    "inner size one less": (Tdx(sizes={"inner": -1}), MalformedError),
    "outer type 5": (Tdx(outer_type=5), MalformedError),
    "inner type 0": (Tdx(cert_type=0), MalformedError),
    "inner type 6": (Tdx(cert_type=6), MalformedError),
    "platform manifest": (Tdx(cert_type=7), SystemFailure),
    "too long": (Tdx(trailing=bytes(1 << 20)), LimitError),
}


@pytest.mark.parametrize(("world", "error"), FORM.values(), ids=FORM)
def test_what_is_no_quote_is_refused_as_such(world: Tdx, error: type[AtlasError]) -> None:
    quote = world.quote() if world != FORM["empty"][0] else b""
    with pytest.raises(error):
        verify(quote, collateral=collateral(Tdx()), at=NOW, kind="tdx")


def test_certification_data_that_is_no_chain_is_not_genuine() -> None:
    result = judge(Tdx(cert_data=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
    assert failed(result) == {"pck_chain"}


@pytest.mark.parametrize("at", [0, -1, 1 << 62])
def test_a_time_that_is_none_is_a_usage_error(at: int) -> None:
    with pytest.raises(ValueError, match="time"):
        verify(Tdx().quote(), collateral=collateral(Tdx()), at=at)


# -------------------------------------------------------------------------------------------------- TCB group

WITH_OLD_COMPONENT = STATUSES | {
    "UpToDate": "OutOfDate",
    "SWHardeningNeeded": "OutOfDate",
    "ConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "OutOfDateConfigurationNeeded",
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("module", ["UpToDate", "OutOfDate", "Revoked"])
@pytest.mark.parametrize("qe", ["UpToDate", "OutOfDate", "Revoked"])
def test_platform_module_and_enclave_converge_as_intel_says(status: str, module: str, qe: str) -> None:
    world = Tdx(levels=(Level(status=status),), modules=(Module(levels=(Svn(4, module),)),), qe_levels=(Svn(4, qe),))
    expected = STATUSES[status]
    if "OutOfDate" in (module, qe):
        expected = WITH_OLD_COMPONENT[status]
    if "Revoked" in (module, qe):
        expected = "Revoked"
    result = judge(world)
    assert result.signature
    assert result.tcb_status == expected
    assert (result.launch.platform, result.launch.module, result.launch.qe) == (status, module, qe)
    assert result.tcb is (expected == "UpToDate")
    accepted = judge(world, accept_status=[s for s in STATUSES if s != "Revoked"])
    assert accepted.tcb is (expected != "Revoked")


@pytest.mark.parametrize(("world", "status"), LEVELS.values(), ids=LEVELS)
def test_the_level_is_found_as_intel_finds_it(world: Tdx, status: str) -> None:
    result = judge(world)
    assert result.signature, result.explain()
    assert result.tcb_status == status
    assert result.tcb is (status == "UpToDate")
    if status == "NotSupported":
        assert {"tcb_level", "tcb_accepted"} <= failed(result)


@pytest.mark.parametrize(
    "world",
    [
        Tdx(levels=(Level(status="Fine"),)),
        Tdx(levels=(Level(status="TDRelaunchAdvised"),)),
        Tdx(levels=(Level(status="MeetsMinimum"),)),
        Tdx(modules=(Module(levels=(Svn(4, "SWHardeningNeeded"),)),)),
        Tdx(qe_levels=(Svn(4, "SWHardeningNeeded"),)),
        Tdx(levels=(Level(advisories=("A" * 32,)),)),
        Tdx(levels=(Level(advisories=("",)),)),
    ],
)
def test_a_level_that_says_what_intel_never_says_is_not_accepted(world: Tdx) -> None:
    result = judge(world, accept_status=["UpToDate", "SWHardeningNeeded", "OutOfDate", "TDRelaunchAdvised"])
    assert result.signature and not result.tcb
    assert {"tcb_level", "tcb_accepted"} <= failed(result)
    assert result.tcb_status == "NotEvaluated"


NEW, OLD_SVN = bytes([4, 1, 5]) + bytes(13), bytes([2, 1, 5]) + bytes(13)


@pytest.mark.parametrize("launch", [s for s in STATUSES if s != "Revoked"])
@pytest.mark.parametrize("current", STATUSES)
def test_a_td_launched_on_what_was_current_is_advised_to_relaunch(launch: str, current: str) -> None:
    result = judge(relaunch(launch, current))
    expected = launch
    if launch.startswith("OutOfDate") and current in (
        "UpToDate",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
    ):
        needed = "Configuration" in launch or "Configuration" in current
        expected = "TDRelaunchAdvisedConfigurationNeeded" if needed else "TDRelaunchAdvised"
    assert (result.launch.status, result.current.status) == (launch, current)
    if current == "Revoked":
        assert result.tcb_status == "Revoked"
        assert not judge(relaunch(launch, current), accept_status=[launch]).tcb
        return
    assert result.tcb_status == expected
    accepted = judge(relaunch(launch, current), accept_status=[expected])
    assert accepted.tcb


def test_a_current_svn_below_every_level_is_not_supported() -> None:
    assert judge(td15(svn2=bytes([0, 1, 5]) + bytes(13))).tcb_status == "NotSupported"
    assert judge(td15(svn2=bytes([4, 9, 5]) + bytes(13))).tcb_status == "NotSupported"


def test_version_4_looks_at_one_svn_only() -> None:
    assert judge(Tdx(svn2=bytes(16))).tcb_status == "UpToDate"


def test_the_module_is_judged_by_its_own_svn_at_launch_and_now() -> None:
    result = judge(td15(svn=OLD_SVN, svn2=NEW))
    assert (result.launch.module, result.current.module) == ("OutOfDate", "UpToDate")
    assert result.tcb_status == "TDRelaunchAdvised"


def test_date_is_the_earliest_and_advisories_are_all_of_them() -> None:
    world = Tdx(
        levels=(Level(advisories=("INTEL-SA-1", "INTEL-SA-2"), date=NOW - 100 * DAY),),
        modules=(Module(levels=(Svn(4, advisories=("INTEL-SA-2", "INTEL-SA-3"), date=NOW - 200 * DAY),)),),
        qe_levels=(Svn(4, advisories=("INTEL-SA-4",), date=NOW - 50 * DAY),),
    )
    result = judge(world)
    assert set(result.launch.advisories) == {f"INTEL-SA-{i}" for i in range(1, 5)}
    assert len(result.launch.advisories) == 4
    assert result.to_dict()["tcb"]["date"] == "2025-06-29T12:00:00Z"


FRESH = {
    "TCB info": Tdx(info_next=NOW + 1),
    "QE identity": Tdx(qe_next=NOW + 1),
    "CRLs": Tdx(crl_end=NOW + 1),
}


@pytest.mark.parametrize("world", FRESH.values(), ids=FRESH)
def test_collateral_that_is_due_for_replacement_is_stale_but_still_signed(world: Tdx) -> None:
    assert good(judge(world, at=NOW + 1))
    stale = judge(world, at=NOW + 2)
    assert stale.signature and not stale.tcb and failed(stale) == {"collateral_fresh"}
    assert stale.failures[0].code == -404 and stale.exit_code == 3
    assert stale.tcb_status == "UpToDate"
    assert stale.collateral_until == "2026-01-15T12:00:01Z"
    assert good(judge(world, at=NOW + 11, collateral_grace_seconds=10))
    assert not judge(world, at=NOW + 12, collateral_grace_seconds=10).tcb


def test_certificates_have_no_grace() -> None:
    world = Tdx(pck_end=NOW + 1)
    assert good(judge(world, at=NOW + 1))
    assert failed(judge(world, at=NOW + 2, collateral_grace_seconds=1000)) == {"pck_chain"}


def test_an_old_level_is_accepted_for_the_grace_period_of_the_policy() -> None:
    world = Tdx(levels=(Level(status="OutOfDate", date=NOW - 1000),), modules=(Module(levels=(Svn(4, date=NOW),)),))
    assert not judge(world).tcb
    assert judge(world, platform_grace_seconds=90 * DAY).tcb is True
    young = world.but(qe_levels=(Svn(4, date=NOW),))
    assert judge(young, platform_grace_seconds=1000).tcb is True
    assert judge(young, platform_grace_seconds=999).tcb is False
    revoked = young.but(levels=(Level(status="Revoked", date=NOW),))
    assert judge(revoked, platform_grace_seconds=1000).tcb is False


def test_the_policy_may_want_a_minimum_evaluation_number_of_both_documents() -> None:
    assert judge(Tdx(), min_tcb_evaluation_number=18).tcb
    assert failed(judge(Tdx(), min_tcb_evaluation_number=19)) == {"evaluation_number"}
    assert failed(judge(Tdx(qe_number=17), min_tcb_evaluation_number=18)) == {"evaluation_number"}
    assert failed(judge(Tdx(info_number=17), min_tcb_evaluation_number=18)) == {"evaluation_number"}


def test_the_policy_may_want_a_minimum_date_and_refuse_advisories() -> None:
    assert failed(judge(Tdx(), min_tcb_date="2026-01-01T00:00:00Z")) == {"tcb_date"}
    assert judge(Tdx(), min_tcb_date="2025-01-01T00:00:00Z").tcb
    world = Tdx(levels=(Level(advisories=("INTEL-SA-1",)),))
    assert failed(judge(world, reject_advisories=["INTEL-SA-1"])) == {"advisories"}
    assert judge(world, reject_advisories=["INTEL-SA-2"]).tcb
    new = relaunch("UpToDate", "UpToDate").but(
        levels=(
            Level(tdx=(0, 0, 5) + (0,) * 13, advisories=("INTEL-SA-9",), date=NOW - 400 * DAY),
            Level(tdx=(0, 0, 3) + (0,) * 13),
        )
    )
    assert failed(judge(new, reject_advisories=["INTEL-SA-9"])) == {"advisories"}  # of the current SVN
    assert failed(judge(new, min_tcb_date="2025-06-01T00:00:00Z")) == {"tcb_date"}


# -------------------------------------------------------------------------------------------- appraisal group

APPRAISAL: dict[str, tuple[Tdx, dict[str, Any], str]] = {
    "debug": (Tdx(attributes=1), {}, "debug"),
    "reserved debug bit": (Tdx(attributes=1 << 7), {}, "debug"),
    "another MRTD": (Tdx(), {"mrtd": ["00" * 48]}, "mrtd"),
    "another RTMR0": (Tdx(), {"rtmr0": ["00" * 48]}, "rtmr0"),
    "another RTMR1": (Tdx(), {"rtmr1": ["00" * 48]}, "rtmr1"),
    "another RTMR2": (Tdx(), {"rtmr2": ["00" * 48]}, "rtmr2"),
    "another RTMR3": (Tdx(), {"rtmr3": ["00" * 48]}, "rtmr3"),
    "another MRSEAM": (Tdx(), {"mrseam": ["00" * 48]}, "mrseam"),
    "another MRCONFIGID": (Tdx(), {"mrconfigid": ["01" * 48]}, "mrconfigid"),
    "another MROWNER": (Tdx(), {"mrowner": ["01" * 48]}, "mrowner"),
    "another MROWNERCONFIG": (Tdx(), {"mrownerconfig": ["01" * 48]}, "mrownerconfig"),
    "attributes": (Tdx(), {"attributes": {"mask": "F" * 16, "value": "0" * 16}}, "attributes"),
    "XFAM": (Tdx(), {"xfam": {"mask": "F" * 16, "value": "0" * 16}}, "xfam"),
    "SEPT_VE_DISABLE clear": (Tdx(attributes=0), {"sept_ve_enabled": "reject"}, "sept_ve"),
    "migratable": (Tdx(attributes=1 << 29), {}, "migratable"),
    "a service TD": (td15(mrservicetd=b"\x01" * 48), {}, "service_td"),
    "another service TD": (td15(mrservicetd=b"\x01" * 48), {"mrservicetd": ["02" * 48]}, "service_td"),
    "a service TD that version 4 cannot name": (Tdx(), {"mrservicetd": ["02" * 48]}, "service_td"),
    "dynamic platform": (Tdx(configuration=(True, False, False)), {"dynamic_platform": "reject"}, "dynamic_platform"),
    "cached keys": (Tdx(configuration=(False, True, False)), {"cached_keys": "reject"}, "cached_keys"),
    "SMT": (Tdx(configuration=(False, False, True)), {"smt": "reject"}, "smt"),
    "SMT not said": (Tdx(configuration=None), {"smt": "reject"}, "smt"),
    "zero report data": (Tdx(report_data=bytes(64)), {}, "report_data"),
}


@pytest.mark.parametrize(("world", "rules", "check"), APPRAISAL.values(), ids=APPRAISAL)
def test_what_the_policy_refuses_is_genuine_and_rejected(world: Tdx, rules: dict[str, Any], check: str) -> None:
    result = judge(world, **rules)
    assert result.signature and result.tcb
    assert failed(result) == {check}, result.explain()
    assert result.appraisal == "rejected" and result.exit_code == 3


ALLOWED: dict[str, tuple[Tdx, dict[str, Any]]] = {
    "attributes by mask": (Tdx(), {"attributes": {"mask": "0" * 8 + "10000000", "value": "0" * 8 + "10000000"}}),
    "XFAM by mask": (Tdx(), {"xfam": {"mask": "F" * 16, "value": f"{0x602E7:016x}"}}),
    "one of several": (Tdx(), {"rtmr3": ["00" * 48, "B3" * 48]}),
    "migratable allowed": (Tdx(attributes=1 << 29), {"migratable": "allow"}),
    "service TD named": (td15(mrservicetd=b"\x01" * 48), {"mrservicetd": ["01" * 48]}),
    "SMT off": (Tdx(), {"smt": "reject", "dynamic_platform": "reject", "cached_keys": "reject"}),
}


@pytest.mark.parametrize(("world", "rules"), ALLOWED.values(), ids=ALLOWED)
def test_what_the_policy_allows_is_attested(world: Tdx, rules: dict[str, Any]) -> None:
    assert good(judge(world, **rules)), judge(world, **rules).explain()


def test_a_warning_is_told_and_refuses_nothing() -> None:
    result = judge(Tdx(attributes=0))
    assert good(result)
    assert [c.id for c in result.checks if c.status == "warning"] == ["tdx.sept_ve"]


@pytest.mark.parametrize("rules", [{}, {"rtmr0": ["b0" * 48]}, {"rtmr3": ["b3" * 48], "mrseam": ["5e" * 48]}])
def test_a_policy_that_names_no_mrtd_never_yields_attested(rules: dict[str, Any]) -> None:
    world = Tdx()
    for rule in (policy(**rules), None):
        result = verify(
            world.quote(),
            collateral=collateral(world),
            at=NOW,
            anchor=world.anchor(),
            policy=rule,
            report_data=world.report_data,
        )
        assert result.signature and result.tcb
        assert result.appraisal == "unknown software"
        assert result.exit_code == 3


def test_report_data_binds() -> None:
    world = Tdx()
    arguments: dict[str, Any] = {
        "collateral": collateral(world),
        "at": NOW,
        "anchor": world.anchor(),
        "policy": policy(world),
    }
    assert verify(world.quote(), **arguments).binding == "absent"
    assert verify(world.quote(), report_data=world.report_data, **arguments).binding == "matched"
    for other in (bytes(64), flip(world.report_data), world.report_data[:63], world.report_data + b"\0", b""):
        result = verify(world.quote(), report_data=other, **arguments)
        assert result.binding == "mismatch" and result.appraisal == "rejected" and failed(result) == {"report_data"}
    arguments["policy"] = json.dumps(
        {"version": 1, "require_binding": True, "tdx": {"mrtd": [world.mrtd.hex()]}}
    ).encode()
    assert verify(world.quote(), **arguments).exit_code == 4
    assert good(verify(world.quote(), report_data=world.report_data, **arguments))


# ---------------------------------------------------------------------------------- collateral that is used again


def test_remembered_signatures_do_not_outlive_their_anchor_or_their_time() -> None:
    world = Tdx(signer_end=NOW + 10 * DAY)
    shared = collateral(world)

    def at(t: int, anchor: bytes | None = None, w: Tdx = world) -> Appraisal:
        return verify(w.quote(), collateral=shared, at=t, anchor=anchor or world.anchor(), policy=policy(world))

    assert good(at(NOW)) and good(at(NOW + DAY))
    assert failed(at(NOW + 11 * DAY)) == {"tcb_signer"}
    assert failed(at(NOW - 4 * DAY)) == {"tcb_info"}
    assert failed(at(NOW - 6 * DAY)) == {"pck_chain"}
    assert good(at(NOW))
    other = Tdx(root_name="ATLAS TEST other root")
    assert failed(at(NOW, other.anchor())) == {"pck_chain"}
    assert failed(at(NOW, other.anchor(), other)) != set()
    assert good(at(NOW))


def test_forged_worlds_are_the_same_every_time() -> None:
    assert Tdx().quote() == Tdx().quote()
    assert td15().bundle() == td15().bundle()
    assert point(key("tdx pck")) == point(key("tdx pck"))
