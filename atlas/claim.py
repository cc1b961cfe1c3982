"""Claim: what was done, as a C2PA manifest. From a measurement and its inputs to a signed manifest store.

The C core writes boxes, hashes and COSE; this module decides what stands in the assertions (docs/manifest.md).
"""

from __future__ import annotations

import hashlib
import platform
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.errors import AtlasError, UsageError
from atlas.model import Input, Measurement, SignedManifest
from atlas.sign import request_timestamp
from atlas.verify import examine
from atlas.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atlas.evidence import Attester
    from atlas.sign import Signer

NAMESPACE = "org.atlasml"
EMBED_DEPTH = 32
EMBED_BYTES = 256 << 10
# Where an ancestor that is referred to could be fetched from. Atlas itself never does: store, bundle and sidecars are
# searched by hash. ".invalid" (RFC 2606) because there is no such public service.
MANIFEST_URL = "https://manifests.atlasml.invalid/sha256/{}.c2pa"
SPEC_VERSION = "2.2.0"

_PICKLES = {".pt", ".pth", ".ckpt", ".bin", ".pkl"}
_DIGITAL_SOURCE = {
    "model": "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData",
    "tokenizer": "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData",
    "dataset": "http://cv.iptc.org/newscodes/digitalsourcetype/dataDrivenMedia",
    "report": "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
}
_TYPES = {
    "model": ["c2pa.types.model.pytorch"],
    "dataset": ["c2pa.types.dataset"],
    "tokenizer": [f"{NAMESPACE}.types.tokenizer"],
    "report": [f"{NAMESPACE}.types.report"],
}
_FORMATS = {".json": "application/json", ".jsonl": "application/jsonl", ".csv": "text/csv", ".txt": "text/plain"}


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was seen but not measured, or could not be recorded as it should."""

    what: str
    reason: str
    input: bool = False

    def plain(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"what": self.what, "reason": self.reason}
        return entry | {"input": True} if self.input else entry


def guess_type(name: str, kind: str) -> str:
    """Model, dataset or report: from the name of an artifact."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _PICKLES or suffix == ".safetensors":
        return "model"
    return "dataset" if kind == "directory" or suffix != ".json" else "report"


def _asset_type(name: str, asset_type: str, kind: str) -> dict[str, Any]:
    types = list(_TYPES.get(asset_type, [f"{NAMESPACE}.types.{asset_type}"]))
    suffix = PurePosixPath(name).suffix.lower()
    if asset_type == "model" and suffix in _PICKLES:
        types.append("c2pa.types.format.pickle")
    media = "multipart/mixed" if kind == "directory" else _FORMATS.get(suffix, "application/octet-stream")
    return {"dc:format": media, "types": [{"type": t} for t in types]}


def _measurement(m: Measurement, name: str, source: str) -> dict[str, Any]:
    if m.tree is None:
        raise UsageError(f"{name}: a manifest needs the tree digest as well as the flat one")
    entry: dict[str, Any] = {
        "version": 1,
        "kind": m.kind,
        "name": name,
        "alg": m.tree.alg,
        "tree": m.tree.value,
        "size": m.size,
        "source": source,
    }
    if m.kind == "file":
        entry["chunk"] = 1 << 20
        if m.tensors is not None:
            entry |= {"tensors": m.tensors.root.value, "tensor-table": m.tensors.sha256.value}
    else:
        entry |= {"files": m.files, "index": 1, "ignore": list(m.ignore)}
        if m.links:
            entry["links"] = dict(m.links)
    if m.oms is not None:
        entry["oms"] = m.oms.value
    return entry


@dataclass(slots=True)
class _Ancestor:
    """An input's manifest store, taken apart."""

    store: bytes
    urn: str
    manifests: dict[str, bytes]  # URN -> superbox
    depth: int

    @classmethod
    def read(cls, store: bytes) -> _Ancestor:
        manifests = _core.store_read(store)
        boxes = {}
        parents: dict[str, list[str]] = {}
        for m in manifests:
            offset, size = m["box"]
            boxes[m["urn"]] = store[offset : offset + size]
            parents[m["urn"]] = [
                a["content"]["activeManifest"]["url"].rpartition("/")[2]
                for a in m["assertions"]
                if a["label"].startswith("c2pa.ingredient")
                and isinstance(a["content"], dict)
                and "activeManifest" in a["content"]
            ]
        return cls(store, manifests[-1]["urn"], boxes, _depth(manifests[-1]["urn"], parents))


def _depth(urn: str, parents: Mapping[str, list[str]]) -> int:
    """Manifests on the longest path; the store has been verified, so there is no cycle."""
    depth: dict[str, int] = {}
    stack = [(urn, False)]
    while stack:
        current, done = stack.pop()
        if done:
            depth[current] = 1 + max((depth.get(p, 0) for p in parents.get(current, [])), default=0)
        elif current not in depth:
            depth[current] = 0
            stack.append((current, True))
            stack += [(p, False) for p in parents.get(current, []) if p not in depth]
    return depth.get(urn, 0)


class _Ingredients:
    """Decides for every input: embedded, referred to, or of unknown provenance."""

    def __init__(self) -> None:
        self.specs: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.embedded: dict[str, bytes] = {}
        self.gaps: list[Gap] = []

    def add(self, item: Input) -> None:
        label = "c2pa.ingredient.v3" + (f"__{len(self.specs)}" if self.specs else "")
        spec: dict[str, Any] = {
            "relationship": item.relationship,
            "title": item.name,
            "format": "multipart/mixed" if item.measurement.kind == "directory" else "application/octet-stream",
        }
        if item.manifest is not None:
            spec |= self._provenance(item)
        self.specs.append(spec)
        self.entries.append(_input_entry(label, item))

    def _provenance(self, item: Input) -> dict[str, Any]:
        assert item.manifest is not None
        # A manifest that is not bound to the bytes that were read must never vouch for them.
        verdict = examine(item.manifest, item.measurement)
        if verdict.answer in ("INVALID", "MALFORMED", "LIMIT", "ERROR"):
            why = verdict.failures[0].text if verdict.failures else verdict.answer
            self.gaps.append(Gap(item.name, f"its manifest was not used: {why}"))
            return {}
        ancestor = _Ancestor.read(item.manifest)
        if item.refer or not self._fits(ancestor):
            sha256 = hashlib.sha256(item.manifest).hexdigest()
            return {
                "instance_id": ancestor.urn,
                "external": {
                    "url": MANIFEST_URL.format(sha256),
                    "hash": bytes.fromhex(sha256),
                    "size": len(item.manifest),
                },
            }
        self.embedded |= ancestor.manifests
        codes = [(c.code, c.where) for c in verdict.checks if c.node == 0 and c.status == "passed"]
        return {
            "urn": ancestor.urn,
            "manifest": ancestor.manifests[ancestor.urn],
            "validated": [(code, where) for code, where in codes if not code.startswith(NAMESPACE)],
        }

    def _fits(self, ancestor: _Ancestor) -> bool:
        if ancestor.depth >= EMBED_DEPTH:
            return False
        both = self.embedded | ancestor.manifests
        if any(self.embedded.get(urn, box) != box for urn, box in ancestor.manifests.items()):
            return False  # the same manifest once redacted and once not
        return sum(map(len, both.values())) <= EMBED_BYTES


def _input_entry(label: str, item: Input) -> dict[str, Any]:
    m = item.measurement
    entry: dict[str, Any] = {
        "ingredient": label,
        "name": item.name,
        "kind": m.kind,
        "role": item.role,
        "alg": m.alg,
        "size": m.size,
        "via": item.via,
    }
    if m.flat is not None:
        entry["flat"] = m.flat.value
    if m.tree is not None:
        entry["tree"] = m.tree.value
    if item.relation is not None:
        entry["relation"] = item.relation
    return entry


def _metrics(results: Sequence[Mapping[str, Any]], inputs: Sequence[Input]) -> dict[str, Any]:
    """Results speak of ingredients by label; callers name inputs."""
    labels = {item.name: "c2pa.ingredient.v3" + (f"__{i}" if i else "") for i, item in enumerate(inputs)}
    entries = []
    for result in results:
        entry = dict(result)
        for key in ("of", "on"):
            if entry.get(key) is None:
                entry.pop(key, None)
            elif entry[key] in labels:
                entry[key] = labels[entry[key]]
            else:
                raise UsageError(
                    f"metric {entry.get('name')!r} speaks of {entry[key]!r}, which is not an input of this artifact",
                    hint=f"inputs are: {', '.join(labels) or 'none'}",
                )
        entries.append(entry)
    return {"version": 1, "results": entries}


def check_name(name: str) -> str:
    """A logical name: relative, '/'-separated, no empty, '.' or '..' component, no NUL or backslash."""
    parts = name.split("/")
    if not name or any(p in ("", ".", "..") for p in parts) or "\0" in name or "\\" in name:
        raise UsageError(f"not a logical name: {name!r}", hint="use a relative path without '..', such as out/model.pt")
    return name


def sign_manifest(
    *,
    measurement: Measurement,
    name: str,
    signer: Signer,
    inputs: Iterable[Input] = (),
    source: str = "declared",
    asset_type: str | None = None,
    step: str | None = None,
    when: datetime | None = None,
    run: Mapping[str, Any] | None = None,
    data_use: Sequence[Mapping[str, Any]] = (),
    metrics: Sequence[Mapping[str, Any]] = (),
    gaps: Iterable[Gap] = (),
    extra: Mapping[str, Any] | None = None,
    tsa: str | None = None,
    attester: Attester | None = None,
) -> SignedManifest:
    """Build and sign the manifest of one artifact.

    `measurement` needs both digests. `inputs` become ingredients in this order. `gaps` become `.coverage`, together
    with those found here (an input whose manifest does not match its bytes). `metrics` are
    ``{"name", "value", "of": input name, "on": input name}``. `extra` maps further labels to plain data. `tsa` is the
    URL of an RFC 3161 authority; failing to reach it is an error here, the caller decides whether to go on without.
    `attester` adds hardware evidence that is bound to everything else in the claim.

    Raises UsageError for contradictory arguments, NotAttested without evidence, and whatever the signer raises.
    """
    inputs = list(inputs)
    check_name(name)
    if measurement.flat is None:
        raise UsageError(f"{name}: a manifest needs the flat digest as well as the tree")
    if sum(item.relationship == "parentOf" for item in inputs) > 1:
        raise UsageError("at most one input can be the parent", hint="C2PA allows one parentOf ingredient")
    ingredients = _Ingredients()
    for item in inputs:
        ingredients.add(replace(item, name=check_name(item.name)))
    asset_type = asset_type or guess_type(name, measurement.kind)
    all_gaps = [*gaps, *ingredients.gaps]
    for what, m in ((name, measurement), *((item.name, item.measurement) for item in inputs)):
        if m.cache.files:
            text = f"{m.cache.files} of {m.files} files were not read again: unchanged by the digest cache"
            all_gaps.append(Gap(what, f"{text}, level {m.cache.level}"))
    when = when or datetime.now(UTC)

    own: dict[str, Any] = {f"{NAMESPACE}.measurement": _measurement(measurement, name, source)}
    if inputs:
        own[f"{NAMESPACE}.inputs"] = {"version": 1, "inputs": ingredients.entries}
    if run:
        own[f"{NAMESPACE}.run"] = dict(run)
    if data_use:
        own[f"{NAMESPACE}.data-use"] = {"version": 1, "loaders": [dict(d) for d in data_use]}
    if metrics:
        own[f"{NAMESPACE}.metrics"] = _metrics(metrics, inputs)
    own[f"{NAMESPACE}.coverage"] = {
        "version": 1,
        "seen": len(inputs) + sum(gap.input for gap in all_gaps),
        "gaps": [gap.plain() for gap in all_gaps],
    }
    own |= extra or {}

    urn = f"urn:c2pa:{uuid.uuid4()}"
    built = _core.claim_build(
        urn=urn,
        instance_id=f"xmp:iid:{uuid.uuid4()}",
        generator=_core.cbor_encode(
            {
                "name": "atlas",
                "version": __version__,
                "specVersion": SPEC_VERSION,
                "operating_system": platform.system(),
            }
        ),
        asset_name=name if measurement.kind == "file" else f"{name}.c2pa-index",
        binding=measurement.flat.pair,
        ingredients=ingredients.specs,
        digital_source_type=_DIGITAL_SOURCE.get(asset_type, _DIGITAL_SOURCE["report"]),
        when=when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        step=step,
        asset_type=_core.cbor_encode(_asset_type(name, asset_type, measurement.kind)),
        assertions=[(label, _core.cbor_encode(content)) for label, content in own.items()],
    )
    claim, assertions = built
    if attester is not None:
        claim, assertions = _core.claim_attest(claim, assertions, attester.assertion(claim))
    cose = _sign(claim, signer, tsa)
    store = _core.claim_seal(urn, assertions, claim, cose, list(ingredients.embedded.values()))
    return SignedManifest(urn, store, hashlib.sha256(store).hexdigest(), name, measurement)


def _sign(claim: bytes, signer: Signer, tsa: str | None) -> bytes:
    protected, tbs = _core.sign_prepare(claim, signer.alg, signer.chain)
    signature = signer.sign(tbs)
    token = None
    if tsa is not None:
        token = request_timestamp(tsa, _core.sign_countertbs(protected, signature))
    return _core.sign_finish(claim, protected, signature, timestamp=token)


__all__ = ["AtlasError", "Gap", "check_name", "guess_type", "sign_manifest"]
