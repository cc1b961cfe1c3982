"""Keys, signers, development keys, COSE in two steps, and asking a time-stamping authority over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from forge import cbor, cose, pki, tsa

import atlas.sign
from atlas import _core
from atlas.errors import (
    AtlasError,
    KeyFileError,
    MalformedError,
    NotFound,
    SystemFailure,
    UsageError,
    VerificationError,
)
from atlas.sign import Signer, keygen, load_signer
from atlas.tsa import MAX_RESPONSE_BYTES, request_timestamp

ALGORITHMS = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"]
SIZES = {"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64}
ROOT = pki.Authority.root("Sign Root")
MIDDLE = ROOT.intermediate("Middle")
ALICE = MIDDLE.leaf("Alice")
CLAIM = b"\xa1\x63key\x65value"


@pytest.fixture(autouse=True)
def no_password_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATLAS_KEY_PASSWORD", raising=False)


def write(folder: Path, party: pki.Party = ALICE, *, key: str | bytes | None = None, chain: str | None = None) -> Path:
    """key.pem and chain.pem of a party; the key's path."""
    path = folder / "key.pem"
    content = party.key_pem if key is None else key
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "chain.pem").write_text(party.chain_pem if chain is None else chain)
    return path


def encrypted(password: bytes, form: PrivateFormat = PrivateFormat.PKCS8, key: Any = ALICE.key) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(password)))


# ------------------------------------------------------------------------------------------------------------ _core.Key


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_is_raw_and_verifies_elsewhere(alg: str) -> None:
    party = MIDDLE.leaf("Signer", alg)
    key = _core.Key(party.key_pem.encode())
    signature = key.sign(CLAIM, alg)
    assert len(signature) == SIZES.get(alg, 256)
    assert cose.verify(alg, party.leaf.public_key(), CLAIM, signature)
    _core.signature_verify(alg, key.spki, CLAIM, signature)
    assert key.alg == ("PS256" if alg.startswith("PS") else alg)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_made_elsewhere_verifies_here_and_a_changed_one_does_not(alg: str) -> None:
    party = MIDDLE.leaf("Signer", alg)
    spki = _core.certificate_info(party.chain[0])["spki"]
    signature = party.sign(CLAIM)
    _core.signature_verify(alg, spki, CLAIM, signature)
    wrong = [
        (CLAIM + b"\0", signature),
        (CLAIM, signature[:-1]),
        (CLAIM, signature + b"\0"),
        (CLAIM, b"\0" + signature),
        (CLAIM, b""),
        (CLAIM, bytes(len(signature))),
        (CLAIM, b"\xff" * len(signature)),
        (CLAIM, bytes([signature[0] ^ 1]) + signature[1:]),
        (CLAIM, signature[:-1] + bytes([signature[-1] ^ 1])),
    ]
    for message, forged in wrong:
        with pytest.raises(VerificationError) as caught:
            _core.signature_verify(alg, spki, message, forged)
        assert caught.value.code == "ATLAS_E_SIGNATURE"


def test_der_instead_of_raw_zero_halves_and_numbers_out_of_range_are_refused() -> None:
    spki = _core.certificate_info(ALICE.chain[0])["spki"]
    der = ALICE.key.sign(CLAIM, ec.ECDSA(pki.hashes.SHA256()))  # type: ignore[union-attr, call-arg, arg-type]
    raw = ALICE.sign(CLAIM)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = raw[:32], int.from_bytes(raw[32:], "big")
    for forged in (der, bytes(32) + raw[32:], raw[:32] + bytes(32), r + (order + 1).to_bytes(32, "big")):
        with pytest.raises(VerificationError) as caught:
            _core.signature_verify("ES256", spki, CLAIM, forged)
        assert caught.value.code == "ATLAS_E_SIGNATURE"
    # the malleable twin (r, n - s) is a signature too: nothing may take a signature for an identity
    _core.signature_verify("ES256", spki, CLAIM, r + (order - s).to_bytes(32, "big"))


@pytest.mark.parametrize("alg", ["none", "RS256", "HS256", "ES256K", "", "es256", 0, 5, -999, -257, 1 << 62])
def test_an_algorithm_outside_the_list_is_refused_by_name_and_by_number(alg: str | int) -> None:
    spki = _core.certificate_info(ALICE.chain[0])["spki"]
    key = _core.Key(ALICE.key_pem.encode())
    for call in (
        lambda: _core.signature_verify(alg, spki, CLAIM, ALICE.sign(CLAIM)),
        lambda: key.sign(CLAIM, alg),
        lambda: _core.sign_prepare(CLAIM, alg, ALICE.chain),
    ):
        with pytest.raises(VerificationError) as caught:
            call()
        assert caught.value.code == "ATLAS_E_ALGORITHM"


@pytest.mark.parametrize("own", ["ES256", "ES384", "ES512", "PS256", "EdDSA"])
def test_a_key_signs_only_with_what_fits_it(own: str) -> None:
    key = _core.Key(MIDDLE.leaf("Signer", own).key_pem.encode())
    for alg in ALGORITHMS:
        if alg[:2] == own[:2] == "PS" or alg == own:
            assert key.sign(CLAIM, alg)
            continue
        with pytest.raises(VerificationError) as caught:
            key.sign(CLAIM, alg)
        assert caught.value.code == "ATLAS_E_ALGORITHM"


@pytest.mark.parametrize("alg", ["PS256", "PS384", "PS512"])
def test_the_pss_salt_is_exactly_as_long_as_the_digest(alg: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import padding

    key: Any = pki.key("PS256", "party Signer")
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = cose.HASHES[alg[2:]]()
    for salt in (0, digest.digest_size - 1, digest.digest_size + 1, padding.PSS.MAX_LENGTH):
        forged = key.sign(CLAIM, padding.PSS(padding.MGF1(digest), salt), digest)
        with pytest.raises(VerificationError):
            _core.signature_verify(alg, spki, CLAIM, forged)
    other = cose.HASHES["512" if alg != "PS512" else "256"]()
    crossed = key.sign(CLAIM, padding.PSS(padding.MGF1(other), digest.digest_size), digest)
    for forged in (crossed, key.sign(CLAIM, padding.PKCS1v15(), digest)):
        with pytest.raises(VerificationError):
            _core.signature_verify(alg, spki, CLAIM, forged)
    _core.signature_verify(
        alg, spki, CLAIM, key.sign(CLAIM, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    )


def rsa_pss_key(*options: str) -> bytes:
    """A key whose own type says RSASSA-PSS (RFC 4055), perhaps with restrictions."""
    command = ["openssl", "genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", *options]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_a_key_of_type_rsassa_pss_keeps_its_own_restrictions() -> None:
    free = _core.Key(rsa_pss_key())
    for alg in ("PS256", "PS384", "PS512"):
        _core.signature_verify(alg, free.spki, CLAIM, free.sign(CLAIM, alg))
    options = [f"rsa_pss_keygen_{what}" for what in ("md:sha256", "mgf1_md:sha256", "saltlen:32")]
    bound = _core.Key(rsa_pss_key(*[part for option in options for part in ("-pkeyopt", option)]))
    _core.signature_verify("PS256", bound.spki, CLAIM, bound.sign(CLAIM, "PS256"))
    for alg in ("PS384", "PS512"):
        with pytest.raises(VerificationError) as caught:
            bound.sign(CLAIM, alg)
        assert caught.value.code == "ATLAS_E_ALGORITHM"
        with pytest.raises(VerificationError) as caught:
            _core.signature_verify(alg, bound.spki, CLAIM, bytes(256))
        assert caught.value.code == "ATLAS_E_ALGORITHM"


def test_a_public_key_is_one_whole_structure() -> None:
    spki = _core.certificate_info(ALICE.chain[0])["spki"]
    for wrong in (b"", spki + b"\0", spki[:-1], spki + spki, ALICE.chain[0]):
        with pytest.raises(MalformedError) as caught:
            _core.signature_verify("ES256", wrong, CLAIM, ALICE.sign(CLAIM))
        assert caught.value.code == "ATLAS_E_X509"


# ------------------------------------------------------------------------------------------------------------ key files


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "PS256"])
def test_keys_are_read_in_both_pem_forms(form: PrivateFormat, alg: str) -> None:
    private = MIDDLE.leaf("Signer", alg).key
    assert _core.Key(private.private_bytes(Encoding.PEM, form, NoEncryption())).alg == alg
    assert _core.Key(encrypted(b"secret", form, private), b"secret").alg == alg


def test_an_ec_key_may_come_after_its_parameters() -> None:
    """What `openssl ecparam -genkey` writes."""
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey"]
    assert _core.Key(subprocess.run(command, check=True, capture_output=True).stdout).alg == "ES256"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_needs_its_password(form: PrivateFormat) -> None:
    pem = encrypted("pass wörd".encode(), form)
    assert _core.Key(pem, "pass wörd".encode()).alg == "ES256"
    with pytest.raises(KeyFileError, match="a password is needed"):
        _core.Key(pem)
    for wrong in (b"", b"pass", b"pass w\xc3\xb6rd\n", b"x" * 900):
        with pytest.raises(KeyFileError, match="wrong password"):
            _core.Key(pem, wrong)
    with pytest.raises(KeyFileError, match="longer than"):
        _core.Key(pem, b"x" * 5000)


def test_a_password_for_a_key_that_needs_none_is_harmless() -> None:
    assert _core.Key(ALICE.key_pem.encode(), b"unneeded").alg == "ES256"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no key",
        ALICE.chain_pem.encode(),
        ALICE.key_pem.encode()[:-60],
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ALICE.leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "certificate", "cut", "damaged", "public key"],
)
def test_what_holds_no_private_key_is_a_key_error(pem: bytes) -> None:
    with pytest.raises(KeyFileError, match="no private key in PEM form") as caught:
        _core.Key(pem)
    assert caught.value.code == "ATLAS_E_KEY"


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
    ],
    ids=["secp256k1", "Ed448", "RSA 1024"],
)
def test_a_private_key_outside_the_allow_list_is_refused(private: Any, tmp_path: Path) -> None:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(VerificationError) as caught:
        _core.Key(pem)
    assert caught.value.code == "ATLAS_E_ALGORITHM"
    with pytest.raises(KeyFileError, match="usable keys"):
        load_signer(write(tmp_path, key=pem))


def test_no_prompt_ever_comes_from_the_core(tmp_path: Path) -> None:
    """On a terminal OpenSSL would ask by itself; a key without a password must fail at once instead."""
    (tmp_path / "key.pem").write_bytes(encrypted(b"secret"))
    script = (
        "import sys\nfrom atlas import _core\n"
        "try:\n    _core.Key(open(sys.argv[1], 'rb').read())\n"
        "except Exception as error:\n    print(error)\n"
    )
    master, slave = pty.openpty()
    with contextlib.closing(os.fdopen(master, "rb", 0)) as terminal:
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "key.pem")],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            timeout=20,
            check=False,
        )
        os.close(slave)
        output = terminal.read(4096)
    assert run.returncode == 0
    assert b"a password is needed" in output
    assert b"pass phrase" not in output


# ---------------------------------------------------------------------------------------------------------- load_signer


def signs(signer: Signer) -> bytes:
    protected, tbs = _core.sign_prepare(CLAIM, signer.alg, signer.chain)
    return _core.sign_finish(CLAIM, protected, signer.sign(tbs))


def test_a_key_file_finds_the_chain_beside_it(tmp_path: Path) -> None:
    signer = load_signer(write(tmp_path))
    assert isinstance(signer, Signer)
    assert (signer.alg, signer.chain) == ("ES256", ALICE.chain)
    assert signs(signer)
    assert load_signer(str(tmp_path / "key.pem")).chain == ALICE.chain


def test_the_chain_may_be_given_as_file_text_or_certificates(tmp_path: Path) -> None:
    key = write(tmp_path, chain="")
    other = tmp_path / "other.pem"
    other.write_text(ALICE.chain_pem)
    for chain in (other, str(other), ALICE.chain_pem.encode(), ALICE.chain, tuple(ALICE.chain)):
        assert load_signer(key, chain=chain).chain == ALICE.chain


def test_a_root_at_the_end_of_the_chain_is_left_out(tmp_path: Path) -> None:
    assert load_signer(write(tmp_path, chain=ALICE.chain_pem + ROOT.pem)).chain == ALICE.chain


def test_a_missing_chain_says_where_it_was_looked_for(tmp_path: Path) -> None:
    key = write(tmp_path)
    (tmp_path / "chain.pem").unlink()
    with pytest.raises(NotFound, match=r"no chain\.pem beside the key") as caught:
        load_signer(key)
    assert "--chain" in caught.value.hint
    with pytest.raises(NotFound, match="no such file"):
        load_signer(key, chain=tmp_path / "absent.pem")
    with pytest.raises(NotFound, match="no such file"):
        load_signer(tmp_path / "absent.pem")


@pytest.mark.parametrize("chain", ["", "no certificate", ALICE.key_pem, ALICE.chain_pem[:-40]])
def test_a_chain_file_that_cannot_be_used_is_a_key_file_error(tmp_path: Path, chain: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        load_signer(write(tmp_path, chain=chain))
    assert caught.value.where == str(tmp_path / "chain.pem")


def test_a_key_that_is_not_that_of_the_leaf_is_found_when_loading(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="does not belong to the first certificate") as caught:
        load_signer(write(tmp_path, key=MIDDLE.leaf("Bob").key_pem))
    assert caught.value.hint
    reversed_chain = pki.pem(MIDDLE.certificate, ALICE.leaf)
    with pytest.raises(KeyFileError, match="does not belong to the first certificate"):
        load_signer(write(tmp_path, chain=reversed_chain))


def test_a_chain_out_of_order_is_found_when_loading(tmp_path: Path) -> None:
    chain = pki.pem(ALICE.leaf, pki.Authority.root("Other").certificate, MIDDLE.certificate)
    with pytest.raises(KeyFileError, match="did not certify the one before") as caught:
        load_signer(write(tmp_path, chain=chain))
    assert caught.value.code == "ATLAS_E_CREDENTIAL"


@pytest.mark.parametrize("flaw", pki.LEAF_FLAWS)
def test_a_leaf_outside_the_profile_is_found_when_loading_and_the_error_says_what_to_do(
    tmp_path: Path, flaw: str
) -> None:
    party = MIDDLE.leaf("Alice", **pki.LEAF_FLAWS[flaw])
    with pytest.raises(KeyFileError) as caught:
        load_signer(write(tmp_path, party))
    assert caught.value.code == "ATLAS_E_CREDENTIAL"
    assert "atlas keygen" in caught.value.hint
    assert caught.value.where == "certificate of Alice"


def test_a_self_signed_certificate_is_found_when_loading(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="self-signed"):
        load_signer(write(tmp_path, pki.self_signed("Solo")))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [(-50, -10, "expired on"), (10, 50, "is valid only from")],
    ids=["expired", "not yet valid"],
)
def test_a_leaf_outside_its_dates_is_found_when_loading(tmp_path: Path, start: int, end: int, words: str) -> None:
    party = MIDDLE.leaf("Alice", start=pki.days(start), end=pki.days(end))
    with pytest.raises(KeyFileError, match=words) as caught:
        load_signer(write(tmp_path, party))
    assert caught.value.code == "ATLAS_E_EXPIRED"
    assert "atlas keygen" in caught.value.hint


def test_a_password_comes_from_the_argument_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = write(tmp_path, key=encrypted(b"secret"))
    assert signs(load_signer(key, password="secret"))
    assert signs(load_signer(key, password=b"secret"))
    monkeypatch.setenv("ATLAS_KEY_PASSWORD", "secret")
    assert signs(load_signer(key))
    with pytest.raises(KeyFileError, match="wrong password"):
        load_signer(key, password="other")
    monkeypatch.setenv("ATLAS_KEY_PASSWORD", "other")
    with pytest.raises(KeyFileError, match="wrong password") as caught:
        load_signer(key)
    assert caught.value.where == str(key)


def test_without_a_terminal_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = write(tmp_path, key=encrypted(b"secret"))
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(KeyFileError, match="a password is needed") as caught:
            load_signer(key)
    assert "ATLAS_KEY_PASSWORD" in caught.value.hint
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(KeyFileError, match="a password is needed"):
        load_signer(key)


def test_on_a_terminal_the_password_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    class Terminal:
        def isatty(self) -> bool:
            return True

    asked = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: asked.append(prompt) or "secret")
    assert signs(load_signer(write(tmp_path, key=encrypted(b"secret"))))
    assert asked == [f"password of {tmp_path / 'key.pem'}: "]
    assert signs(load_signer(write(tmp_path)))
    assert len(asked) == 1


def test_any_function_can_sign_given_a_chain() -> None:
    signer = load_signer(ALICE.sign, chain=ALICE.chain)
    assert signer.alg == "ES256"
    assert signs(signer)
    rsa_party = MIDDLE.leaf("Signer", "PS512")
    assert load_signer(rsa_party.sign, chain=rsa_party.chain).alg == "PS256"
    assert signs(load_signer(rsa_party.sign, chain=rsa_party.chain, alg="PS512"))
    with pytest.raises(UsageError, match="chain="):
        load_signer(ALICE.sign)


def test_any_object_with_alg_chain_and_sign_is_a_signer() -> None:
    assert load_signer(ALICE) is ALICE
    assert load_signer(ALICE, chain=ALICE.chain_pem.encode()).chain == ALICE.chain
    with pytest.raises(KeyFileError, match="does not fit"):
        load_signer(ALICE, alg="ES384")
    with pytest.raises(KeyFileError, match="self-signed"):
        load_signer(pki.self_signed("Solo"))
    with pytest.raises(UsageError, match="a file, a Signer or a function"):
        load_signer(42)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no certificate"):
        load_signer(ALICE.sign, chain=[])


def test_a_function_that_signs_with_another_key_or_returns_something_else_is_found_out() -> None:
    stranger = MIDDLE.leaf("Bob")
    with pytest.raises(VerificationError) as caught:
        signs(load_signer(stranger.sign, chain=ALICE.chain))
    assert caught.value.code == "ATLAS_E_SIGNATURE"
    with pytest.raises(UsageError, match="returned str, not bytes"):
        signs(load_signer(lambda tbs: "signature", chain=ALICE.chain))  # type: ignore[arg-type, return-value]
    der = load_signer(lambda tbs: ALICE.key.sign(tbs, ec.ECDSA(pki.hashes.SHA256())), chain=ALICE.chain)  # type: ignore[union-attr, call-arg, arg-type]
    with pytest.raises(VerificationError):
        signs(der)


# ---------------------------------------------------------------------------------------------------- COSE in two steps


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_is_signed_is_the_sig_structure_over_algorithm_and_chain(alg: str) -> None:
    party = MIDDLE.leaf("Signer", alg)
    protected, tbs = _core.sign_prepare(CLAIM, alg, party.chain)
    assert protected == cbor.dumps({1: cose.ALGORITHMS[alg], 33: party.chain})
    assert tbs == cose.sig_structure(protected, CLAIM)
    signature = party.sign(tbs)
    signed = _core.sign_finish(CLAIM, protected, signature)
    parsed = _core.cose_read(signed)
    assert parsed["alg"] == cose.ALGORITHMS[alg]
    assert parsed["chain"] == party.chain
    assert (parsed["payload"], parsed["signature"], parsed["timestamp"]) == (None, signature, None)


def test_a_single_certificate_is_not_wrapped_in_a_list() -> None:
    direct = ROOT.leaf("Direct")
    protected, _ = _core.sign_prepare(CLAIM, "ES256", direct.chain)
    assert protected == cbor.dumps({1: -7, 33: direct.chain[0]})


def test_nothing_is_prepared_for_a_leaf_or_chain_that_would_be_refused() -> None:
    for chain, code in (
        ([], "ATLAS_E_ARG"),
        (ALICE.chain * 9, "ATLAS_E_ARG"),
        (pki.self_signed("Solo").chain, "ATLAS_E_CREDENTIAL"),
        (ALICE.chain[::-1], "ATLAS_E_CREDENTIAL"),
        ([b"no certificate"], "ATLAS_E_X509"),
    ):
        with pytest.raises(AtlasError) as caught:
            _core.sign_prepare(CLAIM, "ES256", chain)
        assert caught.value.code == code
    with pytest.raises(VerificationError) as refused:
        _core.sign_prepare(CLAIM, "ES384", ALICE.chain)
    assert refused.value.code == "ATLAS_E_ALGORITHM"


def test_nothing_is_finished_without_a_good_signature() -> None:
    protected, tbs = _core.sign_prepare(CLAIM, "ES256", ALICE.chain)
    good = ALICE.sign(tbs)
    for claim, header, signature in (
        (CLAIM + b"\0", protected, good),
        (CLAIM, protected, good[:-1]),
        (CLAIM, protected, b""),
        (CLAIM, protected, MIDDLE.leaf("Bob").sign(tbs)),
        (CLAIM, protected, ALICE.sign(CLAIM)),
        (CLAIM, protected[:-1], good),
        (CLAIM, b"", good),
        (CLAIM, cbor.dumps({1: -7}), good),
        (CLAIM, cbor.dumps({1: -35, 33: ALICE.chain}), good),
    ):
        with pytest.raises(AtlasError):
            _core.sign_finish(claim, header, signature)
    assert _core.sign_finish(CLAIM, protected, good)


def test_a_timestamp_goes_in_only_if_it_is_of_this_signature() -> None:
    authority = tsa.Tsa.under(MIDDLE)
    protected, tbs = _core.sign_prepare(CLAIM, "ES256", ALICE.chain)
    signature = ALICE.sign(tbs)
    message = _core.sign_countertbs(protected, signature)
    assert message == cose.counter_structure(protected, signature)
    token = authority.token(message)
    assert _core.cose_read(_core.sign_finish(CLAIM, protected, signature, token))["timestamp"] == token
    for wrong in (
        authority.token(b"other"),
        authority.token(signature),
        token[:-1],
        b"",
        authority.token(message, mangle=True),
    ):
        with pytest.raises(AtlasError):
            _core.sign_finish(CLAIM, protected, signature, wrong)


def test_ocsp_responses_are_stapled() -> None:
    protected, tbs = _core.sign_prepare(CLAIM, "ES256", ALICE.chain)
    response = MIDDLE.ocsp(ALICE.leaf)
    signed = _core.sign_finish(CLAIM, protected, ALICE.sign(tbs), None, [response, response])
    assert _core.cose_read(signed)["ocsp"] == cbor.dumps([response, response])
    with pytest.raises(UsageError):
        _core.sign_finish(CLAIM, protected, ALICE.sign(tbs), None, [response] * 17)


# --------------------------------------------------------------------------------------------------------------- keygen


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_generated_keys_sign_and_lead_to_their_root(tmp_path: Path, alg: str) -> None:
    made = keygen("Alice", tmp_path / "keys", alg)
    signer = load_signer(made.key, alg=alg)
    assert signs(signer)
    now = int(time.time())
    assert _core.Trust(made.root.read_bytes()).check_chain(signer.chain, now, now)["length"] == 2


def test_generated_files_are_where_and_as_private_as_promised(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    made = keygen("Alice", folder)
    assert (made.root, made.chain, made.key) == (folder / "root.pem", folder / "chain.pem", folder / "key.pem")
    assert made.root_key == folder / "ca" / "root-key.pem"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        ".gitignore",
        "ca",
        "ca/root-key.pem",
        "chain.pem",
        "key.pem",
        "root.pem",
    ]
    assert (mode(folder), mode(folder / "ca"), mode(made.key), mode(made.root_key)) == (0o700, 0o700, 0o600, 0o600)


def test_git_never_sees_the_private_keys(tmp_path: Path) -> None:
    keygen("Alice", tmp_path / "keys")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    command = ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"]
    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "root.pem" in seen
    assert "key.pem" not in seen


def test_generated_certificates_say_what_they_are(tmp_path: Path) -> None:
    made = keygen("Alice Müller", tmp_path / "keys")
    leaf = _core.certificate_info(load_signer(made.key).chain[0])
    root = _core.certificate_info(_core.certificates_from_pem(made.root.read_bytes())[0])
    assert leaf["common_name"] == "Alice Müller"
    assert leaf["issuer"] == root["subject"] == root["issuer"]
    assert "development" in leaf["subject"]
    assert "not for production" in root["subject"]
    assert "Alice Müller" in root["subject"]
    ten_years = 10 * 365.25 * 86400
    for certificate in (leaf, root):
        assert abs(certificate["not_after"] - time.time() - ten_years) < 3 * 86400
        assert certificate["not_before"] < time.time() - 3600
        assert len(certificate["serial"]) == 32
    assert leaf["serial"] != root["serial"]


def test_the_generated_root_certifies_nothing_but_leaves_and_has_its_own_key(tmp_path: Path) -> None:
    made = keygen("Alice", tmp_path / "keys")
    text = subprocess.run(
        ["openssl", "x509", "-in", str(made.root), "-noout", "-text"], check=True, capture_output=True, text=True
    ).stdout
    assert "CA:TRUE, pathlen:0" in text
    assert "Certificate Sign, CRL Sign" in text
    assert _core.Key(made.root_key.read_bytes()).spki != _core.Key(made.key.read_bytes()).spki
    private = load_pem_private_key(made.root_key.read_bytes(), None)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public == _core.certificate_info(_core.certificates_from_pem(made.root.read_bytes())[0])["spki"]


def test_two_calls_share_no_key_and_no_serial_number() -> None:
    first, second = (_core.keygen("Alice", "ES256", 10) for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("existing", ["root.pem", "chain.pem", "key.pem", ".gitignore", "ca"])
def test_nothing_is_overwritten_and_nothing_half_made_is_left(tmp_path: Path, existing: str) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    place = folder / existing
    if existing == "ca":
        place.mkdir()
    else:
        place.write_text("mine")
    with pytest.raises(UsageError, match="never overwritten") as caught:
        keygen("Alice", folder)
    assert caught.value.where == str(place)
    assert [path.name for path in folder.iterdir()] == [existing]
    assert place.is_dir() or place.read_text() == "mine"


def test_a_link_that_was_planted_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="never overwritten"):
        keygen("Alice", folder)
    assert not (tmp_path / "elsewhere").exists()


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, []

    def fail(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        keygen("Alice", tmp_path / "new" / "keys")
    assert list(tmp_path.iterdir()) == []


def test_keygen_into_an_existing_empty_directory_keeps_it_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such algorithm"):
        keygen("Alice", tmp_path, "RS256")
    assert list(tmp_path.iterdir()) == []
    assert keygen("Alice", tmp_path).key.is_file()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\x00b", "a\x7fb"])
def test_a_name_that_no_certificate_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="1 to 64 printable characters"):
        keygen(name, tmp_path / "keys")
    assert not (tmp_path / "keys").exists()
    assert keygen("漢" * 64, tmp_path / "keys").key.is_file()


@pytest.mark.parametrize("years", [0, 51])
def test_years_outside_reason_are_refused(tmp_path: Path, years: int) -> None:
    with pytest.raises(UsageError):
        keygen("Alice", tmp_path / "keys", years=years)


# ------------------------------------------------------------------------------------------------------ TSA over HTTP

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):
                answer(self, body)

        def do_GET(self) -> None:
            self.send_error(405)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/tsa"
    finally:
        httpd.shutdown()
        httpd.server_close()


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/timestamp-reply")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def granting(handler: BaseHTTPRequestHandler, query: bytes) -> None:
    """An authority of the forge that stamps CLAIM, with the nonce it was asked for."""
    assert handler.headers["Content-Type"] == "application/timestamp-query"
    imprint = hashlib.sha256(CLAIM).digest()
    nonce = query[query.index(imprint) + len(imprint) :]
    number = int.from_bytes(nonce[2 : 2 + nonce[1]], "big")
    authority = tsa.Tsa.under(MIDDLE)
    reply(handler, authority.response(authority.token(CLAIM, nonce=number)))


def test_a_token_comes_over_http_and_is_trusted_by_who_knows_the_authority() -> None:
    with server(granting) as url:
        token = request_timestamp(url, CLAIM)
    result = _core.Trust(b"", ROOT.pem.encode()).check_timestamp(token, CLAIM, int(time.time()))
    assert result["trusted"]
    assert atlas.sign.request_timestamp is request_timestamp


def failure(url: str, timeout: float = 5.0) -> SystemFailure:
    with pytest.raises(SystemFailure) as caught:
        request_timestamp(url, CLAIM, timeout=timeout)
    assert caught.value.where == "127.0.0.1"
    return caught.value


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503, 204])
def test_any_status_but_200_is_no_answer(status: int) -> None:
    with server(lambda handler, _: reply(handler, b"", status)) as url:
        assert str(status) in failure(url).text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with server(granting) as elsewhere:

        def redirect(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            handler.send_response(status)
            handler.send_header("Location", elsewhere)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with server(redirect) as url:
            assert str(status) in failure(url).text


@pytest.mark.parametrize("body", [b"", b"<html>", tsa.Tsa.under(MIDDLE).response(tsa.Tsa.under(MIDDLE).token(CLAIM))])
def test_an_answer_that_is_not_to_our_question_is_no_timestamp(body: bytes) -> None:
    with server(lambda handler, _: reply(handler, body)) as url:
        assert "no usable time-stamp" in failure(url).text


def test_an_answer_that_never_ends_is_cut_off() -> None:
    def flood(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _n in range(10000):
            handler.wfile.write(bytes(MAX_RESPONSE_BYTES))

    with server(flood) as url:
        assert "more than 65536 bytes" in failure(url).text


def test_an_answer_that_drips_is_given_up_after_the_timeout() -> None:
    """Each byte arrives in time; all of them together do not."""

    def drip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _n in range(12):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    with server(drip) as url:
        before = time.monotonic()
        assert "no answer within 0.5 seconds" in failure(url, timeout=0.5).text
        assert time.monotonic() - before < 2


def test_nobody_listening_is_a_system_failure() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "cannot be reached" in failure(f"http://127.0.0.1:{port}/").text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "file:///etc/passwd",
        "ftp://example.org/",
        "data:,x",
        "http://",
        "http://u:p@example.org/",
        "http://[::",
    ],
)
def test_only_plain_http_urls_are_asked(url: str) -> None:
    with pytest.raises(UsageError):
        request_timestamp(url, CLAIM)


# --------------------------------------------------------------------------------------------------------- certificates


def test_pem_is_written_and_read_back() -> None:
    text = b"".join(_core.certificate_to_pem(der) for der in ALICE.chain)
    assert _core.certificates_from_pem(text) == ALICE.chain
    assert _core.certificates_from_pem(b"comment\n" + text + b"\ncomment\n") == ALICE.chain
    relabelled = text.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")
    with pytest.raises(MalformedError, match="a PEM block that is no certificate: X509 CERTIFICATE"):
        _core.certificates_from_pem(relabelled)
    for bad in (b"", b"nothing", ALICE.key_pem.encode(), text + ALICE.key_pem.encode(), text[:-30]):
        with pytest.raises(MalformedError):
            _core.certificates_from_pem(bad)


def test_threads_may_share_a_key_and_a_trust_object() -> None:
    key = _core.Key(ALICE.key_pem.encode())
    trust = _core.Trust(ROOT.pem.encode(), crls=[MIDDLE.crl().encode()])
    now, errors = int(pki.NOW.timestamp()), []

    def work() -> None:
        try:
            for _ in range(20):
                _core.signature_verify("ES256", key.spki, CLAIM, key.sign(CLAIM))
                trust.check_chain(ALICE.chain, now, now)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
