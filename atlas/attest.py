"""Hardware evidence: collect it from the kernel, verify it offline at a given time.

    collateral = Collateral.load("collateral.json")              # a bundle, or any number of files and directories
    result = verify(Path("quote.bin").read_bytes(), collateral=collateral, at="2026-02-18T12:00:00Z", policy=policy)
    result.holds            # signature, TCB and appraisal, under the vendor's own root
    result.require()        # or an exception that says why not

The three results are never mixed up: `signature` (genuine hardware, unchanged), `tcb` (firmware that the policy
accepts) and `appraisal` (the software that the policy names). Nothing here uses the network.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from atlas import _core
from atlas.errors import MalformedError, UsageError, VerificationError
from atlas.files import read_regular

Kind = Literal["tdx", "snp", "nvidia", "tpm", "azure"]

MAX_EVIDENCE_BYTES = 16 << 20
MAX_COLLATERAL_FILES = 64
_STATUS_WORDS = {"passed": "ok", "failed": "FAILED", "not_checked": "not checked", "warning": "warning", "not_run": "-"}


def parse_time(at: int | str | datetime) -> int:
    """Unix time of a number, a datetime with a zone, or "2026-02-18" or "2026-02-18T10:58:51Z"."""
    if isinstance(at, int):
        return at
    if isinstance(at, str):
        if at.isdecimal():
            return int(at)
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            raise UsageError(f"not a time: {at!r}", hint="write 2026-02-18T10:58:51Z") from None
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
    if at.tzinfo is None:
        raise UsageError("a time without a zone")
    return int(at.timestamp())


def format_time(at: int) -> str | None:
    """The time as text; None for "none"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def kind_of(evidence: bytes) -> Kind:
    """What the first bytes say this is."""
    if evidence[:2] in (b"\x04\x00", b"\x05\x00") and evidence[2:4] != b"\0\0":
        return "tdx"
    if evidence[:1] in (b"\x02", b"\x03", b"\x04", b"\x05") and evidence[1:4] == b"\0\0\0":
        return "snp"
    if evidence[:2] == b"\x11\xe0" or evidence[:4].lower() == b"11e0":
        return "nvidia"
    if evidence[:1] and evidence[0] & 0xE0 == 0xA0 and b"\x65atlas\x6ctpm-evidence" in evidence:
        return "azure" if "tee" in _core.cbor_decode(evidence) else "tpm"
    if not evidence:
        raise MalformedError("the evidence is empty: the host gave no quote", code="ATLAS_E_EVIDENCE")
    raise MalformedError(
        "neither a TDX quote nor an SEV-SNP report nor an NVIDIA GPU report nor a TPM quote",
        code="ATLAS_E_EVIDENCE",
        offset=0,
    )


def tdx_quote_of(evidence: bytes) -> bytes:
    """The TDX quote inside evidence of a confidential VM on Azure; empty where there is none (SEV-SNP). Unverified."""
    tee = _core.cbor_decode(evidence).get("tee")
    quote = tee.get("quote", b"") if isinstance(tee, dict) else b""
    return quote if isinstance(quote, bytes) else b""


# ------------------------------------------------------------------------------------------------- collateral


class Collateral:
    """What vendors say, from files: bundles of dcap-qvl, PCS answers, Intel's structure dumps, certificates, CRLs.

    One object may serve many verifications: what it has verified once it does not verify again. One thread at a time.
    """

    def __init__(self, *files: bytes) -> None:
        self.core = _core.Collateral()
        for data in files:
            self.core.add(data)

    @classmethod
    def load(cls, *paths: str | os.PathLike[str]) -> Collateral:
        collateral = cls()
        for path in expand(paths):
            try:
                collateral.core.add(read_regular(path, limit=MAX_EVIDENCE_BYTES))
            except MalformedError as error:
                error.where = f"{path}: {error.where}" if error.where else str(path)
                raise
        return collateral


def expand(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Files as they are, directories as the files in them, by name."""
    for path in map(Path, paths):
        if not stat.S_ISDIR(path.stat().st_mode):
            yield path
            continue
        files = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
        if len(files) > MAX_COLLATERAL_FILES:
            raise UsageError(f"more than {MAX_COLLATERAL_FILES} files of collateral", where=str(path))
        yield from files


# ----------------------------------------------------------------------------------------------------- result


@dataclass(frozen=True, slots=True)
class EvidenceCheck:
    """One check: `status` is passed, failed, not_checked, warning or not_run."""

    id: str
    group: Literal["signature", "tcb", "appraisal"]
    status: Literal["passed", "failed", "not_checked", "warning", "not_run"]
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class TcbEvaluation:
    status: str
    platform: str
    module: str
    qe: str
    date: str | None
    advisories: tuple[str, ...]

    @classmethod
    def of(cls, raw: dict[str, Any]) -> TcbEvaluation:
        return cls(**(raw | {"date": format_time(raw["date"]), "advisories": tuple(raw["advisories"])}))


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What the verification of one piece of evidence came to. Truthy only when everything holds."""

    kind: Kind
    at: int
    signature: bool
    tcb: bool
    appraisal: Literal["not_run", "rejected", "unknown software", "genuine hardware, unknown software", "attested"]
    binding: Literal["absent", "matched", "mismatch", "zero"]
    trust: Literal["none", "self-asserted", "pinned", "certified", "tee"]
    software: bool
    hardware_rooted: bool
    anchor: str
    anchor_sha256: str
    tcb_status: str
    launch: TcbEvaluation
    current: TcbEvaluation
    evaluation_number: int
    collateral_from: str | None
    collateral_until: str | None
    checks: tuple[EvidenceCheck, ...]
    claims: dict[str, Any]
    holds: bool

    @classmethod
    def of(cls, raw: dict[str, Any], claims: dict[str, Any] | None = None) -> Appraisal:
        """From what the core says; claims: the fields of the evidence."""
        return cls(
            **raw
            | {
                "anchor_sha256": (raw["anchor_sha256"] or b"").hex(),
                "launch": TcbEvaluation.of(raw["launch"]),
                "current": TcbEvaluation.of(raw["current"]),
                "collateral_from": format_time(raw["collateral_from"]),
                "collateral_until": format_time(raw["collateral_until"]),
                "checks": tuple(EvidenceCheck(*check) for check in raw["checks"]),
                "claims": claims or {},
            }
        )

    def __bool__(self) -> bool:
        return self.holds

    @property
    def failures(self) -> tuple[EvidenceCheck, ...]:
        return tuple(check for check in self.checks if check.status == "failed")

    @property
    def answer(self) -> str:
        """One word or phrase for people; `holds` is the one for programs."""
        if not self.signature:
            return "NOT GENUINE" if not self.incomplete else "INCOMPLETE"
        if not self.tcb or self.appraisal == "rejected":
            return "NOT ACCEPTED"
        if not self.hardware_rooted:
            under = "VALID QUOTE" if self.kind == "tpm" else "VERIFIED UNDER A GIVEN ANCHOR"
            return f"{under}, NOT HARDWARE-ROOTED" + (", UNKNOWN SOFTWARE" if self.appraisal != "attested" else "")
        return "ATTESTED" if self.appraisal == "attested" else "GENUINE HARDWARE, UNKNOWN SOFTWARE"

    @property
    def incomplete(self) -> bool:
        """Something that the verification needs was not given."""
        return any(check.code == -202 for check in self.failures)

    @property
    def exit_code(self) -> int:
        """0 holds; 1 not genuine; 3 genuine, but not accepted; 4 something is missing."""
        if self.holds:
            return 0
        if self.incomplete:
            return 4
        return 3 if self.signature else 1

    def require(self) -> Appraisal:
        """Itself, or a VerificationError that says what does not hold. A root that is not the vendor's never does."""
        if self.holds:
            return self
        reasons = [f"{check.id}: {check.text}" for check in self.failures]
        reasons += [f"{c.id}: {c.text}" for c in self.checks if c.status == "not_checked" and c.group != "signature"]
        if self.signature and not self.hardware_rooted:
            reasons.append("the root is not the hardware vendor's own")
        if not reasons:
            reasons.append("the policy names no measurement")
        raise VerificationError(
            f"{self.answer.lower()}: " + "; ".join(reasons), code="ATLAS_E_EVIDENCE", where=f"{self.kind} evidence"
        )

    def to_dict(self) -> dict[str, Any]:
        tcb = {
            "holds": self.tcb,
            "status": self.tcb_status,
            "advisories": sorted({*self.launch.advisories, *self.current.advisories}),
            "date": self.launch.date,
            "launch": dataclasses.asdict(self.launch),
            "current": dataclasses.asdict(self.current),
            "evaluation_data_number": self.evaluation_number,
            "collateral": {"not_before": self.collateral_from, "not_after": self.collateral_until},
        }
        return {
            "kind": self.kind,
            "at": format_time(self.at),
            "holds": self.holds,
            "answer": self.answer,
            "signature": "valid" if self.signature else "invalid",
            "tcb": tcb,
            "appraisal": self.appraisal,
            "binding": self.binding,
            "trust": self.trust,
            "software": self.software,
            "anchor": {"name": self.anchor, "sha256": self.anchor_sha256, "hardware_rooted": self.hardware_rooted},
            "checks": [dataclasses.asdict(check) for check in self.checks],
            "claims": plain(self.claims),
        }

    def explain(self) -> str:
        root = "" if self.hardware_rooted or not self.signature else " (not hardware-rooted)"
        lines = [
            self.answer,
            f"  signature  {'valid' if self.signature else 'invalid'}; root: {self.anchor or 'none'}{root}",
            f"  tcb        {self.tcb_status}: {'accepted' if self.tcb else 'not accepted'}",
            f"  appraisal  {self.appraisal}",
            f"  binding    {self.binding}",
        ]
        if self.trust != "none":
            lines.append(f"  trust      {self.trust}" + (" (a software TPM)" if self.software else ""))
        advisories = sorted({*self.launch.advisories, *self.current.advisories})
        if advisories:
            lines.append(f"  advisories {', '.join(advisories)}")
        lines += [f"  {_STATUS_WORDS[c.status]:11}{c.id}: {c.text}" for c in self.checks if c.text]
        return "\n".join(lines)


def plain(value: Any) -> Any:
    """Bytes as hexadecimal text, all the way down."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def verify(
    evidence: bytes,
    *,
    collateral: Collateral,
    at: int | str | datetime,
    policy: bytes | None = None,
    report_data: bytes | None = None,
    event_log: bytes | None = None,
    runtime_log: bytes | None = None,
    anchor: bytes | None = None,
    kind: Kind | None = None,
) -> Appraisal:
    """Verify a quote or report at time `at`.

    policy: JSON (docs/attest.md); without one the defaults hold, which name no software. report_data: what the evidence
    must be bound to (the nonce of a GPU). event_log: a CCEL log that must replay to the registers. runtime_log: the
    lines that RTMR3 was extended with (atlas/runtime_log.py). anchor: PEM of one root to use instead of the vendor's;
    such a result is never hardware-rooted and never `holds`.
    """
    kind = kind or kind_of(evidence)
    raw = _core.attest_verify(
        kind,
        evidence,
        collateral.core,
        at=parse_time(at),
        policy=policy,
        report_data=report_data,
        event_log=event_log,
        runtime_log=runtime_log,
        anchor=anchor,
    )
    return Appraisal.of(raw, read_claims(evidence, kind=kind))


def read_claims(evidence: bytes, *, kind: Kind | None = None) -> dict[str, Any]:
    """The fields of a quote or report. Nothing is verified."""
    kind = kind or kind_of(evidence)
    if kind == "nvidia" and evidence[:4].lower() == b"11e0":
        try:
            evidence = bytes.fromhex(evidence.decode("ascii"))
        except ValueError:
            raise MalformedError("not hexadecimal", code="ATLAS_E_EVIDENCE", where="SPDM report") from None
    return _core.evidence_read(kind, evidence)
