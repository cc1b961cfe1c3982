"""Collateral and evidence at the edge of their limits, and in pieces."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from forge_attest.gpu import Gpu
from forge_attest.pki import NOW, Cert, key, sign
from forge_attest.snp import Snp
from forge_attest.tdx import Level, Module, Svn, Tdx, pcs_body

from atlas.attest import Appraisal, Collateral, verify
from atlas.errors import LimitError, MalformedError

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def judge(world: Tdx) -> Appraisal:
    return verify(
        world.quote(), collateral=Collateral(json.dumps(world.bundle()).encode()), at=NOW, anchor=world.anchor()
    )


# ----------------------------------------------------------------------------------------------- documents twice


def test_another_valid_signature_over_the_same_document_is_another_document() -> None:
    """(r, -s) verifies wherever (r, s) does: which of them was looked at may not depend on their order."""
    world = Tdx()
    signature, _ = world.signatures()
    mirrored = signature[:32] + (P256_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    rest = world.raw_bodies()[1:]
    for one in (signature, mirrored):
        body = pcs_body("tcbInfo", world.tcb_info(), one)
        assert verify(world.quote(), collateral=Collateral(body, *rest), at=NOW, anchor=world.anchor()).signature
    with pytest.raises(MalformedError, match="two different signatures"):
        Collateral(*(pcs_body("tcbInfo", world.tcb_info(), one) for one in (signature, mirrored)))


def test_another_document_under_the_same_signature_is_refused_at_once() -> None:
    world = Tdx()
    signature, _ = world.signatures()
    texts = (world.tcb_info(), world.but(info_number=19).tcb_info())
    with pytest.raises(MalformedError, match="two different documents"):
        Collateral(*(pcs_body("tcbInfo", text, signature) for text in texts))


@pytest.mark.parametrize(
    ("member", "check"), [("tcb_info", "tdx.tcb_signer"), ("qe_identity", "tdx.qe_signer")], ids=["info", "identity"]
)
def test_a_document_of_another_pki_does_not_profit_from_the_chain_of_its_neighbour(member: str, check: str) -> None:
    world = Tdx()
    root = Cert(world.root_name, key("attacker root"), ca=True, end=world.root_end)
    signer = Cert(world.signer_name, key("attacker signer"), root)
    bundle = world.bundle()
    bundle[f"{member}_issuer_chain"] = signer.pem() + root.pem()
    bundle[f"{member}_signature"] = sign(key("attacker signer"), bundle[member].encode()).hex()
    collateral = Collateral(json.dumps(bundle).encode())
    for _ in range(2):
        result = verify(world.quote(), collateral=collateral, at=NOW, anchor=world.anchor())
        assert [(found.id, found.code) for found in result.failures] == [(check, -403)], result.explain()


# ------------------------------------------------------------------------------------------------------- limits


def test_collateral_has_a_limit_of_all_its_bytes_together() -> None:
    space = b" " * ((16 << 20) - 100)
    collateral = Collateral()
    with pytest.raises(MalformedError, match="empty"):
        collateral.core.add(space)
    with pytest.raises(LimitError, match="16777216 bytes"):
        collateral.core.add(bytes(101))
    with pytest.raises(LimitError):
        Collateral(bytes((16 << 20) + 1))


def test_more_certificates_than_a_vendor_has_are_refused() -> None:
    world = Snp()
    more = [Cert(f"ATLAS TEST {i}", key("many"), world.ark).der() for i in range(30)]
    arguments: dict[str, Any] = {"at": NOW, "anchor": world.anchor()}
    fits = verify(world.report(), collateral=Collateral(*world.collateral(), *more[:29]), **arguments)
    assert fits.failures[0].code != -300
    result = verify(world.report(), collateral=Collateral(*world.collateral(), *more), **arguments)
    assert [(check.id, check.code) for check in result.failures] == [("snp.chain", -300)]


def test_advisories_are_counted_and_never_cut() -> None:
    names = tuple(f"INTEL-SA-{i:05}" for i in range(65))
    assert len(judge(Tdx(levels=(Level(advisories=names[:64]),))).launch.advisories) == 64
    result = judge(Tdx(levels=(Level(advisories=names),)))
    assert result.signature and not result.tcb and result.tcb_status == "NotEvaluated"
    assert result.failures[0].code == -300


SVN_LEVELS = tuple(Svn(i) for i in range(4, 69))
NUMBERS: dict[str, tuple[Tdx, str, int]] = {
    "module SVN 65536": (Tdx(modules=(Module(levels=(Svn(4), Svn(65536))),)), "tdx.tcb_info", -306),
    "QE SVN 65536": (Tdx(qe_levels=(Svn(65536), Svn(4))), "tdx.qe_identity", -306),
    "PCESVN 65536": (Tdx(levels=(Level(), Level(pcesvn=65536))), "tdx.tcb_info", -306),
    "65 levels of a module": (Tdx(modules=(Module(levels=SVN_LEVELS),)), "tdx.tcb_info", -300),
    "65 levels of the QE": (Tdx(qe_levels=SVN_LEVELS), "tdx.qe_identity", -300),
    "module id with a third digit": (Tdx(modules=(Module(), Module(id="TDX_022"))), "tdx.tcb_info", -306),
    "module id cut off": (Tdx(modules=(Module(), Module(id="TDX_0"))), "tdx.tcb_info", -306),
    "module id of something else": (Tdx(modules=(Module(), Module(id="TDY_02"))), "tdx.tcb_info", -306),
    "module id with another dash": (Tdx(modules=(Module(), Module(id="TDX-02"))), "tdx.tcb_info", -306),
}


@pytest.mark.parametrize(("world", "check", "code"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_and_names_beyond_what_intel_writes_are_refused(world: Tdx, check: str, code: int) -> None:
    result = judge(world)
    assert [(found.id, found.code) for found in result.failures] == [(check, code)], result.explain()


# ------------------------------------------------------------------------------------------------------- pieces


def test_a_dump_in_pieces_is_refused() -> None:
    dump = Tdx().dump()
    sizes = [struct.unpack_from("<I", dump, 8 + 16 * i + 8)[0] for i in range(7)]
    ends = [8 + 7 * 16 + sum(sizes[: i + 1]) for i in range(7)]
    assert ends[-1] == len(dump)
    for i, end in enumerate(ends):
        with pytest.raises(MalformedError, match=f"part {i + 1} of the dump is cut off"):
            Collateral(dump[: end - 1])
    with pytest.raises(MalformedError, match="bytes after the dump"):
        Collateral(dump + b"\0")
    for n in range(8 + 7 * 16):
        with pytest.raises(MalformedError) as caught:
            Collateral(dump[:n])
        assert "dump" not in caught.value.text


@pytest.mark.parametrize("data", [b"", b" \n\t\r "])
def test_an_empty_file_is_said_to_be_empty(data: bytes) -> None:
    with pytest.raises(MalformedError, match="the file is empty"):
        Collateral(data)


def test_an_empty_quote_is_said_to_be_empty() -> None:
    with pytest.raises(MalformedError, match="the quote is empty"):
        verify(b"", collateral=Collateral(), at=NOW, kind="tdx")


def test_a_gpu_report_in_pieces_is_refused() -> None:
    report = Gpu().report()
    arguments: dict[str, Any] = {"collateral": Collateral(), "at": NOW, "kind": "nvidia"}
    for n in range(37):
        with pytest.raises(MalformedError, match="the request is cut off"):
            verify(report[:n], **arguments)
    with pytest.raises(MalformedError, match="half a byte"):
        verify(report.hex().encode()[:-1], **arguments)


def test_a_measurement_that_the_gpu_did_not_report_is_said_to_be_missing() -> None:
    world = Gpu()
    reference = {"driver": "550.90.07", "vbios": "96.00.9F.00.01", "measurements": {"9": ["00" * 48]}}
    policy = json.dumps({"version": 1, "nvidia": {"references": [reference]}}).encode()
    collateral = Collateral(*world.collateral())
    result = verify(world.report(), collateral=collateral, at=NOW, anchor=world.anchor(), policy=policy)
    assert "the report has no measurement 9" in next(c.text for c in result.checks if c.id == "gpu.reference")
