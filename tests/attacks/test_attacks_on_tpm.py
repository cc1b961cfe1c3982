"""Forged TPM evidence, one thing wrong at a time: each is refused, and by the check that is there for it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from types import SimpleNamespace
from typing import Any

import cbor2
import pytest
from forge_attest import ccel
from forge_attest import tpm as forge
from forge_attest.pki import DAY, NOW, Crl, key
from forge_attest.tpm import BINDING, LOG, Tpm, pcr, rsa_key, sized

from atlas import _core
from atlas.attest import Appraisal, Collateral, EvidenceCheck, verify
from atlas.errors import AtlasError, LimitError, MalformedError, UsageError, VerificationError

OTHER = key("other")


def judge(world: Tpm, *, policy: bytes | None = None, anchor: bytes | None = None, **how: Any) -> Appraisal:
    options = {"at": NOW, "report_data": BINDING, "kind": "tpm"} | how
    chosen = world.policy() if policy is None else policy
    return verify(world.evidence(), collateral=Collateral(), policy=chosen, anchor=anchor, **options)


def failed(result: Appraisal) -> set[str]:
    return {check.id.partition(".")[2] for check in result.failures}


def good(result: Appraisal) -> bool:
    return result.signature and result.tcb and result.appraisal == "attested" and result.binding == "matched"


HONEST = {
    "ECDSA": Tpm(),
    "RSASSA": Tpm(scheme=forge.RSASSA),
    "RSAPSS": Tpm(scheme=forge.RSAPSS),
    "RSASSA with SHA-384": Tpm(scheme=forge.RSASSA, hash=forge.SHA384),
    "no log": Tpm(log=None),
    "empty log that goes on": Tpm(log=b"", initial=b"\1" * 32),
    "two banks": Tpm(banks=((forge.SHA1, (0, 7)), (forge.SHA256, (7, 23)))),
    "in the owner's hierarchy": Tpm(hierarchy=bytes.fromhex("40000001")),
}


@pytest.mark.parametrize("world", HONEST.values(), ids=HONEST)
def test_an_honest_quote_of_a_pinned_key_is_attested(world: Tpm) -> None:
    result = judge(world)
    assert good(result), result.explain()
    assert (result.trust, result.tcb_status) == ("pinned", "NotApplicable")
    assert not result.hardware_rooted and not result.holds  # the policy does not say that the key is in hardware
    assert judge(world, policy=world.policy(hardware=True)).holds


def test_a_certified_key_is_trusted_by_its_ca_and_is_hardware_only_where_the_policy_says_so() -> None:
    world = Tpm(certified=True)
    soft = judge(world, policy=world.policy(pinned=False))
    assert good(soft) and soft.trust == "certified" and not soft.holds
    hard = judge(world, policy=world.policy(pinned=False, hardware=True))
    assert hard.holds and hard.hardware_rooted and hard.anchor == "authority of the policy"
    given = judge(world, policy=world.policy(pinned=False, hardware=True), anchor=world.ca.pem().encode())
    assert good(given) and not given.holds and given.anchor == "given by the caller"


def test_a_self_asserted_key_is_never_valid() -> None:
    for world in (Tpm(), Tpm(certified=True)):
        result = judge(world, policy=b'{"version": 1}')
        assert (result.signature, result.trust, result.hardware_rooted) == (False, "self-asserted", False)
        assert failed(result) == {"trust"} and "self-asserted" in result.failures[0].text
        assert result.exit_code == 4 and not result.holds
        with pytest.raises(VerificationError):
            result.require()


SOFTWARE = {
    "its certificate names swtpm": Tpm(certified=True, names=("id:00001014", "swtpm")),
    "its certificate names a simulator": Tpm(certified=True, names=("id:4D534654", "x")),
    "it calls itself so": Tpm(certified=True, words={"manufacturer": "id:49424D00", "vendor": "SW   TPM"}),
    "pinned, and it calls itself so": Tpm(words={"manufacturer": "id:12345678", "vendor": "SW   TPM"}),
}


@pytest.mark.parametrize("world", SOFTWARE.values(), ids=SOFTWARE)
def test_a_software_quote_under_a_hardware_label_is_refused(world: Tpm) -> None:
    result = judge(world, policy=world.policy(pinned=not world.certified, hardware=True))
    assert failed(result) == {"hardware"} and not result.hardware_rooted and result.software
    honest = judge(world, policy=world.policy(pinned=not world.certified))
    assert good(honest) and honest.software and not honest.holds


def test_a_certificate_that_names_no_tpm_is_no_word_for_hardware() -> None:
    """The CA enrolled it without looking at the endorsement certificate: it may be any program."""
    world = Tpm(certified=True, names=("", "model"))
    assert failed(judge(world, policy=world.policy(pinned=False, hardware=True))) == {"hardware"}
    assert good(judge(world, policy=world.policy(pinned=False)))
    assert judge(world, policy=world.policy(hardware=True)).holds  # pinned: the policy means this very key


def test_a_tpm_quote_under_the_label_of_another_kind_is_refused() -> None:
    for kind in ("tdx", "snp", "nvidia"):
        with pytest.raises(AtlasError):
            judge(Tpm(), kind=kind)
    with pytest.raises(MalformedError, match="there is none"):
        judge(Tpm(), kind="azure")


def reordered(log: bytes) -> bytes:
    lines = log.splitlines(keepends=True)
    return b"".join([lines[0], lines[2], lines[1]])


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


# What is wrong -> the only check that fails.
FORGED: dict[str, tuple[Tpm, str]] = {
    "not restricted: signs anything": (Tpm(attributes=forge.AK & ~(1 << 16)), "key"),
    "not fixed to the TPM: may be a copy": (Tpm(attributes=forge.AK & ~(1 << 1)), "key"),
    "not fixed to its parent": (Tpm(attributes=forge.AK & ~(1 << 4)), "key"),
    "imported": (Tpm(attributes=forge.AK & ~(1 << 5)), "key"),
    "a storage key": (Tpm(attributes=forge.AK | 1 << 17), "key"),
    "signs nothing": (Tpm(attributes=forge.AK & ~(1 << 18)), "key"),
    "signed by another key": (Tpm(wrong_key=OTHER), "quote"),
    "a signature with a flipped bit": (Tpm(signature=flipped), "quote"),
    "RSA, signed by another key": (Tpm(scheme=forge.RSASSA, wrong_key=rsa_key("other")), "quote"),
    "another scheme than the key's": (
        Tpm(scheme=forge.RSASSA, signature=lambda s: b"\0\x16" + s[2:]),
        "quote",
    ),
    "a good signature of the key by another scheme": (
        Tpm(scheme=forge.RSASSA, change=lambda p: p | {"sig": Tpm(scheme=forge.RSAPSS).sign(p["quote"])}),
        "quote",
    ),
    "another hash than the key's": (Tpm(signature=lambda s: s[:2] + b"\0\x0c" + s[4:]), "quote"),
    "unrestricted, and the attributes made up": (Tpm(named_attributes=forge.AK & ~(1 << 16)), "name"),
    "of a parent that is not here": (Tpm(hierarchy=b"\0\x0b" + bytes(32)), "name"),
    "a PCR value exchanged": (Tpm(values=lambda v: bytes(32) + v[32:]), "pcrs"),
    "a PCR value missing": (Tpm(values=lambda v: v[32:]), "pcrs"),
    "a PCR value too many": (Tpm(values=lambda v: v + bytes(32)), "pcrs"),
    "values in another order": (Tpm(values=lambda v: v[32:64] + v[:32] + v[64:]), "pcrs"),
    "a digest of other values": (Tpm(pcr_digest=flipped), "pcrs"),
    "a byte too many": (Tpm(values=lambda v: v + b"\0"), "pcrs"),
    "a log entry removed": (Tpm(certified_log=LOG, log=LOG[: LOG.rindex(b"atlas")]), "log"),
    "the first log entry removed": (Tpm(certified_log=LOG, log=LOG[LOG.index(b"\n") + 1 :]), "log"),
    "log entries reordered": (Tpm(certified_log=LOG, log=reordered(LOG)), "log"),
    "a log entry changed": (Tpm(certified_log=LOG, log=LOG.replace(b"01", b"02")), "log"),
    "a log entry added": (Tpm(certified_log=LOG, log=LOG + b"x\n"), "log"),
    "an empty line added": (Tpm(certified_log=LOG, log=LOG + b"\n"), "log"),
    "a last line without an end": (Tpm(certified_log=LOG, log=LOG[:-1]), "log"),
    "the log starts elsewhere than it says": (
        Tpm(change=lambda p: p | {"nv": p["nv"] | {"initial": b"\1" * 32}}),
        "log",
    ),
    "an NV index that can be overwritten": (Tpm(nv_attributes=forge.NV_EXTEND & ~0xF0), "nv"),
    "an NV index that is a counter": (Tpm(nv_attributes=forge.NV_EXTEND & ~0xF0 | 0x10), "nv"),
    "an NV index never written": (Tpm(nv_attributes=forge.NV_EXTEND & ~(1 << 29)), "nv"),
    "another NV index than the certified one": (Tpm(nv_certified_attributes=forge.NV_EXTEND & ~0xF0), "nv"),
    "NV signed by another key": (Tpm(nv_wrong_key=OTHER), "nv"),
    "NV certified for another binding": (Tpm(nv_extra=b"\1" * 32), "nv"),
    "NV certified before a reset": (Tpm(nv_clock=(123456, 6, 2)), "nv"),
    "NV certified before a restart": (Tpm(nv_clock=(123456, 7, 1)), "nv"),
    "NV certified in part": (Tpm(nv_offset=1), "nv"),
    "NV digest for NV contents": (Tpm(nv_type=forge.NV_DIGEST), "nv"),
    "a quote for NV contents": (
        Tpm(change=lambda p: p | {"nv": p["nv"] | {"certify": p["quote"], "sig": p["sig"]}}),
        "nv",
    ),
    "NV contents for a quote": (
        Tpm(change=lambda p: p | {"quote": p["nv"]["certify"], "sig": p["nv"]["sig"]}),
        "quote",
    ),
    "another nonce": (Tpm(report_data=b"\1" * 64), "qualifying_data"),
    "the binding itself, not its digest": (Tpm(extra=BINDING[:32]), "qualifying_data"),
    "nothing": (Tpm(extra=b""), "qualifying_data"),
    "zeros": (Tpm(extra=bytes(32)), "qualifying_data"),
    "the digest of zeros": (Tpm(report_data=bytes(64)), "qualifying_data"),
}


@pytest.mark.parametrize(("world", "check"), FORGED.values(), ids=FORGED)
def test_forged_evidence_fails_where_it_is_forged(world: Tpm, check: str) -> None:
    result = judge(world, policy=world.policy(hardware=True))
    assert failed(result) == {check}, result.explain()
    assert not result.holds


def test_zero_qualifying_data_is_named_so() -> None:
    assert judge(Tpm(report_data=bytes(64))).binding == "zero"
    assert judge(Tpm(report_data=bytes(64)), report_data=bytes(64)).binding == "zero"
    assert judge(Tpm(extra=b"")).binding == "zero"


def test_a_replayed_quote_is_bound_to_what_it_was_made_for() -> None:
    assert judge(Tpm(), report_data=hashlib.sha512(b"another").digest()).binding == "mismatch"
    assert judge(Tpm(), report_data=None).binding == "absent"
    strict = Tpm().policy(hardware=True).replace(b'"version": 1', b'"version": 1, "require_binding": true')
    assert failed(judge(Tpm(), report_data=None, policy=strict)) == {"qualifying_data"}


CERTIFICATES: dict[str, tuple[Tpm, str]] = {
    "of another key": (Tpm(certified=True, leaf_key=OTHER), "for another key"),
    "of a claim signer of the same CA": (Tpm(certified=True, usage="1.3.6.1.4.1.62558.2.1"), "not for an attestation"),
    "of a server": (Tpm(certified=True, usage="1.3.6.1.5.5.7.3.1"), "not for an attestation"),
    "expired": (Tpm(certified=True, leaf_end=NOW - DAY), "not valid|expired"),
    "not by this CA": (Tpm(certified=True, ca_wrong_key=OTHER), "no path|signature"),
    "damaged": (Tpm(certified=True, change=lambda p: p | {"chain": [p["chain"][0][:-1]]}), "DER"),
    "the CA itself": (Tpm(certified=True, change=lambda p: p | {"chain": [Tpm().ca.der()]}), "for another key"),
}


@pytest.mark.parametrize(("world", "text"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_certificate_that_does_not_speak_for_the_key_is_refused(world: Tpm, text: str) -> None:
    result = judge(world, policy=world.policy(pinned=False, hardware=True))
    assert failed(result) == {"trust"}, result.explain()
    assert re.search(text, result.failures[0].text), result.failures[0].text


CA = Tpm().ca
LEAF = Tpm(certified=True).leaf


def with_crl(*crls: Crl, **rules: Any) -> Appraisal:
    world = Tpm(certified=True)
    return verify(
        world.evidence(),
        collateral=Collateral(*(crl.der() for crl in crls)),
        at=NOW,
        policy=world.policy(pinned=False, hardware=True, **rules),
        report_data=BINDING,
    )


def test_revocation_is_checked_where_the_ca_has_a_list_and_missed_where_it_has_none() -> None:
    assert with_crl(Crl(CA), unchecked_revocation="reject").holds
    assert failed(with_crl(Crl(CA, revoked=(LEAF.serial_number(),)))) == {"trust"}
    assert failed(with_crl(unchecked_revocation="reject")) == {"unchecked_revocation"}
    result = with_crl(unchecked_revocation="allow")
    assert result.holds
    assert [check.status for check in result.checks if check.id == "tpm.revocation"] == ["not_checked"]


def test_another_pinned_key_does_not_help() -> None:
    policy = json.dumps({"version": 1, "tpm": {"keys": [{"spki_sha256": "00" * 32, "hardware": True}]}}).encode()
    assert failed(judge(Tpm(), policy=policy)) == {"trust"}


def test_the_pcr_policy_is_about_the_quoted_values() -> None:
    world = Tpm()
    assert failed(judge(world, policy=world.policy(pcrs={"sha256": {"7": ["00" * 32]}}))) == {"pcr_policy"}
    assert failed(judge(world, policy=world.policy(pcrs={"sha256": {"8": [pcr(8).hex()]}}))) == {"pcr_policy"}
    assert failed(judge(world, policy=world.policy(pcrs={"sha384": {"7": ["00" * 48]}}))) == {"pcr_policy"}
    assert good(
        judge(world, policy=world.policy(pcrs={"sha256": {"7": ["00" * 32, pcr(7).hex()], "14": [pcr(14).hex()]}}))
    )


def test_a_policy_that_names_no_pcr_never_gives_attested() -> None:
    pins = [{"spki_sha256": Tpm().spki_sha256(), "hardware": True}]
    result = judge(Tpm(), policy=json.dumps({"version": 1, "tpm": {"keys": pins}}).encode())
    assert (result.appraisal, result.holds) == ("genuine hardware, unknown software", False)
    pins[0]["hardware"] = False
    result = judge(Tpm(), policy=json.dumps({"version": 1, "tpm": {"keys": pins}}).encode())
    assert (result.appraisal, result.answer) == (
        "unknown software",
        "VALID QUOTE, NOT HARDWARE-ROOTED, UNKNOWN SOFTWARE",
    )


def test_a_log_can_be_demanded() -> None:
    assert good(judge(Tpm(), policy=Tpm().policy(require_log=True)))
    assert failed(judge(Tpm(log=None), policy=Tpm().policy(require_log=True))) == {"log_policy"}


BAD_POLICIES = {
    "an unknown member": {"key": []},
    "a pin of another size": {"keys": [{"spki_sha256": "00"}]},
    "a pin with an unknown member": {"keys": [{"spki_sha256": "00" * 32, "hardwar": True}]},
    "an authority without certificate": {"authorities": [{}]},
    "no PCR": {"pcrs": {}},
    "a PCR without values": {"pcrs": {"sha256": {"7": []}}},
    "one PCR of two without values": {"pcrs": {"sha256": {"7": ["00" * 32], "8": []}}},
    "PCR 24": {"pcrs": {"sha256": {"24": ["00" * 32]}}},
    "a PCR value of another size": {"pcrs": {"sha256": {"7": ["00"]}}},
    "a rule that is no rule": {"unchecked_revocation": "ignore"},
    "SHA-1": {"pcrs": {"sha1": {"7": ["00" * 20]}}},
}


@pytest.mark.parametrize("rules", BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_a_policy_that_means_nothing_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        judge(Tpm(), policy=json.dumps({"version": 1, "tpm": rules}).encode())


# ------------------------------------------------------------------------------------------- log of the firmware

BOOT: list[ccel.Event] = [
    (0, ccel.NO_ACTION, b"StartupLocality\0\x03"),
    (0, 8, b"firmware 1.0"),
    (7, ccel.VARIABLE, b"SecureBoot"),
    (4, 0x80000003, b"boot loader"),
    (0, ccel.SEPARATOR, bytes(4)),
    (7, ccel.SEPARATOR, bytes(4)),
    (14, 13, b"extended again by the system: not compared"),
]
BOOTED = ccel.pcr_replay(BOOT, locality=3) | {14: b"\x0e" * 32}


def booted(events: bytes | None = None, **changes: Any) -> Appraisal:
    pcrs = BOOTED | changes.pop("pcrs", {})
    world = Tpm(pcrs=pcrs, events=ccel.pcr_log(BOOT) if events is None else events).but(**changes)
    return judge(world, policy=world.policy(pcrs={"sha256": {"7": [pcrs[7].hex()]}}))


def test_the_log_of_the_firmware_replays_to_the_quoted_pcrs() -> None:
    result = booted()
    assert good(result), result.explain()
    assert ("tpm.events", "passed") in {(check.id, check.status) for check in result.checks}
    world = Tpm(pcrs=BOOTED)
    given = judge(world, policy=world.policy(pcrs={"sha256": {"7": [BOOTED[7].hex()]}}), event_log=ccel.pcr_log(BOOT))
    assert ("tpm.events", "passed") in {(check.id, check.status) for check in given.checks}


def test_a_log_of_the_firmware_that_was_changed_is_refused() -> None:
    for events in (
        BOOT[:-2],
        BOOT[1:],  # another locality
        [*BOOT[:1], *BOOT[2:]],
        [BOOT[0], BOOT[4], *BOOT[1:4], *BOOT[5:]],
        [*BOOT, (4, 13, b"one more")],
        [BOOT[0], (0, 8, b"firmware 2.0"), *BOOT[2:]],
        [*BOOT[:2], BOOT[0], *BOOT[2:]][1:],  # the locality is said too late
    ):
        assert failed(booted(ccel.pcr_log(events))) == {"events"}
    assert failed(booted(pcrs={4: bytes(32)})) == {"events"}
    for broken in (b"", ccel.pcr_log(BOOT)[:-1], ccel.log(BOOT[1:4]), ccel.pcr_log([(24, 8, b"x")])):
        assert failed(booted(broken)) == {"events"}


def test_a_locality_that_is_said_too_late_means_nothing() -> None:
    events = [BOOT[1], BOOT[0], *BOOT[2:]]
    assert good(booted(ccel.pcr_log(events), pcrs=ccel.pcr_replay(events) | {14: b"\x0e" * 32}))


def test_a_log_with_digests_of_another_hash_is_refused() -> None:
    (check,) = booted(ccel.log(BOOT[1:4])).failures
    assert "without a SHA-256 digest" in check.text


def test_a_log_about_pcrs_that_were_not_quoted_is_not_counted_as_checked() -> None:
    result = booted(ccel.pcr_log([(2, 8, b"option ROM")]))
    assert [check.status for check in result.checks if check.id == "tpm.events"] == ["not_checked"]


# ------------------------------------------------------------------------------------------------ flips and cuts

PARTS = ("ak", "quote", "sig", "pcrs")


def changed(evidence: bytes, part: str, change: Any) -> bytes:
    parts = cbor2.loads(evidence)
    place = parts["nv"] if part.startswith("nv.") else parts
    name = part.removeprefix("nv.")
    place[name] = change(place[name])
    return cbor2.dumps(parts, canonical=True)


def holds(evidence: bytes, policy: bytes) -> bool:
    try:
        return verify(evidence, collateral=Collateral(), at=NOW, policy=policy, report_data=BINDING, kind="tpm").holds
    except MalformedError:
        return False
    except AtlasError as error:
        assert error.code in {"ATLAS_E_UNSUPPORTED", "ATLAS_E_CREDENTIAL"}, error.code
        return False


@pytest.mark.parametrize("part", [*PARTS, "nv.public", "nv.certify", "nv.sig", "nv.log"])
def test_every_flipped_byte_and_every_cut_is_refused(part: str) -> None:
    world = Tpm()
    evidence, policy = world.evidence(), world.policy(hardware=True)
    assert holds(evidence, policy)
    parts = cbor2.loads(evidence)
    size = len(parts["nv"][part[3:]] if part.startswith("nv.") else parts[part])
    for at in range(size):
        assert not holds(changed(evidence, part, lambda b, at=at: b[:at] + bytes([b[at] ^ 0x41]) + b[at + 1 :]), policy)
        assert not holds(changed(evidence, part, lambda b, at=at: b[:at]), policy), at
    assert not holds(changed(evidence, part, lambda b: b + b"\0"), policy)


def test_every_cut_of_the_container_is_refused() -> None:
    evidence = Tpm().evidence()
    for size in range(0, len(evidence), 3):
        with pytest.raises(MalformedError):
            judge_bytes(evidence[:size])


def judge_bytes(evidence: bytes) -> Appraisal:
    return verify(evidence, collateral=Collateral(), at=NOW, policy=Tpm().policy(), report_data=BINDING, kind="tpm")


CONTAINERS: dict[str, Any] = {
    "another name": lambda p: p | {"atlas": "tpm"},
    "another version": lambda p: p | {"v": 2},
    "no key": lambda p: {name: value for name, value in p.items() if name != "ak"},
    "text for bytes": lambda p: p | {"quote": "text"},
    "a log without a certificate": lambda p: p | {"nv": {"log": b""}},
    "a number among the certificates": lambda p: p | {"chain": [1]},
    "nine certificates": lambda p: p | {"chain": [b"x"] * 9},
}


@pytest.mark.parametrize("change", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_outside_its_format_is_refused(change: Any) -> None:
    with pytest.raises(MalformedError):
        judge(Tpm(change=change))


STRUCTURES = {
    "no magic": Tpm(magic=0xFF544346),
    "a yes that is no yes": Tpm(safe=2),
    "bytes after the end": Tpm(trailing=b"\0"),
    "a bank twice": Tpm(banks=((forge.SHA256, (0,)), (forge.SHA256, (1,)))),
    "five banks": Tpm(selection=b"\0\0\0\5" + b"".join(struct.pack(">HB3s", n, 3, b"\1\0\0") for n in range(5))),
    "a selection of five bytes": Tpm(selection=b"\0\0\0\1\0\x0b\5\1\0\0\0\0"),
    "PCR 24": Tpm(selection=b"\0\0\0\1\0\x0b\4\0\0\0\1"),
}


@pytest.mark.parametrize("world", STRUCTURES.values(), ids=STRUCTURES)
def test_a_structure_outside_its_format_is_refused(world: Tpm) -> None:
    with pytest.raises(MalformedError):
        judge(world)


def ecc(**parts: bytes) -> Tpm:
    """An attestation key whose public area has other parts than it should."""
    x, y = struct.unpack(">2x32s2x32s", Tpm().public()[-68:])
    good = {
        "kind": b"\0\x23",
        "name": b"\0\x0b",
        "attributes": struct.pack(">I", forge.AK),
        "policy": b"\0\0",
        "symmetric": b"\0\x10",
        "scheme": b"\0\x18\0\x0b",
        "curve": b"\0\3",
        "kdf": b"\0\x10",
        "x": sized(x),
        "y": sized(y),
    }
    public = b"".join((good | parts).values())
    assert parts or public == Tpm().public()
    return Tpm(change=lambda p: p | {"ak": public})


def rsa(scheme: bytes, size: int) -> Tpm:
    modulus = rsa_key("tpm ak").public_key().public_numbers().n.to_bytes(256, "big")[-size:]
    head = b"\0\1\0\x0b" + struct.pack(">I", forge.AK) + b"\0\0\0\x10" + scheme
    return Tpm(change=lambda p: p | {"ak": head + struct.pack(">HI", 2048, 0) + sized(modulus)})


KEYS: dict[str, tuple[Tpm, str]] = {
    "neither RSA nor ECC": (ecc(kind=b"\0\x08"), "neither RSA nor ECC"),
    "a policy of 65 bytes": (ecc(policy=sized(bytes(65))), "longer than the field"),
    "3DES": (ecc(symmetric=b"\0\3\0\x80\0\x43"), "not AES"),
    "AES in CBC mode": (ecc(symmetric=b"\0\6\0\x80\0\x42"), "not AES"),
    "ECDAA": (ecc(scheme=b"\0\x1a\0\x0b"), "neither RSASSA nor"),
    "a key derivation": (ecc(kdf=b"\0\x20"), "key derivation"),
    "P-521": (ecc(curve=b"\0\5"), "neither P-256 nor"),
    "ECC that signs as RSA": (ecc(scheme=b"\0\x14\0\x0b"), "does not fit its own"),
    "x that is too long": (ecc(x=sized(bytes(33))), "does not fit its own"),
    "no y": (ecc(y=sized(b"")), "does not fit its own"),
    "RSA that signs as ECC": (rsa(b"\0\x18\0\x0b", 256), "does not fit its own"),
    "RSA of another size than it says": (rsa(b"\0\x14\0\x0b", 255), "does not fit its own"),
    "off the curve": (ecc(y=sized(b"\1" * 32)), "not a"),
}


@pytest.mark.parametrize(("world", "text"), KEYS.values(), ids=KEYS)
def test_a_key_outside_its_format_is_refused(world: Tpm, text: str) -> None:
    with pytest.raises(AtlasError, match=text):
        judge(world)


REASONS: dict[str, tuple[Tpm, str, str]] = {
    "a key that leaves the scheme open": (ecc(scheme=b"\0\x10"), "key", "a hash that is not allowed"),
    "a key that signs SHA-1": (ecc(scheme=b"\0\x18\0\4"), "key", "a hash that is not allowed"),
    "r that is too long": (Tpm(signature=lambda s: s[:4] + b"\0\x21\0" + s[6:]), "quote", "does not fit its curve"),
    "a signature that is cut": (Tpm(signature=lambda s: s[:-1]), "quote", "cut off"),
    "a signature of another kind": (Tpm(signature=lambda s: b"\0\5" + s[2:]), "quote", "neither RSASSA nor"),
    "bytes after the signature": (Tpm(signature=lambda s: s + b"\0"), "quote", "bytes after the end"),
    "a bank of SM3": (Tpm(selection=b"\0\0\0\1\0\x12\3\1\0\0"), "pcrs", "unknown hash"),
    "fewer values than quoted": (Tpm(values=lambda v: v[32:]), "pcrs", "not as many"),
    "a log that starts from one byte": (
        Tpm(change=lambda p: p | {"nv": p["nv"] | {"initial": b"\1"}}),
        "log",
        "another size",
    ),
}


@pytest.mark.parametrize(("world", "check", "text"), REASONS.values(), ids=REASONS)
def test_the_reason_is_told(world: Tpm, check: str, text: str) -> None:
    (failure,) = verify_without_claims(world).failures
    assert failure.id == f"tpm.{check}" and text in failure.text


def verify_without_claims(world: Tpm) -> Any:
    """Of keys that are none, nothing else can be told."""
    raw = _core.attest_verify("tpm", world.evidence(), _core.Collateral(), at=NOW, policy=Tpm().policy())
    checks = [EvidenceCheck(*check) for check in raw["checks"]]
    return SimpleNamespace(failures=[check for check in checks if check.status == "failed"])


def test_every_cut_of_a_structure_is_malformed() -> None:
    world = Tpm()
    for part in ("quote", "ak"):
        whole = cbor2.loads(world.evidence())[part]
        for size in range(len(whole)):
            with pytest.raises(AtlasError) as caught:
                judge_bytes(changed(world.evidence(), part, lambda b, size=size: b[:size]))
            assert caught.value.code in {"ATLAS_E_EVIDENCE", "ATLAS_E_UNSUPPORTED"}


def test_limits_are_limits() -> None:
    with pytest.raises(LimitError):
        judge_bytes(b"\xa0" + bytes(8 << 20))
    world = Tpm(certified=True)
    one = {"certificate": world.ca.pem()}
    assert good(
        judge(
            world,
            policy=world.policy(pinned=False).replace(b"[{", b"[" + 31 * (json.dumps(one).encode() + b", ") + b"{", 1),
        )
    )
    many = json.dumps({"version": 1, "tpm": {"authorities": [one] * 33}}).encode()
    assert "more than 32" in judge(world, policy=many).failures[0].text
    for at in (0, -1, 253402300800):
        with pytest.raises(UsageError):
            judge(Tpm(), at=at)


def test_another_type_of_statement_is_no_quote() -> None:
    with pytest.raises(AtlasError, match="another type"):
        judge(Tpm(type=0x8019))


def test_what_only_the_user_can_judge_is_said() -> None:
    assert any(check.status == "warning" and check.id == "tpm.clock" for check in judge(Tpm(safe=0)).checks)
    again = judge(Tpm(log=b"", initial=b"\1" * 32))
    assert any(check.id == "tpm.log_start" and check.status == "warning" for check in again.checks)


def test_the_claims_show_what_was_quoted() -> None:
    claims = judge(Tpm()).claims
    assert claims["pcrs"]["sha256"]["7"] == pcr(7)
    assert claims["qualifying_data"] == hashlib.sha256(BINDING).digest()
    assert claims["ak_spki_sha256"].hex() == Tpm().spki_sha256()
    assert claims["ak_name"] == Tpm().name()
    assert (claims["reset_count"], claims["restart_count"], claims["firmware_version"]) == (7, 2, 0x2026)
