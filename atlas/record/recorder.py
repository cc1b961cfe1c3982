"""The recorder: the only orchestrator. Hooks tell it what a program reads and writes; it measures, claims, signs, stores.

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.measure import measure
from atlas.model import Measurement
from atlas.record.background import Background
from atlas.record.context import Context
from atlas.record.family import ENDED, Rank, begin_record
from atlas.record.guard import Guard
from atlas.record.inputs import Inputs, SignedDirectory, check_exists, signature
from atlas.record.journal import Journal, Record
from atlas.record.ledger import Ledger, Load
from atlas.record.loaders import LoaderUse, Member
from atlas.record.merge import Merger, measurement_record
from atlas.record.names import Names
from atlas.record.net import Net
from atlas.record.outputs import STORE, Output, Outputs
from atlas.record.plain import plain
from atlas.record.redact import Redactor
from atlas.record.run import Run
from atlas.record.settings import Settings
from atlas.record.steps import Step, Steps
from atlas.store import Store

if TYPE_CHECKING:
    from atlas.sign import Signer

RANK_SECONDS = 5.0  # how long the owner waits at the end for ranks that are still writing
FLUSH_SECONDS = 0.05  # between two states of a rank's loaders
SMALL = 16 << 20  # a file up to this size gets both digests at once, a larger one in the background


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes that were read: `measurement` is of what the program got; `full` measures the file once more, both digests."""

    path: str  # absolute; "" for a stream
    name: str
    measurement: Measurement
    via: str
    role: str = "data"
    full: Callable[[], Measurement] | None = None
    changed: bool = False
    manifest: bytes | None = None  # found and verified already, in enforce


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
        self.optimizer_steps = 0
        self.batches = 0
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
        self.outputs = Outputs(self)
        self.net = Net(self.names, (str(self.store.directory),))
        self._local = threading.local()
        self._lock = threading.RLock()
        self._flushed = 0.0
        self._broken = False
        self._journal = Journal(self.directory, "main-" if rank is not None and rank.rank else "")
        self._merger = None if process else Merger(self, self.directory, self._journal.name, rank)

    def start(self, kind: str) -> Run:
        """Begin to record."""
        if not self.process:
            self.context.start()
        self.journal("begin", begin_record(kind, self.rank) | {"run": self.id})
        return Run(self)

    # ------------------------------------------------------------------------------------------- bookkeeping

    @property
    def owner(self) -> bool:
        return self.process == ""

    @property
    def training(self) -> int:
        """Grows whenever the program trains; what was saved before and after is told apart by it."""
        return self.optimizer_steps + self.batches

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

    def _failure(self, what: str, reason: str, input: bool) -> None:
        self.gap(Gap(what, reason, input))

    def gap(self, gap: Gap, step: Step | None = None) -> None:
        step = step or self.steps.current()
        self.ledger.gap(gap, step)
        self.journal("gap", {"what": gap.what, "reason": gap.reason, "input": gap.input, "step": step.id})

    def journal(self, kind: str, record: Record) -> None:
        """Write through. A journal that fails once is given up: the manifests are what counts."""
        if self._broken:
            return
        try:
            with self.own():
                self._journal.append(kind, record)
        except Exception as error:
            self._broken = True
            self.guard.failed(STORE, error)

    def world(self) -> tuple[int, int]:
        return (self.rank.rank, self.rank.world) if self.rank is not None else self.distributed()

    # ------------------------------------------------------------------------------------------------- steps

    def begin_step(self, name: str, params: Mapping[str, Any]) -> Step:
        step = self.steps.new(self._clean(name))
        step.params.update(params)
        parent = step.parent or self.steps.top
        self.journal("step", {"id": step.id, "name": step.name, "parent": parent.id})
        self.steps.enter(step)
        self.announce()
        return step

    def end_step(self, step: Step, status: str) -> None:
        try:
            if status == "done":
                self.outputs.settle(step)
            else:
                step.declared.clear()
            self.flush(force=True)
        finally:
            self.steps.leave(step, status)
            self.announce()
            self.journal("step end", {"id": step.id, "status": status})

    def add_params(self, values: Any, more: Mapping[str, Any]) -> None:
        found = dict(values) if isinstance(values, Mapping) else dict(vars(values)) if values is not None else {}
        step = self.steps.current()
        step.params.update(found | dict(more))
        if not self.owner:
            clean = Redactor().value(_json(found | dict(more)), "params")
            self.journal("params", {"params": clean, "step": step.id})

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
                self.journal("metric", {"metric": metric, "step": step.id})

    def _named_input(self, path: Any, role: str) -> str:
        name = self.names.logical(path)
        known = [load for load, _ in self.ledger.loads_for(self.steps.current()) if load.name == name]
        if not known:
            self.declare_input(path, role=role, dataset=None, name=None)
        return name

    def metrics_for(self, step: Step) -> list[dict[str, Any]]:
        return [metric for each in list(self.steps.known.values()) if step.contains(each) for metric in each.metrics]

    def metrics_count(self, step: Step) -> int:
        return len(self.metrics_for(step))

    # ------------------------------------------------------------------------------------------------ inputs

    def loaded(self, reading: Reading, use: LoaderUse | None = None, loader: int = 0) -> None:
        """Something was read. `use` is the loader whose data set it was read for, `loader` its number in a worker."""
        if reading.path:
            self.inputs.measured[reading.path] = signature(reading.path)
        if reading.changed:
            self.gap(Gap(reading.name, "changed while it was read", input=True))
            return
        if not reading.path and self.outputs.is_own_stream(reading.measurement):
            return
        if (use is not None or loader) and reading.path:
            self._read_for(reading, use, loader)
            return
        load = Load(
            name=reading.name,
            path=reading.path,
            measurement=reading.measurement,
            role=reading.role,
            via=reading.via,
            step=self.steps.current(),
            manifest=reading.manifest,
        )
        if load.manifest is None:
            load.manifest = self.inputs.match(load.path, load.name, load.measurement)
        kept = self.ledger.add(load)
        if kept is load:
            self._complete(load, reading)

    def _complete(self, load: Load, reading: Reading) -> None:
        """The flat digest, for which the file is read again: at once if it is small, else in the background."""
        full = reading.full
        if full is not None and load.measurement.flat is None:
            if load.measurement.size <= SMALL:
                self._fill(load, full)
            elif self.owner:
                load.job = self.background.submit(lambda: self._fill(load, full))
        if not self.owner:
            self.journal_load(load)

    def _fill(self, load: Load, full: Callable[[], Measurement]) -> None:
        """The second reading counts only if its tree is that of the bytes that the program got."""
        with self.guard("measuring an input", load.name), self.own():
            again = full()
            if again.tree == load.measurement.tree:
                load.measurement = again
            else:
                self.gap(Gap(load.name, "changed after it was read: only its tree digest is recorded"), load.step)

    def _read_for(self, reading: Reading, use: LoaderUse | None, loader: int) -> None:
        measurement = reading.measurement
        if measurement.flat is None and reading.full is not None:
            again = reading.full()
            if again.tree != measurement.tree:
                self.gap(Gap(reading.name, "changed while it was read", input=True))
                return
            measurement = again
        if measurement.flat is None or measurement.tree is None:
            return
        member = Member(measurement.flat.value, measurement.tree.value, measurement.size)
        if use is not None:
            use.read(reading.path, member)
        if not self.owner:
            number = use.number if use is not None else loader
            self.journal(
                "read",
                {"path": reading.path, "flat": member.flat, "tree": member.tree, "size": member.size, "loader": number,
                 "step": self.steps.current().id},
            )  # fmt: skip

    def declare_input(self, path: Any, *, role: str, dataset: object | None, name: str | None) -> Load:
        place = self.names.absolute(path)
        label = name or self.names.logical(place)
        check_exists(place)
        with self.own():
            directory = os.path.isdir(place)  # noqa: PTH112
            before = signature(place)
            measurement = self.inputs.measure_directory(place) if directory else measure(place)
            if self.inputs.enforce:
                manifest = self.inputs.require(place, label, measurement)
            else:
                manifest = self.inputs.match(place, label, measurement)
        if directory:
            self.inputs.measured_directories.add(place)
        else:
            self.inputs.measured[place] = before
        load = Load(
            name=label,
            path=place,
            measurement=replace(measurement, index=None),
            role=role,
            via="run.input",
            step=self.steps.current(),
            declared=True,
            manifest=manifest,
        )
        kept = self.ledger.add(load)
        if dataset is not None:
            self.bind_dataset(dataset, kept)
        if not self.owner:
            self.journal_load(kept)
        return kept

    def signed_directory(self, load: Load) -> SignedDirectory | None:
        """The signed directory that stands for a file without a manifest of its own."""
        if not load.path or load.measurement.kind == "directory":
            return None
        directory = self.inputs.directory_of(load.path)
        if directory is None:
            return None
        if directory.holds(load.path, load.measurement):
            return directory
        name = self.names.logical(directory.path)
        self.gap(Gap(load.name, f"is not as the manifest of {name} says, which was not used"), load.step)
        return None

    # ----------------------------------------------------------------------------------- for the assembly

    def merge(self) -> None:
        self.settle_files()
        if self._merger is not None:
            with self.own():
                self._merger.merge()

    def unmeasured_for(self, step: Step) -> list[Gap]:
        def known(path: str) -> bool:
            return self.inputs.knows(path) or self.outputs.at(path) is not None or not self.settings.wants(
                self.names.logical(path)
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

    # ------------------------------------------------------------------------------------------------ journals

    def journal_load(self, load: Load) -> None:
        sha256 = None
        if load.manifest is not None:
            with self.guard(STORE, load.name):
                sha256 = self.store.put(load.manifest)
        self.journal(
            "load",
            {"name": load.name, "path": load.path, "measurement": measurement_record(load.measurement), "role": load.role,
             "via": load.via, "declared": load.declared, "manifest": sha256, "step": load.step.id},
        )  # fmt: skip

    def journal_output(self, output: Output) -> None:
        self.flush(force=True)
        self.journal(
            "saved",
            {"name": output.name, "path": output.path, "measurement": measurement_record(output.measurement),
             "via": output.via, "source": output.source, "asset_type": output.asset_type, "training": output.training,
             "step": output.step.id},
        )  # fmt: skip

    def flush(self, *, force: bool = False) -> None:
        """Other ranks: what the loaders did so far, where rank 0 will look for it."""
        now = time.monotonic()
        if self.owner or self._broken or (not force and now - self._flushed < FLUSH_SECONDS):
            return
        uses = [use for use in self.ledger.loaders if use.batches]
        if not uses or not (force or any(use.changed for use in uses)):
            return
        self._flushed = now
        try:
            with self.own():
                self._journal.state({"loaders": [use.record() for use in uses]})
        except Exception as error:
            self._broken = True
            self.guard.failed(STORE, error)
        for use in uses:
            use.changed = False

    # ---------------------------------------------------------------------------------------------- lifetime

    def forked(self) -> None:
        """In a child: it keeps a journal of its own and never signs."""
        parent = self.steps.current()
        self.pid = os.getpid()
        self.signer = None
        self.process = f"child {self.pid}"
        self._local = threading.local()
        self._lock = threading.RLock()
        for part in (self.guard, self.ledger, self.inputs, self.background, self.net, self._journal):
            part.forked()
        self.steps.forked(str(self.pid))
        self.steps.enter(parent)
        self.ledger.loaders = []
        self._merger = None
        self._broken = False
        self._journal = Journal(self.directory)

    def finish(self, status: str) -> None:
        """End of the run, in the process that owns it."""
        if self.pid != os.getpid() or not self.live:
            return
        if self.process.startswith("child "):
            return
        with self.entry("ending the run"):
            if status == "done":
                for step in list(self.steps.known.values()):
                    self.outputs.settle(step)
            self.flush(force=True)
            if self.owner:
                self._await_ranks()
                self.merge()
                self.outputs.withdraw_grown()
        self.journal("end", {"status": status})
        if self.owner and not self._broken:
            with self.guard(STORE), self.own():
                (self.directory / ENDED).touch()
        self.live = False
        self._journal.close()
        self.ended(self)

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
