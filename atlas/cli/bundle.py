"""Gather every manifest that a chain refers to into one directory, to hand on with the artifact.

The receiver runs `atlas verify PATH --bundle DIR`. Exit code 4 when an ancestor's manifest is nowhere to be found.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.cli.console import MISSING
from atlas.cli.options import add_json, add_manifest
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "gather the manifests of a chain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or directory")
    parser.add_argument("directory", metavar="DIR", help="where to put the manifests")
    add_manifest(parser)
    parser.add_argument("--root", metavar="DIR", help="where the artifacts of the chain lie on this machine")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.bundle import bundle

    gathered = bundle(args.path, args.directory, manifest=args.manifest, root=args.root)
    missing = [{"name": r.name, "urn": r.urn, "digest": f"{r.alg}:{r.value.hex()}"} for r in gathered.missing]
    if args.json:
        console.document({"written": [str(path) for path in gathered.written], "missing": missing})
    else:
        for path in gathered.written:
            console.result(escape(path))
    for reference in gathered.missing:
        console.note(
            f"{reference.name or reference.urn}: its manifest {reference.value.hex()} is nowhere to be found\n"
            "  get it from whoever made it, put it beside the artifact, and run this again"
        )
    return MISSING if missing else 0
