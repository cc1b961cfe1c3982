"""Print a manifest in words: PATH is an artifact or a .c2pa file.

Nothing is verified: what is printed is what the signers wrote. --all prints every assertion of the ancestors too.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from atlas.cli.console import human_size
from atlas.cli.options import add_json, add_manifest
from atlas.errors import NotFound
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.entry import Manifest
    from atlas.store import Found

HELP = "print a manifest in words"
_MAX_BYTES_SHOWN = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file, directory or .c2pa file")
    add_manifest(parser)
    parser.add_argument(
        "--all", action="store_true", help="every assertion of every manifest, not of the active one only"
    )
    add_json(parser)


def _find(args: argparse.Namespace) -> Found:
    from atlas.sidecar import SIDECAR_SUFFIX, read_regular
    from atlas.store import Found, find_manifest, looked_for

    if args.path.endswith(SIDECAR_SUFFIX) and args.manifest is None:
        return Found(read_regular(args.path), args.path)
    found = find_manifest(args.path, manifest=args.manifest)
    if found is None:
        raise NotFound("has no manifest", where=args.path, hint=f"looked for {looked_for(args.path)}")
    return found


def plain(value: Any) -> Any:
    """CBOR as JSON: bytes in the notation of RFC 8949, section 8."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _scalar(value: Any) -> str:
    if isinstance(value, bytes):
        cut = value[:_MAX_BYTES_SHOWN].hex()
        return f"{cut} ({len(value)} bytes)" if len(value) > _MAX_BYTES_SHOWN else cut or "(empty)"
    if isinstance(value, str):
        return escape(value) or '""'
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if not value or value is True
        else str(value)
    )


def dump(value: Any, indent: str) -> Iterator[str]:
    """Indented lines, much like YAML. Depth is bounded by the reader (ATLAS_MAX_CBOR_DEPTH)."""
    items: list[tuple[str, Any]]
    if isinstance(value, dict):
        items = [(f"{escape(key)}:", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [("-", item) for item in value]
    else:
        yield f"{indent}{_scalar(value)}"
        return
    for head, item in items:
        if isinstance(item, (dict, list, tuple)) and item:
            yield f"{indent}{head}"
            yield from dump(item, indent + "  ")
        else:
            empty = "{}" if isinstance(item, dict) else "[]" if isinstance(item, (list, tuple)) else None
            yield f"{indent}{head} {empty or _scalar(item)}"


def _generator(manifest: Manifest) -> str:
    from atlas.entry import text_of

    info = manifest["claim"].get("claim_generator_info")
    info = info[0] if isinstance(info, list) and info else info
    return f"{text_of(info, 'name')} {text_of(info, 'version')}" if isinstance(info, dict) else ""


def _signer(manifest: Manifest) -> str:
    from atlas.lineage import signer_of

    return signer_of(manifest)


def describe(manifest: Manifest, *, full: bool) -> Iterator[str]:
    """The lines for one manifest."""
    from atlas.entry import MEASUREMENT, bindings, content, name_of, number_of, text_of

    measured = content(manifest, MEASUREMENT)
    facts = [
        (
            "artifact",
            f"{name_of(manifest)} ({text_of(measured, 'kind') or 'file'}, {human_size(number_of(measured, 'size'))})",
        ),
        *(("digest", f"{alg}:{value.hex()}") for alg, value in bindings(manifest)),
        ("signed by", _signer(manifest)),
        ("written by", _generator(manifest)),
    ]
    yield from (f"  {name:<11} {escape(text)}" for name, text in facts if text)
    for assertion in manifest["assertions"]:
        if full:
            yield f"  {escape(assertion['label'])}"
            yield from dump(assertion.get("content"), "    ")
    if not full:
        yield f"  {'assertions':<11} {escape(', '.join(str(a['label']) for a in manifest['assertions']))}"


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.entry import read_manifests

    found = _find(args)
    manifests = read_manifests(found.data)
    sha256 = hashlib.sha256(found.data).hexdigest()
    if args.json:
        console.document(
            {
                "verified": False,
                "manifest_from": found.where,
                "sha256": sha256,
                "size": len(found.data),
                "manifests": plain(manifests),
            }
        )
        return 0
    console.result(f"{escape(found.where)}  ({len(found.data)} bytes, sha256 {sha256})")
    console.result(console.paint("not verified: this is what the signers wrote; `atlas verify` checks it", "yellow"))
    for number, manifest in enumerate(reversed(manifests)):
        console.result()
        title = "active manifest" if number == 0 else "ancestor"
        console.result(console.paint(f"{title}  {escape(manifest['urn'])}", "bold"))
        for line in describe(manifest, full=number == 0 or args.all):
            console.result(line)
    return 0
