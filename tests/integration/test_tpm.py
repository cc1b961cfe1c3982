"""A real TPM 2.0 in software (swtpm): quotes, the run-time log, the signing key, enrolment, and what must not work."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
import swtpm
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from forge_attest import tpm as forge
from forge_attest.pki import Cert, key
from forge_attest.tdx import td15

from atlas import _core, azure, enroll, tpm
from atlas.attest import Appraisal, Collateral, read_claims, verify
from atlas.cli import main
from atlas.errors import (
    AtlasError,
    KeyFileError,
    MalformedError,
    NotFound,
    SystemFailure,
    UsageError,
    VerificationError,
)
from atlas.record.settings import resolve
from atlas.sign import keygen, load_signer

pytestmark = pytest.mark.skipif(bool(swtpm.missing()), reason=f"not installed: {swtpm.missing()}")

DATA = bytes(range(64))
LINES = [b"atlas.test/v1 INIT {}", b'atlas.test/v1 model-load {"n":1}', b'atlas.test/v1 checkpoint {"n":2}']


@pytest.fixture(scope="module")
def machine() -> Iterator[swtpm.Swtpm]:
    with swtpm.Swtpm() as made:
        yield made


@pytest.fixture(scope="module")
def other() -> Iterator[swtpm.Swtpm]:
    with swtpm.Swtpm(certified=False) as made:
        yield made


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TPM2TOOLS_TCTI", raising=False)
    monkeypatch.setenv("ATLAS_TCTI", request.getfixturevalue("machine").tcti)


def policy(**rules: Any) -> bytes:
    chosen = {"pcrs": {"sha256": {"7": ["00" * 32]}}, "unchecked_revocation": "warn"} | rules
    return json.dumps({"version": 1, "tpm": chosen}).encode()


def pinned(evidence: bytes, **more: Any) -> list[dict[str, Any]]:
    return [{"spki_sha256": read_claims(evidence)["ak_spki_sha256"].hex()} | more]


def judge(evidence: bytes, rules: bytes | None = None, *, report_data: bytes = DATA) -> Appraisal:
    chosen = policy(keys=pinned(evidence)) if rules is None else rules
    return verify(evidence, collateral=Collateral(), at=int(time.time()), policy=chosen, report_data=report_data)


def good(result: Appraisal) -> bool:
    return result.signature and result.tcb and result.appraisal == "attested" and result.binding == "matched"


def failed(result: Appraisal) -> set[str]:
    return {check.id for check in result.failures}


# ------------------------------------------------------------------------------------------------------ quotes


def test_a_quote_of_a_tpm_is_verified_by_openssl_alone() -> None:
    evidence = tpm.collect(DATA)
    result = judge(evidence.raw)
    assert (evidence.kind, evidence.provider) == ("tpm", "tpm")
    assert good(result), result.explain()
    assert (result.trust, result.software, result.hardware_rooted, result.holds) == ("pinned", True, False, False)
    assert set(result.claims["pcrs"]["sha256"]) == {str(n) for n in range(16)}


def test_info_shows_the_tpm_and_the_key_to_pin(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    assert main(["attest", "info", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["machine"]["tpm"]
    assert shown["offered"] == "yes" and shown["vendor"] == "SW   TPM"
    assert shown["ak_spki_sha256"] == read_claims(tpm.collect(DATA).raw)["ak_spki_sha256"].hex()
    monkeypatch.setenv("ATLAS_TCTI", "swtpm:path=/nowhere")
    assert main(["attest", "info"]) == 0
    assert "no TPM answers" in capsys.readouterr().out


def test_a_quote_of_nobody_known_is_self_asserted() -> None:
    result = judge(tpm.collect(DATA).raw, policy())
    assert (result.signature, result.trust, failed(result)) == (False, "self-asserted", {"tpm.trust"})


def test_this_software_tpm_under_a_hardware_label_is_refused() -> None:
    evidence = tpm.collect(DATA).raw
    assert failed(judge(evidence, policy(keys=pinned(evidence, hardware=True)))) == {"tpm.hardware"}


def test_the_attestation_key_is_the_same_each_time_and_another_tpm_has_another(other: swtpm.Swtpm) -> None:
    mine = tpm.attestation_key()
    assert mine == tpm.attestation_key()
    theirs = tpm.collect(DATA, tcti=other.tcti).raw
    assert cbor2.loads(theirs)["ak"] != mine
    assert failed(judge(theirs, policy(keys=pinned(tpm.collect(DATA).raw)))) == {"tpm.trust"}


def test_a_quote_answers_for_one_binding_only() -> None:
    evidence = tpm.collect(DATA).raw
    assert judge(evidence, report_data=bytes(reversed(DATA))).binding == "mismatch"
    parts = cbor2.loads(evidence)
    later = cbor2.loads(tpm.collect(bytes(reversed(DATA))).raw)
    replayed = cbor2.dumps(later | {"quote": parts["quote"], "sig": parts["sig"]}, canonical=True)
    assert judge(replayed, report_data=bytes(reversed(DATA))).binding == "mismatch"


def test_a_pcr_that_was_extended_shows(machine: swtpm.Swtpm) -> None:
    before = judge(tpm.collect(DATA, pcrs=[7, 23]).raw).claims["pcrs"]["sha256"]
    assert set(before) == {"7", "23"}
    parts = cbor2.loads(tpm.collect(DATA, pcrs=[7, 23]).raw)
    parts["pcrs"] = b"\1" * 32 + parts["pcrs"][32:]
    assert failed(judge(cbor2.dumps(parts, canonical=True))) == {"tpm.pcrs"}


@pytest.mark.parametrize("pcrs", [[], [24], [-1]])
def test_pcrs_that_do_not_exist_are_refused(pcrs: list[int]) -> None:
    with pytest.raises(UsageError):
        tpm.collect(DATA, pcrs=pcrs)


def test_nothing_is_left_in_the_tpm() -> None:
    """It has room for three keys and three sessions, and there is no resource manager here."""
    for _ in range(5):
        tpm.collect(DATA)
        tpm.TpmKey.new()
        challenge, _ = enroll.challenge(enroll.request())
        enroll.answer(challenge)


# ------------------------------------------------------------------------------------------------- run-time log


@pytest.fixture
def log() -> Iterator[tpm.NvLog]:
    made = tpm.NvLog()
    made.start(fresh=True)
    for line in LINES:
        made.extend(line)
    yield made
    made.remove()


def with_log(evidence: bytes, change: Any) -> bytes:
    parts = cbor2.loads(evidence)
    parts["nv"]["log"] = change(parts["nv"]["log"])
    return cbor2.dumps(parts, canonical=True)


def test_the_run_time_log_is_certified_with_the_quote(log: tpm.NvLog) -> None:
    evidence = tpm.collect(DATA, log=log).raw
    result = judge(evidence)
    assert good(result), result.explain()
    assert result.claims["log"].encode() == b"".join(line + b"\n" for line in LINES)
    assert good(judge(evidence, policy(keys=pinned(evidence), require_log=True)))
    assert not any(check.id == "tpm.log_start" for check in result.checks)


def test_log_entries_cannot_be_removed_moved_changed_or_added(log: tpm.NvLog) -> None:
    evidence = tpm.collect(DATA, log=log).raw

    def moved(data: bytes) -> bytes:
        first, second, third = data.splitlines(keepends=True)
        return first + third + second

    for change in (
        lambda data: data[data.index(b"\n") + 1 :],
        lambda data: b"".join(data.splitlines(keepends=True)[:-1]),
        moved,
        lambda data: data.replace(b"2", b"3"),
        lambda data: data + b"x\n",
    ):
        assert failed(judge(with_log(evidence, change))) == {"tpm.log"}


def test_a_log_of_another_collection_is_refused(log: tpm.NvLog) -> None:
    old = cbor2.loads(tpm.collect(DATA, log=log).raw)
    new = cbor2.loads(tpm.collect(bytes(reversed(DATA)), log=log).raw)
    mixed = cbor2.dumps(new | {"nv": old["nv"]}, canonical=True)
    assert failed(judge(mixed, report_data=bytes(reversed(DATA)))) == {"tpm.nv"}


def test_a_log_that_goes_on_says_so(log: tpm.NvLog) -> None:
    again = tpm.NvLog()
    again.start()
    again.extend(b"atlas.test/v1 later {}")
    result = judge(tpm.collect(DATA, log=again).raw)
    assert good(result)
    assert [check.status for check in result.checks if check.id == "tpm.log_start"] == ["warning"]


def test_a_line_of_the_log_is_one_line(log: tpm.NvLog) -> None:
    with pytest.raises(UsageError):
        log.extend(b"two\nlines")
    assert log.lines.count(b"\n") == len(LINES)


# --------------------------------------------------------------------------------------------------- signing key


def test_a_key_in_the_tpm_signs_manifests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys, model = tmp_path / "keys", tmp_path / "model.bin"
    model.write_bytes(b"weights")
    assert main(["keygen", str(keys), "--name", "Alice", "--tpm"]) == 0
    assert not (keys / "key.pem").exists() and (keys / "key.tpm").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (keys / "key.tpm").read_bytes()
    assert main(["sign", str(model), "--key", f"tpm:{keys / 'key.tpm'}", "--no-store"]) == 0
    assert main(["verify", str(model), "--trust", str(keys / "root.pem")]) == 0
    assert "Alice" in capsys.readouterr().out


def test_a_project_may_name_a_key_in_the_tpm(tmp_path: Path) -> None:
    made = keygen("Alice", tmp_path / "keys", tpm=True)
    (tmp_path / "pyproject.toml").write_text('[tool.atlas]\nkey = "tpm:keys/key.tpm"\n')
    settings = resolve(directory=tmp_path, environ={})
    assert settings.key == f"tpm:{made.key}"
    assert settings.trust == made.root.read_bytes()
    assert load_signer(settings.key).alg == "ES256"


def test_the_key_of_another_tpm_does_not_sign(tmp_path: Path, other: swtpm.Swtpm, monkeypatch: Any) -> None:
    made = keygen("Alice", tmp_path / "keys", tpm=True)
    signer = load_signer(f"tpm:{made.key}")
    _core.signature_verify("ES256", tpm.TpmKey.read(made.key).spki, b"x", signer.sign(b"x"))
    monkeypatch.setenv("ATLAS_TCTI", other.tcti)
    with pytest.raises(KeyFileError, match="not the one that the key was made in"):
        signer.sign(b"x")


def test_a_ca_of_ones_own_issues_the_certificate(tmp_path: Path) -> None:
    """The request is read, and the certificate made, by somebody else's code."""
    keys = tmp_path / "keys"
    assert main(["keygen", str(keys), "--name", "Alice", "--tpm", "--csr"]) == 0
    request = x509.load_pem_x509_csr((keys / "request.pem").read_bytes())
    assert request.is_signature_valid and request.subject.rfc4514_string() == "CN=Alice"
    now = datetime.datetime.now(datetime.UTC)
    ca = Cert("ATLAS TEST CA", key("own ca"), ca=True, end=int(now.timestamp()) + 86400)
    ca_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = (
        x509.CertificateBuilder(ca.subject, request.subject, request.public_key(), 2)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4")]), critical=False)
        .add_extension(ca_key, critical=False)
    )
    (keys / "chain.pem").write_bytes(builder.sign(ca.private, hashes.SHA256()).public_bytes(Encoding.PEM))
    (tmp_path / "root.pem").write_text(ca.pem())
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    assert main(["sign", str(model), "--key", f"tpm:{keys / 'key.tpm'}", "--no-store"]) == 0
    assert main(["verify", str(model), "--trust", str(tmp_path / "root.pem")]) == 0
    assert main(["keygen", str(keys), "--name", "Alice", "--tpm", "--csr"]) == 2  # never overwritten
    assert main(["keygen", str(tmp_path / "x"), "--name", "Alice", "--csr"]) == 2


def test_a_request_that_the_key_did_not_sign_is_not_written() -> None:
    made = tpm.TpmKey.new()
    tbs = _core.csr_prepare("Alice", made.spki)
    for signature in (bytes(64), b"\1" * 64, made.sign(tbs + b"x"), b"", made.sign(tbs)[:-1]):
        with pytest.raises(AtlasError):
            _core.csr_finish(tbs, signature)


def test_a_key_file_that_is_none_and_a_chain_of_another_key_are_refused(tmp_path: Path) -> None:
    made = keygen("Alice", tmp_path / "a", tpm=True)
    strange = keygen("Bob", tmp_path / "b")
    with pytest.raises(KeyFileError, match="does not belong"):
        load_signer(f"tpm:{made.key}", chain=strange.chain)
    for content in (b"", b"[]", b'{"kind":"atlas-tpm-key"}', strange.key.read_bytes()):
        made.key.write_bytes(content)
        with pytest.raises(KeyFileError, match="not a file that stands for a key"):
            load_signer(f"tpm:{made.key}")
    with pytest.raises(UsageError, match="ES256"):
        keygen("Eve", tmp_path / "e", alg="ES384", tpm=True)


# ------------------------------------------------------------------------------------------------------ enrolment


def test_enrolment_from_the_command_line(tmp_path: Path, machine: swtpm.Swtpm) -> None:
    keygen("CA", tmp_path / "ca")
    (tmp_path / "roots.pem").write_bytes(machine.roots)
    (tmp_path / "issuer.pem").write_bytes(machine.issuer)

    def run(*words: str) -> None:
        places = [str(tmp_path / word[1:]) if word.startswith("@") else word for word in words]
        assert main(["attest", *places]) == 0

    run("enroll", "request", "--out", "@request")
    run(
        *("enroll", "challenge", "@request", "--ek-roots", "@roots.pem", "--ek-chain", "@issuer.pem"),
        *("--out", "@challenge", "--state", "@state"),
    )
    run("enroll", "answer", "@challenge", "--out", "@answer")
    run(
        *("enroll", "issue", "@answer", "--state", "@state", "--ca", "@ca/root.pem", "--ca-key", "@ca/ca/root-key.pem"),
        *("--name", "machine 1", "--out", "@ak.pem"),
    )
    run(
        *("collect", "--provider", "tpm", "--chain", "@ak.pem", "--out", "@evidence", "--report-data", DATA.hex()),
        *("--pcrs", "0,7"),
    )
    run("info", "@evidence")
    evidence = (tmp_path / "evidence").read_bytes()
    authority = {"certificate": (tmp_path / "ca/root.pem").read_text()}
    result = judge(evidence, policy(authorities=[authority]))
    assert good(result) and result.trust == "certified" and result.software
    hard = judge(evidence, policy(authorities=[authority | {"hardware": True}]))
    assert failed(hard) == {"tpm.hardware"}
    (tmp_path / "policy").write_bytes(policy(authorities=[authority]))
    now = str(int(time.time()))
    words = ["attest", "verify", str(tmp_path / "evidence"), "--at", now, "--policy", str(tmp_path / "policy")]
    assert main([*words, "--report-data", DATA.hex()]) == 3  # genuine, but not hardware-rooted


def test_the_authority_may_be_any_of_several(tmp_path: Path) -> None:
    keys = [keygen(name, tmp_path / name) for name in ("one", "two", "three")]
    challenge, state = enroll.challenge(enroll.request())
    pem = enroll.issue(
        state, enroll.answer(challenge), ca=keys[1].root.read_bytes(), ca_key=keys[1].root_key.read_bytes(), name="x"
    )
    evidence = tpm.collect(DATA, chain=_core.certificates_from_pem(pem)).raw
    authorities = [{"certificate": made.root.read_text()} for made in keys]
    assert good(judge(evidence, policy(authorities=authorities)))
    del authorities[1]
    assert failed(judge(evidence, policy(authorities=authorities))) == {"tpm.trust"}


def test_a_certificate_without_vendor_roots_names_no_manufacturer(tmp_path: Path) -> None:
    ca = keygen("CA", tmp_path / "ca")
    challenge, state = enroll.challenge(enroll.request())
    pem = enroll.issue(
        state, enroll.answer(challenge), ca=ca.root.read_bytes(), ca_key=ca.root_key.read_bytes(), name="x"
    )
    assert _core.tpm_names_read(_core.certificates_from_pem(pem)[0]) == ("", "", "")


def test_what_the_ca_gives_is_checked_before_it_issues(tmp_path: Path) -> None:
    ca, strange = keygen("CA", tmp_path / "ca"), keygen("X", tmp_path / "x")
    challenge, state = enroll.challenge(enroll.request())
    answer = enroll.answer(challenge)
    root, key_pem = ca.root.read_bytes(), ca.root_key.read_bytes()
    for bad in (
        {"ca": root * 2},
        {"ca": b""},
        {"ca_key": b""},
        {"ca_key": strange.root_key.read_bytes()},
        {"ca": ca.chain.read_bytes(), "ca_key": ca.key.read_bytes()},  # no CA
        {"name": ""},
        {"name": "x" * 65},
        {"years": 0},
        {"years": 51},
    ):
        with pytest.raises(AtlasError):
            enroll.issue(state, answer, **({"ca": root, "ca_key": key_pem, "name": "x"} | bad))
    with pytest.raises(UsageError):
        _core.ek_chain_check([], root, 1)


def test_only_the_tpm_of_the_request_can_answer(other: swtpm.Swtpm) -> None:
    challenge, _ = enroll.challenge(enroll.request())
    with pytest.raises(SystemFailure, match="not for this TPM"):
        enroll.answer(challenge, tcti=other.tcti)


def test_a_wrong_answer_gets_no_certificate(tmp_path: Path) -> None:
    ca = keygen("CA", tmp_path / "ca")
    first, _ = enroll.challenge(enroll.request())
    _, state = enroll.challenge(enroll.request())
    with pytest.raises(VerificationError, match="the answer is wrong"):
        enroll.issue(state, enroll.answer(first), ca=ca.root.read_bytes(), ca_key=ca.root_key.read_bytes(), name="x")


def changed(data: bytes, **members: str) -> bytes:
    return json.dumps(json.loads(data) | members).encode()


def test_a_request_that_mixes_two_tpms_is_refused_or_of_no_use(machine: swtpm.Swtpm, other: swtpm.Swtpm) -> None:
    mine, theirs = enroll.request(), enroll.request(tcti=other.tcti)
    with pytest.raises(VerificationError, match="for another key"):
        mixed = changed(mine, ek=json.loads(theirs)["ek"])
        enroll.challenge(mixed, ek_roots=machine.roots, ek_chain=machine.issuer)
    borrowed = changed(mine, ak=json.loads(theirs)["ak"])  # somebody else's endorsement key for their own key
    challenge, _ = enroll.challenge(borrowed, ek_roots=machine.roots, ek_chain=machine.issuer)
    for tcti in (machine.tcti, other.tcti):
        with pytest.raises(SystemFailure):
            enroll.answer(challenge, tcti=tcti)


def test_an_endorsement_key_that_no_vendor_vouches_for_is_refused(
    tmp_path: Path, machine: swtpm.Swtpm, other: swtpm.Swtpm
) -> None:
    strange = keygen("CA", tmp_path / "ca").root.read_bytes()
    with pytest.raises(VerificationError):
        enroll.challenge(enroll.request(), ek_roots=strange, ek_chain=machine.issuer)
    with pytest.raises(NotFound, match="no endorsement certificate"):
        enroll.challenge(enroll.request(tcti=other.tcti), ek_roots=machine.roots)


def test_a_certificate_for_another_purpose_makes_no_endorsement_key() -> None:
    """As a vendor's CA may have issued one for the same key; the same CA's endorsement certificate is taken."""
    now = datetime.datetime.now(datetime.UTC)
    request = enroll.request()
    ek, _, _ = _core.tpm_key_read(bytes.fromhex(json.loads(request)["ek"]))
    ca = Cert("ATLAS TEST TPM VENDOR", key("tpm vendor"), ca=True, end=int(now.timestamp()) + 86400)
    for usage, accepted in (("2.23.133.8.1", True), ("2.23.133.8.3", False), ("1.3.6.1.5.5.7.3.1", False)):
        builder = (
            x509.CertificateBuilder(ca.subject, x509.Name([]), load_der_public_key(ek), 1)
            .not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(1))
            .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage)]), critical=False)
        )
        der = builder.sign(ca.private, hashes.SHA256()).public_bytes(Encoding.DER)
        with contextlib.nullcontext() if accepted else pytest.raises(VerificationError, match="endorsement key"):
            enroll.challenge(changed(request, ek_certificate=der.hex()), ek_roots=ca.pem().encode())


def test_only_an_attestation_key_is_enrolled() -> None:
    unrestricted = forge.Tpm(attributes=forge.AK & ~(1 << 16)).public()
    with pytest.raises(VerificationError, match="no attestation key"):
        enroll.challenge(changed(enroll.request(), ak=unrestricted.hex()))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"kind":"atlas-enroll-request","version":1,"ek":1}'])
def test_a_file_that_is_no_step_of_an_enrolment_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        enroll.challenge(data)
    with pytest.raises(MalformedError):
        enroll.answer(data)


# ---------------------------------------------------------------------------------------------------------- Azure


@pytest.fixture
def metadata() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that answers as Azure's metadata service does; what it quotes is the test's to say."""
    state: dict[str, Any] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state["asked"] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"quote": azure._encode(state["quote"])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/acc/tdquote", state
    server.shutdown()
    server.server_close()


def test_no_report_of_azure_is_no_confidential_vm_there() -> None:
    with pytest.raises(NotFound, match="no report of Azure"):
        azure.collect(DATA)


def test_a_confidential_vm_of_azure_is_collected_and_verified(
    machine: swtpm.Swtpm, metadata: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    """What Azure's firmware does beforehand is done with tpm2-tools: an RSA key under a handle, a report in NV."""
    url, state = metadata

    def tool(*words: str) -> None:
        environ = {"TPM2TOOLS_TCTI": machine.tcti, "PATH": "/usr/bin:/bin"}
        try:
            subprocess.run([f"tpm2_{words[0]}", *words[1:]], check=True, capture_output=True, env=environ, cwd=tmp_path)
        except FileNotFoundError:
            pytest.skip("not installed: tpm2-tools")

    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"
    tool("createprimary", "-C", "o", "-G", "rsa2048:rsassa-sha256:null", "-a", attributes, "-c", "ak.ctx")
    tool("flushcontext", "-t")
    tool("evictcontrol", "-C", "o", "-c", "ak.ctx", hex(azure.AK_HANDLE))
    tool("flushcontext", "-t")
    with tpm.opened() as opened:
        spki, _, attests = _core.tpm_key_read(opened.use_handle(azure.AK_HANDLE))
    assert attests
    runtime = forge.runtime_of(spki)
    td_report = b"\x81\0\0\0" + bytes(range(250)) * 4 + bytes(20)
    report = forge.hcl_report(runtime, hardware=td_report)
    (tmp_path / "hcl").write_bytes(report)
    tool("nvdefine", hex(azure.HCL_REPORT), "-C", "o", "-s", str(len(report)), "-a", "ownerread|ownerwrite")
    tool("nvwrite", hex(azure.HCL_REPORT), "-C", "o", "-i", "hcl")
    world = td15(report_data=forge.hcl_binding(runtime))
    state["quote"] = world.quote()
    evidence = azure.collect(DATA, metadata=url)
    assert state["asked"] == {"report": azure._encode(td_report)}
    result = verify(
        evidence.raw,
        collateral=Collateral(json.dumps(world.bundle()).encode()),
        at=forge.NOW,
        anchor=world.anchor(),
        policy=policy(),
        report_data=DATA,
    )
    assert good(result), result.explain()
    assert (result.kind, result.trust, result.hardware_rooted) == ("azure", "tee", False)  # the anchor is the test's


# ----------------------------------------------------------------------------------------------------- the page

PAGE = Path(__file__).parents[2] / "docs" / "attest-tpm.md"


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 12
    for line in lines:
        words = shlex.split(line)
        if words[0] == "atlas":
            assert main(words[1:]) == 0, line
        else:
            subprocess.run(line, shell=True, check=True)


def test_the_policy_of_the_page_is_read_and_its_table_complete() -> None:
    text = PAGE.read_text("utf-8")
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert failed(judge(tpm.collect(DATA).raw, example[1].encode())) == {"tpm.trust"}
    listed = re.findall(r"^\| `(\w+)` \| (?!nobody|your|a CA|the TDX)", text, re.MULTILINE)
    values = {"require_log": False, "unchecked_revocation": "warn", "pcrs": {"sha256": {"7": ["00" * 32]}}}
    for name in listed:
        judge(tpm.collect(DATA).raw, json.dumps({"version": 1, "tpm": {name: values.get(name, [])}}).encode())
    assert len(listed) == 5


# ------------------------------------------------------------------------------------------------ without a TPM


def test_no_tpm_is_said_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_TCTI", "swtpm:path=/nowhere")
    with pytest.raises(AtlasError, match="no TPM answers at swtpm:path=/nowhere"):
        tpm.collect(DATA)
    assert not tpm.present()
    monkeypatch.delenv("ATLAS_TCTI")
    monkeypatch.setattr(tpm, "DEVICES", ("/dev/no-such-tpm",))
    with pytest.raises(NotFound, match="no TPM that can be seen"):
        tpm.tcti_of()


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
void *dlopen(const char *name, int flags)
{
    void *(*real)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return name != 0 && strstr(name, "libtss2") != 0 ? 0 : real(name, flags);
}
"""


def test_without_libtss2_verification_works_and_the_rest_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(tmp_path / "shim.c"), "-ldl"], check=True)
    (tmp_path / "evidence").write_bytes(tpm.collect(DATA).raw)
    code = f"""
import atlas, pathlib
from atlas import attest, tpm
evidence = pathlib.Path({str(tmp_path / "evidence")!r}).read_bytes()
result = attest.verify(evidence, collateral=attest.Collateral(), at={int(time.time())})
assert [check.id for check in result.failures] == ["tpm.trust"], result.explain()
try:
    tpm.collect(bytes(range(64)))
except atlas.errors.AtlasError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"LD_PRELOAD": str(shim), "PYTHONPATH": ":".join(sys.path), "ATLAS_TCTI": "device:/dev/null"},
    )
    assert "libtss2-tctildr.so.0 is missing" in run.stdout and "apt-get install" in run.stdout
