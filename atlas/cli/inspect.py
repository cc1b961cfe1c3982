"""Print a manifest in words: PATH is an artifact or a .c2pa file.

Nothing is verified: what is printed is what the signers wrote. --all prints every assertion of every manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from atlas.cli.console import human_size
from atlas.cli.options import add_json, add_manifest
from atlas.errors import in_file
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.entry import Manifest
    from atlas.store import Found

HELP = "print a manifest in words"
_MAX_BYTES_SHOWN = 64
_MAX_ITEMS_SHOWN = 16
_EMPTY: dict[type, str] = {dict: "{}", list: "[]", tuple: "[]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file, directory or .c2pa file")
    add_manifest(parser)
    parser.add_argument("--all", action="store_true", help="every assertion of every manifest")
    add_json(parser)


def _find(args: argparse.Namespace) -> Found:
    from atlas.files import read_regular
    from atlas.sidecar import SIDECAR_SUFFIX
    from atlas.store import Found, need_manifest

    if args.path.endswith(SIDECAR_SUFFIX) and args.manifest is None:
        return Found(read_regular(args.path), args.path)
    return need_manifest(args.path, manifest=args.manifest)


def plain(value: Any) -> Any:
    """CBOR as JSON: bytes in the notation of RFC 8949, section 8."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    return value


def _scalar(value: Any) -> str:
    if isinstance(value, bytes):
        cut = value[:_MAX_BYTES_SHOWN].hex()
        return f"{cut} ({len(value)} bytes)" if len(value) > _MAX_BYTES_SHOWN else cut or "(empty)"
    if isinstance(value, str):
        return escape(value) or '""'
    return json.dumps(value)


def dump(value: Any, indent: str = "") -> Iterator[str]:
    """Indented lines, much like YAML. Depth is bounded by the reader (ATLAS_MAX_CBOR_DEPTH)."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            lines = list(dump(item, "  "))
            yield f"{indent}{escape(key)}:" + (f" {lines.pop().strip()}" if _is_short(item) else "")
            yield from (indent + line for line in lines)
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            first, *rest = dump(item)
            yield f"{indent}- {first}"
            yield from (f"{indent}  {line}" for line in rest)
    else:
        yield indent + (_EMPTY.get(type(value)) or _scalar(value))


def brief(value: Any) -> Any:
    """The same with long lists and maps replaced by their length."""
    if isinstance(value, (dict, list, tuple)) and len(value) > _MAX_ITEMS_SHOWN:
        return f"{len(value)} entries (--all shows them)"
    if isinstance(value, dict):
        return {key: brief(item) for key, item in value.items()}
    return [brief(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_short(value: Any) -> bool:
    return not value or not isinstance(value, (dict, list, tuple))


def _generator(manifest: Manifest) -> str:
    from atlas.entry import claim_of, text_of

    info = claim_of(manifest).get("claim_generator_info")
    info = info[0] if isinstance(info, list) and info else info
    return f"{text_of(info, 'name')} {text_of(info, 'version')}" if isinstance(info, dict) else ""


def _inputs(manifest: Manifest) -> Iterator[str]:
    from atlas.entry import INPUTS, content, text_of

    entries = content(manifest, INPUTS).get("inputs")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            yield f"{text_of(entry, 'role')}: {text_of(entry, 'name')} ({text_of(entry, 'via')})"


def _gaps(manifest: Manifest) -> Iterator[str]:
    from atlas.entry import COVERAGE, content, text_of

    gaps = content(manifest, COVERAGE).get("gaps")
    for gap in gaps if isinstance(gaps, list) else []:
        if isinstance(gap, dict):
            yield f"{text_of(gap, 'what')}: {text_of(gap, 'reason')}"


def summary(manifest: Manifest) -> Iterator[str]:
    """What one wants to know first."""
    from atlas.entry import MEASUREMENT, METRICS, RUN, bindings, content, name_of, number_of, signer_of, text_of

    measured = content(manifest, MEASUREMENT)
    size = human_size(number_of(measured, "size"))
    facts = [
        ("artifact", f"{name_of(manifest)} ({text_of(measured, 'kind') or 'file'}, {size})"),
        *((form, f"{alg}:{value.hex()}") for form, alg, value in bindings(manifest)),
        ("signed by", signer_of(manifest)),
        ("written by", _generator(manifest)),
        *(("made from", text) for text in _inputs(manifest)),
        *(("not covered", text) for text in _gaps(manifest)),
    ]
    yield from (f"  {name:<11} {escape(text)}" for name, text in facts if text)
    for title, label in (("run", RUN), ("metrics", METRICS)):
        found = content(manifest, label)
        if found:
            yield f"  {title}"
            yield from dump({key: brief(item) for key, item in found.items()}, "    ")


def everything(manifest: Manifest) -> Iterator[str]:
    """Every assertion, in the manifest's order."""
    for assertion in manifest["assertions"]:
        yield f"  {escape(assertion['label'])}"
        yield from dump(assertion.get("content"), "    ")


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.entry import read_manifests

    found = _find(args)
    with in_file(found.where):
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
        console.result("")
        title = "active manifest" if number == 0 else "ancestor"
        console.result(console.paint(f"{title}  {escape(manifest['urn'])}", "bold"))
        for line in summary(manifest):
            console.result(line)
        for line in everything(manifest) if args.all else ():
            console.result(line)
    return 0
