"""The actions of `atlas log` on a log of this machine: init, checkpoint, prove, check."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.cli.options import add_json
from atlas.errors import UsageError, VerificationError
from atlas.escape import escape
from atlas.files import write_atomic

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.log import TileLog

INVALID = 1
_INDEX = re.compile(r"0|[1-9][0-9]{0,18}")
_LEAF = re.compile(r"[0-9a-fA-F]{64}")


def add_local_actions(actions: Any) -> None:
    init = actions.add_parser("init", help="make a log in a new folder", allow_abbrev=False)
    init.add_argument("folder", metavar="DIR", help="the log's folder, on a local disk; new or empty")
    init.add_argument("--origin", metavar="NAME", required=True, help="the log's name for ever: log.example/team")
    init.add_argument("--key", metavar="FILE", help="its private key; without it one is made, in your store")
    add_json(init)

    checkpoint = actions.add_parser("checkpoint", help="print the newest signed checkpoint", allow_abbrev=False)
    _add_folder(checkpoint)
    add_json(checkpoint)

    prove = actions.add_parser("prove", help="prove that an entry is in the log", allow_abbrev=False)
    _add_folder(prove)
    prove.add_argument("entry", metavar="INDEX|LEAF", help="its index, or its leaf hash in hexadecimal")
    prove.add_argument("--output", metavar="FILE", help="write the proof (c2sp.org/tlog-proof@v1) there")
    add_json(prove)

    check = actions.add_parser("check", help="read and hash everything in the log", allow_abbrev=False)
    _add_folder(check)
    add_json(check)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the log's folder")
    parser.add_argument(
        "--log", dest="vkey", metavar="VKEY", help="the log's verifier key, where your store does not have it"
    )


def _opened(args: argparse.Namespace, console: Console) -> TileLog:
    from atlas.log import TileLog

    log = TileLog(args.folder, vkey=args.vkey, read_only=True)
    if log.warning:
        console.note(log.warning)
    return log


def _init(args: argparse.Namespace, console: Console) -> int:
    from atlas.log import TileLog

    log = TileLog.init(args.folder, origin=args.origin, key=args.key)
    if log.warning:
        console.note(log.warning)
    if args.json:
        console.document({"folder": str(log.folder), "origin": log.origin, "key": log.vkey})
    else:
        console.result(f"made the log {escape(log.origin)}")
        console.result(f"its verifier key, for those who check it: {escape(log.vkey)}")
    return 0


def _checkpoint(args: argparse.Namespace, console: Console) -> int:
    head = _opened(args, console).head()
    if args.json:
        note = head.checkpoint.decode()
        console.document({"size": head.size, "root": head.root.hex(), "checkpoint": note})
    else:
        console.result(head.checkpoint.decode().removesuffix("\n"))
    return 0


def _index_of(log: TileLog, entry: str) -> int:
    if _INDEX.fullmatch(entry):
        return int(entry)
    if not _LEAF.fullmatch(entry):
        raise UsageError("neither an index nor a leaf hash", where=entry)
    index = log.find(bytes.fromhex(entry))
    if index is None:
        raise UsageError("the log has no entry with this leaf hash", where=entry)
    return index


def _prove(args: argparse.Namespace, console: Console) -> int:
    from atlas.remote.proof import encode_proof

    log = _opened(args, console)
    head = log.head()
    proof = log.prove(_index_of(log, args.entry), head.size)
    text = encode_proof(proof.index, proof.path, head.checkpoint)
    if args.output:
        write_atomic(Path(args.output), text)
    if args.json:
        facts = {"index": proof.index, "size": proof.size, "leaf": proof.leaf.hex(), "proof": text.decode()}
        console.document(facts)
    elif args.output:
        console.result(f"entry {proof.index} of {proof.size}, leaf {proof.leaf.hex()}: {escape(args.output)}")
    else:
        console.result(text.decode().removesuffix("\n"))
    return 0


def _check(args: argparse.Namespace, console: Console) -> int:
    log = _opened(args, console)
    wrong, told = log.check()
    size = log.head().size
    if args.json:
        files = [{"file": where, "wrong": text} for where, text in told]
        console.document({"size": size, "wrong": wrong, "files": files})
    else:
        for where, text in told:
            console.result(console.paint(f"  {escape(where)}: {escape(text)}", "red"))
        found = f"{wrong} files are wrong" if wrong else "every file hashes to the signed root"
        console.result(f"{escape(log.origin)}: {size} {'entry' if size == 1 else 'entries'}, {found}")
    return INVALID if wrong else 0


_ACTIONS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "init": _init,
    "checkpoint": _checkpoint,
    "prove": _prove,
    "check": _check,
}


def is_local(action: str) -> bool:
    return action in _ACTIONS


def run_local(args: argparse.Namespace, console: Console) -> int:
    """What was checked and is false ends with 1, as a verdict does."""
    try:
        return _ACTIONS[args.action](args, console)
    except VerificationError as error:
        console.fail(error, code=INVALID)
        return INVALID
