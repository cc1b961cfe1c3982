"""Which code ran: the main script, the project's modules that were imported, and the state of its git repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from atlas.record.names import Names

_FOREIGN = ("site-packages", "dist-packages", ".venv", "venv", "node_modules")
_OWN_SUFFIXES = (".c2pa", ".c2pa-index", ".tlog-proof", ".tle.json", ".c2pa.old", ".c2pa-index.old", ".tlog-proof.old")
_PACKAGE = str(Path(__file__).parent.parent) + "/"  # Atlas itself is named by its version
_GIT_SECONDS = 5.0
MAX_LISTED = 200


class Code:
    """Digests of source files, taken once each: when the run begins, and later ones when they are first seen."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._began = time.time()
        self._digests: dict[str, bytes] = {}
        self._late: list[str] = []
        self._seen: set[str] = set()  # files of modules that were looked at
        self._bases = [str(names.root)]
        self.main = self._find_main()

    def _find_main(self) -> str:
        main = sys.modules.get("__main__")
        file = getattr(main, "__file__", None)
        if isinstance(file, str) and os.path.isfile(file):  # noqa: PTH113
            path = self._names.absolute(file)
            self._bases.append(os.path.dirname(path))  # noqa: PTH120
            return path
        return ""

    def look(self) -> None:
        """Digest whatever was imported since the last look."""
        paths = {self.main} if self.main else set()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file not in self._seen:
                self._seen.add(file)
                paths.add(self._source(file))
        paths.discard("")
        for path in paths:
            name = self._names.logical(path)
            if name not in self._digests:
                self._take(name, path)

    def _source(self, file: str) -> str:
        """The absolute path of a source file of the project, else ""."""
        if not file.endswith((".py", ".so")):
            return ""
        path = self._names.absolute(file)
        ours = any(base != "/" and path.startswith(base + "/") for base in self._bases)
        if not ours or path.startswith((sys.prefix + "/", _PACKAGE)):
            return ""
        return "" if any(part in _FOREIGN for part in path.split("/")) else path

    def _take(self, name: str, path: str) -> None:
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                self._digests[name] = hashlib.file_digest(file, "sha256").digest()
                if os.fstat(file.fileno()).st_mtime > self._began:
                    self._late.append(name)
        except OSError:
            return

    def record(self) -> dict[str, Any]:
        """`digest` is SHA-256 over one line per file, `<hex> <name>`, sorted by name."""
        self.look()
        listed = dict(sorted(self._digests.items()))
        lines = "".join(f"{digest.hex()} {name}\n" for name, digest in listed.items())
        entry: dict[str, Any] = {
            "main": self._names.logical(self.main) if self.main else _mainless(),
            "digest": hashlib.sha256(lines.encode("utf-8", "surrogateescape")).digest(),
            "files": len(listed),
        }
        if len(listed) <= MAX_LISTED:
            entry["sources"] = listed
        if self._late:  # what was imported may be an older text than what was digested
            entry["changed during the run"] = sorted(self._late)
        if cells := _cells():
            entry["cells"] = cells
        return entry


def _mainless() -> str:
    return "-c" if sys.argv[:1] == ["-c"] else "interactive"


def _cells() -> dict[str, Any] | None:
    """The cells of a notebook that were executed so far."""
    main = sys.modules.get("__main__")
    history = getattr(main, "In", None)
    if not isinstance(history, list) or not hasattr(main, "get_ipython"):
        return None
    text = "\0".join(cell for cell in history if isinstance(cell, str))
    return {"count": len(history) - 1, "digest": hashlib.sha256(text.encode("utf-8", "replace")).digest()}


def git_state(root: Path) -> dict[str, Any] | None:
    """Commit and dirty flag, without locks and without running anything that the repository could have configured."""
    if not any((place / ".git").exists() for place in (root, *root.parents)):
        return None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    status = _git(root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal", "--", ".")
    if commit is None and status is None:
        return {"commit": "unknown"}
    state: dict[str, Any] = {"commit": (commit or b"").decode("ascii", "replace").strip() or "unborn"}
    if status is not None:
        lines = [line for line in status.split(b"\0") if line]
        others = [line for line in lines if not line.decode("utf-8", "replace").endswith(_OWN_SUFFIXES)]
        untracked = [line for line in others if line.startswith(b"??")]
        state["dirty"] = len(others) > len(untracked)
        state["untracked"] = len(untracked)
    return state


def _git(root: Path, *arguments: str) -> bytes | None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    # hooks, the file system monitor and pagers are programs that the repository's own configuration names
    harmless = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "--no-pager"]
    try:
        run = subprocess.run(
            ["git", *harmless, *arguments],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout if run.returncode == 0 else None
