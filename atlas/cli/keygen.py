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
    parser.add_argument("--csr", action="store_true", help="with --tpm: no development CA, a request for a CA of yours")
    add_json(parser)


def _request(args: argparse.Namespace, console: Console) -> int:
    from atlas.tpm import key_and_request

    key, request = key_and_request(args.name, args.directory)
    if args.json:
        console.document({"name": args.name, "alg": "ES256", "files": {"key": str(key), "request": str(request)}})
        return 0
    console.result(f"{escape(str(key))}  stands for the key in the TPM")
    console.result(f"{escape(str(request))}  send it to your CA; what it issues goes beside the key as chain.pem")
    return 0


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.errors import UsageError
    from atlas.sign import keygen

    if args.csr:
        if not args.tpm:
            raise UsageError("--csr goes with --tpm", hint="for a key in a file, `openssl req -new` makes a request")
        return _request(args, console)
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
