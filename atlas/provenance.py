"""Provenance: a verified chain as a test or a notebook asks about it. A view of a verdict, no trust of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from atlas.entry import COVERAGE, content, read_box, text_of
from atlas.errors import UsageError
from atlas.escape import escape
from atlas.model import Digest, Edge, Node, Verdict

DATA_ROLES = frozenset(("training data", "evaluation data", "data"))
MODEL_ROLES = frozenset(("base model", "model", "checkpoint"))


@dataclass(frozen=True, slots=True)
class Item:
    """Something that went into the artifact, directly or further back. `known` is False where nobody vouches for it."""

    name: str
    kind: str
    role: str
    relationship: str
    digests: tuple[Digest, ...]
    size: int
    signer: str | None
    known: bool
    direct: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a signer saw but did not measure, and why."""

    artifact: str
    what: str
    reason: str


class Provenance:
    """`.verdict` is the whole answer; the rest are views of it over every manifest of the chain."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def __repr__(self) -> str:
        return f"<Provenance of {escape(self.verdict.path)}: {self.verdict.answer}, {len(self.inputs)} inputs>"

    @cached_property
    def inputs(self) -> tuple[Item, ...]:
        """Every input of every manifest, each once, those of the artifact itself first."""
        return tuple(dict.fromkeys(self._items()))

    def _items(self) -> Iterator[Item]:
        for number, node in enumerate(self.verdict.nodes):
            for edge in node.inputs:
                yield self._item(edge, direct=number == 0)

    def _item(self, edge: Edge, *, direct: bool) -> Item:
        source = None if edge.node is None else self.verdict.nodes[edge.node]
        return Item(
            name=edge.name,
            kind=edge.kind,
            role=edge.role,
            relationship=edge.relationship,
            digests=tuple(digest for digest in (edge.flat, edge.tree) if digest is not None),
            size=edge.size,
            signer=_signer(source),
            known=source is not None,
            direct=direct,
        )

    @property
    def datasets(self) -> tuple[Item, ...]:
        """All data, wherever in the chain it was used; data of unknown provenance too."""
        return tuple(item for item in self.inputs if item.role in DATA_ROLES)

    @property
    def models(self) -> tuple[Item, ...]:
        """All models that went into this one: base models and checkpoints."""
        return tuple(item for item in self.inputs if item.role in MODEL_ROLES)

    @property
    def unknown(self) -> tuple[Item, ...]:
        """Inputs that no manifest vouches for."""
        return tuple(item for item in self.inputs if not item.known)

    @property
    def signers(self) -> frozenset[str]:
        """The names of everybody who signed a manifest of the chain."""
        return frozenset(node.signer.name for node in self.verdict.nodes if node.signer is not None)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """What the signers recorded as seen but not measured."""
        return tuple(gap for node in self.verdict.nodes if node.gaps for gap in _gaps(node))

    def ingredient(self, name: str) -> Item:
        """The input of this name: a direct one if there is one, else the only one further back."""
        named = [item for item in self.inputs if item.name == name]
        chosen = [item for item in named if item.direct] or named
        if len(chosen) == 1:
            return chosen[0]
        names = ", ".join(sorted({escape(item.name) for item in self.inputs})) or "none"
        many = "several inputs are" if chosen else "no input is"
        raise UsageError(f"{many} called {escape(name)!r}", hint=f"the inputs are: {names}")


def _signer(node: Node | None) -> str | None:
    return node.signer.name if node is not None and node.signer is not None else None


def _gaps(node: Node) -> Iterator[Gap]:
    listed = content(read_box(node.box), COVERAGE).get("gaps")
    for gap in listed if isinstance(listed, list) else ():
        if isinstance(gap, dict):
            yield Gap(node.name, text_of(gap, "what"), text_of(gap, "reason"))
