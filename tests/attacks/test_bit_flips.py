"""Every single bit of a small signed three-node chain: of its sidecar, and of its three artifacts.

A flip that leaves the answer VALID must leave its meaning as it was, and stand in `DONT_CARE`, which is empty: CBOR has
one form, every box is hashed or has one form, and nothing is allowed in the unsigned header.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from arena import INVALID, VALID, policy, told
from forge import chain, pki
from forge.chain import Input, Made
from forge.manifest import Manifest

from atlas.verify import verify

pytestmark = pytest.mark.slow

ROOT = pki.Authority.root("R")
DONT_CARE: frozenset[tuple[str, int]] = frozenset()  # (name of the box, bit within it)
PARTS = 16
NAMES = ("a", "b", "c")
CONTENT = {name: name.encode() * 8 for name in NAMES}


def slim(made: Made) -> Made:
    """The same artifact with as few bytes as the profile allows; one salt stays."""
    again = chain.reopened(made)
    active = again.store.active
    for label in "c2pa.asset-type.v2", "org.atlasml.run":
        active.remove(label)
    for assertion in active.assertions[1:]:
        assertion.salt = None
    for ingredient in active.ingredients:
        del ingredient.content["dc:format"], ingredient.content["dc:title"]
        del ingredient.content["activeManifest"]["alg"], ingredient.content["claimSignature"]["alg"]
    active["c2pa.actions.v2"].content["actions"][0].pop("parameters", None)
    active["c2pa.hash.data"].content.pop("name")
    active.claim["claim_generator_info"] = {"name": "forge"}
    active.claim.pop("dc:title")
    again.store.seal()
    return Made(made.name, made.content, made.party, again.store, made.inputs, made.signers)


def three() -> list[Made]:
    """data -> base -> model, embedded, each signer right under the root."""
    made: list[Made] = []
    for name in NAMES:
        inputs = [Input(made[-1])] if made else []
        made.append(slim(chain.make(name, CONTENT[name], ROOT.leaf(name), inputs)))
    return made


def meaning(sidecar: bytes, path: Path) -> tuple[str, Any]:
    verdict = verify(path, policy=policy(roots=ROOT.pem.encode()), manifest=sidecar, store=path.parent / ".store")
    return verdict.answer, verdict.to_dict() if verdict else None


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def surviving(sidecar: bytes, path: Path, part: int) -> list[tuple[int, bool]]:
    """The flips of one part that stay VALID, and whether they still mean the same."""
    honest = meaning(sidecar, path)
    assert honest[0] == VALID
    found = []
    for bit in range(part, len(sidecar) * 8, PARTS):
        answer = meaning(flipped(sidecar, bit), path)
        if answer[0] == VALID:
            found.append((bit, answer == honest))
    return found


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Made], Path]:
    root = tmp_path_factory.mktemp("chain")
    made = three()
    for artifact in made:
        artifact.write(root)
    return made, root


def whereabouts(manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    assert manifest.box is not None
    for box in manifest.box.walk():
        yield f"{manifest.urn} {box.label}", bytes(box)


def place(made: Made, bit: int) -> tuple[str, int]:
    """The innermost box around a bit, and the bit within that box."""
    best = ("store", bit)
    for manifest in made.store:
        for name, data in whereabouts(manifest):
            start = made.sidecar.find(data)
            if start * 8 <= bit < (start + len(data)) * 8:
                best = (name, bit - start * 8)
    return best


def test_no_flipped_bit_of_a_sidecar_stays_valid(laid_out: tuple[list[Made], Path]) -> None:
    made, root = laid_out
    model, path = made[-1], root / made[-1].name
    jobs = [(model.sidecar, path, part) for part in range(PARTS)]
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        found = [hit for hits in pool.map(surviving, *zip(*jobs, strict=True)) for hit in hits]
    changed = [place(model, bit) for bit, same in found if not same]
    assert not changed, f"VALID with another meaning: {changed}"
    assert {place(model, bit) for bit, _ in found} == DONT_CARE


@pytest.mark.parametrize("name", NAMES)
def test_no_flipped_bit_of_an_artifact_stays_valid(name: str, laid_out: tuple[list[Made], Path]) -> None:
    made, root = laid_out
    path, rules = root / made[-1].name, policy(roots=ROOT.pem.encode())
    for bit in range(len(CONTENT[name]) * 8):
        (root / name).write_bytes(flipped(CONTENT[name], bit))
        verdict = verify(path, policy=rules, store=root / ".store")
        assert verdict.answer == INVALID, f"bit {bit}: {told(verdict)}"
        assert name in {node.name for node in verdict.nodes if node.bytes == "different"}
    (root / name).write_bytes(CONTENT[name])
    assert verify(path, policy=rules, store=root / ".store").answer == VALID
