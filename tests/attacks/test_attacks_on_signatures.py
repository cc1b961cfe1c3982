"""Signatures and identities: rows 19 to 28. The claim is honest; who signed it, how, or with what is not."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from arena import (
    INCOMPLETE,
    INVALID,
    LIMIT,
    MALFORMED,
    UNTRUSTED,
    VALID,
    Case,
    attack,
    clean,
    judge,
    policy,
    resealed,
    table,
    told,
    untouched,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from edits import Change, both, boxes, envelope, signed_by
from forge import chain, cose, pki, world
from forge.pki import days
from forge.world import ATTACKER, CA, EVALUATOR, REPORT, ROOT, TSA, TUNED, TUNER, Scene

from atlas.verify import verify

BROKEN = (MALFORMED, INVALID)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class Pen:
    """Signs in whatever way, under any algorithm's name and any certificates."""

    alg: str
    chain: list[bytes]
    sign: Callable[[bytes], bytes]


def with_chain(chain: list[bytes], name: str = TUNED) -> Change:
    return envelope(name, chain=chain)


# ------------------------------------------------------------------------------------ rows 19, 22, 23: the signature


def split(change: Callable[[int, int], tuple[int, int]]) -> Change:
    """Changes r and s of an ES256 signature."""

    def mangle(signature: bytes) -> bytes:
        r, s = change(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return envelope(mangle=mangle)


def as_der(signature: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def padded(signature: bytes) -> bytes:
    return bytes(34) + signature[:32] + bytes(34) + signature[32:]


def hmac_with_the_public_key(message: bytes) -> bytes:
    spki = TUNER.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hmac.new(spki, message, "sha256").digest()


RSA = CA.leaf("Tuner", "PS256")
EDDSA = CA.leaf("Tuner", "EdDSA")
P384 = CA.leaf("Tuner", "ES384")


def pkcs1(message: bytes) -> bytes:
    assert isinstance(RSA.key, rsa.RSAPrivateKey)
    return RSA.key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def pss(salt: int, mask: Any = hashes.SHA256) -> Callable[[bytes], bytes]:
    assert isinstance(RSA.key, rsa.RSAPrivateKey)
    key = RSA.key
    return lambda message: key.sign(message, padding.PSS(padding.MGF1(mask()), salt), hashes.SHA256())


def p384_with_sha256(message: bytes) -> bytes:
    assert isinstance(P384.key, ec.EllipticCurvePrivateKey)
    return P384.key.sign(message, ec.ECDSA(hashes.SHA256()))[-64:]


def alg_unprotected(scene: Scene) -> None:
    target = scene.node(TUNED).envelope
    target.alg = cose.ABSENT
    target.unprotected[1] = -7


SIGNATURES = [
    Case("no signature box", INCOMPLETE, TUNED, boxes(lambda t: t.children.remove(t["c2pa.signature"]))),
    Case("an empty signature", BROKEN, TUNED, envelope(mangle=lambda s: b"")),
    Case("a signature of zeros", INVALID, TUNED, envelope(mangle=lambda s: bytes(64))),
    Case("one bit flipped", INVALID, TUNED, envelope(mangle=lambda s: s[:-1] + bytes([s[-1] ^ 1]))),
    Case("DER instead of r and s", BROKEN, TUNED, envelope(mangle=as_der)),
    Case("one byte short", BROKEN, TUNED, envelope(mangle=lambda s: s[:-1])),
    Case("one byte long", BROKEN, TUNED, envelope(mangle=lambda s: s + b"\0")),
    Case("r and s padded to 66 bytes each", BROKEN, TUNED, envelope(mangle=padded)),
    Case("r = 0", INVALID, TUNED, split(lambda r, s: (0, s))),
    Case("s = 0", INVALID, TUNED, split(lambda r, s: (r, 0))),
    Case("r = n", INVALID, TUNED, split(lambda r, s: (P256_ORDER, s))),
    Case("s = n", INVALID, TUNED, split(lambda r, s: (r, P256_ORDER))),
    Case("over other bytes", INVALID, TUNED, envelope(message=lambda m: m + b"x")),
    Case("over the claim alone", INVALID, TUNED, envelope(message=lambda m: m[20:])),
    Case("by another key under the same certificate", INVALID, TUNED, signed_by(replace(TUNER, key=ATTACKER.key))),
    Case("the algorithm only in the unprotected header", BROKEN, TUNED, alg_unprotected),
    Case("no algorithm", BROKEN, TUNED, envelope(alg=cose.ABSENT)),
    Case("a text for an algorithm", BROKEN, TUNED, envelope(alg="ES256")),
    Case("another curve's algorithm", BROKEN, TUNED, envelope(alg=-35)),
    Case("another family's algorithm", BROKEN, TUNED, envelope(alg=-37)),
    Case("ES256 with a P-384 key", BROKEN, TUNED, signed_by(Pen("ES256", P384.chain, p384_with_sha256))),
    Case("ES256 with an RSA key", BROKEN, TUNED, signed_by(Pen("ES256", RSA.chain, RSA.sign))),
    Case("EdDSA with a P-256 key", BROKEN, TUNED, signed_by(Pen("EdDSA", TUNER.chain, TUNER.sign))),
    Case("ES256 with an Ed25519 key", BROKEN, TUNED, signed_by(Pen("ES256", EDDSA.chain, EDDSA.sign))),
    Case("HMAC with the public key", BROKEN, TUNED, both(
        signed_by(Pen("ES256", TUNER.chain, hmac_with_the_public_key)), envelope(alg=5))),
    Case("RSA PKCS#1 v1.5 under its own name", BROKEN, TUNED, both(
        signed_by(Pen("PS256", RSA.chain, pkcs1)), envelope(alg=-257))),
    Case("RSA PKCS#1 v1.5 under the name PS256", INVALID, TUNED, signed_by(Pen("PS256", RSA.chain, pkcs1))),
    Case("PSS without salt", INVALID, TUNED, signed_by(Pen("PS256", RSA.chain, pss(0)))),
    Case("PSS with another mask", INVALID, TUNED, signed_by(Pen("PS256", RSA.chain, pss(32, hashes.SHA384)))),
    Case("an algorithm not in the profile, secp256k1", BROKEN, TUNED, envelope(alg=-47)),
    Case("an algorithm not in the profile, ML-DSA", BROKEN, TUNED, envelope(alg=-49)),
    Case("the algorithm 0", BROKEN, TUNED, envelope(protected=lambda header: {**header, 1: 0})),
]  # fmt: skip


@table(SIGNATURES)
def test_a_signature_that_does_not_hold_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def test_the_other_form_of_an_ecdsa_signature_is_the_same_claim(tmp_path: Path) -> None:
    """Row 23: s and n - s both verify. Nothing may be keyed by the bytes of a signature."""
    scene = Scene.at(tmp_path)
    split(lambda r, s: (r, P256_ORDER - s))(scene)
    assert judge(scene, scene.publish()).answer == VALID


@pytest.mark.parametrize("alg", cose.ALGORITHMS)
def test_every_algorithm_of_the_profile_is_valid_and_its_flipped_bits_are_not(alg: str, tmp_path: Path) -> None:
    party = CA.leaf("Tuner", alg)
    for mangled, answer in (False, VALID), (True, INVALID):
        scene = Scene.at(tmp_path / str(mangled))
        signed_by(party)(scene)
        if mangled:
            envelope(mangle=lambda s: s[:20] + bytes([s[20] ^ 4]) + s[21:])(scene)
        verdict = judge(scene, scene.publish())
        assert verdict.answer == answer, told(verdict)


# ------------------------------------------------------------------------ rows 21, 24-27: certificates and their chain

IDENTITY = b"\1" + bytes(31)  # the neutral element: with it, R = identity and S = 0 sign every message
SMALL_ORDER = [
    IDENTITY,
    b"\xec" + b"\xff" * 30 + b"\x7f",
    bytes(32),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]
NOT_CANONICAL = b"\xee" + b"\xff" * 30 + b"\x7f"


def weak_ed25519(public: bytes) -> Pen:
    party = CA.leaf("Tuner", "EdDSA", public=Ed25519PublicKey.from_public_bytes(public))
    return Pen("EdDSA", party.chain, lambda message: IDENTITY + bytes(32))


def beneath(authority: pki.Authority, name: str = "Tuner") -> Change:
    return signed_by(authority.leaf(name))


BOUNDED = ROOT.intermediate("Bounded CA", path_length=0)
NOT_A_CA = CA.leaf("Not a CA")
NO_CA = pki.Authority("Not a CA", NOT_A_CA.key, NOT_A_CA.leaf, (NOT_A_CA.leaf, *NOT_A_CA.above))
PAST = {"start": days(-100), "end": days(-10)}
FUTURE = {"start": days(10), "end": days(100)}
ROOT_TWIN = pki.Authority.root("Forge Root", key_name="an impostor")

IDENTITIES = [
    Case("a root that nobody trusts, the names copied", UNTRUSTED, TUNED, signed_by(ATTACKER)),
    Case("a look-alike root in the chain", UNTRUSTED, TUNED, both(
        signed_by(ATTACKER), with_chain([*ATTACKER.chain, pki.der(ROOT_TWIN.certificate)]))),
    Case("a trusted root's certificate after a foreign chain", UNTRUSTED, TUNED, both(
        signed_by(ATTACKER), with_chain([*ATTACKER.chain, pki.der(CA.certificate), pki.der(ROOT.certificate)]))),
    Case("a self-signed leaf with the same name", UNTRUSTED, TUNED, signed_by(pki.self_signed("Tuner"))),
    Case("a self-signed CA with the root's name as signer", UNTRUSTED, TUNED, signed_by(
        pki.self_signed("Forge Root", ca=True, usages=("digital_signature", "key_cert_sign")))),
    Case("the intermediate left out", UNTRUSTED, TUNED, with_chain(TUNER.chain[:1])),
    Case("the chain in the other order", (UNTRUSTED, INVALID), TUNED, with_chain(TUNER.chain[::-1])),
    Case("another party's leaf in front", INVALID, TUNED, with_chain(EVALUATOR.chain)),
    Case("another party's leaf in front of one's own", INVALID, TUNED, with_chain([EVALUATOR.chain[0], *TUNER.chain])),
    Case("an unrelated certificate at the end", UNTRUSTED, TUNED, with_chain([*TUNER.chain, ATTACKER.chain[0]])),
    Case("no certificates", BROKEN, TUNED, envelope(protected=lambda header: {1: header[1]})),
    Case("an empty list of certificates", BROKEN, TUNED, envelope(protected=lambda header: {**header, 33: []})),
    Case("a certificate cut by a byte", BROKEN, TUNED, with_chain([TUNER.chain[0][:-1], *TUNER.chain[1:]])),
    Case("a byte after a certificate", BROKEN, TUNED, with_chain([TUNER.chain[0] + b"\0", *TUNER.chain[1:]])),
    Case("too many certificates", LIMIT, TUNED, with_chain([TUNER.chain[0], *TUNER.chain[1:] * 16])),
    Case("a key identifier of someone trusted", UNTRUSTED, TUNED, both(
        signed_by(ATTACKER), envelope(protected=lambda header: {**header, 4: bytes.fromhex(TUNER.spki_sha256)}))),
    *(Case(what, UNTRUSTED, TUNED, signed_by(CA.leaf("Tuner", **flaw))) for what, flaw in pki.LEAF_FLAWS.items()),
    Case("an expired leaf", UNTRUSTED, TUNED, signed_by(CA.leaf("Tuner", **PAST))),
    Case("a leaf of the future", UNTRUSTED, TUNED, signed_by(CA.leaf("Tuner", **FUTURE))),
    Case("an RSA key of 1024 bits", (UNTRUSTED, INVALID), TUNED, signed_by(
        CA.leaf("Tuner", "PS256", private=pki.key("PS256", "small", bits=1024)))),
    Case("an intermediate without the CA bit", UNTRUSTED, TUNED, beneath(ROOT.intermediate("No CA", ca=False))),
    Case("an intermediate without constraints", UNTRUSTED, TUNED, beneath(
        ROOT.intermediate("No BC", constraints=False))),
    Case("an intermediate that must not sign certificates", UNTRUSTED, TUNED, beneath(
        ROOT.intermediate("No usage", usages=("crl_sign",)))),
    Case("a leaf below a leaf", UNTRUSTED, TUNED, beneath(NO_CA)),
    Case("a path longer than allowed", UNTRUSTED, TUNED, beneath(BOUNDED.intermediate("Too deep"))),
    Case("an expired intermediate", UNTRUSTED, TUNED, beneath(ROOT.intermediate("Old CA", **PAST))),
    Case("an intermediate of the future", UNTRUSTED, TUNED, beneath(ROOT.intermediate("Early CA", **FUTURE))),
    Case("an intermediate with an unknown critical extension", UNTRUSTED, TUNED, beneath(
        ROOT.intermediate("Odd CA", extra=((pki.UNKNOWN_EXTENSION, True),)))),
    *(Case(f"a small-order Ed25519 key {n}", (UNTRUSTED, INVALID), TUNED, signed_by(weak_ed25519(public)))
      for n, public in enumerate(SMALL_ORDER)),
    Case("an Ed25519 key that is not canonical", (UNTRUSTED, INVALID), TUNED, signed_by(weak_ed25519(NOT_CANONICAL))),
    Case("a forged grandparent", UNTRUSTED, world.RAW, signed_by(ATTACKER, world.RAW)),
    Case("a forged report", UNTRUSTED, REPORT, signed_by(ATTACKER, REPORT)),
]  # fmt: skip


@table(IDENTITIES)
def test_a_signer_that_the_roots_do_not_vouch_for_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


ACCEPTED: list[tuple[str, Change]] = [
    ("the root at the end", with_chain([*TUNER.chain, pki.der(ROOT.certificate)])),
    ("a leaf right under the root", signed_by(ROOT.leaf("Tuner"))),
    ("two intermediates", beneath(CA.intermediate("Second CA"))),
    ("a path exactly as long as allowed", beneath(BOUNDED)),
    ("claim signing as the only purpose", signed_by(CA.leaf("Tuner", ekus=(pki.CLAIM_SIGNING,)))),
    ("an unknown extension that is not critical", signed_by(CA.leaf("Tuner", extra=((pki.UNKNOWN_EXTENSION, False),)))),
]


@pytest.mark.parametrize(("what", "change"), ACCEPTED, ids=[what for what, _ in ACCEPTED])
def test_what_a_chain_may_look_like_is_valid(what: str, change: Change, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    change(scene)
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)


# ------------------------------------------------------------------------------------------------ row 28: revocation


def at(moment: Any) -> Change:
    """Signed then, by a trusted time stamp."""
    return envelope(token=TSA.stamp(moment))


LIST = CA.crl((TUNER.leaf, days(-5))).encode()
CLEAN_LISTS = (CA.crl().encode(), ROOT.crl().encode())
UPPER = ROOT.crl((CA.certificate, days(-5))).encode()
IMPOSTOR = world.OTHER_CA.crl((TUNER.leaf, days(-5))).encode()


def stamped_all(scene: Scene) -> None:
    """Everything was signed before the revocation."""
    for manifest in scene.store:
        manifest.touch().envelope.token = TSA.stamp(days(-6))


def stapled(*responses: bytes) -> Change:
    return envelope(ocsp=list(responses))


REVOKED = {"policy": {"crls": (LIST,)}}
REVOCATIONS = [
    Case("revoked, no time stamp", UNTRUSTED, TUNED, resealed, at(days(-6)), **REVOKED),
    Case("revoked before it was signed", UNTRUSTED, TUNED, at(days(-4)), at(days(-6)), **REVOKED),
    Case("revoked before it was signed, by its stapled response", UNTRUSTED, TUNED,
         both(at(days(-4)), stapled(CA.ocsp(TUNER.leaf, revoked=days(-5)))),
         both(at(days(-4)), stapled(CA.ocsp(TUNER.leaf)))),
    Case("the stapled response of a delegate says revoked", UNTRUSTED, TUNED,
         stapled(CA.ocsp(TUNER.leaf, revoked=days(-5), responder=pki.responder(CA))),
         stapled(CA.ocsp(TUNER.leaf, responder=pki.responder(CA)))),
    Case("an intermediate that was revoked", UNTRUSTED, TUNED, untouched, stamped_all, policy={"crls": (UPPER,)}),
]  # fmt: skip


@table(REVOCATIONS)
def test_a_revoked_signer_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def test_a_revocation_after_signing_is_said(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    at(days(-6))(scene)
    verdict = judge(scene, scene.publish(), rules={"crls": (LIST,)})
    assert verdict.answer == VALID, told(verdict)
    assert any("revoked" in check.text for check in verdict.checks)


def test_a_revocation_list_of_someone_else_revokes_nobody(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    verdict = judge(scene, scene.publish(), rules={"crls": (IMPOSTOR,)})
    assert verdict.answer == VALID, told(verdict)


UPPER_LIST = (ROOT.crl().encode(),)
COVERING: list[tuple[str, str, tuple[bytes, ...], list[bytes]]] = [
    ("fresh lists", VALID, CLEAN_LISTS, []),
    ("a stapled good response and the root's list", VALID, UPPER_LIST, [CA.ocsp(TUNER.leaf)]),
    ("a stapled good response and nothing about the intermediate", INCOMPLETE, (), [CA.ocsp(TUNER.leaf)]),
    ("only the root's list", INCOMPLETE, UPPER_LIST, []),
    ("nothing", INCOMPLETE, (), []),
    ("an old list", INCOMPLETE, (CA.crl(start=-30, end=-20).encode(), ROOT.crl(start=-30, end=-20).encode()), []),
    ("a list of someone else", INCOMPLETE, (world.OTHER_CA.crl().encode(), world.OTHER_ROOT.crl().encode()), []),
    ("an old response", INCOMPLETE, UPPER_LIST, [CA.ocsp(TUNER.leaf, start=-30, end=-20)]),
    ("a response about someone else", INCOMPLETE, UPPER_LIST, [CA.ocsp(EVALUATOR.leaf)]),
    ("a response by an impostor", INCOMPLETE, UPPER_LIST, [world.OTHER_CA.ocsp(TUNER.leaf)]),
    ("a response by the signer itself", INCOMPLETE, UPPER_LIST, [CA.ocsp(TUNER.leaf, responder=TUNER)]),
    ("a response by a delegate", VALID, UPPER_LIST, [CA.ocsp(TUNER.leaf, responder=pki.responder(CA))]),
    ("rubbish for a response", INCOMPLETE, UPPER_LIST, [b"rubbish"]),
]


@pytest.mark.parametrize(("what", "answer", "lists", "responses"), COVERING, ids=[row[0] for row in COVERING])
def test_required_revocation_data_must_cover_the_signer(
    what: str, answer: str, lists: tuple[bytes, ...], responses: list[bytes], tmp_path: Path
) -> None:
    made = chain.make("model.pt", b"weights", TUNER, envelope=cose.Envelope(ocsp=responses))
    path = made.write(tmp_path)
    rules = policy(crls=lists, require_revocation=True)
    verdict = verify(path, policy=rules, store=tmp_path / ".store")
    assert verdict.answer == answer, told(verdict)


# ------------------------------------------------------------------------------------------------- pinned signers

PARTIES = [world.CURATOR, world.PREPARER, world.LAB, TUNER, EVALUATOR]
NAMES = [party.name for party in PARTIES]
KEYS = [party.spki_sha256 for party in PARTIES]
STRANGER = CA.leaf("Somebody Else")
NAMESAKE = CA.leaf("Tuner", private=pki.key("ES256", "another Tuner"))

PINS = [
    Case("another key under the same root", UNTRUSTED, TUNED, signed_by(STRANGER), options={"signer": NAMES}),
    Case("a namesake where keys are pinned", UNTRUSTED, TUNED, signed_by(NAMESAKE), options={"signer": KEYS}),
    Case("a longer name", UNTRUSTED, TUNED, signed_by(CA.leaf("Tuner 2")), options={"signer": NAMES}),
    Case("a shorter name", UNTRUSTED, TUNED, signed_by(CA.leaf("Tune")), options={"signer": NAMES}),
    Case("a name in other case", UNTRUSTED, TUNED, signed_by(CA.leaf("TUNER")), options={"signer": NAMES}),
    Case("a name with a NUL", UNTRUSTED, TUNED, signed_by(CA.leaf("Tuner\0x")), options={"signer": NAMES}),
    Case("the organisation's name for a signer's", UNTRUSTED, TUNED, signed_by(CA.leaf("Forge")),
         options={"signer": NAMES}),
    Case("a pinned name under a foreign root", UNTRUSTED, TUNED, signed_by(ATTACKER), options={"signer": NAMES}),
    Case("another key for the report", UNTRUSTED, REPORT, signed_by(STRANGER, REPORT), options={"signer": NAMES}),
    Case("another key for the raw data", UNTRUSTED, world.RAW, signed_by(STRANGER, world.RAW),
         options={"signer": NAMES}),
]  # fmt: skip


@table(PINS)
def test_a_signer_that_is_not_pinned_is_refused(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


def test_the_verdict_names_every_signer(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    verdict = judge(scene, scene.publish())
    assert {node.signer.name for node in verdict.nodes if node.signer} == set(NAMES)
    for name in NAMES:
        assert name in verdict.explain()
    spki = {node.signer.spki for node in verdict.nodes if node.signer}
    assert spki == set(KEYS)
    assert all(len(value) == hashlib.sha256().digest_size * 2 for value in spki)
