"""Whole artifacts with their lineage, as an honest producer of the Atlas profile would sign them."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import cose, jumbf, measure, pki
from .manifest import Assertion, Manifest, Store, manifest_url, own_url, signature_url
from .measure import Content

TRAINED = "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData"
NAMESPACE = "org.atlasml"
REFERENCES = "https://manifests.example/sha256/"


class Dice:
    """Salts and URNs from a seed."""

    def __init__(self, seed: object) -> None:
        self._random = random.Random(f"forge {seed}")

    def salt(self) -> bytes:
        return self._random.randbytes(32)

    def urn(self) -> str:
        return f"urn:c2pa:{uuid.UUID(bytes=self._random.randbytes(16), version=4)}"


@dataclass(frozen=True)
class Input:
    """One input of an artifact.

    `mode` is embed, refer, or unknown (no manifest). What was read is `content`; by default what `of` is.
    """

    of: Made
    role: str = "data"
    mode: str = "embed"
    relationship: str = "inputTo"
    via: str = "torch.load"
    content: Content | None = None

    @property
    def read(self) -> Content:
        return self.of.content if self.content is None else self.content


@dataclass
class Made:
    """An artifact, its manifest store and who signed it. `name` is its logical name and its path under the root."""

    name: str
    content: Content
    party: pki.Party
    store: Store
    inputs: Sequence[Input] = ()
    signers: dict[str, pki.Party] = field(default_factory=dict)

    @property
    def urn(self) -> str:
        return self.store.active.urn

    @property
    def sidecar(self) -> bytes:
        return bytes(self.store)

    @property
    def kind(self) -> str:
        return "file" if isinstance(self.content, bytes) else "directory"

    @property
    def bound(self) -> bytes:
        return measure.bound(self.content)

    def write(self, root: Path) -> Path:
        """Artifact, sidecar and index under `root`; gives the artifact's path."""
        path = write_content(root, self.name, self.content)
        sidecar_of(path).write_bytes(self.sidecar)
        if self.kind == "directory":
            index_of(path).write_bytes(self.bound)
        return path


def sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + ".c2pa")


def index_of(path: Path) -> Path:
    return path.with_name(path.name + ".c2pa-index")


def write_content(root: Path, name: str, content: Content) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return path
    path.mkdir(exist_ok=True)
    for relative, data in content.items():
        (path / relative).parent.mkdir(parents=True, exist_ok=True)
        (path / relative).write_bytes(data)
    return path


def hashed_uri(label: str) -> dict[str, Any]:
    return {"url": own_url(label), "hash": b""}


def instance(label: str, n: int) -> str:
    """The label of the n-th assertion of its kind in one manifest."""
    return label if n == 0 else f"{label}__{n}"


def hash_data(content: Content, name: str) -> dict[str, Any]:
    name = name if isinstance(content, bytes) else f"{name}.c2pa-index"
    return {"alg": "sha256", "hash": measure.digest(measure.bound(content)), "name": name, "pad": b""}


def measurement(content: Content, name: str, *, source: str = "recorded", alg: str = "sha256") -> dict[str, Any]:
    common = {
        "version": 1,
        "name": name,
        "alg": alg,
        "tree": measure.tree(content, alg),
        "size": measure.size(content),
        "source": source,
    }
    if isinstance(content, bytes):
        return {**common, "kind": "file", "chunk": measure.CHUNK}
    extra = {"files": len(content), "index": 1, "ignore": list(measure.IGNORED), "oms": measure.oms(content)}
    return {**common, "kind": "directory", **extra}


def ingredient(entry: Input) -> dict[str, Any]:
    """The ingredient assertion; hashes of activeManifest and claimSignature are filled in when sealing."""
    title = entry.of.name
    base: dict[str, Any] = {"relationship": entry.relationship, "dc:title": title}
    base["dc:format"] = "application/octet-stream" if isinstance(entry.read, bytes) else "multipart/mixed"
    if entry.mode == "unknown":
        return base
    urn = entry.of.urn
    if entry.mode == "refer":
        sidecar = entry.of.sidecar
        digest = hashlib.sha256(sidecar).digest()
        data = {
            "url": f"{REFERENCES}{digest.hex()}.c2pa",
            "alg": "sha256",
            "hash": digest,
            "dc:format": "application/c2pa",
            "size": len(sidecar),
        }
        return {**base, "instanceID": urn, "data": data}
    validated = {"code": "claimSignature.validated", "url": signature_url(urn)}
    return {
        **base,
        "activeManifest": {"url": manifest_url(urn), "alg": "sha256", "hash": b""},
        "claimSignature": {"url": signature_url(urn), "alg": "sha256", "hash": b""},
        "validationResults": {
            "activeManifest": {"success": [validated], "informational": [], "failure": []},
            "ingredientDeltas": [],
        },
    }


def input_entry(entry: Input, label: str) -> dict[str, Any]:
    content = entry.read
    return {
        "ingredient": label,
        "name": entry.of.name,
        "kind": "file" if isinstance(content, bytes) else "directory",
        "role": entry.role,
        "alg": "sha256",
        "flat": measure.digest(measure.bound(content)),
        "tree": measure.tree(content),
        "size": measure.size(content),
        "via": entry.via,
    }


def actions(labels: Sequence[str], *, opened: str | None = None) -> dict[str, Any]:
    parameters = {"parameters": {"ingredients": [hashed_uri(label) for label in labels]}} if labels else {}
    if opened is not None:
        first = {"action": "c2pa.opened", "parameters": {"ingredients": [hashed_uri(opened)]}}
    else:
        first = {"action": "c2pa.created", "digitalSourceType": TRAINED, **parameters}
    return {"actions": [first], "allActionsIncluded": True}


def claim(urn: str, title: str, dice: Dice) -> dict[str, Any]:
    return {
        "alg": "sha256",
        "instanceID": dice.urn().replace("urn:c2pa:", "urn:uuid:"),
        "dc:title": title,
        "claim_generator_info": {
            "name": "forge",
            "version": "1",
            "specVersion": "2.4.0",
            "operating_system": "Linux",
        },
        "signature": signature_url(urn),
        "created_assertions": [],
    }


def make(
    name: str,
    content: Content,
    party: pki.Party,
    inputs: Sequence[Input] = (),
    *,
    source: str = "recorded",
    metrics: Any = None,
    extra: Mapping[str, Any] | None = None,
    asset_type: str = "c2pa.types.model.pytorch",
    envelope: cose.Envelope | None = None,
    seed: object = None,
) -> Made:
    """One honest artifact of the profile, its ancestors embedded or referred to."""
    dice = Dice((name, measure.digest(measure.bound(content)), party.name, [entry.of.urn for entry in inputs], seed))
    urn = dice.urn()
    labels = [instance("c2pa.ingredient.v3", n) for n in range(len(inputs))]
    opened = next((label for label, i in zip(labels, inputs, strict=True) if i.relationship == "parentOf"), None)
    bodies: list[tuple[str, Any]] = [("c2pa.hash.data", hash_data(content, name))]
    bodies += [(label, ingredient(entry)) for label, entry in zip(labels, inputs, strict=True)]
    bodies += [
        ("c2pa.actions.v2", actions(labels, opened=opened)),
        ("c2pa.asset-type.v2", {"types": [{"type": asset_type}]}),
        (f"{NAMESPACE}.measurement", measurement(content, name, source=source)),
    ]
    if inputs:
        entries = [input_entry(entry, label) for label, entry in zip(labels, inputs, strict=True)]
        bodies.append((f"{NAMESPACE}.inputs", {"version": 1, "inputs": entries}))
    bodies.append((f"{NAMESPACE}.run", {"run": "forge run", "parameters": {"lr": 0.1}}))
    if metrics is not None:
        bodies.append((f"{NAMESPACE}.metrics", metrics))
    bodies.append((f"{NAMESPACE}.coverage", {"version": 1, "seen": len(inputs), "gaps": []}))
    bodies += list((extra or {}).items())
    manifest = Manifest(urn, claim(urn, name, dice), [], party, envelope=envelope or cose.Envelope())
    for label, body in bodies:
        manifest.add(Assertion(label, body, dice.salt()))
    return _assembled(name, content, party, manifest, inputs)


def _assembled(name: str, content: Content, party: pki.Party, manifest: Manifest, inputs: Sequence[Input]) -> Made:
    ancestors: dict[str, Manifest] = {}
    signers = {manifest.urn: party}
    for entry in inputs:
        if entry.mode == "embed":
            ancestors.update({m.urn: m for m in entry.of.store.seal()})
            signers.update(entry.of.signers)
    store = Store([*ancestors.values(), manifest])
    return Made(name, content, party, store.seal(), inputs, signers)


def reopened(made: Made, sidecar: bytes | None = None) -> Made:
    """A copy whose store may be changed without changing the original."""
    store = Store.parse(made.sidecar if sidecar is None else sidecar, made.signers)
    return Made(made.name, made.content, made.party, store, made.inputs, dict(made.signers))


def update(made: Made, party: pki.Party, *, redact: Sequence[str] = (), seed: object = None) -> Made:
    """An update manifest over `made`; `redact` lists absolute URIs whose assertions it takes away."""
    dice = Dice(("update", made.urn, seed))
    urn = dice.urn()
    label = "c2pa.ingredient.v3"
    steps: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredients": [hashed_uri(label)]}}]
    steps += [
        {"action": "c2pa.redacted", "reason": "c2pa.trade-secret.present", "parameters": {"redacted": uri}}
        for uri in redact
    ]
    manifest = Manifest(urn, claim(urn, made.name, dice), [], party, kind=jumbf.UPDATE)
    manifest.add(Assertion(label, ingredient(Input(made, relationship="parentOf")), dice.salt()))
    manifest.add(Assertion("c2pa.actions.v2", {"actions": steps, "allActionsIncluded": True}, dice.salt()))
    if redact:
        manifest.claim["redacted_assertions"] = list(redact)
    store = reopened(made).store
    for uri in redact:
        take_out(store, uri)
    whole = Store([*store.manifests, manifest]).seal()
    return Made(made.name, made.content, party, whole, (), {**made.signers, urn: party})


def take_out(store: Store, uri: str) -> None:
    """Removes an assertion's box and leaves everything else, the claim above all, as it was."""
    urn, _, label = uri.removeprefix(manifest_url("")).partition("/c2pa.assertions/")
    manifest = store[urn]
    assert manifest.box is not None
    boxes = manifest.box["c2pa.assertions"]
    boxes.children = [child for child in boxes.children if getattr(child, "label", None) != label]
    manifest.assertions = [a for a in manifest.assertions if a.label != label]


def report(results: Mapping[str, float]) -> bytes:
    return json.dumps({"results": dict(results)}, indent=1).encode()


def line(authority: pki.Authority, length: int, *, mode: str = "embed", alg: str = "ES256") -> Made:
    """A model with `length` - 1 ancestors, one below the other."""
    party = authority.leaf(f"line {alg}", alg)
    made = make("step0/model.pt", b"step 0", party)
    for n in range(1, length):
        made = make(f"step{n}/model.pt", b"step %d" % n, party, [Input(made, "checkpoint", mode)])
    return made


def ancestry(made: Made) -> Iterable[Made]:
    """`made` and everything it was made from, each once."""
    seen: set[str] = set()
    todo = [made]
    while todo:
        node = todo.pop()
        if node.urn not in seen:
            seen.add(node.urn)
            yield node
            todo += [entry.of for entry in node.inputs]
