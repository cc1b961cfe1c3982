"""The actions of `atlas attest enroll`: a CA gives the attestation key of a TPM a certificate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas.cli.console import Console

MAX_FILE_BYTES = 1 << 20


def add_enroll(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    enroll = actions.add_parser("enroll", help="give a TPM's attestation key a certificate", allow_abbrev=False)
    steps = enroll.add_subparsers(dest="step", metavar="STEP", required=True)
    request = steps.add_parser("request", help="TPM: say which keys it has", allow_abbrev=False)
    request.add_argument("--out", metavar="FILE", required=True, help="for the CA")
    challenge = steps.add_parser("challenge", help="CA: a secret that only that TPM can read", allow_abbrev=False)
    challenge.add_argument("request", metavar="REQUEST")
    challenge.add_argument(
        "--ek-roots", metavar="PEM", help="roots of TPM vendors; else any TPM is taken, and none named"
    )
    challenge.add_argument("--ek-chain", metavar="PEM", help="certificates between the TPM's own and its root")
    challenge.add_argument("--out", metavar="FILE", required=True, help="for the TPM")
    challenge.add_argument("--state", metavar="FILE", required=True, help="kept by the CA until the answer comes")
    answer = steps.add_parser("answer", help="TPM: read the secret", allow_abbrev=False)
    answer.add_argument("challenge", metavar="CHALLENGE")
    answer.add_argument("--out", metavar="FILE", required=True, help="for the CA")
    issue = steps.add_parser("issue", help="CA: issue the certificate if the answer is right", allow_abbrev=False)
    issue.add_argument("answer", metavar="ANSWER")
    issue.add_argument("--state", metavar="FILE", required=True, help="what `challenge` kept")
    issue.add_argument("--ca", metavar="PEM", required=True, help="the CA's certificate")
    issue.add_argument("--ca-key", metavar="PEM", required=True, help="the CA's private key")
    issue.add_argument("--name", metavar="NAME", required=True, help="of the machine, as verdicts will show it")
    issue.add_argument(
        "--years", metavar="N", type=int, default=2, help="how long the certificate is valid (default 2)"
    )
    issue.add_argument("--out", metavar="FILE", required=True, help="the certificate, for `collect --chain`")


def _read(path: str) -> bytes:
    from atlas.files import read_regular

    return read_regular(path, limit=MAX_FILE_BYTES)


def _create(path: str, data: bytes) -> None:
    """Never over something that is there."""
    with Path(path).open("xb") as file:
        file.write(data)


def _request(args: argparse.Namespace) -> str:
    from atlas import enroll

    _create(args.out, enroll.request())
    return f"{args.out}: give it to the CA"


def _challenge(args: argparse.Namespace) -> str:
    from atlas import enroll

    roots = _read(args.ek_roots) if args.ek_roots else None
    chain = _read(args.ek_chain) if args.ek_chain else None
    challenge, state = enroll.challenge(_read(args.request), ek_roots=roots, ek_chain=chain)
    _create(args.state, state)
    _create(args.out, challenge)
    vouched = "its endorsement certificate chains to a given root" if roots else "nobody vouches for this TPM"
    return f"{args.out}: give it to the TPM ({vouched}); keep {args.state}"


def _answer(args: argparse.Namespace) -> str:
    from atlas import enroll

    _create(args.out, enroll.answer(_read(args.challenge)))
    return f"{args.out}: give it to the CA"


def _issue(args: argparse.Namespace) -> str:
    from atlas import enroll

    pem = enroll.issue(
        _read(args.state),
        _read(args.answer),
        ca=_read(args.ca),
        ca_key=_read(args.ca_key),
        name=args.name,
        years=args.years,
    )
    _create(args.out, pem)
    return f"{args.out}: certificate of the attestation key of {args.name}"


_STEPS = {"request": _request, "challenge": _challenge, "answer": _answer, "issue": _issue}


def run_enroll(args: argparse.Namespace, console: Console) -> int:
    console.result(_STEPS[args.step](args))
    return 0
