"""Public evidence of real hardware: what each piece must answer, inside its window and outside; and that
nothing that was signed may change."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atlas import _core
from atlas.attest import Appraisal, Collateral, read_claims, verify
from atlas.cli import main
from atlas.errors import AtlasError

VECTORS = os.environ.get("ATLAS_VECTORS")
pytestmark = pytest.mark.skipif(not VECTORS, reason="ATLAS_VECTORS is not set: no public test vectors")
FOLDER = Path(VECTORS or ".")
TDX, SNP, GPU = FOLDER / "tdx", FOLDER / "snp", FOLDER / "nvidia"

EVERY_BYTE = bool(os.environ.get("ATLAS_EVERY_BYTE"))  # minutes instead of seconds, and every bit of a quote


def step(n: int) -> int:
    return 1 if EVERY_BYTE else n


# quote, collateral, first and last second of the window, status
QUOTES: dict[str, tuple[str, str, int, int, str]] = {
    "phala v4": ("phala_v4.quote", "phala_v4.collateral.json", 1750329147, 1752919235, "UpToDate"),
    "phala v5": (
        "phala_v5_unsupported.quote",
        "fmspc_90c0_2026-02.collateral.json",
        1771412331,
        1774003275,
        "NotSupported",
    ),
    "google v5": ("google_v5.quote", "fmspc_90c0_2026-02.collateral.json", 1771412331, 1774003275, "UpToDate"),
    "google cos113": ("google_cos113_v4.quote", "google_cos113_collateral", 1739418641, 1742009940, "UpToDate"),
}
NAMES = sorted(QUOTES)
GPU_NONCE = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"
AMD_RULES: dict[str, Any] = {"unchecked_revocation": "warn"}


def quote_of(name: str) -> bytes:
    return (TDX / QUOTES[name][0]).read_bytes()


def judge(
    name: str, at: int, *, quote: bytes | None = None, shared: Collateral | None = None, **more: Any
) -> Appraisal:
    collateral = shared or Collateral.load(TDX / QUOTES[name][1])
    return verify(quote_of(name) if quote is None else quote, collateral=collateral, at=at, **more)


def mrtd_policy(name: str) -> bytes:
    return json.dumps({"version": 1, "tdx": {"mrtd": [read_claims(quote_of(name))["mrtd"].hex()]}}).encode()


def failed(result: Appraisal) -> set[str]:
    return {check.id.partition(".")[2] for check in result.failures}


@pytest.mark.parametrize("name", NAMES)
def test_a_real_quote_answers_as_published_throughout_its_window(name: str) -> None:
    _, _, first, last, status = QUOTES[name]
    for at in (first, (first + last) // 2, last):
        result = judge(name, at)
        assert result.signature and result.hardware_rooted and result.anchor == "Intel SGX Root CA"
        assert result.tcb_status == status
        assert result.launch.advisories == () == result.current.advisories
        assert result.tcb is (status == "UpToDate")
        assert result.appraisal in ("genuine hardware, unknown software", "rejected")  # no policy: never attested
        assert not result.holds


@pytest.mark.parametrize("name", NAMES)
def test_a_real_quote_fails_one_second_outside_its_window_with_the_reason(name: str) -> None:
    _, _, first, last, status = QUOTES[name]
    early = judge(name, first - 1)
    assert not early.signature and failed(early) <= {"tcb_info", "qe_identity"}
    assert early.failures[0].code == -404 and early.exit_code == 1
    late = judge(name, last + 1)
    assert late.signature and not late.tcb and "collateral_fresh" in failed(late)
    assert late.tcb_status == status
    result = judge(name, first)
    assert result.to_dict()["tcb"]["collateral"] == {
        "not_before": _text(first),
        "not_after": _text(last),
    }


def _text(at: int) -> str | None:
    from atlas.attest import format_time

    return format_time(at)


@pytest.mark.parametrize("name", ["phala v4", "google v5"])
def test_a_policy_that_names_the_real_mrtd_is_fulfilled(name: str) -> None:
    at = QUOTES[name][2]
    result = judge(name, at, policy=mrtd_policy(name), report_data=read_claims(quote_of(name))["report_data"])
    assert result.holds and result.require() is result and result.answer == "ATTESTED" and result.exit_code == 0
    assert judge(name, at, policy=mrtd_policy("google cos113")).appraisal == "rejected"


def test_decades_later_the_certificates_themselves_have_expired() -> None:
    late = judge("phala v4", 2208988800)
    assert not late.signature and late.failures[0].code == -404
    assert failed(judge("phala v4", 1500000000)) == {"pck_chain"}


def test_collateral_of_another_platform_does_not_fit() -> None:
    at = QUOTES["google v5"][2]
    crossed = verify(quote_of("phala v4"), collateral=Collateral.load(TDX / QUOTES["google v5"][1]), at=at)
    assert failed(crossed) == {"platform"}


# -------------------------------------------------------------------------------------------------- event log


def test_the_log_of_the_google_vm_replays_to_all_four_registers() -> None:
    log = (TDX / "google_cos113.ccel").read_bytes()
    claims = read_claims(quote_of("google cos113"))
    *registers, events, used = _core.ccel_replay(log)
    assert registers == [claims[f"rtmr{i}"] for i in range(4)]
    assert (events, used) == (44, 18101) or (events, used) == (43, 18101)
    at = QUOTES["google cos113"][2]
    result = judge("google cos113", at, event_log=log)
    assert next(c.status for c in result.checks if c.id == "tdx.event_log") == "passed"
    assert failed(result) == {"report_data"}  # the report data of this quote is zero
    changed = bytearray(log)
    changed[9000] ^= 1
    broken = judge("google cos113", at, event_log=bytes(changed))
    assert "event_log" in failed(broken) or bytes(changed) == log


# ------------------------------------------------------------------------------------- nothing signed may change


def signed_bytes(quote: bytes) -> Iterator[int]:
    """Positions of header, body, signature, key, QE report, its signature and authentication data."""
    start = 632 if quote[0] == 4 else 702
    yield from range(start)
    yield from range(start + 4, start + 4 + 128)
    certification = start + 4 + 128 + 6
    auth_size = int.from_bytes(quote[certification + 448 : certification + 450], "little")
    yield from range(certification, certification + 450 + auth_size)


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_flip_of_what_is_signed_is_refused(name: str) -> None:
    quote = quote_of(name)
    at = QUOTES[name][2]
    shared = Collateral.load(TDX / QUOTES[name][1])
    assert judge(name, at, shared=shared).signature
    survivors = []
    for n, position in enumerate(signed_bytes(quote)):
        for bit in range(8) if EVERY_BYTE else (n % 8,):
            changed = bytearray(quote)
            changed[position] ^= 1 << bit
            try:
                if judge(name, at, quote=bytes(changed), shared=shared, kind="tdx").signature:
                    survivors.append(position)
            except AtlasError:
                continue
    assert survivors == []


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_of_a_quote_fails_cleanly(name: str) -> None:
    quote = quote_of(name)
    whole = read_claims(quote)["size"]
    collateral = Collateral()
    for n in range(whole):
        with pytest.raises(AtlasError):
            verify(quote[:n], collateral=collateral, at=QUOTES[name][2], kind="tdx")
    assert judge(name, QUOTES[name][2], quote=quote[:whole]).signature


def test_every_byte_flip_of_the_pck_certificates_is_refused() -> None:
    name = "phala v4"
    quote = quote_of(name)
    at = QUOTES[name][2]
    shared = Collateral.load(TDX / QUOTES[name][1])
    blocks = list(re.finditer(rb"-----BEGIN CERTIFICATE-----\n(.*?)\n-----END CERTIFICATE-----", quote, re.DOTALL))
    assert len(blocks) == 3
    for block in blocks:
        certificate = base64.b64decode(block[1])
        for position in range(0, len(certificate), step(3 if block is blocks[2] else 2)):
            changed = bytearray(certificate)
            changed[position] ^= 1 << position % 8
            lines = base64.b64encode(changed)
            text = b"\n".join(lines[i : i + 64] for i in range(0, len(lines), 64))
            forged = quote[: block.start(1)] + text + quote[block.end(1) :]
            assert len(forged) == len(quote)
            assert not judge(name, at, quote=forged, shared=shared).signature, position


@pytest.mark.parametrize("member", ["tcb_info", "qe_identity", "tcb_info_signature", "qe_identity_signature"])
def test_every_byte_flip_of_the_signed_documents_is_refused(member: str) -> None:
    bundle = json.loads((TDX / QUOTES["phala v4"][1]).read_text())
    text = bundle[member].encode()
    for position in range(0, len(text), step(11)):
        changed = bytearray(text)
        changed[position] ^= 1  # stays ASCII; may stop being JSON or hexadecimal
        if member.endswith("signature") and changed.decode().lower() == bundle[member].lower():
            continue
        broken = json.dumps(bundle | {member: changed.decode()}).encode()
        try:
            assert not judge("phala v4", QUOTES["phala v4"][2], shared=Collateral(broken)).signature
        except AtlasError:
            continue


@pytest.mark.parametrize("member", ["root_ca_crl", "pck_crl"])
def test_every_byte_flip_of_a_crl_is_refused(member: str) -> None:
    bundle = json.loads((TDX / QUOTES["phala v4"][1]).read_text())
    crl = bytes.fromhex(bundle[member])
    for position in range(0, len(crl), step(7)):
        changed = bytearray(crl)
        changed[position] ^= 1 << position % 8
        broken = json.dumps(bundle | {member: changed.hex()}).encode()
        try:
            assert not judge("phala v4", QUOTES["phala v4"][2], shared=Collateral(broken)).signature, position
        except AtlasError:
            continue


# -------------------------------------------------------------------------------------------------------- SNP


def snp(report: bytes, shared: Collateral | None = None, **rules: Any) -> Appraisal:
    collateral = shared or Collateral.load(SNP / "vcek.testcer", SNP / "ask_ark_milan.pem")
    policy = json.dumps({"version": 1, "snp": AMD_RULES | rules}).encode()
    return verify(report, collateral=collateral, at=1700000000, policy=policy, kind="snp")


def test_the_snp_report_and_its_chain_hold() -> None:
    report = (SNP / "attestation.bin").read_bytes()
    result = snp(report)
    assert result.signature and result.hardware_rooted and result.anchor == "ARK-Milan"
    assert {c.id for c in result.checks if c.status == "not_checked"} == {"snp.revocation", "snp.minimum_tcb"}
    assert failed(result) == {"debug"}  # this guest was made to be debugged
    assert not result.holds
    for at in (1663980927, 1884905729):
        late = verify(report, collateral=Collateral.load(SNP / "vcek.testcer", SNP / "ask_ark_milan.pem"), at=at)
        assert failed(late) == {"chain"} and late.failures[0].code == -404


def test_every_byte_flip_of_the_snp_report_is_refused() -> None:
    report = (SNP / "attestation.bin").read_bytes()
    shared = Collateral.load(SNP / "vcek.testcer", SNP / "ask_ark_milan.pem")
    for position in range(len(report)):
        changed = bytearray(report)
        changed[position] ^= 1 << position % 8
        try:
            assert not snp(bytes(changed), shared).signature, position
        except AtlasError:
            continue
    for n in range(len(report)):
        with pytest.raises(AtlasError):
            snp(report[:n], shared)


# -------------------------------------------------------------------------------------------------------- GPU


def gpu_report() -> bytes:
    return bytes.fromhex((GPU / "hopperAttestationReport.txt").read_text())


def gpu(report: bytes, shared: Collateral | None = None, nonce: str = GPU_NONCE, **rules: Any) -> Appraisal:
    collateral = shared or Collateral.load(GPU / "hopperCertChain.txt")
    policy = json.dumps({"version": 1, "nvidia": {"unchecked_revocation": "warn"} | rules}).encode()
    return verify(
        report, collateral=collateral, at=1700000000, policy=policy, kind="nvidia", report_data=bytes.fromhex(nonce)
    )


def test_the_gpu_report_its_chain_and_firmware_hold() -> None:
    result = gpu(gpu_report())
    assert result.signature and result.hardware_rooted and result.anchor == "NVIDIA Device Identity CA"
    assert result.binding == "matched" and result.claims["driver"] == b"550.90.07\0"
    assert len(result.claims["measurements"]) == 64
    assert {c.id for c in result.checks if c.status == "not_checked"} == {"gpu.revocation", "gpu.rim", "gpu.reference"}
    assert gpu(gpu_report(), nonce="00" * 32).binding == "mismatch"
    text = (GPU / "hopperAttestationReport.txt").read_bytes()
    assert gpu(text, Collateral.load(GPU / "hopperCertChain.txt", GPU / "verifier_device_root.pem")).signature


def test_the_gpu_is_compared_with_an_operators_values() -> None:
    measurements = {str(i): [v.hex()] for i, v in read_claims(gpu_report())["measurements"].items()}
    reference = {"driver": "550.90.07", "vbios": "96.00.9F.00.01", "measurements": measurements}
    assert gpu(gpu_report(), references=[reference]).holds
    measurements["7"] = ["00" * 48]
    result = gpu(gpu_report(), references=[reference])
    assert not result.tcb and result.tcb_status == "ReferenceDiffers"


def test_every_byte_flip_of_the_gpu_report_is_refused() -> None:
    report = gpu_report()
    shared = Collateral.load(GPU / "hopperCertChain.txt")
    end = read_claims(report)["trailing_bytes"]
    signed = len(report) - end
    for position in range(signed):
        if 200 < position < signed - 1200 and position % step(4):
            continue  # inside the measurements every fourth byte is enough
        changed = bytearray(report)
        changed[position] ^= 1 << position % 8
        try:
            assert not gpu(bytes(changed), shared).signature, position
        except AtlasError:
            continue
    for n in range(signed):
        with pytest.raises(AtlasError):
            gpu(report[:n], shared)


# ------------------------------------------------------------------------------------------------ command line


def test_the_command_answers_with_one_document_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_bytes(mrtd_policy("phala v4"))
    quote, bundle, first, last, _ = QUOTES["phala v4"]
    words = ["attest", "verify", str(TDX / quote), "--collateral", str(TDX / bundle), "--json"]
    assert main([*words, "--at", str(first), "--policy", str(policy)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["signature"] == "valid" and shown["tcb"]["status"] == "UpToDate" and shown["tcb"]["advisories"] == []
    assert shown["appraisal"] == "attested" and shown["binding"] == "absent"
    assert shown["anchor"]["name"] == "Intel SGX Root CA" and shown["anchor"]["hardware_rooted"] is True
    assert main([*words, "--at", str(first)]) == 3  # no policy: unknown software
    assert main([*words, "--at", str(last + 1), "--policy", str(policy)]) == 3
    assert main([*words, "--at", "2024-01-01", "--policy", str(policy)]) == 1
    assert main([*words[:3], "--collateral", str(GPU / "verifier_device_root.pem"), "--at", str(first)]) == 4
    assert main(["attest", "verify", str(policy), *words[3:], "--at", str(first)]) == 5


def test_the_command_speaks_to_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    cos = TDX / QUOTES["google cos113"][0]
    words = ["--collateral", str(TDX / QUOTES["google cos113"][1]), "--at", "2025-02-20T00:00:00Z"]
    assert main(["attest", "verify", str(cos), *words, "--event-log", str(TDX / "google_cos113.ccel")]) == 3
    shown = capsys.readouterr().out
    assert shown.startswith("NOT ACCEPTED") and "the report data is zero" in shown
    assert main(["attest", "info", str(cos)]) == 0
    assert "not verified" in capsys.readouterr().out
    assert main(["attest", "info", str(GPU / "hopperAttestationReport.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is False
