"""Evidence, a run-time log and a signing key from a TPM 2.0, through libtss2 (loaded on first use).

    evidence = tpm.collect(report_data)                 # a quote of PCRs, bound to 64 bytes; see docs/attest.md
    log = tpm.NvLog(); log.start(); log.extend(line)    # lines that can be added and never taken back
    evidence = tpm.collect(report_data, log=log)        # ... and that the TPM certifies together with the quote

Which TPM: `tcti=`, else ATLAS_TCTI, else TPM2TOOLS_TCTI, else /dev/tpmrm0. Whether anybody should believe the
attestation key is no question for this module: a key that nobody vouches for is self-asserted, and never verifies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas import _core
from atlas.errors import AtlasError, KeyFileError, NotFound, SystemFailure, UsageError
from atlas.files import read_regular
from atlas.tsm import REPORT_DATA_BYTES, Evidence

DEVICES = ("/dev/tpmrm0", "/dev/tpm0")
PCRS = tuple(range(16))  # what firmware, boot loader, kernel and services measure; 16 and 23 can be reset by anybody
NV_INDEX = 0x0180A71A  # of the run-time log: in the owner's range (0x01800000 to 0x01BFFFFF)
MAX_LOG_BYTES = 4 << 20
EVENTS = "/sys/kernel/security/tpm0/binary_bios_measurements"

_MAX_EVENTS_BYTES = 2 << 20

_AK, _SIGNER, _EK = 1, 2, 3
_SHA256 = 0x000B
_ATTEMPTS = 5  # a PCR may be extended between reading and quoting


def tcti_of(tcti: str | None = None) -> str:
    """Which TPM, as libtss2 writes it. NotFound when none is named and there is no device."""
    chosen = tcti or os.environ.get("ATLAS_TCTI") or os.environ.get("TPM2TOOLS_TCTI")
    if chosen:
        return chosen
    for device in DEVICES:
        if Path(device).exists():
            return f"device:{device}"
    raise NotFound(
        "this machine has no TPM that can be seen",
        where=DEVICES[0],
        hint="name one with ATLAS_TCTI, for example device:/dev/tpmrm0 (in a container: --device /dev/tpmrm0)",
    )


@contextlib.contextmanager
def opened(tcti: str | None = None) -> Iterator[_core.Tpm]:
    """The TPM, let go at the end with everything that was loaded into it."""
    os.environ.setdefault("TSS2_LOG", "all+NONE")  # libtss2 writes to the terminal what it also returns
    tpm = _core.Tpm(tcti_of(tcti))
    try:
        yield tpm
    finally:
        tpm.close()


def present(tcti: str | None = None) -> bool:
    """Is there a TPM that answers?"""
    try:
        with opened(tcti) as tpm:
            tpm.facts()
    except (SystemFailure, NotFound):
        return False
    return True


def facts(tpm: _core.Tpm) -> dict[str, str]:
    """What the TPM says of itself; nobody signs it."""
    manufacturer, vendor, firmware = tpm.facts()
    return {"manufacturer": f"id:{manufacturer:08X}", "vendor": vendor.strip(), "firmware": f"{firmware:016x}"}


def describe(tcti: str | None = None) -> dict[str, str]:
    """What the TPM says of itself, and its attestation key's SHA-256, as a policy names it. Nothing is verified."""
    with opened(tcti) as tpm:
        spki, _, _ = _core.tpm_key_read(tpm.make_key(_AK, b""))
        return facts(tpm) | {"ak_spki_sha256": hashlib.sha256(spki).hexdigest()}


def attestation_key(tcti: str | None = None) -> bytes:
    """The TPMT_PUBLIC of this TPM's attestation key: the same each time."""
    with opened(tcti) as tpm:
        return tpm.make_key(_AK, b"")


def qualifying_data(report_data: bytes) -> bytes:
    """What a quote for this report data must carry: TPMs take no more than one digest of theirs."""
    return hashlib.sha256(report_data).digest()


# ------------------------------------------------------------------------------------------------- run-time log


@dataclass(slots=True)
class NvLog:
    """Lines, each extended into an NV index as SHA-256(line): the index can be extended, never set.

    The owner of the TPM can still take the index away and define it anew, which shows as a log that begins later.
    """

    index: int = NV_INDEX
    tcti: str | None = None
    initial: bytes = field(default=bytes(32), init=False)
    lines: bytearray = field(default_factory=bytearray, init=False)

    def start(self, *, fresh: bool = False) -> None:
        """Define the index; where it is there already, go on from its value, unless it is to be `fresh`."""
        self.lines.clear()
        self.initial = bytes(32)
        with opened(self.tcti) as tpm:
            try:
                if fresh:
                    tpm.nv_undefine(self.index)
                elif int.from_bytes(tpm.nv_public(self.index)[6:10], "big") & 1 << 29:  # TPMA_NV_WRITTEN
                    self.initial = tpm.nv_contents(self.index)
                    return
                else:
                    return
            except NotFound:
                pass
            tpm.nv_define(self.index)

    def extend(self, line: bytes) -> None:
        """Add one line, without its end. Returns once the TPM has it."""
        if b"\n" in line:
            raise UsageError("a line of the log holds no line end")
        if len(self.lines) + len(line) >= MAX_LOG_BYTES:
            raise SystemFailure(f"the run-time log is longer than {MAX_LOG_BYTES} bytes", where="TPM log")
        with opened(self.tcti) as tpm:
            tpm.nv_extend(self.index, hashlib.sha256(line).digest())
        self.lines += line + b"\n"

    def remove(self) -> None:
        with opened(self.tcti) as tpm:
            tpm.nv_undefine(self.index)


# ----------------------------------------------------------------------------------------------------- collecting


def collect(
    report_data: bytes,
    *,
    tcti: str | None = None,
    pcrs: Sequence[int] = PCRS,
    log: NvLog | None = None,
    chain: Sequence[bytes] = (),
) -> Evidence:
    """A quote of these PCRs of the SHA-256 bank, bound to 64 bytes; with the log, if one is given and has lines.

    `chain`: certificates (DER) of the attestation key, as `atlas attest enroll issue` makes them.
    """
    bits = checked(report_data, pcrs)
    with opened(tcti) as tpm:
        parts: dict[str, Any] = {"atlas": "tpm-evidence", "v": 1, "ak": tpm.make_key(_AK, b"")}
        parts |= quoted(tpm, bits, qualifying_data(report_data))
        if log is not None and log.lines:
            parts["nv"] = _certified(tpm, log, qualifying_data(report_data))
        if chain:
            parts["chain"] = list(chain)
        events = _events(tcti_of(tcti))
        if events:
            parts["events"] = events
        parts["tpm"] = facts(tpm)
    return Evidence("tpm", "tpm", _core.cbor_encode(parts), None)


def _events(tcti: str) -> bytes:
    """The firmware's log about this TPM, where the kernel shows it; it is the machine's own TPM that it is about."""
    if not tcti.startswith("device:"):
        return b""
    try:
        return read_regular(Path(EVENTS), limit=_MAX_EVENTS_BYTES)
    except (AtlasError, OSError):
        return b""


def read_chain(path: str | os.PathLike[str]) -> list[bytes]:
    """The certificates of a PEM file, for `collect`."""
    return _core.certificates_from_pem(read_regular(Path(path), limit=_MAX_KEY_BYTES))


def checked(report_data: bytes, pcrs: Sequence[int]) -> int:
    """The PCRs as bits, after a look at both arguments."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise UsageError(f"report data has {REPORT_DATA_BYTES} bytes, not {len(report_data)}")
    if not pcrs or any(not 0 <= n < 24 for n in pcrs):
        raise UsageError("PCRs are numbers from 0 to 23, at least one")
    return sum(1 << n for n in set(pcrs))


def quoted(tpm: _core.Tpm, bits: int, qualifying: bytes) -> dict[str, bytes]:
    """A quote by the key in use, and the values that it is about."""
    for _ in range(_ATTEMPTS):
        values = tpm.read_pcrs(_SHA256, bits)
        quote, signature = tpm.quote(_SHA256, bits, qualifying)
        if quote.endswith(hashlib.sha256(values).digest()):
            return {"quote": quote, "sig": signature, "pcrs": values}
    raise SystemFailure("the PCRs change faster than they can be quoted", code="ATLAS_E_CHANGED", where="TPM")


def _certified(tpm: _core.Tpm, log: NvLog, qualifying: bytes) -> dict[str, bytes]:
    certify, signature = tpm.nv_certify(log.index, qualifying)
    parts = {"public": tpm.nv_public(log.index), "certify": certify, "sig": signature, "log": bytes(log.lines)}
    return parts if log.initial == bytes(32) else parts | {"initial": log.initial}


# ------------------------------------------------------------------------------------------------------ signing key

KEY_KIND = "atlas-tpm-key"
KEY_FILE = "key.tpm"
_UNIQUE_BYTES = 32
_MAX_KEY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class TpmKey:
    """A P-256 key that never leaves its TPM. The file that stands for it holds no key: it tells the TPM which to make
    again. Whoever can read it and use the TPM can sign; elsewhere it is worth nothing."""

    unique: bytes
    spki: bytes
    tcti: str | None = None
    alg: str = "ES256"

    @classmethod
    def new(cls, tcti: str | None = None) -> TpmKey:
        unique = secrets.token_bytes(_UNIQUE_BYTES)
        with opened(tcti) as tpm:
            spki, _, _ = _core.tpm_key_read(tpm.make_key(_SIGNER, unique))
        return cls(unique, spki, tcti)

    @classmethod
    def read(cls, path: Path, tcti: str | None = None) -> TpmKey:
        try:
            document = json.loads(read_regular(path, limit=_MAX_KEY_BYTES))
            if document["kind"] != KEY_KIND or document["version"] != 1:
                raise ValueError
            return cls(bytes.fromhex(document["unique"]), bytes.fromhex(document["spki"]), tcti)
        except (ValueError, KeyError, TypeError):
            raise KeyFileError(
                "not a file that stands for a key in a TPM",
                code="ATLAS_E_KEY",
                where=str(path),
                hint=f"`atlas keygen DIR --name NAME --tpm` makes one ({KEY_FILE})",
            ) from None

    def file(self) -> bytes:
        document = {"kind": KEY_KIND, "version": 1, "unique": self.unique.hex(), "spki": self.spki.hex()}
        return json.dumps(document, indent=1).encode() + b"\n"

    def sign(self, tbs: bytes) -> bytes:
        with opened(self.tcti) as tpm:
            spki, _, _ = _core.tpm_key_read(tpm.make_key(_SIGNER, self.unique))
            if spki != self.spki:
                raise KeyFileError(
                    "this TPM is not the one that the key was made in, or its owner cleared it",
                    code="ATLAS_E_KEY",
                    where="TPM",
                    hint="sign on the machine where `atlas keygen --tpm` ran, or make a new key",
                )
            return _core.tpm_signature_raw(tpm.sign(hashlib.sha256(tbs).digest()))

    def request(self, name: str) -> bytes:
        """A certificate request (PEM) for a CA of your own."""
        tbs = _core.csr_prepare(name, self.spki)
        return _core.csr_finish(tbs, self.sign(tbs))


def key_and_request(name: str, directory: str | os.PathLike[str], *, tcti: str | None = None) -> tuple[Path, Path]:
    """Make a key in the TPM and a request for its certificate: (key.tpm, request.pem). Put what the CA issues beside
    the key as chain.pem. Nothing that is there already is ever overwritten."""
    key = TpmKey.new(tcti)
    folder = Path(directory)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = folder / KEY_FILE, folder / "request.pem"
    for path, content in zip(files, (key.file(), key.request(name)), strict=True):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise UsageError("is there already, and keys are never overwritten", where=str(path)) from None
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    return files
