"""What stands in a manifest that Atlas signs, and what it refuses to sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas import _core
from atlas.claim import EMBED_DEPTH, Gap, sign_manifest
from atlas.errors import UsageError
from atlas.model import Input, Measurement, SignedManifest
from atlas.sign import Signer, keygen, load_signer
from atlas.store import Store


@pytest.fixture(scope="module", name="keys")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys") / "alice"
    keygen("Alice", directory)
    return directory


@pytest.fixture(scope="module", name="signer")
def _signer(keys: Path) -> Signer:
    return load_signer(keys / "key.pem")


def bytes_of(tmp_path: Path, name: str, content: bytes) -> Measurement:
    path = tmp_path / name
    path.write_bytes(content)
    return atlas.measure(path)


def assertions(signed: SignedManifest) -> dict[str, Any]:
    return {a["label"]: a["content"] for a in _core.store_read(signed.store)[-1]["assertions"]}


def test_the_hard_binding_comes_first_and_every_assertion_is_salted(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    signed = sign_manifest(measurement=m, name="a", signer=signer)
    claim = _core.store_read(signed.store)[-1]["claim"]
    assert claim["created_assertions"][0]["url"].endswith("/c2pa.hash.data")
    assert signed.store.count(b"c2sh") == len(claim["created_assertions"])


def test_two_manifests_of_the_same_artifact_share_no_assertion_hash(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    one, two = (
        {link["hash"] for link in _core.store_read(s.store)[-1]["claim"]["created_assertions"]}
        for s in (sign_manifest(measurement=m, name="a", signer=signer) for _ in range(2))
    )
    assert not one & two


def test_an_input_whose_manifest_is_about_other_bytes_becomes_a_gap(tmp_path: Path, signer: Signer) -> None:
    honest = bytes_of(tmp_path, "base.pt", b"honest")
    sidecar = sign_manifest(measurement=honest, name="base.pt", signer=signer).store
    swapped = bytes_of(tmp_path, "base.pt", b"swapped")
    child = sign_manifest(
        measurement=bytes_of(tmp_path, "m.pt", b"m"),
        name="m.pt",
        signer=signer,
        inputs=[Input("base.pt", swapped, role="base model", manifest=sidecar)],
    )
    made = assertions(child)
    assert "activeManifest" not in made["c2pa.ingredient.v3"]
    assert "data" not in made["c2pa.ingredient.v3"]
    (gap,) = made["org.atlasml.coverage"]["gaps"]
    assert gap["what"] == "base.pt"
    assert made["org.atlasml.inputs"]["inputs"][0]["flat"] == swapped.flat.value  # type: ignore[union-attr]


def test_a_forged_ancestor_manifest_is_never_embedded(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "base.pt", b"honest")
    sidecar = bytearray(sign_manifest(measurement=m, name="base.pt", signer=signer).store)
    sidecar[sidecar.index(b"trainedAlgorithmicData")] ^= 1
    child = sign_manifest(
        measurement=m, name="m.pt", signer=signer, inputs=[Input("base.pt", m, manifest=bytes(sidecar))]
    )
    assert len(_core.store_read(child.store)) == 1
    assert len(assertions(child)["org.atlasml.coverage"]["gaps"]) == 1


def test_a_deep_chain_is_cut_by_reference_and_still_verifies(tmp_path: Path, signer: Signer, keys: Path) -> None:
    store = Store(tmp_path / "store")
    signed: SignedManifest | None = None
    sizes = []
    for i in range(EMBED_DEPTH + 4):
        m = bytes_of(tmp_path, f"{i}.pt", str(i).encode())
        inputs = [Input(f"{i - 1}.pt", signed.measurement, manifest=signed.store)] if signed else []
        signed = sign_manifest(measurement=m, name=f"{i}.pt", signer=signer, inputs=inputs)
        store.put(signed.store)
        (tmp_path / f"{i}.pt.c2pa").write_bytes(signed.store)
        sizes.append(len(_core.store_read(signed.store)))
    assert max(sizes) <= EMBED_DEPTH + 1
    assert sizes[-1] < sizes[EMBED_DEPTH - 1]
    verdict = atlas.verify(tmp_path / f"{EMBED_DEPTH + 3}.pt", trust=keys / "root.pem", store=store)
    assert verdict.answer == "VALID", verdict.explain()
    assert len(verdict.nodes) == EMBED_DEPTH + 4


def test_a_checkpoint_of_the_same_run_is_referred_to_and_not_embedded(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a.pt", b"a")
    first = sign_manifest(measurement=m, name="a.pt", signer=signer)
    second = sign_manifest(
        measurement=bytes_of(tmp_path, "b.pt", b"b"),
        name="b.pt",
        signer=signer,
        inputs=[Input("a.pt", m, role="checkpoint", manifest=first.store, refer=True)],
    )
    ingredient = assertions(second)["c2pa.ingredient.v3"]
    assert ingredient["instanceID"] == first.urn
    assert ingredient["data"]["hash"].hex() == first.sha256
    assert ingredient["data"]["size"] == len(first.store)


def test_a_parent_is_opened_and_other_inputs_are_not_named_by_that_action(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a.pt", b"a")
    base = sign_manifest(measurement=m, name="a.pt", signer=signer)
    child = sign_manifest(
        measurement=m,
        name="b.pt",
        signer=signer,
        inputs=[Input("d", m), Input("a.pt", m, manifest=base.store, relationship="parentOf")],
    )
    (action,) = assertions(child)["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.opened"
    assert [link["url"].rpartition("/")[2] for link in action["parameters"]["ingredients"]] == ["c2pa.ingredient.v3__1"]


def test_gaps_and_inputs_add_up(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    gaps = [Gap("stdin", "not a file", input=True), Gap("x", "y")]
    signed = sign_manifest(measurement=m, name="a", signer=signer, inputs=[Input("i", m)], gaps=gaps)
    coverage = assertions(signed)["org.atlasml.coverage"]
    assert coverage["seen"] == 2
    assert len(coverage["gaps"]) == 2


def test_metrics_name_inputs_and_are_bound_to_their_ingredients(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    signed = sign_manifest(
        measurement=m,
        name="r.json",
        signer=signer,
        inputs=[Input("data", m), Input("model.pt", m)],
        metrics=[{"name": "accuracy", "value": 0.5, "of": "model.pt", "on": "data"}],
    )
    (result,) = assertions(signed)["org.atlasml.metrics"]["results"]
    assert (result["of"], result["on"]) == ("c2pa.ingredient.v3__1", "c2pa.ingredient.v3")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a//b", "a/./b", "a\\b", "a\0b"])
def test_a_name_that_is_a_path_into_somebody_elses_disk_is_refused(name: str, tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    with pytest.raises(UsageError):
        sign_manifest(measurement=m, name=name, signer=signer)
    with pytest.raises(UsageError):
        sign_manifest(measurement=m, name="a", signer=signer, inputs=[Input(name, m)])


def test_two_parents_are_refused(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    with pytest.raises(UsageError, match="parent"):
        sign_manifest(
            measurement=m,
            name="a",
            signer=signer,
            inputs=[Input("x", m, relationship="parentOf"), Input("y", m, relationship="parentOf")],
        )


def test_a_metric_of_something_that_is_no_input_is_refused(tmp_path: Path, signer: Signer) -> None:
    m = bytes_of(tmp_path, "a", b"a")
    with pytest.raises(UsageError, match="not an input"):
        sign_manifest(measurement=m, name="a", signer=signer, metrics=[{"name": "x", "value": 1, "of": "nothing"}])
