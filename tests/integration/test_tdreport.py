"""What a TDX guest says of itself: shown, and never taken for evidence."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from forge_attest.pki import NOW
from tsm_fuse import Device, Host, TdxGuest

from atlas import tdreport
from atlas.attest import Collateral, verify
from atlas.cli import main
from atlas.errors import MalformedError, UsageError
from atlas.tsm import CollectError

DATA = bytes(range(64))


def tdreport_of(data: bytes) -> bytes:
    """REPORTMACSTRUCT, TEE_TCB_INFO, TDINFO."""
    info = bytes(8) + b"\x04\x01\x05" + bytes(13) + b"\x5e" * 48 + bytes(167)
    guest = struct.pack("<QQ", 1 << 28, 0x602E7) + b"\xa1" * 48 + bytes(144)
    guest += b"".join(bytes([0xB0 + i]) * 48 for i in range(4)) + bytes(112)
    digests = hashlib.sha384(info).digest() + hashlib.sha384(guest).digest()
    head = b"\x81" + bytes(31) + digests + data + bytes(32) + hashlib.sha256(b"mac").digest()
    assert (len(head), len(info), len(guest)) == (256, 239, 512)
    return head + info + bytes(17) + guest


Mounted = Callable[..., Path]


def ask(device: Path) -> tuple[str, Any]:
    """In a process of its own: Python keeps its lock during this ioctl, and the file system is served by this one."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def read() -> None:
        try:
            theirs.send(("fields", tdreport.read(DATA, device=device)))
        except MalformedError as error:
            theirs.send(("malformed", error.text))
        except CollectError as error:
            theirs.send(("refused", error.reason))

    child = context.Process(target=read)
    child.start()
    try:
        assert ours.poll(20), "no answer"
        return cast("tuple[str, Any]", ours.recv())
    finally:
        child.kill()
        child.join()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    served: list[TdxGuest] = []

    def mount(report: Callable[[bytes], bytes] = tdreport_of, **errors: list[int]) -> Path:
        place = tmp_path / "dev"
        place.mkdir()
        guest = TdxGuest(
            place, Host(errors={name.replace("_", " ", 1): e for name, e in errors.items()}), Device(report)
        )
        try:
            path = guest.__enter__()
        except OSError as error:
            pytest.skip(f"FUSE cannot be mounted here: {error}")
        served.append(guest)
        return path / "tdx_guest"

    yield mount
    for guest in served:
        guest.__exit__()


def test_the_fields_of_the_report_are_shown(mounted: Mounted) -> None:
    said, fields = ask(mounted())
    assert said == "fields"
    assert fields["mrtd"] == b"\xa1" * 48 and fields["xfam"] == struct.pack("<Q", 0x602E7)
    assert [fields[f"rtmr{i}"] for i in range(4)] == [bytes([0xB0 + i]) * 48 for i in range(4)]
    assert fields["tee_tcb_svn"][:3] == b"\x04\x01\x05" and fields["mrseam"] == b"\x5e" * 48


def test_a_tdreport_is_no_evidence() -> None:
    for kind in (None, "tdx", "snp"):
        with pytest.raises((MalformedError, OSError)):
            verify(tdreport_of(DATA), collateral=Collateral(), at=NOW, kind=kind)  # type: ignore[arg-type]


def flipped(place: int) -> Callable[[bytes], bytes]:
    def report(data: bytes) -> bytes:
        whole = bytearray(tdreport_of(data))
        whole[place] ^= 1
        return bytes(whole)

    return report


@pytest.mark.parametrize("place", [0, 32, 79, 80, 127, 256, 494, 512, 530, 1023])
def test_a_report_that_is_not_whole_says_nothing(mounted: Mounted, place: int) -> None:
    assert ask(mounted(flipped(place))) == ("malformed", "not a TDREPORT")


def test_a_report_about_something_else_is_refused(mounted: Mounted) -> None:
    assert ask(mounted(lambda _: tdreport_of(bytes(64)))) == ("refused", "WRONG_REPORT_DATA")


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ({"open_tdx_guest": [errno.EACCES]}, "PERMISSION"),
        ({"ioctl": [errno.EIO]}, "HOST_FAILED"),
        ({"ioctl": [errno.ENOTTY]}, "FAILED"),
    ],
)
def test_each_failure_has_its_name(mounted: Mounted, errors: dict[str, list[int]], reason: str) -> None:
    assert ask(mounted(**errors)) == ("refused", reason)


def test_outside_a_guest_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(CollectError) as caught:
        tdreport.read(DATA, device=tmp_path / "tdx_guest")
    assert caught.value.reason == "NOT_AVAILABLE"
    (tmp_path / "tdx_guest").write_bytes(tdreport_of(DATA))  # a plain file answers no ioctl
    with pytest.raises(CollectError):
        tdreport.read(DATA, device=tmp_path / "tdx_guest")
    with pytest.raises(UsageError):
        tdreport.read(bytes(63))


def test_the_command_shows_the_guest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tdreport, "read", lambda: {"rtmr3": b"\xb3" * 48})
    assert main(["attest", "info", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["verified"] is False
    assert shown["machine"]["tdx_guest"]["offered"] == "yes"
    assert shown["machine"]["tdx_guest"]["rtmr3"] == "b3" * 48
