"""Four writers killed with SIGKILL at a random moment, again and again: nothing acknowledged is lost, nothing is twice.

    python -m tests.log_kill [--trials 10000] [--folder DIR] [--seed N]

Run by `make soak` with 10,000 trials; `make test` runs a few dozen (tests/integration/test_log_processes.py).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from atlas.log import TileLog
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.source import Folder
from atlas.remote.tree import Tree
from tests.log_crash import ORIGIN, in_memory

WRITERS = 4
LONGEST_LIFE = 0.03  # seconds


def _write(folder: Path, store: Path, name: str, pipe: int, seed: int) -> None:
    """Append for ever; say before what is submitted, and after what was acknowledged."""
    chance = random.Random(seed)
    log = TileLog(folder, store=store)
    number = 0
    while True:
        count = chance.choice([1, 1, 1, 2, 5, 40])
        batch = [f"{name}/{number + i}".encode() for i in range(count)]
        os.write(pipe, f"+{number} {count}\n".encode())
        appended = log.append(batch)
        os.write(pipe, f"={number} {count} {appended.first}\n".encode())
        number += count


def _drain(pipe: int) -> list[str]:
    data = b""
    while chunk := os.read(pipe, 1 << 16):
        data += chunk
    os.close(pipe)
    return data[: data.rfind(b"\n") + 1].decode().splitlines()


def _run(folder: Path, store: Path, trial: int, life: float, seed: int) -> tuple[set[str], dict[int, str]]:
    """Writers for so long: what they submitted, and what was acknowledged, by index."""
    children = []
    for writer in range(WRITERS):
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.close(out)
                _write(folder, store, f"{trial}/{writer}", into, seed + writer)
            os._exit(1)
        os.close(into)
        children.append((child, out, f"{trial}/{writer}"))
    time.sleep(life)
    for child, _, _ in children:
        os.kill(child, signal.SIGKILL)
    submitted: set[str] = set()
    acknowledged: dict[int, str] = {}
    for child, out, name in children:
        lines = _drain(out)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), f"a writer ended by itself: {lines[-3:]}"
        for line in lines:
            numbers = [int(word) for word in line[1:].split()]
            names = [f"{name}/{numbers[0] + i}" for i in range(numbers[1])]
            if line[0] == "+":
                submitted.update(names)
            else:
                acknowledged.update({numbers[2] + i: entry for i, entry in enumerate(names)})
    return submitted, acknowledged


def _read(log: TileLog, start: int) -> dict[int, str]:
    source = Folder(log.folder)
    checkpoint = open_checkpoint(source.read("checkpoint", limit=1 << 16), [log.vkey], where="")
    tree = Tree(source, checkpoint.size, checkpoint.root)
    found: dict[int, str] = {}
    for bundle in range(start // 256, -(-checkpoint.size // 256)):
        found.update({bundle * 256 + i: entry.decode() for i, entry in enumerate(tree.entries(bundle))})
    return {index: entry for index, entry in found.items() if index >= start}


def trials(base: Path, count: int, *, seed: int = 1, say: Callable[[str], None] = lambda text: None) -> tuple[int, int]:
    """Entries and acknowledged entries, when nothing went wrong; AssertionError otherwise."""
    folder, store = base / "log", base / "store"
    TileLog.init(folder, origin=ORIGIN, store=store)
    chance = random.Random(seed)
    size = total = 0
    root: dict[int, bytes] = {}
    for trial in range(count):
        submitted, acknowledged = _run(folder, store, trial, chance.random() * LONGEST_LIFE, chance.getrandbits(30))
        log = TileLog(folder, store=store)
        head = log.head()
        assert head.size >= size, f"trial {trial}: the head went back from {size} to {head.size}"
        if size:
            log.consistency(size)
            assert size != head.size or head.root == root[size], f"trial {trial}: another history"
        found = _read(log, size)
        assert sorted(found) == list(range(size, head.size)), f"trial {trial}: a gap"
        assert len(set(found.values())) == len(found), f"trial {trial}: an entry is there twice"
        assert set(found.values()) <= submitted, f"trial {trial}: an entry that nobody submitted"
        assert acknowledged.items() <= found.items(), f"trial {trial}: an acknowledged entry is lost"
        size, total = head.size, total + len(acknowledged)
        root = {size: head.root}
        del log
        if trial % 500 == 499:
            say(f"{trial + 1} trials, {size} entries, {total} of them acknowledged")
    assert TileLog(folder, store=store).check() == (0, [])
    return size, total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--folder", help="where the log is; default: in memory where there is some")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"{args.trials} trials of {WRITERS} writers, seed {args.seed}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=args.folder) if args.folder else in_memory() as place:
        size, acknowledged = trials(Path(place), args.trials, seed=args.seed, say=lambda text: print(text, flush=True))
    seconds = time.monotonic() - start
    print(f"nothing lost: {args.trials} kills, {size} entries, {acknowledged} acknowledged, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
