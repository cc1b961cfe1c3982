"""What the stages hand to each other: digests, measurements, inputs, signed manifests, verdicts. No logic, no I/O."""

from __future__ import annotations

import builtins
import html
import json
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from atlas.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas.attest import Appraisal

Kind = Literal["file", "directory"]

CacheLevel = Literal["off", "stat", "stat+sample"]
CACHE_LEVELS: tuple[CacheLevel, ...] = ("off", "stat", "stat+sample")

DIGEST_SIZES = {"sha256": 32, "sha384": 48, "sha512": 64}

DEFAULT_IGNORE = (
    ".git",
    ".gitignore",
    ".gitattributes",
    ".github",
    ".DS_Store",
    ".ipynb_checkpoints",
    "__pycache__",
    ".cache/huggingface",
)


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest and its algorithm; prints as ``sha256:<hex>``."""

    alg: str
    value: bytes

    def __post_init__(self) -> None:
        if DIGEST_SIZES.get(self.alg) != len(self.value):
            raise UsageError(f"not a digest of {self.alg}: {len(self.value)} bytes")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """From ``sha256:<hex>``, or bare hexadecimal digits whose length says which algorithm."""
        alg, _, digits = text.rpartition(":")
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            raise UsageError(f"not a digest: {text!r}", hint="expected sha256:<64 hexadecimal digits>") from None
        return cls(alg or {size: name for name, size in DIGEST_SIZES.items()}.get(len(value), "sha256"), value)

    @classmethod
    def of(cls, pair: tuple[str, bytes] | None) -> Digest | None:
        """From what the C core returns."""
        return None if pair is None else cls(*pair)

    @property
    def pair(self) -> tuple[str, bytes]:
        """What the C core takes."""
        return (self.alg, self.value)

    @property
    def hex(self) -> str:
        return self.value.hex()

    def __str__(self) -> str:
        return f"{self.alg}:{self.hex}"


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensor table of a model file (docs/manifest.md): its root, its SHA-256, and itself where it is at hand."""

    root: Digest
    sha256: Digest
    table: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What of a measurement came from the digest cache. `level` is the one that was used, not the one asked for.

    `files` were not read (`verity` of them are guarded by the kernel), `checked` were read all the same and agreed.
    """

    level: CacheLevel = "off"
    files: int = 0
    checked: int = 0
    verity: int = 0
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is on disk (docs/manifest.md, "Digests").

    For a directory `flat` is the digest of `index`, `tree` the root over its lines, `size` the bytes of all files.
    A digest that was not asked for is None.
    """

    kind: Kind
    flat: Digest | None
    tree: Digest | None
    size: int
    files: int = 0
    oms: Digest | None = None
    index: bytes | None = field(default=None, repr=False)
    links: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()
    tensors: Tensors | None = field(default=None, compare=False)
    cache: CacheUse = field(default=CacheUse(), compare=False)

    @property
    def alg(self) -> str:
        digest = self.tree or self.flat
        return digest.alg if digest is not None else "sha256"


Relationship = Literal["inputTo", "parentOf", "componentOf"]


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes that were really read, and the manifest that came with them.

    `manifest` is the whole sidecar whose active manifest is bound to exactly these bytes; None records unknown
    provenance. `refer` records the ancestor by hash even where it could be embedded (checkpoints of one run).
    """

    name: str
    measurement: Measurement
    role: str = "data"
    via: str = "declared"
    manifest: bytes | None = field(default=None, repr=False)
    relationship: Relationship = "inputTo"
    relation: str | None = None
    refer: bool = False


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A signed manifest store, ready to be written as a sidecar. `sha256` is over all its bytes."""

    urn: str
    store: bytes = field(repr=False)
    sha256: str
    name: str
    measurement: Measurement


Status = Literal["passed", "failed", "note", "not required", "not run"]

# design: docs/verify.md; the worst of all checks is the answer.
EXIT_CODES = {
    "VALID": 0,
    "INVALID": 1,
    "UNTRUSTED": 3,
    "INCOMPLETE": 4,
    "MALFORMED": 5,
    "LIMIT": 5,
    "ERROR": 6,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one manifest. `code` is a C2PA status code where C2PA has one, else under ``org.atlasml``.

    `answer` is what a failure makes of the whole verdict; "VALID" for everything that is not a failure.
    """

    code: str
    status: Status
    answer: str
    node: int
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed: the leaf certificate. `spki` is the SHA-256 of its SubjectPublicKeyInfo, in hexadecimal."""

    name: str
    subject: str
    issuer: str
    serial: str
    spki: str
    not_before: int
    not_after: int


@dataclass(frozen=True, slots=True)
class Edge:
    """An ingredient of a manifest: the input as its signer recorded it, and the node it leads to (None: unknown)."""

    label: str
    name: str
    kind: str
    role: str
    relationship: str
    relation: str
    node: int | None
    flat: Digest | None
    tree: Digest | None
    size: int


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """Hardware evidence that a manifest carries, and what came of it.

    `mode` is "artifact" (the hardware vouches for this claim) or "session" (for the signing key and the run). `bound`:
    to this manifest and its signer. `holds`: genuine under the vendor's own root, accepted, and software that the
    appraisal policy names; `why` says why not. `appraisal`: the three results, where it could be verified at all.
    """

    type: str
    mode: str
    bound: bool
    holds: bool
    why: str
    appraisal: Appraisal | None

    @property
    def kind(self) -> str:
        """ "tdx", "snp", "tpm", "azure"."""
        return self.type.rpartition(".")[2]

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("type", "mode", "bound", "holds", "why")}
        return plain | {"appraisal": self.appraisal.to_dict() if self.appraisal is not None else None}


@dataclass(frozen=True, slots=True)
class Logged:
    """Where a signature is proven to be logged: entry `index` of the log's tree of `size`, by `witnesses` cosigned."""

    origin: str
    index: int
    size: int
    root: bytes
    witnesses: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"root": self.root.hex()}


@dataclass(frozen=True, slots=True)
class Node:
    """One manifest of the chain; node 0 is the artifact's own.

    `bytes` says what happened to the artifact: "measured", "not measured", or "different".
    `step` is the pipeline step that it names, "" for none.
    `signed_at` is the time the checks were made for (Unix seconds), `time_source` "timestamp" or "now".
    """

    urn: str
    name: str
    kind: str
    size: int
    flat: Digest | None
    tree: Digest | None
    signer: Identity | None
    signed_at: int
    time_source: str
    bytes: str
    path: str
    answer: str
    gaps: int
    step: str
    evidence: NodeEvidence | None
    inputs: tuple[Edge, ...]
    box: builtins.bytes = field(repr=False)
    logged: Logged | None = None  # None: nothing proves it, or no logs were named


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and every check of every manifest that led to it. Truthy only when VALID."""

    path: str
    answer: str
    checks: tuple[Check, ...]
    nodes: tuple[Node, ...]
    tree_only: bool = False
    manifest_from: str = ""

    def __bool__(self) -> bool:
        return self.answer == "VALID"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.answer, 6)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.status in ("failed", "not run"))

    @property
    def measured(self) -> int:
        return sum(node.bytes == "measured" for node in self.nodes)

    @property
    def unknown(self) -> int:
        """Inputs of unknown provenance, over all manifests."""
        return sum(edge.node is None for node in self.nodes for edge in node.inputs)

    @property
    def gaps(self) -> int:
        """Gaps that the signers recorded, over all manifests."""
        return sum(node.gaps for node in self.nodes)

    def explain(self) -> str:
        """The verdict, why, and what to do, as text."""
        from atlas.explain import explain

        return explain(self)

    def raise_for_status(self) -> None:
        """Raise VerificationError unless the answer is VALID."""
        if self:
            return
        first = self.failures[0] if self.failures else None
        error = VerificationError(
            f"{self.answer}: {first.text if first else 'nothing was checked'}",
            code=first.code if first else "general.error",
            where=self.path,
        )
        error.verdict = self
        raise error

    def to_dict(self) -> dict[str, Any]:
        """Plain data: digests as ``sha256:<hex>``, no manifest bytes."""
        nodes = []
        for node in self.nodes:
            nodes.append(
                {
                    "urn": node.urn,
                    "name": node.name,
                    "kind": node.kind,
                    "size": node.size,
                    "flat": str(node.flat) if node.flat else None,
                    "tree": str(node.tree) if node.tree else None,
                    "signer": asdict(node.signer) if node.signer else None,
                    "signed_at": node.signed_at,
                    "time_source": node.time_source,
                    "bytes": node.bytes,
                    "path": node.path,
                    "answer": node.answer,
                    "gaps": node.gaps,
                    "step": node.step,
                    "evidence": node.evidence.to_dict() if node.evidence else None,
                    "logged": node.logged.to_dict() if node.logged else None,
                    "inputs": [
                        {
                            **{k: getattr(e, k) for k in ("label", "name", "kind", "role", "relationship", "relation")},
                            "node": e.node,
                            "flat": str(e.flat) if e.flat else None,
                            "tree": str(e.tree) if e.tree else None,
                            "size": e.size,
                        }
                        for e in node.inputs
                    ],
                }
            )
        return {
            "path": self.path,
            "answer": self.answer,
            "exit_code": self.exit_code,
            "tree_only": self.tree_only,
            "manifest_from": self.manifest_from,
            "artifacts": {"measured": self.measured, "of": len(self.nodes)},
            "unknown_inputs": self.unknown,
            "gaps": self.gaps,
            "checks": [asdict(check) for check in self.checks],
            "nodes": nodes,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=True)

    def _repr_html_(self) -> str:
        colour = {"VALID": "#1a7f37", "INCOMPLETE": "#9a6700", "UNTRUSTED": "#9a6700"}.get(self.answer, "#b3261e")
        return f'<pre style="border-left:4px solid {colour};padding-left:1em">{html.escape(self.explain())}</pre>'
