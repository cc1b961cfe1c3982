"""Outputs: from bytes that were written to a signed manifest beside them and in the store."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.claim import Gap
from atlas.errors import NotFound
from atlas.measure import measure
from atlas.model import Input, Measurement, SignedManifest
from atlas.record.assemble import Assembly, assemble
from atlas.record.inputs import signature
from atlas.record.ledger import PREVIOUS
from atlas.record.steps import Declared, Step
from atlas.sidecar import proof_paths
from atlas.store import sidecar_path, write_sidecar
from atlas.tensors.attach import measure_model

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

STORE = "keeping records in the store"
SIDECAR = "writing a manifest beside its artifact"
SIGNING = "recording an artifact"
_DIGITS = re.compile(r"\d+")


@dataclass(eq=False, slots=True)
class Output:
    name: str
    path: str  # absolute; "" for a stream without a name
    measurement: Measurement
    via: str
    source: str  # "recorded" by a hook, "declared" by hand
    asset_type: str | None
    step: Step
    process: str = ""
    training: int = 0  # optimizer steps before it
    stream: bool = False  # the caller's own file object: more may be written to it
    number: int = 0
    metrics: int = 0
    signature: tuple[int, ...] = ()
    assembly: Assembly | None = None
    signed: SignedManifest | None = None
    previous: Output | None = None
    beside: bool = False  # its manifest was written beside it

    @property
    def current(self) -> bool:
        """Whether its manifest still stands where it was written: whoever opens the file to write moves that aside."""
        return not self.beside or sidecar_path(self.path).exists()

    @property
    def series(self) -> tuple[str, str, str]:
        """Checkpoints of one run are told from each other by numbers in their names, or not at all."""
        return self.process, self.step.id, _DIGITS.sub("#", self.name)


@dataclass(slots=True)
class _Shelf:
    by_path: dict[str, Output] = field(default_factory=dict)
    series: dict[tuple[str, str, str], Output] = field(default_factory=dict)
    streams: set[bytes] = field(default_factory=set)


class Outputs:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._numbers = itertools.count(1)
        self._shelf = _Shelf()

    # ------------------------------------------------------------------------------------------- looking up

    def at(self, path: str) -> Output | None:
        return self._shelf.by_path.get(path)

    def under(self, directory: str) -> list[Output]:
        return [o for path, o in self._shelf.by_path.items() if path.startswith(f"{directory}/")]

    def all(self) -> list[Output]:
        return list(self._shelf.by_path.values())

    def is_own_stream(self, measurement: Measurement) -> bool:
        """Bytes that this process saved into memory: reading them back is no input."""
        return measurement.tree is not None and measurement.tree.value in self._shelf.streams

    def in_declared_directory(self, path: str) -> bool:
        """Whether a directory that will be signed as a whole holds this path."""
        return any(
            path.startswith(f"{place}/") for step in self._recorder.steps.current().lineage() for place in step.declared
        )

    # ------------------------------------------------------------------------------------------- publishing

    def saved(self, output: Output) -> None:
        """Bytes were written and measured: sign them, or, in a child or another rank, hand them on."""
        recorder = self._recorder
        output.number = next(self._numbers)
        output.signature = signature(output.path) if output.path else ()
        output.training = output.training or recorder.optimizer_steps
        if not output.path and output.measurement.tree is not None:
            self._shelf.streams.add(output.measurement.tree.value)
        if recorder.signer is None:
            recorder.diary.output(output)
            self._keep(output)
            return
        recorder.attesting.tell("checkpoint", output.measurement.flat)
        output.assembly = assemble(recorder, output)
        output.previous = self._previous(output)
        self._sign(output)
        self._keep(output)

    def _keep(self, output: Output) -> None:
        if output.path:
            self._shelf.by_path[output.path] = output
            self._shelf.series[output.series] = output

    def _previous(self, output: Output) -> Output | None:
        """The checkpoint that this one came after: of the same step, with training in between."""
        before = self._shelf.series.get(output.series)
        if before is None or before.signed is None or output.source != "recorded":
            return None
        trained = output.training > before.training or output.asset_type == before.asset_type == "model"
        same = before.measurement.tree == output.measurement.tree
        return before if trained and not same else None

    def _sign(self, output: Output) -> None:
        recorder = self._recorder
        assembly = output.assembly
        if assembly is None or recorder.signer is None:
            return
        inputs = assembly.inputs
        if output.previous is not None and output.previous.signed is not None:
            inputs = _with_previous(inputs, output.previous, output.previous.signed)
        signed = recorder.attesting.sign(
            output.step,
            measurement=output.measurement,
            name=output.name,
            signer=recorder.signer,
            inputs=inputs,
            source=output.source,
            asset_type=output.asset_type,
            step=output.step.path or None,
            when=datetime.now(UTC),
            run=assembly.run,
            data_use=assembly.data_use,
            metrics=assembly.metrics,
            gaps=assembly.gaps,
        )
        output.metrics = recorder.metrics_count(output.step)
        output.signed = signed
        recorder.attesting.tell("manifest-sign", f"sha256:{signed.sha256}")
        self._deliver(output, signed)

    def _deliver(self, output: Output, signed: SignedManifest) -> None:
        recorder = self._recorder
        with recorder.guard(STORE, output.name):
            recorder.store.put(signed.store)
            keep_table(recorder, output.measurement)
        if output.path:
            with recorder.guard(SIDECAR, output.name):
                write_sidecar(output.path, signed.store, output.measurement.index)
                output.beside = True
        recorder.logs.add(signed, output.path)
        recorder.diary.write(
            "signed",
            {"name": output.name, "path": output.path, "urn": signed.urn, "manifest": signed.sha256,
             "size": output.measurement.size, "step": output.step.path},
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------- renames

    def moved(self, output: Output, path: str) -> bool:
        """An artifact has another name now: sign it under that one. False when its sidecar must just move along."""
        recorder = self._recorder
        before = output.path
        self._shelf.by_path.pop(before, None)
        if self._shelf.series.get(output.series) is output:
            del self._shelf.series[output.series]
        output.path, output.name = path, recorder.names.logical(path)
        output.signature = signature(path)
        if output.signed is not None and output.assembly is not None:
            output.previous = self._previous(output)
            self._sign(output)
            self._keep(output)
            return True
        recorder.diary.write("moved", {"from": before, "to": path})
        self._keep(output)
        return False

    def removed(self, path: str) -> None:
        """An artifact of this run is gone; its manifest stays in the store."""
        output = self._shelf.by_path.pop(path, None)
        if output is not None and output.signed is None:
            self._recorder.diary.write("removed", {"path": path})
        elif output is not None:
            for place in (sidecar_path(path), Path(f"{path}.c2pa-index"), *proof_paths(path)):
                place.unlink(missing_ok=True)

    def withdraw_grown(self) -> None:
        """Files that the caller went on writing to after the save: their manifests no longer speak of them."""
        recorder = self._recorder
        for output in self.all():
            if output.stream and output.signature and output.signature[:3] != signature(output.path)[:3]:
                if os.path.lexists(output.path):
                    recorder.gap(Gap(output.name, "was written to after it was saved; its manifest was withdrawn"))
                self.removed(output.path)

    # --------------------------------------------------------------------------------------------- declared

    def declare(self, declared: Declared, step: Step) -> None:
        """Look now if it is there; `settle` looks again when the step ends."""
        step.declared[declared.path] = declared
        if declared.path.exists():
            self._publish_declared(declared, step)

    def settle(self, step: Step) -> None:
        """The step is over: whatever it declared has its final content."""
        recorder = self._recorder
        for declared in list(step.declared.values()):
            name = recorder.names.logical(declared.path)
            with recorder.guard(SIGNING, name):
                if not declared.path.exists():
                    raise NotFound("was declared as an output but never written", where=name)
                self._publish_declared(declared, step)
        step.declared.clear()

    def remeasured(self, output: Output) -> None:
        """A directory that a child declared: its index is not in the journal."""
        again = measure(output.path)
        if again.flat != output.measurement.flat:
            self._recorder.gap(
                Gap(output.name, f"was declared by {output.process} and changed before it could be signed")
            )
            return
        output.measurement = again
        self.saved(output)

    def _publish_declared(self, declared: Declared, step: Step) -> None:
        recorder = self._recorder
        path = str(declared.path)
        known = self.at(path)
        current = known is not None and known.current and known.metrics >= recorder.metrics_count(step)
        if known is not None and current and declared.path.is_file() and known.signature == signature(path):
            return
        with recorder.own():
            measurement, _why = measure_model(path)
        if known is not None and current and known.measurement == measurement:
            return
        self.saved(
            Output(
                name=declared.name or recorder.names.logical(path),
                path=path,
                measurement=measurement,
                via="run.output",
                source="declared",
                asset_type=declared.asset_type,
                step=step,
            )
        )


def keep_table(recorder: Recorder, measurement: Measurement) -> None:
    """The manifest names the tensor table by its hash: the store has it."""
    if measurement.tensors is not None and measurement.tensors.table is not None:
        recorder.store.put(measurement.tensors.table)


def _with_previous(inputs: list[Input], previous: Output, signed: SignedManifest) -> list[Input]:
    """The checkpoint before this one, by hash: embedding would copy the whole history into each of them."""
    if any(i.name == previous.name and i.measurement.tree == previous.measurement.tree for i in inputs):
        return inputs
    return [
        *inputs,
        Input(
            name=previous.name,
            measurement=replace(previous.measurement, index=None),
            role="checkpoint",
            via=previous.via,
            manifest=signed.store,
            relation=PREVIOUS,
            refer=True,
        ),
    ]
