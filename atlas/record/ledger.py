"""What a run saw: inputs, gaps, loaders. Chooses, for one artifact, what belongs to it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from atlas.claim import Gap
from atlas.model import Input, Measurement
from atlas.record.background import Job
from atlas.record.loaders import LoaderUse
from atlas.record.steps import Step

EARLIER = "loaded earlier in this process"
BY_PARENT = "loaded by the parent process"
BY_CHILD = "loaded by a child process"
PREVIOUS = "previous checkpoint of this run"


@dataclass(eq=False, slots=True)
class Load:
    """An input: bytes that were read, and what is known of them."""

    name: str
    path: str  # absolute; "" for a stream
    measurement: Measurement
    role: str
    via: str
    step: Step
    declared: bool = False
    process: str = ""  # of which child or rank; "" is this one
    manifest: bytes | None = field(default=None, repr=False)
    job: Job | None = None  # fills in the flat digest
    number: int = 0
    signature: tuple[int, ...] = ()  # of the file, when it was read
    directory: str = ""  # a signed directory that it lies in and that stands for it

    @property
    def key(self) -> tuple[str, bytes]:
        digest = self.measurement.tree or self.measurement.flat
        return self.name, digest.value if digest else b""


@dataclass(frozen=True, slots=True)
class Seen:
    gap: Gap
    step: Step
    process: str = ""


class Ledger:
    def __init__(self) -> None:
        self.loads: list[Load] = []
        self.seen: list[Seen] = []
        self.loaders: list[LoaderUse] = []
        self.ranks: dict[int, list[dict[str, Any]]] = {}  # data-use records of other ranks
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str, bytes], Load] = {}
        self._told: set[tuple[Gap, str, str]] = set()

    def forked(self) -> None:
        self._lock = threading.Lock()

    def add(self, load: Load) -> Load:
        """Keep an input once per step; what is said by hand about it counts more than what a hook guessed."""
        key = (load.process, load.step.id, *load.key)
        with self._lock:
            known = self._known.get(key)
            if known is None:
                load.number = next(self._numbers)
                self.loads.append(load)
                self._known[key] = load
                return load
            if load.declared and not known.declared:
                known.role, known.declared, known.via = load.role, True, load.via
            if known.manifest is None:
                known.manifest = load.manifest
            if known.measurement.flat is None:
                known.measurement = load.measurement
            return known

    def gap(self, gap: Gap, step: Step, process: str = "") -> None:
        with self._lock:
            if (gap, step.id, process) not in self._told:
                self._told.add((gap, step.id, process))
                self.seen.append(Seen(gap, step, process))

    def loads_for(self, step: Step, process: str = "") -> Iterator[tuple[Load, str | None]]:
        """Inputs of an artifact saved in `step` by `process`, each with its relation, oldest first."""
        chosen: dict[tuple[str, bytes], tuple[Load, str | None]] = {}
        for load in list(self.loads):
            relation = _relation(load, step, process)
            if relation == "":
                continue
            known = chosen.get(load.key)
            if known is None or (known[1] is not None and relation is None):
                chosen[load.key] = (load, relation)
        yield from sorted(chosen.values(), key=lambda pair: pair[0].number)

    def gaps_for(self, step: Step, process: str = "") -> list[Gap]:
        gaps = [s.gap for s in list(self.seen) if _belongs(s.step, step) and s.process in (process, "")]
        return list(dict.fromkeys(gaps))

    def loaders_for(self, step: Step) -> list[LoaderUse]:
        return [use for use in list(self.loaders) if _belongs(use.step, step)]


def _belongs(inner: Step, step: Step) -> bool:
    """Within the step, or around it; not in a sibling."""
    return step.contains(inner) or inner.contains(step)


def _relation(load: Load, step: Step, process: str) -> str | None:
    """None: an input of this step. A text: how it is related. "": not at all."""
    if load.process != process:
        return _relation_across(load, step, process)
    if step.contains(load.step):
        if step.parent is not None:
            return None
        return None if load.declared and load.step is step else EARLIER
    return EARLIER if load.step.contains(step) else ""


def _relation_across(load: Load, step: Step, process: str) -> str:
    """Between processes. A rank is no child: what rank 0 loaded says nothing about what rank 1 saved."""
    if process.startswith("rank "):
        return ""
    if load.process == "":
        return BY_PARENT if load.step.contains(step) or load.step.parent is None else ""
    if process != "":
        return ""  # two children
    if load.process.startswith("rank "):
        return f"loaded by {load.process}" if _belongs_by_name(load.step, step) else ""
    return BY_CHILD if _belongs(load.step, step) else ""


def _belongs_by_name(inner: Step, step: Step) -> bool:
    """Steps of other ranks are other objects; ranks run the same program, so the names tell."""
    mine, other = step.path, inner.path
    return mine == other or mine.startswith(f"{other}/") or other.startswith(f"{mine}/") or not mine or not other


def inputs_of(pairs: Iterable[tuple[Load, str | None]]) -> list[Input]:
    return [
        Input(
            name=load.name,
            measurement=load.measurement,
            role=load.role,
            via=load.via,
            manifest=load.manifest,
            relation=relation,
        )
        for load, relation in pairs
    ]
