"""Hardware evidence: show it, collect it, verify it offline.

  atlas attest info                             what this machine offers
  atlas attest info EVIDENCE                    the fields of a quote or report; nothing is verified
  atlas attest collect --out F                  ask the kernel (configfs-tsm) for a quote
  atlas attest collect --provider tpm --out F   ask a TPM
  atlas attest enroll STEP                      give a TPM's attestation key a certificate
  atlas attest fetch EVIDENCE --out F           ask Intel for what it says about that platform; the only network use
  atlas attest verify EVIDENCE --collateral C --at TIME [--policy P]

verify prints three results: signature, TCB, appraisal. Exit code: 0 all three hold under the vendor's own root, 1 not
genuine, 2 usage, 3 genuine but not accepted by the policy (or not hardware-rooted), 4 something is missing, 5
malformed, 6 could not be done or checked.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.cli.attest_enroll import add_enroll, run_enroll
from atlas.cli.options import add_json
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.tsm import Evidence

HELP = "collect and verify hardware evidence (TDX, SEV-SNP, TPM, NVIDIA)"


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError("not hexadecimal") from None


def _pcrs(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("not numbers with commas between them") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = actions.add_parser("info", help="show the fields of evidence, unverified", allow_abbrev=False)
    info.add_argument("evidence", metavar="EVIDENCE", nargs="?", help="a quote or report; without it: this machine")
    add_json(info)
    collect = actions.add_parser("collect", help="ask the kernel or a TPM for evidence", allow_abbrev=False)
    collect.add_argument(
        "--provider",
        choices=("tsm", "tpm", "azure"),
        default="tsm",
        help="tsm: the kernel, for TDX and SEV-SNP (default); tpm: a TPM 2.0; azure: a confidential VM there (network)",
    )
    collect.add_argument(
        "--out", metavar="FILE", required=True, help="where the quote or report goes; never overwritten"
    )
    collect.add_argument("--report-data", metavar="HEX", type=_hex, help="64 bytes to bind it to (default: random)")
    collect.add_argument(
        "--tsm", metavar="DIR", help="the kernel's report directory (default: /sys/kernel/config/tsm/report)"
    )
    collect.add_argument("--runtime-log", metavar="FILE", help="tsm: where the lines go that RTMR3 was extended with")
    collect.add_argument("--chain", metavar="PEM", help="tpm: certificate of the attestation key (attest enroll)")
    collect.add_argument("--pcrs", metavar="LIST", type=_pcrs, help="tpm, azure: which to quote (default 0,1,...,15)")
    add_json(collect)
    add_enroll(actions)
    fetch = actions.add_parser("fetch", help="fetch collateral for a TDX quote (network)", allow_abbrev=False)
    fetch.add_argument("evidence", metavar="EVIDENCE", help="a TDX quote")
    fetch.add_argument("--out", metavar="FILE", required=True, help="where the bundle goes; never overwritten")
    fetch.add_argument("--url", metavar="URL", help="a PCS or your own PCCS (default: Intel's PCS)")
    fetch.add_argument(
        "--update", choices=("standard", "early"), default="standard", help="early: TCB levels as soon as published"
    )
    add_json(fetch)
    _add_verify(actions.add_parser("verify", help="verify evidence offline", allow_abbrev=False))


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("evidence", metavar="EVIDENCE", help="a quote or report")
    parser.add_argument(
        "--collateral",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="what the vendor says: bundle, PCS answers, certificates, CRLs; may be repeated",
    )
    parser.add_argument(
        "--at", metavar="TIME", required=True, help="judge everything at this time (2026-02-18T12:00:00Z)"
    )
    parser.add_argument("--policy", metavar="FILE", help="what is accepted (JSON); the default names no software")
    parser.add_argument("--report-data", metavar="HEX", type=_hex, help="what the evidence must be bound to")
    parser.add_argument("--event-log", metavar="FILE", help="TDX: the CCEL log that must explain the registers")
    parser.add_argument("--runtime-log", metavar="FILE", help="TDX: the lines of the run that must explain RTMR3")
    parser.add_argument("--anchor", metavar="PEM", help="a root to use instead of the vendor's; never hardware-rooted")
    add_json(parser)


def _read(path: str) -> bytes:
    from atlas.attest import MAX_EVIDENCE_BYTES
    from atlas.files import read_regular

    return read_regular(path, limit=MAX_EVIDENCE_BYTES)


def _guest() -> dict[str, str]:
    """Are we in a TDX guest, and which one? Said by itself, signed by nobody."""
    from atlas import tdreport
    from atlas.errors import AtlasError

    try:
        fields = tdreport.read()
    except AtlasError as error:
        return {"offered": "no", "path": tdreport.DEVICE, "why": error.text}
    return {"offered": "yes", "path": tdreport.DEVICE} | {name: value.hex() for name, value in fields.items()}


def _machine() -> dict[str, dict[str, str]]:
    """What could be asked for evidence here."""
    from atlas import runtime_log, tpm, tsm
    from atlas.errors import AtlasError

    found = {
        name: {"offered": "yes" if Path(path).exists() else "no", "path": path}
        for name, path in (("tsm", tsm.REPORTS), ("rtmr3", runtime_log.REGISTER))
    } | {"tdx_guest": _guest()}
    try:
        return found | {"tpm": {"offered": "yes"} | tpm.describe()}
    except AtlasError as error:
        return found | {"tpm": {"offered": "no", "why": error.text}}


def _show_machine(args: argparse.Namespace, console: Console) -> int:
    found = _machine()
    if args.json:
        console.document({"verified": False, "machine": found})
        return 0
    console.result("evidence that this machine offers, nothing verified")
    for provider, facts in found.items():
        for name, value in facts.items():
            console.result(f"  {provider + ' ' + name:20} {escape(value)}")
    return 0


def _info(args: argparse.Namespace, console: Console) -> int:
    from atlas.attest import kind_of, plain, read_claims
    from atlas.errors import in_file

    if args.evidence is None:
        return _show_machine(args, console)
    evidence = _read(args.evidence)
    with in_file(args.evidence):
        kind = kind_of(evidence)
        claims = plain(read_claims(evidence, kind=kind))
    if args.json:
        console.document({"kind": kind, "verified": False, "claims": claims})
        return 0
    console.result(f"{kind} evidence, not verified")
    for name, value in claims.items():
        if not isinstance(value, dict):
            console.result(f"  {name:18} {'' if value is None else value}")
        else:
            console.result(f"  {name:18} {len(value)} values")
    return 0


def _ask(args: argparse.Namespace, report_data: bytes) -> Evidence:
    from atlas import tpm, tsm

    pcrs = args.pcrs if args.pcrs is not None else tpm.PCRS
    if args.provider == "tpm":
        return tpm.collect(report_data, pcrs=pcrs, chain=tpm.read_chain(args.chain) if args.chain else ())
    if args.provider == "azure":
        from atlas import azure

        return azure.collect(report_data, pcrs=pcrs)
    return tsm.collect(report_data, path=args.tsm or tsm.REPORTS)


def _ask_with_log(args: argparse.Namespace, report_data: bytes) -> tuple[Evidence, bytes | None]:
    from atlas import runtime_log
    from atlas.errors import UsageError

    if not args.runtime_log:
        return _ask(args, report_data), None
    if args.provider != "tsm":
        raise UsageError("--runtime-log is about RTMR3 of a TDX guest", where=f"--provider {args.provider}")
    with runtime_log.RuntimeLog(Path(runtime_log.REGISTER), Path(runtime_log.FOLDER)).frozen() as lines:
        return _ask(args, report_data), lines


def _collect(args: argparse.Namespace, console: Console) -> int:
    import secrets

    from atlas import tsm

    report_data = args.report_data if args.report_data is not None else secrets.token_bytes(tsm.REPORT_DATA_BYTES)
    evidence, lines = _ask_with_log(args, report_data)
    for path, data in ((args.out, evidence.raw), (args.out + ".aux", evidence.aux), (args.runtime_log, lines)):
        if data:
            with open(path, "xb") as file:  # noqa: PTH123 - x: an existing file is never overwritten
                file.write(data)
    document = {"kind": evidence.kind, "provider": evidence.provider, "report_data": report_data.hex(), "out": args.out}
    if args.json:
        console.document(document)
    else:
        console.result(f"{evidence.kind} evidence of {len(evidence.raw)} bytes, bound to {report_data.hex()}")
    return 0


def _fetch(args: argparse.Namespace, console: Console) -> int:
    from atlas import pcs

    url = args.url or pcs.PCS
    bundle = pcs.fetch(_read(args.evidence), url=url, update=args.update)
    with open(args.out, "xb") as file:  # noqa: PTH123 - x: an existing file is never overwritten
        file.write(bundle)
    if args.json:
        console.document({"out": args.out, "url": url, "bytes": len(bundle)})
    else:
        console.result(f"collateral of {len(bundle)} bytes from {url}, not yet verified")
    return 0


def _verify(args: argparse.Namespace, console: Console) -> int:
    from atlas.attest import Collateral, verify

    result = verify(
        _read(args.evidence),
        collateral=Collateral.load(*args.collateral),
        at=args.at,
        policy=_read(args.policy) if args.policy else None,
        report_data=args.report_data,
        event_log=_read(args.event_log) if args.event_log else None,
        runtime_log=_read(args.runtime_log) if args.runtime_log else None,
        anchor=_read(args.anchor) if args.anchor else None,
    )
    if args.json:
        console.document(result.to_dict() | {"exit_code": result.exit_code})
    else:
        answer, _, rest = result.explain().partition("\n")
        console.result(console.paint(answer, "green" if result.holds else "red") + "\n" + rest)
    return result.exit_code


_ACTIONS = {"info": _info, "collect": _collect, "fetch": _fetch, "enroll": run_enroll, "verify": _verify}


def run(args: argparse.Namespace, console: Console) -> int:
    return _ACTIONS[args.action](args, console)
