"""Notebooks: `%load_ext atlas`, then `%atlas verify out/model.pt --trust keys/root.pem` or any other verb.

`%atlas verify` and `%atlas lineage` return their result, shown as a table or a tree; the other verbs print what the
command line prints. Everything shown went through `escape_html`; there is no script in it.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from atlas.escape import escape_html

if TYPE_CHECKING:
    from atlas.lineage import Lineage
    from atlas.model import Check, Node, Verdict

_COLOURS = {"VALID": "#1a7f37", "INCOMPLETE": "#9a6700", "UNTRUSTED": "#9a6700"}
_BYTES = {"measured": "bytes match", "different": "bytes differ"}


def _cells(cells: list[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f'<{tag} style="text-align:left">{cell}</{tag}>' for cell in cells) + "</tr>"


def _node_row(node: Node, verdict: Verdict, attested: bool, logs: bool) -> str:
    from atlas.explain import evidence_words, log_words, node_name

    signer = escape_html(node.signer.name) if node.signer else "signer not known"
    measured = _BYTES.get(node.bytes, "bytes not measured")
    evidence = [escape_html(evidence_words(node) or "none")] if attested else []
    logged = [escape_html(log_words(node))] if logs else []
    name = escape_html(node_name(node, verdict))
    return _cells([name, signer, measured, *evidence, *logged, escape_html(node.answer)])


def _why(check: Check, verdict: Verdict) -> str:
    from atlas.explain import node_name

    node = verdict.nodes[check.node] if check.node < len(verdict.nodes) else None
    name = escape_html(node_name(node, verdict))
    return f"<li>{name}: {escape_html(check.text)} <code>{escape_html(check.code)}</code></li>"


def verdict_html(verdict: Verdict) -> str:
    """The verdict, why, what to do, and one row per manifest."""
    from atlas.explain import LOG, first_line, remedy

    colour = _COLOURS.get(verdict.answer, "#b3261e")
    parts = [f"<b>{escape_html(first_line(verdict))}</b>"]
    if verdict.failures:
        parts.append(f"<ul>{''.join(_why(check, verdict) for check in verdict.failures)}</ul>")
    if not verdict:
        parts.append(f"<p>{escape_html(remedy(verdict))}</p>")
    attested = any(node.evidence for node in verdict.nodes)
    logs = any(check.code.startswith(LOG) for check in verdict.checks)
    rows = "".join(_node_row(node, verdict, attested, logs) for node in verdict.nodes)
    further = [title for title, shown in (("hardware", attested), ("log", logs)) if shown]
    heads = _cells(["artifact", "signed by", "bytes", *further, "answer"], "th")
    parts.append(f"<table>{heads}{rows}</table>" if rows else "")
    return f'<div style="border-left:4px solid {colour};padding-left:1em">{"".join(parts)}</div>'


def lineage_html(graph: Lineage) -> str:
    from atlas.cli.lineage import tree

    lines = "\n".join(escape_html(line) for line in tree(graph))
    return f"<pre>{lines}</pre><small>not verified: this is what the manifests say</small>"


def atlas_magic(line: str) -> Any:
    """What `%atlas LINE` does."""
    from atlas.cli import build_parser, main
    from atlas.cli.options import policy_of
    from atlas.lineage import lineage
    from atlas.verify import verify

    words = shlex.split(line)
    args = build_parser().parse_args(words)
    if getattr(args, "json", False) or args.verb not in ("verify", "lineage"):
        main(words)
        return None
    if args.verb == "lineage":
        return lineage(args.path, manifest=args.manifest, root=args.root, bundle=args.bundle)
    return verify(
        args.path,
        policy=policy_of(args),
        manifest=args.manifest,
        root=args.root,
        bundle=args.bundle,
        tree=args.tree,
    )


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext atlas` calls."""
    from atlas.lineage import Lineage
    from atlas.model import Verdict

    shell.register_magic_function(atlas_magic, "line", "atlas")
    html = shell.display_formatter.formatters["text/html"]
    html.for_type(Verdict, verdict_html)
    html.for_type(Lineage, lineage_html)
