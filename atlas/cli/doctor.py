"""Is everything in place? Versions, key, trust, store, logs, and a save and load in a temporary directory with the
hooks on.

Changes nothing outside that directory. Exit code 6 when something does not work.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from atlas.cli.console import FAILED
from atlas.cli.options import add_json
from atlas.errors import AtlasError
from atlas.escape import escape
from atlas.version import __version__

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "check the installation, key, roots, store, logs and hooks"
_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}
_PACKAGES = ("torch", "safetensors", "numpy", "pytest")

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`missing` is something one may do without; `broken` is not."""

    what: str
    state: State
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-hooks", action="store_true", help="do not import torch and try the hooks")
    add_json(parser)


def _versions() -> Iterator[Finding]:
    from importlib import metadata

    python = f"atlas {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding("versions", "ok", python)
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    yield Finding("packages", "ok" if found else "missing", ", ".join(found) or "none of torch, safetensors, pytest")


def _core() -> Iterator[Finding]:
    from atlas.measure import measure

    size = measure(sys.executable).size
    yield Finding("core", "ok", f"measured {size} bytes of {Path(sys.executable).name}")


def _kernels() -> Iterator[Finding]:
    from atlas.measure import kernels

    found = kernels()
    failed = found.pop("failed", None)
    text = ", ".join(f"{alg} {kernel}" for alg, kernel in found.items())
    if failed:
        yield Finding("kernels", "broken", f"{failed} gives wrong digests on this machine and is not used; {text}")
    else:
        yield Finding("kernels", "ok", text)


def _key() -> Iterator[Finding]:
    from atlas.sign import TPM_PREFIX

    key = os.environ.get("ATLAS_KEY", "")
    if not key:
        yield Finding("key", "missing", "ATLAS_KEY is not set; give key= or --key, or make one with `atlas keygen`")
        return
    file = Path(key.removeprefix(TPM_PREFIX))
    chain = Path(os.environ.get("ATLAS_CHAIN") or file.with_name("chain.pem"))
    if not file.is_file():
        yield Finding("key", "broken", f"ATLAS_KEY names {file}, which is no file")
    elif chain.is_file():
        yield Finding("key", "ok", f"{key}, with {chain.name}")
    elif os.environ.get("ATLAS_CHAIN"):
        yield Finding("key", "broken", f"ATLAS_CHAIN names {chain}, which is no file")
    else:
        yield Finding("key", "broken", f"{key}, but no {chain.name} beside it; ATLAS_CHAIN names another place")


def _trust() -> Iterator[Finding]:
    from atlas.errors import UsageError
    from atlas.policy import resolve_policy

    try:
        policy = resolve_policy()
    except UsageError as error:
        state: State = "missing" if error.text.startswith("no trust roots") else "broken"
        yield Finding("trust", state, f"{error.text}; {error.hint}")
        return
    yield Finding("trust", "ok", f"{policy.roots.count(b'BEGIN CERTIFICATE')} roots from {policy.origin}")


def _store() -> Iterator[Finding]:
    from atlas.store import Store

    health = Store().health()
    index = "the index cannot be used" if health.indexed is None else f"{health.indexed} of them indexed"
    text = f"{health.directory}: {health.objects} objects, {index}"
    if health.pending:
        text += f", {health.pending} waiting to be indexed"
    if not health.writable:
        yield Finding("store", "broken", f"{text}; it cannot be written, set ATLAS_STORE to a directory that can")
    else:
        yield Finding("store", "ok", text)


def _logs() -> Iterator[Finding]:
    from atlas.log_queue import LogQueue
    from atlas.proofs import default_log_policy
    from atlas.store import Store

    store = Store()
    trusted = sum(line.startswith(b"log ") for line in default_log_policy(store).splitlines())
    text = f"{trusted} trusted" if trusted else "none is trusted: proofs of logging are not looked for (--log-policy)"
    waiting = len(LogQueue(store).pending())
    if waiting:
        text += f"; not logged yet: {waiting} (`atlas log pending` says why, `atlas log flush` tries again)"
    yield Finding("logs", "missing" if waiting else "ok", text)


def _evidence() -> Iterator[Finding]:
    from atlas.tpm import DEVICES
    from atlas.tsm import REPORTS

    if Path(REPORTS).is_dir():
        yield Finding("evidence", "ok", f"{REPORTS}: hardware evidence, as root (attest=, docs/attest-manifests.md)")
    elif any(Path(device).exists() for device in DEVICES):
        yield Finding("evidence", "ok", "no confidential VM; a TPM, whose key can be enrolled (docs/attest-tpm.md)")
    else:
        yield Finding("evidence", "ok", "none: this machine offers no hardware evidence, manifests are signed without")


def _hooks() -> Iterator[Finding]:
    from importlib import metadata

    try:
        metadata.version("torch")
    except metadata.PackageNotFoundError:
        yield Finding("hooks", "missing", "torch is not installed; atlas sign, verify and the rest work without it")
        return
    from atlas.cli.roundtrip import round_trip

    yield from (Finding(*result) for result in round_trip())


def _findings(checks: list[tuple[str, Callable[[], Iterator[Finding]]]]) -> Iterator[Finding]:
    """One check that breaks must not hide the others."""
    for what, check in checks:
        try:
            yield from check()
        except (AtlasError, OSError, ImportError) as error:
            yield Finding(what, "broken", str(error))


def run(args: argparse.Namespace, console: Console) -> int:
    checks = [("versions", _versions), ("kernels", _kernels), ("core", _core), ("key", _key), ("trust", _trust)]
    checks += [("store", _store), ("logs", _logs), ("evidence", _evidence)]
    if not args.no_hooks:
        checks.append(("hooks", _hooks))
    findings = []
    for finding in _findings(checks):
        findings.append(finding)
        if not args.json:
            state = console.paint(f"{finding.state:<7}", _COLOURS[finding.state])
            console.result(f"{state}  {escape(finding.what):<22} {escape(finding.text)}")
    broken = [finding.what for finding in findings if finding.state == "broken"]
    if args.json:
        console.document({"findings": [asdict(finding) for finding in findings], "broken": broken})
    elif broken:
        console.note(f"not working: {', '.join(broken)}")
    return FAILED if broken else 0
