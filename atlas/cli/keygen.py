"""Make a development key: a root, a signing certificate under it, and the key.

DIR gets root.pem (give it to whoever verifies), chain.pem and key.pem (keep the key to yourself), and in ca/ the root's
own key. Nothing is ever overwritten. Teams bring certificates of their own authority instead.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.cli.options import add_json
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "make a development key and its root"
_PURPOSES = {
    "key": "the key: keep it to yourself, never commit it",
    "chain": "its certificates: found beside the key when signing",
    "root": "the root: give it to whoever verifies (--trust)",
    "root_key": "the root's own key: only needed to issue another certificate, keep it elsewhere",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="directory to make the files in")
    parser.add_argument("--name", metavar="NAME", required=True, help="the signer's name, as verdicts will show it")
    parser.add_argument(
        "--alg",
        default="ES256",
        choices=("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"),
        help="signature algorithm",
    )
    parser.add_argument("--tpm", action="store_true", help="make the key in this machine's TPM; it never leaves it")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.sign import keygen

    made = keygen(args.name, args.directory, alg=args.alg, tpm=args.tpm)
    files = {"root": str(made.root), "chain": str(made.chain), "key": str(made.key), "root_key": str(made.root_key)}
    if args.json:
        console.document({"name": args.name, "alg": args.alg, "files": files})
        return 0
    width = max(map(len, files.values()))
    for name, text in _PURPOSES.items():
        console.result(f"{escape(files[name]):<{width}}  {text}")
    console.note(f"next: atlas sign PATH --key {'tpm:' if args.tpm else ''}{files['key']}")
    return 0
