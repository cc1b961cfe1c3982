"""Time: rows 29, 30 and 55. Only a trusted time stamp over this very signature moves the moment of verification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from arena import INVALID, MALFORMED, UNTRUSTED, VALID, Case, attack, clean, judge, table, told
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from edits import Change, both, envelope, signed_by
from forge import cbor, chain, pki, tsa, world
from forge.pki import days
from forge.world import CA, CLEAN, ROOT, TSA, TSA_ROOT, TUNED, Scene

EXPIRED = CA.leaf("Tuner", start=days(-100), end=days(-10))
THEN = days(-20)
REFUSED = (UNTRUSTED, INVALID, MALFORMED)
UNSTAMPED = chain.make("other.pt", b"other", world.TUNER)


def stamped(token: Callable[[bytes], bytes], signer: pki.Party = EXPIRED) -> Change:
    return both(signed_by(signer), envelope(token=token))


def by(authority: pki.Authority = TSA_ROOT, at: object = THEN, **flaws: object) -> Callable[[bytes], bytes]:
    """Stamped by an authority with such a certificate."""
    return tsa.Tsa.under(authority, **flaws).stamp(at)  # type: ignore[arg-type]


def unwrapped(message: bytes) -> bytes:
    """Over the counter-signature structure with the signature itself instead of its encoding."""
    structure = cbor.loads(message)
    structure[3] = cbor.loads(structure[3])
    return TSA.token(cbor.dumps(structure), at=THEN)


def raw(message: bytes) -> bytes:
    return TSA.token(cbor.loads(cbor.loads(message)[3]), at=THEN)


def two_tokens(scene: Scene) -> None:
    signed_by(EXPIRED)(scene)
    token = TSA.token(b"whatever", at=THEN)
    scene.node(TUNED).envelope.unprotected["sigTst2"] = {"tstTokens": [{"val": token}, {"val": token}]}


HONEST = stamped(TSA.stamp(THEN))

# In all of them the signer's certificate has expired and the time stamp, were it accepted, would make up for it.
STAMPS: list[tuple[str, Change]] = [
    ("none", signed_by(EXPIRED)),
    ("over other bytes", stamped(TSA.stamp(THEN, over=b"other"))),
    ("of another signature", stamped(lambda _: TSA.token(UNSTAMPED.store.active.signature.signature, at=THEN))),
    ("over the bare signature", stamped(raw)),
    ("over the signature wrapped once", stamped(unwrapped)),
    ("with a SHA-1 imprint", stamped(TSA.stamp(THEN, alg="sha1"))),
    ("with a signature that has a flipped bit", stamped(TSA.stamp(THEN, mangle=True))),
    ("whose signed digest is of other content", stamped(TSA.stamp(THEN, digest_lies=True))),
    ("of an authority that nobody trusts", stamped(by(pki.Authority.root("Other TSA Root")))),
    ("of an authority under the signers' root", stamped(by(ROOT))),
    ("of an authority that is only a signer", stamped(by(ekus=pki.SIGNING_EKUS, eku_critical=False))),
    ("of an authority without a purpose", stamped(by(ekus=None))),
    ("of an authority with a second purpose", stamped(by(ekus=(Eku.TIME_STAMPING, Eku.EMAIL_PROTECTION)))),
    ("of an authority whose purpose is not critical", stamped(by(eku_critical=False))),
    ("of an authority that had expired by then", stamped(by(start=days(-90), end=days(-30)))),
    ("of an authority that was not valid yet", stamped(by(start=days(-5), end=days(30)))),
    ("of the signer itself", stamped(tsa.Tsa(CA.leaf("Tuner", "PS256")).stamp(THEN))),
    ("without the authority's certificate", stamped(TSA.stamp(THEN, certificates=False))),
    ("after the certificate's end", stamped(TSA.stamp(days(-5)))),
    ("before the certificate's start", stamped(TSA.stamp(days(-200)))),
    ("that is a response and not a token", stamped(lambda m: TSA.response(TSA.token(m, at=THEN)))),
    ("that is rubbish", stamped(lambda m: b"\x30\x03rub")),
    ("that is empty", stamped(lambda m: b"")),
    ("cut by a byte", stamped(lambda m: TSA.token(m, at=THEN)[:-1])),
    ("twice", two_tokens),
]


@table(Case(f"a time stamp {what}", REFUSED, TUNED, change, HONEST) for what, change in STAMPS)
def test_an_expired_signer_needs_a_true_time_stamp(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# Where the certificate needs no time stamp, a false one is a false statement all the same ...
TRUE_BUT_UNKNOWN = ("none", "of an authority that nobody trusts", "of an authority under the signers' root")


def valid_by_itself(change: Change) -> Change:
    return both(change, signed_by(world.TUNER))


@table(
    Case(f"a time stamp {what}", REFUSED, TUNED, valid_by_itself(change), valid_by_itself(HONEST))
    for what, change in STAMPS
    if what not in (*TRUE_BUT_UNKNOWN, "after the certificate's end", "before the certificate's start")
)
def test_a_false_time_stamp_is_refused_even_where_none_is_needed(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


# ... and one of an authority that we do not know is no statement to us.
@pytest.mark.parametrize("what", TRUE_BUT_UNKNOWN)
def test_a_time_stamp_of_an_unknown_authority_changes_nothing(what: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    valid_by_itself(dict(STAMPS)[what])(scene)
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)
    assert {node.time_source for node in verdict.nodes} == {"now"}


EARLY = CA.leaf("Tuner", start=days(-10), end=days(100))
ORDER = [
    Case("a time stamp from the future", REFUSED, TUNED, stamped(TSA.stamp(days(3)), world.TUNER), HONEST),
    Case("a time stamp from before the certificate", REFUSED, TUNED, stamped(TSA.stamp(days(-20)), EARLY),
         stamped(TSA.stamp(days(-5)), EARLY)),
    Case("made before its input was", INVALID, TUNED,
         both(envelope(CLEAN, token=TSA.stamp(days(-2))), envelope(TUNED, token=TSA.stamp(days(-9)))),
         both(envelope(CLEAN, token=TSA.stamp(days(-9))), envelope(TUNED, token=TSA.stamp(days(-2))))),
]  # fmt: skip


@table(ORDER)
def test_trusted_times_must_make_sense(case: Case, tmp_path: Path) -> None:
    attack(case, tmp_path / "attack")
    clean(case, tmp_path / "twin")


@pytest.mark.parametrize("moment", [0, 1, 2**31 - 1, 4_102_444_800, 2**62], ids=["1970", "1s", "2038", "2100", "far"])
def test_a_clock_far_off_is_a_clear_error(moment: int, tmp_path: Path) -> None:
    """Row 55. Without time stamps the certificates are not valid then, and nothing crashes."""
    scene = Scene.at(tmp_path)
    verdict = judge(scene, scene.publish(), at=moment)
    assert verdict.answer == UNTRUSTED, told(verdict)


def test_a_stamped_chain_outlives_its_certificates(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    for manifest in scene.store:
        manifest.touch().envelope.token = TSA.stamp(days(-1))
    verdict = judge(scene, scene.publish(), at=4_102_444_800)
    assert verdict.answer == VALID, told(verdict)
    assert {node.time_source for node in verdict.nodes} == {"timestamp"}
    assert {node.signed_at for node in verdict.nodes} == {int(days(-1).timestamp())}


def test_an_unstamped_node_says_so(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    verdict = judge(scene, scene.publish())
    assert {node.time_source for node in verdict.nodes} == {"now"}


@pytest.mark.parametrize("alg", ["PS256", "ES256", "ES384"])
def test_time_stamps_of_rsa_and_ecdsa_authorities_count(alg: str, tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    stamped(by(name=f"TSA {alg}", alg=alg))(scene)
    verdict = judge(scene, scene.publish())
    assert verdict.answer == VALID, told(verdict)


def test_a_longer_imprint_counts(tmp_path: Path) -> None:
    scene = Scene.at(tmp_path)
    stamped(TSA.stamp(THEN, alg="sha512"))(scene)
    assert judge(scene, scene.publish()).answer == VALID
