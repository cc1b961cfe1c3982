"""Who else hashes files, what the machine can do at most, and the digests once more by another hand."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from peers import Seconds

from atlas import _core
from atlas.measure import measure
from atlas.model import Measurement
from atlas.parts import measure_part

CHUNK = 1 << 20
CORES = len(os.sched_getaffinity(0))
DEPTH = 64  # reads at once, to find what the disk can do


def output(*command: str | Path, data: bytes | None = None) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def timed(call: Callable[[], object]) -> Callable[[], Seconds]:
    def run() -> Seconds:
        start = time.perf_counter()
        call()
        return {"seconds": time.perf_counter() - start}

    return run


# ------------------------------------------------------------------------------------------------------------- peers


def versions() -> dict[str, str]:
    found = {"openssl": output("openssl", "version").decode().strip(), "atlas": f"kernels: {kernels()}"}
    if shutil.which("b3sum"):
        found["b3sum"] = output("b3sum", "--version").decode().strip() + ", its defaults: mmap, all cores"
    try:
        found["model_signing"] = importlib.metadata.version("model-signing") + ", hashing.Config(), its defaults"
    except importlib.metadata.PackageNotFoundError:
        found["model_signing"] = "not installed: pip install 'atlas-provenance[benchmark]'"
    return found


def kernels() -> Any:
    """What hashes here; before the core had kernels of its own it was OpenSSL."""
    chosen = getattr(_core, "kernels", None)
    return chosen() if chosen is not None else "OpenSSL"


def model_signing(path: Path, *, shards: bool = False) -> dict[str, str]:
    """Its digests, by what it calls the things that it hashes."""
    from model_signing.hashing import Config

    config: Any = Config()  # type: ignore[no-untyped-call]
    if shards:
        config.use_shard_serialization()
    found = config.hash(path)
    return {str(d.identifier): d.digest.digest_hex for d in found.resource_descriptors()}


def file_peers(path: Path) -> dict[str, Callable[[], object]]:
    """What may be missing is left out, and its row says so."""
    peers: dict[str, Callable[[], object]] = {"openssl dgst": lambda: output("openssl", "dgst", "-sha256", path)}
    if shutil.which("b3sum"):
        peers["b3sum"] = lambda: output("b3sum", path)
    return peers | signing_peers(path)


def signing_peers(path: Path) -> dict[str, Callable[[], object]]:
    if "not installed" in versions()["model_signing"]:
        return {}
    return {
        "model_signing": lambda: model_signing(path),
        "model_signing shards": lambda: model_signing(path, shards=True),
    }


def xargs_openssl(root: Path, processes: int = CORES) -> bytes:
    """Lines of all files, in no order; of more than one process they may be mixed up."""
    files = subprocess.Popen(["find", root, "-type", "f", "-print0"], stdout=subprocess.PIPE)
    hashing = ["xargs", "-0", "-n", "500", "-P", str(processes), "openssl", "dgst", "-sha256", "-r"]
    printed = subprocess.run(hashing, stdin=files.stdout, capture_output=True, check=True).stdout
    if files.wait() != 0:
        raise RuntimeError("find failed")
    return printed


# ------------------------------------------------------------------------------------------------------- the ceiling


class Floor:
    """What reading alone takes: a small C program (floor.c), or nothing where there is no compiler."""

    def __init__(self, place: Path) -> None:
        self.program = place / "floor"
        source = Path(__file__).with_name("floor.c")
        compiler = shutil.which("cc")
        if compiler is not None:
            subprocess.run([compiler, "-O2", "-pthread", source, "-o", self.program], check=True)

    def _run(self, command: list[str | Path], names: bytes | None = None) -> Seconds:
        if not self.program.exists():
            return {"seconds": 0.0}
        return {"seconds": float(output(self.program, *command, data=names).split()[0])}

    def file(self, path: Path, threads: int = CORES) -> Seconds:
        return self._run([str(threads), path])

    def files(self, names: bytes, threads: int = CORES) -> Seconds:
        return self._run([str(threads)], names)


def names_of(root: Path) -> bytes:
    return output("find", root, "-type", "f", "-print0")


def walking(root: Path) -> Seconds:
    """One walk: measuring no file at all looks at every one of them twice."""
    start = time.perf_counter()
    measure_part(root, first=0, end=0)
    return {"seconds": (time.perf_counter() - start) / 2}


def hashing_speed() -> float:
    """Bytes per second of chunks that are in the cache, on one core, times the number of cores."""
    block = memoryview(bytearray(os.urandom(1 << 20) * 32))
    best = 0.0
    for _ in range(20):
        start = time.perf_counter()
        _core.chunk_digests(block, "sha256", 1)
        best = max(best, len(block) / (time.perf_counter() - start))
    return best * CORES


def flat_speed() -> float:
    """Bytes per second of one flat digest: no thread can help."""
    block = memoryview(bytearray(64 << 20))
    best = 0.0
    for _ in range(3):
        measurer = _core.Measurer(tree=False)
        start = time.perf_counter()
        measurer.update(block)
        measurer.finish()
        best = max(best, len(block) / (time.perf_counter() - start))
    return best


# ------------------------------------------------------------------------------------------------------- the digests


def tree_hash(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1 << (len(entries) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(entries[:k]) + tree_hash(entries[k:])).digest()


def plain_digests(path: Path) -> tuple[str, str]:
    """Flat digest and tree of the bytes on disk, by hashlib."""
    flat, chunks = hashlib.sha256(), []
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            flat.update(chunk)
            chunks.append(hashlib.sha256(chunk).digest())
    return flat.hexdigest(), tree_hash(chunks).hex()


def check_file(path: Path, theirs: Iterable[str] = ()) -> None:
    flat, tree = plain_digests(path)
    for threads in (0, 1):
        found = measure(path, threads=threads)
        assert found.flat is not None
        assert found.tree is not None
        assert (found.flat.hex, found.tree.hex) == (flat, tree)
    alone = measure(path, flat=False).tree
    assert alone is not None
    assert alone.hex == tree
    assert all(digest == flat for digest in theirs)


def index_lines(found: Measurement) -> list[list[str]]:
    return [line.split() for line in (found.index or b"").decode().splitlines()[1:]]


def check_directory(root: Path, theirs: bytes, names: bytes) -> None:
    """Every flat digest is openssl's; flat and tree of a sample are hashlib's; every file is there."""
    printed = {line[66:]: line[:64] for line in theirs.decode().splitlines()}
    for threads in (0, 1):
        lines = index_lines(measure(root, threads=threads))
        assert {str(root / path): flat for flat, _, _, path in lines} == printed
    assert set(printed) == set(names.decode().split("\0")) - {""}
    for flat, tree, _, path in lines[:: max(len(lines) // 100, 1)]:
        assert plain_digests(root / path) == (flat, tree)


# -------------------------------------------------------------------------------------------------------- page cache


def forget(root: Path) -> str:
    """Have the kernel forget what it knows of the files, as well as it lets us; says how."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return "drop_caches: pages, names and inodes"
    except OSError:
        for path in root.rglob("*"):
            if path.is_file():
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)
        return "POSIX_FADV_DONTNEED of every file: pages only"


def place_for(directory: str | None) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bench-measure-", dir=directory)
