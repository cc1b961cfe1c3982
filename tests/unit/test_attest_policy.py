"""Appraisal policies: what is read, and what is refused because it would not say what it seems to say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from forge_attest.pki import NOW
from forge_attest.tdx import Tdx

from atlas.attest import Collateral, kind_of, parse_time, verify
from atlas.errors import MalformedError, UsageError

WORLD = Tdx()
FAR = 253402300799  # 9999-12-31T23:59:59Z
QUOTE = WORLD.quote()
BUNDLE = json.dumps(WORLD.bundle()).encode()


def read(policy: Any) -> None:
    text = policy if isinstance(policy, bytes) else json.dumps(policy).encode()
    verify(QUOTE, collateral=Collateral(BUNDLE), at=NOW, anchor=WORLD.anchor(), policy=text)


GOOD: list[dict[str, Any]] = [
    {"version": 1},
    {"version": 1, "tdx": {}, "snp": {}, "nvidia": {}},
    {"version": 1, "require_binding": False},
    {"version": 1, "tdx": {"accept_status": ["UpToDate", "TDRelaunchAdvised"], "mrtd": ["AB" * 48, "ab" * 48]}},
    {"version": 1, "tdx": {"accept_status": []}},
    {"version": 1, "tdx": {"runtime_log_start": "warn", "require_runtime_log": True}},
    {"version": 1, "tdx": {"collateral_grace_seconds": 2**53}},
    {"version": 1, "snp": {"minimum_tcb": {"bootloader": 255, "tee": 0, "snp": 0, "microcode": 0, "fmc": 255}}},
    {"version": 1, "nvidia": {"references": [{"driver": "1", "vbios": "2", "measurements": {}}]}},
]


@pytest.mark.parametrize("policy", GOOD)
def test_a_policy_is_read(policy: dict[str, Any]) -> None:
    read(policy)


def tdx(**rules: Any) -> dict[str, Any]:
    return {"version": 1, "tdx": rules}


BAD: list[Any] = [
    b"",
    b"[]",
    b"{}",
    b'{"version":1,"version":1}',
    b'{"version":1} ,',
    {"version": 2},
    {"version": "1"},
    {"version": 1.0},
    {"version": True},
    {"version": 1, "tdxx": {}},
    {"version": 1, "tdx": []},
    {"version": 1, "require_binding": 1},
    tdx(mrtdd=["00" * 48]),
    tdx(runtime_log_start="accept"),
    tdx(runtime_log_start=True),
    tdx(require_runtime_log="yes"),
    tdx(require_runtime_log=1),
    tdx(mrtd="00" * 48),
    tdx(mrtd=[]),
    tdx(mrtd=["00" * 47]),
    tdx(mrtd=["00" * 49]),
    tdx(mrtd=["0x" + "00" * 47]),
    tdx(mrtd=[None]),
    tdx(accept_status=["Revoked"]),
    tdx(accept_status=["NotSupported"]),
    tdx(accept_status=["MeetsMinimum"]),
    tdx(accept_status=["uptodate"]),
    tdx(accept_status=[1]),
    tdx(accept_status="UpToDate"),
    tdx(collateral_grace_seconds=-1),
    tdx(collateral_grace_seconds=2**53 + 1),
    tdx(collateral_grace_seconds=1, platform_grace_seconds=1),
    tdx(min_tcb_date="2026-01-01"),
    tdx(min_tcb_date="2026-13-01T00:00:00Z"),
    tdx(min_tcb_date="2025-02-29T00:00:00Z"),
    tdx(min_tcb_date="2025-02-28T24:00:00Z"),
    tdx(min_tcb_date="1969-12-31T00:00:00Z"),
    tdx(reject_advisories=[1]),
    tdx(attributes={"mask": "00" * 8}),
    tdx(attributes={"mask": "00" * 8, "value": "01" * 8}),
    tdx(attributes={"mask": "00" * 7, "value": "00" * 7}),
    tdx(attributes={"mask": "00" * 8, "value": "00" * 8, "more": 1}),
    tdx(sept_ve_enabled="ignore"),
    tdx(migratable=True),
    tdx(debug="allow"),
    {"version": 1, "snp": {"minimum_tcb": {"bootloader": 256, "tee": 0, "snp": 0, "microcode": 0}}},
    {"version": 1, "snp": {"minimum_tcb": {"bootloader": 1}}},
    {"version": 1, "snp": {"measurement": ["00" * 32]}},
    {"version": 1, "snp": {"debug": "allow"}},
    {"version": 1, "nvidia": {"references": [{"driver": "1", "vbios": "2"}]}},
    {"version": 1, "nvidia": {"references": [{"driver": "1", "vbios": "2", "measurements": {}, "x": 1}]}},
    b'{"version":1,"tdx":' + b"[" * 40 + b"]" * 40 + b"}",
    b'{"version":1,"a":"\xff"}',
    b'{"version":1,"a":"\n"}',
]


@pytest.mark.parametrize("policy", BAD, ids=range(len(BAD)))
def test_a_policy_that_does_not_say_what_it_seems_to_say_is_refused(policy: Any) -> None:
    with pytest.raises(MalformedError):
        read(policy)


@pytest.mark.parametrize("year", [1970, 1972, 1999, 2000, 2024, 2026, 2100, 2400, 9999])
def test_dates_are_counted_as_the_calendar_has_them(year: int) -> None:
    """By way of the only place where a date of a document comes back: the collateral's window."""
    expected = f"{year:04}-03-01T23:59:58Z"
    world = Tdx(info=lambda d: d | {"nextUpdate": expected}, crl_end=FAR, qe_next=FAR)
    world = world.but(root_end=FAR, ca_end=FAR, pck_end=FAR, signer_end=FAR)
    result = verify(
        world.quote(), collateral=Collateral(json.dumps(world.bundle()).encode()), at=NOW, anchor=world.anchor()
    )
    assert result.collateral_until == expected, result.explain()


def test_times_are_written_in_many_ways_and_mean_one() -> None:
    for text in ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00+01:00", str(NOW), "2026-01-15T12:00:00"):
        assert parse_time(text) == NOW
    assert parse_time("2026-01-15") == NOW - 12 * 3600
    for bad in ("", "yesterday", "2026-02-30"):
        with pytest.raises(UsageError):
            parse_time(bad)


def test_evidence_is_told_apart_by_its_first_bytes() -> None:
    assert kind_of(QUOTE) == "tdx"
    for bad in (b"", b"\x04", b"\x11", b"\x06\0\x02\0", bytes(100)):
        with pytest.raises(MalformedError):
            kind_of(bad)


DATE = "2026-01-02T03:04:05Z"


def test_a_date_is_written_in_one_way() -> None:
    read(tdx(min_tcb_date="2025-01-02T03:04:05Z"))
    wrong = [DATE[:i] + c + DATE[i + 1 :] for i in range(len(DATE)) for c in ":/" if DATE[i] != c]
    for text in [*wrong, DATE[:-1], DATE + "Z", DATE[:-1] + "+00:00", "2026-01-02", ""]:
        with pytest.raises(MalformedError):
            read(tdx(min_tcb_date=text))


PAGES = sorted((Path(__file__).parent.parent.parent / "docs").glob("attest*.md"))


@pytest.mark.parametrize("page", [p for p in PAGES if "```json" in p.read_text("utf-8")], ids=lambda p: p.name)
def test_the_example_of_a_page_is_a_policy(page: Path) -> None:
    for text in re.findall(r"^```json\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        read(text.encode())


def test_the_page_names_every_member_of_a_policy_for_tdx() -> None:
    source = (PAGES[0].parent.parent / "csrc" / "stage" / "attest_policy.c").read_text()
    members = re.findall(r'ATLAS_JSON_OPTIONAL\((?:tdx|snp|gpu|policy)_view, "(\w+)"', source)
    page = (PAGES[0].parent / "attest.md").read_text("utf-8")
    rtmrs = {"rtmr1", "rtmr2"}  # "`rtmr0` to `rtmr3`"
    assert [name for name in members if f"`{name}`" not in page and name not in rtmrs] == ["tpm"]
