"""What the toolkit makes, c2pa-rs trusts: the attack tests start from manifests that someone else accepts."""

from __future__ import annotations

import pytest
from forge import chain, cose, oracle, pki, tsa
from forge.chain import Input
from forge.manifest import assertion_url

ROOT = pki.Authority.root()
CA = ROOT.intermediate("Forge CA")


def opinion(made: chain.Made) -> oracle.Opinion:
    return oracle.validate(made.sidecar, made.bound, roots=ROOT.pem)


@pytest.mark.parametrize("stamped", [False, True], ids=["plain", "time-stamped"])
@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_a_file_signed_with_any_algorithm_is_trusted(alg: str, stamped: bool) -> None:
    envelope = cose.Envelope(token=tsa.Tsa.under(ROOT).stamp()) if stamped else None
    found = opinion(chain.make("model.pt", b"weights", CA.leaf("signer", alg), envelope=envelope))
    assert found.state == "Trusted"
    assert ("timeStamp.trusted" in found.successes) == stamped


def test_a_changed_artifact_is_invalid() -> None:
    made = chain.make("model.pt", b"weights", CA.leaf("signer"))
    found = oracle.validate(made.sidecar, b"weightS", roots=ROOT.pem)
    assert found.state == "Invalid"
    assert found.failures == ("assertion.dataHash.mismatch",)


def test_a_foreign_root_is_not_trusted() -> None:
    made = chain.make("model.pt", b"weights", pki.Authority.root("Other Root").leaf("signer"))
    assert opinion(made).state == "Valid"


def test_a_directory_is_trusted_through_its_index() -> None:
    assert opinion(chain.make("data", {"a.txt": b"1", "b c/ä.txt": b"2"}, CA.leaf("signer"))).trusted


@pytest.mark.parametrize("mode", ["embed", "refer", "unknown"])
@pytest.mark.parametrize("length", [1, 3, 32])
def test_a_chain_is_trusted_whichever_way_it_names_its_ancestors(length: int, mode: str) -> None:
    assert opinion(chain.line(CA, length, mode=mode)).trusted


def test_a_chain_of_all_algorithms_is_trusted() -> None:
    made = chain.make("step0/model.pt", b"0", CA.leaf("signer"))
    for n, alg in enumerate(cose.ALGORITHMS, 1):
        made = chain.make(f"step{n}/model.pt", b"%d" % n, CA.leaf("signer", alg), [Input(made)])
    assert opinion(made).trusted


def test_a_parent_is_trusted() -> None:
    signer = CA.leaf("signer")
    base = chain.make("base.pt", b"base", signer)
    assert opinion(chain.make("tuned.pt", b"tuned", signer, [Input(base, relationship="parentOf")])).trusted


def test_an_update_with_and_without_redaction_is_trusted() -> None:
    signer = CA.leaf("signer")
    made = chain.make("model.pt", b"weights", signer)
    assert opinion(chain.update(made, signer)).trusted
    found = opinion(chain.update(made, signer, redact=[assertion_url(made.urn, "org.atlasml.run")]))
    assert found.trusted
    assert "ingredient.claimSignature.validated" in found.informational


def test_a_foreign_sidecar_can_be_taken_apart_and_put_together() -> None:
    signer = CA.leaf("signer")
    pems = {"alg": signer.alg, "chain_pem": signer.chain_pem, "key_pem": signer.key_pem, "roots": ROOT.pem}
    base = oracle.make(b"base", **pems)
    tuned = oracle.make(b"tuned", **pems, parents=[oracle.Parent(base, b"base")])
    assert oracle.validate(tuned, b"tuned", roots=ROOT.pem).trusted
    store = chain.Store.parse(tuned)
    for manifest in store:
        manifest.signer = signer
        manifest.touch()
    assert oracle.validate(bytes(store), b"tuned", roots=ROOT.pem).trusted
