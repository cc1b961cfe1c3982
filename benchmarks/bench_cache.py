"""A data set that did not change, with the digest cache and without: same bytes, same run, alternating.

    python benchmarks/bench_cache.py [--quick] [--rounds 7] [--directory DIR] [--json FILE]

Trees of 100,000 files of 4 KiB and 20,000 of 110 KiB (--quick: a tenth), warm page cache, all CPUs. Both answers are
compared with each other, and the flat digests of a sample of files with hashlib. The time with the cache is all of it:
its file is read and authenticated, the tree is walked, every file looked up, the index made. The directory must be on a
file system whose times are trusted (ext4, xfs, btrfs): anything else has no cache. "Two walks" is an empty part:
listing and looking at every file twice and nothing else; half of it is the least that any cache can take. Exits 1 where
a target is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from atlas.measure import measure
from atlas.parts import measure_part

# files, bytes of each, how many times faster it must be
WORK = {"files of 4 KiB": (100_000, 4096, 3.0), "files of 110 KiB": (20_000, 110 << 10, 20.0)}


def write_tree(root: Path, files: int, size: int) -> None:
    for i in range(files):
        folder = root / f"{i // 1000:03}"
        if i % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{i:06}").write_bytes(os.urandom(size))


def check(root: Path) -> None:
    """Both agree, every file is taken from the cache, and a sample is what hashlib says."""
    plain, cached = measure(root), measure(root, cache="stat")
    assert plain == cached
    assert cached.cache.files == cached.files, cached.cache
    lines = (plain.index or b"").decode().splitlines()[1:]
    for line in lines[:: max(len(lines) // 100, 1)]:
        flat, _, _, path = line.split()
        assert hashlib.sha256((root / path).read_bytes()).hexdigest() == flat


def alternate(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: {"best": min(values), "median": statistics.median(values)} for name, values in seconds.items()}


def bench(root: Path, rounds: int) -> dict[str, dict[str, float]]:
    return alternate(
        {
            "full re-hash": lambda: measure(root),
            "cache, stat": lambda: measure(root, cache="stat"),
            "cache, stat+sample": lambda: measure(root, cache="stat+sample"),
            "two walks, no lookup": lambda: measure_part(root, first=0, end=0),
        },
        rounds,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files; no targets")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", help="where the data is written; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="save the figures")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-cache-", dir=args.directory))
    os.environ["ATLAS_CACHE_DIR"] = str(folder / "cache")
    missed: list[str] = []
    results: dict[str, object] = {"cpus": os.cpu_count(), "kernel": platform.release(), "directory": str(folder)}
    print(f"{os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}; in {folder}")
    try:
        for name, (all_files, size, target) in WORK.items():
            files = all_files // 10 if args.quick else all_files
            root = folder / name.replace(" ", "-")
            write_tree(root, files, size)
            first = measure(root, cache="stat")
            if first.cache.level == "off":
                print("the cache is off here: not a file system whose times are trusted")
                return 1
            check(root)
            seconds = bench(root, args.rounds)
            base = seconds["full re-hash"]
            print(f"\n{files} {name}, best and median of {args.rounds}; target {target:g} x with all files")
            for what, value in seconds.items():
                ratio = base["median"] / value["median"]
                print(f"  {what:20} {value['best']:8.4f} s {value['median']:8.4f} s  {ratio:6.2f} x")
                value["ratio"] = ratio
                if not args.quick and what == "cache, stat" and ratio < target:
                    missed.append(name)
            least = seconds["two walks, no lookup"]["median"] / 2
            print(f"  the least: one walk, {least:.4f} s, would be {base['median'] / least:.2f} x")
            results[name] = seconds
            shutil.rmtree(root)
        if args.json is not None:
            args.json.write_text(json.dumps(results, indent=1))
    finally:
        shutil.rmtree(folder)
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
