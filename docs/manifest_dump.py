"""Writes docs/manifest-dump.md: a small real manifest store, made by the command line, box by box.

python docs/manifest_dump.py             print
python docs/manifest_dump.py --write     write docs/manifest-dump.md
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas import _core

PAGE = Path(__file__).with_name("manifest-dump.md")
INTRODUCTION = """\
# A manifest, byte by byte

Made by `python docs/manifest_dump.py --write`; do not edit. Two files of 12 and 9 bytes are signed, the second with the
first as its input:

    atlas keygen --name "Alice" keys
    atlas sign data.txt --key keys/key.pem
    atlas sign model.bin --key keys/key.pem --role "training data" --ingredient data.txt

`model.bin.c2pa` then holds this: offset and size of every box, its label, then its content in CBOR's diagnostic
notation (byte strings shortened). Names, keys and types are explained in [manifest.md](manifest.md).
"""

NOTES = {
    "c2pa": "the manifest store; every manifest below it is one C2PA box",
    "c2pa.assertions": "what is stated; each box is hashed into the claim, its salt included",
    "c2pa.hash.data": "the hard binding: SHA-256 over all bytes of the artifact",
    "c2pa.ingredient.v3": "an input, and the hash of its own manifest above",
    "c2pa.actions.v2": "what was done, with which ingredients",
    "c2pa.asset-type.v2": "what kind of thing the artifact is",
    "org.atlasml.measurement": "the tree digest, so that a part can be checked alone and on many cores",
    "org.atlasml.inputs": "the bytes that were really read; compared with the ingredient's own binding",
    "org.atlasml.coverage": "how many inputs were seen, and what could not be measured",
    "c2pa.claim.v2": "the claim: hashes of all assertions; this is what is signed",
    "c2pa.signature": "COSE_Sign1 over the claim: [protected header, unprotected header, nil, signature]",
}


@dataclass(frozen=True)
class Box:
    """ISO/IEC 19566-5: LBox, TBox, payload. `label` is that of a superbox's description box."""

    offset: int
    size: int
    type: str
    payload: bytes
    depth: int
    label: str = ""


def boxes(data: bytes, offset: int = 0, depth: int = 0) -> Iterator[Box]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + size]
        box = Box(offset + at, size, kind.decode(), payload, depth)
        if box.type == "jumb":
            inner = list(boxes(payload, box.offset + 8, depth + 1))
            yield Box(box.offset, size, box.type, b"", depth, label_of(inner[0].payload))
            yield from inner[1:]
        else:
            yield box
        at += size


def label_of(description: bytes) -> str:
    """A description box: 16 bytes UUID, one byte of toggles, the label, a NUL, then perhaps a salt."""
    return description[17 : description.index(b"\0", 17)].decode()


def diagnostic(value: Any, indent: int) -> str:
    """RFC 8949, section 8, one entry per line where it does not fit on one."""
    flat = _flat(value)
    if len(flat) + indent <= 110 or not isinstance(value, dict | list):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [f"{pad}{_flat(key)}: {diagnostic(item, indent + 2)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + diagnostic(item, indent + 2) for item in value) + "\n" + " " * indent + "]"


def _flat(value: Any) -> str:
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case bytes():
            shown = value.hex() if len(value) <= 4 else f"{value[:4].hex()}..."
            return f"h'{shown}'" + (f" ({len(value)} bytes)" if len(value) > 4 else "")
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case dict():
            return "{" + ", ".join(f"{_flat(k)}: {_flat(v)}" for k, v in value.items()) + "}"
        case ("tag", number, inner):
            return f"{number}({_flat(inner)})"
        case list():
            return "[" + ", ".join(map(_flat, value)) + "]"
        case _:
            return str(value)


def signature(content: bytes) -> Any:
    """COSE_Sign1 with its protected header, which is CBOR inside a byte string, taken apart."""
    _, _, parts = _core.cbor_decode(content)
    return [_core.cbor_decode(parts[0]), *parts[1:]]


def annotated(store: bytes) -> Iterator[str]:
    label = ""
    for box in boxes(store):
        place = f"{box.offset:6d} {box.size:6d}  {'  ' * box.depth}"
        if box.type == "jumb":
            label = box.label
            note = NOTES.get(label.split("__")[0], "a manifest, named by its URN" if label.startswith("urn:") else "")
            yield f"{place}{label}" + (f"   <- {note}" if note else "")
        else:
            content = signature(box.payload) if label == "c2pa.signature" else _core.cbor_decode(box.payload)
            yield f"{place}{box.type} {diagnostic(content, len(place))}"


def make(directory: Path) -> bytes:
    """Sign the two files and give the second one's manifest store."""
    (directory / "data.txt").write_text("some numbers")
    (directory / "model.bin").write_text("a weight.")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")}
    environ["ATLAS_STORE"] = str(directory / "store")
    for line in (
        ["keygen", "--name", "Alice", "keys"],
        ["sign", "data.txt", "--key", "keys/key.pem"],
        ["sign", "model.bin", "--key", "keys/key.pem", "--role", "training data", "--ingredient", "data.txt"],
    ):
        command = [sys.executable, "-m", "atlas", *line]
        subprocess.run(command, cwd=directory, env=environ, check=True, stdout=subprocess.DEVNULL)
    return (directory / "model.bin.c2pa").read_bytes()


def page() -> str:
    with tempfile.TemporaryDirectory() as directory:
        lines = annotated(make(Path(directory)))
        return f"{INTRODUCTION}\n```text\noffset   size  box\n" + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), "utf-8")
    else:
        print(page(), end="")
