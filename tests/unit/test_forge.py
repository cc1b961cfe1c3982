"""The toolkit that the attack tests are made with does what it says."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from forge import cbor, chain, cose, jumbf, measure, pki, tsa
from forge.manifest import Assertion, Frozen

ABC = {"alg": "sha256", "pad": b"", "hash": hashlib.sha256(b"abc").digest(), "name": "kat"}


@pytest.mark.parametrize(
    ("salt", "size", "digest"),
    [
        (None, 121, "f90fbe258b4bcc09c9c66ab566241d5663b701f198c3a4bbcb1714667381d2a5"),
        (bytes(range(32)), 161, "fe626ff13f80fb9f6ff8564a363c5a076b5196b206c13c11ee77e1434cc54f62"),
    ],
)
def test_an_assertion_box_has_the_known_bytes_and_hash(salt: bytes | None, size: int, digest: str) -> None:
    box = Assertion("c2pa.hash.data", ABC, salt).box()
    assert len(bytes(box)) == size
    assert box.digest().hex() == digest


def test_the_signed_structure_has_the_known_bytes() -> None:
    expected = "846a5369676e61747572653143a101264045434c41494d"
    assert cose.sig_structure(bytes.fromhex("a10126"), b"CLAIM").hex() == expected


@pytest.mark.parametrize("item", [{"b": 1, "aa": -500, "": [None, True, 1.5, 1e300, 0.1]}, b"x" * 300, "ü" * 30, 2**40])
def test_the_encoder_agrees_with_an_independent_one(item: object) -> None:
    assert cbor.dumps(item) == cbor2.dumps(item, canonical=True)
    assert cbor.loads(cbor.dumps(item)) == item


def test_raw_items_and_pairs_are_written_verbatim() -> None:
    assert cbor.dumps([cbor.Raw(b"\x18\x01"), cbor.Pairs([("a", 1), ("a", 2)])]).hex() == "821801a2616101616102"


def test_a_box_tree_comes_back_byte_for_byte() -> None:
    made = chain.line(pki.Authority.root(), 3)
    assert bytes(jumbf.parse(made.sidecar)) == made.sidecar


def test_sealing_an_unchanged_store_again_gives_the_same_bytes() -> None:
    made = chain.line(pki.Authority.root(), 3)
    again = chain.reopened(made)
    again.store.manifests[0].touch()
    assert again.sidecar == made.sidecar


def test_sealing_repairs_hashes_above_a_change_and_leaves_frozen_ones() -> None:
    made = chain.line(pki.Authority.root(), 2)
    again = chain.reopened(made)
    first, second = again.store.manifests
    first["org.atlasml.run"].content["parameters"] = {"lr": 1.0}
    first.touch()
    frozen = Frozen(second.ingredients[0].content["claimSignature"])
    second.ingredients[0].content["claimSignature"] = frozen
    again.store.seal()
    assert first.box is not None
    assert second.ingredients[0].content["activeManifest"]["hash"] == first.box.digest()
    assert second.ingredients[0].content["claimSignature"] == frozen
    assert second.signature.verify(second.claim_bytes)


@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_every_algorithm_verifies_its_own_signatures_and_no_others(alg: str) -> None:
    party = pki.Authority.root().leaf("signer", alg)
    signature = party.sign(b"message")
    assert cose.verify(alg, party.key.public_key(), b"message", signature)
    assert not cose.verify(alg, party.key.public_key(), b"messagf", signature)


def test_tree_digests_have_the_known_values() -> None:
    assert measure.file_tree(b"").hex() == hashlib.sha256(b"").hexdigest()
    assert measure.file_tree(b"abc") == hashlib.sha256(b"\0" + hashlib.sha256(b"abc").digest()).digest()
    one, two, rest = b"a" * measure.CHUNK, b"b" * measure.CHUNK, b"c"
    leaf = [hashlib.sha256(b"\0" + hashlib.sha256(part).digest()).digest() for part in (one, two, rest)]
    pair = hashlib.sha256(b"\1" + leaf[0] + leaf[1]).digest()
    assert measure.file_tree(one + two + rest) == hashlib.sha256(b"\1" + pair + leaf[2]).digest()


def test_index_paths_are_percent_encoded() -> None:
    assert measure.escape("a b/100%/ä") == "a%20b/100%25/%C3%A4"


def test_openssl_accepts_the_time_stamps(tmp_path: Path) -> None:
    root = pki.Authority.root()
    files = {"token": tsa.Tsa.under(root).token(b"message"), "data": b"message", "root.pem": root.pem.encode()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "data", "-CAfile", "root.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verification: OK" in done.stdout + done.stderr


def test_openssl_accepts_the_chain_the_revocation_list_and_the_ocsp_response(tmp_path: Path) -> None:
    root = pki.Authority.root()
    issuer = root.intermediate("Forge CA")
    party, gone = issuer.leaf("signer"), issuer.leaf("gone")
    files = {
        "root.pem": root.pem,
        "ca.pem": pki.pem(issuer.certificate),
        "leaf.pem": pki.pem(party.leaf),
        "gone.pem": pki.pem(gone.leaf),
        "crl.pem": root.crl() + issuer.crl((gone.leaf, pki.days(-2))),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "ocsp.der").write_bytes(issuer.ocsp(party.leaf))

    def openssl(command: str) -> str:
        done = subprocess.run(["openssl", *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    check = "verify -x509_strict -crl_check -CAfile root.pem -untrusted ca.pem -CRLfile crl.pem "
    assert "leaf.pem: OK" in openssl(check + "leaf.pem")
    assert "certificate revoked" in openssl(check + "gone.pem")
    status = openssl("ocsp -respin ocsp.der -issuer ca.pem -cert leaf.pem -CAfile root.pem -verify_other ca.pem")
    assert "leaf.pem: good" in status


def test_the_same_certificate_is_made_twice_alike() -> None:
    one, two = (pki.Authority.root().leaf("signer") for _ in range(2))
    assert one.chain == two.chain
    assert isinstance(one.leaf, x509.Certificate)


def test_the_toolkit_imports_nothing_of_the_product() -> None:
    for module in (Path(__file__).parent.parent / "forge").glob("*.py"):
        lines = module.read_text().splitlines()
        assert not [line for line in lines if line.lstrip().startswith(("import atlas", "from atlas"))]
