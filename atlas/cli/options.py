"""Options that several verbs share."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.errors import UsageError
from atlas.sidecar import read_regular

if TYPE_CHECKING:
    from atlas.policy import Policy

MAX_KEY_BYTES = 1 << 20
MAX_PASSWORD_BYTES = 4096


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", metavar="FILE", help="the manifest to use instead of the sidecar or the store's")


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


def policy_of(args: argparse.Namespace) -> Policy:
    from atlas.policy import resolve_policy

    return resolve_policy(
        args.policy, trust=args.trust, tsa_trust=args.tsa_trust, crls=args.crl, signer=args.signer, at=args.at
    )


def _first_line(data: bytes) -> bytes:
    return data.split(b"\n", 1)[0].removesuffix(b"\r")


def read_password(args: argparse.Namespace, what: str, *, confirm: bool = False) -> bytes:
    """From a file, the environment or a prompt; never from an argument, which every process on the machine can read."""
    if args.password_file:
        return _first_line(read_regular(args.password_file, limit=MAX_PASSWORD_BYTES))
    if "ATLAS_KEY_PASSWORD" in os.environ:
        return os.fsencode(os.environ["ATLAS_KEY_PASSWORD"])
    if not sys.stdin.isatty():
        raise UsageError(
            "the key is encrypted and there is no terminal to ask for its password",
            where=what,
            hint="use --password-file FILE or the environment variable ATLAS_KEY_PASSWORD",
        )
    password = getpass.getpass(f"password of {what}: ")
    if confirm and getpass.getpass("again: ") != password:
        raise UsageError("the two passwords differ")
    return password.encode()


def key_password(args: argparse.Namespace, key: str) -> bytes | None:
    """The password of a key file, asked for only when the file is encrypted."""
    encrypted = b"ENCRYPTED" in read_regular(key, limit=MAX_KEY_BYTES)
    return read_password(args, str(Path(key))) if encrypted else None
