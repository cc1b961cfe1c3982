"""What a manifest says of itself, read without a trust decision: for the store, `find`, `bundle`, `inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atlas.errors import AtlasError

MEASUREMENT = "org.atlasml.measurement"
INPUTS = "org.atlasml.inputs"
RUN = "org.atlasml.run"
DATA_USE = "org.atlasml.data-use"
METRICS = "org.atlasml.metrics"
COVERAGE = "org.atlasml.coverage"
HASH_DATA = "c2pa.hash.data"  # C2PA 2.2, 9.2.3
INGREDIENT = "c2pa.ingredient.v3"
_RUN_KEYS = ("run", "run_id", "id")
_NAME_KEYS = ("dc:title", "name")

Manifest = dict[str, Any]  # one element of _core.store_read()


@dataclass(frozen=True, slots=True)
class Entry:
    """A manifest of the store. Everything here is what its signer wrote; nothing is verified."""

    sha256: str
    urn: str
    name: str
    kind: str
    size: int
    run: str
    step: str
    added_ns: int
    digests: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """An ancestor that a manifest names by the hash of its whole sidecar."""

    alg: str
    value: bytes
    urn: str
    name: str


def is_manifest(data: bytes) -> bool:
    return data[4:8] == b"jumb"  # ISO 19566-5: LBox, then TBox of a superbox


def read_manifests(data: bytes) -> list[Manifest]:
    """Every manifest of the store that these bytes hold, the active one last. Raises what the core raises."""
    from atlas import _core

    manifests: list[Manifest] = _core.store_read(data)
    return manifests


def read_box(box: bytes) -> Manifest:
    """One manifest superbox, as a verdict's node holds it."""
    description = (30).to_bytes(4, "big") + b"jumdc2pa" + bytes.fromhex("00110010800000aa00389b71") + b"\x03c2pa\0"
    return read_manifests((8 + len(description) + len(box)).to_bytes(4, "big") + b"jumb" + description + box)[-1]


def contents(manifest: Manifest, label: str) -> Iterator[dict[str, Any]]:
    """The decoded assertions of this label, its numbered instances (`label__1`) included."""
    for assertion in manifest["assertions"]:
        content = assertion.get("content")
        if str(assertion["label"]).partition("__")[0] == label and isinstance(content, dict):
            yield content


def content(manifest: Manifest, label: str) -> dict[str, Any]:
    return next(contents(manifest, label), {})


def text_of(value: Mapping[str, object], *keys: str) -> str:
    """The first of these keys that holds a text; foreign manifests may hold anything."""
    return next((text for text in (value.get(key) for key in keys) if isinstance(text, str)), "")


def number_of(value: dict[str, Any], key: str) -> int:
    number = value.get(key)
    return number if isinstance(number, int) else 0


def bindings(manifest: Manifest) -> Iterator[tuple[str, str, bytes]]:
    """The digests of the artifact that this manifest speaks of: ("flat" or "tree", algorithm, digest)."""
    default = manifest["claim"].get("alg", "sha256")
    for form, label, key in (("flat", HASH_DATA, "hash"), ("tree", MEASUREMENT, "tree")):
        for found in contents(manifest, label):
            alg, value = found.get("alg", default), found.get(key)
            if isinstance(alg, str) and isinstance(value, bytes):
                yield form, alg, value


def name_of(manifest: Manifest) -> str:
    return text_of(content(manifest, MEASUREMENT), "name") or text_of(content(manifest, HASH_DATA), "name")


def signer_of(manifest: Manifest) -> str:
    """The name in the certificate that the signature names, not verified; "" where it cannot be read.

    COSE_Sign1 is tag 18 and an array (RFC 9052, 4.2); x5chain is header 33 (RFC 9360) or its older text label.
    """
    from atlas import _core

    try:
        protected = _core.cbor_decode(_core.cbor_decode(manifest["signature"][1:])[0])
        chain = protected.get(33, protected.get("x5chain"))
        leaf = chain[0] if isinstance(chain, list) else chain
        found = _core.certificate_info(leaf)
    except (AtlasError, LookupError, TypeError, AttributeError):
        return ""
    return text_of(found, "common_name") or text_of(found, "subject")


def describe(sha256: str, data: bytes, added_ns: int) -> Entry | None:
    """The entry of a manifest; None for bytes that are not one."""
    if not is_manifest(data):
        return None
    try:
        active = read_manifests(data)[-1]
    except (AtlasError, LookupError):
        return None
    measured = content(active, MEASUREMENT)
    run = content(active, RUN)
    return Entry(
        sha256=sha256,
        urn=str(active["urn"]),
        name=name_of(active),
        kind=text_of(measured, "kind") or "file",
        size=number_of(measured, "size"),
        run=text_of(run, *_RUN_KEYS),
        step=text_of(run, "step"),
        added_ns=added_ns,
        digests=tuple((alg, value) for _, alg, value in bindings(active)),
    )


def references(manifests: list[Manifest]) -> list[Reference]:
    """The ancestors that these manifests refer to without carrying them (docs/manifest.md, "Claim")."""
    found: list[Reference] = []
    for manifest in manifests:
        for ingredient in contents(manifest, INGREDIENT):
            data = ingredient.get("data")
            if "activeManifest" in ingredient or not isinstance(data, dict):
                continue
            alg, value = data.get("alg"), data.get("hash")
            if isinstance(alg, str) and isinstance(value, bytes):
                name = text_of(ingredient, *_NAME_KEYS)
                found.append(Reference(alg, value, text_of(ingredient, "instanceID"), name))
    return found
