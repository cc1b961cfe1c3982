"""Whatever stands in a manifest, the verbs that read without verifying show it or refuse it; they never fall over."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from forge import cbor, chain, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas.bundle import bundle
from atlas.cli.inspect import everything, plain, summary
from atlas.cli.lineage import tree
from atlas.entry import describe, read_box, read_manifests, references
from atlas.errors import AtlasError
from atlas.lineage import lineage
from atlas.provenance import _gaps
from atlas.store import Store

TEXTS = st.text(max_size=8) | st.sampled_from(["\x1b[31m", "a\0b", "../..", "sha256", "self#jumbf=/c2pa/x", "n" * 300])
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=40) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(0, 50), inner, max_size=3)
)
LABELS = [
    "c2pa.hash.data",
    "c2pa.ingredient.v3",
    "c2pa.ingredient.v3__1",
    "org.atlasml.measurement",
    "org.atlasml.inputs",
    "org.atlasml.run",
    "org.atlasml.coverage",
]
KEYS = ["name", "kind", "size", "tree", "alg", "hash", "inputs", "gaps", "run", "step", "activeManifest", "data"]


def base() -> Any:
    known = chain.make("known.txt", b"known", world.CURATOR)
    inputs = [chain.Input(known), chain.Input(known, mode="refer")]
    return chain.reopened(chain.make("m.pt", b"weights", world.TUNER, inputs)).store


def read_everything(data: bytes, folder: Path) -> None:
    artifact = folder / "m.pt"
    artifact.write_bytes(b"weights")
    artifact.with_name("m.pt.c2pa").write_bytes(data)
    store = Store(folder / "store")
    manifests = read_manifests(data)
    describe("0" * 64, data, 0)
    references(manifests)
    for manifest in manifests:
        shown = [*summary(manifest), *everything(manifest)]
        assert not any("\x1b" in line for line in shown)
        plain(manifest)
    shown = list(tree(lineage(artifact, store=store)))
    assert not any("\x1b" in line for line in shown)
    bundle(artifact, folder / "out", store=store)
    store.find(type("D", (), {"alg": "sha256", "value": b"x"})())
    store.get(store.put(data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("untrusted")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(LABELS), st.none() | st.sampled_from(KEYS), VALUES)
def test_any_content_of_any_assertion_is_shown_or_refused(
    folder: Path, label: str, key: str | None, value: Any
) -> None:
    store = base()
    assertion = store.active.touch()[label]
    assertion.content = cbor.Raw(cbor.dumps(value if key is None else {**assertion.content, key: value}))
    with contextlib.suppress(AtlasError):
        read_everything(bytes(store), folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.none() | st.sampled_from(["alg", "claim_generator_info", "created_assertions", "signature"]), VALUES)
def test_any_claim_is_shown_or_refused(folder: Path, key: str | None, value: Any) -> None:
    store = base()
    active = store.active.touch()
    claim = cbor.dumps(value) if key is None else cbor.dumps({**active.claim, key: value})
    active.replace_claim = lambda _signed: claim
    with contextlib.suppress(AtlasError):
        read_everything(bytes(store), folder)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_gaps_of_any_kind_are_read_or_left_out(value: Any) -> None:
    store = base()
    content = cbor.dumps({"version": 1, "seen": 0, "gaps": value})
    store.active.touch()["org.atlasml.coverage"].content = cbor.Raw(content)
    bytes(store)
    node = type("N", (), {"box": bytes(store.active.box), "name": "m.pt", "gaps": 1})()
    with contextlib.suppress(AtlasError):
        assert all(isinstance(gap.what, str) for gap in _gaps(node))


def test_the_manifest_that_is_changed_here_is_read_whole_when_it_is_not(folder: Path) -> None:
    read_everything(bytes(base()), folder)


def test_a_box_alone_reads_like_the_manifest_in_its_store() -> None:
    store = base()
    data = bytes(store)
    alone, whole = read_box(bytes(store.active.box)), read_manifests(data)[-1]
    assert (alone["urn"], alone["assertions"], alone["claim"]) == (whole["urn"], whole["assertions"], whole["claim"])
