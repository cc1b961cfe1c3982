"""Durable appends to the embedded log, beside SQLite in WAL mode with synchronous=FULL inserting the same entries.

    python benchmarks/bench_log.py [--quick] [--rounds 7] [--directory DIR] [--json FILE]

Same entries (488 bytes, as a hashedrekord has), same disk, alternating; best and median of the rounds. An append is
counted when it returned: its entry is flushed, committed and readable. SQLite is one connection; for the 64 submitters
it stays one, since its writers take turns anyway. Both read back what they wrote. Then a log of ten million entries of
32 bytes: made in large batches, opened in a new process, and proofs of 2,002 leaves all over it (of each the best of
three, then the slowest). The directory should be on a real disk: in memory a flush costs nothing and the figures mean
nothing. Exits 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from atlas.log import TileLog
from atlas.remote.tree import check_inclusion, leaf_hash

ENTRY = 488
SUBMITTERS = 64
HUGE = 10_000_000
OPEN = """
import json, os, resource, sys, time
sys.path.insert(0, sys.argv[3])
from atlas.log import TileLog
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = memory()
start = time.perf_counter()
log = TileLog(sys.argv[1], store=sys.argv[2], read_only=True)
seconds = time.perf_counter() - start
opened = memory() - before
print(json.dumps({"seconds": seconds, "bytes": opened, "size": log.head().size}))
"""


def entries_of(count: int, size: int = ENTRY) -> list[bytes]:
    block = random.Random(1).randbytes(size)
    return [i.to_bytes(8, "big") + block[8:] for i in range(count)]


class Database:
    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(folder / "entries.sqlite", isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)")

    def append(self, entries: list[bytes]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO entries (entry) VALUES (?)", ((entry,) for entry in entries))
        self.connection.execute("COMMIT")

    def check(self, entries: list[bytes]) -> None:
        assert [row[0] for row in self.connection.execute("SELECT entry FROM entries ORDER BY id")] == entries
        self.connection.close()


class Log:
    def __init__(self, folder: Path) -> None:
        self.log = TileLog.init(folder / "log", origin="log.example/bench", store=folder / "store")

    def append(self, entries: list[bytes]) -> None:
        self.log.append(entries)

    def check(self, entries: list[bytes]) -> None:
        assert self.log.check() == (0, []) and self.log.head().size == len(entries)
        for index in (0, len(entries) // 2, len(entries) - 1):
            proof = self.log.prove(index)
            check_inclusion(index, proof.size, leaf_hash(entries[index]), proof.path, self.log.head().root)


def in_batches(place: Database | Log, entries: list[bytes], size: int) -> None:
    for i in range(0, len(entries), size):
        place.append(entries[i : i + size])


def by_many(place: Database | Log, entries: list[bytes]) -> None:
    """Each of 64 threads appends its share one by one."""

    def work(number: int) -> None:
        for entry in entries[number::SUBMITTERS]:
            place.append([entry])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(SUBMITTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(kind: type[Database | Log], folder: Path, entries: list[bytes], work: Callable[..., None]) -> float:
    place = Path(tempfile.mkdtemp(dir=folder))
    target = kind(place)
    start = time.perf_counter()
    work(target, entries)
    seconds = time.perf_counter() - start
    if work is not by_many or kind is Database:
        target.check(entries)
    else:
        assert target.log.check() == (0, []) and target.log.head().size == len(entries)
    shutil.rmtree(place)
    return len(entries) / seconds


def compare(folder: Path, rounds: int, quick: bool) -> list[tuple[str, float, float, float]]:
    """(what, entries/s of ours, of SQLite, both the median)"""
    share = 10 if quick else 1
    works: list[tuple[str, Callable[..., None], Callable[..., None], int, float]] = [
        ("one by one", lambda p, e: in_batches(p, e, 1), lambda p, e: in_batches(p, e, 1), 400 // share, 0.05),
        ("batches of 256", lambda p, e: in_batches(p, e, 256), lambda p, e: in_batches(p, e, 256), 25_600 // share, 0),
        ("64 submitters", by_many, lambda p, e: in_batches(p, e, 1), 3200 // share, 0.5),
    ]
    rows = []
    for name, ours, theirs, count, target in works:
        entries = entries_of(count)
        speeds: dict[str, list[float]] = {"log": [], "sqlite": []}
        for _ in range(rounds):
            speeds["log"].append(run(Log, folder, entries, ours))
            speeds["sqlite"].append(run(Database, folder, entries, theirs))
        log, database = statistics.median(speeds["log"]), statistics.median(speeds["sqlite"])
        print(f"  {name:16} {log:10.0f} /s   SQLite {database:10.0f} /s   {log / database:6.2f} x", flush=True)
        rows.append((name, log, database, target))
    return rows


def huge(folder: Path, size: int) -> dict[str, float]:
    place = Path(tempfile.mkdtemp(dir=folder))
    log = TileLog.init(place / "log", origin="log.example/huge", store=place / "store")
    batch = 500_000
    seconds = 0.0
    for first in range(0, size, batch):
        entries = [i.to_bytes(32, "big") for i in range(first, min(first + batch, size))]
        start = time.perf_counter()
        log.append(entries)
        seconds += time.perf_counter() - start
    del log
    os.sync()
    command = [sys.executable, "-c", OPEN, place / "log", place / "store", Path(__file__).parent.parent]
    opened = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert opened["size"] == size
    log = TileLog(place / "log", store=place / "store", read_only=True)
    head = log.head()
    chance = random.Random(1)
    times = []
    for index in [0, size - 1, *(chance.randrange(size) for _ in range(2000))]:
        tries = []
        for _ in range(3):
            start = time.perf_counter()
            proof = log.prove(index)
            tries.append(time.perf_counter() - start)
        times.append(min(tries))
        check_inclusion(index, size, leaf_hash(index.to_bytes(32, "big")), proof.path, head.root)
    shutil.rmtree(place)
    return {"made": size / seconds, "open": opened["seconds"], "memory": opened["bytes"],
            "proof": statistics.median(times), "slowest": max(times)}  # fmt: skip


def large(folder: Path, rounds: int, count: int) -> float:
    entries = entries_of(count)
    return statistics.median(run(Log, folder, entries, lambda p, e: in_batches(p, e, 100_000)) for _ in range(rounds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of it; no targets")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", help="where the data is written; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="save the figures")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-log-", dir=args.directory))
    size = HUGE // 10 if args.quick else HUGE
    missed: list[str] = []

    def judge(name: str, value: float, target: float, *, least: bool) -> None:
        if not args.quick and (value < target if least else value > target):
            missed.append(name)

    try:
        print(f"{os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}; in {folder}")
        print(f"entries of {ENTRY} bytes a second, median of {args.rounds}")
        rows = compare(folder, args.rounds, args.quick)
        for name, log, database, target in rows:
            judge(name, log / database, target, least=True)
        speed = large(folder, args.rounds, 20_000 if args.quick else 100_000)
        print(f"  batches of 100,000 {speed:8.0f} /s   target 100,000")
        judge("large batches", speed, 100_000, least=True)
        found = huge(folder, size)
        print(f"\na log of {size:,} entries, made at {found['made']:.0f} /s")
        print(f"  opened in {found['open'] * 1e3:.1f} ms, {found['memory'] / 2**20:.1f} MiB   targets 1 s, 64 MiB")
        print(f"  proof of a leaf {found['proof'] * 1e3:.2f} ms, slowest {found['slowest'] * 1e3:.2f} ms   target 5 ms")
        judge("open", found["open"], 1.0, least=False)
        judge("memory", found["memory"], 64 << 20, least=False)
        judge("proof", found["slowest"], 5e-3, least=False)
        if args.json is not None:
            args.json.write_text(json.dumps({"compare": rows, "large": speed, "huge": found}, indent=1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
