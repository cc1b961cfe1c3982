"""Verify an artifact and the whole chain behind it, offline.

Prints the verdict, why, and what to do. Exit code: 0 VALID, 1 INVALID, 2 usage, 3 UNTRUSTED, 4 INCOMPLETE, 5 MALFORMED
or LIMIT, 6 could not check.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.cli.options import add_json, add_logs, add_manifest, add_trust, policy_of

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "check an artifact and the chain behind it"
_COLOUR = {"VALID": "green", "INCOMPLETE": "yellow", "UNTRUSTED": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or directory")
    add_trust(parser)
    add_manifest(parser)
    parser.add_argument("--root", metavar="DIR", help="where the artifacts of the chain lie on this machine")
    parser.add_argument("--bundle", metavar="DIR", help="manifests gathered by `atlas bundle`")
    add_logs(parser)
    parser.add_argument("--tree", action="store_true", help="check the tree digest alone (all cores)")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.verify import verify

    verdict = verify(
        args.path,
        policy=policy_of(args),
        manifest=args.manifest,
        root=args.root,
        bundle=args.bundle,
        proofs=args.proofs,
        tree=args.tree,
        progress=console.progress(args.path),
    )
    if args.json:
        console.document(verdict.to_dict())
        return verdict.exit_code
    answer, rest = verdict.explain().split(" ", 1)
    console.result(console.paint(answer, _COLOUR.get(answer, "red")) + " " + rest)
    return verdict.exit_code
