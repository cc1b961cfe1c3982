"""One quick run of the case study, shared by the tests that look at what it leaves behind."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "bert" / "run.py"


@dataclass(frozen=True)
class CaseStudy:
    out: Path
    log: str
    code: int
    seconds: float


def environment(**more: str) -> dict[str, str]:
    """As a user has it: no ATLAS_ variable, this checkout's package, this interpreter's programs first."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ATLAS_", "PYTEST_"))}
    paths = [str(ROOT), *filter(None, [clean.get("PYTHONPATH")])]
    return clean | {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"} | more


@functools.cache
def quick() -> CaseStudy:
    place = Path(tempfile.mkdtemp(prefix="atlas-case-study-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    began = time.monotonic()
    command = [sys.executable, str(SCRIPT), "--out", "out", "--quick"]
    run = subprocess.run(command, cwd=place, env=environment(), check=False, capture_output=True, encoding="utf-8")
    return CaseStudy(place / "out", run.stdout + run.stderr, run.returncode, time.monotonic() - began)
