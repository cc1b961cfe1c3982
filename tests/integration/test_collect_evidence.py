"""Collecting evidence from a file system that behaves like configfs-tsm, and every way in which it can fail."""

from __future__ import annotations

import errno
import json
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forge_attest.pki import NOW
from forge_attest.snp import Snp
from forge_attest.tdx import Tdx, td15
from tsm_fuse import Host, Tsm

from atlas import tsm
from atlas.attest import Collateral, verify
from atlas.cli import main
from atlas.errors import UsageError

DATA = bytes(range(64))


def tdx_quote(data: bytes) -> bytes:
    return td15(report_data=data, trailing=bytes(100)).quote()


Mounted = Callable[[Host], Path]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsm, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    mounts: list[Tsm] = []

    def mount(host: Host) -> Path:
        place = tmp_path / f"report{len(mounts)}"
        place.mkdir()
        served = Tsm(place, host)
        try:
            path = served.__enter__()
        except OSError as error:
            pytest.skip(f"FUSE cannot be mounted here: {error}")
        mounts.append(served)
        return path

    yield mount
    for served in mounts:
        served.__exit__()
    assert [left for served in mounts for left in served.host.entries_left] == []


def test_a_quote_is_collected_in_one_write_and_verifies(mounted: Mounted) -> None:
    host = Host(quote=tdx_quote)
    evidence = tsm.collect(DATA, path=mounted(host))
    assert (evidence.kind, evidence.provider, evidence.aux) == ("tdx", "tdx_guest", None)
    assert host.written == [DATA]
    assert len(host.entries_made) == 1
    world = td15(report_data=DATA)
    result = verify(
        evidence.raw,
        collateral=Collateral(json.dumps(world.bundle()).encode()),
        at=NOW,
        anchor=world.anchor(),
        report_data=DATA,
    )
    assert result.signature and result.tcb and result.binding == "matched"
    assert result.claims["trailing_bytes"] == 100


def test_an_snp_report_comes_with_its_certificates(mounted: Mounted) -> None:
    host = Host(provider=b"sev_guest\n", quote=lambda d: Snp(report_data=d).report(), aux=b"certificates")
    evidence = tsm.collect(DATA, path=mounted(host))
    assert (evidence.kind, evidence.aux) == ("snp", b"certificates")


def failing(**errors: list[int]) -> Host:
    return Host(quote=tdx_quote, errors={name.replace("_", " "): codes for name, codes in errors.items()})


FIVE = 5
FAILURES: dict[str, tuple[Host, str]] = {
    "no such provider": (failing(mkdir=[errno.ENXIO]), "NOT_AVAILABLE"),
    "not root": (failing(mkdir=[errno.EACCES]), "PERMISSION"),
    "not allowed": (failing(open_inblob=[errno.EPERM]), "PERMISSION"),
    "host too busy for too long": (failing(read_outblob=[errno.EBUSY] * FIVE), "BUSY"),
    "somebody else every time": (Host(quote=tdx_quote, interfere=FIVE), "INTERFERENCE"),
    "generation race every time": (failing(read_outblob=[errno.EWOULDBLOCK] * FIVE), "INTERFERENCE"),
    "refused argument every time": (failing(write_inblob=[errno.EINVAL] * FIVE), "INTERFERENCE"),
    "quote generation service": (failing(read_outblob=[errno.EIO]), "HOST_FAILED"),
    "quote generation timeout": (failing(read_outblob=[errno.ETIMEDOUT]), "HOST_FAILED"),
    "empty without an error": (Host(quote=lambda _: b""), "EMPTY"),
    "too large": (failing(read_outblob=[errno.EFBIG]), "TOO_LARGE"),
    "anything else": (failing(read_outblob=[errno.ENOMEM]), "FAILED"),
    "an unknown provider": (Host(provider=b"arm_cca_guest\n", quote=tdx_quote), "UNKNOWN_PROVIDER"),
    "a quote made for something else": (Host(quote=lambda _: tdx_quote(bytes(64))), "WRONG_REPORT_DATA"),
    "another quote replayed": (Host(quote=lambda _: Tdx().quote()), "WRONG_REPORT_DATA"),
    "no outblob": (Host(quote=tdx_quote, missing=("outblob",)), "NOT_AVAILABLE"),
}


@pytest.mark.parametrize(("host", "reason"), FAILURES.values(), ids=FAILURES)
def test_each_failure_has_a_name_and_leaves_nothing_behind(mounted: Mounted, host: Host, reason: str) -> None:
    path = mounted(host)
    with pytest.raises(tsm.CollectError) as caught:
        tsm.collect(DATA, path=path)
    assert caught.value.reason == reason
    assert caught.value.code == f"ATLAS_COLLECT_{reason}"
    assert list(host.entries_made) == list(dict.fromkeys(host.entries_made))


@pytest.mark.parametrize("host", [failing(read_outblob=[errno.EBUSY] * 4), Host(quote=tdx_quote, interfere=4)])
def test_what_may_pass_is_tried_again_with_a_new_entry(mounted: Mounted, host: Host) -> None:
    assert tsm.collect(DATA, path=mounted(host)).kind == "tdx"
    assert len(set(host.entries_made)) == 5


def test_something_that_is_no_quote_is_malformed(mounted: Mounted) -> None:
    with pytest.raises(ValueError, match="quote"):
        tsm.collect(DATA, path=mounted(Host(quote=lambda _: b"not a quote at all")))


def test_without_the_directory_there_is_no_hardware(tmp_path: Path) -> None:
    with pytest.raises(tsm.CollectError, match="no hardware evidence") as caught:
        tsm.collect(DATA, path=tmp_path / "absent")
    assert caught.value.reason == "NOT_AVAILABLE"
    with pytest.raises(tsm.CollectError) as caught:  # a plain directory is no configfs: nothing is imitated
        tsm.collect(DATA, path=tmp_path)
    assert caught.value.reason == "NOT_AVAILABLE"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_has_64_bytes(tmp_path: Path, size: int) -> None:
    with pytest.raises(UsageError):
        tsm.collect(bytes(size), path=tmp_path)


def test_the_command_collects_into_a_new_file(
    mounted: Mounted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mounted(Host(quote=tdx_quote, aux=b"more"))
    out = tmp_path / "quote.bin"
    words = ["attest", "collect", "--tsm", str(path), "--out", str(out), "--json"]
    assert main([*words, "--report-data", DATA.hex()]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["kind"] == "tdx" and shown["report_data"] == DATA.hex()
    assert stat.S_ISREG(out.stat().st_mode) and out.read_bytes() == tdx_quote(DATA)
    assert Path(f"{out}.aux").read_bytes() == b"more"
    assert main(words) == 6  # never overwritten
    assert out.read_bytes() == tdx_quote(DATA)
    assert secrets.token_hex(1)
