"""RFC 3161 time-stamps: against a local `openssl ts` authority, and every way in which a token can lie."""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from forge import pki, tsa
from forge.tsa import integer, sequence, tlv

from atlas import _core
from atlas.errors import AtlasError

NOW = int(pki.NOW.timestamp())
DAY = 86400
MESSAGE = b"the message that is time-stamped"
ROOT = pki.Authority.root("TSA Root")
MIDDLE = ROOT.intermediate("TSA Middle")
HONEST = tsa.Tsa.under(MIDDLE)

CONFIG = """
[tsa]
default_tsa = local
[local]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/leaf.pem
certs = {folder}/chain.pem
signer_key = {folder}/key.pem
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = {ess_chain}
ess_cert_id_alg = {ess_alg}
"""


class LocalAuthority:
    """`openssl ts` with a certificate of ours."""

    def __init__(self, folder: Path, party: pki.Party, *, digest: str = "sha256", ess_alg: str = "sha256") -> None:
        self.folder = folder
        folder.mkdir()
        settings = {"folder": folder, "digest": digest, "ess_alg": ess_alg, "ess_chain": "no"}
        (folder / "config").write_text(CONFIG.format(**settings))
        (folder / "serial").write_text("01\n")
        (folder / "leaf.pem").write_text(pki.pem(party.leaf))
        (folder / "chain.pem").write_text(pki.pem(*party.above))
        (folder / "key.pem").write_text(party.key_pem)

    def answer(self, query: bytes, *options: str) -> bytes:
        (self.folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "config", "-queryfile", "query", "-out", "out", *options]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        return (self.folder / "out").read_bytes()


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")


def check(token: bytes, *, message: bytes = MESSAGE, now: int = NOW, anchors: Any = (ROOT,), **others: Any) -> Any:
    return _core.Trust(b"", pki.roots(*anchors).encode(), **others).check_timestamp(token, message, now)


def refusal(token: bytes, **arguments: Any) -> str:
    with pytest.raises(AtlasError) as caught:
        check(token, **arguments)
    return caught.value.code


# -------------------------------------------------------------------------------------------- a real authority


@needs_openssl
@pytest.mark.parametrize("alg", ["PS256", "ES256", "ES384"])
@pytest.mark.parametrize("ess_alg", ["sha1", "sha256", "sha512"])
def test_a_token_of_openssl_ts_is_trusted(tmp_path: Path, alg: str, ess_alg: str) -> None:
    authority = LocalAuthority(tmp_path / "tsa", tsa.Tsa.under(MIDDLE, alg=alg).party, ess_alg=ess_alg)
    query = _core.timestamp_request(MESSAGE)
    token = _core.timestamp_token(query, authority.answer(query))
    result = check(token, now=int(time.time()))
    assert result["trusted"]
    assert result["authority"] == "Forge TSA"
    assert abs(result["gen_time"] - time.time()) < 60
    assert refusal(token, message=MESSAGE + b".", now=int(time.time())) == "ATLAS_E_DIGEST"


@needs_openssl
def test_openssl_accepts_our_request_and_reads_what_we_ask(tmp_path: Path) -> None:
    query = tmp_path / "query"
    query.write_bytes(_core.timestamp_request(MESSAGE))
    command = ["openssl", "ts", "-query", "-in", str(query), "-text"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Hash Algorithm: sha256" in text
    assert "Certificate required: yes" in text
    assert "Nonce: 0x" in text


def test_no_two_requests_have_the_same_nonce() -> None:
    assert len({_core.timestamp_request(MESSAGE) for _ in range(50)}) == 50


@needs_openssl
def test_an_answer_to_another_question_is_refused(tmp_path: Path) -> None:
    authority = LocalAuthority(tmp_path / "tsa", HONEST.party)
    query, same_message = _core.timestamp_request(MESSAGE), _core.timestamp_request(MESSAGE)
    replay = authority.answer(same_message)
    other = authority.answer(_core.timestamp_request(b"something else"))
    assert _core.timestamp_token(same_message, replay)
    for answer in (replay, other):
        with pytest.raises(AtlasError) as caught:
            _core.timestamp_token(query, answer)
        assert caught.value.code == "ATLAS_E_DIGEST"


def test_a_refusal_is_reported_with_the_words_of_the_authority() -> None:
    words = sequence(tlv(0x0C, b"come back\x1b[2J later"))
    refused = sequence(sequence(integer(2), words))
    with pytest.raises(AtlasError, match=r"status 2: come back\[2J later") as caught:
        _core.timestamp_token(_core.timestamp_request(MESSAGE), refused)
    assert caught.value.code == "ATLAS_E_REFUSED"


def _granted(query: bytes) -> bytes:
    """A token that answers the query, from the forge."""
    match = re.search(rb"\x02([\x01-\x09])", query[-16:])
    assert match
    size = match.group(1)[0]
    nonce = int.from_bytes(query[-16:][match.end() : match.end() + size], "big")
    return HONEST.token(MESSAGE, nonce=nonce)


def test_an_answer_must_be_granted_whole_and_alone() -> None:
    query = _core.timestamp_request(MESSAGE)
    token = _granted(query)
    assert _core.timestamp_token(query, sequence(sequence(integer(0)), token)) == token
    assert _core.timestamp_token(query, sequence(sequence(integer(1)), token)) == token
    for answer in (
        b"",
        b"<html>busy</html>",
        token,
        sequence(sequence(integer(0))),
        sequence(sequence(integer(3)), token),
        sequence(sequence(integer(256)), token),
        sequence(sequence(), token),
        sequence(token),
        sequence(sequence(integer(0)), token) + b"\0",
        sequence(sequence(integer(0)), token, token),
        sequence(sequence(integer(0)), HONEST.token(MESSAGE)),  # no nonce
        sequence(sequence(integer(0)), HONEST.token(MESSAGE, nonce=1)),
    ):
        with pytest.raises(AtlasError):
            _core.timestamp_token(query, answer)


# ------------------------------------------------------------------------------------------- tokens and their lies


def test_the_honest_token_is_trusted() -> None:
    result = check(HONEST.token(MESSAGE))
    assert (result["trusted"], result["gen_time"], result["authority"]) == (True, NOW, "Forge TSA")


def test_an_authority_that_we_do_not_know_is_not_trusted_and_says_so() -> None:
    for anchors in ((), (pki.Authority.root("Other"),)):
        result = check(HONEST.token(MESSAGE), anchors=anchors)
        assert not result["trusted"]
    claim_anchors = _core.Trust(ROOT.pem.encode())
    assert not claim_anchors.check_timestamp(HONEST.token(MESSAGE), MESSAGE, NOW)["trusted"]


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({"over": b"other bytes"}, "ATLAS_E_DIGEST"),
        ({"alg": "sha1"}, "ATLAS_E_ALGORITHM"),
        ({"digest_lies": True}, "ATLAS_E_SIGNATURE"),
        ({"mangle": True}, "ATLAS_E_SIGNATURE"),
        ({"certificates": False}, "ATLAS_E_X509"),
        ({"at": pki.NOW + datetime.timedelta(seconds=301)}, "ATLAS_E_EXPIRED"),
    ],
    ids=str,
)
def test_each_lie_of_a_token_is_refused(lies: dict[str, Any], code: str) -> None:
    assert refusal(HONEST.token(MESSAGE, **lies)) == code


def test_a_clock_may_be_a_little_ahead() -> None:
    assert check(HONEST.token(MESSAGE, at=pki.NOW + datetime.timedelta(seconds=300)))["trusted"]


@pytest.mark.parametrize("alg", ["sha256", "sha384", "sha512"])
def test_the_imprint_may_use_each_allowed_hash(alg: str) -> None:
    assert check(HONEST.token(MESSAGE, alg=alg))["trusted"]


@pytest.mark.parametrize(
    ("flaws", "code"),
    [
        ({"ekus": None}, "ATLAS_E_CREDENTIAL"),
        ({"ekus": pki.SIGNING_EKUS}, "ATLAS_E_CREDENTIAL"),
        ({"ekus": (Eku.TIME_STAMPING, Eku.EMAIL_PROTECTION)}, "ATLAS_E_CREDENTIAL"),
        ({"ekus": (Eku.ANY_EXTENDED_KEY_USAGE,)}, "ATLAS_E_CREDENTIAL"),
        ({"eku_critical": False}, "ATLAS_E_CREDENTIAL"),
        ({"usages": ("key_agreement",)}, "ATLAS_E_CREDENTIAL"),
        ({"ca": True, "usages": ("digital_signature", "key_cert_sign")}, "ATLAS_E_CREDENTIAL"),
        ({"end": pki.days(-1)}, "ATLAS_E_EXPIRED"),
        ({"start": pki.days(1)}, "ATLAS_E_EXPIRED"),
    ],
    ids=str,
)
def test_an_authority_outside_the_profile_is_refused(flaws: dict[str, Any], code: str) -> None:
    assert refusal(tsa.Tsa.under(MIDDLE, **flaws).token(MESSAGE)) == code


def test_a_self_signed_authority_is_refused() -> None:
    solo = tsa.Tsa(pki.self_signed("Solo TSA", "PS256", **tsa.TSA_PROFILE))
    assert refusal(solo.token(MESSAGE)) == "ATLAS_E_CREDENTIAL"


def test_what_counts_for_the_authority_is_the_time_it_states() -> None:
    past = tsa.Tsa.under(MIDDLE, start=pki.days(-50), end=pki.days(-20))
    assert check(past.token(MESSAGE, at=pki.days(-30)))["trusted"]
    assert refusal(past.token(MESSAGE, at=pki.days(-10))) == "ATLAS_E_EXPIRED"


def test_an_intermediate_of_the_authority_must_have_been_valid_too() -> None:
    old = ROOT.intermediate("Old", start=pki.days(-60), end=pki.days(-20))
    stamping = tsa.Tsa.under(old, start=pki.days(-50), end=pki.days(50))
    assert refusal(stamping.token(MESSAGE)) == "ATLAS_E_EXPIRED"
    assert check(stamping.token(MESSAGE, at=pki.days(-30)))["trusted"]


def test_an_authority_that_was_revoked_then_is_refused_and_one_revoked_later_is_noted() -> None:
    listed = MIDDLE.crl((HONEST.party.leaf, pki.days(-5))).encode()
    assert refusal(HONEST.token(MESSAGE), crls=[listed]) == "ATLAS_E_REVOKED"
    earlier = check(HONEST.token(MESSAGE, at=pki.days(-6)), crls=[listed])
    assert earlier["trusted"]
    assert earlier["revocation"]["revoked_later"]
    assert earlier["revocation"]["leaf_covered"]


def test_a_missing_intermediate_makes_the_authority_unknown() -> None:
    alone = tsa.Tsa(pki.Party("Forge TSA", "PS256", HONEST.party.key, HONEST.party.leaf))
    assert not check(alone.token(MESSAGE))["trusted"]


def test_an_intermediate_restricted_to_other_purposes_makes_no_authority() -> None:
    mail = ROOT.intermediate("Mail only", ekus=(Eku.EMAIL_PROTECTION,))
    assert not check(tsa.Tsa.under(mail).token(MESSAGE))["trusted"]


# ---------------------------------------------------------------------------------------------------- the bytes


def test_nothing_but_one_whole_token_is_read() -> None:
    token = HONEST.token(MESSAGE)
    for spoiled in (b"", b"\0", token + b"\0", token[:-1], token + token, HONEST.response(token), bytes(1 << 17)):
        assert refusal(spoiled) == "ATLAS_E_X509"


def test_every_truncation_is_refused() -> None:
    token = HONEST.token(MESSAGE)
    trust = _core.Trust(b"", ROOT.pem.encode())
    for size in range(len(token)):
        with pytest.raises(AtlasError):
            trust.check_timestamp(token[:size], MESSAGE, NOW)


def test_no_flipped_bit_gives_a_trusted_token_with_another_meaning() -> None:
    """What survives is the envelope that nothing signs: versions, tags of sets, upper and lower case of the issuer."""
    authority = tsa.Tsa.under(ROOT, alg="ES256")
    token = authority.token(MESSAGE)
    trust = _core.Trust(b"", ROOT.pem.encode())
    leaf = pki.der(authority.party.leaf)
    certificate = range(token.find(leaf), token.find(leaf) + len(leaf))
    content = range(token.find(b"\x04", 58) + 2, certificate.start - 8)
    survivors = set()
    for position in range(len(token) * 8):
        flipped = bytearray(token)
        flipped[position // 8] ^= 1 << position % 8
        try:
            result = trust.check_timestamp(bytes(flipped), MESSAGE, NOW)
        except AtlasError:
            continue
        if result["trusted"]:
            assert result["gen_time"] == NOW
            survivors.add(position // 8)
    assert not survivors & {*certificate, *content, *range(len(token) - 64, len(token))}
    assert 0 < len(survivors) <= 26, sorted(survivors)


def odd_token(
    authority: tsa.Tsa,
    info: bytes,
    *,
    content_type: str = tsa._TST_INFO,
    signed_type: str = tsa._TST_INFO,
    certificate_hash: bytes | None = None,
    attributes: list[bytes] | None = None,
    signers: int = 1,
    digest: str = "sha256",
) -> bytes:
    leaf = authority.party.leaf
    named = sha256(pki.der(leaf)) if certificate_hash is None else certificate_hash
    parts = attributes
    if parts is None:
        parts = [
            tsa._attribute(tsa._CONTENT_TYPE, tsa.oid(signed_type)),
            tsa._attribute(tsa._MESSAGE_DIGEST, tlv(0x04, sha256(info))),
        ]
        if named:
            value = sequence(sequence(sequence(tlv(0x04, named))))
            parts.append(tsa._attribute(tsa._SIGNING_CERTIFICATE_V2, value))
    signed = tsa.set_of(*parts)
    signer = sequence(
        integer(1),
        sequence(leaf.issuer.public_bytes(), integer(leaf.serial_number)),
        tsa._algorithm(tsa._DIGESTS[digest]),
        tlv(0xA0, signed[tsa._header_size(signed) :]),
        tsa._algorithm(tsa._RSA_SHA256),
        tlv(0x04, authority._sign(signed)),
    )
    chain = b"".join(pki.der(c) for c in (leaf, *authority.party.above))
    data = sequence(
        integer(3),
        tsa.set_of(tsa._algorithm(tsa._DIGESTS["sha256"])),
        sequence(tsa.oid(content_type), tlv(0xA0, tlv(0x04, info))),
        tlv(0xA0, chain),
        tlv(0x31, signer * signers),
    )
    return sequence(tsa.oid(tsa._SIGNED_DATA), tlv(0xA0, data))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tst_info(*, version: int = 1, moment: bytes | None = None, extra: bytes = b"") -> bytes:
    when = moment or pki.NOW.strftime("%Y%m%d%H%M%SZ").encode()
    imprint = sequence(tsa._algorithm(tsa._DIGESTS["sha256"]), tlv(0x04, sha256(MESSAGE)))
    return sequence(integer(version), tsa.oid("1.2.3"), imprint, integer(7), tlv(0x18, when), extra)


def test_the_odd_token_has_an_honest_twin() -> None:
    assert check(odd_token(HONEST, tst_info()))["trusted"]
    fraction = pki.NOW.strftime("%Y%m%d%H%M%S.25Z").encode()
    assert check(odd_token(HONEST, tst_info(moment=fraction)))["gen_time"] == NOW


@pytest.mark.parametrize(
    "token",
    [
        odd_token(HONEST, tst_info(version=2)),
        odd_token(HONEST, tst_info() + b"\0"),
        odd_token(HONEST, b"no structure"),
        odd_token(HONEST, tst_info(moment=b"not a time")),
        odd_token(HONEST, tst_info(moment=b"20269999999999Z")),
        odd_token(HONEST, tst_info(), content_type="1.2.840.113549.1.7.1"),
        odd_token(HONEST, tst_info(), signed_type="1.2.840.113549.1.7.1"),
        odd_token(HONEST, tst_info(), certificate_hash=b""),
        odd_token(HONEST, tst_info(), signers=2),
        odd_token(HONEST, tst_info(), signers=0),
        odd_token(
            HONEST,
            tst_info(extra=tlv(0xA1, sequence(tsa.oid("1.2.3.4"), tlv(0x01, b"\xff"), tlv(0x04, b"\x05\x00")))),
        ),
    ],
    ids=[
        "version 2",
        "trailing byte",
        "no TSTInfo",
        "no time",
        "impossible time",
        "another content type",
        "another signed content type",
        "no signing certificate",
        "two signers",
        "no signer",
        "critical extension",
    ],
)
def test_a_token_that_is_no_time_stamp_is_malformed(token: bytes) -> None:
    assert refusal(token) == "ATLAS_E_X509"


def test_a_token_signed_for_another_certificate_of_the_same_key_is_refused() -> None:
    other = MIDDLE.leaf("Forge TSA", "PS256", private=HONEST.party.key, **{**tsa.TSA_PROFILE, "end": pki.days(90)})
    token = odd_token(HONEST, tst_info(), certificate_hash=sha256(pki.der(other.leaf)))
    assert refusal(token) == "ATLAS_E_SIGNATURE"


@pytest.mark.parametrize("digest", ["sha1", "sha384"])
def test_a_digest_that_is_weak_or_not_that_of_the_signature_is_refused(digest: str) -> None:
    assert refusal(odd_token(HONEST, tst_info(), digest=digest)) == "ATLAS_E_ALGORITHM"


def test_a_token_without_signed_attributes_is_refused() -> None:
    assert refusal(odd_token(HONEST, tst_info(), attributes=[])) in ("ATLAS_E_X509", "ATLAS_E_SIGNATURE")


def test_a_token_of_fifty_certificates_is_refused() -> None:
    crowd = pki.Party("Forge TSA", "PS256", HONEST.party.key, HONEST.party.leaf, (MIDDLE.certificate,) * 50)
    assert refusal(tsa.Tsa(crowd).token(MESSAGE)) == "ATLAS_E_X509"
