"""ATLAS_KERNEL: every kernel gives the same digests; one that is unknown or not there is an error. C: test_lanes.c."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.measure import kernels

KERNELS = ["openssl", "sha-ni", "avx512", "sha-ni+avx512"]
SIZES = [0, 1, 55, 64, 4096, 70000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, (19 << 20) + 77]

DIGESTS = """
import json, sys
from atlas import _core
from atlas.measure import kernels, measure

found = []
for name in sys.argv[1:]:
    for alg in ("sha256", "sha384", "sha512"):
        for threads in (1, 3):
            m = measure(name, alg=alg, threads=threads)
            found.append([str(m.flat), str(m.tree), str(m.index)])
    if m.index is None:
        for threads in (1, 3):
            found.append(str(measure(name, flat=False, threads=threads).tree))
        content = open(name, "rb").read()
        found.append(_core.chunk_digests(content).hex())
print(json.dumps([kernels(), found]))
"""


def run(kernel: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "ATLAS_KERNEL"}
    if kernel is not None:
        environ["ATLAS_KERNEL"] = kernel
    return subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    chance = random.Random(5)
    (root / "sub").mkdir()
    for i, size in enumerate(SIZES):
        (root / "sub" / f"{i}").write_bytes(chance.randbytes(size))
    for i in range(70):
        (root / f"small{i}").write_bytes(chance.randbytes(chance.randrange(9000)))
    return root


def test_every_kernel_gives_the_same_digests_for_files_and_directories(tree: Path) -> None:
    names = [str(tree / "sub" / f"{i}") for i in range(len(SIZES))] + [str(tree)]
    seen: dict[str, object] = {}
    for kernel in KERNELS:
        done = run(kernel, "-c", DIGESTS, *names)
        if done.returncode != 0:
            assert "ATLAS_KERNEL: this processor or its operating system has no" in done.stderr
            continue
        used, seen[kernel] = json.loads(done.stdout)
        assert used["sha256"].split()[0] in {kernel, "openssl"}
    assert "openssl" in seen
    assert all(found == seen["openssl"] for found in seen.values())


def test_a_kernel_that_does_not_exist_is_an_error_that_lists_them(tree: Path) -> None:
    done = run("sha-nine", "-m", "atlas", "digest", str(tree / "small1"))
    assert done.returncode != 0
    assert "ATLAS_KERNEL" in done.stderr and "'sha-nine'" in done.stderr
    assert all(kernel in done.stderr for kernel in KERNELS)


def test_doctor_shows_the_kernels() -> None:
    done = run(None, "-m", "atlas", "doctor", "--no-hooks", "--json")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["kernels"]["state"] == "ok"
    assert findings["kernels"]["text"] == ", ".join(f"{alg} {kernel}" for alg, kernel in kernels().items())
    done = run("nothing", "-m", "atlas", "doctor", "--no-hooks", "--json")
    report = json.loads(done.stdout)
    assert "kernels" in report["broken"] and done.returncode == 6
