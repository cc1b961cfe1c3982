"""Show what an artifact was made from, as its manifests tell it.

A tree, the artifact on top. Something that went into several things is shown once and then referred to by its number.
Nothing is verified: `atlas verify` does that.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from atlas.cli.console import human_size
from atlas.cli.options import add_json, add_manifest
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.lineage import Lineage, Link, Origin

HELP = "show what an artifact was made from"
MAX_DEPTH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or directory")
    add_manifest(parser)
    parser.add_argument("--root", metavar="DIR", help="where the artifacts of the chain lie on this machine")
    parser.add_argument("--bundle", metavar="DIR", help="manifests gathered by `atlas bundle`")
    parser.add_argument(
        "--depth", metavar="N", type=int, default=MAX_DEPTH, help=f"levels to show (default {MAX_DEPTH})"
    )
    add_json(parser)


def _facts(node: Origin) -> str:
    facts = [f"signed by {escape(node.signer)}" if node.signer else "signer unreadable", human_size(node.size)]
    if node.step:
        facts.append(f"step {escape(node.step)}")
    return ", ".join(facts)


def tree(graph: Lineage, depth: int = MAX_DEPTH) -> Iterator[str]:
    """The lines of the tree. Iterative: a chain is as deep as its signers made it."""
    several = _used_more_than_once(graph)
    numbers: dict[str, int] = {}
    stack: list[tuple[str, str, Link | None, str]] = [("", "", None, graph.root)]
    while stack:
        prefix, branch, link, urn = stack.pop()
        role = f"{escape(link.role)}: " if link else ""
        node = graph.nodes.get(urn)
        if node is None or (link is not None and link.state != "known"):
            yield f"{prefix}{branch}{role}{escape(link.name if link else urn)}  ({link.state if link else 'missing'})"
            continue
        name = escape(node.name or urn)
        if urn in numbers:
            yield f"{prefix}{branch}{role}{name}  (see [{numbers[urn]}])"
            continue
        mark = ""
        if urn in several:
            numbers[urn] = len(numbers) + 1
            mark = f"[{numbers[urn]}] "
        yield f"{prefix}{branch}{role}{mark}{name}  ({_facts(node)})"
        below = prefix + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        if node.inputs and len(below) // 3 >= depth:
            yield f"{below}└─ {len(node.inputs)} inputs not shown; --depth shows more levels"
            continue
        last = len(node.inputs) - 1
        stack += [
            (below, "└─ " if i == last else "├─ ", node.inputs[i], node.inputs[i].target) for i in range(last, -1, -1)
        ]


def _used_more_than_once(graph: Lineage) -> set[str]:
    seen: set[str] = {graph.root}
    again: set[str] = set()
    for node in graph.nodes.values():
        for link in node.inputs:
            (again if link.target in seen else seen).add(link.target)
    return again


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.lineage import lineage

    graph = lineage(args.path, manifest=args.manifest, root=args.root, bundle=args.bundle)
    if args.json:
        console.document({"path": args.path, **graph.to_dict()})
        return 0
    for line in tree(graph, args.depth):
        console.result(line)
    console.note("this is what the manifests say; `atlas verify` checks it")
    return 0
