"""Which run made this file? Asks the store by digest, so names and places do not matter.

Nothing is verified here: what is printed is what the signers wrote. Exit code 4 when the store does not know the file.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atlas.cli.console import MISSING
from atlas.cli.options import add_json
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.entry import Entry

HELP = "name the run that made a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="file or directory")
    add_json(parser)


def _when(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.added_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(entry: Entry) -> dict[str, Any]:
    plain = asdict(entry) | {"added": _when(entry), "digests": [f"{alg}:{value.hex()}" for alg, value in entry.digests]}
    del plain["added_ns"]
    return plain


def _line(entry: Entry) -> str:
    made = f"run {escape(entry.run)}" if entry.run else "signed by hand"
    step = f", step {escape(entry.step)}" if entry.step else ""
    return f"{made}{step}  {_when(entry)}  as {escape(entry.name or '?')}\n  {escape(entry.urn)}\n  {entry.sha256}"


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.measure import measure
    from atlas.store import Store

    store = Store()
    measured = measure(args.path, progress=console.progress(args.path))
    found: dict[str, Entry] = {}
    for digest in (measured.flat, measured.tree):
        for entry in store.find(digest) if digest is not None else ():
            found.setdefault(entry.sha256, entry)
    entries = sorted(found.values(), key=lambda entry: entry.added_ns, reverse=True)
    if args.json:
        console.document({"path": args.path, "store": str(store.directory), "found": [_plain(e) for e in entries]})
    elif entries:
        for entry in entries:
            console.result(_line(entry))
    if not entries:
        console.note(
            f"{args.path}: the store {store.directory} does not know these bytes\n"
            "  ATLAS_STORE names another store; `atlas inspect` reads a sidecar"
        )
    return 0 if entries else MISSING
