"""Brings what children and other ranks wrote into their journals into the owner's ledger, and signs what they saved."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from atlas.claim import Gap
from atlas.model import Digest, Measurement, Tensors
from atlas.record.family import Children, Rank, Ranks
from atlas.record.inputs import signature
from atlas.record.journal import Record
from atlas.record.ledger import Load
from atlas.record.outputs import SIGNING, Output
from atlas.record.rollup import Member
from atlas.record.steps import Step

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder


def measurement_record(m: Measurement) -> Record:
    return {
        "kind": m.kind,
        "alg": m.alg,
        "flat": m.flat.value if m.flat else None,
        "tree": m.tree.value if m.tree else None,
        "size": m.size,
        "files": m.files,
        "tensors": [m.tensors.root.value, m.tensors.sha256.value] if m.tensors else None,
    }


def _measurement(record: Mapping[str, Any]) -> Measurement:
    def digest(value: bytes | None) -> Digest | None:
        return Digest(record["alg"], value) if value is not None else None

    kind = cast(Literal["file", "directory"], record["kind"])
    tensors = record.get("tensors")
    return Measurement(
        kind,
        digest(record["flat"]),
        digest(record["tree"]),
        record["size"],
        record["files"],
        tensors=Tensors(Digest("sha256", tensors[0]), Digest("sha256", tensors[1])) if tensors else None,
    )


class Merger:
    def __init__(self, recorder: Recorder, directory: Path, own: str, rank: Rank | None) -> None:
        self._recorder = recorder
        self._children = Children(directory, own)
        self._ranks = Ranks(rank, recorder.store.directory / "runs", recorder.started) if rank is not None else None
        self._steps: dict[tuple[str, str], Step] = {}
        self._outputs: dict[tuple[str, str], Output] = {}  # saved by children and not signed yet
        self._lock = threading.RLock()
        self._merging = False

    @property
    def ranks_running(self) -> bool:
        return self._ranks is not None and self._ranks.running()

    def merge(self) -> None:
        """Signing merges, and merging signs: the outer call does both. Other threads wait until it is done."""
        with self._lock:
            if self._merging:
                return
            self._merging = True
            try:
                for process, record in self._children.records():
                    self._take(f"child {process.partition('-')[0]}", record, None)
                for number, _process, record in self._ranks.records() if self._ranks is not None else ():
                    self._take(f"rank {number}", record, number)
                self._sign()
            finally:
                self._merging = False

    def _take(self, process: str, record: Record, rank: int | None) -> None:
        handler = getattr(self, f"_on_{record['t']}", None)
        if handler is not None:
            with self._recorder.guard("reading the journal of another process", process):
                handler(process, record, rank)

    def _step(self, process: str, identifier: str) -> Step:
        """A rank's steps are its own; a child was born in one of ours."""
        found = self._steps.get((process, identifier))
        if found is not None:
            return found
        if process.startswith("rank "):
            step = Step(id=f"{process}/{identifier}", name="", parent=None, process=process)
            self._steps[process, identifier] = step
            return step
        steps = self._recorder.steps
        return steps.known.get(identifier, steps.top)

    # ----------------------------------------------------------------------------------------------- records

    def _on_step(self, process: str, record: Record, _rank: int | None) -> None:
        parent = self._step(process, record["parent"])
        step = Step(id=f"{process}/{record['id']}", name=record["name"], parent=parent, process=process)
        step.attest = self._recorder.attesting.wish(record.get("attest"))
        self._steps[process, record["id"]] = step

    def _on_load(self, process: str, record: Record, _rank: int | None) -> None:
        recorder = self._recorder
        sha256 = record.get("manifest")
        load = recorder.ledger.add(
            Load(
                name=record["name"],
                path=record["path"],
                measurement=_measurement(record["measurement"]),
                role=record["role"],
                via=record["via"],
                step=self._step(process, record["step"]),
                declared=record["declared"],
                process=process,
                manifest=recorder.store.get(sha256) if sha256 else None,
            )
        )
        recorder.attesting.read(load)
        recorder.inputs.measured.setdefault(record["path"], ())

    def _on_read(self, process: str, record: Record, _rank: int | None) -> None:
        """A file that was loaded for a data set, by a worker or by another rank (which runs the same program)."""
        recorder = self._recorder
        member = Member(record["flat"], record["tree"], record["size"])
        recorder.inputs.measured.setdefault(record["path"], ())
        uses = [use for use in recorder.ledger.loaders if use.number == record["loader"]]
        if uses:
            uses[0].read(record["path"], member)
            return
        digests = Digest("sha256", member.flat), Digest("sha256", member.tree)
        load = Load(
            recorder.names.logical(record["path"]), record["path"], Measurement("file", *digests, member.size, 1),
            "data", "torch.load", self._step(process, record["step"]), process=process,
        )  # fmt: skip
        recorder.ledger.add(load)

    def _on_open(self, process: str, record: Record, _rank: int | None) -> None:
        self._recorder.net.opened(record["path"], "rb", 0, self._step(process, record["step"]))
        for use in self._recorder.ledger.loaders:
            if use.number == record["loader"]:
                use.strays.add(record["path"])

    def _on_gap(self, process: str, record: Record, _rank: int | None) -> None:
        gap = Gap(record["what"], f"{record['reason']} ({process})", record["input"])
        self._recorder.ledger.gap(gap, self._step(process, record["step"]), process)

    def _on_params(self, process: str, record: Record, _rank: int | None) -> None:
        if not process.startswith("rank "):
            self._step(process, record["step"]).params |= record["params"]

    def _on_metric(self, process: str, record: Record, _rank: int | None) -> None:
        if not process.startswith("rank "):
            self._step(process, record["step"]).metrics.append(record["metric"])

    def _on_state(self, _process: str, record: Record, rank: int | None) -> None:
        if rank is not None:
            self._recorder.ledger.ranks[rank] = record["loaders"]

    def _on_begin(self, _process: str, _record: Record, rank: int | None) -> None:
        if rank is not None:
            self._recorder.ledger.ranks.setdefault(rank, [])

    # ----------------------------------------------------------------------------------------------- outputs

    def _on_saved(self, process: str, record: Record, _rank: int | None) -> None:
        path = record["path"] or record["name"]
        self._outputs[process, path] = Output(
            name=record["name"],
            path=record["path"],
            measurement=_measurement(record["measurement"]),
            via=record["via"],
            source=record["source"],
            asset_type=record["asset_type"],
            step=self._step(process, record["step"]),
            process=process,
            training=record["training"],
        )

    def _on_moved(self, process: str, record: Record, _rank: int | None) -> None:
        output = self._outputs.pop((process, record["from"]), None)
        if output is not None:
            output.path, output.name = record["to"], self._recorder.names.logical(record["to"])
            self._outputs[process, output.path] = output

    def _on_removed(self, process: str, record: Record, _rank: int | None) -> None:
        self._outputs.pop((process, record["path"]), None)

    def _sign(self) -> None:
        recorder = self._recorder
        waiting, self._outputs = list(self._outputs.values()), {}
        for output in waiting:
            with recorder.guard(SIGNING, output.name):
                if output.path and signature(output.path)[2:3] != (output.measurement.size,):
                    recorder.gap(
                        Gap(output.name, f"was saved by {output.process} and changed before it could be signed")
                    )
                elif output.measurement.kind == "directory":
                    recorder.outputs.remeasured(output)
                else:
                    recorder.outputs.saved(output)
