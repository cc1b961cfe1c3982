"""Print the digest of a file or directory.

The tree digest is what manifests are compared by (chunks of 1 MiB, docs/manifest.md); --flat is what sha256sum prints,
for a directory that of its index.

Several workers may share the work, each with --blocks or --share and --out, and one puts their records together with
--merge. Of a file blocks are chunks and only the tree comes out; of a directory they are files.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from atlas.cli.options import add_cache, add_json
from atlas.errors import UsageError
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.model import Measurement

HELP = "print the digest of a file or directory"
MAX_RECORD_BYTES = 8 << 30


def _blocks(text: str) -> tuple[int, int | None]:
    first, colon, end = text.partition(":")
    if not colon or not (first + end).isascii() or not (first or "0").isdigit() or not (end or "0").isdigit():
        raise argparse.ArgumentTypeError("expected FIRST:END, such as 0:512 or 512: (END is not included)")
    return int(first or 0), int(end) if end else None


def _share(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not slash or not (number + of).isascii() or not number.isdigit() or not of.isdigit():
        raise argparse.ArgumentTypeError("expected K/N, such as 1/4")
    if not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError("K is 1 to N")
    return int(number) - 1, int(of)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", help="file or directory")
    parser.add_argument("--flat", action="store_true", help="the plain digest over all bytes")
    parser.add_argument("--alg", choices=("sha256", "sha384", "sha512"), default="sha256", help="hash algorithm")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--blocks", metavar="A:B", type=_blocks, help="measure only blocks A to B; needs --out")
    part.add_argument("--share", metavar="K/N", type=_share, help="measure the K-th of N equal shares; needs --out")
    part.add_argument("--merge", metavar="RECORD", nargs="+", help="put the records of parts together")
    parser.add_argument("--out", metavar="RECORD", help="write a record here instead of printing a digest")
    add_cache(parser)
    add_json(parser)


def _check(args: argparse.Namespace) -> None:
    is_part = args.blocks is not None or args.share is not None
    if (args.path is None) == (args.merge is None):
        raise UsageError("give one PATH, or --merge with records")
    if is_part and not args.out:
        raise UsageError("a part has no digest", hint="write its record with --out, then --merge all of them")
    if args.out and not is_part and args.merge is None:
        raise UsageError("--out goes with --blocks, --share or --merge")
    if (is_part or args.merge is not None) and args.cache != "off":
        raise UsageError("--cache does not go with parts")
    if (is_part or args.out) and args.flat:
        raise UsageError("--flat does not go with parts")


def _part(args: argparse.Namespace, console: Console) -> bytes:
    from atlas.parts import measure_part

    first, end = args.blocks or (0, None)
    return measure_part(
        args.path, first=first, end=end, share=args.share, alg=args.alg, progress=console.progress(args.path)
    )


def _merged(args: argparse.Namespace) -> bytes:
    from atlas.files import read_regular
    from atlas.parts import merge_parts

    return merge_parts(read_regular(record, limit=MAX_RECORD_BYTES) for record in args.merge)


def _document(name: str | None, measured: Measurement) -> dict[str, Any]:
    return {
        "path": name,
        "kind": measured.kind,
        "size": measured.size,
        "files": measured.files if measured.kind == "directory" else None,
        "flat": None if measured.flat is None else str(measured.flat),
        "tree": str(measured.tree),
        "cache": asdict(measured.cache),
    }


def _measured(args: argparse.Namespace, console: Console) -> Measurement:
    from atlas.measure import measure
    from atlas.parts import measurement_of

    if args.merge is not None:
        return measurement_of(_merged(args))
    # --json prints everything; otherwise only what is asked for is computed
    return measure(
        args.path,
        alg=args.alg,
        flat=args.flat or args.json,
        tree=not args.flat or args.json,
        progress=console.progress(args.path),
        cache=args.cache,
    )


def run(args: argparse.Namespace, console: Console) -> int:
    _check(args)
    if args.out:
        from pathlib import Path

        from atlas.files import write_atomic

        write_atomic(Path(args.out), _merged(args) if args.merge is not None else _part(args, console))
        if args.json:
            console.document({"path": args.path, "record": args.out})
        return 0
    measured = _measured(args, console)
    if args.json:
        console.document(_document(args.path, measured))
        return 0
    digest = measured.flat if args.flat else measured.tree
    if digest is None:
        raise UsageError("parts of a file have no flat digest", hint="atlas digest --flat FILE takes one pass")
    name = args.path if args.path is not None else f"{len(args.merge)} parts"
    console.result(f"{digest.hex}  {escape(name)}")
    return 0
