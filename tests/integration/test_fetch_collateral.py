"""Collateral from a service over HTTP: a PCCS of the tests, and every way in which such a service can be bad."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from forge_attest.pki import NOW
from forge_attest.tdx import Tdx
from forge_attest.tpm import RSASSA, Tpm, hcl_report

from atlas import pcs
from atlas.attest import Collateral, verify
from atlas.cli import main
from atlas.errors import SystemFailure, UsageError

WORLD = Tdx()
V4 = "/certification/v4"
Reply = tuple[bytes, dict[str, str]]


def replies() -> dict[str, Reply]:
    """Path -> body and headers, as Intel's PCCS gives them: CRLs in hexadecimal."""
    bundle = WORLD.bundle()

    def signed(member: str, name: str) -> bytes:
        return f'{{"{member}":{bundle[name]},"signature":"{bundle[name + "_signature"]}"}}'.encode()

    def chain(name: str) -> str:
        return urllib.parse.quote(bundle[name])

    return {
        f"/tdx{V4}/tcb": (signed("tcbInfo", "tcb_info"), {"TCB-Info-Issuer-Chain": chain("tcb_info_issuer_chain")}),
        f"/tdx{V4}/qe/identity": (
            signed("enclaveIdentity", "qe_identity"),
            {"SGX-Enclave-Identity-Issuer-Chain": chain("qe_identity_issuer_chain")},
        ),
        f"/sgx{V4}/pckcrl": (
            bundle["pck_crl"].encode(),
            {"SGX-PCK-CRL-Issuer-Chain": chain("pck_crl_issuer_chain")},
        ),
        f"/sgx{V4}/rootcacrl": (bundle["root_ca_crl"].encode(), {}),
    }


class Service:
    def __init__(self) -> None:
        self.replies = replies()
        self.asked: list[str] = []
        self.instead: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, _ = self.path.partition("?")
                service.asked.append(self.path)
                if path in service.instead:
                    service.instead[path](self)
                    return
                body, headers = service.replies.get(path, (b"", {}))
                self.send_response(200 if path in service.replies else 404)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.server.shutdown()
    service.server.server_close()


def test_what_was_fetched_verifies_the_quote_offline(service: Service, tmp_path: Path) -> None:
    quote, out = tmp_path / "quote.bin", tmp_path / "collateral.json"
    quote.write_bytes(WORLD.quote())
    assert main(["attest", "fetch", str(quote), "--out", str(out), "--url", service.url + "/"]) == 0
    asked = [urllib.parse.urlsplit(path) for path in service.asked]
    assert [part.path for part in asked] == list(replies())
    assert urllib.parse.parse_qs(asked[0].query) == {"fmspc": [WORLD.fmspc.hex().upper()], "update": ["standard"]}
    assert urllib.parse.parse_qs(asked[2].query)["ca"] == ["platform"]
    result = verify(quote.read_bytes(), collateral=Collateral.load(out), at=NOW, anchor=WORLD.anchor())
    assert result.signature and result.tcb
    assert main(["attest", "fetch", str(quote), "--out", str(out), "--url", service.url]) == 6
    assert json.loads(out.read_bytes()).keys() == WORLD.bundle().keys()


def test_a_forged_answer_is_saved_and_then_refused_by_the_verifier(service: Service) -> None:
    body, headers = service.replies[f"/tdx{V4}/tcb"]
    service.replies[f"/tdx{V4}/tcb"] = (body.replace(b'"pcesvn":11', b'"pcesvn":10').replace(b"2025", b"2026"), headers)
    assert service.replies[f"/tdx{V4}/tcb"][0] != body
    bundle = pcs.fetch(WORLD.quote(), url=service.url)
    result = verify(WORLD.quote(), collateral=Collateral(bundle), at=NOW, anchor=WORLD.anchor())
    assert not result.signature


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"/sgx{V4}/rootcacrl")
    handler.end_headers()


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        pass


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b"0")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("bad", "says"),
    [(redirect, "HTTP status 302"), (endless, "more than"), (drip, "no answer within")],
    ids=["redirect", "endless", "slow drip"],
)
@pytest.mark.parametrize("path", [f"/tdx{V4}/tcb", f"/sgx{V4}/rootcacrl"])
def test_a_bad_service_is_refused_in_bounded_time(
    bad: Callable[[BaseHTTPRequestHandler], None], says: str, path: str, service: Service
) -> None:
    service.instead[path] = bad
    start = time.monotonic()
    with pytest.raises(SystemFailure, match=says):
        pcs.fetch(WORLD.quote(), url=service.url, timeout=0.5)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("path", list(replies())[:3])
def test_an_answer_without_its_certificates_is_refused(path: str, service: Service) -> None:
    service.replies[path] = (service.replies[path][0], {})
    with pytest.raises(SystemFailure, match="issuer-chain"):
        pcs.fetch(WORLD.quote(), url=service.url)


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"tcbInfo":1}', b'{"tcbInfo":{},"signature":1}', b"[" * 99999]
)
def test_an_answer_that_is_no_signed_document_is_refused(body: bytes, service: Service) -> None:
    service.replies[f"/tdx{V4}/tcb"] = (body, service.replies[f"/tdx{V4}/tcb"][1])
    with pytest.raises(SystemFailure):
        pcs.fetch(WORLD.quote(), url=service.url)


def test_evidence_of_azure_is_asked_for_by_the_quote_inside(service: Service) -> None:
    world = Tpm(scheme=RSASSA, tee={"hcl": hcl_report(b"{}"), "quote": WORLD.quote()})
    assert pcs.fetch(world.evidence(), url=service.url) == pcs.fetch(WORLD.quote(), url=service.url)
    asked = len(service.asked)
    for evidence in (Tpm(), world.but(tee={"hcl": hcl_report(b"{}")}), world.but(change=lambda p: p | {"tee": 1})):
        with pytest.raises(UsageError, match="TDX quotes only"):
            pcs.fetch(evidence.evidence(), url=service.url)
    assert len(service.asked) == asked


def test_only_a_quote_that_names_its_platform_can_be_asked_for(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="PCK certificate chain"):
        pcs.fetch(Tdx(cert_type=4).quote(), url=service.url)
    with pytest.raises(UsageError, match="URL"):
        pcs.fetch(WORLD.quote(), url="file:///etc/passwd")
    assert service.asked == []
