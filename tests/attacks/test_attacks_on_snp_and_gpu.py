"""Forged SEV-SNP reports, GPU reports and event logs, one thing wrong at a time."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from forge_attest import ccel, der
from forge_attest.gpu import FWID, Gpu, measurement
from forge_attest.pki import DAY, NOW, Crl, key
from forge_attest.snp import Snp
from forge_attest.tdx import Tdx

from atlas import _core
from atlas.attest import Appraisal, Collateral, verify
from atlas.errors import AtlasError, MalformedError, SystemFailure

OTHER = key("other", ec.SECP384R1)
MINIMUM = {"bootloader": 3, "tee": 0, "snp": 20, "microcode": 209}
SNP_RULES = {"measurement": ["a5" * 48], "minimum_tcb": MINIMUM, "unchecked_revocation": "warn"}
REFERENCE = {
    "driver": "550.90.07",
    "vbios": "96.00.9F.00.01",
    "measurements": {"1": [measurement(1).hex()], "8": ["00" * 48, measurement(8).hex()]},
}
GPU_RULES = {"references": [REFERENCE], "unchecked_revocation": "warn"}


def judge_snp(world: Snp, *, at: int = NOW, plain: bool = False, **rules: Any) -> Appraisal:
    text = json.dumps({"version": 1, "snp": rules if plain else SNP_RULES | rules}).encode()
    return verify(
        world.report(),
        collateral=Collateral(*world.collateral()),
        at=at,
        anchor=world.anchor(),
        policy=text,
        report_data=world.report_data,
        kind="snp",
    )


def judge_gpu(world: Gpu, *, plain: bool = False, nonce: bytes | None = None, **rules: Any) -> Appraisal:
    text = json.dumps({"version": 1, "nvidia": rules if plain else GPU_RULES | rules}).encode()
    return verify(
        world.report(),
        collateral=Collateral(*world.collateral()),
        at=NOW,
        anchor=world.anchor(),
        policy=text,
        report_data=nonce or world.nonce,
        kind="nvidia",
    )


def good(result: Appraisal) -> bool:
    return result.signature and result.tcb and result.appraisal == "attested" and not result.holds


def failed(result: Appraisal) -> set[str]:
    return {check.id.partition(".")[2] for check in result.failures}


def status(result: Appraisal, name: str) -> str:
    return next(check.status for check in result.checks if check.id.endswith(name))


# -------------------------------------------------------------------------------------------------------- SNP

SNP_HONEST = {
    "Milan": Snp(),
    "version 5": Snp(version=5),
    "Genoa": Snp(product="Genoa-B2"),
    "Turin": Snp(product="Turin-B0", fmc=1, hwid=b"\x11" * 8, chip_id=b"\x11" * 8),
    "VLEK": Snp(vlek=True),
    "chip withheld": Snp(chip_id=b""),
    "intermediate covered by a CRL": Snp(crl=Crl(Snp().ark)),
}


@pytest.mark.parametrize("world", SNP_HONEST.values(), ids=SNP_HONEST)
def test_an_honest_snp_world_holds_under_the_test_root(world: Snp) -> None:
    rules = {"minimum_tcb": MINIMUM | {"fmc": 1}} if world.fmc else {}
    result = judge_snp(world, **rules)
    assert good(result), result.explain()
    assert result.tcb_status == "MeetsMinimum" and result.binding == "matched"
    assert status(result, "snp.revocation") == ("passed" if world.crl else "not_checked")


SNP_WRONG: dict[str, tuple[Snp, str, int]] = {
    "leaf not signed by its issuer": (Snp(leaf_wrong_key=OTHER), "chain", -403),
    "ASK not signed by the root": (Snp(ask_wrong_key=OTHER), "chain", -403),
    "leaf expired": (Snp(leaf_end=NOW - 1), "chain", -404),
    "ASK revoked": (Snp(crl=Crl(Snp().ark, revoked=(Snp().ask.serial_number(),))), "chain", -405),
    "CRL not signed by the root": (Snp(crl=Crl(Snp().ark, wrong_key=OTHER)), "chain", -403),
    "CRL due for replacement": (Snp(crl=Crl(Snp().ark, end=NOW - 1)), "revocation", -404),
    "VCEK where the report says VLEK": (Snp(key_info=1 << 2), "profile", -420),
    "VLEK where the report says VCEK": (Snp(vlek=True, key_info=0), "profile", -420),
    "no hardware id": (Snp(extensions=lambda e: {k: v for k, v in e.items() if k != "4"}), "profile", -307),
    "hardware id and provider": (Snp(extensions=lambda e: e | {"5": b"\x0c\x01x"}), "profile", -307),
    "no product": (Snp(extensions=lambda e: {k: v for k, v in e.items() if k != "2"}), "profile", -202),
    "no microcode level": (Snp(extensions=lambda e: {k: v for k, v in e.items() if k != "3.8"}), "profile", -202),
    "level 256": (Snp(extensions=lambda e: e | {"3.1": der.integer(256)}), "profile", -307),
    "bootloader of another TCB": (Snp(certified=(4, 0, 20, 209)), "tcb_binding", -420),
    "TEE of another TCB": (Snp(certified=(3, 1, 20, 209)), "tcb_binding", -420),
    "SNP of another TCB": (Snp(certified=(3, 0, 21, 209)), "tcb_binding", -420),
    "microcode of another TCB": (Snp(certified=(3, 0, 20, 210)), "tcb_binding", -420),
    "FMC where Milan has none": (Snp(fmc=0), "tcb_binding", -420),
    "another chip": (Snp(chip_id=b"\x01" * 64), "chip", -420),
    "a longer chip id on Turin": (
        Snp(product="Turin-B0", fmc=1, hwid=b"\x11" * 8, chip_id=b"\x11" * 9),
        "chip",
        -420,
    ),
    "report signed by another key": (Snp(report_wrong_key=OTHER), "report", -401),
}


@pytest.mark.parametrize(("world", "check", "code"), SNP_WRONG.values(), ids=SNP_WRONG)
def test_an_snp_report_that_is_not_genuine_is_noticed_by_its_own_check(world: Snp, check: str, code: int) -> None:
    result = judge_snp(world)
    assert failed(result) == {check}, result.explain()
    assert result.failures[0].code == code
    assert not result.signature and result.appraisal == "not_run"


SNP_FORM: dict[str, tuple[Snp, type[AtlasError]]] = {
    "version 1": (Snp(version=1), MalformedError),
    "version 6": (Snp(version=6), MalformedError),
    "another algorithm": (Snp(algorithm=2), SystemFailure),
    "no signing key": (Snp(key_info=7 << 2), SystemFailure),
    "r longer than P-384": (Snp(signature=lambda s: s[:71] + b"\x01" + s[72:]), MalformedError),
    "s longer than P-384": (Snp(signature=lambda s: s[:143] + b"\x01"), MalformedError),
    "bytes behind the signature": (Snp(signature=lambda s: s + b"\x01"), MalformedError),
}


@pytest.mark.parametrize(("world", "error"), SNP_FORM.values(), ids=SNP_FORM)
def test_what_is_no_snp_report_is_refused_as_such(world: Snp, error: type[AtlasError]) -> None:
    with pytest.raises(error):
        judge_snp(world)


SNP_REFUSED: dict[str, tuple[Snp, dict[str, Any], str]] = {
    "debug": (Snp(policy=0x30000 | 1 << 19), {}, "debug"),
    "migration agent": (Snp(policy=0x30000 | 1 << 18), {}, "migration"),
    "VMPL 1": (Snp(vmpl=1), {}, "vmpl"),
    "another measurement": (Snp(measurement=b"\x01" * 48), {}, "measurement"),
    "another host data": (Snp(), {"host_data": ["00" * 32]}, "host_data"),
    "another id key": (Snp(), {"id_key_digest": ["01" * 48]}, "id_key"),
    "another author key": (Snp(), {"author_key_digest": ["01" * 48]}, "author_key"),
    "another chip": (Snp(), {"chip_id": ["01" * 64]}, "chip_id"),
    "guest SVN": (Snp(), {"min_guest_svn": 2}, "guest_svn"),
    "guest policy": (Snp(), {"guest_policy": {"mask": "F" * 16, "value": "0" * 16}}, "guest_policy"),
    "revocation not checked": (Snp(), {"unchecked_revocation": "reject"}, "unchecked_revocation"),
    "zero report data": (Snp(report_data=bytes(64)), {}, "report_data"),
}


@pytest.mark.parametrize(("world", "rules", "check"), SNP_REFUSED.values(), ids=SNP_REFUSED)
def test_what_the_policy_refuses_of_snp_is_genuine_and_rejected(world: Snp, rules: dict[str, Any], check: str) -> None:
    result = judge_snp(world, **rules)
    assert result.signature and failed(result) == {check}, result.explain()
    assert result.appraisal == "rejected"


@pytest.mark.parametrize("part", MINIMUM)
def test_an_snp_tcb_below_the_minimum_is_not_accepted(part: str) -> None:
    result = judge_snp(Snp(), minimum_tcb=MINIMUM | {part: MINIMUM[part] + 1})
    assert result.signature and not result.tcb and result.tcb_status == "BelowMinimum"
    assert failed(result) == {"minimum_tcb"}


def test_without_a_minimum_or_a_measurement_snp_does_not_hold() -> None:
    result = judge_snp(Snp(), plain=True, unchecked_revocation="allow")
    assert result.signature and not result.tcb and result.tcb_status == "NotEvaluated"
    assert result.appraisal == "unknown software"
    assert judge_snp(Snp(), plain=True).appraisal == "rejected"  # by default revocation must have been checked
    assert judge_snp(Snp(crl=Crl(Snp().ark)), plain=True).appraisal == "unknown software"


def test_two_device_certificates_leave_open_which_one_is_meant() -> None:
    world = Snp()
    files = [*world.collateral(), Snp(hwid=b"\x02" * 64).leaf.der()]
    result = verify(world.report(), collateral=Collateral(*files), at=NOW, anchor=world.anchor())
    assert failed(result) == {"chain"}
    result = verify(world.report(), collateral=Collateral(), at=NOW, anchor=world.anchor())
    assert failed(result) == {"chain"} and result.exit_code == 4


def test_a_forged_snp_world_is_not_amds() -> None:
    world = Snp()
    result = verify(world.report(), collateral=Collateral(*world.collateral()), at=NOW)
    assert failed(result) == {"chain"} and not result.hardware_rooted


def test_evidence_of_one_kind_under_the_label_of_another_is_refused() -> None:
    """A software quote, or another vendor's, never passes for TDX."""
    for evidence in (Snp().report(), Gpu().report(), b"\x00" * 2000, b"TPM2 software quote"):
        with pytest.raises(AtlasError):
            verify(evidence, collateral=Collateral(), at=NOW, kind="tdx")
    for evidence in (Tdx().quote(), Gpu().report(), bytes(2000)):
        with pytest.raises(AtlasError):
            verify(evidence, collateral=Collateral(), at=NOW, kind="snp")
        if evidence[:1] != b"\x11":
            with pytest.raises(AtlasError):
                verify(evidence, collateral=Collateral(), at=NOW, kind="nvidia")


# -------------------------------------------------------------------------------------------------------- GPU

GPU_HONEST = {
    "Hopper": Gpu(),
    "DICE TcbInfo": Gpu(fwid_form="tcb info"),
    "a byte behind the report": Gpu(trailing=b"\0"),
}


@pytest.mark.parametrize("world", GPU_HONEST.values(), ids=GPU_HONEST)
def test_an_honest_gpu_holds_under_the_test_root(world: Gpu) -> None:
    result = judge_gpu(world)
    assert good(result), result.explain()
    assert result.tcb_status == "MeetsMinimum"
    assert {c.id for c in result.checks if c.status == "not_checked"} == {"gpu.revocation", "gpu.rim"}
    text = verify(
        world.report().hex().upper().encode(), collateral=Collateral(*world.collateral()), at=NOW, anchor=world.anchor()
    )
    assert text.signature


GPU_WRONG: dict[str, tuple[Gpu, str, int]] = {
    "leaf not signed by its issuer": (Gpu(leaf_wrong_key=OTHER), "chain", -403),
    "leaf expired": (Gpu(leaf_end=NOW - 1), "chain", -404),
    "report signed by another key": (Gpu(report_wrong_key=OTHER), "report", -401),
    "other firmware": (Gpu(certified_fwid=b"\x01" * 48), "fwid", -420),
    "no firmware in the certificate": (Gpu(fwid_form="none"), "fwid", -202),
    "damaged firmware extension": (Gpu(fwid_form="damaged"), "fwid", -307),
    "no firmware in the report": (Gpu(opaque=lambda o: o[:-52]), "fwid", -420),
    "firmware twice": (Gpu(opaque=lambda o: o + o[-52:]), "fwid", -420),
}


@pytest.mark.parametrize(("world", "check", "code"), GPU_WRONG.values(), ids=GPU_WRONG)
def test_a_gpu_report_that_is_not_genuine_is_noticed_by_its_own_check(world: Gpu, check: str, code: int) -> None:
    result = judge_gpu(world)
    assert failed(result) == {check}, result.explain()
    assert result.failures[0].code == code
    assert not result.signature


GPU_FORM: dict[str, Gpu] = {
    "another request": Gpu(request=lambda r: r[:1] + b"\xe1" + r[2:]),
    "another version": Gpu(request=lambda r: b"\x12" + r[1:]),
    "no signature asked for": Gpu(request=lambda r: r[:2] + b"\0" + r[3:]),
    "one measurement asked for": Gpu(request=lambda r: r[:3] + b"\x01" + r[4:]),
    "a block more announced": Gpu(announced=9),
    "a block less announced": Gpu(announced=7),
    "an index twice": Gpu(blocks=lambda b: [*b, b[0]]),
    "a block that is not DMTF's": Gpu(blocks=lambda b: [b[0][:1] + b"\x02" + b[0][2:], *b[1:]]),
    "a block size one more": Gpu(blocks=lambda b: [*b[:-1], b[-1][:2] + struct.pack("<H", 52) + b[-1][4:]]),
    "a value size one less": Gpu(blocks=lambda b: [b[0][:5] + struct.pack("<H", 47) + b[0][7:], *b[1:]]),
    "half an opaque field": Gpu(opaque=lambda o: o + b"\x01"),
    "opaque size one more": Gpu(opaque=lambda o: o[:-50] + struct.pack("<H", 49) + o[-48:]),
}


@pytest.mark.parametrize("world", GPU_FORM.values(), ids=GPU_FORM)
def test_what_is_no_gpu_report_is_refused_as_such(world: Gpu) -> None:
    with pytest.raises((MalformedError, SystemFailure)):
        judge_gpu(world)


def reference(**changes: Any) -> dict[str, Any]:
    return {"references": [REFERENCE | changes]}


GPU_REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "another value": (reference(measurements={"1": ["00" * 48]}), "reference", "ReferenceDiffers"),
    "an index that the report lacks": (reference(measurements={"9": ["00" * 48]}), "reference", "ReferenceDiffers"),
    "another driver": (reference(driver="550.90.08"), "reference", "NotEvaluated"),
    "another VBIOS": (reference(vbios="96.00.9F.00.02"), "reference", "NotEvaluated"),
    "revocation not checked": ({"unchecked_revocation": "reject"}, "unchecked_revocation", "MeetsMinimum"),
}


@pytest.mark.parametrize(("rules", "check", "tcb"), GPU_REFUSED.values(), ids=GPU_REFUSED)
def test_what_the_policy_refuses_of_a_gpu_is_genuine_and_not_accepted(
    rules: dict[str, Any], check: str, tcb: str
) -> None:
    result = judge_gpu(Gpu(), **rules)
    assert result.signature and failed(result) == {check}, result.explain()
    assert result.tcb_status == tcb
    assert not good(result)


def test_without_reference_values_a_gpu_is_genuine_hardware_with_unknown_software() -> None:
    for rules in ({}, {"references": [REFERENCE | {"measurements": {}}]}, {"references": []}):
        result = judge_gpu(Gpu(), plain=True, unchecked_revocation="allow", **rules)
        assert result.signature and not result.tcb, result.explain()
        assert result.appraisal == "unknown software"


def test_the_nonce_binds_a_gpu_report() -> None:
    result = judge_gpu(Gpu(), nonce=b"\x01" * 32)
    assert result.binding == "mismatch" and failed(result) == {"nonce"}
    assert judge_gpu(Gpu(nonce=bytes(32)), nonce=b"\x01" * 32).binding == "zero"
    assert FWID == 20


# -------------------------------------------------------------------------------------------------- event logs

EVENTS: list[ccel.Event] = [
    (1, ccel.VARIABLE, b"SecureBoot"),
    (1, ccel.SEPARATOR, bytes(4)),
    (2, 0x80000003, b"shim"),
    (3, 0x0D, b"kernel command line"),
    (0, 0x80000008, b"firmware"),
    (1, ccel.NO_ACTION, b"informs only"),
    (4, 0x0D, b"model loaded"),
]


@pytest.mark.parametrize("padding", [b"\xff", b"\0"])
def test_a_log_replays_to_the_registers(padding: bytes) -> None:
    *registers, events, used = _core.ccel_replay(ccel.log(EVENTS, padding=padding))
    assert tuple(registers) == ccel.replay(EVENTS)
    assert events == len(EVENTS) + 1
    assert used == len(ccel.log(EVENTS, size=0))
    assert tuple(_core.ccel_replay(ccel.log(EVENTS, size=0))[:4]) == ccel.replay(EVENTS)


def test_a_log_must_explain_every_register_of_the_quote() -> None:
    world = Tdx(rtmr=ccel.replay(EVENTS))
    arguments: dict[str, Any] = {
        "collateral": Collateral(json.dumps(world.bundle()).encode()),
        "at": NOW,
        "anchor": world.anchor(),
        "policy": json.dumps({"version": 1, "tdx": {"mrtd": [world.mrtd.hex()]}}).encode(),
    }
    result = verify(world.quote(), event_log=ccel.log(EVENTS), **arguments)
    assert good(result) and status(result, "event_log") == "passed"
    for changed in (EVENTS[:-1], EVENTS[1:], [*EVENTS, (4, 5, b"one more")], [EVENTS[1], EVENTS[0], *EVENTS[2:]]):
        result = verify(world.quote(), event_log=ccel.log(changed), **arguments)
        assert failed(result) == {"event_log"} and result.appraisal == "rejected"
    broken = verify(world.quote(), event_log=b"no log", **arguments)
    assert failed(broken) == {"event_log"} and broken.failures[0].code == -320


one = ccel.event(1, 4, b"data")
BROKEN_LOGS = {
    "empty": b"",
    "no header": one,
    "another signature": ccel.header(signature=b"Spec ID Event02\0") + one,
    "no algorithms": ccel.header(()) + one,
    "nine algorithms": ccel.header([(i, 32) for i in range(9)]) + one,
    "SHA-384 of 32 bytes": ccel.header([(ccel.SHA384, 32)]) + one,
    "digest size 0": ccel.header([(ccel.SHA384, 48), (99, 0)]) + one,
    "an algorithm that is not named": ccel.header([(ccel.SHA256, 32)]) + one,
    "register 5": ccel.header() + ccel.event(5, 4, b"data"),
    "no digest": ccel.header() + struct.pack("<IIII", 1, 4, 0, 4) + b"data",
    "SHA-384 twice": ccel.header([(ccel.SHA384, 48), (ccel.SHA256, 32)])
    + struct.pack("<III", 1, 4, 2)
    + (struct.pack("<H", ccel.SHA384) + bytes(48)) * 2
    + struct.pack("<I", 0),
    "more digests than algorithms": ccel.header() + struct.pack("<III", 1, 4, 2) + bytes(200),
    "an event behind the padding": ccel.log(EVENTS) + one,
    "data longer than the log": ccel.header() + one[:-8] + struct.pack("<I", 5) + b"data",
}


@pytest.mark.parametrize("log", BROKEN_LOGS.values(), ids=BROKEN_LOGS)
def test_a_broken_log_is_refused(log: bytes) -> None:
    with pytest.raises(MalformedError):
        _core.ccel_replay(log)


def test_every_truncation_of_a_log_is_refused_or_replays_to_something_else() -> None:
    log = ccel.log(EVENTS, size=0)
    whole = _core.ccel_replay(log)
    for n in range(len(log)):
        try:
            assert _core.ccel_replay(log[:n])[:4] != whole[:4]
        except MalformedError:
            continue


def test_certificates_are_valid_through_their_last_second() -> None:
    assert judge_snp(Snp(leaf_end=NOW)).signature
    assert judge_snp(Snp(leaf_end=NOW + DAY), at=NOW + DAY + 1).signature is False
