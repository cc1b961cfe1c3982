"""What was read: from the bytes that a hook measured, or that a user named, to an input in the ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.measure import measure
from atlas.model import Measurement
from atlas.record.inputs import SignedDirectory, check_exists, signature
from atlas.record.ledger import Load
from atlas.record.loaders import LoaderUse
from atlas.record.rollup import Member

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

SMALL = 16 << 20  # a file up to this size gets both digests at once, a larger one in the background


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes that were read: `measurement` is of what the program got; `full` measures the file again, both digests."""

    path: str  # absolute; "" for a stream
    name: str
    measurement: Measurement
    via: str
    role: str = "data"
    full: Callable[[], Measurement] | None = None
    changed: bool = False
    manifest: bytes | None = None  # found and verified already, in enforce


class Reads:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._inputs = recorder.inputs

    def loaded(self, reading: Reading, use: LoaderUse | None = None, loader: int = 0) -> None:
        """Something was read. `use` is the loader whose data set it was read for, `loader` its number in a worker."""
        if reading.path:
            self._inputs.measured[reading.path] = signature(reading.path)
        if reading.changed:
            self._recorder.gap(Gap(reading.name, "changed while it was read", input=True))
            return
        if not reading.path and self._recorder.outputs.is_own_stream(reading.measurement):
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
            step=self._recorder.steps.current(),
            manifest=reading.manifest,
        )
        if load.manifest is None:
            load.manifest = self._inputs.match(load.path, load.name, load.measurement)
        kept = self._recorder.ledger.add(load)
        if kept is load:
            self._recorder.attesting.read(load)
            self._complete(load, reading)

    def _complete(self, load: Load, reading: Reading) -> None:
        """The flat digest, for which the file is read again: at once if it is small, else in the background."""
        full = reading.full
        if full is not None and load.measurement.flat is None:
            if load.measurement.size <= SMALL:
                self._fill(load, full)
            elif self._recorder.owner:
                load.job = self._recorder.background.submit(lambda: self._fill(load, full))
        if not self._recorder.owner:
            self._recorder.diary.load(load)

    def _fill(self, load: Load, full: Callable[[], Measurement]) -> None:
        """The second reading counts only if its tree is that of the bytes that the program got."""
        with self._recorder.guard("measuring an input", load.name), self._recorder.own():
            again = full()
            if again.tree == load.measurement.tree:
                load.measurement = again
            else:
                self._recorder.gap(
                    Gap(load.name, "changed after it was read: only its tree digest is recorded"), load.step
                )

    def _read_for(self, reading: Reading, use: LoaderUse | None, loader: int) -> None:
        measurement = reading.measurement
        if measurement.flat is None and reading.full is not None:
            again = reading.full()
            if again.tree != measurement.tree:
                self._recorder.gap(Gap(reading.name, "changed while it was read", input=True))
                return
            measurement = again
        if measurement.flat is None or measurement.tree is None:
            return
        member = Member(measurement.flat.value, measurement.tree.value, measurement.size)
        if use is not None:
            use.read(reading.path, member)
        if not self._recorder.owner:
            number = use.number if use is not None else loader
            self._recorder.diary.write(
                "read",
                {"path": reading.path, "flat": member.flat, "tree": member.tree, "size": member.size, "loader": number,
                 "step": self._recorder.steps.current().id},
            )  # fmt: skip

    def declare(self, path: Any, *, role: str, dataset: object | None, name: str | None) -> Load:
        place = self._recorder.names.absolute(path)
        label = name or self._recorder.names.logical(place)
        check_exists(place)
        with self._recorder.own():
            directory = os.path.isdir(place)  # noqa: PTH112
            before = signature(place)
            measurement = self._inputs.measure_directory(place) if directory else measure(place)
            if self._inputs.enforce:
                manifest = self._inputs.require(place, label, measurement)
            else:
                manifest = self._inputs.match(place, label, measurement)
        if directory:
            self._inputs.measured_directories.add(place)
        else:
            self._inputs.measured[place] = before
        load = Load(
            name=label,
            path=place,
            measurement=replace(measurement, index=None),
            role=role,
            via="run.input",
            step=self._recorder.steps.current(),
            declared=True,
            manifest=manifest,
        )
        kept = self._recorder.ledger.add(load)
        if kept is load:
            self._recorder.attesting.read(load)
        if dataset is not None:
            self._recorder.bind_dataset(dataset, kept)
        if not self._recorder.owner:
            self._recorder.diary.load(kept)
        return kept

    def signed_directory(self, load: Load) -> SignedDirectory | None:
        """The signed directory that stands for a file without a manifest of its own."""
        if not load.path or load.measurement.kind == "directory":
            return None
        directory = self._inputs.directory_of(load.path)
        if directory is None:
            return None
        if directory.holds(load.path, load.measurement):
            return directory
        name = self._recorder.names.logical(directory.path)
        self._recorder.gap(Gap(load.name, f"is not as the manifest of {name} says, which was not used"), load.step)
        return None
