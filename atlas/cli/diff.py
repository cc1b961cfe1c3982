"""Which tensors of two models differ?

A and B are checkpoints (torch.save, safetensors), directories of shards, or manifests (*.c2pa) whose tensor table is in
the store: then the models themselves need not be there. Nothing is loaded or unpickled, and no signature is checked:
that is what verify does.

Exit codes: 0 the same tensors, 1 they differ, 2 usage, 4 no table is there, 5 not a checkpoint that can be read,
6 could not be read.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.cli.console import FAILED, MISSING, human_size
from atlas.cli.options import add_json
from atlas.errors import NotFound
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.tensors import Difference, Entry
    from atlas.tensors.models import Model

HELP = "say which tensors of two models differ"
DIFFERENT = 1
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the model before")
    parser.add_argument("b", metavar="B", help="the model after")
    parser.add_argument("--all", action="store_true", help=f"list every tensor, not only {_SHOWN} of each kind")
    add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.files import is_there
    from atlas.sidecar import sidecar_path
    from atlas.tensors import compare
    from atlas.tensors.models import model_of

    try:
        a, b = model_of(args.a), model_of(args.b)
    except NotFound as error:
        console.fail(error)
        there = all(is_there(path) or is_there(sidecar_path(path)) for path in (args.a, args.b))
        return MISSING if there else FAILED
    difference = compare(a.table, b.table)
    if args.json:
        console.document({"a": _plain(a), "b": _plain(b)} | difference.to_dict())
    else:
        _show(difference, console, limit=None if args.all else _SHOWN)
    return 0 if difference.identical else DIFFERENT


def _plain(model: Model) -> dict[str, object]:
    return {"path": model.path, "from": model.source, "tensors": len(model.table), "root": model.table.root.hex()}


def summary(d: Difference) -> str:
    count = f"{d.unchanged} unchanged, {len(d.changed)} changed, {len(d.added)} added, {len(d.removed)} removed"
    if d.identical:
        return f"same tensors  ({d.unchanged}, {human_size(d.total)})"
    kind = "a fine-tune: same names and shapes" if d.fine_tune else "another structure"
    share = f"{100 * d.share:.1f} % of {human_size(d.total)}"
    return f"{kind}  ({count}; {share} in changed or added tensors)"


def _show(d: Difference, console: Console, limit: int | None) -> None:
    console.result(summary(d))
    lines = {
        "changed": [f"~ {escape(b.name)}  {_change(a, b)}  {human_size(b.size)}" for a, b in d.changed],
        "added": [f"+ {escape(e.name)}  {_shape(e)}  {human_size(e.size)}" for e in d.added],
        "removed": [f"- {escape(e.name)}  {_shape(e)}  {human_size(e.size)}" for e in d.removed],
    }
    for what, listed in lines.items():
        for line in listed[:limit]:
            console.result(line)
        if limit is not None and len(listed) > limit:
            console.result(f"  and {len(listed) - limit} more {what} (--all lists them)")


def _shape(entry: Entry) -> str:
    return f"{entry.dtype} [{', '.join(map(str, entry.shape))}]"


def _change(a: Entry, b: Entry) -> str:
    before, after = _shape(a), _shape(b)
    return after if before == after else f"{before} -> {after}"
