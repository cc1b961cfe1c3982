"""Attacks on the log of a run whose lines RTMR3 was extended with."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from forge_attest import ccel, runtime_log
from forge_attest.gpu import Gpu
from forge_attest.pki import NOW
from forge_attest.snp import Snp
from forge_attest.tdx import Tdx, td15
from forge_attest.tpm import Tpm

from atlas import _core
from atlas.attest import Appraisal, Collateral, verify
from atlas.cli import main
from atlas.errors import LimitError, MalformedError, UsageError
from atlas.runtime_log import MAX_LINE_BYTES, MAX_LOG_BYTES, event

LINES = [
    event("run-start", run="9f2c"),
    event("model-load", sha256="00" * 32),
    event("dataset-open", sha256="11" * 32),
    event("checkpoint", sha256="22" * 32),
]
REGISTERS = ccel.replay([(1, ccel.SEPARATOR, bytes(4)), (3, 0x0D, b"kernel command line")])
BOOT = ccel.log([(1, ccel.SEPARATOR, bytes(4)), (3, 0x0D, b"kernel command line")])


def world(value: bytes = runtime_log.replay(LINES), **changes: Any) -> Tdx:
    return td15(rtmr=(*REGISTERS[:3], value), **changes)


def judge(log: bytes | None, tdx: Tdx | None = None, *, event_log: bytes | None = None, **rules: Any) -> Appraisal:
    tdx = tdx or world()
    return verify(
        tdx.quote(),
        collateral=Collateral(json.dumps(tdx.bundle()).encode()),
        at=NOW,
        anchor=tdx.anchor(),
        policy=json.dumps({"version": 1, "tdx": {"mrtd": [tdx.mrtd.hex()]} | rules}).encode(),
        runtime_log=log,
        event_log=event_log,
    )


def statuses(result: Appraisal) -> dict[str, str]:
    return {c.id: c.status for c in result.checks if c.id in ("tdx.event_log", "tdx.runtime_log", "tdx.runtime_start")}


def failed(result: Appraisal) -> set[str]:
    return {check.id for check in result.failures}


def test_the_lines_of_a_run_lead_to_the_register() -> None:
    log = runtime_log.log(LINES)
    assert _core.runtime_log_replay(log) == (bytes(48), runtime_log.replay(LINES), len(LINES))
    result = judge(log)
    assert result.appraisal == "attested"
    assert statuses(result) == {"tdx.runtime_log": "passed", "tdx.runtime_start": "passed"}
    assert statuses(judge(log, event_log=BOOT)) == dict.fromkeys(
        ("tdx.event_log", "tdx.runtime_log", "tdx.runtime_start"), "passed"
    )
    assert statuses(judge(None)) == {}


CHANGED: dict[str, list[bytes]] = {
    "a line changed": [LINES[0], LINES[1].replace(b"00", b"01", 1), *LINES[2:]],
    "the first dropped": LINES[1:],
    "one dropped": [LINES[0], *LINES[2:]],
    "the last dropped": LINES[:-1],
    "all dropped": [],
    "one inserted": [*LINES[:2], event("model-load", sha256="33" * 32), *LINES[2:]],
    "one inserted in front": [event("run-start", run="x"), *LINES],
    "one appended": [*LINES, event("checkpoint", sha256="33" * 32)],
    "two reordered": [LINES[0], LINES[2], LINES[1], LINES[3]],
    "one repeated": [*LINES, LINES[-1]],
    "another boot": [event("run-start", run="another"), *LINES[1:]],
    "a space at an end": [LINES[0] + b" ", *LINES[1:]],
    "two lines joined": [LINES[0] + LINES[1], *LINES[2:]],
}


@pytest.mark.parametrize("lines", CHANGED.values(), ids=CHANGED)
def test_a_log_that_is_not_what_the_register_was_extended_with_is_rejected(lines: list[bytes]) -> None:
    for event_log in (None, BOOT):
        result = judge(runtime_log.log(lines), event_log=event_log)
        assert result.signature and result.tcb and result.appraisal == "rejected"
        assert failed(result) == {"tdx.runtime_log"} and result.failures[0].code == -420


def test_the_log_of_another_boot_explains_nothing_in_this_one() -> None:
    rebooted = world(bytes(48))
    assert failed(judge(runtime_log.log(LINES), rebooted)) == {"tdx.runtime_log"}
    assert judge(runtime_log.log([]), rebooted).appraisal == "attested"


@pytest.mark.parametrize("dropped", range(1, len(LINES) + 1))
def test_a_log_whose_beginning_was_cut_off_names_a_start_that_nobody_knows(dropped: int) -> None:
    start = runtime_log.replay(LINES[:dropped])
    cut = runtime_log.log(LINES[dropped:], start)
    assert failed(judge(cut)) == {"tdx.runtime_start"}
    assert failed(judge(cut, event_log=BOOT)) == {"tdx.runtime_start"}
    assert failed(judge(cut, runtime_log_start="reject")) == {"tdx.runtime_start"}
    warned = judge(cut, runtime_log_start="warn")
    assert warned.appraisal == "attested" and statuses(warned)["tdx.runtime_start"] == "warning"
    assert judge(cut, runtime_log_start="allow").appraisal == "attested"


def test_a_start_that_the_firmwares_log_explains_is_known() -> None:
    events: list[ccel.Event] = [(1, ccel.SEPARATOR, bytes(4)), (4, 0x0D, b"measured by the boot loader")]
    registers = ccel.replay(events)
    tdx = td15(rtmr=(*registers[:3], runtime_log.replay(LINES, registers[3])))
    log = runtime_log.log(LINES, registers[3])
    assert failed(judge(log, tdx)) == {"tdx.runtime_start"}
    assert judge(log, tdx, event_log=ccel.log(events)).appraisal == "attested"
    assert "tdx.event_log" in failed(judge(None, tdx, event_log=ccel.log(events)))
    fitting = td15(rtmr=(*registers[:3], runtime_log.replay(LINES)))
    assert failed(judge(runtime_log.log(LINES), fitting, event_log=ccel.log(events))) == {"tdx.runtime_start"}


def test_the_firmwares_log_still_has_to_explain_the_other_registers() -> None:
    other = ccel.log([(1, ccel.SEPARATOR, bytes(4)), (3, 0x0D, b"another kernel command line")])
    assert failed(judge(runtime_log.log(LINES), event_log=other)) == {"tdx.event_log"}
    assert "tdx.event_log" in failed(judge(runtime_log.log(LINES), event_log=b"no log"))


def test_a_policy_may_want_a_log() -> None:
    assert failed(judge(None, require_runtime_log=True)) == {"tdx.runtime_log"}
    assert judge(None, require_runtime_log=False).appraisal == "attested"
    assert judge(runtime_log.log(LINES), require_runtime_log=True).appraisal == "attested"


GOOD = runtime_log.log(LINES)
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "no start": b"\n".join(LINES) + b"\n",
    "no end": GOOD[:-1],
    "a start in upper case": GOOD.replace(b"INIT/sha384 " + b"0" * 96, b"INIT/sha384 " + b"A" * 96),
    "a start of 47 bytes": GOOD.replace(b"0" * 96, b"0" * 94, 1),
    "a start of 49 bytes": GOOD.replace(b"0" * 96, b"0" * 98, 1),
    "a start of SHA-256": GOOD.replace(b"INIT/sha384", b"INIT/sha256"),
    "a start that is no number": GOOD.replace(b"0" * 96, b"g" * 96, 1),
    "a start that ends in no number": GOOD.replace(b"0" * 96, b"0" * 95 + b":", 1),
    "an empty line": runtime_log.log([LINES[0], b"", *LINES[1:]]),
    "a line end of two bytes": GOOD.replace(b"\n", b"\r\n"),
    "a byte that hides": runtime_log.log([LINES[0] + b"\x1b[2K", *LINES[1:]]),
    "a byte beyond ASCII": runtime_log.log([LINES[0] + "é".encode(), *LINES[1:]]),
    "a NUL": runtime_log.log([LINES[0] + b"\0", *LINES[1:]]),
    "DEL": runtime_log.log([b"\x7f"]),
}


@pytest.mark.parametrize("log", BROKEN.values(), ids=BROKEN)
def test_what_is_no_log_is_refused_as_such(log: bytes) -> None:
    with pytest.raises(MalformedError, match="run-time log"):
        _core.runtime_log_replay(log)
    result = judge(log)
    assert failed(result) == {"tdx.runtime_log"} and result.failures[0].code == -320


def test_a_log_has_its_limits() -> None:
    start = runtime_log.log([])
    assert _core.runtime_log_replay(runtime_log.log([b"x" * MAX_LINE_BYTES]))[2] == 1
    with pytest.raises(LimitError):
        _core.runtime_log_replay(runtime_log.log([b"x" * (MAX_LINE_BYTES + 1)]))
    with pytest.raises(LimitError):
        _core.runtime_log_replay(start + b"x\n" * ((MAX_LOG_BYTES - len(start)) // 2 + 1))
    assert _core.runtime_log_replay(start + b"x\n" * 1000)[2] == 1000


def test_every_byte_flip_and_truncation_of_a_log_is_noticed() -> None:
    chance = random.Random(4)
    value = runtime_log.replay(LINES)
    for n in range(len(GOOD)):
        changed = bytearray(GOOD)
        changed[n] ^= 1 << chance.randrange(8)
        for log in (bytes(changed), GOOD[:n]):
            try:
                assert _core.runtime_log_replay(log)[:2] != (bytes(48), value), n
            except MalformedError:
                continue


OTHERS: dict[str, tuple[bytes, Any]] = {
    "snp": (Snp().report(), "snp"),
    "nvidia": (Gpu().report(), "nvidia"),
    "tpm": (Tpm().evidence(), "tpm"),
}


@pytest.mark.parametrize(("evidence", "kind"), OTHERS.values(), ids=OTHERS)
def test_a_log_is_never_given_to_evidence_that_could_not_check_it(evidence: bytes, kind: Any) -> None:
    with pytest.raises(UsageError, match="no register"):
        verify(evidence, collateral=Collateral(), at=NOW, kind=kind, runtime_log=GOOD)
    if kind != "tpm":
        with pytest.raises(UsageError, match="no register"):
            verify(evidence, collateral=Collateral(), at=NOW, kind=kind, event_log=BOOT)


def test_the_command_replays_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tdx = world()
    files = {
        "quote": tdx.quote(),
        "collateral.json": json.dumps(tdx.bundle()).encode(),
        "root.pem": tdx.anchor(),
        "log": GOOD,
        "changed": runtime_log.log(LINES[1:]),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    words = ["attest", "verify", f"{tmp_path}/quote", "--collateral", f"{tmp_path}/collateral.json", "--at", str(NOW)]
    words += ["--anchor", f"{tmp_path}/root.pem", "--json", "--runtime-log"]
    for log, appraisal in (("log", "unknown software"), ("changed", "rejected")):
        assert main([*words, f"{tmp_path}/{log}"]) == 3
        assert json.loads(capsys.readouterr().out)["appraisal"] == appraisal
