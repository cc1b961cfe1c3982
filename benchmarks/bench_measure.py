"""Measuring beside sha256sum and openssl: same bytes, same run, alternating; medians and ratios.

    python benchmarks/bench_measure.py [--mib 1024] [--files 10000] [--rounds 5] [--directory DIR] [--json FILE]

Warm page cache. Every digest is compared with the peer's. OpenSSL does the hashing on both sides; nothing is tuned.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from atlas.measure import measure


def write_file(path: Path, mib: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as stream:
        for i in range(mib):
            stream.write(i.to_bytes(8, "big") + block[8:])


def write_tree(root: Path, files: int) -> None:
    for i in range(files):
        folder = root / f"{i // 1000:03}"
        if i % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{i:06}").write_bytes(os.urandom(4096))


def output(*command: str, shell: bool = False) -> str:
    return subprocess.run(
        command[0] if shell else command, shell=shell, capture_output=True, text=True, check=True
    ).stdout


def flat_of(path: Path, **options: object) -> str:
    digest = measure(path, tree=False, **options).flat  # type: ignore[arg-type]
    return digest.hex if digest is not None else ""


def alternate(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for call in work.values():
        call()  # warms the page cache
    for _ in range(rounds):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def bench_file(path: Path, rounds: int) -> dict[str, float]:
    expected = output("sha256sum", str(path)).split()[0]
    assert flat_of(path) == expected == output("openssl", "dgst", "-sha256", "-r", str(path)).split()[0]
    return alternate(
        {
            "sha256sum": lambda: output("sha256sum", str(path)),
            "openssl dgst -sha256": lambda: output("openssl", "dgst", "-sha256", str(path)),
            "atlas flat": lambda: measure(path, tree=False),
            "atlas flat, 1 thread": lambda: measure(path, tree=False, threads=1),
            "atlas flat + tree": lambda: measure(path),
            "atlas flat + tree, 1 thread": lambda: measure(path, threads=1),
            "atlas tree": lambda: measure(path, flat=False),
            "atlas tree, 1 thread": lambda: measure(path, flat=False, threads=1),
        },
        rounds,
    )


def bench_tree(root: Path, rounds: int) -> dict[str, float]:
    everything = f"find {root} -type f -print0 | xargs -0 -n 500 -P {os.cpu_count()}"
    printed = {line.split()[1]: line.split()[0] for line in output(f"{everything} sha256sum", shell=True).splitlines()}
    index = measure(root).index or b""
    for line in index.decode().splitlines()[1:]:
        flat, _, _, path = line.split()
        assert printed[str(root / path)] == flat
    return alternate(
        {
            "find | xargs -P sha256sum": lambda: output(f"{everything} sha256sum", shell=True),
            "find | xargs -P openssl dgst": lambda: output(f"{everything} openssl dgst -sha256", shell=True),
            "atlas directory": lambda: measure(root),
            "atlas directory, 1 thread": lambda: measure(root, threads=1),
        },
        rounds,
    )


def show(title: str, seconds: dict[str, float], megabytes: float) -> None:
    peer, base = next(iter(seconds.items()))
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:30} {value:8.3f} s  {megabytes / value / 1000:6.2f} GB/s  {base / value:6.2f} x {peer}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", help="where the data is written; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="save the medians")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-measure-", dir=args.directory))
    try:
        print(f"{os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}")
        print(
            f"{output('sha256sum', '--version').splitlines()[0]}; {output('openssl', 'version').strip()}; in {folder}"
        )
        write_file(folder / "file", args.mib)
        one = bench_file(folder / "file", args.rounds)
        show(f"one file of {args.mib} MiB, median of {args.rounds}", one, args.mib * 1.048576)
        write_tree(folder / "tree", args.files)
        many = bench_tree(folder / "tree", args.rounds)
        show(f"{args.files} files of 4 KiB, median of {args.rounds}", many, args.files * 0.004096)
        if args.json is not None:
            args.json.write_text(json.dumps({"file": one, "tree": many, "arguments": str(args)}, indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
