"""`atlas.init(attest=...)` and `@atlas.step(attest=...)` on a machine whose kernel answers under a test PKI."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_attest import ccel
from forge_attest.snp import Snp
from forge_attest.tdx import at, td15
from recording import Project
from tsm_fuse import Host, Measurements, Registers, Tsm

import atlas
from atlas import Attest, NotAttested, tsm
from atlas.errors import UsageError
from atlas.evidence import check_own
from atlas.model import Node, NodeEvidence, Verdict
from atlas.policy import Policy

torch = pytest.importorskip("torch")

NOW = int(time.time())
WORLD = at(td15(), NOW)
BUNDLE = json.dumps(WORLD.bundle()).encode()

Mounted = Callable[[Host], Path]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsm, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    mounts: list[Tsm] = []

    def mount(host: Host) -> Path:
        served = Tsm(tmp_path_factory.mktemp("report"), host)
        try:
            path = served.__enter__()
        except OSError as error:
            pytest.skip(f"FUSE cannot be mounted here: {error}")
        mounts.append(served)
        return path

    yield mount
    for served in mounts:
        served.__exit__()


Measured = Callable[[Registers], Path]


@pytest.fixture
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    mounts: list[Tsm] = []

    def mount(registers: Registers) -> Path:
        served = Measurements(tmp_path_factory.mktemp("measurements"), Host(), registers)
        try:
            path = served.__enter__()
        except OSError as error:
            pytest.skip(f"FUSE cannot be mounted here: {error}")
        mounts.append(served)
        return path / "rtmr3:sha384"

    yield mount
    for served in mounts:
        served.__exit__()


def tdx(**changes: Any) -> Host:
    return Host(quote=lambda data: WORLD.but(report_data=data).quote(), **changes)


def attest(level: str, reports: Path, **changes: Any) -> Attest:
    options = {"collateral": (BUNDLE,), "reports": reports, "event_log": None, "register": "/none"} | changes
    return Attest(level=level, **options)  # type: ignore[arg-type]


def judged(project: Project, name: str = "model.pt", **rules: Any) -> Verdict:
    policy = Policy(roots=project.trust.read_bytes(), evidence_anchor=WORLD.anchor(), **rules)
    return atlas.verify(name, policy=policy)


def node(project: Project, name: str = "model.pt", **rules: Any) -> Node:
    verdict = judged(project, name, **rules)
    assert verdict.answer == "VALID", verdict.explain()
    return verdict.nodes[0]


def evidence(project: Project, name: str = "model.pt", **rules: Any) -> NodeEvidence:
    found = node(project, name, **rules).evidence
    assert found is not None
    return found


def save(name: str = "model.pt", seed: int = 0) -> None:
    torch.manual_seed(seed)
    torch.save(torch.nn.Linear(4, 4).state_dict(), name)


# --------------------------------------------------------------------------------------------------------- session


def test_a_session_asks_once_and_every_manifest_carries_the_answer(project: Project, mounted: Mounted) -> None:
    host = tdx()
    with project.init(attest=attest("auto", mounted(host))):
        for i in range(3):
            save(f"model{i}.pt", i)
    assert len(host.written) == 1
    for i in range(3):
        found = evidence(project, f"model{i}.pt")
        assert (found.kind, found.mode, found.bound, found.holds) == ("tdx", "session", True, False)
        assert found.appraisal is not None and found.appraisal.signature and found.appraisal.binding == "matched"


def test_an_artifact_is_asked_for_by_itself(project: Project, mounted: Mounted) -> None:
    host = tdx()
    with project.init(attest=attest("auto", mounted(host), mode="artifact")):
        save("model0.pt")
        save("model1.pt", 1)
    assert len(host.written) == len(set(host.written)) == 3  # once to see whether there is anything
    assert {evidence(project, f"model{i}.pt").mode for i in range(2)} == {"artifact"}


def test_the_firmwares_log_travels_without_its_padding(project: Project, mounted: Mounted, tmp_path: Path) -> None:
    events = [(1, ccel.VARIABLE, b"a kernel"), (2, ccel.VARIABLE, b"an initrd")]
    (tmp_path / "CCEL").write_bytes(ccel.log(events, size=1 << 16))
    world = WORLD.but(rtmr=(*ccel.replay(events)[:2], bytes(48), bytes(48)))
    host = Host(quote=lambda data: world.but(report_data=data).quote())
    with project.init(attest=attest("auto", mounted(host), event_log=tmp_path / "CCEL")):
        save()
    assert evidence(project).appraisal is not None
    carried = project.manifest("model.pt").assertions["c2pa.attestation"]["event-log"]
    assert 0 < len(carried) < 1024


def test_an_snp_machine_stores_the_certificates_that_its_host_hands_out(project: Project, mounted: Mounted) -> None:
    world = Snp()
    ders = world.collateral()
    table, offset = b"", 24 * (len(ders) + 1)
    for i, der in enumerate(ders):
        table += bytes([i + 1] * 16) + offset.to_bytes(4, "little") + len(der).to_bytes(4, "little")
        offset += len(der)
    host = Host(
        provider=b"sev_guest\n",
        quote=lambda data: world.but(report_data=data).report(),
        aux=table + bytes(24) + b"".join(ders),
    )
    with project.init(attest=attest("auto", mounted(host), collateral=())):
        save()
    policy = Policy(roots=project.trust.read_bytes(), evidence_anchor=world.anchor())
    found = atlas.verify("model.pt", policy=policy).nodes[0].evidence
    assert found is not None and found.bound and found.appraisal is not None and found.appraisal.signature, found


# ---------------------------------------------------------------------------------------------------- not attested


def test_without_hardware_auto_records_why_and_goes_on(project: Project, tmp_path: Path) -> None:
    with project.init(attest=attest("auto", tmp_path / "none")):
        save()
    gaps = project.manifest("model.pt").gaps
    assert gaps["hardware evidence"].startswith("not attested: this machine offers no hardware evidence")
    assert node(project).evidence is None
    assert "c2pa.attestation" not in project.manifest("model.pt").assertions


def test_the_word_alone_does_on_any_machine(project: Project) -> None:
    with project.init(attest="auto"):
        save()
    found = node(project).evidence
    assert (found is None) == ("hardware evidence" in project.manifest("model.pt").gaps)


def test_a_host_that_fails_later_costs_one_manifest_its_evidence_and_nothing_else(
    project: Project, mounted: Mounted
) -> None:
    host = tdx()
    with project.init(attest=attest("auto", mounted(host), mode="artifact")):
        save("model0.pt")
        host.errors["read outblob"] = [errno.EIO]
        save("model1.pt", 1)
        save("model2.pt", 2)
    assert [node(project, f"model{i}.pt").evidence is not None for i in range(3)] == [True, False, True]
    assert project.manifest("model1.pt").gaps["hardware evidence"].startswith("not attested: the host could not make")
    assert "hardware evidence" not in project.manifest("model2.pt").gaps


def test_require_stops_before_anything_is_recorded(project: Project, tmp_path: Path) -> None:
    with pytest.raises(NotAttested, match="offers no hardware evidence"):
        project.init(attest=attest("require", tmp_path / "none"))
    assert atlas.recorder.live() is None
    save()
    assert not Path("model.pt.c2pa").exists()


def test_require_refuses_a_root_that_is_not_the_vendors(project: Project, mounted: Mounted) -> None:
    with pytest.raises(NotAttested, match="its own evidence does not hold"):
        project.init(attest=attest("require", mounted(tdx())))


def test_require_without_collateral_says_what_to_fetch(project: Project, mounted: Mounted) -> None:
    with pytest.raises(NotAttested, match="ATLAS_COLLATERAL"):
        project.init(attest=attest("require", mounted(tdx()), collateral=()))


def genuine(**changes: Any) -> Any:
    """What the verifier says of our world, as if its root were the vendor's."""
    from dataclasses import replace

    from atlas.attest import Collateral, verify

    found = verify(
        WORLD.quote(),
        collateral=Collateral(BUNDLE),
        at=NOW,
        anchor=WORLD.anchor(),
        report_data=WORLD.report_data,
        policy=json.dumps({"version": 1, "tdx": {"mrtd": [WORLD.mrtd.hex()]}}).encode(),
    )
    return replace(found, hardware_rooted=True, holds=True, **changes)


def test_require_goes_on_with_genuine_hardware_and_wants_named_software_only_if_a_policy_names_some() -> None:
    unknown = "genuine hardware, unknown software"
    check_own(genuine(), named=True)
    check_own(genuine(appraisal=unknown), named=False)
    for wrong in (
        {"signature": False},
        {"tcb": False},
        {"binding": "mismatch"},
        {"binding": "absent"},
        {"appraisal": "rejected"},
    ):
        with pytest.raises(NotAttested):
            check_own(genuine(**wrong), named=False)
    from dataclasses import replace

    with pytest.raises(NotAttested):
        check_own(replace(genuine(), hardware_rooted=False), named=False)
    with pytest.raises(NotAttested):
        check_own(replace(genuine(appraisal=unknown), holds=False), named=True)


# ----------------------------------------------------------------------------------------------------------- steps


def test_a_step_may_want_more_than_the_run(project: Project, mounted: Mounted) -> None:
    host = tdx()

    @atlas.step(attest="auto:artifact")
    def tune() -> None:
        save("tuned.pt")

    with project.init(attest=attest("auto", mounted(host))):
        save("base.pt", 1)
        tune()
    assert evidence(project, "base.pt").mode == "session"
    found = node(project, "tuned.pt")
    assert found.step == "tune" and found.evidence is not None and found.evidence.mode == "artifact"


def test_a_step_that_requires_evidence_is_not_even_called_without(project: Project, tmp_path: Path) -> None:
    called = []

    @atlas.step(attest="require")
    def tune() -> None:
        called.append(1)

    with project.init(attest=attest("auto", tmp_path / "none")):
        with pytest.raises(NotAttested):
            tune()
        save()
    assert called == []
    assert project.verify("model.pt").answer == "VALID"


def test_words_that_are_none_are_found_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("yes", "auto:both", "require:", ":session"):
        with pytest.raises(UsageError):
            project.init(attest=word)
        with pytest.raises(UsageError):
            atlas.step(attest=word)
    monkeypatch.setenv("ATLAS_ATTEST_PROVIDER", "crystal ball")
    with pytest.raises(UsageError, match="ATLAS_ATTEST_PROVIDER"):
        project.init(attest="auto")


def test_the_environment_says_the_same(project: Project, tmp_path: Path) -> None:
    (tmp_path / "collateral").mkdir()
    (tmp_path / "collateral" / "bundle.json").write_bytes(BUNDLE)
    found = Attest.of("require:session", {"ATLAS_COLLATERAL": str(tmp_path / "collateral")})
    assert (found.level, found.wanted, found.collateral) == ("require", "session", (BUNDLE,))
    assert Attest.of("require", {}).wanted == "artifact" and Attest.of("auto", {}).wanted == "session"
    (tmp_path / "collateral" / "bundle.json").write_bytes(b"no collateral")
    with pytest.raises(atlas.MalformedError):
        Attest.of("auto", {"ATLAS_COLLATERAL": str(tmp_path / "collateral")})


def test_a_child_process_asks_for_nothing_and_its_artifacts_carry_the_owners_evidence(
    project: Project, mounted: Mounted
) -> None:
    host = tdx()
    with project.init(attest=attest("auto", mounted(host))):
        child = os.fork()
        if child == 0:
            try:
                save("child.pt")
            finally:
                atlas.uninstall()
                os._exit(0)
        os.waitpid(child, 0)
    assert len(host.written) == 1
    assert evidence(project, "child.pt").mode == "session"


# ------------------------------------------------------------------------------------------------------- what is shown


def test_the_verdict_says_for_each_manifest_what_was_proven(project: Project, mounted: Mounted) -> None:
    with project.init(attest=attest("auto", mounted(tdx()))):
        save()
    verdict = judged(project)
    text = verdict.explain()
    assert "TDX evidence for its run: verified under a given anchor, not hardware-rooted, unknown software" in text
    plain = json.loads(verdict.to_json())["nodes"][0]
    assert plain["step"] == "" and plain["evidence"]["appraisal"]["signature"] == "valid"
    assert plain["evidence"]["holds"] is False and plain["evidence"]["mode"] == "session"


# ------------------------------------------------------------------------------------------------- the log of the run


def test_the_log_of_the_run_tells_what_came_before_each_signature_and_replays(
    project: Project, mounted: Mounted, measured: Measured, tmp_path: Path
) -> None:
    registers = Registers()
    register = measured(registers)

    def quote(data: bytes) -> bytes:
        value = registers.values["rtmr3:sha384"]
        return WORLD.but(report_data=data, rtmr=(*WORLD.rtmr[:3], value)).quote()

    save("base.pt")
    wanted = attest(
        "auto", mounted(Host(quote=quote)), mode="artifact", register=register, log_folder=tmp_path / "log"
    )
    with project.init(attest=wanted) as run:
        torch.load("base.pt")
        save("model0.pt", 1)
        save("model1.pt", 2)
        assert run.gaps == ()
    for i, operations in enumerate((
        ["run-start", "model-load", "checkpoint"],
        ["run-start", "model-load", "checkpoint", "manifest-sign", "checkpoint"],
    )):
        carried = project.manifest(f"model{i}.pt").assertions["c2pa.attestation"]["runtime-log"].decode()
        init, *lines = carried.splitlines()
        assert init.startswith("INIT/sha384 0000") and [line.split()[1] for line in lines] == operations
        found = evidence(project, f"model{i}.pt").appraisal
        assert found is not None
        assert {c.id: c.status for c in found.checks}["tdx.runtime_log"] == "passed", found.explain()
    signed = project.manifest("model0.pt")
    assert f"sha256:{hashlib.sha256(Path('model0.pt.c2pa').read_bytes()).hexdigest()}" in carried
    assert signed.urn


def test_a_register_that_fails_costs_the_log_and_no_manifest(
    project: Project, mounted: Mounted, measured: Measured, tmp_path: Path
) -> None:
    register = measured(Registers(deaf=True))
    wanted = attest("auto", mounted(tdx()), mode="artifact", register=register, log_folder=tmp_path / "log")
    with pytest.warns(atlas.errors.AtlasWarning, match="run-time log"), project.init(attest=wanted) as run:
        save()
        assert any("keeping the run-time log" in gap.what or "register" in gap.reason for gap in run.gaps)
    assert evidence(project).mode == "artifact"
    assert "runtime-log" not in project.manifest("model.pt").assertions["c2pa.attestation"]


def test_sign_by_hand_takes_evidence_for_the_artifact_or_says_why_not(
    project: Project, mounted: Mounted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.cli import main

    Path("data.bin").write_bytes(b"data")
    words = ["sign", "data.bin", "--key", str(project.key)]
    monkeypatch.setattr(tsm, "REPORTS", str(mounted(tdx())))
    assert main([*words, "--attest", "auto"]) == 0
    assert evidence(project, "data.bin").mode == "artifact"
    assert main([*words, "--attest", "auto:session"]) == 2
    Path("data.bin.c2pa").unlink()
    assert main([*words, "--attest", "require"]) == 6
    assert "ATLAS_COLLATERAL" in capsys.readouterr().err
    assert not Path("data.bin.c2pa").exists()
    monkeypatch.setattr(tsm, "REPORTS", "/none")
    assert main([*words, "--attest", "auto"]) == 0
    assert project.manifest("data.bin").gaps["hardware evidence"].startswith("not attested")
