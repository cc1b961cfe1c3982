"""Manifests and stores: built or taken apart, changed at any level, and sealed again.

A change followed by `Store.seal()` leaves every hash and every signature right, so that a test meets the rule it is
about and not a broken digest. `Frozen` hashed URIs and the hooks of `Manifest` keep what must stay wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2

from . import cbor, cose, jumbf
from .jumbf import Box, Super

PREFIX = "self#jumbf="


class Frozen(dict[str, Any]):
    """A hashed URI whose hash is not put right when sealing."""


def manifest_url(urn: str) -> str:
    return f"{PREFIX}/c2pa/{urn}"


def signature_url(urn: str) -> str:
    return f"{manifest_url(urn)}/c2pa.signature"


def assertion_url(urn: str, label: str) -> str:
    return f"{manifest_url(urn)}/c2pa.assertions/{label}"


def own_url(label: str) -> str:
    return f"{PREFIX}c2pa.assertions/{label}"


@dataclass
class Assertion:
    """`content` is the decoded CBOR, or cbor.Raw for bytes of one's own (also for `kind` json)."""

    label: str
    content: Any
    salt: bytes | None = None
    kind: bytes = b"cbor"
    type: bytes = b"cbor"  # of the superbox
    extra: list[Box | Super] = field(default_factory=list)  # further boxes after the content

    def box(self) -> Super:
        content = Box(self.kind, cbor.dumps(self.content))
        return Super(self.type, self.label, [content, *self.extra], self.salt)


def _same(thing: Any) -> Any:
    return thing


@dataclass
class Manifest:
    """One manifest. While `box` is set its bytes are final; `touch` makes the next seal build them anew."""

    urn: str
    claim: dict[str, Any]
    assertions: list[Assertion]
    signer: Any = None
    kind: bytes = jumbf.MANIFEST
    envelope: cose.Envelope = field(default_factory=cose.Envelope)
    claim_label: str = "c2pa.claim.v2"
    encode_claim: Callable[[bytes], bytes] = _same  # the claim's bytes before they are signed
    replace_claim: Callable[[bytes], bytes] = _same  # ... and after
    reshape: Callable[[Super], Super] = _same  # the finished tree
    box: Super | None = None

    @staticmethod
    def parse(box: Super, signer: Any = None) -> Manifest:
        store = box["c2pa.assertions"]
        assertions = []
        for item in store.children:
            assert isinstance(item, Super)
            content = item.children[0]
            assert isinstance(content, Box)
            decoded = cbor.loads(content.payload) if content.kind == b"cbor" else cbor.Raw(content.payload)
            assertions.append(Assertion(item.label, decoded, item.salt, content.kind, item.kind, item.children[1:]))
        claim_box = next(child for child in box.children if isinstance(child, Super) and child.kind == jumbf.CLAIM)
        content = claim_box.children[0]
        assert isinstance(content, Box)
        return Manifest(
            box.label,
            cbor.loads(content.payload),
            assertions,
            signer,
            box.kind,
            claim_label=claim_box.label,
            box=box,
        )

    def touch(self) -> Manifest:
        self.box = None
        return self

    def __getitem__(self, label: str) -> Assertion:
        return next(assertion for assertion in self.assertions if assertion.label == label)

    def find(self, prefix: str) -> list[Assertion]:
        """The assertions of that label and its further instances."""
        return [a for a in self.assertions if a.label == prefix or a.label.startswith(prefix + "__")]

    def add(self, assertion: Assertion, *, at: int | None = None, listed: str = "created_assertions") -> None:
        self.assertions.insert(len(self.assertions) if at is None else at, assertion)
        entry = {"url": own_url(assertion.label), "hash": b""}
        entries = self.claim.setdefault(listed, [])
        entries.insert(len(entries) if at is None else at, entry)
        self.touch()

    def remove(self, label: str) -> None:
        """Takes an assertion away, from the box tree and from the claim."""
        self.assertions = [a for a in self.assertions if a.label != label]
        for key in "created_assertions", "gathered_assertions":
            if key in self.claim:
                self.claim[key] = [entry for entry in self.claim[key] if entry["url"] != own_url(label)]
        self.touch()

    @property
    def claim_bytes(self) -> bytes:
        assert self.box is not None
        content = next(c for c in self.box.children if isinstance(c, Super) and c.kind == jumbf.CLAIM).children[0]
        assert isinstance(content, Box)
        return content.payload

    @property
    def signature(self) -> cose.Sign1:
        assert self.box is not None
        content = self.box["c2pa.signature"].children[0]
        assert isinstance(content, Box)
        return cose.Sign1.parse(content.payload)

    @property
    def ingredients(self) -> list[Assertion]:
        return self.find("c2pa.ingredient.v3")

    def parents(self) -> list[str]:
        """URNs that the ingredients point to."""
        found = []
        for item in self.ingredients:
            if isinstance(item.content, dict) and "activeManifest" in item.content:
                found.append(item.content["activeManifest"]["url"].removeprefix(manifest_url("")))
        return found

    def seal(self, boxes: Mapping[str, Super]) -> None:
        """Builds the box. `boxes` holds the sealed manifests by URN."""
        own: dict[str, Super] = {}
        first = [a for a in self.assertions if a.label.startswith("c2pa.ingredient")]
        for assertion in first + [a for a in self.assertions if a not in first]:
            assertion.content = _repaired(assertion.content, self.urn, own, boxes)
            own.setdefault(assertion.label, assertion.box())
        self.claim = _repaired(self.claim, self.urn, own, boxes)
        claim = self.encode_claim(cbor.dumps(self.claim))
        signature = cose.seal(claim, self.signer, self.envelope)
        tree = Super(
            self.kind,
            self.urn,
            [
                Super(jumbf.ASSERTIONS, "c2pa.assertions", [a.box() for a in self.assertions]),
                Super(jumbf.CLAIM, self.claim_label, [Box(b"cbor", self.replace_claim(claim))]),
                Super(jumbf.SIGNATURE, "c2pa.signature", [Box(b"cbor", signature)]),
            ],
        )
        self.box = self.reshape(tree)


def _repaired(item: Any, urn: str, own: Mapping[str, Super], boxes: Mapping[str, Super]) -> Any:
    """The same item with the hash of every hashed URI put right that leads to a known box."""

    def visit(node: Any) -> Any:
        match node:
            case Frozen() | cbor.Raw() | cbor.Pairs():
                return node
            case cbor2.CBORTag():
                return cbor2.CBORTag(node.tag, visit(node.value))
            case list():
                return [visit(entry) for entry in node]
            case dict():
                changed = {key: visit(value) for key, value in node.items()}
                if isinstance(node.get("url"), str) and "hash" in node:
                    target = _resolve(node["url"], urn, own, boxes)
                    if target is not None and node.get("alg", "sha256") in ("sha256", "sha384", "sha512"):
                        changed["hash"] = target.digest(node.get("alg", "sha256"))
                return changed
        return node

    return visit(item)


def _resolve(url: str, urn: str, own: Mapping[str, Super], boxes: Mapping[str, Super]) -> Super | None:
    path = url.removeprefix(PREFIX)
    if not path.startswith("/c2pa/"):
        return own.get(path.removeprefix("c2pa.assertions/"))
    target, *rest = path.removeprefix("/c2pa/").split("/")
    if target == urn:
        return own.get(rest[-1]) if rest else None
    box: Super | None = boxes.get(target)
    for label in rest:
        try:
            box = box[label] if box else None
        except KeyError:
            return None
    return box


@dataclass
class Store:
    """A manifest store; the active manifest is the last one."""

    manifests: list[Manifest]
    reshape: Callable[[Super], Super] = _same

    @staticmethod
    def parse(data: bytes, signers: Mapping[str, Any] | None = None) -> Store:
        """`signers`: who signs each URN when it is sealed again."""
        tree = jumbf.parse(data)
        found = []
        for box in tree.children:
            assert isinstance(box, Super)
            found.append(Manifest.parse(box, (signers or {}).get(box.label)))
        return Store(found)

    @property
    def active(self) -> Manifest:
        return self.manifests[-1]

    def __getitem__(self, urn: str) -> Manifest:
        return next(manifest for manifest in self.manifests if manifest.urn == urn)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self.manifests)

    def seal(self) -> Store:
        """Builds every touched manifest anew, and those above it, in the store's order."""
        fresh: set[str] = set()
        boxes: dict[str, Super] = {m.urn: m.box for m in self.manifests if m.box is not None}
        for manifest in self.manifests:
            if manifest.box is not None and fresh.isdisjoint(manifest.parents()):
                continue
            manifest.seal(boxes)
            assert manifest.box is not None
            boxes[manifest.urn] = manifest.box
            fresh.add(manifest.urn)
        return self

    def tree(self) -> Super:
        return self.reshape(Super(jumbf.STORE, "c2pa", [m.box for m in self.manifests if m.box is not None]))

    def __bytes__(self) -> bytes:
        self.seal()
        return bytes(self.tree())
