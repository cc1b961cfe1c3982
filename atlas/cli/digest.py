"""Print the digest of a file or directory.

The tree digest is what manifests are compared by (chunks of 1 MiB, docs/manifest.md); --flat is what sha256sum prints,
for a directory that of its index.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.cli.options import add_json
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "print the digest of a file or directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or directory")
    parser.add_argument("--flat", action="store_true", help="the plain digest over all bytes")
    parser.add_argument("--alg", choices=("sha256", "sha384", "sha512"), default="sha256", help="hash algorithm")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.measure import measure

    # --json prints everything; otherwise only what is asked for is computed
    measured = measure(
        args.path,
        alg=args.alg,
        flat=args.flat or args.json,
        tree=not args.flat or args.json,
        progress=console.progress(args.path),
    )
    if args.json:
        console.document(
            {
                "path": args.path,
                "kind": measured.kind,
                "size": measured.size,
                "files": measured.files if measured.kind == "directory" else None,
                "flat": str(measured.flat),
                "tree": str(measured.tree),
            }
        )
        return 0
    digest = measured.flat if args.flat else measured.tree
    assert digest is not None
    console.result(f"{digest.hex}  {escape(args.path)}")
    return 0
