"""The same evidence given to dcap-qvl, another verifier: real quotes, and forged worlds under the test root. Where the
two differ stands here with what they say, and in docs/attest.md with the reason."""

from __future__ import annotations

import base64
import json
import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from forge_attest.pki import NOW
from forge_attest.tdx import Module, Svn, Tdx, td15
from forge_attest.worlds import HONEST, LEVELS, SIGNATURE, STATUSES, relaunch

from atlas.attest import Appraisal, Collateral, verify

WANTED = "0.7.0"
VECTORS = os.environ.get("ATLAS_VECTORS")
DOCS = Path(__file__).parent.parent.parent / "docs" / "attest.md"


def _missing() -> str:
    try:
        found = version("dcap-qvl")
    except PackageNotFoundError:
        return f"the dcap-qvl wheel is not installed (pip install dcap-qvl=={WANTED})"
    return "" if found == WANTED else f"the differences are those of dcap-qvl {WANTED}, and {found} is installed"


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")


def theirs(quote: bytes, bundle: str, at: int, root: bytes | None = None) -> str:
    """The status, or "refused"."""
    import dcap_qvl

    collateral = dcap_qvl.QuoteCollateralV3.from_json(bundle)
    try:
        if root is None:
            return str(dcap_qvl.verify(quote, collateral, at).status)
        return str(dcap_qvl.verify_with_root_ca(quote, collateral, root, at).status)
    except ValueError:
        return "refused"


def ours(result: Appraisal) -> str:
    """The same of our results: dcap-qvl has one answer, and refuses what is stale, revoked or may be debugged."""
    stale = any(check.id == "tdx.collateral_fresh" for check in result.failures)
    refused = result.tcb_status in ("Revoked", "NotSupported", "NotEvaluated") or result.appraisal == "rejected"
    return "refused" if not result.signature or stale or refused else result.tcb_status


# -------------------------------------------------------------------------------------------------- real quotes

WINDOWS = {  # collateral: the first and the last second at which it is valid
    "phala_v4.collateral.json": (1750329147, 1752919235),
    "fmspc_90c0_2026-02.collateral.json": (1771412331, 1774003275),
    "google_cos113_collateral": (1739418641, 1742009940),
}
QUOTES = ("phala_v4.quote", "phala_v5_unsupported.quote", "google_v5.quote", "google_cos113_v4.quote")
GENUINE = {("phala_v4.quote", "phala_v4.collateral.json"), ("google_v5.quote", "fmspc_90c0_2026-02.collateral.json")}


def bundle_of(folder: Path, name: str) -> str:
    """dcap-qvl's form, also of what was served by Intel piece by piece."""
    place = folder / name
    if place.is_file():
        return place.read_text()

    def served(file: str, member: str) -> tuple[str, str]:
        text = (place / file).read_text()
        found = re.search(rf'"{member}":(\{{.*\}}),"signature":"([0-9a-f]+)"', text)
        assert found is not None
        return found[1], found[2]

    info, info_signature = served("tcbinfo.json", "tcbInfo")
    identity, identity_signature = served("qeidentity.json", "enclaveIdentity")
    quote = (folder / "google_cos113_v4.quote").read_bytes()
    chain = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", quote, re.DOTALL)
    signers = (place / "tcb_signing_chain.pem").read_text()
    return json.dumps(
        {
            "pck_crl_issuer_chain": b"".join(chain[1:]).decode(),
            "root_ca_crl": (place / "root_ca_crl.der").read_bytes().hex(),
            "pck_crl": (place / "pck_platform_crl.der").read_bytes().hex(),
            "tcb_info_issuer_chain": signers,
            "tcb_info": info,
            "tcb_info_signature": info_signature,
            "qe_identity_issuer_chain": signers,
            "qe_identity": identity,
            "qe_identity_signature": identity_signature,
        }
    )


@pytest.mark.skipif(not VECTORS, reason="ATLAS_VECTORS is not set: no public test vectors")
@pytest.mark.parametrize("collateral", WINDOWS)
@pytest.mark.parametrize("name", QUOTES)
def test_both_answer_alike_about_real_quotes(name: str, collateral: str) -> None:
    folder = Path(VECTORS or ".") / "tdx"
    quote, bundle = (folder / name).read_bytes(), bundle_of(folder, collateral)
    first, last = WINDOWS[collateral]
    for at in (first - 1, first, (first + last) // 2, last - 1, last, last + 1):
        found = ours(verify(quote, collateral=Collateral(bundle.encode()), at=at, policy=b'{"version": 1}'))
        if name == "google_cos113_v4.quote" and found == "refused":  # bound to nothing: zero report data
            result = verify(quote, collateral=Collateral(bundle.encode()), at=at)
            if {check.id for check in result.failures} == {"tdx.report_data"}:
                found = result.tcb_status
        other = theirs(quote, bundle, at)
        if at == last and (name, collateral) in GENUINE:
            assert (found, other) == ("UpToDate", "refused"), DIFFERENCES["the last second of a CRL"]
        else:
            assert found == other, at


# ------------------------------------------------------------------------------------------------- forged worlds

DEBUG, SEPT_VE_DISABLE, MIGRATABLE = 1, 1 << 28, 1 << 29
APPRAISED = {
    "debug": Tdx(attributes=SEPT_VE_DISABLE | DEBUG),
    "SEPT_VE_DISABLE clear": Tdx(attributes=0),
    "migratable": Tdx(attributes=SEPT_VE_DISABLE | MIGRATABLE),
    "service TD": td15(mrservicetd=b"\x01" * 48),
    "reserved attribute": Tdx(attributes=SEPT_VE_DISABLE | 1 << 20),
    "zero report data": Tdx(report_data=bytes(64)),
}
WORLDS: dict[str, Tdx] = {
    **HONEST,
    **{name: world for name, (world, _, _) in SIGNATURE.items()},
    **{name: world for name, (world, _) in LEVELS.items()},
    **APPRAISED,
}

# world: our answer, dcap-qvl's
DIFFERENCES: dict[str, tuple[str, str]] = {
    "the last second of a CRL": ("UpToDate", "refused"),
    "no QE authentication data": ("UpToDate", "refused"),
    "long QE authentication data": ("UpToDate", "refused"),
    "leaf only in the quote": ("UpToDate", "refused"),
    "chain without the root": ("refused", "UpToDate"),
    "root expired": ("refused", "UpToDate"),
    "CRL from the future": ("refused", "UpToDate"),
    "PCK by another name": ("refused", "UpToDate"),
    "TCB signer by another name": ("refused", "UpToDate"),
    "SGX extension with FMSPC twice": ("refused", "UpToDate"),
    "SGX extension with an unknown part": ("refused", "UpToDate"),
    "component missing": ("refused", "UpToDate"),
    "component twice": ("refused", "UpToDate"),
    "component 256": ("refused", "UpToDate"),
    "component negative": ("refused", "UpToDate"),
    "component in a longer form": ("refused", "UpToDate"),
    "TCB info of another type": ("refused", "UpToDate"),
    "a module twice": ("refused", "UpToDate"),
    "too many levels": ("refused", "UpToDate"),
    "too many modules": ("refused", "UpToDate"),
    "another PCEID": ("refused", "UpToDate"),
    "SEAM attributes not zero": ("refused", "UpToDate"),
    "QE report data with a tail": ("refused", "UpToDate"),
    "module levels in another order": ("UpToDate", "OutOfDate"),
    "SEPT_VE_DISABLE clear": ("UpToDate", "refused"),
    "zero report data": ("refused", "UpToDate"),
}


def both(world: Tdx) -> tuple[str, str]:
    bundle = json.dumps(world.bundle())
    pem = world.anchor()
    root = base64.b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))
    policy = json.dumps({"version": 1, "tdx": {"mrtd": [world.mrtd.hex()]}}).encode()
    result = verify(
        world.quote(), collateral=Collateral(bundle.encode()), at=NOW, anchor=pem, policy=policy, kind="tdx"
    )
    return ours(result), theirs(world.quote(), bundle, NOW, root)


@pytest.mark.parametrize("name", WORLDS)
def test_both_answer_alike_about_forged_worlds_or_differ_as_documented(name: str) -> None:
    found, other = both(WORLDS[name])
    if name in DIFFERENCES:
        assert (found, other) == DIFFERENCES[name]
    else:
        assert found == other


@pytest.mark.parametrize("status", STATUSES)
def test_both_find_the_same_status_for_platform_module_and_enclave(status: str) -> None:
    for module in ("UpToDate", "OutOfDate", "Revoked"):
        for qe in ("UpToDate", "OutOfDate", "Revoked"):
            level = HONEST["version 4"].levels[0]
            world = Tdx(
                levels=(type(level)(status=status),),
                modules=(Module(levels=(Svn(4, module),)),),
                qe_levels=(Svn(4, qe),),
            )
            found, other = both(world)
            assert found == other, (module, qe)


@pytest.mark.parametrize("launch", STATUSES)
def test_both_find_the_same_status_for_launch_and_current_svn(launch: str) -> None:
    for current in STATUSES:
        found, other = both(relaunch(launch, current))
        assert found == other, current


def test_the_page_lists_every_difference() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \| [^|]+ \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    listed = {name: (ours, theirs) for name, ours, theirs in rows if ours in ("refused", "UpToDate")}
    assert listed == DIFFERENCES
