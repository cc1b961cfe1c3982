"""Keys, certificates and revocation lists of the test PKI."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from . import der

DAY = 86400
NOW = 1768478400  # 2026-01-15T12:00:00Z: the time of every verification unless a test says otherwise
_ORDER = {"secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551}


def moment(t: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(t, datetime.UTC)


@lru_cache(maxsize=256)
def key(name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """Always the same key for a name."""
    seed = hashlib.sha256(f"atlas-test-{name}".encode()).digest()
    return ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER["secp256r1"] - 1) + 1, curve())


def point(private: ec.EllipticCurvePrivateKey) -> bytes:
    """x || y"""
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def sign(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """r || s"""
    half = (private.curve.key_size + 7) // 8
    digest: Any = hashes.SHA256() if half == 32 else hashes.SHA384()
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(digest, deterministic_signing=True)))
    return r.to_bytes(half, "big") + s.to_bytes(half, "big")


@dataclass(frozen=True)
class Cert:
    """A certificate to be made."""

    name: str
    private: ec.EllipticCurvePrivateKey
    issuer: Cert | None = None  # None: itself
    serial: int = 0
    start: int = NOW - 400 * DAY
    end: int = NOW + 400 * DAY
    ca: bool = False
    extensions: tuple[tuple[str, bytes], ...] = ()
    wrong_key: ec.EllipticCurvePrivateKey | None = None  # signs instead of the issuer's
    tbs: Callable[[bytes], bytes] | None = None  # what is signed, changed in ways that libraries refuse to write

    @property
    def subject(self) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, self.name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ATLAS TEST, not a vendor"),
            ]
        )

    @property
    def signer(self) -> Cert:
        return self.issuer or self

    def serial_number(self) -> int:
        return self.serial or int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big") | 1

    @lru_cache(maxsize=1024)  # noqa: B019
    def make(self) -> x509.Certificate:
        algorithm: Any = hashes.SHA256() if self.signer.private.curve.key_size == 256 else hashes.SHA384()
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.signer.subject)
            .public_key(self.private.public_key())
            .serial_number(self.serial_number())
            .not_valid_before(moment(self.start))
            .not_valid_after(moment(self.end))
            .add_extension(x509.BasicConstraints(ca=self.ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(not self.ca, False, False, False, False, self.ca, self.ca, False, False), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.private.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.signer.private.public_key()), critical=False
            )
        )
        for dotted, value in self.extensions:
            builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(dotted), value), critical=False)
        return builder.sign(self.wrong_key or self.signer.private, algorithm, ecdsa_deterministic=True)

    def der(self) -> bytes:
        made = self.make()
        if self.tbs is None:
            return made.public_bytes(Encoding.DER)
        tbs = self.tbs(made.tbs_certificate_bytes)
        _, algorithm, _ = der.items(der.items(made.public_bytes(Encoding.DER))[0][1])
        digest: Any = hashes.SHA256() if self.signer.private.curve.key_size == 256 else hashes.SHA384()
        signature = self.signer.private.sign(tbs, ec.ECDSA(digest, deterministic_signing=True))
        return der.sequence(tbs, algorithm[2], der.tlv(0x03, b"\0" + signature))

    def pem(self) -> str:
        return ssl.DER_cert_to_PEM_cert(self.der())


@dataclass(frozen=True)
class Crl:
    issuer: Cert
    start: int = NOW - 5 * DAY
    end: int = NOW + 25 * DAY
    revoked: tuple[int, ...] = field(default=())
    wrong_key: ec.EllipticCurvePrivateKey | None = None

    def der(self) -> bytes:
        algorithm: Any = hashes.SHA256() if self.issuer.private.curve.key_size == 256 else hashes.SHA384()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issuer.subject)
            .last_update(moment(self.start))
            .next_update(moment(self.end))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issuer.private.public_key()), critical=False
            )
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(self.start)).build()
            builder = builder.add_revoked_certificate(entry)
        crl = builder.sign(self.wrong_key or self.issuer.private, algorithm, ecdsa_deterministic=True)
        return crl.public_bytes(Encoding.DER)
