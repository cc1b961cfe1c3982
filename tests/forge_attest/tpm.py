"""A TPM world: attestation key, quote, NV index with a log, certificate, policy; and Azure's report about such a TPM.

Written from the TCG library specification, Part 2; knows nothing of the verifier.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from . import der
from .pki import DAY, NOW, Cert, key

SHA1, SHA256, SHA384 = 4, 11, 12
RSASSA, RSAPSS, ECDSA, NULL = 0x14, 0x16, 0x18, 0x10
QUOTE, NV_CERTIFY, CERTIFY, NV_DIGEST = 0x8018, 0x8014, 0x8017, 0x801C
AK = 0x50072  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
NV_EXTEND = (
    1 << 29 | 1 << 25 | 1 << 18 | 1 << 17 | 0x40 | 4 | 2
)  # written, no lockout, owner and auth read and write, extend
ENDORSEMENT = bytes.fromhex("4000000b")
BINDING = hashlib.sha512(b"atlas test binding").digest()
LOG = b'atlas.test/v1 INIT {}\natlas.test/v1 model-load {"sha256":"00"}\natlas.test/v1 checkpoint {"sha256":"01"}\n'
SIZES = {SHA1: 20, SHA256: 32, SHA384: 48}
NAMES = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384"}
HASHES: dict[int, Any] = {SHA256: hashes.SHA256(), SHA384: hashes.SHA384()}


def keep(value: Any) -> Any:
    return value


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def digest(algorithm: int, data: bytes) -> bytes:
    return hashlib.new(NAMES[algorithm], data).digest()


@lru_cache(maxsize=4)
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Not the same in every run, but in every call: the verdicts are compared, not the bytes."""
    del name
    return rsa.generate_private_key(65537, 2048)


def pcr(index: int, algorithm: int = SHA256) -> bytes:
    return digest(algorithm, b"atlas test pcr %d" % index)


def replay(log: bytes, start: bytes = bytes(32)) -> bytes:
    for line in log.splitlines():
        start = hashlib.sha256(start + hashlib.sha256(line).digest()).digest()
    return start


@dataclass(frozen=True)
class Tpm:
    scheme: int = ECDSA
    hash: int = SHA256
    attributes: int = AK
    named_attributes: int | None = None  # as the quote names the key; None: the same
    hierarchy: bytes = ENDORSEMENT
    report_data: bytes = BINDING
    extra: bytes | None = None  # None: SHA-256 of the report data
    magic: int = 0xFF544347
    type: int = QUOTE
    banks: tuple[tuple[int, tuple[int, ...]], ...] = ((SHA256, (0, 4, 7, 14)),)
    selection: bytes | None = None  # TPML_PCR_SELECTION; None: of the banks
    values: Callable[[bytes], bytes] = keep  # of the PCRs as carried
    pcr_digest: Callable[[bytes], bytes] = keep
    safe: int = 1
    clock: tuple[int, int, int] = (123456, 7, 2)  # clock, resets, restarts
    trailing: bytes = b""
    wrong_key: Any = None  # signs instead of the attestation key
    signature: Callable[[bytes], bytes] = keep
    log: bytes | None = LOG  # None: no NV index
    certified_log: bytes | None = None  # what was really extended; None: the log
    initial: bytes | None = None
    nv_attributes: int = NV_EXTEND
    nv_certified_attributes: int | None = None
    nv_type: int = NV_CERTIFY
    nv_extra: bytes | None = None
    nv_clock: tuple[int, int, int] | None = None
    nv_offset: int = 0
    nv_wrong_key: Any = None
    certified: bool = False
    usage: str = "2.23.133.8.3"
    names: tuple[str, str] = ("id:54455354", "ATLAS TEST TPM")
    leaf_key: Any = None
    leaf_end: int = NOW + 300 * DAY
    ca_wrong_key: Any = None
    words: dict[str, str] | None = None  # what it says of itself
    tee: dict[str, bytes] | None = None
    events: bytes | None = None
    pcrs: dict[int, bytes] | None = None  # other values than those of pcr()
    change: Callable[[dict[str, Any]], dict[str, Any]] = keep

    def but(self, **changes: Any) -> Tpm:
        return replace(self, **changes)

    # ------------------------------------------------------------------------------------------------- the key

    @property
    def private(self) -> Any:
        return key("tpm ak") if self.scheme == ECDSA else rsa_key("tpm ak")

    def spki(self) -> bytes:
        spki: bytes = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return spki

    def spki_sha256(self) -> str:
        return hashlib.sha256(self.spki()).hexdigest()

    def public(self, attributes: int | None = None) -> bytes:
        chosen = self.attributes if attributes is None else attributes
        head = struct.pack(">HHI", 0x23 if self.scheme == ECDSA else 1, SHA256, chosen) + sized(b"")
        head += struct.pack(">HHH", NULL, self.scheme, self.hash)
        numbers = self.private.public_key().public_numbers()
        if self.scheme == ECDSA:
            half = (self.private.curve.key_size + 7) // 8
            x, y = numbers.x.to_bytes(half, "big"), numbers.y.to_bytes(half, "big")
            return head + struct.pack(">HH", 3, NULL) + sized(x) + sized(y)
        return head + struct.pack(">HI", 2048, 0) + sized(numbers.n.to_bytes(256, "big"))

    def sign(self, message: bytes, private: Any = None) -> bytes:
        private = private or self.private
        head = struct.pack(">HH", self.scheme, self.hash)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(private.sign(message, ec.ECDSA(HASHES[self.hash])))
            return head + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        chosen = padding.PSS(padding.MGF1(HASHES[self.hash]), padding.PSS.DIGEST_LENGTH)
        form: Any = chosen if self.scheme == RSAPSS else padding.PKCS1v15()
        return head + sized(private.sign(message, form, HASHES[self.hash]))

    # ----------------------------------------------------------------------------------------------- statements

    def qualifying(self) -> bytes:
        return hashlib.sha256(self.report_data).digest() if self.extra is None else self.extra

    def statement(self, kind: int, extra: bytes, clock: tuple[int, int, int], attested: bytes) -> bytes:
        signer = struct.pack(">H", SHA256) + digest(SHA256, self.hierarchy + self.name(self.named_attributes))
        head = struct.pack(">IH", self.magic, kind) + sized(signer) + sized(extra)
        return head + struct.pack(">QIIBQ", *clock, self.safe, 0x2026) + attested

    def name(self, attributes: int | None = None) -> bytes:
        return struct.pack(">H", SHA256) + digest(SHA256, self.public(attributes))

    def true_values(self) -> bytes:
        given = self.pcrs or {}
        return b"".join(given.get(n, pcr(n, algorithm)) for algorithm, chosen in self.banks for n in sorted(chosen))

    def quote(self) -> bytes:
        selection = struct.pack(">I", len(self.banks))
        for algorithm, chosen in self.banks:
            bits = sum(1 << n for n in chosen)
            selection += struct.pack(">HB", algorithm, 3) + bits.to_bytes(3, "little")
        attested = (self.selection or selection) + sized(self.pcr_digest(digest(self.hash, self.true_values())))
        return self.statement(self.type, self.qualifying(), self.clock, attested) + self.trailing

    def nv_public(self, attributes: int | None = None) -> bytes:
        chosen = self.nv_attributes if attributes is None else attributes
        return struct.pack(">IHI", 0x0180A71A, SHA256, chosen) + sized(b"") + struct.pack(">H", 32)

    def nv_certify(self) -> bytes:
        name = struct.pack(">H", SHA256) + digest(SHA256, self.nv_public(self.nv_certified_attributes))
        value = replay(self.log if self.certified_log is None else self.certified_log or b"", self.initial or bytes(32))
        content = sized(value) if self.nv_type == NV_DIGEST else struct.pack(">H", self.nv_offset) + sized(value)
        extra = self.qualifying() if self.nv_extra is None else self.nv_extra
        return self.statement(self.nv_type, extra, self.nv_clock or self.clock, sized(name) + content)

    # ----------------------------------------------------------------------------------------------- certificate

    @property
    def ca(self) -> Cert:
        return Cert("ATLAS TEST TPM CA", key("tpm ca"), ca=True, end=NOW + 3000 * DAY)

    @property
    def leaf(self) -> Cert:
        oids = {"2.23.133.2.1": self.names[0], "2.23.133.2.2": self.names[1]}
        sets = b"".join(
            der.tlv(0x31, der.tlv(0x30, der.oid(oid) + der.tlv(0x0C, text.encode()))) for oid, text in oids.items()
        )
        san = der.tlv(0x30, der.tlv(0xA4, der.tlv(0x30, sets)))
        return Cert(
            "ATLAS TEST AK",
            self.leaf_key or self.private,
            self.ca,
            end=self.leaf_end,
            extensions=(("2.5.29.17", san), ("2.5.29.37", der.tlv(0x30, der.oid(self.usage)))),
            wrong_key=self.ca_wrong_key,
        )

    # --------------------------------------------------------------------------------------------------- together

    def evidence(self) -> bytes:
        quote = self.quote()
        parts: dict[str, Any] = {
            "atlas": "tpm-evidence",
            "v": 1,
            "ak": self.public(),
            "quote": quote,
            "sig": self.signature(self.sign(quote, self.wrong_key)),
            "pcrs": self.values(self.true_values()),
        }
        if self.log is not None:
            certify = self.nv_certify()
            parts["nv"] = {
                "public": self.nv_public(),
                "certify": certify,
                "sig": self.sign(certify, self.nv_wrong_key),
                "log": self.log,
            }
            if self.initial is not None:
                parts["nv"]["initial"] = self.initial
        if self.certified:
            parts["chain"] = [self.leaf.der()]
        if self.words is not None:
            parts["tpm"] = self.words
        if self.events is not None:
            parts["events"] = self.events
        if self.tee is not None:
            parts["tee"] = self.tee
        return cbor2.dumps(self.change(parts), canonical=True)

    def policy(self, *, pinned: bool = True, hardware: bool = False, **rules: Any) -> bytes:
        chosen = {"pcrs": {"sha256": {"7": [pcr(7).hex()]}}} | rules
        if pinned:
            chosen["keys"] = [{"spki_sha256": self.spki_sha256(), "hardware": hardware}]
        if self.certified:
            chosen.setdefault("unchecked_revocation", "warn")
            chosen["authorities"] = [{"certificate": self.ca.pem(), "hardware": hardware}]
        return json.dumps({"version": 1, "tpm": chosen}).encode()


# -------------------------------------------------------------------------------------------------------- Azure


def jwk(private: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    n = private.public_key().public_numbers().n.to_bytes(256, "big")
    text = base64.urlsafe_b64encode(n).rstrip(b"=").decode()
    return {"kid": kid, "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": text}


def runtime_data(private: rsa.RSAPrivateKey, **more: Any) -> bytes:
    document = {"keys": [jwk(private, "HCLAkPub"), jwk(rsa_key("tpm ak"), "HCLEkPub")], "vm-configuration": {}} | more
    return json.dumps(document, separators=(",", ":")).encode()


def hcl_report(
    runtime: bytes, *, kind: int = 4, hash_type: int = 1, hardware: bytes = b"", magic: bytes = b"HCLA"
) -> bytes:
    head = magic + struct.pack("<III", 2, 1184 + 20 + len(runtime), 2) + bytes(16)
    request = struct.pack("<IIIII", len(runtime) + 20, 1, kind, hash_type, len(runtime))
    return head + hardware.ljust(1184, b"\0") + request + runtime


def runtime_of(spki: bytes) -> bytes:
    """The runtime data that names this RSA key."""
    public = load_der_public_key(spki)
    assert isinstance(public, rsa.RSAPublicKey)
    text = base64.urlsafe_b64encode(public.public_numbers().n.to_bytes(256, "big")).rstrip(b"=").decode()
    return json.dumps({"keys": [{"kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": text}]}).encode()


def hcl_binding(runtime: bytes) -> bytes:
    """The report data of the hardware that vouches for it."""
    return hashlib.sha256(runtime).digest() + bytes(32)
