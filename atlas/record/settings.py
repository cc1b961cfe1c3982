"""What `atlas.init` was asked to do: arguments, then ATLAS_*, then [tool.atlas] of pyproject.toml, then defaults.

Trust and policy never come from pyproject.toml: it lies in the folder of what is to be judged.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast

from atlas.cache import level_of
from atlas.errors import UsageError
from atlas.evidence import Attest
from atlas.log_target import LogTarget
from atlas.model import CacheLevel
from atlas.policy import read_roots
from atlas.record.names import find_root
from atlas.sign import TPM_PREFIX

Mode = Literal["observe", "enforce", "off"]
MODES = ("observe", "enforce", "off")
_PROJECT_KEYS = frozenset(("key", "chain", "mode", "store", "name", "include", "exclude", "cache"))
_FORBIDDEN = frozenset(("trust", "policy", "signer", "roots"))

NO_KEY_HINT = (
    'make one with `atlas keygen --name "Your Name" keys/` and name it: atlas.init(key="keys/key.pem"), or ATLAS_KEY; '
    'mode="off" (or ATLAS_MODE=off) records nothing'
)


@dataclass(frozen=True, slots=True)
class Settings:
    mode: Mode
    key: Any  # a path, a signer, a callable; None: no key
    chain: Any
    trust: bytes | None  # roots, as PEM
    store: Path | None
    name: str
    root: Path
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    log: LogTarget | None = None  # where every signature is to be logged
    attest: Attest = field(default_factory=Attest)
    cache: CacheLevel = "off"  # of directories that are inputs; enforce reads everything

    def wants(self, name: str) -> bool:
        """Whether a file of this logical name is to be recorded."""
        if any(_matches(name, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(_matches(name, pattern) for pattern in self.include)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*/{pattern}") or name.startswith(pattern.rstrip("/") + "/")


def resolve(
    *,
    key: Any = None,
    chain: Any = None,
    trust: Any = None,
    mode: str | None = None,
    store: Any = None,
    name: str | None = None,
    attest: str | Attest | None = None,
    log: Any = None,
    include: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Raises UsageError for anything that would otherwise be found out after three weeks of training."""
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    project, base = _project(directory)

    def pick(argument: Any, variable: str, entry: str | None) -> Any:
        if argument is not None:
            return argument
        if environ.get(variable):
            return environ[variable]
        return project.get(entry) if entry else None

    def place(argument: Any, variable: str, entry: str | None) -> Any:
        chosen = pick(argument, variable, entry)
        if isinstance(chosen, str) and chosen and argument is None and not environ.get(variable):
            scheme = TPM_PREFIX if chosen.startswith(TPM_PREFIX) else ""
            beside = base / chosen.removeprefix(scheme)  # relative to the file that says so
            return f"{scheme}{beside}" if scheme else beside
        return chosen

    chosen_log = pick(log, "ATLAS_LOG", None)
    chosen_mode = pick(mode, "ATLAS_MODE", "mode") or "observe"
    if chosen_mode not in MODES:
        raise UsageError(f"no such mode: {chosen_mode!r}", hint=f"one of: {', '.join(MODES)}")
    chosen_key = place(key, "ATLAS_KEY", "key")
    shelf = place(store, "ATLAS_STORE", "store")
    cache = level_of(pick(None, "ATLAS_CACHE", "cache"))
    settings = Settings(
        mode=cast(Mode, chosen_mode),
        key=chosen_key,
        chain=place(chain, "ATLAS_CHAIN", "chain"),
        trust=_trust(trust, environ.get("ATLAS_TRUST"), chosen_key),
        store=Path(shelf) if shelf else None,
        name=str(pick(name, "ATLAS_NAME", "name") or ""),
        root=find_root(directory),
        include=_patterns(pick(include, "ATLAS_INCLUDE", "include"), "include"),
        exclude=_patterns(pick(exclude, "ATLAS_EXCLUDE", "exclude"), "exclude"),
        log=LogTarget.of(chosen_log) if chosen_log is not None else None,
        attest=Attest.of(pick(attest, "ATLAS_ATTEST", None), environ),
        cache=cache if chosen_mode == "observe" else "off",
    )
    if settings.mode == "enforce" and settings.trust is None:
        raise UsageError(
            "enforce needs roots to check inputs against",
            hint="atlas.init(trust='root.pem'), or ATLAS_TRUST, or a root.pem beside the key",
        )
    return settings


def _trust(trust: Any, variable: str | None, key: Any) -> bytes | None:
    """Read at once: whoever can write to the file later must not choose who is trusted."""
    if trust is not None:
        return read_roots(trust)
    if variable:
        return b"".join(read_roots(part) for part in variable.split(os.pathsep) if part)
    if isinstance(key, str | os.PathLike):
        beside = Path(os.fspath(key).removeprefix(TPM_PREFIX)).parent / "root.pem"
        return read_roots(beside) if beside.is_file() else None
    return None


def _patterns(value: Any, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part for part in value.split(os.pathsep) if part)
    if all(isinstance(part, str) for part in value):
        return tuple(value)
    raise UsageError(f"{what} is a list of patterns such as 'out/*.pt'")


def _project(directory: Path) -> tuple[dict[str, Any], Path]:
    """[tool.atlas] of the nearest pyproject.toml, and where it stands."""
    for place in (directory, *directory.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            return _project_table(file), place
    return {}, directory


def _project_table(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("atlas", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file)) from error
    if not isinstance(table, dict):
        raise UsageError("[tool.atlas] is a table", where=str(file))
    if forbidden := sorted(_FORBIDDEN & table.keys()):
        raise UsageError(
            f"[tool.atlas] must not set {', '.join(forbidden)}",
            where=str(file),
            hint="trust and policy come from arguments, the environment or your own configuration only",
        )
    if unknown := sorted(table.keys() - _PROJECT_KEYS):
        raise UsageError(
            f"[tool.atlas] has no setting {', '.join(unknown)}",
            where=str(file),
            hint=f"settings are: {', '.join(sorted(_PROJECT_KEYS))}",
        )
    return table
