"""A GPU world: SPDM request and response, the device's chain."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import der
from .pki import DAY, NOW, Cert, key, sign

DICE = "2.23.133.5.4.1"
SHA384 = "2.16.840.1.101.3.4.2.2"
DRIVER, VBIOS, FWID = 3, 6, 20


def measurement(index: int) -> bytes:
    return hashlib.sha384(b"measurement %d" % index).digest()


def keep(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Gpu:
    nonce: bytes = hashlib.sha256(b"atlas test").digest()
    driver: bytes = b"550.90.07\0"
    vbios: bytes = bytes.fromhex("009f009601000000")
    fwid: bytes = hashlib.sha384(b"firmware").digest()
    certified_fwid: bytes | None = None
    fwid_form: str = "composite"  # "tcb info", "none"
    measurements: dict[int, bytes] = field(default_factory=lambda: {i: measurement(i) for i in range(1, 9)})
    opaque: Callable[[bytes], bytes] = keep
    request: Callable[[bytes], bytes] = keep
    blocks: Callable[[list[bytes]], list[bytes]] = keep
    announced: int | None = None
    leaf_wrong_key: ec.EllipticCurvePrivateKey | None = None
    leaf_end: int = NOW + 1000 * DAY
    report_wrong_key: ec.EllipticCurvePrivateKey | None = None
    trailing: bytes = b""

    def but(self, **changes: Any) -> Gpu:
        return replace(self, **changes)

    @property
    def root(self) -> Cert:
        return Cert("ATLAS TEST Device Identity CA", key("gpu root", ec.SECP384R1), ca=True, end=NOW + 9000 * DAY)

    @property
    def brom(self) -> Cert:
        return Cert("ATLAS TEST BROM", key("gpu brom", ec.SECP384R1), self.root, ca=True, end=NOW + 8000 * DAY)

    @property
    def leaf(self) -> Cert:
        private = key("gpu leaf", ec.SECP384R1)
        fwid = der.sequence(der.oid(SHA384), der.octets(self.certified_fwid or self.fwid))
        spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        forms = {
            "composite": ((DICE, der.sequence(der.integer(1), spki, fwid)),),
            "tcb info": ((DICE, der.sequence(der.tlv(0x80, b"NVIDIA"), der.tlv(0xA6, fwid))),),
            "damaged": ((DICE, der.sequence(der.integer(1), spki)),),
            "none": (),
        }
        return Cert(
            "ATLAS TEST GPU",
            private,
            self.brom,
            end=self.leaf_end,
            extensions=forms[self.fwid_form],
            wrong_key=self.leaf_wrong_key,
        )

    def collateral(self) -> list[bytes]:
        return [(self.leaf.pem() + self.brom.pem() + self.root.pem()).encode()]

    def anchor(self) -> bytes:
        return self.root.pem().encode()

    def signed_part(self) -> bytes:
        request = self.request(b"\x11\xe0\x01\xff" + self.nonce + b"\0")
        blocks = self.blocks(
            [struct.pack("<BBHBH", i, 1, len(v) + 3, i & 0x7F, len(v)) + v for i, v in self.measurements.items()]
        )
        record = b"".join(blocks)
        fields = {DRIVER: self.driver, VBIOS: self.vbios, FWID: self.fwid}
        opaque = self.opaque(b"".join(struct.pack("<HH", t, len(v)) + v for t, v in fields.items()))
        count = len(blocks) if self.announced is None else self.announced
        head = b"\x11\x60\0\0" + bytes([count]) + len(record).to_bytes(3, "little")
        return request + head + record + hashlib.sha256(b"device").digest() + struct.pack("<H", len(opaque)) + opaque

    def report(self) -> bytes:
        signed = self.signed_part()
        return signed + sign(self.report_wrong_key or key("gpu leaf", ec.SECP384R1), signed) + self.trailing
