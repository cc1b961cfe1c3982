"""Make a development key: a root, a signing certificate under it, and the key.

DIR gets root.pem (give it to whoever verifies), chain.pem and key.pem (keep the key to yourself). Nothing is ever
overwritten. Teams bring certificates of their own authority instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.cli.options import add_json
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "make a development key and its root"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="directory to make the files in")
    parser.add_argument("--name", metavar="NAME", required=True, help="the signer's name, as verdicts will show it")
    parser.add_argument(
        "--alg",
        default="ES256",
        choices=("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"),
        help="signature algorithm",
    )
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.sign import keygen

    keygen(args.name, args.directory, alg=args.alg)
    folder = Path(args.directory)
    files = {name: str(folder / f"{name}.pem") for name in ("root", "chain", "key")}
    if args.json:
        console.document({"name": args.name, "alg": args.alg, "files": files})
        return 0
    console.result(f"{escape(files['key'])}    the key: keep it to yourself, never commit it")
    console.result(f"{escape(files['chain'])}  its certificates: found beside the key when signing")
    console.result(f"{escape(files['root'])}   the root: give it to whoever verifies (--trust)")
    console.note(f"next: atlas sign PATH --key {files['key']}")
    return 0
