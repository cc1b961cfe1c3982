"""Formats cut off, doubled and misnamed at each of their joints: each is refused at that joint, with that reason."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from forge_attest import ccel, der
from forge_attest.gpu import Gpu
from forge_attest.pki import NOW, Cert, key
from forge_attest.snp import Snp
from forge_attest.tdx import SGX, Tdx

from atlas import _core
from atlas.attest import Appraisal, Collateral, verify
from atlas.errors import LimitError, MalformedError


def judge(world: Tdx) -> Appraisal:
    return verify(
        world.quote(), collateral=Collateral(json.dumps(world.bundle()).encode()), at=NOW, anchor=world.anchor()
    )


def reason(result: Appraisal) -> list[tuple[str, int, str]]:
    return [(check.id, check.code, check.text) for check in result.failures]


# -------------------------------------------------------------------------------------------------- event logs

EVENT = ccel.event(1, 4, b"data")


def refused(log: bytes, text: str) -> None:
    with pytest.raises(MalformedError, match=text):
        _core.ccel_replay(log)


def test_the_header_of_a_log_is_a_header() -> None:
    header = ccel.header()
    refused(header[:4] + struct.pack("<I", 4) + header[8:] + EVENT, "the first event is no header")
    refused(header[:8] + b"\x01" + header[9:] + EVENT, "the first event is no header")
    for n in range(len(header)):
        refused(header[:n], "the header event is cut off")


def test_the_list_of_algorithms_is_whole() -> None:
    header = ccel.header([(ccel.SHA256, 32), (ccel.SHA384, 48)])
    head, data = header[:28], header[32:]
    listed = 28 + 2 * 4
    for n in range(listed):
        text = "Spec ID Event03" if n < 28 else "the list of algorithms is cut off"
        refused(head + struct.pack("<I", n) + data[:n] + EVENT, text)
    assert _core.ccel_replay(head + struct.pack("<I", listed) + data[:listed] + EVENT)[4] == 2


def test_an_event_is_cut_off_nowhere() -> None:
    two = ccel.header([(ccel.SHA256, 32), (ccel.SHA384, 48)])
    event = struct.pack("<IIIH", 1, 4, 2, ccel.SHA256) + bytes(range(32)) + struct.pack("<H", ccel.SHA384)
    event += bytes(range(48)) + struct.pack("<I", 4) + b"data"
    assert _core.ccel_replay(two + event)[4] == 2
    for n in range(1, len(event)):
        refused(two + event[:n], "an event is cut off")


def test_an_event_has_no_more_digests_than_the_log_has_algorithms() -> None:
    digest = struct.pack("<H", ccel.SHA384) + bytes(48)
    refused(ccel.header() + struct.pack("<III", 1, 4, 2) + digest * 2 + struct.pack("<I", 0), "more digests than")


def test_a_digest_is_of_an_algorithm_that_the_header_names() -> None:
    text = "a digest of an algorithm that the header does not name"
    refused(ccel.header([(ccel.SHA256, 32)]) + EVENT, text)
    refused(ccel.header() + struct.pack("<IIIH", 1, 4, 1, 99) + struct.pack("<I", 0), text)


def test_a_log_has_a_limit() -> None:
    with pytest.raises(LimitError):
        _core.ccel_replay(ccel.log([], size=(16 << 20) + 1))
    assert _core.ccel_replay(ccel.log([], size=16 << 20))[4] == 1


# --------------------------------------------------------------------------------------------------------- SPDM


def test_a_gpu_report_is_cut_off_nowhere() -> None:
    report = Gpu().report()
    arguments: dict[str, Any] = {"collateral": Collateral(), "at": NOW, "kind": "nvidia"}
    for n in range(37, len(report)):
        text = "the signature is cut off" if n >= len(report) - 96 else "the response is cut off"
        with pytest.raises(MalformedError, match=text):
            verify(report[:n], **arguments)
    for place, value in ((37, 0x12), (38, 0x61)):
        changed = report[:place] + bytes([value]) + report[place + 1 :]
        with pytest.raises(MalformedError, match=r"not an SPDM 1\.1 response"):
            verify(changed, **arguments)
    with pytest.raises(LimitError):
        verify(report + bytes(1 << 20), **arguments)


# --------------------------------------------------------------------------------------------- PEM, hexadecimal


def pem(name: str, data: str = "MAA=") -> bytes:
    return f"-----BEGIN {name}-----\n{data}\n-----END {name}-----\n".encode()


def test_a_block_of_another_kind_is_not_passed_over() -> None:
    with pytest.raises(MalformedError, match="a PEM block that is no revocation list: PUBLIC KEY"):
        Collateral(pem("PUBLIC KEY") + pem("X509 CRL"))
    with pytest.raises(MalformedError, match="a PEM block that is no certificate: X509 CRL"):
        Collateral(Tdx().root.pem().encode() + pem("X509 CRL"))
    (failure,) = reason(judge(Tdx(cert_data=Tdx().pck.pem().encode() + pem("PUBLIC KEY"))))
    assert failure[0] == "tdx.pck_chain" and "no certificate: PUBLIC KEY" in failure[2]


@pytest.mark.parametrize("data", ["BAEA", "MAAA", "MIAAAA=="])
def test_a_certificate_block_holds_one_certificate(data: str) -> None:
    with pytest.raises(MalformedError, match="not one DER certificate"):
        Collateral(pem("CERTIFICATE", data))


@pytest.mark.parametrize("text", [b"30zz", b"3z", b"30 0"])
def test_hexadecimal_is_hexadecimal(text: bytes) -> None:
    with pytest.raises(MalformedError, match="not hexadecimal"):
        Collateral(text)


# ------------------------------------------------------------------------------------------------- certificates


class SignedByP384(Tdx):
    @property
    def signer(self) -> Cert:
        return replace(super().signer, private=key("tdx signer", ec.SECP384R1))


class PckOfP384(Tdx):
    @property
    def pck(self) -> Cert:
        return replace(super().pck, private=key("tdx pck", ec.SECP384R1))


@pytest.mark.parametrize(("world", "check"), [(SignedByP384(), "tdx.tcb_info"), (PckOfP384(), "tdx.qe_report")])
def test_a_key_of_another_curve_is_named_as_such(world: Tdx, check: str) -> None:
    assert [(found[0], found[1]) for found in reason(judge(world))] == [(check, -406)]


def doubled(tbs: bytes) -> bytes:
    extensions = der.extensions_of(tbs)
    (sgx,) = [extension for extension in extensions if der.oid(SGX) in extension]
    return der.with_extensions(tbs, [*extensions, sgx])


class Doubled(Tdx):
    @property
    def pck(self) -> Cert:
        return replace(super().pck, tbs=doubled)


class Extended(Tdx):
    """The SGX extension with another value."""

    value = b""

    @property
    def pck(self) -> Cert:
        return replace(super().pck, extensions=((SGX, self.value),))


def test_an_extension_that_is_there_twice_says_nothing() -> None:
    (failure,) = reason(judge(Doubled()))
    assert failure == ("tdx.pck_profile", -307, "the certificate has an extension twice")
    assert judge(Tdx()).signature


@pytest.mark.parametrize("change", [lambda value: value + b"\0", lambda value: b"\x31" + value[1:], lambda value: b""])
def test_the_sgx_extension_is_one_sequence(change: Any) -> None:
    class Changed(Extended):
        value = change(Tdx().sgx_extension())

    (failure,) = reason(judge(Changed()))
    assert failure == ("tdx.pck_profile", -307, "the SGX extension is not a sequence")


AMD_WRONG: dict[str, tuple[dict[str, bytes], str]] = {
    "a product of 24 letters": ({"2": der.ia5("M" * 24)}, "the product name is not a short text"),
    "a product that is no text": ({"2": der.octets(b"Milan")}, "the product name is not a short text"),
    "a product with something behind": ({"2": der.ia5("Milan-B0") + b"\0"}, "the product name is not a short text"),
    "a product that hides": ({"2": der.ia5("Milan\x1b")}, "the product name is not printable"),
    "a level 256": ({"3.9": der.integer(256)}, "a security patch level that is not a number"),
}


@pytest.mark.parametrize(("parts", "text"), AMD_WRONG.values(), ids=AMD_WRONG)
def test_the_extensions_of_amd_are_what_amd_writes(parts: dict[str, bytes], text: str) -> None:
    world = Snp(extensions=lambda written: written | parts)
    result = verify(world.report(), collateral=Collateral(*world.collateral()), at=NOW, anchor=world.anchor())
    (failure,) = [found for found in reason(result) if found[0].startswith("snp.")]
    assert failure[0] == "snp.profile" and failure[1] == -307 and text in failure[2]


def pair(number: str, value: bytes, *more: bytes) -> bytes:
    return der.sequence(der.oid(f"{SGX}.{number}"), value, *more)


def sgx_with(number: str, *instead: bytes) -> bytes:
    """The SGX extension with other bytes where this part was."""
    pairs = [whole for _, _, whole in der.items(der.items(Tdx().sgx_extension())[0][1])]
    (place,) = [i for i, p in enumerate(pairs) if der.oid(f"{SGX}.{number}") in p[: 2 + len(der.oid(f"{SGX}.1"))]]
    return der.sequence(*pairs[:place], *instead, *pairs[place + 1 :])


YES, NO = der.boolean(True), der.boolean(False)
PPID = der.octets(bytes(16))
SGX_WRONG: dict[str, bytes] = {
    "a part with something behind": sgx_with("1", pair("1", PPID, PPID)),
    "a part without a value": sgx_with("1", der.sequence(der.oid(f"{SGX}.1"))),
    "a part that is no pair": sgx_with("1", der.octets(bytes(16))),
    "a part of another arc": sgx_with("1", der.sequence(der.oid("1.2.840.113741.1.14.1.1"), PPID)),
    "a part one number deeper": sgx_with("1", pair("1.1", PPID)),
    "a part with a large number": sgx_with("1", pair("200", PPID)),
    "a flag that is a number": sgx_with("7", pair("7", der.sequence(pair("7.1", der.integer(1))))),
    "a flag of two bytes": sgx_with("7", pair("7", der.sequence(pair("7.1", der.tlv(1, b"\xff\xff"))))),
    "a flag twice": sgx_with("7", pair("7", der.sequence(pair("7.1", YES), pair("7.1", NO)))),
    "a fourth flag": sgx_with("7", pair("7", der.sequence(pair("7.4", YES)))),
    "a flag of number 0": sgx_with("7", pair("7", der.sequence(pair("7.0", YES)))),
    "a flag of another part": sgx_with("7", pair("7", der.sequence(pair("6.1", YES)))),
    "flags in a set": sgx_with("7", pair("7", der.tlv(0x31, pair("7.1", YES)))),
}


@pytest.mark.parametrize("extension", SGX_WRONG.values(), ids=SGX_WRONG)
def test_a_part_of_the_sgx_extension_is_one_pair_of_a_number_and_its_value(extension: bytes) -> None:
    class Changed(Extended):
        value = extension

    (failure,) = reason(judge(Changed()))
    assert failure[:2] == ("tdx.pck_profile", -307) and "unknown, damaged or there twice" in failure[2]


def test_flags_that_are_not_there_are_not_said() -> None:
    class Silent(Extended):
        value = sgx_with("7", pair("7", der.sequence(pair("7.2", YES))))

    assert judge(Silent()).signature
    for name, flagged in (("dynamic_platform", True), ("cached_keys", True), ("smt", True)):
        world = Silent()
        policy = json.dumps({"version": 1, "tdx": {name: "reject"}}).encode()
        collateral = Collateral(json.dumps(world.bundle()).encode())
        result = verify(world.quote(), collateral=collateral, at=NOW, anchor=world.anchor(), policy=policy)
        assert (f"tdx.{name}" in {check.id for check in result.failures}) is flagged


SPKI = der.sequence(der.octets(b"key"))
FIRMWARE = der.octets(Gpu().fwid)
SHA384 = der.oid("2.16.840.1.101.3.4.2.2")
FWID = der.sequence(SHA384, FIRMWARE)


def composite(fwid: bytes, *more: bytes) -> bytes:
    return der.sequence(der.integer(1), SPKI, fwid, *more)


FWID_WRONG: dict[str, bytes] = {
    "SHA-256": composite(der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), FIRMWARE)),
    "47 bytes": composite(der.sequence(SHA384, der.octets(bytes(47)))),
    "49 bytes": composite(der.sequence(SHA384, FIRMWARE[:1] + b"\x31" + FIRMWARE[2:] + b"\0")),
    "no algorithm": composite(der.sequence(FIRMWARE)),
    "no digest": composite(der.sequence(SHA384)),
    "a digest with something behind": composite(der.sequence(SHA384, FIRMWARE, FIRMWARE)),
    "a composite with something behind": composite(FWID, FWID),
    "a composite without a key": der.sequence(der.integer(1), FWID),
    "bytes behind a composite": composite(FWID) + b"\0",
    "bytes behind a TCB info": der.sequence(der.tlv(0xA6, FWID)) + b"\0",
    "a TCB info in a set": der.tlv(0x31, der.tlv(0xA6, FWID)),
    "a TCB info without a FWID": der.sequence(der.tlv(0x80, b"NVIDIA")),
}


@pytest.mark.parametrize("extension", FWID_WRONG.values(), ids=FWID_WRONG)
def test_the_firmware_extension_is_read_in_its_two_forms_alone(extension: bytes) -> None:
    class Changed(Gpu):
        @property
        def leaf(self) -> Cert:
            return replace(super().leaf, extensions=(("2.23.133.5.4.1", extension),))

    world = Changed()
    result = verify(world.report(), collateral=Collateral(*world.collateral()), at=NOW, anchor=world.anchor())
    (failure,) = reason(result)
    assert failure == ("gpu.fwid", -307, "the firmware extension cannot be read")


# --------------------------------------------------------------------------------------------------------- JSON

UNENDING: dict[str, tuple[bytes, str]] = {
    "a name": (b'{"tcbInfo', "a string without end"),
    "a name after a backslash": (b'{"tcbInfo\\', "a string without end"),
    "a name after an escape": (b'{"tcbInfo\\"', "a string without end"),
    "a text": (b'{"tcbInfo":"x', "a string without end"),
    "a line end in a name": (b'{"tcb\nInfo":{}}', "a control character in a string"),
    "a NUL in a text": (b'{"tcbInfo":"\0"}', "a control character in a string"),
    "a line end after a backslash": (b'{"tcbInfo":"\\\n"}', "a string without end"),
}


@pytest.mark.parametrize(("text", "said"), UNENDING.values(), ids=UNENDING)
def test_a_string_ends_and_holds_no_control_characters(text: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        Collateral(text)


JSON_WRONG: dict[str, tuple[bytes, str]] = {
    "a member without a name": (b'{"tcbInfo":{1:2}}', "a member without a name"),
    "a top-level member without a name": (b"{1:2}", "a member without a name"),
    "a comma before the end": (b'{"tcbInfo":{"a":1,}}', "a member without a name"),
    "a member without a colon": (b'{"tcbInfo" {}}', "a member without a colon"),
    "two commas in a list": (b'{"tcbInfo":[1,,2]}', "not a JSON value"),
    "no comma in a list": (b'{"tcbInfo":[1 2]}', "a comma or closing bracket is missing"),
    "another bracket": (b'{"tcbInfo":[1}', "a comma or closing bracket is missing"),
    "no comma between members": (b'{"tcbInfo":{} "signature":""}', "a comma or closing bracket is missing"),
    "no closing bracket": (b'{"tcbInfo":{}', "a comma or closing bracket is missing"),
    "an escape in a name": (b'{"tcb\\u0049nfo":{}}', "an escape in the name of a top-level member"),
    "something behind": (b'{"tcbInfo":{}}{}', "bytes after the JSON document"),
    "a member twice": (b'{"tcbInfo":{},"signature":"","tcbInfo":{}}', "neither a bundle nor TCB info"),
    "no value": (b'{"tcbInfo":}', "not a JSON value"),
    "another value": (b'{"tcbInfo":@}', "not a JSON value"),
}


@pytest.mark.parametrize(("text", "said"), JSON_WRONG.values(), ids=JSON_WRONG)
def test_json_that_could_be_cut_at_two_places_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        Collateral(text)


TCB_WRONG: dict[str, Any] = {
    "a nineteenth part": lambda p: [*p, ("2.19", der.integer(1))],
    "a part of number 0": lambda p: [*p, ("2.0", der.integer(1))],
    "CPUSVN of 15 bytes": lambda p: [*p[:17], ("2.18", der.octets(bytes(15)))],
    "CPUSVN of 17 bytes": lambda p: [*p[:17], ("2.18", der.octets(bytes(17)))],
    "CPUSVN as a number": lambda p: [*p[:17], ("2.18", der.integer(1))],
    "no CPUSVN": lambda p: p[:17],
    "CPUSVN twice": lambda p: [*p, p[17]],
}


@pytest.mark.parametrize("parts", TCB_WRONG.values(), ids=TCB_WRONG)
def test_the_tcb_of_a_certificate_has_eighteen_parts(parts: Any) -> None:
    (failure,) = reason(judge(Tdx(tcb_parts=parts)))
    assert failure[:2] == ("tdx.pck_profile", -307)


def test_json_has_a_limit() -> None:
    with pytest.raises(LimitError, match="JSON of 4194305 bytes"):
        Collateral(b'{"tcbInfo":{}' + b" " * ((4 << 20) - 13) + b"}")
