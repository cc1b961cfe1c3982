"""The log of a run in a register that behaves like the kernel's, and every way in which keeping it can fail."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forge_attest import runtime_log as forged
from forge_attest.pki import NOW
from forge_attest.tdx import td15
from tsm_fuse import Host, Measurements, Registers, Tsm

from atlas import runtime_log, tsm
from atlas.attest import Collateral, verify
from atlas.cli import main
from atlas.errors import SystemFailure, UsageError
from atlas.runtime_log import RegisterError, RuntimeLog, event

NAME = "rtmr3:sha384"
DATA = bytes(range(64))
LINES = [event("run-start", run="9f2c"), event("model-load", sha256="00" * 32), event("checkpoint", sha256="11" * 32)]

Mounted = Callable[..., RuntimeLog]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    mounts: list[Tsm] = []

    def mount(registers: Registers, host: Host | None = None, folder: str = "kept") -> RuntimeLog:
        place = tmp_path / f"measurements{len(mounts)}"
        place.mkdir()
        served = Measurements(place, host or Host(), registers)
        try:
            path = served.__enter__()
        except OSError as error:
            pytest.skip(f"FUSE cannot be mounted here: {error}")
        mounts.append(served)
        return RuntimeLog(path / NAME, tmp_path / folder)

    yield mount
    for served in mounts:
        served.__exit__()


def test_each_line_is_one_write_and_the_log_explains_the_register(mounted: Mounted) -> None:
    registers = Registers()
    log = mounted(registers)
    assert log.offered
    log.start()
    assert log.snapshot() == forged.log([])
    for line in LINES:
        log.extend(line)
    assert log.snapshot() == forged.log(LINES)
    assert registers.values[NAME] == forged.replay(LINES)
    assert [len(write) for write in registers.writes] == [48] * len(LINES)
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_quote_that_is_collected_while_the_log_is_frozen_verifies_with_it(mounted: Mounted, tmp_path: Path) -> None:
    registers = Registers()
    log = mounted(registers)
    log.start()
    log.extend(LINES[0])

    def quote(data: bytes) -> bytes:
        return td15(report_data=data, rtmr=tuple(registers.values[f"rtmr{i}:sha384"] for i in range(4))).quote()

    (tmp_path / "reports").mkdir()
    with Tsm(tmp_path / "reports", Host(quote=quote)) as reports, log.frozen() as lines:
        evidence = tsm.collect(DATA, path=reports)
    log.extend(LINES[1])  # tells of what came after the quote
    world = td15()

    def appraise(told: bytes) -> str:
        policy = json.dumps({"version": 1, "tdx": {"mrtd": [world.mrtd.hex()], "require_runtime_log": True}}).encode()
        collateral = Collateral(json.dumps(world.bundle()).encode())
        arguments = {"collateral": collateral, "at": NOW, "anchor": world.anchor(), "policy": policy}
        return verify(evidence.raw, runtime_log=told, **arguments).appraisal  # type: ignore[arg-type]

    assert appraise(lines) == "attested"
    assert appraise(log.snapshot()) == "rejected"


def test_a_later_run_of_the_same_boot_goes_on_with_the_log(mounted: Mounted) -> None:
    registers = Registers()
    log = mounted(registers)
    for line in LINES:
        RuntimeLog(log.register, log.folder).start()
        RuntimeLog(log.register, log.folder).extend(line)
    assert log.snapshot() == forged.log(LINES)


def test_after_a_boot_the_old_log_is_not_taken_for_the_new_one(mounted: Mounted) -> None:
    log = mounted(Registers())
    log.start()
    log.extend(LINES[0])
    log.extend(LINES[2])
    rebooted = mounted(Registers())
    with pytest.raises(RegisterError) as caught:
        rebooted.extend(LINES[1])
    assert caught.value.reason == "SHARED"
    rebooted.start()
    assert rebooted.snapshot() == forged.log([])
    rebooted.extend(LINES[1])
    assert rebooted.snapshot() == forged.log(LINES[1:2])


def test_a_register_that_was_extended_before_is_said_to_start_there(mounted: Mounted) -> None:
    registers = Registers()
    registers.extend(NAME, bytes(48))
    before = registers.values[NAME]
    log = mounted(registers)
    log.start()
    log.extend(LINES[0])
    assert log.snapshot() == forged.log(LINES[:1], before)
    assert registers.values[NAME] == forged.replay(LINES[:1], before)


def test_a_program_that_extends_the_register_beside_atlas_is_noticed(mounted: Mounted) -> None:
    registers = Registers()
    log = mounted(registers)
    log.start()
    log.extend(LINES[0])
    registers.extend(NAME, bytes(48))
    for ask in (log.snapshot, lambda: log.extend(LINES[1])):
        with pytest.raises(RegisterError) as caught:
            ask()
        assert caught.value.reason == "SHARED" and caught.value.code == "ATLAS_REGISTER_SHARED"
    assert len(registers.writes) == 1
    registers.others = 1
    log.start()
    with pytest.raises(RegisterError) as caught:
        log.extend(LINES[1])
    assert caught.value.reason == "SHARED"


def test_a_process_that_died_between_file_and_register_leaves_no_line(mounted: Mounted) -> None:
    registers = Registers()
    log = mounted(registers)
    log.start()
    log.extend(LINES[0])
    for rest in (LINES[1] + b"\n", LINES[1][:10], LINES[1] + b"\n" + LINES[2][:10]):
        with log.path.open("ab") as file:
            file.write(rest)
        assert log.snapshot() == forged.log(LINES[:1])
    with log.path.open("ab") as file:
        file.write(LINES[1] + b"\n" + LINES[2] + b"\n")  # more than one process can leave
    with pytest.raises(RegisterError):
        log.snapshot()


def failing(**errors: int) -> Host:
    return Host(errors={f"{name} {NAME}": [code] for name, code in errors.items()})


FAILURES: dict[str, tuple[Host, Registers, str]] = {
    "an older kernel": (Host(missing=(NAME,)), Registers(), "NOT_AVAILABLE"),
    "not root": (failing(open=errno.EACCES), Registers(), "PERMISSION"),
    "no device": (failing(read=errno.ENXIO), Registers(), "NOT_AVAILABLE"),
    "not allowed": (failing(write=errno.EPERM), Registers(), "PERMISSION"),
    "the module refuses": (failing(write=errno.EIO), Registers(), "FAILED"),
    "32 bytes": (Host(), Registers({NAME: bytes(32)}), "NOT_A_REGISTER"),
    "64 bytes": (Host(), Registers({NAME: bytes(64)}), "NOT_A_REGISTER"),
    "nothing happens": (Host(), Registers(deaf=True), "UNCHANGED"),
}


@pytest.mark.parametrize(("host", "registers", "reason"), FAILURES.values(), ids=FAILURES)
def test_each_failure_has_a_name_and_leaves_no_line(
    mounted: Mounted, host: Host, registers: Registers, reason: str
) -> None:
    log = mounted(registers, host)
    with pytest.raises(RegisterError) as caught:
        log.start()
        log.extend(LINES[0])
    assert caught.value.reason == reason and caught.value.code == f"ATLAS_REGISTER_{reason}"
    assert str(log.register) in str(caught.value)
    assert log.path.read_bytes() in (b"", forged.log([]))


def test_registers_that_only_firmware_extends_refuse(mounted: Mounted) -> None:
    log = mounted(Registers())
    other = RuntimeLog(log.register.with_name("rtmr1:sha384"), log.folder)
    other.start()
    with pytest.raises(RegisterError):
        other.extend(LINES[0])


def test_without_a_register_nothing_is_imitated(tmp_path: Path) -> None:
    log = RuntimeLog(tmp_path / NAME, tmp_path / "kept")
    assert not log.offered
    with pytest.raises(RegisterError) as caught:
        log.start()
    assert caught.value.reason == "NOT_AVAILABLE" and list(tmp_path.glob(NAME)) == []
    (tmp_path / NAME).write_bytes(bytes(48))  # a plain file extends nothing
    log.start()
    with pytest.raises(RegisterError) as caught:
        log.extend(LINES[0])
    assert caught.value.reason == "SHARED"


def test_a_log_that_was_not_started_or_cannot_be_kept_says_so(mounted: Mounted, tmp_path: Path) -> None:
    log = mounted(Registers())
    with pytest.raises(UsageError, match="not started"):
        log.extend(LINES[0])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SystemFailure, match="cannot be kept"):
        RuntimeLog(log.register, tmp_path / "file").start()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / runtime_log.FILE).symlink_to(tmp_path / "file")
    with pytest.raises(SystemFailure, match="cannot be kept"):
        RuntimeLog(log.register, tmp_path / "elsewhere").start()


@pytest.mark.parametrize("line", [b"", b"two\nlines", b"\r", b"\x7f", "é".encode(), b"x" * 8192])
def test_what_is_no_line_is_never_extended(mounted: Mounted, line: bytes) -> None:
    registers = Registers()
    log = mounted(registers)
    log.start()
    with pytest.raises(UsageError):
        log.extend(line)
    assert registers.writes == []


def test_a_log_stays_within_its_limit(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_log, "MAX_LOG_BYTES", 200)
    log = mounted(Registers())
    log.start()
    with pytest.raises(SystemFailure, match="longer than 200 bytes"):
        log.extend(b"x" * 100)
    assert log.snapshot() == forged.log([])


def test_an_event_is_a_line_whatever_it_holds() -> None:
    line = event("model-load", name="é\n\x7f\x00", sha256="00")
    assert line == b'org.atlasml/v1 model-load {"name":"\\u00e9\\n\\u007f\\u0000","sha256":"00"}'
    assert json.loads(line.split(b" ", 2)[2]) == {"name": "é\n\x7f\x00", "sha256": "00"}


def test_the_command_writes_the_log_that_goes_with_the_quote(
    mounted: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = mounted(Registers())
    monkeypatch.setattr(runtime_log, "REGISTER", str(log.register))
    monkeypatch.setattr(runtime_log, "FOLDER", str(log.folder))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    words = ["attest", "collect", "--tsm", "reports", "--out", "quote", "--runtime-log", "lines"]
    with Tsm(tmp_path / "reports", Host(quote=lambda data: td15(report_data=data).quote())):
        assert main(words) == 2  # not started
        assert main([*words, "--provider", "tpm"]) == 2
        log.start()
        log.extend(LINES[0])
        assert main(words) == 0
    assert (tmp_path / "lines").read_bytes() == forged.log(LINES[:1])


def _extend(log: RuntimeLog, name: str) -> None:
    for n in range(5):
        log.extend(f"{name} {n}".encode())


def test_processes_share_one_log_and_none_loses_a_line(mounted: Mounted) -> None:
    registers = Registers()
    log = mounted(registers)
    log.start()
    workers = [multiprocessing.get_context("fork").Process(target=_extend, args=(log, f"p{n}")) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    lines = log.snapshot().splitlines()[1:]
    assert sorted(lines) == sorted(f"p{n} {k}".encode() for n in range(3) for k in range(5))
    assert registers.values[NAME] == forged.replay(lines)


def test_whoever_keeps_the_log_for_too_long_is_named(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    log = mounted(Registers())
    log.start()
    monkeypatch.setattr(runtime_log, "_PATIENCE", 0.05)
    with log.frozen(), pytest.raises(RegisterError) as caught:
        log.extend(LINES[0])
    assert caught.value.reason == "BUSY"
    log.extend(LINES[0])
    assert os.path.getsize(log.path) == len(forged.log(LINES[:1]))  # noqa: PTH202
