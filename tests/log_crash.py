"""What a disk may hold after a crash: the recorded changes of a real append are replayed on a model of a file system
that keeps only what was flushed, and of the rest whatever it likes, in any order.

A file's bytes are there once the file was flushed; before that none of them, all, half, or zeros. A change of a
directory (a name made, linked, renamed, removed) is there once that directory was flushed; before that each change by
itself may be there or not. This is weaker than any file system that people use.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from atlas.log import TileLog
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.source import Folder
from atlas.remote.tree import Tree

ROOT = Path(__file__).parent.parent
ORIGIN = "log.example/crash"


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder that no disk slows down, where the machine has one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="atlas-test-log-", dir=place) as folder:
        yield Path(folder)


def build_library(folder: Path) -> Path | None:
    """The library that is preloaded; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source = ROOT / "tests" / "integration" / "log_faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", folder / "faults.so", source, "-ldl"], check=True)
    return folder / "faults.so"


def run_preloaded(library: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program with the library, which it has as `faults`."""
    head = "import ctypes, os, sys\nfaults = ctypes.CDLL(os.environ['LD_PRELOAD'])\n"
    return subprocess.run(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ a record


@dataclass(frozen=True)
class Change:
    kind: str
    path: str
    other: str
    data: bytes


def read_record(path: Path, base: Path, moved_to: Path) -> list[Change]:
    """The changes below a folder, as if it were another one."""
    data = path.read_bytes()
    changes = []
    at = 0
    while at < len(data):
        words = []
        for _ in range(4):
            end = data.index(b"\0", at)
            words.append(data[at:end].decode())
            at = end + 1
        kind, first, second, n = words
        first, second = (text.replace(str(base), str(moved_to)) for text in (first, second))
        changes.append(Change(kind, first, second, data[at : at + int(n)]))
        at += int(n)
    return changes


# ------------------------------------------------------------------------------------------------------------- a model


@dataclass(eq=False)
class File:
    flushed: bytes
    now: bytes = b""


@dataclass(eq=False)
class Directory:
    flushed: dict[str, File | Directory] = field(default_factory=dict)
    now: dict[str, File | Directory] = field(default_factory=dict)
    changes: list[tuple[str, File | Directory | None]] = field(default_factory=list)  # since the flush

    def change(self, name: str, node: File | Directory | None) -> None:
        self.changes.append((name, node))
        _put(self.now, name, node)


def _put(names: dict[str, File | Directory], name: str, node: File | Directory | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


Effect = tuple[File | Directory, int]  # a file's bytes (0), or a directory's n-th change
Choice = Mapping[Effect, str]  # "no", "yes", and for bytes "half" and "zeros"


class Disk:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = _load(base)

    def _find(self, path: str) -> tuple[Directory, str]:
        place = self.root
        *above, name = Path(path).relative_to(self.base).parts or ("",)
        for part in above:
            inner = place.now[part]
            assert isinstance(inner, Directory)
            place = inner
        return place, name

    def _node(self, path: str) -> File | Directory:
        place, name = self._find(path)
        return place.now[name] if name else place

    def apply(self, change: Change) -> None:
        if change.kind in ("create", "mkdir"):
            place, name = self._find(change.path)
            place.change(name, File(b"") if change.kind == "create" else Directory())
        elif change.kind == "write":
            file = self._node(change.path)
            assert isinstance(file, File)
            file.now += change.data
        elif change.kind == "fsync":
            _flush(self._node(change.path))
        elif change.kind in ("link", "rename"):
            node = self._node(change.path)
            place, name = self._find(change.other)
            place.change(name, node)
            if change.kind == "rename":
                self._remove(change.path)
        elif change.kind == "unlink":
            self._remove(change.path)

    def _remove(self, path: str) -> None:
        place, name = self._find(path)
        place.change(name, None)

    def effects(self) -> list[Effect]:
        """All that a crash now may keep or lose, as far as anybody could see it."""
        found: list[Effect] = []
        todo: list[File | Directory] = [self.root]
        seen = set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, File):
                found += [(node, 0)] if node.now != node.flushed else []
            else:
                found += [(node, i) for i in range(len(node.changes))]
                todo += [inner for _, inner in node.changes if inner is not None]
                todo += [*node.flushed.values(), *node.now.values()]
        return found

    def after(self, choice: Choice) -> dict[str, bytes | None]:
        """The files after the crash; None: a directory."""
        found: dict[str, bytes | None] = {}
        todo: list[tuple[str, File | Directory]] = [("", self.root)]
        while todo:
            path, node = todo.pop()
            if isinstance(node, File):
                found[path] = _torn(node, choice.get((node, 0), "no"))
                continue
            if path:
                found[path] = None
            names = dict(node.flushed)
            for i, (name, inner) in enumerate(node.changes):
                if choice.get((node, i), "no") != "no":
                    _put(names, name, inner)
            todo += [(f"{path}/{name}".lstrip("/"), inner) for name, inner in names.items()]
        return found


def _load(path: Path) -> Directory:
    names: dict[str, File | Directory] = {}
    for inner in path.iterdir():
        if inner.is_dir():
            names[inner.name] = _load(inner)
        else:
            names[inner.name] = File(inner.read_bytes(), inner.read_bytes())
    return Directory(names, dict(names))


def _flush(node: File | Directory) -> None:
    if isinstance(node, File):
        node.flushed = node.now
    else:
        node.flushed, node.changes = dict(node.now), []


def _torn(file: File, how: str) -> bytes:
    if how == "half":
        return file.now[: (len(file.flushed) + len(file.now)) // 2]
    if how == "zeros":
        return file.flushed + bytes(len(file.now) - len(file.flushed))
    return file.flushed if how == "no" else file.now


def choices(effects: list[Effect], chance: random.Random, samples: int) -> Iterator[Choice]:
    """Nothing, all, each alone, all but each, with torn bytes; all there are where they are few; and some by chance."""
    yield {}
    yield dict.fromkeys(effects, "yes")
    for effect in effects:
        for how in ("yes", "half", "zeros") if isinstance(effect[0], File) else ("yes",):
            yield {effect: how}
            yield dict.fromkeys(effects, "yes") | {effect: how if how != "yes" else "no"}
    if len(effects) <= 4:
        for some in itertools.product(("no", "yes"), repeat=len(effects)):
            yield dict(zip(effects, some, strict=True))
    for _ in range(samples):
        yield {effect: chance.choice(["no", "yes", "yes", "half", "zeros"]) for effect in effects}


# ----------------------------------------------------------------------------------------------------------- the check


def write_tree(files: Mapping[str, bytes | None], base: Path) -> None:
    for path, data in sorted(files.items(), key=lambda item: item[0].count("/")):
        if data is None:
            (base / path).mkdir(exist_ok=True)
        else:
            (base / path).write_bytes(data)


def entries_of(log: TileLog, note: bytes) -> list[bytes]:
    """All that the public files have under this checkpoint, read and verified by the reader of remote logs."""
    checkpoint = open_checkpoint(note, [log.vkey], where="")
    tree = Tree(Folder(log.folder), checkpoint.size, checkpoint.root)
    return [entry for i in range(-(-checkpoint.size // 256)) for entry in tree.entries(i)]


def survived(base: Path, vkey: str, submitted: list[bytes], acknowledged: int) -> int:
    """The log after a crash: what was acknowledged is there, nothing is that was not submitted, and it goes on."""
    public = (base / "log" / "checkpoint").read_bytes()
    before = open_checkpoint(public, [vkey], where="")
    assert before.size >= acknowledged, f"{acknowledged} acknowledged, and in public {before.size}"
    tree = Tree(Folder(base / "log"), before.size, before.root)
    for i in range(-(-before.size // 256)):
        tree.entries(i)  # whoever reads before the log is opened again finds every tile
    log = TileLog(base / "log", store=base / "store")
    head = log.head()
    assert head.size >= max(acknowledged, before.size), f"{acknowledged} acknowledged, {head.size} recovered"
    assert entries_of(log, (log.folder / "checkpoint").read_bytes()) == submitted[: head.size]
    assert log.check() == (0, [])
    # As many as are not there, so that the names of their files are those that the others would have had.
    more = [b"and on"] * max(1, len(submitted) - head.size)
    assert log.append(more).first == head.size
    assert entries_of(log, (log.folder / "checkpoint").read_bytes()) == [*submitted[: head.size], *more]
    leftovers = {p.name for p in (log.folder / ".state").iterdir()}
    assert leftovers == {"head", "lock", "origin", "version", "vkey"}, leftovers
    leftovers = {p.name for p in (base / "store").rglob("*") if p.is_file()}
    assert leftovers <= {"head", "key", "vkey"}, leftovers
    return head.size


def enumerate_crashes(
    base: Path,
    changes: list[Change],
    vkey: str,
    submitted: list[bytes],
    work: Path,
    *,
    samples: int,
    share: float,
    start: int = 0,
) -> tuple[int, set[int]]:
    """Check every state that a crash may leave; how many there were, and the sizes that were recovered.

    share: of the states, by a chance that is the same every time. start: the first change that is followed by one.
    """
    disk = Disk(base)
    chance = random.Random(1)
    seen: set[bytes] = set()
    sizes: set[int] = set()
    acknowledged = 0
    for number, change in enumerate([*changes, Change("mark", "0", "", b"")]):
        disk.apply(change)
        if change.kind == "mark":
            acknowledged = max(acknowledged, int(change.path))
        if number < start:
            continue
        for choice in choices(disk.effects(), chance, samples):
            files = disk.after(choice)
            name = hashlib.sha256(repr((acknowledged, sorted(files.items()))).encode()).digest()
            if name in seen or chance.random() > share:
                continue
            seen.add(name)
            place = work / f"crash-{len(seen)}"
            place.mkdir()
            write_tree(files, place)
            try:
                sizes.add(survived(place, vkey, submitted, acknowledged))
            except Exception as error:
                raise AssertionError(f"change {number} ({change.kind} {change.path}): {place}: {error}") from error
            shutil.rmtree(place)
    return len(seen), sizes
