"""An SEV-SNP world: report, VCEK or VLEK, AMD's chain."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from . import der
from .pki import DAY, NOW, Cert, Crl, key, sign

AMD = "1.3.6.1.4.1.3704.1"


def keep(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Snp:
    product: str = "Milan-B0"
    vlek: bool = False
    levels: tuple[int, ...] = (3, 0, 20, 209)  # bootloader, tee, snp, microcode
    fmc: int | None = None
    certified: tuple[int, ...] | None = None  # in the certificate; None: the same
    hwid: bytes = hashlib.sha512(b"atlas test chip").digest()
    chip_id: bytes | None = None
    extensions: Callable[[dict[str, bytes]], dict[str, bytes]] = keep
    leaf_wrong_key: ec.EllipticCurvePrivateKey | None = None
    ask_wrong_key: ec.EllipticCurvePrivateKey | None = None
    leaf_end: int = NOW + 1000 * DAY
    crl: Crl | None = None
    version: int = 2
    guest_svn: int = 1
    policy: int = 0x30000
    vmpl: int = 0
    algorithm: int = 1
    key_info: int | None = None
    report_data: bytes = hashlib.sha512(b"atlas test").digest()
    measurement: bytes = b"\xa5" * 48
    host_data: bytes = b"\x0d" * 32
    report_wrong_key: ec.EllipticCurvePrivateKey | None = None
    signature: Callable[[bytes], bytes] = keep

    def but(self, **changes: Any) -> Snp:
        return replace(self, **changes)

    @property
    def ark(self) -> Cert:
        return Cert("ATLAS TEST ARK", key("snp ark", ec.SECP384R1), ca=True, end=NOW + 5000 * DAY)

    @property
    def ask(self) -> Cert:
        return Cert(
            "ATLAS TEST ASK",
            key("snp ask", ec.SECP384R1),
            self.ark,
            ca=True,
            end=NOW + 4000 * DAY,
            wrong_key=self.ask_wrong_key,
        )

    @property
    def leaf(self) -> Cert:
        bl, tee, snp, ucode = self.certified or self.levels
        parts = {
            "2": der.ia5(self.product),
            "3.1": der.integer(bl),
            "3.2": der.integer(tee),
            "3.3": der.integer(snp),
            "3.8": der.integer(ucode),
        }
        if self.fmc is not None:
            parts["3.9"] = der.integer(self.fmc)
        parts["5" if self.vlek else "4"] = b"\x0c\x04test" if self.vlek else self.hwid
        return Cert(
            "ATLAS TEST VLEK" if self.vlek else "ATLAS TEST VCEK",
            key("snp leaf", ec.SECP384R1),
            self.ask,
            end=self.leaf_end,
            extensions=tuple((f"{AMD}.{number}", value) for number, value in self.extensions(parts).items()),
            wrong_key=self.leaf_wrong_key,
        )

    def collateral(self) -> list[bytes]:
        files = [self.leaf.der(), (self.ask.pem() + self.ark.pem()).encode()]
        return files + ([self.crl.der()] if self.crl else [])

    def anchor(self) -> bytes:
        return self.ark.pem().encode()

    def tcb(self) -> bytes:
        bl, tee, snp, ucode = self.levels
        if self.product.startswith("Turin"):
            return bytes([self.fmc or 0, bl, tee, snp, 0, 0, 0, ucode])
        return bytes([bl, tee, 0, 0, 0, 0, snp, ucode])

    def signed_part(self) -> bytes:
        chip = self.chip_id if self.chip_id is not None else b"" if self.vlek else self.hwid
        info = self.key_info if self.key_info is not None else (1 << 2 if self.vlek else 0)
        b = bytearray(0x2A0)
        struct.pack_into("<IIQ", b, 0, self.version, self.guest_svn, self.policy)
        struct.pack_into("<II", b, 0x30, self.vmpl, self.algorithm)
        b[0x38:0x40] = self.tcb()
        struct.pack_into("<QI", b, 0x40, 1, info)
        b[0x50:0x90] = self.report_data
        b[0x90:0xC0] = self.measurement
        b[0xC0:0xE0] = self.host_data
        b[0x180:0x188] = self.tcb()
        b[0x1A0 : 0x1A0 + len(chip)] = chip
        b[0x1E0:0x1E8] = self.tcb()
        b[0x1F0:0x1F8] = self.tcb()
        return bytes(b)

    def report(self) -> bytes:
        signed = self.signed_part()
        raw = sign(self.report_wrong_key or key("snp leaf", ec.SECP384R1), signed)
        r, s = raw[:48][::-1] + bytes(24), raw[48:][::-1] + bytes(24)
        return signed + self.signature(r + s) + bytes(0x4A0 - 0x2A0 - 144)
