"""The certificate profile (C2PA 2.x, 14.5.1): each rule broken alone, beside a clean twin."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID, ObjectIdentifier
from forge import pki
from forge.tsa import oid, sequence, tlv

from atlas import _core
from atlas.errors import AtlasError, MalformedError

ROOT = pki.Authority.root("Profile Root")
RSA_ROOT = pki.Authority.root("Profile RSA Root", "PS256")
TSA = {"ekus": (Eku.TIME_STAMPING,), "eku_critical": True}
OCSP = {"ekus": (Eku.OCSP_SIGNING,)}
MICROSOFT = ObjectIdentifier("1.3.6.1.4.1.311.76.59.1.9")
DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")


def leaf(**flaws: Any) -> bytes:
    return ROOT.leaf("Leaf", **flaws).chain[0]


def refusal(der: bytes, purpose: Any = "claim") -> tuple[str, str]:
    with pytest.raises(AtlasError) as caught:
        _core.certificate_chain_check([der], purpose)
    return caught.value.code, caught.value.text


def resign(der: bytes, change: Any, key: ec.EllipticCurvePrivateKey = ROOT.key) -> bytes:  # type: ignore[assignment]
    """The certificate with other TBSCertificate content, signed again: what the cryptography package cannot make."""
    certificate = x509.load_der_x509_certificate(der)
    tbs = change(certificate.tbs_certificate_bytes)
    algorithm = sequence(oid("1.2.840.10045.4.3.2"))
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return sequence(tbs, algorithm, tlv(0x03, b"\0", signature))


def children(element: bytes) -> list[bytes]:
    """The elements inside a constructed DER element."""

    def size(at: int) -> int:
        first = element[at + 1]
        if first < 0x80:
            return 2 + first
        octets = first & 0x7F
        return 2 + octets + int.from_bytes(element[at + 2 : at + 2 + octets], "big")

    header = 2 if element[1] < 0x80 else 2 + (element[1] & 0x7F)
    found, at = [], header
    while at < len(element):
        found.append(element[at : at + size(at)])
        at += size(at)
    return found


# ------------------------------------------------------------------------------------------------------- clean twins


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "PS256"])
def test_a_leaf_of_every_allowed_key_meets_the_profile(alg: str) -> None:
    _core.certificate_chain_check(ROOT.leaf("Leaf", alg).chain)


@pytest.mark.parametrize(
    "flaws",
    [
        {},
        {"ekus": (pki.CLAIM_SIGNING,)},
        {"ekus": (Eku.EMAIL_PROTECTION,)},
        {"ekus": (DOCUMENT_SIGNING,)},
        {"ekus": (MICROSOFT,)},
        {"ekus": (pki.CLAIM_SIGNING, Eku.SERVER_AUTH)},
        {"constraints": False},
        {"ski": False},
        {"usages": ("digital_signature", "content_commitment")},
        {"extra": ((pki.UNKNOWN_EXTENSION, False),)},
        {"extra": ((x509.SubjectAlternativeName([x509.DNSName("alice.example")]), True),)},
        {"digest": hashes.SHA512},
    ],
    ids=str,
)
def test_what_the_profile_leaves_open_is_accepted(flaws: dict[str, Any]) -> None:
    _core.certificate_chain_check([leaf(**flaws)])


def test_rsa_signatures_of_certificates_may_be_pkcs1_or_pss() -> None:
    _core.certificate_chain_check(RSA_ROOT.leaf("Leaf").chain)
    _core.certificate_chain_check(RSA_ROOT.leaf("Leaf", pss=True).chain)


def test_time_stamping_and_ocsp_certificates_have_their_own_purpose() -> None:
    _core.certificate_chain_check([leaf(**TSA)], "tsa")
    _core.certificate_chain_check([leaf(**TSA, usages=("content_commitment",))], "tsa")
    _core.certificate_chain_check([leaf(**OCSP)], "ocsp")


# ---------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("flaw", pki.LEAF_FLAWS)
def test_each_flaw_alone_is_refused(flaw: str) -> None:
    assert refusal(leaf(**pki.LEAF_FLAWS[flaw]))[0] == "ATLAS_E_CREDENTIAL"


def test_nothing_but_the_flaw_is_wrong_with_those_leaves() -> None:
    _core.certificate_chain_check([leaf()])


@pytest.mark.parametrize(
    ("flaws", "purpose"),
    [
        ({"usages": ("content_commitment",)}, "claim"),
        ({"usages": ("key_agreement",)}, "tsa"),
        ({**TSA, "eku_critical": False}, "tsa"),
        ({"ekus": (Eku.TIME_STAMPING, Eku.SERVER_AUTH), "eku_critical": True}, "tsa"),
        ({"ekus": (Eku.TIME_STAMPING, Eku.OCSP_SIGNING), "eku_critical": True}, "tsa"),
        ({"ekus": (Eku.ANY_EXTENDED_KEY_USAGE,), "eku_critical": True}, "tsa"),
        ({}, "tsa"),
        ({}, "ocsp"),
        (TSA, "claim"),
        (OCSP, "claim"),
        (TSA, "ocsp"),
        ({"ekus": (Eku.OCSP_SIGNING, Eku.CLIENT_AUTH)}, "ocsp"),
        ({"usages": ("key_agreement",), **OCSP}, "ocsp"),
    ],
    ids=str,
)
def test_a_certificate_serves_one_purpose_only(flaws: dict[str, Any], purpose: str) -> None:
    assert refusal(leaf(**flaws), purpose)[0] == "ATLAS_E_CREDENTIAL"


def test_a_self_signed_certificate_is_never_a_signer() -> None:
    assert refusal(pki.self_signed("Solo").chain[0]) == ("ATLAS_E_CREDENTIAL", "the certificate is self-signed")
    assert refusal(pki.self_signed("Solo", aki=True).chain[0]) == (
        "ATLAS_E_CREDENTIAL",
        "the certificate is self-signed",
    )


def test_version_1_is_refused() -> None:
    def strip_version(tbs: bytes) -> bytes:
        return sequence(*[part for part in children(tbs) if part[0] not in (0xA0, 0xA3)])

    assert refusal(resign(leaf(), strip_version)) == ("ATLAS_E_CREDENTIAL", "the certificate is not version 3")


@pytest.mark.parametrize("tag", [0x81, 0x82], ids=["issuer", "subject"])
def test_unique_identifiers_are_refused(tag: int) -> None:
    def add(tbs: bytes) -> bytes:
        parts = children(tbs)
        return sequence(*parts[:-1], tlv(tag, b"\0\1"), parts[-1])

    assert refusal(resign(leaf(), add)) == ("ATLAS_E_CREDENTIAL", "the certificate has a unique identifier")


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4], ids=["bc", "ku", "eku", "ski", "aki"])
def test_an_extension_that_is_there_twice_is_refused(index: int) -> None:
    def double(tbs: bytes) -> bytes:
        parts = children(tbs)
        extensions = children(children(parts[-1])[0])
        return sequence(*parts[:-1], tlv(0xA3, sequence(*extensions, extensions[index])))

    assert refusal(resign(leaf(), double))[0] == "ATLAS_E_CREDENTIAL"
    _core.certificate_chain_check([resign(leaf(), lambda tbs: tbs)])


def test_an_unknown_extension_twice_is_refused() -> None:
    certificate = leaf(extra=((pki.UNKNOWN_EXTENSION, False),))

    def double(tbs: bytes) -> bytes:
        parts = children(tbs)
        extensions = children(children(parts[-1])[0])
        return sequence(*parts[:-1], tlv(0xA3, sequence(*extensions, extensions[-1])))

    assert refusal(resign(certificate, double)) == ("ATLAS_E_CREDENTIAL", "the certificate has an extension twice")


@pytest.mark.parametrize(
    ("extension", "name"),
    [(x509.NameConstraints([x509.DNSName("a")], None), "name constraints"), (x509.OCSPNoCheck(), "nocheck")],
    ids=["nameConstraints", "nocheck"],
)
def test_a_critical_extension_that_means_nothing_on_a_leaf_is_refused(extension: Any, name: str) -> None:
    assert refusal(leaf(extra=((extension, True),)))[0] == "ATLAS_E_CREDENTIAL", name


# ------------------------------------------------------------------------------------------------- keys and algorithms


def signed_by_rsa(**arguments: Any) -> bytes:
    """A clean leaf whose issuer signs in the given way."""
    clean = x509.load_der_x509_certificate(RSA_ROOT.leaf("Leaf").chain[0])
    builder = (
        x509.CertificateBuilder(extensions=list(clean.extensions))
        .subject_name(clean.subject)
        .issuer_name(clean.issuer)
        .public_key(clean.public_key())
        .serial_number(clean.serial_number)
        .not_valid_before(pki.days(-1))
        .not_valid_after(pki.days(30))
    )
    return pki.der(builder.sign(RSA_ROOT.key, **arguments))


def pss(mgf: Any, salt: int) -> padding.PSS:
    return padding.PSS(padding.MGF1(mgf), salt)


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda d: d.name)
def test_the_three_hashes_are_accepted_in_certificate_signatures(digest: Any) -> None:
    _core.certificate_chain_check([signed_by_rsa(algorithm=digest)])
    _core.certificate_chain_check(
        [signed_by_rsa(algorithm=digest, rsa_padding=pss(digest, digest.digest_size))],
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"algorithm": hashes.SHA224()},
        {"algorithm": hashes.SHA3_256()},
        {"algorithm": hashes.SHA256(), "rsa_padding": pss(hashes.SHA256(), 20)},
        {"algorithm": hashes.SHA256(), "rsa_padding": pss(hashes.SHA512(), 32)},
        {"algorithm": hashes.SHA224(), "rsa_padding": pss(hashes.SHA224(), 28)},
    ],
    ids=["sha224", "sha3", "pss salt 20", "pss mgf sha512", "pss sha224"],
)
def test_other_certificate_signatures_are_refused(arguments: dict[str, Any]) -> None:
    assert refusal(signed_by_rsa(**arguments))[0] == "ATLAS_E_ALGORITHM"


def with_algorithm(algorithm: bytes) -> bytes:
    """A leaf that says it was signed with this AlgorithmIdentifier; nobody looks at the signature here."""
    certificate = x509.load_der_x509_certificate(leaf())
    parts = children(certificate.tbs_certificate_bytes)
    tbs = sequence(*parts[:2], algorithm, *parts[3:])
    return sequence(tbs, algorithm, tlv(0x03, b"\0", bytes(256)))


SHA1 = sequence(oid("1.3.14.3.2.26"), tlv(0x05))
SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"), tlv(0x05))


def pss_algorithm(*, digest: bytes | None, mgf: bytes | None, salt: int | None, trailer: int | None = None) -> bytes:
    fields = [
        tlv(0xA0, digest) if digest else b"",
        tlv(0xA1, sequence(oid("1.2.840.113549.1.1.8"), mgf)) if mgf else b"",
        tlv(0xA2, tlv(0x02, bytes([salt]))) if salt is not None else b"",
        tlv(0xA3, tlv(0x02, bytes([trailer]))) if trailer is not None else b"",
    ]
    return sequence(oid("1.2.840.113549.1.1.10"), sequence(*fields))


def test_the_pss_parameters_of_the_profile_are_accepted() -> None:
    _core.certificate_chain_check([with_algorithm(pss_algorithm(digest=SHA256, mgf=SHA256, salt=32))])
    _core.certificate_chain_check([with_algorithm(pss_algorithm(digest=SHA256, mgf=SHA256, salt=32, trailer=1))])


@pytest.mark.parametrize(
    "parameters",
    [
        {"digest": SHA256, "mgf": SHA1, "salt": 32},
        {"digest": SHA256, "mgf": None, "salt": 32},
        {"digest": None, "mgf": SHA256, "salt": 32},
        {"digest": SHA256, "mgf": SHA256, "salt": None},
        {"digest": SHA256, "mgf": SHA256, "salt": 0},
        {"digest": SHA256, "mgf": SHA256, "salt": 33},
        {"digest": SHA1, "mgf": SHA1, "salt": 20},
        {"digest": SHA256, "mgf": SHA256, "salt": 32, "trailer": 2},
    ],
    ids=str,
)
def test_other_pss_parameters_are_refused(parameters: dict[str, Any]) -> None:
    assert refusal(with_algorithm(pss_algorithm(**parameters)))[0] == "ATLAS_E_ALGORITHM"


def test_pss_without_parameters_and_unknown_algorithms_are_refused() -> None:
    ecdsa_sha1, rsa_sha1, ed448 = "1.2.840.10045.4.1", "1.2.840.113549.1.1.5", "1.3.101.113"
    for dotted in ("1.2.840.113549.1.1.10", "1.2.3.4", ecdsa_sha1, rsa_sha1, ed448):
        algorithm = sequence(oid(dotted))
        assert refusal(with_algorithm(algorithm))[0] == "ATLAS_E_ALGORITHM"


def with_key(public: Any) -> bytes:
    return ROOT.leaf("Leaf", public=public).chain[0]


@pytest.mark.parametrize(
    "public",
    [
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ec.generate_private_key(ec.SECP224R1()).public_key(),
        ec.generate_private_key(ec.BrainpoolP256R1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        rsa.generate_private_key(65537, 1024).public_key(),
    ],
    ids=["secp256k1", "P-224", "brainpool", "Ed448", "RSA 1024"],
)
def test_a_key_outside_the_allow_list_is_refused(public: Any) -> None:
    assert refusal(with_key(public))[0] == "ATLAS_E_ALGORITHM"


def test_rsa_is_accepted_from_2048_bits() -> None:
    _core.certificate_chain_check([with_key(rsa.generate_private_key(65537, 2048).public_key())])
    assert refusal(with_key(rsa.generate_private_key(65537, 2047).public_key()))[0] == "ATLAS_E_ALGORITHM"


def test_an_rsa_key_larger_than_8192_bits_is_refused() -> None:
    huge = rsa.RSAPublicNumbers(65537, (1 << 8192) + 12345678901234567891).public_key()
    assert refusal(with_key(huge))[0] == "ATLAS_E_ALGORITHM"
    most = rsa.RSAPublicNumbers(65537, (1 << 8191) + 12345678901234567891).public_key()
    _core.certificate_chain_check([with_key(most)])


def rsa_spki(n: int, e: int) -> bytes:
    def integer(v: int) -> bytes:
        return tlv(0x02, v.to_bytes(v.bit_length() // 8 + 1, "big"))

    algorithm = sequence(oid("1.2.840.113549.1.1.1"), tlv(0x05))
    return sequence(algorithm, tlv(0x03, b"\0", sequence(integer(n), integer(e))))


@pytest.mark.parametrize(
    ("n", "e"),
    [(1, 1), (1, 2), (0, 65537), (1, (1 << 64) + 1)],
    ids=["exponent 1", "even exponent", "even modulus", "exponent of 65 bits"],
)
def test_a_degenerate_rsa_key_is_refused(n: int, e: int) -> None:
    spki = rsa_spki((1 << 2047) + 2 * 987654321 + n, e)
    assert spki_refusal("PS256", spki, bytes(256)) == "ATLAS_E_CREDENTIAL"
    assert spki_refusal("PS256", rsa_spki((1 << 2047) + 2 * 987654321 + 1, 3), bytes(256)) == "ATLAS_E_SIGNATURE"


def spki_refusal(alg: str, spki: bytes, signature: bytes) -> str:
    with pytest.raises(AtlasError) as caught:
        _core.signature_verify(alg, spki, b"message", signature)
    return caught.value.code


# ------------------------------------------------------------------------------------------ Ed25519 and EC points

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P


def _low_order_y() -> list[int]:
    """y of the eight points of small order, computed: 8 * point is the identity (0, 1)."""
    found = {1, P - 1, 0}
    # order 8: the points that double to (+-sqrt(-1), 0): there x^2 = y^2 or x^2 = -y^2 with the curve equation
    for sign in (1, -1):
        # x^2 = sign * y^2 in -x^2 + y^2 = 1 + d x^2 y^2
        a, b, c = D * sign % P, (sign - 1) % P, 1
        for y2 in _roots_of(a, b, c):
            root = _sqrt(y2)
            if root is not None:
                found |= {root, P - root}
    return sorted(found)


def _roots_of(a: int, b: int, c: int) -> list[int]:
    """Solutions z of a z^2 + b z + c = 0 modulo P."""
    root = _sqrt((b * b - 4 * a * c) % P)
    if root is None:
        return []
    half = pow(2 * a, P - 2, P)
    return [(-b + root) * half % P, (-b - root) * half % P]


def _sqrt(v: int) -> int | None:
    root = pow(v, (P + 3) // 8, P)
    if root * root % P != v % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root if root * root % P == v % P else None


def ed25519_spki(raw: bytes) -> bytes:
    return sequence(sequence(oid("1.3.101.112")), tlv(0x03, b"\0", raw))


def _weak_keys() -> list[bytes]:
    """Every encoding of a point of small order, non-canonical ones and both signs included."""
    keys = []
    for y in _low_order_y():
        for shifted in (y, y + P):
            if shifted < 2**255:
                keys += [(shifted | sign << 255).to_bytes(32, "little") for sign in (0, 1)]
    return keys


def test_the_points_of_small_order_are_the_five_y_that_the_core_knows() -> None:
    assert len(_low_order_y()) == 5


def test_every_small_order_ed25519_key_is_refused() -> None:
    for raw in _weak_keys():
        assert spki_refusal("EdDSA", ed25519_spki(raw), bytes(64)) == "ATLAS_E_CREDENTIAL", raw.hex()


def test_a_small_order_key_would_otherwise_make_forgeries() -> None:
    """The reason for the rule: under the identity point, R = identity and s = 0 is a signature of everything."""
    identity = (1).to_bytes(32, "little")
    public = ed25519.Ed25519PublicKey.from_public_bytes(identity)
    public.verify(identity + bytes(32), b"anything at all")
    assert spki_refusal("EdDSA", ed25519_spki(identity), identity + bytes(32)) == "ATLAS_E_CREDENTIAL"


def test_every_non_canonical_ed25519_key_is_refused() -> None:
    for y in range(P, 2**255):
        for sign in (0, 1):
            raw = (y | sign << 255).to_bytes(32, "little")
            assert spki_refusal("EdDSA", ed25519_spki(raw), bytes(64)) == "ATLAS_E_CREDENTIAL"


def test_a_certificate_with_a_small_order_key_is_refused() -> None:
    identity = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    assert refusal(with_key(identity))[0] == "ATLAS_E_CREDENTIAL"


def ec_spki(point: bytes, curve: bytes = oid("1.2.840.10045.3.1.7")) -> bytes:
    return sequence(sequence(oid("1.2.840.10045.2.1"), curve), tlv(0x03, b"\0", point))


def test_the_point_at_infinity_and_points_off_the_curve_are_no_keys() -> None:
    good = ROOT.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)  # type: ignore[union-attr]
    off = good[:-1] + bytes([good[-1] ^ 1])
    assert spki_refusal("ES256", ec_spki(good), bytes(64)) == "ATLAS_E_SIGNATURE"
    assert spki_refusal("ES256", ec_spki(b"\0"), bytes(64)) in ("ATLAS_E_X509", "ATLAS_E_CREDENTIAL")
    assert spki_refusal("ES256", ec_spki(off), bytes(64)) in ("ATLAS_E_X509", "ATLAS_E_CREDENTIAL")


def test_explicit_curve_parameters_are_refused() -> None:
    """The sender could choose the generator (CVE-2020-0601); here they are those of P-256, word for word."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    generator = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )

    def integer(v: int) -> bytes:
        return tlv(0x02, v.to_bytes(v.bit_length() // 8 + 1, "big"))

    parameters = sequence(
        integer(1),
        sequence(oid("1.2.840.10045.1.1"), integer(p)),
        sequence(tlv(0x04, (p - 3).to_bytes(32, "big")), tlv(0x04, b.to_bytes(32, "big"))),
        tlv(0x04, generator),
        integer(n),
        integer(1),
    )
    point = ROOT.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)  # type: ignore[union-attr]
    assert spki_refusal("ES256", ec_spki(point, parameters), bytes(64)) == "ATLAS_E_CREDENTIAL"


# ---------------------------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize(
    "spoil",
    [
        lambda der: der + b"\0",
        lambda der: der[:-1],
        lambda der: b"",
        lambda der: b"\x30\x80" + der[4:] + b"\0\0",  # indefinite length
        lambda der: b"\x30\x83\0" + der[2:],  # a longer length than needed
        lambda der: der + der,
    ],
    ids=["trailing byte", "cut", "empty", "indefinite", "long length", "twice"],
)
def test_only_one_whole_der_certificate_is_read(spoil: Any) -> None:
    for function in (_core.certificate_info, lambda der: _core.certificate_chain_check([der])):
        with pytest.raises(MalformedError) as caught:
            function(spoil(leaf()))
        assert caught.value.code == "ATLAS_E_X509"


def test_an_enormous_certificate_is_refused() -> None:
    big = leaf(extra=((x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.62558.999"), bytes(1 << 16)), False),))
    with pytest.raises(MalformedError) as caught:
        _core.certificate_info(big)
    assert caught.value.code == "ATLAS_E_LIMIT"


# ---------------------------------------------------------------------------------------------------------------- names


def named(*attributes: tuple[ObjectIdentifier, str]) -> dict[str, Any]:
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
    key: Any = pki.key("ES256", "named")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())
        .serial_number(0x1234)
        .not_valid_before(datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2049, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
        .sign(ROOT.key, hashes.SHA256())  # type: ignore[arg-type]
    )
    return dict(_core.certificate_info(pki.der(certificate)))


def test_a_certificate_says_who_with_which_key_and_how_long() -> None:
    info = named((NameOID.ORGANIZATION_NAME, "Example, Inc."), (NameOID.COMMON_NAME, "Alice Müller"))
    key: Any = pki.key("ES256", "named")
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert info == {
        "common_name": "Alice Müller",
        "subject": "CN=Alice Müller,O=Example\\, Inc.",
        "issuer": "CN=Profile Root,O=Forge",
        "serial": "1234",
        "alg": "ES256",
        "spki": spki,
        "spki_sha256": hashlib.sha256(spki).digest(),
        "not_before": 86400,
        "not_after": 2524607999,
        "self_issued": False,
    }


def test_the_common_name_is_the_only_one_or_the_whole_subject() -> None:
    two = named((NameOID.COMMON_NAME, "Mallory"), (NameOID.COMMON_NAME, "Alice"))
    assert two["common_name"] == two["subject"] == "CN=Alice,CN=Mallory"
    assert named((NameOID.ORGANIZATION_NAME, "Example"))["common_name"] == "O=Example"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[31mb", "a\\1B[31mb"),
        ("a\nb", "a\\0Ab"),
        ("a\x00b", "a\\00b"),
        ("a\x7fb", "a\\7Fb"),
        ("a\u202eb", "a\\E2\\80\\AEb"),
        ("a\u2066b", "a\\E2\\81\\A6b"),
        ("a\u200bb", "a\\E2\\80\\8Bb"),
        ("a\u061cb", "a\\D8\\9Cb"),
        ("a\ufeffb", "a\\EF\\BB\\BFb"),
        ("a\x85b", "a\\C2\\85b"),
        ("a\u00adb", "a\\C2\\ADb"),
        ("a\U000e0041b", "a\\F3\\A0\\81\\81b"),
        ("a\\0Ab", "a\\5C0Ab"),
        ("naïve 漢字 😀", "naïve 漢字 😀"),
    ],
)
def test_characters_that_act_on_a_terminal_are_escaped(hostile: str, shown: str) -> None:
    assert named((NameOID.COMMON_NAME, hostile))["common_name"] == shown


def test_a_name_too_long_to_compare_is_refused_and_never_cut() -> None:
    def subject_of(n: int) -> dict[str, Any]:
        return named(*[(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * n)

    assert len(subject_of(15)["subject"]) == 15 * 64 - 1
    with pytest.raises(MalformedError) as caught:
        subject_of(17)
    assert caught.value.code == "ATLAS_E_X509"
