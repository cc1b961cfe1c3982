"""Steps: which part of a program is running, for threads, coroutines and generators alike.

The process itself is the outermost step (`top`); what happens outside `run.step()` belongs to it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas.evidence import Attest

_BORN_IN = "_atlas_step"
_current: ContextVar[Step | None] = ContextVar("atlas_step", default=None)


@dataclass(slots=True)
class Declared:
    """An output that a user named; looked at when named and again when its step ends."""

    path: Path
    asset_type: str | None
    name: str | None = None


@dataclass(eq=False, slots=True)
class Step:
    id: str
    name: str
    parent: Step | None
    process: str = ""  # of which child or rank; "" is this one
    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    log: dict[str, Any] = field(default_factory=dict)
    logged: int = 0
    declared: dict[Path, Declared] = field(default_factory=dict)
    status: str = "running"
    attest: Attest | None = None  # what hardware evidence it wants; None: what is wanted around it

    def contains(self, other: Step) -> bool:
        """Whether `other` is this step or lies within it."""
        return any(step is self for step in other.lineage())

    def lineage(self) -> Iterator[Step]:
        """This step, then the ones around it, outermost last."""
        step: Step | None = self
        while step is not None:
            yield step
            step = step.parent

    @property
    def path(self) -> str:
        """What a manifest says: "train", or "trial 3/train" for a step within a step; "" outside."""
        return "/".join(reversed([step.name for step in self.lineage() if step.name]))

    def all_params(self) -> dict[str, Any]:
        """Parameters of this step and of those around it; the inner one wins."""
        merged: dict[str, Any] = {}
        for step in reversed(list(self.lineage())):
            merged |= step.params
        return merged


class Steps:
    """The steps of one run in one process."""

    def __init__(self, prefix: str = "") -> None:
        self.top = Step(id=prefix or "0", name="", parent=None)
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._active: list[Step] = []
        self._lock = threading.Lock()
        self.known = {self.top.id: self.top}
        _current.set(self.top)

    def current(self) -> Step:
        """Of this context; a thread begins with an empty one and belongs to the step it was started in."""
        step = self._known_here()
        if step is not None:
            return step
        with self._lock:
            active = list(self._active)
        leaves = [s for s in active if not any(o is not s and s.contains(o) for o in active)]
        return leaves[0] if len(leaves) == 1 else self.top  # a pool older than the step: there may be only one choice

    def _known_here(self) -> Step | None:
        step = _current.get()
        if step is not None and self.top.contains(step):
            return step
        born: Step | None = getattr(threading.current_thread(), _BORN_IN, None)
        return born if born is not None and born.status == "running" and self.top.contains(born) else None

    def adopt(self, thread: threading.Thread) -> None:
        """A thread is about to be started here."""
        setattr(thread, _BORN_IN, self.current())

    def born_in(self, identifier: str) -> None:
        """A spawned child begins in a step of its parent, of which it knows no more than the number."""
        self.top.id = identifier
        self.known = {identifier: self.top}

    def new(self, name: str) -> Step:
        number = next(self._numbers)
        parent = self._known_here() or self.top
        step = Step(id=f"{self._prefix}.{number}" if self._prefix else str(number), name=name, parent=parent)
        self.known[step.id] = step
        return step

    def enter(self, step: Step) -> None:
        with self._lock:
            if step not in self._active:
                self._active.append(step)
        _current.set(step)

    def leave(self, step: Step, status: str) -> None:
        """The thread goes back to the step around; a token would not do: generators leave in another context."""
        with self._lock:
            if step in self._active:
                self._active.remove(step)
        step.status = status
        if _current.get() is step:
            _current.set(step.parent)

    def suspend(self, step: Step) -> None:
        """A generator handed control back: its step goes on, but not in this context."""
        if _current.get() is step:
            _current.set(step.parent)

    def resume(self, step: Step) -> None:
        _current.set(step)

    def forked(self, prefix: str) -> None:
        """A child numbers its own steps; the one it was forked in stays current."""
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._active = [step for step in self._active if step is _current.get()]
