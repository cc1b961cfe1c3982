"""Both ways between Atlas and an independent implementation: what we sign, c2pa-rs trusts; what it signs, we verify.

The toolkit in `forge` is a second reader: it recomputes digests, hashes and signatures with none of the product's code.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from forge import cbor, chain, cose, jumbf, oracle, pki, tsa
from forge import measure as plain
from forge.chain import Made, index_of, sidecar_of
from forge.manifest import Store as Boxes
from forge_attest.tdx import td15

import atlas
from atlas import _core
from atlas.claim import sign_manifest
from atlas.model import Input, SignedManifest
from atlas.policy import Policy
from atlas.sidecar import write_sidecar
from atlas.sign import load_signer
from atlas.store import Store

ROOT = pki.Authority.root()
CA = ROOT.intermediate("Forge CA")
TSA_ROOT = pki.Authority.root("Forge TSA Root")
POLICY = Policy(roots=ROOT.pem.encode(), tsa_roots=TSA_ROOT.pem.encode())
FILES = {
    "a.bin": b"a",
    "a-b/x": b"dash",
    "a/b": b"slash",
    "a b.txt": b"space",
    "100%.txt": b"percent",
    "modèle/π.bin": b"letters",
    "Z": b"",
    "~tilde": b"\0" * 3000,
    "a%20b": b"looks encoded",
}
CONTENTS = {"file": b"weights" * 300_000, "small file": b"w", "directory": FILES}
TIGHT = {"file": "model.pt", "small file": "model.pt", "directory": "ckpt"}


def party(alg: str = "ES256") -> pki.Party:
    return CA.leaf(f"Signer {alg}", alg)


def sign(root: Path, name: str, content: plain.Content, *, alg: str = "ES256", **options: Any) -> SignedManifest:
    """Signed and laid out by the product."""
    path = chain.write_content(root, name, content)
    measured = atlas.measure(path)
    signed = sign_manifest(measurement=measured, name=name, signer=load_signer(party(alg)), **options)
    write_sidecar(path, signed.store, measured.index)
    return signed


def product(root: Path, name: str, **options: Any) -> atlas.Verdict:
    return atlas.verify(root / name, policy=POLICY, store=root / ".store", **options)


def trusted(signed: SignedManifest, content: plain.Content) -> None:
    opinion = oracle.validate(signed.store, plain.bound(content), roots=ROOT.pem + TSA_ROOT.pem)
    assert opinion.state == "Trusted", opinion
    assert not opinion.failures


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_what_atlas_signs_is_trusted_by_c2pa_rs(alg: str, kind: str, tmp_path: Path) -> None:
    name, content = TIGHT[kind], CONTENTS[kind]
    signed = sign(tmp_path, name, content, alg=alg)
    trusted(signed, content)
    assert product(tmp_path, name).answer == "VALID"


class Evidence:
    """An attester of a machine under a test PKI; the forge's readers compute the binding again."""

    def __init__(self, spki: bytes) -> None:
        self.spki = spki
        self.claims: list[bytes] = []

    def assertion(self, claim: bytes) -> bytes:
        self.claims.append(claim)
        partial = hashlib.sha256(claim).digest()
        tbs = _core.attestation_binding(self.spki, "2026-01-15T12:00:00Z", partial=partial, nonce=bytes(32))
        quote = td15(report_data=hashlib.sha512(tbs).digest()).quote()
        return _core.attestation_write("org.atlasml.tdx", tbs, quote, collateral=[b"{}"], event_log=b"log")


def test_a_manifest_with_hardware_evidence_is_trusted_by_c2pa_rs_and_bound_as_the_profile_says(tmp_path: Path) -> None:
    content = CONTENTS["file"]
    spki = _core.certificate_info(party().chain[0])["spki"]
    attester = Evidence(spki)
    signed = sign(tmp_path, "model.pt", content, attester=attester)
    trusted(signed, content)
    verdict = product(tmp_path, "model.pt")
    assert verdict.answer == "VALID" and verdict.nodes[0].evidence is not None and verdict.nodes[0].evidence.bound
    manifest = Boxes.parse(signed.store).active
    assert manifest.assertions[-1].label == "c2pa.attestation"
    carried = manifest["c2pa.attestation"].content
    claim = cbor.loads(manifest.claim_bytes)
    claim["created_assertions"] = [e for e in claim["created_assertions"] if not e["url"].endswith("c2pa.attestation")]
    assert cbor.dumps(claim) == attester.claims[0]  # the partial claim
    assert carried["attestation-tbs"]["partial-claim-hash"] == hashlib.sha256(cbor.dumps(claim)).digest()
    assert carried["attestation-tbs"]["pub-key"] == spki
    report_data = hashlib.sha512(cbor.dumps(carried["attestation-tbs"])).digest()
    assert carried["attestation-results"] == td15(report_data=report_data).quote()


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_atlas_signs_is_what_the_profile_says(kind: str, tmp_path: Path) -> None:
    """Read with nothing of the product: digests, order, salts, hashes, encoding, signature."""
    name, content = TIGHT[kind], CONTENTS[kind]
    signed = sign(tmp_path, name, content)
    tree = jumbf.parse(signed.store)
    assert bytes(tree) == signed.store
    manifest = Boxes.parse(signed.store).active
    assert [a.label for a in manifest.assertions[:3]] == ["c2pa.hash.data", "c2pa.actions.v2", "c2pa.asset-type.v2"]
    assert manifest["c2pa.hash.data"].content["hash"] == hashlib.sha256(plain.bound(content)).digest()
    assert "exclusions" not in manifest["c2pa.hash.data"].content
    measured = manifest["org.atlasml.measurement"].content
    assert measured["tree"] == plain.tree(content)
    assert measured["size"] == plain.size(content)
    if not isinstance(content, bytes):
        assert measured["oms"] == plain.oms(content)
        assert measured["files"] == len(content)
        assert index_of(tmp_path / name).read_bytes() == plain.index(content)
    assert all(a.salt is not None and len(a.salt) == 32 for a in manifest.assertions)
    assert len({a.salt for a in manifest.assertions}) == len(manifest.assertions)
    assert manifest.box is not None
    links = manifest.claim["created_assertions"]
    for link, box in zip(links, manifest.box["c2pa.assertions"].children, strict=True):
        assert isinstance(box, jumbf.Super)
        assert link["url"].endswith("/" + box.label)
        assert link["hash"] == box.digest()
        assert cbor.dumps(cbor.loads(box.children[0].payload)) == box.children[0].payload  # type: ignore[union-attr]
    assert cbor.dumps(cbor.loads(manifest.claim_bytes)) == manifest.claim_bytes
    assert manifest.signature.payload is None
    assert manifest.signature.unprotected == {}
    assert manifest.signature.chain == party().chain
    assert manifest.signature.verify(manifest.claim_bytes)


@pytest.mark.parametrize("refer", [False, True], ids=["embedded", "referred to"])
@pytest.mark.parametrize("length", [1, 3, 32])
def test_chains_that_atlas_signs_are_trusted_by_c2pa_rs(length: int, refer: bool, tmp_path: Path) -> None:
    algs = list(cose.ALGORITHMS)
    inputs: list[Input] = []
    for n in range(length):
        name, content = f"step{n}/model.pt", b"step %d" % n
        signed = sign(tmp_path, name, content, alg=algs[n % len(algs)], inputs=inputs)
        inputs = [Input(name, signed.measurement, role="checkpoint", manifest=signed.store, refer=refer)]
    trusted(signed, content)
    assert len(Boxes.parse(signed.store).manifests) == (1 if refer else length)
    verdict = product(tmp_path, name)
    assert verdict.answer == "VALID", verdict.explain()
    assert len(verdict.nodes) == length


def test_directories_and_files_in_one_chain_are_trusted_by_c2pa_rs(tmp_path: Path) -> None:
    data = sign(tmp_path, "data", FILES)
    base = sign(tmp_path, "base.pt", b"base")
    inputs = [
        Input("base.pt", base.measurement, role="base model", manifest=base.store, relationship="parentOf"),
        Input("data", data.measurement, role="training data", manifest=data.store),
        Input("notes.txt", atlas.measure(chain.write_content(tmp_path, "notes.txt", b"notes"))),
    ]
    tuned = sign(tmp_path, "tuned.pt", b"tuned", inputs=inputs)
    trusted(tuned, b"tuned")
    verdict = product(tmp_path, "tuned.pt")
    assert verdict.answer == "VALID", verdict.explain()
    assert verdict.unknown == 1


@pytest.fixture
def authority() -> Iterator[str]:
    """The URL of a time stamping authority on this machine."""
    stamper = tsa.Tsa.under(TSA_ROOT)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = stamper.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_time_stamps_that_atlas_asks_for_are_trusted_by_c2pa_rs(alg: str, authority: str, tmp_path: Path) -> None:
    signed = sign(tmp_path, "model.pt", b"weights", alg=alg, tsa=authority)
    opinion = oracle.validate(signed.store, b"weights", roots=ROOT.pem + TSA_ROOT.pem)
    assert opinion.trusted, opinion
    assert {"timeStamp.validated", "timeStamp.trusted"} <= set(opinion.successes)
    verdict = product(tmp_path, "model.pt")
    assert verdict.answer == "VALID", verdict.explain()
    assert verdict.nodes[0].time_source == "timestamp"
    assert verdict.nodes[0].signed_at == int(pki.NOW.timestamp())


# ------------------------------------------------------------------------------------------ what c2pa-rs signs


def foreign(asset: bytes, *, alg: str = "ES256", parents: Sequence[oracle.Parent] = (), created: bool = True) -> bytes:
    signer = party(alg)
    return oracle.make(
        asset,
        alg=alg,
        chain_pem=signer.chain_pem,
        key_pem=signer.key_pem,
        roots=ROOT.pem,
        parents=parents,
        created=created,
        assertions=[{"label": "com.example.note", "data": {"b": 1, "a": [1.5, None, True]}}],
    )


def lay(root: Path, name: str, asset: bytes, sidecar: bytes) -> Path:
    path = chain.write_content(root, name, asset)
    sidecar_of(path).write_bytes(sidecar)
    return path


@pytest.mark.parametrize("created", [True, False], ids=["created", "gathered"])
@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_what_c2pa_rs_signs_is_valid_here(alg: str, created: bool, tmp_path: Path) -> None:
    """Its Builder lists assertions as gathered unless told otherwise."""
    path = lay(tmp_path, "foreign.bin", b"foreign", foreign(b"foreign", alg=alg, created=created))
    verdict = product(tmp_path, "foreign.bin")
    assert verdict.answer == "VALID", verdict.explain()
    path.write_bytes(b"foreigN")
    assert product(tmp_path, "foreign.bin").answer == "INVALID"


def test_chains_that_c2pa_rs_signs_are_valid_here(tmp_path: Path) -> None:
    sidecar = foreign(b"0")
    for n in range(1, 5):
        sidecar = foreign(b"%d" % n, parents=[oracle.Parent(sidecar, b"%d" % (n - 1))])
    lay(tmp_path, "foreign.bin", b"4", sidecar)
    verdict = product(tmp_path, "foreign.bin")
    assert verdict.answer == "VALID", verdict.explain()
    assert len(verdict.nodes) == 5


def test_each_can_build_on_what_the_other_signed(tmp_path: Path) -> None:
    """c2pa-rs -> Atlas -> c2pa-rs -> Atlas, every link embedded."""
    first = foreign(b"first")
    path = lay(tmp_path, "first.bin", b"first", first)
    second = sign(tmp_path, "second.pt", b"second", inputs=[Input("first.bin", atlas.measure(path), manifest=first)])
    trusted(second, b"second")
    third = foreign(b"third", parents=[oracle.Parent(second.store, b"second")])
    path = lay(tmp_path, "third.bin", b"third", third)
    fourth = sign(tmp_path, "fourth.pt", b"fourth", inputs=[Input("third.bin", atlas.measure(path), manifest=third)])
    trusted(fourth, b"fourth")
    verdict = product(tmp_path, "fourth.pt")
    assert verdict.answer == "VALID", verdict.explain()
    assert len(verdict.nodes) == 4


def test_the_toolkit_can_build_on_what_atlas_signed(tmp_path: Path) -> None:
    signed = sign(tmp_path, "base.pt", b"base")
    base = Made("base.pt", b"base", party(), Boxes.parse(signed.store))
    tuned = chain.make("tuned.pt", b"tuned", party("EdDSA"), [chain.Input(base)])
    tuned.write(tmp_path)
    assert oracle.validate(tuned.sidecar, b"tuned", roots=ROOT.pem).trusted
    verdict = product(tmp_path, "tuned.pt")
    assert verdict.answer == "VALID", verdict.explain()


def test_the_store_supplies_what_a_chain_refers_to(tmp_path: Path) -> None:
    """On another machine, without sidecars of the ancestors."""
    base = sign(tmp_path, "base.pt", b"base")
    inputs = [Input("base.pt", base.measurement, manifest=base.store, refer=True)]
    tuned = sign(tmp_path, "tuned.pt", b"tuned", inputs=inputs)
    there = tmp_path / "there"
    path = lay(there, "tuned.pt", b"tuned", tuned.store)
    shelf = Store(there / "shelf")
    assert atlas.verify(path, policy=POLICY, store=shelf).answer == "INCOMPLETE"
    shelf.put(base.store)
    verdict = atlas.verify(path, policy=POLICY, store=shelf)
    assert verdict.answer == "VALID", verdict.explain()
