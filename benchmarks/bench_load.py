"""torch.load with everything verified before a byte is handed out, and plain: same file, same run, alternating.

    python benchmarks/bench_load.py [--mib 4096] [--rounds 5] [--directory DIR] [--quick] [--json FILE]

A signed model of that size in the directory (default: the temporary directory), warm. "enforce": atlas.init in enforce
mode, so manifest, chain and every chunk are verified first; "enforce, mmap": the same for mmap=True; "observed": the
default mode, which measures what torch reads. After each load every tensor is compared with what was saved. The ceiling
is one read of the file into fresh memory on all cores with its digests, and nothing else. Memory: the peak of a
verified load beyond that of a plain one, at two sizes. Exits 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import mmap
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peers import Seconds, alternate, machine, peak_beyond, report

import atlas
from atlas import _core
from atlas.sign import keygen

RATIO, OF_CEILING, MEMORY = 1.20, 0.80, 64 << 20
TENSORS = 32
VERDICTS = {True: "met", False: "MISSED", None: "not judged"}


def model(mib: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {f"layer.{i}.weight": torch.randn((mib << 18) // TENSORS) for i in range(TENSORS)}


def sums(state: dict[str, torch.Tensor]) -> dict[str, int]:
    """Of the bits, so that any other content shows."""
    return {name: int(tensor.view(torch.int64).sum()) for name, tensor in state.items()}


class Bench:
    def __init__(self, directory: Path, mib: int) -> None:
        self.path = directory / "model.pt"
        self.key = directory / "keys" / "key.pem"
        keygen("Benchmark", directory / "keys")
        state = model(mib)
        run = atlas.init(key=self.key)
        torch.save(state, self.path)
        run.finish()
        atlas.uninstall()
        self.expected = sums(state)

    def load(self, mode: str | None, **options: Any) -> Seconds:
        """Seconds until torch.load returns; what is then read in the background is waited for, and not counted."""
        run = atlas.init(key=self.key, mode=mode) if mode else None
        start = time.perf_counter()
        loaded = torch.load(self.path, **options)
        seconds = time.perf_counter() - start
        self.check(loaded)
        del loaded
        if run is not None:
            run.finish()
            atlas.uninstall()
        return {"load": seconds}

    def check(self, loaded: dict[str, torch.Tensor]) -> None:
        assert sums(loaded) == self.expected

    def ceiling(self) -> Seconds:
        memory = mmap.mmap(-1, self.path.stat().st_size)
        memory.madvise(mmap.MADV_HUGEPAGE)
        with self.path.open("rb") as file:
            start = time.perf_counter()
            _core.read_chunks(file.fileno(), 0, memory)
            seconds = time.perf_counter() - start
        memory.close()
        return {"load": seconds}


def bench(directory: Path, mib: int, rounds: int) -> dict[str, Any]:
    where = machine(directory)
    place = Bench(directory, mib)
    work = {
        "plain": lambda: place.load(None),
        "enforce": lambda: place.load("enforce"),
        "plain, mmap": lambda: place.load(None, mmap=True),
        "enforce, mmap": lambda: place.load("enforce", mmap=True),
        "observed": lambda: place.load("observe"),
        "ceiling": place.ceiling,
    }
    seconds = {name: parts["load"] for name, parts in alternate(work, rounds).items()}
    plain, ours, ceiling = (seconds[name]["best"] for name in ("plain", "enforce", "ceiling"))
    met = ours / plain <= RATIO or ceiling / ours >= OF_CEILING
    medians = seconds["enforce"]["median"] / seconds["plain"]["median"]
    return where | {
        "bytes": place.path.stat().st_size, "seconds": seconds, "ratio": ours / plain, "of medians": medians,
        "of ceiling": ceiling / ours, "met": met,
    }  # fmt: skip


def memory(directory: Path, mib: int, mode: str | None) -> int:
    """The peak of one load, in a process of its own; the tensors are among it."""
    place = Bench(directory, mib)
    return peak_beyond(lambda: place.load(mode))


def show(found: dict[str, Any]) -> None:
    print(f"{found['file system']}, {found['cores']} cores ({found['cpu']}), kernel {found['kernel']}, "
          f"load {found['load before']:.1f}, torch {torch.__version__}; {found['bytes'] / 1e9:.2f} GB")  # fmt: skip
    for what, times in found["seconds"].items():
        speed = found["bytes"] / times["best"] / 1e9
        print(f"  {what:14} best {times['best']:.3f} s  median {times['median']:.3f} s  {speed:.2f} GB/s")
    print(f"  enforce / plain: {found['ratio']:.3f} (of medians {found['of medians']:.3f}), {found['of ceiling']:.0%} "
          f"of the ceiling; <= {RATIO}: {VERDICTS[found['met']]}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--quick", action="store_true", help="128 MiB, two rounds; no targets")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    args = parser.parse_args()
    mib, rounds = (128, 2) if args.quick else (args.mib, args.rounds)
    with tempfile.TemporaryDirectory(dir=args.directory) as place:
        os.environ["ATLAS_STORE"] = f"{place}/store"
        if args.memory:
            print(memory(Path(place), args.memory, args.mode))
            return 0
        result = bench(Path(place), mib, rounds)
    result["met"] = None if args.quick else result["met"]
    show(result)
    met = result["met"]
    result["memory"] = {}
    for size in (mib // 4, mib // 2):
        command = [sys.executable, __file__, "--directory", args.directory, "--memory", str(size)]
        peaks = [
            int(subprocess.run([*command, *mode], capture_output=True, text=True, check=True).stdout)
            for mode in ([], ["--mode", "enforce"])
        ]
        result["memory"][f"{size} MiB"] = {"plain": peaks[0], "enforce": peaks[1]}
        beyond = peaks[1] - peaks[0]
        print(f"memory beyond a plain load, {size} MiB: {beyond / (1 << 20):.1f} MiB (target < {MEMORY >> 20})")
        met = met and beyond < MEMORY
    report(result, args.json)
    return 0 if met or args.quick else 1


if __name__ == "__main__":
    sys.exit(main())
