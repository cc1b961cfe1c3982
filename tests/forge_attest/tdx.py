"""A TDX world: a platform, its trust domain, and everything that Intel would say about them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from . import der
from .pki import DAY, NOW, Cert, Crl, key, moment, point, sign

SGX = "1.2.840.113741.1.13.1"
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
BODY_SIZES = {2: 584, 3: 648, 4: 885}
SEPT_VE_DISABLE = 1 << 28


def date(t: int) -> str:
    return moment(t).strftime("%Y-%m-%dT%H:%M:%SZ")


def components(values: tuple[int, ...]) -> list[dict[str, int]]:
    return [{"svn": v} for v in values]


@dataclass(frozen=True)
class Level:
    """A level of the TCB info."""

    sgx: tuple[int, ...] = (2,) * 16
    pcesvn: int = 10
    tdx: tuple[int, ...] = (3, 0, 5) + (0,) * 13
    status: str = "UpToDate"
    date: int = NOW - 100 * DAY
    advisories: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        tcb = {
            "sgxtcbcomponents": components(self.sgx),
            "pcesvn": self.pcesvn,
            "tdxtcbcomponents": components(self.tdx),
        }
        return {"tcb": tcb} | _rest(self)


@dataclass(frozen=True)
class Svn:
    """A level of a TDX module or of the quoting enclave."""

    svn: int = 4
    status: str = "UpToDate"
    date: int = NOW - 90 * DAY
    advisories: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"tcb": {"isvsvn": self.svn}} | _rest(self)


def _rest(level: Level | Svn) -> dict[str, Any]:
    rest: dict[str, Any] = {"tcbDate": date(level.date), "tcbStatus": level.status}
    return rest | ({"advisoryIDs": list(level.advisories)} if level.advisories else {})


@dataclass(frozen=True)
class Module:
    id: str = "TDX_01"
    mrsigner: bytes = bytes(48)
    attributes: bytes = bytes(8)
    levels: tuple[Svn, ...] = (Svn(4), Svn(2, "OutOfDate"))

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "mrsigner": self.mrsigner.hex(),
            "attributes": self.attributes.hex(),
            "attributesMask": "FF" * 8,
            "tcbLevels": [level.to_json() for level in self.levels],
        }


def keep(value: Any) -> Any:
    return value


Parts = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Tdx:
    # names and keys
    root_name: str = "ATLAS TEST SGX Root CA"
    ca_name: str = "ATLAS TEST SGX PCK Platform CA"
    pck_name: str = "ATLAS TEST SGX PCK Certificate"
    signer_name: str = "ATLAS TEST SGX TCB Signing"
    root_end: int = NOW + 4000 * DAY
    ca_end: int = NOW + 3000 * DAY
    pck_start: int = NOW - 300 * DAY
    pck_end: int = NOW + 300 * DAY
    signer_end: int = NOW + 400 * DAY
    ca_is_ca: bool = True
    pck_wrong_key: ec.EllipticCurvePrivateKey | None = None
    ca_wrong_key: ec.EllipticCurvePrivateKey | None = None
    signer_wrong_key: ec.EllipticCurvePrivateKey | None = None
    # revocation
    root_crl: Crl | None = None
    pck_crl: Crl | None = None
    revoked: tuple[str, ...] = ()  # "pck", "ca", "signer"
    crl_start: int = NOW - 5 * DAY
    crl_end: int = NOW + 25 * DAY
    # platform
    fmspc: bytes = bytes.fromhex("a7a500000001")
    pceid: bytes = bytes(2)
    cpu: tuple[int, ...] = (2,) * 16
    pcesvn: int = 11
    configuration: tuple[bool, ...] | None = (False, False, False)
    pck_parts: Callable[[Parts], Parts] = keep
    tcb_parts: Callable[[Parts], Parts] = keep
    # TCB info
    levels: tuple[Level, ...] = (Level(), Level(sgx=(1,) * 16, pcesvn=5, tdx=(1,) + (0,) * 15, status="OutOfDate"))
    modules: tuple[Module, ...] = (Module(),)
    info_issued: int = NOW - 3 * DAY
    info_next: int = NOW + 27 * DAY
    info_number: int = 18
    info: Callable[[dict[str, Any]], dict[str, Any]] = keep
    info_text: Callable[[str], str] = keep
    info_signature: Callable[[bytes], bytes] = keep
    # QE identity
    qe_levels: tuple[Svn, ...] = (Svn(4),)
    qe_issued: int = NOW - 2 * DAY
    qe_next: int = NOW + 28 * DAY
    qe_number: int = 18
    identity: Callable[[dict[str, Any]], dict[str, Any]] = keep
    identity_signature: Callable[[bytes], bytes] = keep
    # trust domain
    version: int = 4
    body_type: int = 2
    svn: bytes = bytes([4, 1, 5]) + bytes(13)
    svn2: bytes = bytes([4, 1, 5]) + bytes(13)
    mrsignerseam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)
    attributes: int = SEPT_VE_DISABLE
    xfam: int = 0x602E7
    mrtd: bytes = b"\xa1" * 48
    rtmr: tuple[bytes, ...] = tuple(bytes([0xB0 + i]) * 48 for i in range(4))
    mrconfigid: bytes = bytes(48)
    mrservicetd: bytes = bytes(48)
    report_data: bytes = hashlib.sha512(b"atlas test").digest()
    # quoting enclave
    qe_svn: int = 5
    qe_prodid: int = 2
    qe_misc: int = 0
    qe_attributes: bytes = bytes.fromhex("1500000000000000e700000000000000")
    qe_mrsigner: bytes = hashlib.sha256(b"ATLAS TEST QE").digest()
    qe_auth: bytes = bytes(range(32))
    qe_report_data: Callable[[bytes], bytes] = keep
    qe_wrong_key: ec.EllipticCurvePrivateKey | None = None
    quote_wrong_key: ec.EllipticCurvePrivateKey | None = None
    attestation_point: bytes | None = None
    # form
    header: Callable[[bytes], bytes] = keep
    cert_type: int = 5
    outer_type: int = 6
    cert_data: bytes | None = None
    with_root: bool = True
    sizes: dict[str, int] = field(default_factory=dict)  # what to add to a size field: body, auth, outer, inner
    trailing: bytes = b""

    def but(self, **changes: Any) -> Tdx:
        return replace(self, **changes)

    # ------------------------------------------------------------------------------------------- certificates

    @property
    def root(self) -> Cert:
        return Cert(self.root_name, key("tdx root"), end=self.root_end, ca=True)

    @property
    def ca(self) -> Cert:
        return Cert(
            self.ca_name, key("tdx ca"), self.root, end=self.ca_end, ca=self.ca_is_ca, wrong_key=self.ca_wrong_key
        )

    @property
    def pck(self) -> Cert:
        return Cert(
            self.pck_name,
            key("tdx pck"),
            self.ca,
            start=self.pck_start,
            end=self.pck_end,
            extensions=((SGX, self.sgx_extension()),) if self.pck_parts([("1", b"")]) else (),
            wrong_key=self.pck_wrong_key,
        )

    @property
    def signer(self) -> Cert:
        return Cert(
            self.signer_name, key("tdx signer"), self.root, end=self.signer_end, wrong_key=self.signer_wrong_key
        )

    def sgx_extension(self) -> bytes:
        tcb: Parts = [(f"2.{i + 1}", der.integer(v)) for i, v in enumerate(self.cpu)]
        tcb += [("2.17", der.integer(self.pcesvn)), ("2.18", der.octets(bytes(self.cpu)))]
        parts: Parts = [
            ("1", der.octets(bytes(16))),
            ("2", _pairs(self.tcb_parts(tcb))),
            ("3", der.octets(self.pceid)),
            ("4", der.octets(self.fmspc)),
            ("5", der.integer(1, 0x0A)),
        ]
        if self.configuration is not None:
            flags = [(f"7.{i + 1}", der.boolean(v)) for i, v in enumerate(self.configuration)]
            parts += [("6", der.octets(bytes(16))), ("7", _pairs(flags))]
        return _pairs(self.pck_parts(parts))

    def crls(self) -> tuple[bytes, bytes]:
        """Of the root, of the platform CA."""
        serials = {"pck": self.pck, "ca": self.ca, "signer": self.signer}
        revoked = {name: serials[name].serial_number() for name in self.revoked}
        by_root = tuple(revoked[n] for n in ("ca", "signer") if n in revoked)
        by_ca = (revoked["pck"],) if "pck" in revoked else ()
        root = self.root_crl or Crl(self.root, self.crl_start, self.crl_end, by_root)
        pck = self.pck_crl or Crl(self.ca, self.crl_start, self.crl_end, by_ca)
        return root.der(), pck.der()

    # --------------------------------------------------------------------------------------- signed documents

    def tcb_info(self) -> str:
        info = {
            "id": "TDX",
            "version": 3,
            "issueDate": date(self.info_issued),
            "nextUpdate": date(self.info_next),
            "fmspc": self.fmspc.hex().upper(),
            "pceId": self.pceid.hex(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": self.info_number,
            "tdxModule": {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8},
            "tdxModuleIdentities": [module.to_json() for module in self.modules],
            "tcbLevels": [level.to_json() for level in self.levels],
        }
        return self.info_text(json.dumps(self.info(info), separators=(",", ":")))

    def qe_identity(self) -> str:
        identity = {
            "id": "TD_QE",
            "version": 2,
            "issueDate": date(self.qe_issued),
            "nextUpdate": date(self.qe_next),
            "tcbEvaluationDataNumber": self.qe_number,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": hashlib.sha256(b"ATLAS TEST QE").hexdigest(),
            "isvprodid": 2,
            "tcbLevels": [level.to_json() for level in self.qe_levels],
        }
        return json.dumps(self.identity(identity), separators=(",", ":"))

    def signatures(self) -> tuple[bytes, bytes]:
        private = key("tdx signer")
        return (
            self.info_signature(sign(private, self.tcb_info().encode())),
            self.identity_signature(sign(private, self.qe_identity().encode())),
        )

    # ---------------------------------------------------------------------------------- collateral, three forms

    def bundle(self) -> dict[str, str]:
        root_crl, pck_crl = self.crls()
        signer_chain = self.signer.pem() + self.root.pem()
        info_signature, identity_signature = self.signatures()
        return {
            "pck_crl_issuer_chain": self.ca.pem() + self.root.pem(),
            "root_ca_crl": root_crl.hex(),
            "pck_crl": pck_crl.hex(),
            "tcb_info_issuer_chain": signer_chain,
            "tcb_info": self.tcb_info(),
            "tcb_info_signature": info_signature.hex(),
            "qe_identity_issuer_chain": signer_chain,
            "qe_identity": self.qe_identity(),
            "qe_identity_signature": identity_signature.hex(),
        }

    def raw_bodies(self) -> list[bytes]:
        info_signature, identity_signature = self.signatures()
        return [
            pcs_body("tcbInfo", self.tcb_info(), info_signature),
            pcs_body("enclaveIdentity", self.qe_identity(), identity_signature),
            (self.signer.pem() + self.root.pem()).encode(),
            *self.crls(),
        ]

    def dump(self) -> bytes:
        b = self.bundle()
        info_signature, identity_signature = self.signatures()
        blobs = [
            b["pck_crl_issuer_chain"].encode(),
            b["root_ca_crl"].encode(),
            b["pck_crl"].encode(),
            b["tcb_info_issuer_chain"].encode(),
            pcs_body("tcbInfo", self.tcb_info(), info_signature),
            b["qe_identity_issuer_chain"].encode(),
            pcs_body("enclaveIdentity", self.qe_identity(), identity_signature),
        ]
        blobs = [blob + b"\0" for blob in blobs]
        table = b"".join(struct.pack("<QII", 0x7F0000000000 + i, len(blob), 0xDEAD) for i, blob in enumerate(blobs))
        return struct.pack("<II", 4, 0x81) + table + b"".join(blobs)

    def anchor(self) -> bytes:
        return self.root.pem().encode()

    # ------------------------------------------------------------------------------------------------- quote

    def td_report(self) -> bytes:
        body = self.svn + b"\x5e" * 48 + self.mrsignerseam + self.seam_attributes
        body += struct.pack("<QQ", self.attributes, self.xfam)
        body += self.mrtd + self.mrconfigid + bytes(48) + bytes(48) + b"".join(self.rtmr) + self.report_data
        if self.body_type >= 3:
            body += self.svn2 + self.mrservicetd
        return body + bytes(BODY_SIZES[self.body_type] - len(body)) if self.body_type in BODY_SIZES else body

    def signed_part(self) -> bytes:
        header = struct.pack("<HHIHH", self.version, 2, 0x81, 0, 0) + VENDOR + bytes(20)
        body = self.td_report()
        if self.version == 5:
            body = struct.pack("<HI", self.body_type, len(body) + self.sizes.get("body", 0)) + body
        return self.header(header) + body

    def qe_report(self) -> bytes:
        attestation = self.attestation_point or point(key("tdx attestation"))
        bound = hashlib.sha256(attestation + self.qe_auth).digest() + bytes(32)
        report = bytes(16) + struct.pack("<I", self.qe_misc) + bytes(28) + self.qe_attributes
        report += b"\x0e" * 32 + bytes(32) + self.qe_mrsigner + bytes(96)
        report += struct.pack("<HH", self.qe_prodid, self.qe_svn) + bytes(60) + self.qe_report_data(bound)
        return report

    def certification(self) -> bytes:
        chain = (self.pck.pem() + self.ca.pem() + (self.root.pem() if self.with_root else "")).encode()
        data = {4: self.pck.pem().encode(), 5: chain + b"\0"}.get(self.cert_type, bytes(404))
        data = self.cert_data if self.cert_data is not None else data
        report = self.qe_report()
        inner = struct.pack("<HI", self.cert_type, len(data) + self.sizes.get("inner", 0)) + data
        signature = sign(self.qe_wrong_key or key("tdx pck"), report)
        return report + signature + struct.pack("<H", len(self.qe_auth)) + self.qe_auth + inner

    def quote(self) -> bytes:
        signed = self.signed_part()
        certification = self.certification()
        auth = sign(self.quote_wrong_key or key("tdx attestation"), signed)
        auth += self.attestation_point or point(key("tdx attestation"))
        auth += struct.pack("<HI", self.outer_type, len(certification) + self.sizes.get("outer", 0)) + certification
        return signed + struct.pack("<I", len(auth) + self.sizes.get("auth", 0)) + auth + self.trailing


def _pairs(parts: Parts) -> bytes:
    return der.sequence(*(der.sequence(der.oid(f"{SGX}.{number}"), value) for number, value in parts))


def pcs_body(member: str, text: str, signature: bytes) -> bytes:
    return f'{{"{member}":{text},"signature":"{signature.hex()}"}}'.encode()


def td15(**changes: Any) -> Tdx:
    return Tdx(version=5, body_type=3).but(**changes)


_CERTIFIED = ("pck_start", "pck_end", "signer_end")
_ISSUED = ("crl_start", "crl_end", "info_issued", "info_next", "qe_issued", "qe_next")


def at(world: Tdx, t: int) -> Tdx:
    """The same world at another time than NOW."""
    return replace(world, **{name: getattr(world, name) + t - NOW for name in _CERTIFIED + _ISSUED})
