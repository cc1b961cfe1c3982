"""What a run ran on and with: interpreter, packages, hardware, command line, seeds. Captured once, in the background.

Nothing here names a person or a machine: no user, no host, no absolute path.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from atlas.record.code import Code, git_state
from atlas.record.names import Names

DEADLINE_SECONDS = 2.0
_ENVIRONMENT = re.compile(
    r"(CUDA|NCCL|GLOO|OMP|MKL|KMP|OPENBLAS|TORCH|PYTORCH|CUBLAS|XLA|HSA|ROCR|HIP)_?[A-Z0-9_]*\Z"
    r"|HF_HUB_OFFLINE\Z|TRANSFORMERS_OFFLINE\Z|TOKENIZERS_PARALLELISM\Z|PYTHONHASHSEED\Z|PYTHONOPTIMIZE\Z"
    r"|(LOCAL_|GROUP_)?(RANK|WORLD_SIZE)\Z"
)
_WHEEL = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.(?:dist-info|egg-info)\Z")
_CPU_MODEL = re.compile(rb"^model name\s*:\s*(.+)$", re.MULTILINE)
_DRIVER = re.compile(r"Kernel Module(?: for \S+)?\s+(\S+)")

Facts = Callable[[], Mapping[str, Any]]


def packages() -> dict[str, str]:
    """Distributions and versions, from the names of their metadata directories: reading the metadata takes seconds."""
    found: dict[str, str] = {}
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            match = _WHEEL.match(name)
            if match:
                found.setdefault(match["name"].replace("_", "-").lower(), match["version"])
    return dict(sorted(found.items()))


def system() -> dict[str, Any]:
    entry: dict[str, Any] = {
        "os": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
    }
    match = _CPU_MODEL.search(_start_of("/proc/cpuinfo"))
    if match:
        entry["cpu"] = match[1].decode("utf-8", "replace").strip()
    driver = _DRIVER.search(_start_of("/proc/driver/nvidia/version").decode("utf-8", "replace"))
    if driver:
        entry["nvidia driver"] = driver[1]
    return entry


def _start_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(8192)
    except OSError:
        return b""


def interpreter() -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "optimize": sys.flags.optimize,
    }


def environment() -> dict[str, str]:
    return {name: value for name, value in sorted(os.environ.items()) if _ENVIRONMENT.match(name)}


def random_state() -> dict[str, Any]:
    """Digest of the state of Python's own generator; torch's and numpy's come from their hooks."""
    return {"python": hashlib.sha256(repr(random.getstate()).encode()).digest()}


class Context:
    """Begins to look around at once and answers later; what is not there by the deadline is left out and said so."""

    def __init__(self, names: Names, root: Path) -> None:
        self.code = Code(names)
        self._root = root
        self._found: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._capture, name="atlas-context", daemon=True)
        self._began = time.monotonic()
        self.providers: dict[str, Facts] = {}

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: look around here and now
            self._capture()

    def _capture(self) -> None:
        parts: dict[str, Callable[[], Any]] = {
            "git": lambda: git_state(self._root),
            "packages": packages,
            "system": system,
        }
        for key, part in parts.items():
            try:
                value = part()
            except Exception as error:  # one curious machine must not cost the other facts
                value = {"unknown": type(error).__name__}
            if value is not None:
                self._found[key] = value
        self._found["complete"] = True

    def record(self) -> dict[str, Any]:
        """Everything about the run that is the same for all its artifacts, and the seeds as they are now."""
        remaining = DEADLINE_SECONDS - (time.monotonic() - self._began)
        if self._thread.is_alive() and remaining > 0:
            self._thread.join(remaining)
        found = dict(self._found)
        complete = found.pop("complete", False)
        entry: dict[str, Any] = {"code": self.code.record(), "python": interpreter()} | found
        if not complete:
            entry["incomplete"] = "the machine took too long to describe"
        for name, provider in self.providers.items():
            try:
                facts = dict(provider())
            except Exception as error:  # a half-imported torch must not cost the manifest
                facts = {"unknown": type(error).__name__}
            if facts:
                entry[name] = facts
        entry["random"] = random_state() | entry.pop("random", {})
        return entry
