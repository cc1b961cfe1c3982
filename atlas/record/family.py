"""Processes of one run: the owner signs; forked and spawned children, DataLoader workers and other ranks keep journals
that the owner reads. No collective, no lock between processes, and only the owner ever opens the key.

    <store>/runs/<run id>/              the owner's journal and its children's
    <store>/runs/ranks-<job>/<rank>-*/  those of the other ranks of a distributed job, one directory for each
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from atlas.record.journal import SUFFIX, Follower, Record, started_ns

ATTACH = "ATLAS_ATTACH"
ENDED = "ended"  # a file in a run's directory: nobody reads journals there any more
_SKEW_SECONDS = 120.0  # between the clocks of machines, and between the starts of ranks
_JOB = (
    "ATLAS_RUN_ID",
    "TORCHELASTIC_RUN_ID",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
    "WORLD_SIZE",
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a child needs to know; travels in the environment. Holds no secret: the key stays with the owner."""

    run: str
    directory: str
    pid: int
    born: int  # with the pid: this process and not a later one with its number
    mode: str
    root: str
    store: str
    trust: str = ""
    step: str = ""
    rank: str = ""  # RANK of the process that is attached to

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Attachment | None:
        """None when there is none, it cannot be read, or the process or the run that it names is gone."""
        text = environ.get(ATTACH, "")
        if not text:
            return None
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        alive = found.born and started_ns(found.pid) == found.born
        return found if alive and not (Path(found.directory) / ENDED).exists() else None


@dataclass(frozen=True, slots=True)
class Rank:
    """This process within a distributed job, as torchrun and its like tell it."""

    rank: int
    world: int
    job: str

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Rank | None:
        try:
            rank, world = int(environ["RANK"]), int(environ["WORLD_SIZE"])
        except (KeyError, ValueError):
            return None
        if world < 2 or not 0 <= rank < world:
            return None
        told = "\0".join(f"{name}={environ.get(name, '')}" for name in _JOB)
        return cls(rank, world, hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16])

    def directory(self, runs: Path) -> Path:
        return runs / f"ranks-{self.job}"


def boot_id() -> str:
    """Says whether two processes run on the same machine; a digest, so that it names none."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(text).hexdigest()[:16]


class Children:
    """Follows the journals of one directory and of the directories below it."""

    def __init__(self, directory: Path, own: str) -> None:
        self._directory = directory
        self._own = own
        self._followers: dict[Path, Follower] = {}

    def records(self) -> Iterator[tuple[str, Record]]:
        """What is new, each with the name of the process that wrote it."""
        try:
            files = sorted(self._directory.glob(f"*{SUFFIX}"))
        except OSError:
            return
        for path in files:
            if path.stem != self._own:
                follower = self._followers.setdefault(path, Follower(path))
                for record in follower.records():
                    yield path.stem, record


@dataclass(eq=False, slots=True)
class _Member:
    """One rank's process."""

    follower: Follower
    children: Children
    began: Record = field(default_factory=dict)
    last: float = 0.0
    ended: bool = False
    waiting: list[Record] = field(default_factory=list)  # until it is known that it belongs to this run

    def read(self) -> Record | None:
        for record in self.follower.records():
            self.last = max(self.last, float(record.get("at", 0)))
            if record["t"] == "begin":
                self.began = record
            self.ended = self.ended or record["t"] == "end"
            self.waiting.append(record)
        state = self.follower.state()
        if state is not None:
            self.last = max(self.last, float(state.get("at", 0)))
        return state

    @property
    def rank(self) -> int:
        number = self.began.get("rank")
        return number if isinstance(number, int) else -1

    @property
    def alive(self) -> bool:
        """On this machine; of another machine nobody knows."""
        return self.began.get("boot") == boot_id() and started_ns(int(self.began.get("pid", 0))) == self.began.get(
            "born"
        )

    def belongs(self, since: float) -> bool:
        """Whether this rank is part of the run that began at `since`, and not of one before it."""
        if self.last >= since:
            return True
        if self.ended or self.last < since - _SKEW_SECONDS:
            return False
        return self.alive or self.began.get("boot") != boot_id()


class Ranks:
    """What the other ranks of a job left in the store."""

    def __init__(self, rank: Rank, runs: Path, since: float) -> None:
        self._directory = rank.directory(runs)
        self._since = since
        self._members: dict[Path, _Member] = {}

    def records(self) -> Iterator[tuple[int, str, Record]]:
        """New records of ranks that belong to this run: rank, process, record."""
        for path in self._files():
            member = self._members.get(path)
            if member is None:
                member = self._members[path] = _Member(Follower(path), Children(path.parent, path.stem))
            state = member.read()
            if member.rank < 0 or not member.belongs(self._since):
                continue
            waiting, member.waiting = member.waiting, []
            yield from ((member.rank, path.stem, record) for record in waiting)
            if state is not None:
                yield member.rank, path.stem, state
            yield from ((member.rank, process, record) for process, record in member.children.records())

    def _files(self) -> list[Path]:
        try:
            return sorted(self._directory.glob(f"*/main-*{SUFFIX}"))
        except OSError:
            return []

    def running(self) -> bool:
        """Whether a rank of this run, on this machine, has not said yet that it is done."""
        return any(m.began and not m.ended and m.belongs(self._since) and m.alive for m in self._members.values())


def begin_record(kind: str, rank: Rank | None) -> dict[str, Any]:
    pid = os.getpid()
    record: dict[str, Any] = {"kind": kind, "pid": pid, "born": started_ns(pid), "boot": boot_id(), "time": time.time()}
    return record | {"rank": rank.rank, "world": rank.world} if rank is not None else record
