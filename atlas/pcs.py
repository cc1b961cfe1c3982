"""Fetch what Intel says about a platform (its "collateral") from the PCS, or from a caching PCCS of your own.

Nothing here is believed: the answers are only saved. They are signed by Intel, and `atlas.attest.verify` checks that,
offline, whenever the evidence is verified. Intel SGX PCS API, version 4.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

from atlas import web
from atlas.attest import Collateral, kind_of, read_claims, tdx_quote_of
from atlas.errors import AtlasError, SystemFailure, UsageError

PCS = "https://api.trustedservices.intel.com"
INTEL_ROOT_CRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
MAX_ANSWER_BYTES = 1 << 20
_TCB_CHAIN = "tcb-info-issuer-chain"
_QE_CHAIN = "sgx-enclave-identity-issuer-chain"
_CRL_CHAIN = "sgx-pck-crl-issuer-chain"


def fetch(quote: bytes, *, url: str = PCS, update: str = "standard", timeout: float = web.TIMEOUT) -> bytes:
    """The collateral of the platform that made this quote, as one bundle (JSON, the form of dcap-qvl).

    url: the service, without the path. update: "standard", or "early" for TCB levels as soon as they are published.
    Raises UsageError for evidence that Intel says nothing about, SystemFailure when the service gives no good answer.
    """
    platform, authority = _platform(quote)
    if update not in ("standard", "early"):
        raise UsageError(f"no such kind of update: {update!r}", hint='it is "standard" or "early"')
    service = _Service(url, timeout)
    query = {"fmspc": platform.hex().upper(), "update": update}
    tcb_info, tcb_chain = service.document("/tdx/certification/v4/tcb", query, _TCB_CHAIN)
    identity, qe_chain = service.document("/tdx/certification/v4/qe/identity", {"update": update}, _QE_CHAIN)
    crl, crl_chain = service.ask("/sgx/certification/v4/pckcrl", {"ca": authority, "encoding": "der"}, _CRL_CHAIN)
    bundle = {
        "pck_crl_issuer_chain": crl_chain,
        "root_ca_crl": service.root_crl().hex(),
        "pck_crl": _binary(crl).hex(),
        "tcb_info_issuer_chain": tcb_chain,
        **_split(tcb_info, "tcbInfo", "tcb_info", service.host),
        "qe_identity_issuer_chain": qe_chain,
        **_split(identity, "enclaveIdentity", "qe_identity", service.host),
    }
    encoded = json.dumps(bundle, indent=1).encode() + b"\n"
    try:
        Collateral(encoded)
    except AtlasError as error:
        raise SystemFailure(f"no usable collateral: {error.text}", code=error.code, where=service.host) from error
    return encoded


def _platform(quote: bytes) -> tuple[bytes, str]:
    if kind_of(quote) == "azure":
        quote = tdx_quote_of(quote)
    if not quote or kind_of(quote) != "tdx":
        raise UsageError("collateral is fetched for TDX quotes only")
    claims = read_claims(quote, kind="tdx")
    if claims["fmspc"] is None:
        raise UsageError("the quote has no PCK certificate chain, so it does not say which platform made it")
    return claims["fmspc"], claims["pck_ca"]


class _Service:
    def __init__(self, url: str, timeout: float) -> None:
        self.host = web.host_of(url, what="a provisioning certification service")
        self._url = url.rstrip("/")
        self._timeout = timeout

    def get(self, url: str) -> web.Answer:
        request = urllib.request.Request(url, headers={"Accept": "*/*"})
        return web.exchange(request, host=self.host, limit=MAX_ANSWER_BYTES, timeout=self._timeout)

    def ask(self, path: str, query: dict[str, str], chain: str) -> tuple[bytes, str]:
        """The body, and the certificate chain that comes in a header, percent-encoded."""
        answer = self.get(f"{self._url}{path}?{urllib.parse.urlencode(query)}")
        header = answer.headers.get(chain)
        if header is None:
            raise SystemFailure(f"the answer to {path} has no {chain}", where=self.host)
        return answer.body, urllib.parse.unquote(header)

    def document(self, path: str, query: dict[str, str], chain: str) -> tuple[str, str]:
        body, certificates = self.ask(path, query, chain)
        try:
            return body.decode(), certificates
        except UnicodeDecodeError:
            raise SystemFailure(f"the answer to {path} is no text", where=self.host) from None

    def root_crl(self) -> bytes:
        """Intel has it on another host; a PCCS has it itself."""
        if self._url == PCS:
            return _binary(self.get(INTEL_ROOT_CRL).body)
        return _binary(self.get(f"{self._url}/sgx/certification/v4/rootcacrl").body)


def _binary(body: bytes) -> bytes:
    """A PCCS answers in hexadecimal where the PCS answers in DER."""
    try:
        return bytes.fromhex(body.decode("ascii")) if body[:1] != b"\x30" else body
    except ValueError:
        return body


def _split(document: str, member: str, name: str, host: str) -> dict[str, str]:
    """The signed value as it was served, byte for byte, and its signature. Whether they fit is for the verifier."""
    try:
        parsed: Any = json.loads(document)
        signature = parsed["signature"]
        start = document.index("{", document.index(f'"{member}"'))
        _, length = json.JSONDecoder().raw_decode(document[start:])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SystemFailure(f"the answer is no signed {member}", where=host) from None
    if not isinstance(signature, str):
        raise SystemFailure(f"the answer is no signed {member}", where=host)
    return {name: document[start : start + length], f"{name}_signature": signature}
