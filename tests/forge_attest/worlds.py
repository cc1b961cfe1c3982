"""TDX worlds with one thing each that is unusual or wrong, and what Intel's rules make of it."""

from __future__ import annotations

from typing import Any

from . import der
from .pki import NOW, Crl, key
from .tdx import Level, Module, Svn, Tdx, td15

OLD = Level(status="OutOfDate")


def without(name: str) -> Any:
    return lambda d: {k: v for k, v in d.items() if k != name}


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


# Genuine, and accepted.
HONEST = {
    "version 4": Tdx(),
    "version 5, TD 1.0": Tdx(version=5),
    "TD 1.5": td15(),
    "TD 1.5 with migration history": td15(body_type=4),
    "first generation TDX module": Tdx(svn=bytes([3, 0, 5]) + bytes(13)),
    "processor CA": Tdx(configuration=None),
    "component 255": Tdx(cpu=(255,) * 16),
    "no QE authentication data": Tdx(qe_auth=b""),
    "long QE authentication data": Tdx(qe_auth=b"\x77" * 65535),
    "bytes behind the quote": Tdx(trailing=b"\x77" * 3065),
    "leaf only in the quote": Tdx(cert_type=4),
    "QE identity version 3": Tdx(identity=lambda d: d | {"version": 3}),
    "levels in any order": Tdx(levels=(OLD, Level(sgx=(1,) * 16), Level())).but(
        levels=(Level(sgx=(1,) * 16, status="OutOfDate"), Level())
    ),
    "module id in lower case": Tdx(modules=(Module(id="tdx_01"),)),
    "white space in the TCB info": Tdx(info_text=lambda t: t.replace(":", ": ").replace("T12: 00: 00", "T12:00:00")),
    "SGX parts in another order": Tdx(pck_parts=lambda p: p[::-1], tcb_parts=lambda p: p[::-1]),
}

# Not genuine: world, the check that fails, its code.
SIGNATURE: dict[str, tuple[Tdx, str, int]] = {
    # name: world, the check that fails, the code
    "PCK not signed by its CA": (Tdx(pck_wrong_key=key("other")), "pck_chain", -403),
    "CA not signed by the root": (Tdx(ca_wrong_key=key("other")), "pck_chain", -403),
    "CA that may not issue": (Tdx(ca_is_ca=False), "pck_chain", -403),
    "chain without the root": (Tdx(with_root=False), "pck_chain", -403),
    "PCK expired": (Tdx(pck_end=NOW - 1), "pck_chain", -404),
    "PCK not yet valid": (Tdx(pck_start=NOW + 1), "pck_chain", -404),
    "CA expired": (Tdx(ca_end=NOW - 1), "pck_chain", -404),
    "root expired": (Tdx(root_end=NOW - 1), "pck_chain", -404),
    "PCK revoked": (Tdx(revoked=("pck",)), "pck_chain", -405),
    "CA revoked": (Tdx(revoked=("ca",)), "pck_chain", -405),
    "TCB signer revoked": (Tdx(revoked=("signer",)), "tcb_signer", -405),
    "CRL from the future": (Tdx(crl_start=NOW + 1), "pck_chain", -404),
    "PCK CRL not signed by the CA": (Tdx(pck_crl=Crl(Tdx().ca, wrong_key=key("other"))), "pck_chain", -403),
    "root CRL not signed by the root": (Tdx(root_crl=Crl(Tdx().root, wrong_key=key("other"))), "pck_chain", -403),
    "PCK CRL of another issuer": (Tdx(pck_crl=Crl(Tdx(ca_name="ATLAS TEST other CA").ca)), "pck_chain", -202),
    "root CRL of another issuer": (Tdx(root_crl=Crl(Tdx(root_name="ATLAS TEST other").root)), "pck_chain", -202),
    "PCK by another name": (Tdx(pck_name="ATLAS TEST certificate"), "pck_profile", -402),
    "PCK without the SGX extension": (Tdx(pck_parts=lambda p: []), "pck_profile", -202),
    "SGX extension without FMSPC": (Tdx(pck_parts=lambda p: [x for x in p if x[0] != "4"]), "pck_profile", -307),
    "SGX extension without PPID": (Tdx(pck_parts=lambda p: [x for x in p if x[0] != "1"] or p), "pck_profile", -307),
    "SGX extension with FMSPC twice": (
        Tdx(pck_parts=lambda p: [*p, ("4", der.octets(bytes(6)))]),
        "pck_profile",
        -307,
    ),
    "SGX extension with an unknown part": (
        Tdx(pck_parts=lambda p: [*p, ("8", der.octets(b""))]),
        "pck_profile",
        -307,
    ),
    "FMSPC of seven bytes": (
        Tdx(pck_parts=lambda p: [(n, der.octets(bytes(7)) if n == "4" else v) for n, v in p]),
        "pck_profile",
        -307,
    ),
    "component missing": (Tdx(tcb_parts=lambda p: p[1:]), "pck_profile", -307),
    "component twice": (Tdx(tcb_parts=lambda p: [*p, p[0]]), "pck_profile", -307),
    "component 256": (Tdx(tcb_parts=lambda p: [("2.1", der.integer(256)), *p[1:]]), "pck_profile", -307),
    "component negative": (Tdx(tcb_parts=lambda p: [("2.1", der.tlv(2, b"\xff")), *p[1:]]), "pck_profile", -307),
    "component in a longer form": (
        Tdx(tcb_parts=lambda p: [("2.1", der.tlv(2, b"\0\x02")), *p[1:]]),
        "pck_profile",
        -307,
    ),
    "PCESVN beyond 16 bits": (
        Tdx(tcb_parts=lambda p: [*p[:16], ("2.17", der.integer(65536)), p[17]]),
        "pck_profile",
        -307,
    ),
    "TCB signer not signed by the root": (Tdx(signer_wrong_key=key("other")), "tcb_signer", -403),
    "TCB signer expired": (Tdx(signer_end=NOW - 1), "tcb_signer", -404),
    "TCB signer by another name": (Tdx(signer_name="ATLAS TEST Signing"), "tcb_signer", -402),
    "TCB info signature false": (Tdx(info_signature=flip), "tcb_info", -401),
    "TCB info of the future": (Tdx(info_issued=NOW + 1), "tcb_info", -404),
    "TCB info with a member twice": (
        Tdx(info_text=lambda t: t.replace('"version":3', '"version":3,"version":3', 1)),
        "tcb_info",
        -306,
    ),
    "TCB info without FMSPC": (Tdx(info=without("fmspc")), "tcb_info", -306),
    "TCB info without levels": (Tdx(info=without("tcbLevels")), "tcb_info", -306),
    "TCB info without a module": (Tdx(info=without("tdxModule")), "tcb_info", -306),
    "TCB info of another type": (Tdx(info=lambda d: d | {"tcbType": 1}), "tcb_info", -306),
    "fifteen components": (Tdx(levels=(Level(sgx=(2,) * 15),)), "tcb_info", -306),
    "seventeen TDX components": (Tdx(levels=(Level(tdx=(0,) * 17),)), "tcb_info", -306),
    "component SVN 256 in a level": (Tdx(levels=(Level(sgx=(256,) * 16),)), "tcb_info", -306),
    "a date that is none": (Tdx(info=lambda d: d | {"issueDate": "2026-02-30T00:00:00Z"}), "tcb_info", -306),
    "a module twice": (Tdx(modules=(Module(), Module(id="tdx_01"))), "tcb_info", -306),
    "a module without a number": (Tdx(modules=(Module(id="TDX_0x"),)), "tcb_info", -306),
    "a module with version 0": (Tdx(modules=(Module(id="TDX_00"),)), "tcb_info", -306),
    "too many levels": (Tdx(levels=(Level(),) * 129), "tcb_info", -300),
    "too many modules": (Tdx(modules=tuple(Module(id=f"TDX_{i:02X}") for i in range(1, 17))), "tcb_info", -300),
    "QE identity signature false": (Tdx(identity_signature=flip), "qe_identity", -401),
    "QE identity of the future": (Tdx(qe_issued=NOW + 1), "qe_identity", -404),
    "QE identity without levels": (Tdx(identity=without("tcbLevels")), "qe_identity", -306),
    "TCB info for SGX": (Tdx(info=lambda d: d | {"id": "SGX"}), "platform", -420),
    "TCB info version 2": (Tdx(info=lambda d: d | {"version": 2}), "platform", -420),
    "another FMSPC": (Tdx(info=lambda d: d | {"fmspc": "A7A500000002"}), "platform", -420),
    "another PCEID": (Tdx(info=lambda d: d | {"pceId": "0001"}), "platform", -420),
    "module version unknown": (Tdx(svn=bytes([4, 2, 5]) + bytes(13)), "module", -420),
    "module not signed by Intel": (Tdx(mrsignerseam=b"\x01" * 48), "module", -420),
    "module signer differs from its identity": (Tdx(modules=(Module(mrsigner=b"\x01" * 48),)), "module", -420),
    "SEAM attributes not zero": (
        Tdx(seam_attributes=b"\x01" + bytes(7), modules=(Module(attributes=b"\x01" + bytes(7)),)),
        "module",
        -420,
    ),
    "SEAM attributes differ": (Tdx(modules=(Module(attributes=b"\x01" + bytes(7)),)), "module", -420),
    "QE report signed by another key": (Tdx(qe_wrong_key=key("other")), "qe_report", -401),
    "QE report of another attestation key": (
        Tdx(qe_report_data=flip),
        "qe_binding",
        -420,
    ),
    "QE report data with a tail": (Tdx(qe_report_data=lambda d: d[:63] + b"\x01"), "qe_binding", -420),
    "QE identity of another enclave": (Tdx(identity=lambda d: d | {"id": "QE"}), "qe_enclave", -420),
    "QE identity version 1": (Tdx(identity=lambda d: d | {"version": 1}), "qe_enclave", -420),
    "QE MISCSELECT": (Tdx(qe_misc=1), "qe_enclave", -420),
    "QE in debug mode": (Tdx(qe_attributes=bytes.fromhex("1700000000000000e700000000000000")), "qe_enclave", -420),
    "QE signer": (Tdx(qe_mrsigner=bytes(32)), "qe_enclave", -420),
    "QE product": (Tdx(qe_prodid=3), "qe_enclave", -420),
    "quote signed by another key": (Tdx(quote_wrong_key=key("other")), "quote", -401),
    "attestation key not on the curve": (Tdx(attestation_point=b"\x01" * 64), "quote", -402),
    "attestation key of zeros": (Tdx(attestation_point=bytes(64)), "quote", -402),
    "PCK certificate nowhere": (Tdx(cert_type=3), "pck_chain", -202),
    "PPID only, without PCK": (Tdx(cert_type=1), "pck_chain", -202),
}

STATUSES = {
    "UpToDate": "UpToDate",
    "SWHardeningNeeded": "SWHardeningNeeded",
    "ConfigurationNeeded": "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "ConfigurationAndSWHardeningNeeded",
    "OutOfDate": "OutOfDate",
    "OutOfDateConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "Revoked": "Revoked",
}

# Genuine: world, and the status that its TCB has.
LEVELS: dict[str, tuple[Tdx, str]] = {
    "exactly the level": (Tdx(cpu=(2,) * 16, pcesvn=10), "UpToDate"),
    "PCESVN one below": (Tdx(pcesvn=9), "OutOfDate"),
    "a component one below": (Tdx(cpu=(2,) * 15 + (1,)), "OutOfDate"),
    "first component one below": (Tdx(cpu=(1, *(2,) * 15)), "OutOfDate"),
    "TDX component 2 one below": (Tdx(svn=bytes([4, 1, 4]) + bytes(13)), "OutOfDate"),
    "TDX component 15 one below": (Tdx(levels=(Level(tdx=(0,) * 15 + (1,)),)), "NotSupported"),
    "TDX components 0 and 1 belong to the module": (Tdx(levels=(Level(tdx=(9, 9, 5) + (0,) * 13),)), "UpToDate"),
    "without a module they are compared": (
        Tdx(svn=bytes([3, 0, 5]) + bytes(13), levels=(Level(tdx=(4, 0, 5) + (0,) * 13),)),
        "NotSupported",
    ),
    "below every level": (Tdx(cpu=(0,) * 16), "NotSupported"),
    "no levels": (Tdx(levels=()), "NotSupported"),
    "module SVN one below": (Tdx(svn=bytes([3, 1, 5]) + bytes(13)), "OutOfDate"),
    "module SVN below every level": (Tdx(svn=bytes([1, 1, 5]) + bytes(13)), "NotSupported"),
    "module without levels": (Tdx(modules=(Module(levels=()),)), "NotSupported"),
    "module levels in another order": (Tdx(modules=(Module(levels=(Svn(2, "OutOfDate"), Svn(4))),)), "UpToDate"),
    "QE SVN exactly": (Tdx(qe_svn=4), "UpToDate"),
    "QE SVN one below": (Tdx(qe_svn=3), "NotSupported"),
    "QE SVN on an older level": (Tdx(qe_svn=3, qe_levels=(Svn(4), Svn(2, "OutOfDate"))), "OutOfDate"),
    "levels sorted by PCESVN": (
        Tdx(levels=(Level(pcesvn=5, status="OutOfDate"), Level(pcesvn=10, status="UpToDate"))),
        "UpToDate",
    ),
    "levels sorted by TDX components": (
        Tdx(levels=(Level(tdx=(0, 0, 1) + (0,) * 13, status="OutOfDate"), Level())),
        "UpToDate",
    ),
}


def relaunch(launch: str, current: str) -> Tdx:
    """A platform level for each SVN, told apart by TDX component 2."""
    levels = (Level(tdx=(0, 0, 5) + (0,) * 13, status=current), Level(tdx=(0, 0, 3) + (0,) * 13, status=launch))
    return td15(levels=levels, svn=bytes([4, 1, 3]) + bytes(13), svn2=bytes([4, 1, 5]) + bytes(13))
