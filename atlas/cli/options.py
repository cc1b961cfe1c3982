"""Options that several verbs share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.files import read_regular
from atlas.model import CACHE_LEVELS

if TYPE_CHECKING:
    from atlas.policy import Policy

MAX_PASSWORD_BYTES = 4096


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", metavar="FILE", help="the manifest to use instead of the sidecar or the store's")


def add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        choices=CACHE_LEVELS,
        default="off",
        help="do not read files again that have not changed since, by what the file system says (default: off)",
    )


def add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help="first line is the key's password (else ATLAS_KEY_PASSWORD, else a prompt on a terminal)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    trust = parser.add_argument_group("whom to trust (never taken from the artifact's folder)")
    trust.add_argument(
        "--trust",
        metavar="ROOTS",
        action="append",
        help="PEM roots: a file, or a directory of *.pem (else ATLAS_TRUST, else ~/.config/atlas/roots.pem)",
    )
    trust.add_argument(
        "--policy", metavar="FILE", help="policy file (else ATLAS_POLICY, else ~/.config/atlas/policy.json)"
    )
    trust.add_argument(
        "--signer",
        metavar="NAME|SPKI",
        action="append",
        default=[],
        help="accept only this signer, throughout the chain",
    )
    trust.add_argument("--crl", metavar="FILE", action="append", default=[], help="certificate revocation list")
    trust.add_argument("--tsa-trust", metavar="ROOTS", action="append", help="PEM roots of time-stamping authorities")
    trust.add_argument("--at", metavar="TIME", help="check as of this time (2026-11-21 or 2026-11-21T12:00:00Z)")
    evidence = parser.add_argument_group("hardware evidence")
    evidence.add_argument(
        "--require-evidence",
        choices=("session", "artifact"),
        help="every manifest must carry evidence that holds: for its run, or for the artifact itself",
    )
    evidence.add_argument("--appraisal", metavar="FILE", help="what evidence is accepted (JSON, docs/attest.md)")
    evidence.add_argument(
        "--evidence-anchor", metavar="PEM", help="a root instead of the hardware vendors'; such evidence never holds"
    )


def add_logs(parser: argparse.ArgumentParser) -> None:
    logs = parser.add_argument_group("transparency logs (docs/log-proofs.md)")
    logs.add_argument(
        "--log-policy",
        metavar="FILE",
        help="logs, witnesses and quorum (else ATLAS_LOG_POLICY, ~/.config/atlas/log.policy, logs that you made)",
    )
    logs.add_argument("--require-log", action="store_true", help="every signature must be proven to be logged")
    logs.add_argument("--proofs", metavar="DIR", help="proofs of ancestors, named by leaf hash")
    logs.add_argument(
        "--offline", action="store_true", help="make no network call; verification never does, so this changes nothing"
    )


def policy_of(args: argparse.Namespace) -> Policy:
    from atlas.policy import resolve_policy

    return resolve_policy(
        args.policy,
        trust=args.trust,
        tsa_trust=args.tsa_trust,
        crls=args.crl,
        signer=args.signer,
        at=args.at,
        require_evidence=args.require_evidence,
        appraisal=args.appraisal,
        evidence_anchor=args.evidence_anchor,
        log_policy=getattr(args, "log_policy", None),
        require_log=getattr(args, "require_log", False),
    )


def password_of(args: argparse.Namespace) -> bytes | None:
    """The first line of --password-file; None leaves the environment and the prompt to `load_signer`.

    There is no option for the password itself: every process on the machine can read argv.
    """
    if not args.password_file:
        return None
    return read_regular(args.password_file, limit=MAX_PASSWORD_BYTES).split(b"\n", 1)[0].removesuffix(b"\r")
