"""The recorder: the only orchestrator. Hooks tell it what a program reads and writes; it claims, signs and stores.

One live recorder per process. The process that called `atlas.init` owns the run and the key; its children and the other
ranks of a distributed job keep journals that the owner reads (record/family.py). Every call from outside goes through a
guard (record/guard.py): in observe mode nothing that fails here ever reaches the user's program.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.evidence import NotAttested
from atlas.record.attesting import Attesting
from atlas.record.background import Background
from atlas.record.context import Context
from atlas.record.diary import Diary
from atlas.record.family import Rank, begin_record
from atlas.record.guard import Guard
from atlas.record.inputs import Inputs
from atlas.record.ledger import Ledger, Load
from atlas.record.loaders import LoaderUse
from atlas.record.logs import Logs
from atlas.record.merge import Merger
from atlas.record.names import Names
from atlas.record.net import Net
from atlas.record.outputs import STORE, Outputs
from atlas.record.plain import plain
from atlas.record.reads import Reads
from atlas.record.redact import Redactor
from atlas.record.run import Run
from atlas.record.settings import Settings
from atlas.record.steps import Step, Steps
from atlas.store import Store

if TYPE_CHECKING:
    from atlas.evidence import Attest
    from atlas.sign import Signer

RANK_SECONDS = 5.0  # how long the owner waits at the end for ranks that are still writing
FLUSH_SECONDS = 0.05  # between two states of a rank's loaders
SMALL = 16 << 20  # a file up to this size gets both digests at once, a larger one in the background


class Recorder:
    def __init__(
        self,
        settings: Settings,
        signer: Signer | None,
        *,
        run_id: str | None = None,
        process: str = "",
        rank: Rank | None = None,
        directory: Path | None = None,
    ) -> None:
        self.id = run_id or str(uuid.uuid4())
        self.settings = settings
        self.signer = signer
        self.process = process  # "" for the owner
        self.rank = rank
        self.pid = os.getpid()
        self.started = time.time()
        self.live = True
        self.optimizer_steps = 0  # grows when the program trains; what was saved before and after is told apart by it
        self.distributed: Callable[[], tuple[int, int]] = lambda: (0, 1)
        # filled in by the hooks, and by whoever began the run
        self.hooks: Callable[[], list[dict[str, str]]] = list
        self.current_loader: Callable[[], tuple[LoaderUse | None, int]] = lambda: (None, 0)
        self.bind_dataset: Callable[[object, Load], None] = lambda _dataset, _load: None
        self.settle_files: Callable[[], None] = lambda: None
        self.announce: Callable[[], None] = lambda: None
        self.ended: Callable[[Recorder], None] = lambda _recorder: None
        self.store = Store(settings.store)
        self.names = Names(settings.root)
        self.directory = directory or self.store.directory / "runs" / self.id
        self.guard = Guard(self._failure, self._clean)
        self.steps = Steps("" if not process else str(self.pid))
        self.ledger = Ledger()
        self.background = Background()
        self.context = Context(self.names, settings.root)
        self.inputs = Inputs(settings, self.names, self.store, self.gap)
        self.logs = Logs(self, settings.log)
        self.outputs = Outputs(self)
        self.attesting = Attesting(self)
        self.net = Net(self.names, (str(self.store.directory),))
        self._local = threading.local()
        self.reads = Reads(self)
        self.diary = Diary(self, self.directory, "main-" if rank is not None and rank.rank else "")
        self._merger = None if process else Merger(self, self.directory, self.diary.name, rank)

    def start(self, kind: str) -> Run:
        """Begin to record. NotAttested when hardware evidence is required and none is to be had."""
        if not self.process:
            self.context.start()
        self.diary.write("begin", begin_record(kind, self.rank) | {"run": self.id})
        try:
            self.attesting.begin()
        except NotAttested:
            self.diary.end("failed")
            raise
        return Run(self)

    # ------------------------------------------------------------------------------------------- bookkeeping

    @property
    def owner(self) -> bool:
        return self.process == ""

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """What happens within is Atlas' own doing: hooks look away."""
        depth = getattr(self._local, "depth", 0)
        self._local.depth = depth + 1
        try:
            yield
        finally:
            self._local.depth = depth

    @property
    def in_own(self) -> bool:
        return getattr(self._local, "depth", 0) > 0

    @contextlib.contextmanager
    def entry(self, kind: str, what: str = "", *, input: bool = False) -> Iterator[None]:
        """Every call from a hook: guarded, and invisible to the other hooks."""
        with self.guard(kind, what, input=input), self.own():
            yield

    def _clean(self, text: str) -> str:
        return Redactor().text(self.names.scrub(text), "")

    def clean_gap(self, gap: Gap) -> Gap:
        return Gap(self._clean(gap.what), self._clean(gap.reason), gap.input)

    def _failure(self, what: str, reason: str, input: bool) -> None:
        self.gap(Gap(what, reason, input))

    def gap(self, gap: Gap, step: Step | None = None) -> None:
        step = step or self.steps.current()
        gap = self.clean_gap(gap)
        self.ledger.gap(gap, step)
        self.diary.write("gap", {"what": gap.what, "reason": gap.reason, "input": gap.input, "step": step.id})

    def world(self) -> tuple[int, int]:
        return (self.rank.rank, self.rank.world) if self.rank is not None else self.distributed()

    # ------------------------------------------------------------------------------------------------- steps

    def begin_step(self, name: str, params: Mapping[str, Any], attest: Attest | None = None) -> Step:
        step = self.steps.new(self._clean(name))
        step.params.update(params)
        step.attest = attest
        parent = step.parent or self.steps.top
        record = {"id": step.id, "name": step.name, "parent": parent.id}
        self.diary.write("step", record | ({"attest": f"{attest.level}:{attest.wanted}"} if attest else {}))
        self.steps.enter(step)
        self.announce()
        return step

    def end_step(self, step: Step, status: str) -> None:
        try:
            if status == "done":
                self.outputs.settle(step)
            else:
                step.declared.clear()
            self.diary.flush(force=True)
        finally:
            self.steps.leave(step, status)
            self.announce()
            self.diary.write("step end", {"id": step.id, "status": status})

    def add_params(self, values: Any, more: Mapping[str, Any]) -> None:
        found = dict(values) if isinstance(values, Mapping) else dict(vars(values)) if values is not None else {}
        step = self.steps.current()
        step.params.update(found | dict(more))
        if not self.owner:
            clean = Redactor().value(_json(found | dict(more)), "params")
            self.diary.write("params", {"params": clean, "step": step.id})

    def add_metrics(self, results: Mapping[str, Any], of: Any, on: Any) -> None:
        redactor = Redactor()
        named = {"of": of, "on": on}
        for key, role in (("of", "model"), ("on", "evaluation data")):
            if named[key] is not None:
                named[key] = self._named_input(named[key], role)
        step = self.steps.current()
        for name, value in results.items():
            plain = redactor.value(_json(value), "metrics", str(name))
            metric = {"name": redactor.text(str(name), "metrics"), "value": plain} | named
            step.metrics.append(metric)
            if not self.owner:
                self.diary.write("metric", {"metric": metric, "step": step.id})

    def _named_input(self, path: Any, role: str) -> str:
        name = self.names.logical(path)
        known = [load for load, _ in self.ledger.loads_for(self.steps.current()) if load.name == name]
        if not known:
            self.reads.declare(path, role=role, dataset=None, name=None)
        return name

    def metrics_for(self, step: Step) -> list[dict[str, Any]]:
        return [metric for each in list(self.steps.known.values()) if step.contains(each) for metric in each.metrics]

    def metrics_count(self, step: Step) -> int:
        return len(self.metrics_for(step))

    # ----------------------------------------------------------------------------------- for the assembly

    def merge(self) -> None:
        self.settle_files()
        if self._merger is not None:
            with self.own():
                self._merger.merge()

    def unmeasured_for(self, step: Step) -> list[Gap]:
        def known(path: str) -> bool:
            return (
                self.inputs.knows(path)
                or self.outputs.at(path) is not None
                or not self.settings.wants(self.names.logical(path))
            )

        return self.net.gaps(step, known)

    def ranks_for(self, step: Step, gaps: list[Gap]) -> list[dict[str, Any]]:
        """Data-use of the other ranks; one that left no trace is a gap."""
        rank, world = self.world()
        found: list[dict[str, Any]] = []
        for other in range(world):
            if other == rank:
                continue
            records = self.ledger.ranks.get(other)
            if records is None:
                gaps.append(Gap(f"rank {other} of {world}", "left no record: which data it used is not known"))
                continue
            path = step.path
            found += [r for r in records if not path or not r.get("step") or r["step"].startswith(path)]
        return found

    # ---------------------------------------------------------------------------------------------- lifetime

    def forked(self) -> None:
        """In a child: it keeps a journal of its own and never signs."""
        parent = self.steps.current()
        self.pid = os.getpid()
        self.signer = None
        self.process = f"child {self.pid}"
        self._local = threading.local()
        for part in (self.guard, self.ledger, self.inputs, self.background, self.net, self.diary, self.logs):
            part.forked()
        self.steps.forked(str(self.pid))
        self.steps.enter(parent)
        self.ledger.loaders = []
        self._merger = None

    def finish(self, status: str) -> None:
        """End of the run, in the process that owns it; a child's ends with the child."""
        if self.pid != os.getpid() or not self.live or self.process.startswith("child "):
            return
        try:
            with self.entry("ending the run"):
                self._settle(status)
            with self.guard(STORE), self.own():
                self.diary.end(status)
        finally:
            self.live = False
            self.ended(self)

    def _settle(self, status: str) -> None:
        if status == "done":
            for step in list(self.steps.known.values()):
                self.outputs.settle(step)
        self.diary.flush(force=True)
        if self.owner:
            self._await_ranks()
            self.merge()
            self.outputs.withdraw_grown()
            self.logs.finish()

    def _await_ranks(self) -> None:
        if self._merger is None:
            return
        deadline = time.monotonic() + RANK_SECONDS
        self.merge()
        while self._merger.ranks_running and time.monotonic() < deadline:
            time.sleep(0.05)
            self.merge()

    def doctor(self) -> dict[str, Any]:
        return {
            "run": self.id,
            "mode": self.settings.mode,
            "process": self.process or "owner",
            "signs": self.signer is not None,
            "store": str(self.store.directory),
            "root": str(self.settings.root),
            "hooks": self.hooks(),
            "gaps": [s.gap.plain() for s in self.ledger.seen],
        }


def _json(value: Any) -> Any:
    return plain(value, os.fsdecode)
