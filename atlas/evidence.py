"""Evidence for what is being signed: which hardware is asked, and what it is asked to vouch for.

    attester = Attester(Attest.of("auto"), signer, run=run_id); attester.start()
    sign_manifest(..., attester=attester)

Session mode asks once: the hardware vouches for the signing key and the run. Artifact mode asks for every manifest: it
vouches for that claim (docs/manifest.md, "Hardware evidence"). No evidence is `NotAttested`, with the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from atlas import _core
from atlas.errors import AtlasError, MalformedError, NotFound, SystemFailure, UsageError
from atlas.files import StrPath, read_regular
from atlas.runtime_log import FOLDER, REGISTER, Operation, RuntimeLog, event

if TYPE_CHECKING:
    from atlas.attest import Appraisal
    from atlas.sign import Signer
    from atlas.tsm import Evidence

NAMESPACE = "org.atlasml"
EVENT_LOG = "/sys/firmware/acpi/tables/data/CCEL"

LEVELS = ("off", "auto", "require")
MODES = ("session", "artifact")
PROVIDERS = ("auto", "tsm", "azure", "tpm")
MAX_COLLATERAL_FILES = 16  # ATLAS_MAX_ATTESTED_COLLATERAL
_MAX_BYTES = 16 << 20
_MAX_EVENT_LOG_BYTES = 4 << 20

Level = Literal["off", "auto", "require"]
Mode = Literal["session", "artifact"]
Provider = Literal["auto", "tsm", "azure", "tpm"]


class NotAttested(SystemFailure):
    """There is no hardware evidence; the text says why."""


@dataclass(frozen=True, slots=True)
class Attest:
    """What evidence is wanted: the argument `attest=` of `atlas.init` where a word is not enough.

    `level`: "auto" records why there is none, "require" stops. `mode`: "session" or "artifact"; None: artifact where
    evidence is required, else session. `provider`: who is asked; "auto" is the kernel, then Azure's vTPM. `collateral`:
    what the vendor says (`atlas attest fetch`), stored with the evidence. `appraisal`: JSON; what `require` accepts.
    `reports`, `event_log`, `register`, `log_folder`, `tcti`, `chain`: where the kernel, the firmware's log, RTMR3, its
    log, the TPM and its certificate are.
    """

    level: Level = "off"
    mode: Mode | None = None
    provider: Provider = "auto"
    collateral: tuple[bytes, ...] = ()
    appraisal: bytes | None = None
    reports: StrPath | None = None
    event_log: StrPath | None = EVENT_LOG
    register: StrPath = REGISTER
    log_folder: StrPath = FOLDER
    tcti: str | None = None
    chain: StrPath | None = None

    @classmethod
    def of(cls, value: str | Attest | None, environ: Mapping[str, str] = os.environ) -> Attest:
        """From "off", "auto" or "require", with ":session" or ":artifact" behind it, and ATLAS_ATTEST_PROVIDER,
        ATLAS_COLLATERAL (files and folders) and ATLAS_APPRAISAL (a file)."""
        if isinstance(value, Attest):
            return value
        level, colon, mode = (value or "off").partition(":")
        provider = environ.get("ATLAS_ATTEST_PROVIDER") or "auto"
        if level not in LEVELS or (colon and mode not in MODES):
            raise UsageError(
                f"attest={value!r}: no such level or mode", hint="off, auto or require; then :session or :artifact"
            )
        if provider not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise UsageError(f"no such provider: {provider!r}", where="ATLAS_ATTEST_PROVIDER", hint=f"one of: {known}")
        if level == "off":
            return cls()
        appraisal = environ.get("ATLAS_APPRAISAL")
        return cls(
            level=cast(Level, level),
            mode=cast(Mode, mode) if colon else None,
            provider=cast(Provider, provider),
            collateral=read_collateral(environ.get("ATLAS_COLLATERAL", "").split(os.pathsep)),
            appraisal=read_regular(appraisal, limit=_MAX_BYTES) if appraisal else None,
        )

    @property
    def wanted(self) -> Mode:
        return self.mode or ("artifact" if self.level == "require" else "session")

    def asked(self, level: Level, mode: Mode | None) -> Attest:
        """The same hardware, asked for something else: by a step."""
        return replace(self, level=level, mode=mode)


def read_collateral(paths: Iterable[str]) -> tuple[bytes, ...]:
    """Files, and the files of folders, as they are; each is parsed, so that what is none is found out now."""
    from atlas.attest import Collateral, expand

    files = tuple(read_regular(path, limit=_MAX_BYTES) for path in expand(part for part in paths if part))
    if len(files) > MAX_COLLATERAL_FILES:
        raise UsageError(f"more than {MAX_COLLATERAL_FILES} files of collateral", where="ATLAS_COLLATERAL")
    Collateral(*files)
    return files


# ------------------------------------------------------------------------------------------------- collection


def _tsm(attest: Attest, report_data: bytes) -> Evidence:
    from atlas import tsm

    return tsm.collect(report_data, path=attest.reports or tsm.REPORTS)


def _azure(attest: Attest, report_data: bytes) -> Evidence:
    from atlas import azure

    return azure.collect(report_data, tcti=attest.tcti)


def _tpm(attest: Attest, report_data: bytes) -> Evidence:
    from atlas import tpm

    chain = tpm.read_chain(attest.chain) if attest.chain is not None else ()
    return tpm.collect(report_data, tcti=attest.tcti, chain=chain)


_COLLECT = {"tsm": _tsm, "azure": _azure, "tpm": _tpm}


def _first(attest: Attest, report_data: bytes) -> Evidence:
    """The kernel; where it offers nothing, Azure's vTPM. A plain TPM is asked only when it is named: nobody knows its
    key until it is enrolled."""
    from atlas.tpm import DEVICES
    from atlas.tsm import CollectError

    try:
        return _tsm(attest, report_data)
    except CollectError as error:
        if error.reason != "NOT_AVAILABLE" or not (attest.tcti or any(Path(device).exists() for device in DEVICES)):
            raise
    try:
        return _azure(attest, report_data)
    except NotFound as error:
        raise NotAttested(
            "this machine offers no evidence but a TPM's",
            hint="enrol its key (atlas attest enroll) and name it: ATLAS_ATTEST_PROVIDER=tpm",
        ) from error


def _event_log(path: StrPath | None) -> bytes | None:
    """The firmware's log without its padding, where the machine shows one."""
    try:
        log = read_regular(path, limit=_MAX_EVENT_LOG_BYTES) if path is not None else b""
        return log[: _core.ccel_replay(log)[5]] if log else None
    except (OSError, MalformedError):
        return None


# --------------------------------------------------------------------------------------------------- attester


class Attester:
    """Asks the hardware, and makes the assertion that goes into a claim. One per signing key and run."""

    def __init__(self, attest: Attest, signer: Signer, run: str) -> None:
        self.attest = attest
        self.mode: Mode = attest.wanted
        self._spki: bytes = _core.certificate_info(signer.chain[0])["spki"]
        self._run = run
        self._event_log: bytes | None = None
        self._session: bytes | None = None
        self._log: RuntimeLog | None = None

    def start(self) -> Appraisal | None:
        """Ask once, before anything depends on it. NotAttested when there is nothing to be had.

        In session mode the answer is what every manifest will carry. `require` verifies it as a relying party would,
        under the vendor's own root, and returns what came of that.
        """
        session = _core.attestation_binding(self._spki, _now(), run=self._run)
        evidence, lines = self._collect(session)
        if evidence.kind == "tdx":
            self._event_log = _event_log(self.attest.event_log)
        self._session = self._write(session, evidence, lines)
        return self._check(session, evidence, lines) if self.attest.level == "require" else None

    @property
    def keeps_log(self) -> bool:
        return self._log is not None

    def keep_log(self) -> None:
        """In artifact mode, and where there is a register for it: begin the run-time log."""
        log = RuntimeLog(Path(self.attest.register), Path(self.attest.log_folder))
        if self.mode == "artifact" and log.offered:
            log.start()
            log.extend(event("run-start", run=self._run))
            self._log = log

    def tell(self, operation: Operation, **content: object) -> None:
        """Add a line to the run-time log, if one is kept: the next manifest's evidence covers it."""
        if self._log is not None:
            self._log.extend(event(operation, **content))

    def assertion(self, claim: bytes) -> bytes:
        """The c2pa.attestation for a claim that has none yet."""
        if self.mode == "session":
            if self._session is None:
                raise UsageError("the attester was not started")
            return self._session
        partial, nonce = hashlib.sha256(claim).digest(), secrets.token_bytes(32)
        binding = _core.attestation_binding(self._spki, _now(), partial=partial, nonce=nonce)
        return self._write(binding, *self._collect(binding))

    def _collect(self, binding: bytes) -> tuple[Evidence, bytes | None]:
        """Evidence, and the lines that lead to its register."""
        collect = _COLLECT.get(self.attest.provider, _first)
        try:
            with self._log.frozen() if self._log is not None else contextlib.nullcontext() as lines:
                return collect(self.attest, hashlib.sha512(binding).digest()), lines
        except NotAttested:
            raise
        except AtlasError as error:
            raise NotAttested(error.text, code=error.code, where=error.where, hint=error.hint) from error

    def _write(self, binding: bytes, evidence: Evidence, lines: bytes | None) -> bytes:
        return _core.attestation_write(
            f"{NAMESPACE}.{evidence.kind}",
            binding,
            evidence.raw,
            collateral=self._collateral(evidence),
            event_log=self._event_log if evidence.kind == "tdx" else None,
            runtime_log=lines if evidence.kind == "tdx" else None,
        )

    def _collateral(self, evidence: Evidence) -> list[bytes]:
        from atlas.tsm import certificates

        return [*self.attest.collateral, *(certificates(evidence.aux) if evidence.kind == "snp" else [])]

    def _check(self, binding: bytes, evidence: Evidence, lines: bytes | None) -> Appraisal:
        from atlas.attest import Collateral, verify

        collateral = self._collateral(evidence)
        if not collateral and evidence.kind != "tpm":
            raise NotAttested(
                "there is nothing from the hardware's vendor to verify the evidence with",
                hint="fetch it (atlas attest fetch) and name it: ATLAS_COLLATERAL=bundle.json",
            )
        found = verify(
            evidence.raw,
            kind=evidence.kind,
            collateral=Collateral(*collateral),
            at=int(time.time()),
            policy=self.attest.appraisal,
            report_data=hashlib.sha512(binding).digest(),
            event_log=self._event_log,
            runtime_log=lines,
        )
        check_own(found, named=self.attest.appraisal is not None)
        return found


def check_own(found: Appraisal, *, named: bool) -> None:
    """Does our own evidence convince us? named: an appraisal policy was given, so the software must be accepted too."""
    genuine = found.signature and found.tcb and found.hardware_rooted and found.binding == "matched"
    if genuine and (found.holds if named else found.appraisal != "rejected"):
        return
    reasons = [f"{check.id}: {check.text}" for check in found.failures]
    if found.signature and not found.hardware_rooted:
        reasons.append("the root is not the hardware vendor's own")
    if not reasons:
        reasons.append("the appraisal policy does not accept it")
    raise NotAttested(f"its own evidence does not hold: {found.answer.lower()}", hint="; ".join(reasons))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")




__all__ = ["Attest", "Attester", "NotAttested", "check_own", "read_collateral"]
