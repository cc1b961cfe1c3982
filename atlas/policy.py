"""What is trusted, and what a chain must have: roots, revocation lists, pinned signers, rules.

Policy comes from arguments, the environment and the user's own configuration, never from the artifact's folder or a
pyproject.toml: whoever ships an artifact must not choose who is trusted with it. Strongest first:

    roots    trust= / --trust, the policy file, ATLAS_TRUST, ~/.config/atlas/roots.pem
    policy   policy= / --policy, ATLAS_POLICY, ~/.config/atlas/policy.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError, UsageError
from atlas.files import StrPath, home_directory, is_there, read_regular

MAX_POLICY_BYTES = 1 << 20
MAX_PEM_BYTES = 16 << 20
MAX_COLLATERAL_BYTES = 16 << 20

PathOrPem = StrPath | bytes
Roots = PathOrPem | Sequence[PathOrPem]


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one verification. Everything it names is already read; it refers to no file.

    `roots` and `tsa_roots` are PEM certificates, `crls` are PEM or DER. `signers` pins every signer of a chain to these
    names or SPKI digests. `at` is the time to check for in Unix seconds; None is now. `origin` says where the roots
    came from.

    `require_evidence` demands hardware evidence that holds, as pairs of a step (None: every manifest) and "session" or
    "artifact". `appraisal` is the policy for evidence (docs/attest.md) as JSON, `evidence_anchor` PEM of a root to use
    instead of the hardware vendors', under which nothing ever holds, `evidence_collateral` what vendors say, to be used
    instead of what the manifests carry.

    `log_policy` is the text of a c2sp.org/tlog-policy: which logs are trusted, and which witnesses must have cosigned.
    None is the user's own (ATLAS_LOG_POLICY, `log.policy` beside policy.json, logs made with `atlas log init`), b""
    asks for no proofs. `require_log` demands that every signature is proven to be logged.
    """

    roots: bytes = b""
    tsa_roots: bytes = b""
    crls: tuple[bytes, ...] = ()
    signers: tuple[str, ...] = ()
    at: int | None = None
    require_revocation: bool = False
    require_artifacts: bool = False
    refuse_unknown_inputs: bool = False
    allow_redaction: tuple[str, ...] = ()
    require_evidence: tuple[tuple[str | None, str], ...] = ()
    appraisal: bytes | None = None
    evidence_anchor: bytes | None = None
    evidence_collateral: tuple[bytes, ...] = ()
    log_policy: bytes | None = None
    require_log: bool = False
    origin: str = ""


def user_directory() -> Path:
    """The user's own configuration: $XDG_CONFIG_HOME/atlas, else ~/.config/atlas."""
    chosen = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(chosen) if chosen.startswith("/") else home_directory() / ".config"
    return base / "atlas"


# -------------------------------------------------------------------------------------------------- certificates


def _pem(data: bytes, where: str) -> bytes:
    if b"PRIVATE KEY-----" in data:
        raise UsageError("holds a private key", where=where, hint="give the certificate (root.pem), and guard the key")
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise UsageError("holds no PEM certificate", where=where, hint="expected -----BEGIN CERTIFICATE-----")
    return data if data.endswith(b"\n") else data + b"\n"


def read_roots(source: Roots) -> bytes:
    """PEM certificates: the bytes themselves, a file, every *.pem file of a directory, or several of these."""
    if isinstance(source, bytes):
        return _pem(source, "trust")
    if not isinstance(source, (str, os.PathLike)):
        return b"".join(read_roots(one) for one in source)
    path = Path(source).expanduser()
    files = sorted(path.glob("*.pem")) if path.is_dir() else [path]
    if not files:
        raise UsageError("holds no *.pem file", where=str(path), hint="name a file of PEM root certificates")
    return b"".join(_pem(read_regular(file, limit=MAX_PEM_BYTES), str(file)) for file in files)


def _from_list(value: str) -> bytes:
    return b"".join(read_roots(part) for part in value.split(os.pathsep) if part)


def _default_roots() -> tuple[bytes, str]:
    value = os.environ.get("ATLAS_TRUST", "")
    if value:
        return _from_list(value), "ATLAS_TRUST"
    own = user_directory() / "roots.pem"
    if is_there(own):
        return read_roots(own), str(own)
    raise UsageError(
        "no trust roots: nothing can be trusted without them",
        hint=f"give --trust ROOTS.pem (trust=), set ATLAS_TRUST, or put the roots you trust into {own}",
    )


# --------------------------------------------------------------------------------------------------- policy file

_FLAGS = ("require_revocation", "require_artifacts", "refuse_unknown_inputs", "require_log")
_TEXTS = ("signers", "allow_redaction")
_FILES = ("roots", "tsa_roots", "crls")
_EVIDENCE = ("require_evidence", "appraisal", "evidence_anchor", "evidence_collateral")
_KEYS = ("version", "at", *_FLAGS, *_TEXTS, *_FILES, *_EVIDENCE, "log_policy")
EVIDENCE_MODES = ("session", "artifact")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"the key {sorted(twice)[0]!r} stands twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _texts(document: Mapping[str, Any], key: str) -> list[str]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UsageError(f"{key!r} must be a list of texts")
    return value


def parse_time(value: str | int | float | datetime | None) -> int | None:
    """Unix seconds from ISO 8601 (`2026-11-21`, `2026-11-21T12:00:00Z`), a datetime or a number. No zone means UTC."""
    if value is None:
        return None
    if isinstance(value, bool):
        raise UsageError(f"not a time: {value!r}")
    if isinstance(value, (int, float)):
        return int(value)
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        raise UsageError(f"not a time: {value!r}", hint="write it as 2026-11-21 or 2026-11-21T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def read_evidence_rules(value: Any) -> tuple[tuple[str | None, str], ...]:
    """"artifact", or {step: "session"}; () for None."""
    rules: dict[str | None, Any] = {}
    if isinstance(value, str):
        rules = {None: value}
    elif isinstance(value, Mapping):
        rules = dict(value)
    elif value is not None:
        raise UsageError("'require_evidence' must be a mode, or an object of steps and modes")
    for step, mode in rules.items():
        if mode not in EVIDENCE_MODES or not (step is None or (isinstance(step, str) and step)):
            raise UsageError(f"'require_evidence': no such mode: {mode!r}", hint=f"one of: {', '.join(EVIDENCE_MODES)}")
    return tuple(rules.items())


def _file(document: Mapping[str, Any], key: str, base: Path, limit: int) -> bytes | None:
    name = document.get(key)
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        raise UsageError(f"{key!r} must be the name of a file")
    return read_regular(base / name, limit=limit)


def _appraisal(document: Mapping[str, Any], base: Path) -> bytes | None:
    """The rules for evidence: an object, or the name of a file that holds one."""
    value = document.get("appraisal")
    if isinstance(value, dict):
        return json.dumps(value).encode()
    return _file(document, "appraisal", base, MAX_POLICY_BYTES)


def _policy_of(document: Mapping[str, Any], base: Path) -> Policy:
    unknown = sorted(set(document) - set(_KEYS))
    if unknown:
        raise UsageError(f"unknown key {unknown[0]!r}", hint=f"known are: {', '.join(_KEYS)}")
    if document.get("version") != 1:
        raise UsageError("'version' must be 1")
    for key in _FLAGS:
        if not isinstance(document.get(key, False), bool):
            raise UsageError(f"{key!r} must be true or false")
    if not isinstance(document.get("at"), (str, int, type(None))):
        raise UsageError("'at' must be a time")
    return Policy(
        roots=b"".join(read_roots(base / name) for name in _texts(document, "roots")),
        tsa_roots=b"".join(read_roots(base / name) for name in _texts(document, "tsa_roots")),
        crls=tuple(read_regular(base / name, limit=MAX_PEM_BYTES) for name in _texts(document, "crls")),
        signers=tuple(_texts(document, "signers")),
        allow_redaction=tuple(_texts(document, "allow_redaction")),
        at=parse_time(document.get("at")),
        require_evidence=read_evidence_rules(document.get("require_evidence")),
        appraisal=_appraisal(document, base),
        evidence_anchor=_file(document, "evidence_anchor", base, MAX_PEM_BYTES),
        evidence_collateral=tuple(
            read_regular(base / name, limit=MAX_COLLATERAL_BYTES) for name in _texts(document, "evidence_collateral")
        ),
        log_policy=_file(document, "log_policy", base, MAX_POLICY_BYTES),
        **{key: document.get(key, False) for key in _FLAGS},
    )


def load_policy(path: StrPath) -> Policy:
    """A policy file: one JSON object, every key known, no key twice. Files that it names are relative to it."""
    data = read_regular(path, limit=MAX_POLICY_BYTES)
    try:
        document = json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a policy: {error}", where=str(path), hint="expected one JSON object") from None
    if not isinstance(document, dict):
        raise UsageError("not a policy: not a JSON object", where=str(path))
    try:
        policy = _policy_of(document, Path(path).absolute().parent)
    except AtlasError as error:
        if not error.where:
            error.where = str(path)
        raise
    return replace(policy, origin=str(path) if policy.roots else "")


# ---------------------------------------------------------------------------------------------------- resolution


def _start(policy: Policy | StrPath | None) -> Policy:
    if isinstance(policy, Policy):
        return policy
    if policy is not None:
        return load_policy(policy)
    if os.environ.get("ATLAS_POLICY"):
        return load_policy(os.environ["ATLAS_POLICY"])
    own = user_directory() / "policy.json"
    return load_policy(own) if is_there(own) else Policy()


def resolve_policy(
    policy: Policy | StrPath | None = None,
    *,
    trust: Roots | None = None,
    tsa_trust: Roots | None = None,
    crls: Iterable[PathOrPem] = (),
    signer: str | Iterable[str] | None = None,
    at: str | int | float | datetime | None = None,
    require_evidence: str | Mapping[str, str] | None = None,
    appraisal: PathOrPem | None = None,
    evidence_anchor: PathOrPem | None = None,
    log_policy: PathOrPem | None = None,
    require_log: bool = False,
) -> Policy:
    """The policy of one verification, complete: with roots, or UsageError.

    `trust`, `tsa_trust` and `at` replace what the policy says, `crls` come on top of it. `signer` can only narrow: a
    signer that the policy does not name is not accepted because an argument names it, and `require_evidence` and
    `require_log` come on top of what the policy demands.
    """
    resolved = _start(policy)
    if trust is not None:
        resolved = replace(resolved, roots=read_roots(trust), origin=_origin(trust))
    elif not resolved.roots:
        roots, origin = _default_roots()
        resolved = replace(resolved, roots=roots, origin=origin)
    if tsa_trust is not None:
        resolved = replace(resolved, tsa_roots=read_roots(tsa_trust))
    from atlas.proofs import read_log_policy

    lists = tuple(c if isinstance(c, bytes) else read_regular(c, limit=MAX_PEM_BYTES) for c in crls)
    return replace(
        resolved,
        crls=resolved.crls + lists,
        signers=_narrowed(resolved.signers, signer),
        at=resolved.at if at is None else parse_time(at),
        require_evidence=resolved.require_evidence + read_evidence_rules(require_evidence),
        appraisal=resolved.appraisal if appraisal is None else _read(appraisal),
        evidence_anchor=resolved.evidence_anchor if evidence_anchor is None else _read(evidence_anchor),
        log_policy=resolved.log_policy if log_policy is None else read_log_policy(log_policy),
        require_log=resolved.require_log or require_log,
    )


def _read(source: PathOrPem) -> bytes:
    return source if isinstance(source, bytes) else read_regular(source, limit=MAX_PEM_BYTES)


def _origin(trust: Roots) -> str:
    several = (trust,) if isinstance(trust, (str, bytes, os.PathLike)) else trust
    return ", ".join("argument" if isinstance(one, bytes) else str(one) for one in several)


def _narrowed(pinned: tuple[str, ...], signer: str | Iterable[str] | None) -> tuple[str, ...]:
    wanted = () if signer is None else (signer,) if isinstance(signer, str) else tuple(signer)
    if not pinned or not wanted:
        return wanted or pinned
    both = tuple(name for name in wanted if name in pinned)
    if not both:
        raise UsageError(f"the policy does not accept {wanted[0]!r} as a signer", hint=f"it names: {', '.join(pinned)}")
    return both
