"""The C library's own tests, built with AddressSanitizer and UndefinedBehaviorSanitizer, and the fuzz targets over
their corpus. `make -C csrc asan` and `make -C csrc fuzz-replay` do the same without Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"
FUZZ = ROOT / "tests" / "fuzz"
TESTS = sorted(path.stem for path in (ROOT / "tests" / "c").glob("test_*.c"))
TARGETS = sorted(path.stem for path in FUZZ.glob("fuzz_*.c"))
NO_VECTORS = 77


@pytest.fixture(scope="session")
def build() -> Path:
    """Folder of the instrumented binaries."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "CFLAGS"}
    }
    made = subprocess.run(
        ["make", "-s", "-j2", "FLAVOUR=asan", "tests", "replay"],
        cwd=CSRC,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return CSRC / "build" / "asan"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, check=False)


def test_the_suite_knows_the_c_tests_and_the_fuzz_targets() -> None:
    assert {"test_base", "test_cbor", "test_jumbf", "test_c2pa", "test_cose"} <= set(TESTS)
    assert {"fuzz_cbor", "fuzz_jumbf", "fuzz_c2pa", "fuzz_cose"} <= set(TARGETS)


@pytest.mark.parametrize("name", TESTS)
def test_c_tests_pass_under_sanitizers(build: Path, name: str) -> None:
    ran = run(build / name)
    if ran.returncode == NO_VECTORS:
        pytest.skip(ran.stdout.strip())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " tests, 0 failed" in ran.stdout


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz_targets_survive_their_corpus(build: Path, name: str) -> None:
    corpus = FUZZ / "corpus" / name.removeprefix("fuzz_")
    inputs = sum(1 for path in corpus.iterdir() if path.is_file())
    ran = run(build / f"replay_{name}", corpus)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip() == f"{inputs} inputs"
    assert inputs > 0
