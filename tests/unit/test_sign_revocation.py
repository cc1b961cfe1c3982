"""Revocation: CRLs and stapled OCSP responses against the time of signing and the time of checking."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import ObjectIdentifier
from forge import pki
from forge.tsa import children, oid, sequence, tlv

from atlas import _core
from atlas.errors import AtlasError, MalformedError, VerificationError

NOW = int(pki.NOW.timestamp())
DAY = 86400
ROOT = pki.Authority.root("Revocation Root")
MIDDLE = ROOT.intermediate("Middle")
ALICE = MIDDLE.leaf("Alice")
BOB = MIDDLE.leaf("Bob")
NOTHING = {"leaf_covered": False, "issuers_covered": False, "stale": False, "revoked_later": False, "revoked_at": 0}

UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.62558.999"), b"\x05\x00")


def crl(
    authority: pki.Authority = MIDDLE,
    revoked: Any = None,
    *,
    at: float = -5,
    start: float = -1,
    end: float = 7,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    entry_extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    key: Any = None,
    digest: Any = hashes.SHA256,
) -> bytes:
    """A DER revocation list, with any flaw one asks for."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(pki.days(start))
        .next_update(pki.days(end))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    if revoked is not None:
        entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number).revocation_date(pki.days(at))
        for extension, critical in entry_extensions:
            entry = entry.add_extension(extension, critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or authority.key, digest()).public_bytes(Encoding.DER)


def check(*crls: bytes, time: float = 0, now: float = 0, chain: list[bytes] | None = None) -> dict[str, Any]:
    trust = _core.Trust(ROOT.pem.encode(), crls=crls)
    return dict(
        trust.check_chain(chain or ALICE.chain, NOW + int(time * DAY), NOW + int(now * DAY))["revocation"],
    )


def assert_revoked(*crls: bytes, time: float = 0, now: float = 0, chain: list[bytes] | None = None) -> None:
    with pytest.raises(VerificationError) as caught:
        check(*crls, time=time, now=now, chain=chain)
    assert caught.value.code == "ATLAS_E_REVOKED"


# ---------------------------------------------------------------------------------------------------------- coverage


def test_without_any_list_nothing_is_said_to_be_covered() -> None:
    assert check() == NOTHING


def test_current_lists_of_every_issuer_cover_the_chain() -> None:
    assert check(crl()) == {**NOTHING, "leaf_covered": True}
    assert check(crl(ROOT)) == {**NOTHING, "issuers_covered": True}
    assert check(crl(), crl(ROOT)) == {**NOTHING, "leaf_covered": True, "issuers_covered": True}


def test_directly_under_the_root_there_is_no_other_issuer_to_cover() -> None:
    chain = ROOT.leaf("Direct").chain
    assert check(chain=chain) == {**NOTHING, "issuers_covered": True}
    assert check(crl(ROOT), chain=chain) == {**NOTHING, "leaf_covered": True, "issuers_covered": True}


def test_lists_may_come_in_pem_and_several_in_one_text() -> None:
    pem = MIDDLE.crl() + ROOT.crl()
    assert check(pem.encode()) == {**NOTHING, "leaf_covered": True, "issuers_covered": True}


def test_a_list_that_is_not_current_is_reported_as_stale() -> None:
    outdated = crl(start=-10, end=-1)
    assert check(outdated) == {**NOTHING, "stale": True}
    assert check(crl(start=2, end=9)) == {**NOTHING, "stale": True}
    assert check(outdated, crl()) == {**NOTHING, "leaf_covered": True}


def test_current_means_now_and_not_when_it_was_signed() -> None:
    archived = crl(start=-20, end=-10)
    assert check(archived, time=-15) == {**NOTHING, "stale": True}
    assert check(crl(), time=-15) == {**NOTHING, "leaf_covered": True}


def test_a_list_need_not_remember_certificates_that_had_expired_before_it() -> None:
    old = MIDDLE.leaf("Old", start=pki.days(-50), end=pki.days(-20)).chain
    assert check(crl(), time=-30, chain=old) == {**NOTHING, "stale": True}
    assert check(crl(), time=-30)["leaf_covered"]


def test_a_list_without_an_end_covers_nothing() -> None:
    """nextUpdate is optional in ASN.1; RFC 5280 and we require it."""
    whole = crl()
    parsed = x509.load_der_x509_crl(whole)
    tbs = parsed.tbs_certlist_bytes
    moment = pki.days(7).strftime("%y%m%d%H%M%SZ").encode()
    field = b"\x17" + bytes([len(moment)]) + moment
    assert tbs.count(field) == 1
    body = tbs[2 if tbs[1] < 0x80 else 2 + (tbs[1] & 0x7F) :].replace(field, b"")
    shorter = sequence(body)
    signature = MIDDLE.key.sign(shorter, pki.ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, call-arg, arg-type]
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    der = sequence(shorter + algorithm + b"\x03" + bytes([len(signature) + 1]) + b"\0" + signature)
    assert x509.load_der_x509_crl(der).next_update_utc is None
    assert check(der) == {**NOTHING, "stale": True}


# ---------------------------------------------------------------------------------------------------------- revoked


def test_revoked_before_signing_is_refused_and_after_it_is_noted() -> None:
    listed = crl(revoked=ALICE.leaf, at=-5)
    assert_revoked(listed)
    assert_revoked(listed, time=-5)
    assert check(listed, time=-6) == {
        **NOTHING,
        "leaf_covered": True,
        "revoked_later": True,
        "revoked_at": NOW - 5 * DAY,
    }


def test_the_clean_twin_beside_a_revoked_certificate_is_trusted() -> None:
    listed = crl(revoked=ALICE.leaf)
    assert check(listed, chain=BOB.chain) == {**NOTHING, "leaf_covered": True}


def test_a_revoked_intermediate_revokes_what_it_issued() -> None:
    assert_revoked(crl(ROOT, revoked=MIDDLE.certificate))
    assert check(crl(ROOT, revoked=MIDDLE.certificate), time=-6)["revoked_later"]


def test_the_same_serial_number_of_another_issuer_means_nothing() -> None:
    other = ROOT.intermediate("Other")
    assert check(crl(other, revoked=ALICE.leaf)) == NOTHING
    assert check(crl(ROOT, revoked=ALICE.leaf)) == {**NOTHING, "issuers_covered": True}


def test_a_stale_list_still_revokes() -> None:
    assert_revoked(crl(revoked=ALICE.leaf, at=-15, start=-10, end=-1))


def test_one_of_several_lists_is_enough_to_revoke() -> None:
    assert_revoked(crl(), crl(revoked=ALICE.leaf))
    assert_revoked(crl(revoked=ALICE.leaf), crl())


def test_every_reason_counts_hold_included() -> None:
    for reason in (x509.ReasonFlags.key_compromise, x509.ReasonFlags.certificate_hold, x509.ReasonFlags.superseded):
        assert_revoked(crl(revoked=ALICE.leaf, entry_extensions=((x509.CRLReason(reason), False),)))


def test_a_key_is_doubted_from_its_invalidity_date_on() -> None:
    def listed(invalid: float) -> bytes:
        date = x509.InvalidityDate(pki.days(invalid).replace(tzinfo=None))
        return crl(revoked=ALICE.leaf, at=-2, entry_extensions=((date, False),))

    assert_revoked(listed(-9), time=-5)
    assert check(listed(-9), time=-10)["revoked_at"] == NOW - 9 * DAY
    assert check(listed(-1), time=-5)["revoked_at"] == NOW - 2 * DAY


def test_the_earliest_of_several_later_revocations_is_reported() -> None:
    result = check(crl(revoked=ALICE.leaf, at=-1), crl(revoked=ALICE.leaf, at=-3), time=-10)
    assert result["revoked_at"] == NOW - 3 * DAY


# -------------------------------------------------------------------------------------- lists that must not be heard


def point(**fields: Any) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        **{
            "full_name": None,
            "relative_name": None,
            "only_contains_user_certs": False,
            "only_contains_ca_certs": False,
            "only_some_reasons": None,
            "indirect_crl": False,
            "only_contains_attribute_certs": False,
            **fields,
        }
    )


URL = [x509.UniformResourceIdentifier("http://crl.example/1.crl")]
ELSEWHERE = [x509.UniformResourceIdentifier("http://crl.example/2.crl")]


@pytest.mark.parametrize(
    "flaws",
    [
        {"key": pki.key("ES256", "mallory")},
        {"digest": hashes.SHA224},
        {"extensions": ((UNKNOWN, True),)},
        {"extensions": ((x509.DeltaCRLIndicator(1), True),)},
        {"extensions": ((x509.DeltaCRLIndicator(1), False),)},
        {"extensions": ((point(indirect_crl=True), True),)},
        {"extensions": ((point(only_contains_ca_certs=True), True),)},
        {"extensions": ((point(only_contains_attribute_certs=True), True),)},
        {"extensions": ((point(only_some_reasons=frozenset([x509.ReasonFlags.superseded])), True),)},
        {"extensions": ((point(full_name=URL), True),)},
    ],
    ids=[
        "forged",
        "SHA-224",
        "unknown critical",
        "delta",
        "delta, not critical",
        "indirect",
        "CAs only",
        "attributes",
        "reasons",
        "elsewhere",
    ],
)
def test_a_list_that_does_not_speak_for_this_certificate_is_not_heard(flaws: dict[str, Any]) -> None:
    assert check(crl(**flaws)) == NOTHING


@pytest.mark.parametrize(
    "flaws",
    [
        {},
        {"extensions": ((UNKNOWN, False),)},
        {"extensions": ((x509.CRLNumber(7), False),)},
        {"extensions": ((point(only_contains_user_certs=True), True),)},
    ],
    ids=["plain", "unknown extension", "numbered", "users only"],
)
def test_its_clean_twins_are_heard(flaws: dict[str, Any]) -> None:
    assert check(crl(**flaws)) == {**NOTHING, "leaf_covered": True}
    assert_revoked(crl(revoked=ALICE.leaf, **flaws))


def test_a_list_for_users_only_says_nothing_about_an_intermediate() -> None:
    users = ((point(only_contains_user_certs=True), True),)
    authorities = ((point(only_contains_ca_certs=True), True),)
    assert check(crl(ROOT, extensions=users)) == NOTHING
    assert check(crl(ROOT, extensions=authorities)) == {**NOTHING, "issuers_covered": True}


def test_a_list_of_a_distribution_point_speaks_for_certificates_that_point_there() -> None:
    def leaf(name: list[Any]) -> list[bytes]:
        points = x509.CRLDistributionPoints([x509.DistributionPoint(name, None, None, None)])
        return MIDDLE.leaf("Pointed", extra=((points, False),)).chain

    listed = crl(extensions=((point(full_name=URL), True),))
    assert check(listed, chain=leaf(URL)) == {**NOTHING, "leaf_covered": True}
    assert check(listed, chain=leaf([*ELSEWHERE, *URL])) == {**NOTHING, "leaf_covered": True}
    assert check(listed, chain=leaf(ELSEWHERE)) == NOTHING
    relative = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "1.crl")])
    points = x509.CRLDistributionPoints([x509.DistributionPoint(None, relative, None, None)])
    assert check(listed, chain=MIDDLE.leaf("Relative", extra=((points, False),)).chain) == NOTHING
    relative_list = crl(extensions=((point(relative_name=relative), True),))
    assert check(relative_list, chain=leaf(URL)) == NOTHING


def test_an_issuer_that_may_not_sign_lists_is_not_heard() -> None:
    silent = ROOT.intermediate("Silent", usages=("key_cert_sign",))
    assert check(crl(silent), chain=silent.leaf("Leaf").chain) == NOTHING


@pytest.mark.parametrize(
    "data",
    [b"", b"no list", b"\x30\x03\x02\x01\x01", crl() + b"\0", crl()[:-1], ROOT.pem.encode()],
    ids=["empty", "text", "another structure", "trailing", "cut", "certificate"],
)
def test_a_file_that_is_no_list_is_an_error(data: bytes) -> None:
    with pytest.raises(MalformedError, match="no revocation list: CRL"):
        check(MIDDLE.crl().replace(" X509 CRL-", " CRL-").encode())
    with pytest.raises(MalformedError) as caught:
        check(data)
    assert caught.value.code == "ATLAS_E_X509"


# ------------------------------------------------------------------------------------------------------------- OCSP


def response(
    leaf: x509.Certificate = ALICE.leaf,
    *,
    issuer: pki.Authority = MIDDLE,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    revoked: float | None = None,
    start: float = -1,
    end: float | None = 7,
    responder: pki.Party | None = None,
    carry: bool = True,
    algorithm: Any = hashes.SHA1,
    digest: Any = hashes.SHA256,
    by_name: bool = False,
    extension: tuple[x509.ExtensionType, bool] | None = None,
) -> bytes:
    moment = None if revoked is None else pki.days(revoked)
    status = status if revoked is None else ocsp.OCSPCertStatus.REVOKED
    signer = responder.leaf if responder else issuer.certificate
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    until = None if end is None else pki.days(end)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(leaf, issuer.certificate, algorithm(), status, pki.days(start), until, moment, None)
        .responder_id(encoding, signer)
    )
    if responder and carry:
        builder = builder.certificates([responder.leaf])
    if extension:
        builder = builder.add_extension(*extension)
    signing_key: Any = responder.key if responder else issuer.key
    return builder.sign(signing_key, digest()).public_bytes(Encoding.DER)


def ask(data: bytes, *, time: float = 0, now: float = 0, crls: tuple[bytes, ...] = (), chain: Any = None) -> Any:
    trust = _core.Trust(ROOT.pem.encode(), crls=crls)
    return trust.check_ocsp(data, chain or ALICE.chain, NOW + int(time * DAY), NOW + int(now * DAY))


def ocsp_refusal(data: bytes, **arguments: Any) -> str:
    with pytest.raises(AtlasError) as caught:
        ask(data, **arguments)
    return caught.value.code


def test_a_good_response_of_the_issuer_is_good() -> None:
    assert ask(response()) == {
        "status": "good",
        "this_update": NOW - DAY,
        "next_update": NOW + 7 * DAY,
        "revoked_at": 0,
    }


@pytest.mark.parametrize("algorithm", [hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512])
def test_the_certificate_may_be_named_with_any_usual_hash(algorithm: Any) -> None:
    assert ask(response(algorithm=algorithm))["status"] == "good"


def test_the_responder_may_be_named_by_name() -> None:
    assert ask(response(by_name=True))["status"] == "good"
    assert ask(response(responder=pki.responder(MIDDLE), by_name=True))["status"] == "good"


def test_a_delegated_responder_is_accepted() -> None:
    assert ask(response(responder=pki.responder(MIDDLE)))["status"] == "good"


def test_revoked_before_signing_is_refused_by_ocsp_and_after_it_is_noted() -> None:
    assert ocsp_refusal(response(revoked=-5)) == "ATLAS_E_REVOKED"
    assert ocsp_refusal(response(revoked=-5), time=-5) == "ATLAS_E_REVOKED"
    later = ask(response(revoked=-5), time=-6)
    assert (later["status"], later["revoked_at"]) == ("revoked later", NOW - 5 * DAY)


def test_a_certificate_that_the_responder_does_not_know_is_neither_good_nor_revoked() -> None:
    assert ask(response(status=ocsp.OCSPCertStatus.UNKNOWN))["status"] == "unknown"


def test_a_response_holds_at_the_time_of_signing_or_was_made_since() -> None:
    stapled = response(start=-10, end=-3)
    assert ask(stapled, time=-5)["status"] == "good"
    assert ask(stapled, time=-12)["status"] == "good"
    assert ocsp_refusal(stapled, time=-1) == "ATLAS_E_EXPIRED"
    assert ocsp_refusal(stapled) == "ATLAS_E_EXPIRED"
    assert ocsp_refusal(response(start=1, end=7)) == "ATLAS_E_EXPIRED"
    assert ocsp_refusal(response(end=None)) == "ATLAS_E_EXPIRED"


def test_a_revocation_is_believed_however_old_the_response_is() -> None:
    assert ocsp_refusal(response(revoked=-9, start=-10, end=-3)) == "ATLAS_E_REVOKED"
    assert ocsp_refusal(response(revoked=-9, end=None)) == "ATLAS_E_REVOKED"


def test_a_response_about_another_certificate_says_nothing() -> None:
    assert ocsp_refusal(response(BOB.leaf)) == "ATLAS_E_NOT_FOUND"
    same_serial = ROOT.intermediate("Other").leaf("Alice")
    assert ocsp_refusal(response(same_serial.leaf, issuer=same_serial.issuer)) == "ATLAS_E_CREDENTIAL"  # type: ignore[arg-type]


def test_only_the_issuer_and_its_delegates_may_answer() -> None:
    stranger = pki.Authority.root("Stranger")
    for responder in (
        pki.responder(ROOT),  # the issuer's issuer gave it OCSPSigning, the issuer did not
        pki.responder(stranger),
        MIDDLE.leaf("No responder"),  # an ordinary signer under the same issuer
        BOB,
        pki.responder(MIDDLE, ekus=(Eku.OCSP_SIGNING, Eku.SERVER_AUTH)),
        pki.responder(MIDDLE, ekus=None),
    ):
        assert ocsp_refusal(response(responder=responder)) == "ATLAS_E_CREDENTIAL"


def test_the_leaf_cannot_vouch_for_itself() -> None:
    assert ocsp_refusal(response(responder=ALICE)) == "ATLAS_E_CREDENTIAL"


def test_a_responder_must_have_been_valid_and_not_revoked() -> None:
    past = pki.responder(MIDDLE, start=pki.days(-50), end=pki.days(-20))
    assert ocsp_refusal(response(responder=past)) == "ATLAS_E_EXPIRED"
    good = pki.responder(MIDDLE)
    listed = crl(revoked=good.leaf)
    assert ocsp_refusal(response(responder=good), crls=(listed,)) == "ATLAS_E_CREDENTIAL"
    assert ask(response(responder=good), crls=(crl(),))["status"] == "good"


def test_a_delegation_needs_the_issuers_name_and_its_key() -> None:
    ocsp_signing = {"ekus": (Eku.OCSP_SIGNING,)}
    other_name = pki.Authority("Other", MIDDLE.key, ROOT.intermediate("Other").certificate)
    assert ocsp_refusal(response(responder=other_name.leaf("Responder", **ocsp_signing))) == "ATLAS_E_CREDENTIAL"
    named = x509.AuthorityKeyIdentifier.from_issuer_public_key(MIDDLE.key.public_key())
    other_key = pki.Authority("Middle", pki.key("ES256", "mallory"), MIDDLE.certificate)
    flaws: dict[str, Any] = {**ocsp_signing, "aki": False, "extra": ((named, False),)}
    assert ocsp_refusal(response(responder=other_key.leaf("Responder", **flaws))) == "ATLAS_E_CREDENTIAL"
    assert ask(response(responder=MIDDLE.leaf("Responder", **flaws)))["status"] == "good"


def rebuilt(*answers: bytes, extensions: bytes = b"") -> bytes:
    """A response of the issuer that holds the answers of these responses, each with these extensions."""
    singles = []
    for answer in answers:
        parts = children(ocsp.load_der_ocsp_response(answer).tbs_response_bytes)
        singles += [sequence(*children(single), extensions) for single in children(parts[2])]
    data = sequence(*parts[:2], sequence(*singles))
    signature = MIDDLE.key.sign(data, pki.ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, call-arg, arg-type]
    basic = sequence(data, sequence(oid("1.2.840.10045.4.3.2")), tlv(0x03, b"\0", signature))
    kind = oid("1.3.6.1.5.5.7.48.1.1")
    return sequence(tlv(0x0A, b"\0"), tlv(0xA0, sequence(kind, tlv(0x04, basic))))


def test_an_answer_with_a_critical_extension_is_refused() -> None:
    def extension(*critical: bytes) -> bytes:
        return tlv(0xA1, sequence(sequence(oid("1.2.3.4"), *critical, tlv(0x04, b"\x05\x00"))))

    assert ask(rebuilt(response()))["status"] == "good"
    assert ask(rebuilt(response(), extensions=extension()))["status"] == "good"
    critical = extension(tlv(0x01, b"\xff"))
    assert ocsp_refusal(rebuilt(response(), extensions=critical)) == "ATLAS_E_X509"


def test_a_response_longer_than_the_limit_is_refused() -> None:
    def padded(size: int) -> bytes:
        extension = sequence(oid("1.2.3.4"), tlv(0x04, bytes(size)))
        return rebuilt(response(), extensions=tlv(0xA1, sequence(extension)))

    fits = (64 << 10) - len(padded(60000)) + 60000
    # an ECDSA signature may be a few bytes longer or shorter
    assert ask(padded(fits - 8))["status"] == "good"
    assert ocsp_refusal(padded(fits + 8)) == "ATLAS_E_X509"


def test_among_several_answers_a_revocation_wins_then_a_statement() -> None:
    good, gone, outdated = response(), response(revoked=-5), response(start=-9, end=-5)
    for answers in ((good, gone), (gone, good), (outdated, gone), (gone, outdated), (response(BOB.leaf), gone)):
        assert ocsp_refusal(rebuilt(*answers)) == "ATLAS_E_REVOKED"
    for answers in ((good, outdated), (outdated, good), (response(BOB.leaf, revoked=-5), good)):
        assert ask(rebuilt(*answers))["status"] == "good"
    assert ocsp_refusal(rebuilt(outdated, response(BOB.leaf))) == "ATLAS_E_EXPIRED"
    assert ocsp_refusal(rebuilt(response(BOB.leaf), response(BOB.leaf))) == "ATLAS_E_NOT_FOUND"


def test_a_false_signature_is_no_response() -> None:
    impostor = pki.Authority.root("Middle", key_name="mallory")  # the issuer's name and another key
    forged = response(issuer=impostor, algorithm=hashes.SHA256, by_name=True)
    assert ocsp_refusal(forged) == "ATLAS_E_SIGNATURE"
    flipped = bytearray(response())
    flipped[-1] ^= 1
    assert ocsp_refusal(bytes(flipped)) == "ATLAS_E_SIGNATURE"


def test_a_weak_signature_algorithm_is_no_response() -> None:
    assert ocsp_refusal(response(digest=hashes.SHA224)) == "ATLAS_E_ALGORITHM"


def test_a_responder_that_is_not_carried_along_is_not_found() -> None:
    assert ocsp_refusal(response(responder=pki.responder(MIDDLE), carry=False)) == "ATLAS_E_CREDENTIAL"


def test_a_critical_extension_that_is_not_understood_is_refused() -> None:
    assert ocsp_refusal(response(extension=(UNKNOWN, True))) == "ATLAS_E_X509"
    assert ask(response(extension=(x509.OCSPNonce(b"12345678"), False)))["status"] == "good"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no response",
        response() + b"\0",
        response()[:-1],
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
        response().replace(b"\x0a\x01\x00", b"\x0a\x01\x03", 1),
        bytes(1 << 17),
    ],
    ids=["empty", "text", "trailing", "cut", "try later", "try later with an answer", "huge"],
)
def test_what_is_no_answer_is_malformed(data: bytes) -> None:
    assert ocsp_refusal(data) == "ATLAS_E_X509"


def test_the_chain_must_be_trusted_before_anything_is_asked_about_it() -> None:
    with pytest.raises(VerificationError) as caught:
        _core.Trust(pki.Authority.root("Stranger").pem.encode()).check_ocsp(response(), ALICE.chain, NOW, NOW)
    assert caught.value.code == "ATLAS_E_CHAIN"


def test_dates_are_those_of_the_fixture() -> None:
    assert datetime.datetime.fromtimestamp(NOW, datetime.UTC) == pki.NOW
