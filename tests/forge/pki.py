"""Keys, certificate authorities, leaves and everything that can be wrong with them."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID, ObjectIdentifier

from . import cose

CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
SIGNING_EKUS = (CLAIM_SIGNING, Eku.EMAIL_PROTECTION)
CURVES: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}

NOW = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0)


def days(n: float) -> datetime.datetime:
    """A moment counted from now."""
    return NOW + datetime.timedelta(days=n)


@lru_cache(maxsize=256)
def key(alg: str, name: str, *, bits: int = 2048, curve: Any = None) -> cose.PrivateKey:
    """The key of that name: always the same one for EC and Ed25519, one per process for RSA (slow to make)."""
    seed = hashlib.sha256(f"{alg} {name}".encode()).digest()
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    if alg.startswith("PS"):
        return rsa.generate_private_key(65537, bits)
    return ec.derive_private_key(int.from_bytes(seed, "big") >> 8, (curve or CURVES[alg])())


def der(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(Encoding.DER))


def pem(*certificates: x509.Certificate) -> str:
    return "".join(c.public_bytes(Encoding.PEM).decode() for c in certificates)


def key_pem(private: cose.PrivateKey) -> str:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def subject(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Forge"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _digest_for(private: Any) -> hashes.HashAlgorithm | None:
    return None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()


@dataclass(frozen=True)
class Profile:
    """Everything in a certificate that a test may want to be wrong."""

    start: datetime.datetime = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)  # fixed: the same bytes every day
    end: datetime.datetime = datetime.datetime(2036, 1, 1, tzinfo=datetime.UTC)
    ca: bool = False
    path_length: int | None = None
    constraints: bool = True
    usages: tuple[str, ...] | None = ("digital_signature",)
    ekus: tuple[ObjectIdentifier, ...] | None = SIGNING_EKUS
    eku_critical: bool = False
    aki: bool = True
    ski: bool = True
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    digest: Callable[[], hashes.HashAlgorithm] | None = None
    pss: bool = False  # an RSA issuer signs with RSASSA-PSS


_ALL_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
CA_PROFILE = Profile(
    end=datetime.datetime(2037, 1, 1, tzinfo=datetime.UTC), ca=True, usages=("key_cert_sign", "crl_sign"), ekus=None
)


def certificate(
    name: str, public_key: Any, profile: Profile, *, issuer: x509.Name, issuer_key: cose.PrivateKey
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(_serial(name, profile))
        .not_valid_before(profile.start)
        .not_valid_after(profile.end)
    )
    for extension, critical in _extensions(public_key, profile, issuer_key):
        builder = builder.add_extension(extension, critical)
    digest = profile.digest() if profile.digest else _digest_for(issuer_key)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size) if profile.pss else None
    repeatable = isinstance(issuer_key, ec.EllipticCurvePrivateKey) or None
    return builder.sign(issuer_key, digest, rsa_padding=pss, ecdsa_deterministic=repeatable)  # type: ignore[arg-type]


def _serial(name: str, profile: Profile) -> int:
    """The same certificate has the same number, another one another."""
    return int.from_bytes(hashlib.sha256(f"{name} {profile}".encode()).digest()[:8], "big") | 1


def _extensions(
    public_key: Any, profile: Profile, issuer_key: cose.PrivateKey
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if profile.constraints:
        found.append((x509.BasicConstraints(profile.ca, profile.path_length if profile.ca else None), True))
    if profile.usages is not None:
        found.append((x509.KeyUsage(**{usage: usage in profile.usages for usage in _ALL_USAGES}), True))
    if profile.ekus is not None:
        found.append((x509.ExtendedKeyUsage(profile.ekus), profile.eku_critical))
    if profile.ski:
        found.append((x509.SubjectKeyIdentifier.from_public_key(public_key), False))
    if profile.aki:
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
    return found + list(profile.extra)


@dataclass(frozen=True)
class Party:
    """Somebody who signs: a key, a leaf and the intermediates above it."""

    name: str
    alg: str
    key: cose.PrivateKey
    leaf: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()
    issuer: Authority | None = None

    @cached_property
    def chain(self) -> list[bytes]:
        return [der(certificate) for certificate in (self.leaf, *self.above)]

    @property
    def chain_pem(self) -> str:
        return pem(self.leaf, *self.above)

    @property
    def key_pem(self) -> str:
        return key_pem(self.key)

    @property
    def spki_sha256(self) -> str:
        from cryptography.hazmat.primitives.serialization import PublicFormat

        spki = self.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()

    def sign(self, message: bytes) -> bytes:
        return cose.sign(self.alg, self.key, message)


@dataclass(frozen=True)
class Authority:
    """A root or an intermediate."""

    name: str
    key: cose.PrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()  # intermediates that go into x5chain, this one included

    @staticmethod
    def root(name: str = "Forge Root", alg: str = "ES256", *, key_name: str | None = None) -> Authority:
        private = key(alg, key_name or f"authority {name}")
        profile = Profile(**{**CA_PROFILE.__dict__, "aki": False})
        made = certificate(name, private.public_key(), profile, issuer=subject(name), issuer_key=private)
        return Authority(name, private, made)

    def intermediate(self, name: str, alg: str = "ES256", *, key_name: str | None = None, **flaws: Any) -> Authority:
        private = key(alg, key_name or f"authority {name}")
        profile = Profile(**{**CA_PROFILE.__dict__, **flaws})
        made = certificate(name, private.public_key(), profile, issuer=self.certificate.subject, issuer_key=self.key)
        return Authority(name, private, made, (made, *self.above))

    def leaf(
        self, name: str, alg: str = "ES256", *, private: cose.PrivateKey | None = None, public: Any = None, **flaws: Any
    ) -> Party:
        """A signer under this authority. `flaws` are fields of Profile."""
        private = private or key(alg, f"party {name}")
        made = certificate(
            name,
            public or private.public_key(),
            Profile(**flaws),
            issuer=self.certificate.subject,
            issuer_key=self.key,
        )
        return Party(name, alg, private, made, self.above, self)

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    def crl(self, *revoked: tuple[x509.Certificate, datetime.datetime], start: float = -1, end: float = 7) -> str:
        """The revocation list of this authority, in PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(days(start))
            .next_update(days(end))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
            .add_extension(x509.CRLNumber(1), False)
        )
        for gone, moment in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(gone.serial_number).revocation_date(moment).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, _digest_for(self.key)).public_bytes(Encoding.PEM).decode()  # type: ignore[arg-type]

    def ocsp(
        self,
        leaf: x509.Certificate,
        *,
        revoked: datetime.datetime | None = None,
        start: float = -1,
        end: float = 7,
        responder: Party | None = None,
    ) -> bytes:
        """A DER OCSP response about a leaf, signed by this authority or by a responder under it."""
        status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
        signer = responder.leaf if responder else self.certificate
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(leaf, self.certificate, hashes.SHA1(), status, days(start), days(end), revoked, None)
            .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
        )
        if responder:
            builder = builder.certificates([responder.leaf])
        private = responder.key if responder else self.key
        return builder.sign(private, _digest_for(private)).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def self_signed(name: str, alg: str = "ES256", **flaws: Any) -> Party:
    private = key(alg, f"party {name}")
    made = certificate(
        name, private.public_key(), Profile(**{"aki": False, **flaws}), issuer=subject(name), issuer_key=private
    )
    return Party(name, alg, private, made)


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.62558.999"), b"\x05\x00")

# What can be wrong with a leaf: name -> fields of Profile. The certificate profile is C2PA 2.x, 14.5.
LEAF_FLAWS: dict[str, dict[str, Any]] = {
    "no extended key usage": {"ekus": None},
    "anyExtendedKeyUsage": {"ekus": (*SIGNING_EKUS, Eku.ANY_EXTENDED_KEY_USAGE)},
    "only a server's key usage": {"ekus": (Eku.SERVER_AUTH,)},
    "time stamping beside claim signing": {"ekus": (*SIGNING_EKUS, Eku.TIME_STAMPING)},
    "OCSP signing beside claim signing": {"ekus": (*SIGNING_EKUS, Eku.OCSP_SIGNING)},
    "a CA certificate as leaf": {"ca": True, "usages": ("digital_signature", "key_cert_sign")},
    "CA bit alone": {"ca": True},
    "no authority key identifier": {"aki": False},
    "no key usage": {"usages": None},
    "key agreement only": {"usages": ("key_agreement",)},
    "certificate signing among the usages": {"usages": ("digital_signature", "key_cert_sign")},
    "an unknown critical extension": {"extra": ((UNKNOWN_EXTENSION, True),)},
}


def responder(authority: Authority, **flaws: Any) -> Party:
    """A delegated OCSP responder."""
    return authority.leaf("OCSP responder", **{"ekus": (Eku.OCSP_SIGNING,), **flaws})


def roots(*authorities: Authority) -> str:
    return pem(*(authority.certificate for authority in authorities))
