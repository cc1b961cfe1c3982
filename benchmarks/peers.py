"""What the benchmarks share: alternating runs, the machine they ran on, the memory that a piece of work took."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Seconds = dict[str, float]


def alternate(
    work: dict[str, Callable[[], Seconds]], rounds: int, patience: float = float("inf")
) -> dict[str, dict[str, Seconds]]:
    """Each in turn in every round, saying what of it took how long: {name: {part: {"best", "median"}}}. Who has run
    three times, and for more than `patience` seconds in all, rests."""
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in work}
    for i in range(rounds):
        for name, call in work.items():
            if i >= 3 and any(sum(values) > patience for values in seconds[name].values()):
                continue
            for part, value in call().items():
                seconds[name].setdefault(part, []).append(value)
    return {
        name: {part: {"best": min(v), "median": statistics.median(v)} for part, v in parts.items()}
        for name, parts in seconds.items()
    }


def machine(directory: Path) -> dict[str, Any]:
    found = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True, check=False).stdout
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": names[0] if names else platform.machine(),
        "kernel": platform.release(),
        "file system": found.strip(),
        "load before": os.getloadavg()[0],
    }


def forget_peak() -> int:
    """Start counting the peak of this process's memory anew; bytes in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"no {field} in /proc/self/status")


def peak_beyond(work: Callable[[], object]) -> int:
    """Bytes of memory that the work took at its peak, beyond what was in use before it."""
    before = forget_peak()
    work()
    return max(0, status("VmHWM") - before)


def report(result: dict[str, Any], place: str | None) -> None:
    if place:
        Path(place).write_text(json.dumps(result, indent=2) + "\n")
