"""Enrolment of a TPM's attestation key with a CA: proof that it lives beside an endorsement key, then a certificate.

    TPM   request    who it is: endorsement key, its certificate, attestation key
    CA    challenge  a secret that only that TPM, holding both keys, can read (TPM2_MakeCredential)
    TPM   answer     the secret (TPM2_ActivateCredential)
    CA    issue      the certificate of the attestation key

The CA's side needs no TPM. What the CA then knows is what the endorsement certificate says, and only as far as the
root that it chains to: without one of a vendor, the certificate names no manufacturer.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import time
from typing import Any

from atlas import _core
from atlas.errors import MalformedError, NotFound, UsageError, VerificationError
from atlas.tpm import _AK, _EK, facts, opened

EK_CERTIFICATE = 0x01C00002  # TCG EK Credential Profile 2.3, 2.2.1.4: of the RSA 2048 key
SECRET_BYTES = 32
AK_YEARS = 2


def _write(kind: str, **members: bytes | str | dict[str, str]) -> bytes:
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in members.items()}
    return json.dumps({"kind": f"atlas-enroll-{kind}", "version": 1} | plain, indent=1).encode() + b"\n"


def _read(data: bytes, kind: str, *names: str) -> list[bytes]:
    try:
        document: Any = json.loads(data)
        if document["kind"] != f"atlas-enroll-{kind}" or document["version"] != 1:
            raise ValueError
        return [bytes.fromhex(document[name]) for name in names]
    except (ValueError, KeyError, TypeError):
        raise MalformedError(f"not an enrolment {kind}", code="ATLAS_E_JSON", where=kind) from None


def request(*, tcti: str | None = None) -> bytes:
    """On the TPM's machine. Also tells what the TPM says of itself, for people; the CA believes none of it."""
    with opened(tcti) as tpm:
        certificate = b""
        with contextlib.suppress(NotFound):
            certificate = _unpadded(tpm.nv_contents(EK_CERTIFICATE))
        ek, ak = tpm.make_key(_EK, b""), tpm.make_key(_AK, b"")
        return _write("request", ek=ek, ek_certificate=certificate, ak=ak, says=facts(tpm))


def _unpadded(der: bytes) -> bytes:
    """The certificate alone: some vendors fill the index up."""
    if len(der) > 4 and der[:2] == b"\x30\x82":
        return der[: 4 + int.from_bytes(der[2:4], "big")]
    return der


def challenge(data: bytes, *, ek_roots: bytes | None = None, ek_chain: bytes | None = None) -> tuple[bytes, bytes]:
    """At the CA: (challenge, for the TPM; state, to be kept by the CA). `ek_roots`: PEM of the roots of TPM vendors
    that the endorsement certificate must chain to, through `ek_chain` (PEM); without it any TPM is taken, software too,
    and none is named."""
    ek, certificate, ak = _read(data, "request", "ek", "ek_certificate", "ak")
    ek_spki, _, _ = _core.tpm_key_read(ek)
    spki, name, attests = _core.tpm_key_read(ak)
    if not attests:
        raise VerificationError(
            "the key is no attestation key: it may sign anything, or may be a copy",
            code="ATLAS_E_CREDENTIAL",
            where="AK",
        )
    names = ("", "", "")
    if ek_roots is not None:
        names = _vouched(certificate, ek_spki, ek_roots, ek_chain)
    secret = secrets.token_bytes(SECRET_BYTES)
    credential, encrypted = _core.credential_make(ek_spki, name, secret)
    state = _write(
        "state",
        secret_sha256=hashlib.sha256(secret).digest(),
        spki=spki,
        ek_sha256=hashlib.sha256(ek_spki).digest(),
        manufacturer=names[0].encode(),
        model=names[1].encode(),
        firmware=names[2].encode(),
    )
    return _write("challenge", credential=credential, encrypted=encrypted), state


def _vouched(der: bytes, ek_spki: bytes, roots: bytes, chain: bytes | None) -> tuple[str, str, str]:
    """The names of the endorsement certificate, after it was found to be for this key and to chain to a root."""
    if not der:
        raise NotFound("the TPM has no endorsement certificate", where="EK", hint="ask its vendor for it")
    if _core.certificate_info(der)["spki"] != ek_spki:
        raise VerificationError("the certificate is for another key", code="ATLAS_E_MISMATCH", where="EK certificate")
    between = _core.certificates_from_pem(chain) if chain is not None else []
    _core.ek_chain_check([der, *between], roots, int(time.time()))
    return _core.tpm_names_read(der)


def answer(data: bytes, *, tcti: str | None = None) -> bytes:
    """On the TPM's machine: only the TPM of the request can."""
    credential, encrypted = _read(data, "challenge", "credential", "encrypted")
    with opened(tcti) as tpm:
        tpm.make_key(_AK, b"")
        return _write("answer", secret=tpm.activate(credential, encrypted))


def issue(state: bytes, data: bytes, *, ca: bytes, ca_key: bytes, name: str, years: int = AK_YEARS) -> bytes:
    """At the CA: the certificate (PEM), after the answer was found to be right."""
    wanted, spki, manufacturer, model, firmware = _read(
        state, "state", "secret_sha256", "spki", "manufacturer", "model", "firmware"
    )
    (secret,) = _read(data, "answer", "secret")
    if not hmac.compare_digest(hashlib.sha256(secret).digest(), wanted):
        raise VerificationError(
            "the answer is wrong: it was not made by the TPM of the request", code="ATLAS_E_MISMATCH", where="answer"
        )
    if not name:
        raise UsageError("an attestation key needs a name")
    names = (manufacturer.decode(), model.decode(), firmware.decode())
    return _core.ak_issue(ca, ca_key, spki, name, names, years)
