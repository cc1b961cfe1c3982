"""Lineage: the graph behind an artifact, as the manifests tell it. No trust decision, no artifact is read.

Ancestors that are embedded are read from the manifest itself; those that are referred to by hash are looked for in
bundle, sidecars and store, and their hash is checked. What nobody signed stays a leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from atlas.entry import (
    INGREDIENT,
    INPUTS,
    MEASUREMENT,
    RUN,
    Manifest,
    content,
    name_of,
    number_of,
    read_manifests,
    signer_of,
    text_of,
)
from atlas.errors import AtlasError, in_file
from atlas.files import StrPath
from atlas.locate import Locator
from atlas.model import Digest
from atlas.store import Store, need_manifest

MAX_NODES = 65536  # ATLAS_MAX_NODES of atlas.h

State = Literal["known", "unknown provenance", "manifest missing"]


@dataclass(frozen=True, slots=True)
class Link:
    """An input of a manifest; `target` is the URN of its own manifest."""

    name: str
    role: str
    relationship: str
    target: str
    state: State


@dataclass(frozen=True, slots=True)
class Origin:
    """A manifest of the graph. Every text is what its signer wrote."""

    urn: str
    name: str
    kind: str
    size: int
    signer: str
    step: str
    inputs: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    manifest_from: str
    root: str
    nodes: dict[str, Origin]

    def to_dict(self) -> dict[str, Any]:
        return {
            "verified": False,
            "manifest_from": self.manifest_from,
            "root": self.root,
            "nodes": [asdict(node) for node in self.nodes.values()],
        }


def _ingredients(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    for assertion in manifest["assertions"]:
        label, found = str(assertion["label"]), assertion.get("content")
        if label.partition("__")[0] == INGREDIENT and isinstance(found, dict):
            yield label, found


def _inputs(manifest: Manifest) -> dict[str, dict[str, Any]]:
    entries = content(manifest, INPUTS).get("inputs")
    listed = entries if isinstance(entries, list) else []
    return {text_of(entry, "ingredient"): entry for entry in listed if isinstance(entry, dict)}


class _Walk:
    """Collects manifests by URN; each is read once, so cycles and diamonds cost nothing."""

    def __init__(self, locator: Locator, manifests: list[Manifest]) -> None:
        self._locator = locator
        self._by_urn: dict[str, Manifest] = {}
        self.nodes: dict[str, Origin] = {}
        self._add(manifests)

    def _add(self, manifests: list[Manifest]) -> None:
        for manifest in manifests:
            self._by_urn.setdefault(str(manifest["urn"]), manifest)

    def run(self, root: str) -> None:
        todo = [root]
        while todo and len(self.nodes) < MAX_NODES:
            urn = todo.pop()
            if urn in self.nodes:
                continue
            self.nodes[urn] = node = self._origin(self._by_urn[urn])
            todo += [link.target for link in reversed(node.inputs) if link.state == "known"]

    def _origin(self, manifest: Manifest) -> Origin:
        measured = content(manifest, MEASUREMENT)
        entries = _inputs(manifest)
        return Origin(
            urn=str(manifest["urn"]),
            name=name_of(manifest),
            kind=text_of(measured, "kind") or "file",
            size=number_of(measured, "size"),
            signer=signer_of(manifest),
            step=text_of(content(manifest, RUN), "step"),
            inputs=tuple(self._link(found, entries.get(label, {})) for label, found in _ingredients(manifest)),
        )

    def _link(self, ingredient: dict[str, Any], entry: dict[str, Any]) -> Link:
        name = text_of(entry, "name") or text_of(ingredient, "dc:title")
        target, state = self._target(ingredient, name)
        return Link(name, text_of(entry, "role") or "data", text_of(ingredient, "relationship"), target, state)

    def _target(self, ingredient: dict[str, Any], name: str) -> tuple[str, State]:
        active, data = ingredient.get("activeManifest"), ingredient.get("data")
        if isinstance(active, dict):
            urn = text_of(active, "url").rpartition("/")[2]
            return urn, "known" if urn in self._by_urn else "manifest missing"
        if not isinstance(data, dict):
            return "", "unknown provenance"
        return self._referred(data, name) or (text_of(ingredient, "instanceID"), "manifest missing")

    def _referred(self, data: dict[str, Any], name: str) -> tuple[str, State] | None:
        try:
            found = self._locator.manifest(Digest(text_of(data, "alg"), data["hash"]), name)
            manifests = read_manifests(found) if found is not None else []
        except (AtlasError, KeyError, TypeError):
            return None
        if not manifests:
            return None
        self._add(manifests)
        return str(manifests[-1]["urn"]), "known"


def lineage(
    path: StrPath,
    *,
    manifest: StrPath | None = None,
    root: StrPath | None = None,
    bundle: StrPath | None = None,
    store: Store | None = None,
) -> Lineage:
    """The graph behind an artifact."""
    store = store if store is not None else Store()
    found = need_manifest(path, manifest=manifest, store=store)
    locator = Locator(Path(path), root=root, bundle=bundle, store=store)
    with in_file(found.where):
        manifests = read_manifests(found.data)
    active = manifests[-1]
    locator.anchor(name_of(active))
    walk = _Walk(locator, manifests)
    walk.run(str(active["urn"]))
    return Lineage(found.where, str(active["urn"]), walk.nodes)
