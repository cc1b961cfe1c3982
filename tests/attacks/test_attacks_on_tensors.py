"""A signer states the root of a tensor table that its file does not have; and what a verdict claims of tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atlas.claim import sign_manifest
from atlas.errors import MalformedError, NotFound
from atlas.measure import measure
from atlas.model import Digest, Input, Measurement, Tensors, Verdict
from atlas.sign import Signer, keygen, load_signer
from atlas.store import Store, write_sidecar
from atlas.tensors import table_of_file
from atlas.tensors.attach import measure_model
from atlas.tensors.models import model_of
from atlas.verify import verify

torch = pytest.importorskip("torch")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    keygen("Mallory", tmp_path / "keys")
    return load_signer(tmp_path / "keys" / "key.pem")


def publish(path: Path, measurement: Measurement, signer: Signer, inputs: list[Input] | None = None) -> bytes:
    signed = sign_manifest(measurement=measurement, name=path.name, signer=signer, inputs=inputs or [])
    write_sidecar(path, signed.store)
    return signed.store


def judge(path: Path, **options: Any) -> Verdict:
    store = Store(path.parent / "store")
    return verify(path, trust=path.parent / "keys" / "root.pem", store=store, **options)


def statuses(verdict: Verdict) -> dict[str, str]:
    return {c.code.rpartition(".")[2]: c.status for c in verdict.checks if c.code.startswith("org.atlasml.tensors")}


def model(path: Path, value: float = 1.0) -> tuple[Path, Measurement]:
    torch.save({"w": torch.full((5,), value), "b": torch.ones(2)}, path)
    measured, why = measure_model(path)
    assert why == ""
    assert measured.tensors is not None
    return path, measured


def test_the_root_of_another_models_tensors_is_invalid(tmp_path: Path, signer: Signer) -> None:
    path, measured = model(tmp_path / "m.pt")
    _, other = model(tmp_path / "other.pt", 2.0)
    publish(path, measured, signer)
    assert judge(path).answer == "VALID"
    assert statuses(judge(path)) == {"match": "passed"}
    publish(path, replace(measured, tensors=other.tensors), signer)
    verdict = judge(path)
    assert verdict.answer == "INVALID"
    assert verdict.failures[0].code == "org.atlasml.tensors.mismatch"
    assert verdict.exit_code == 1


def test_with_the_tree_alone_the_verdict_says_that_the_tensors_were_not_looked_at(
    tmp_path: Path, signer: Signer
) -> None:
    path, measured = model(tmp_path / "m.pt")
    publish(path, measured, signer)
    verdict = judge(path, tree=True)
    assert verdict.answer == "VALID"
    assert statuses(verdict) == {"notChecked": "note"}


def test_a_root_for_a_file_without_a_table_is_never_said_to_be_checked(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"no checkpoint")
    digest = Digest("sha256", bytes(32))
    publish(path, replace(measure(path), tensors=Tensors(digest, digest)), signer)
    verdict = judge(path)
    assert verdict.answer == "VALID"  # every byte is the signed one; of tensors nothing is claimed
    assert statuses(verdict) == {"notChecked": "note"}


def test_changed_bytes_are_invalid_whatever_the_table_says(tmp_path: Path, signer: Signer) -> None:
    path, measured = model(tmp_path / "m.pt")
    publish(path, measured, signer)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # in the archive's directory: no tensor changes
    path.write_bytes(data)
    assert judge(path).answer == "INVALID"
    assert statuses(judge(path)) == {}


def chained(tmp_path: Path, signer: Signer, base: Measurement) -> Path:
    """A child whose ancestor's bytes are gone."""
    before = tmp_path / "base.pt"
    manifest = publish(before, base, signer)
    child, measured = model(tmp_path / "child.pt", 3.0)
    used = Input(name="base.pt", measurement=replace(base, tensors=None), role="base model", manifest=manifest)
    publish(child, measured, signer, [used])
    before.unlink()
    Path(f"{before}.c2pa").unlink()
    return child


def test_of_an_ancestor_that_is_gone_the_table_in_the_store_is_held_against_its_root(
    tmp_path: Path, signer: Signer
) -> None:
    _, base = model(tmp_path / "base.pt")
    assert base.tensors is not None
    assert base.tensors.table is not None
    Store(tmp_path / "store").put(base.tensors.table)
    verdict = judge(chained(tmp_path, signer, base))
    assert verdict.answer == "VALID"
    texts = [c.text for c in verdict.checks if c.code == "org.atlasml.tensors.match" and c.node != 0]
    assert texts == ["the tensor table is the one that was signed; the file was not there"]
    model(tmp_path / "base.pt")
    lie = replace(base, tensors=replace(base.tensors, root=Digest("sha256", bytes(32))))
    verdict = judge(chained(tmp_path, signer, lie))
    assert verdict.answer == "INVALID"
    assert verdict.failures[0].code == "org.atlasml.tensors.mismatch"


@pytest.mark.parametrize("change", [{"tensors": bytes(32)}, {"tensors": bytes(31), "tensor-table": bytes(32)}])
def test_half_a_statement_about_tensors_is_malformed(
    tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch, change: dict[str, bytes]
) -> None:
    from atlas import claim

    path, measured = model(tmp_path / "m.pt")
    honest = claim._measurement
    monkeypatch.setattr(claim, "_measurement", lambda m, *rest: honest(replace(m, tensors=None), *rest) | change)
    publish(path, measured, signer)
    assert judge(path).answer == "MALFORMED"


def test_a_file_that_changes_between_its_digest_and_its_table_is_no_verdict(
    tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, measured = model(tmp_path / "m.pt")
    publish(path, measured, signer)
    from atlas.tensors import attach as module

    honest = module.find_tensors

    def late(place: Path) -> Any:
        found = honest(place)
        data = path.read_bytes()
        path.write_bytes(data)
        return found

    monkeypatch.setattr(module, "find_tensors", late)
    assert judge(path).answer == "ERROR"


def test_a_table_that_does_not_have_the_stated_root_is_not_compared(tmp_path: Path, signer: Signer) -> None:
    path, measured = model(tmp_path / "m.pt")
    _, other = model(tmp_path / "other.pt", 2.0)
    assert measured.tensors is not None
    assert other.tensors is not None
    assert other.tensors.table is not None
    store = Store(tmp_path / "store")
    store.put(other.tensors.table)
    publish(path, replace(measured, tensors=replace(other.tensors, root=measured.tensors.root)), signer)
    with pytest.raises(MalformedError, match="root"):
        model_of(f"{path}.c2pa", store=store)
    publish(path, measured, signer)
    with pytest.raises(NotFound, match="does not have its tensor table"):
        model_of(f"{path}.c2pa", store=store)
    store.put(table_of_file(path).encoded)
    assert model_of(f"{path}.c2pa", store=store).table.encoded == table_of_file(path).encoded
