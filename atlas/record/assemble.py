"""One artifact's part of the record: its inputs, gaps, loaders, metrics, and the run as plain data."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.model import Input, Measurement
from atlas.record.context import environment
from atlas.record.inputs import SignedDirectory
from atlas.record.ledger import BY_CHILD, EARLIER, Load
from atlas.record.loaders import LoaderUse
from atlas.record.plain import plain
from atlas.record.redact import Redactor
from atlas.record.rollup import Member, common_directory, index_of
from atlas.record.steps import Step

if TYPE_CHECKING:
    from atlas.record.outputs import Output
    from atlas.record.recorder import Recorder

WAIT_SECONDS = 30.0  # for digests that are still being computed when an artifact is signed
MANY = 64  # files of one directory that are listed one by one
MAX_GAPS = 200
MAX_INPUTS = 900  # below ATLAS_MAX_INGREDIENTS of atlas.h, with room for what the claim adds


@dataclass(frozen=True, slots=True)
class Assembly:
    inputs: list[Input]
    gaps: list[Gap]
    run: dict[str, Any]
    data_use: list[dict[str, Any]]
    metrics: list[dict[str, Any]]


def assemble(recorder: Recorder, output: Output) -> Assembly:
    """Called when the artifact is complete; what comes later belongs to later artifacts."""
    recorder.merge()
    step, process = output.step, output.process
    gaps: list[Gap] = []
    inputs = _listed(recorder, step, process, gaps)
    uses = recorder.ledger.loaders_for(step) if process == "" else []
    data_use = []
    for use in uses:
        if use.batches == 0 and not use.reads:
            continue
        inputs += _of_loader(recorder, use, step, gaps)
        data_use.append(use.record())
    if process == "":
        data_use += recorder.ranks_for(step, gaps)
    if len(inputs) > MAX_INPUTS:
        gaps.append(Gap(f"{len(inputs) - MAX_INPUTS} more inputs", "a manifest cannot list so many", input=True))
        inputs = inputs[:MAX_INPUTS]
    gaps += recorder.ledger.gaps_for(step, process)
    gaps += recorder.unmeasured_for(step)
    names = {item.name for item in inputs}
    metrics = [_metric(entry, names, gaps) for entry in recorder.metrics_for(step)]
    gaps = list(dict.fromkeys(map(recorder.clean_gap, gaps)))
    if len(gaps) > MAX_GAPS:
        gaps[MAX_GAPS:] = [Gap(f"{len(gaps) - MAX_GAPS} more gaps", "a manifest does not list so many", input=True)]
    return Assembly(inputs, gaps, run_record(recorder, step), data_use, metrics)


# ---------------------------------------------------------------------------------------------------- inputs


def _listed(recorder: Recorder, step: Step, process: str, gaps: list[Gap]) -> list[Input]:
    pairs = list(recorder.ledger.loads_for(step, process))
    for load, _ in pairs:
        if load.job is not None and not load.job.wait(WAIT_SECONDS):
            gaps.append(Gap(load.name, "was still being measured: only its tree digest is recorded"))
    crowds = _crowds(pairs)
    inputs: list[Input] = []
    directories: set[str] = set()
    for load, relation in pairs:
        if (_place(load), relation) in crowds:
            continue
        signed = None if load.manifest is not None else recorder.reads.signed_directory(load)
        if signed is not None:
            if signed.path not in directories:
                directories.add(signed.path)
                inputs.append(_directory_input(recorder, signed, load, relation))
            continue
        inputs.append(Input(load.name, load.measurement, load.role, load.via, load.manifest, relation=relation))
    for (_, relation), loads in crowds.items():
        inputs += _crowd_inputs(recorder, loads, relation)
    return inputs


def _place(load: Load) -> str:
    return load.path.rpartition("/")[0]


def _crowds(pairs: list[tuple[Load, str | None]]) -> dict[tuple[str, str | None], list[Load]]:
    """Directories of which so many files were read one by one that one index stands for them."""
    groups: dict[tuple[str, str | None], list[Load]] = defaultdict(list)
    for load, relation in pairs:
        plain_file = load.path and not load.declared and load.manifest is None and load.measurement.kind == "file"
        if plain_file and load.measurement.flat is not None:
            groups[_place(load), relation].append(load)
    return {key: loads for key, loads in groups.items() if len(loads) > MANY}


def _crowd_inputs(recorder: Recorder, loads: list[Load], relation: str | None) -> list[Input]:
    members = {load.path: _member(load.measurement) for load in loads}
    return _files_input(recorder, members, [], role=loads[0].role, via=loads[0].via, relation=relation)


def _member(m: Measurement) -> Member:
    assert m.flat is not None and m.tree is not None
    return Member(m.flat.value, m.tree.value, m.size)


def _directory_input(recorder: Recorder, signed: SignedDirectory, load: Load, relation: str | None) -> Input:
    name = recorder.names.logical(signed.path)
    return Input(name, replace(signed.measurement, index=None), load.role, load.via, signed.manifest, relation=relation)


def _files_input(
    recorder: Recorder, members: Mapping[str, Member], gaps: list[Gap], *, role: str, via: str, relation: str | None
) -> list[Input]:
    """Files that were read together: their signed directory where there is one, else one index over them."""
    if not members:
        return []
    place = common_directory(members)
    name = recorder.names.logical(place)
    signed = recorder.inputs.directory_at(place)
    if signed is not None:
        different = [path for path, member in members.items() if signed.members.get(path) != member]
        if not different:
            name = recorder.names.logical(signed.path)
            return [Input(name, replace(signed.measurement, index=None), role, via, signed.manifest, relation=relation)]
        shown = recorder.names.logical(different[0])
        gaps.append(Gap(name, f"{len(different)} files read from it are not as its manifest says, {shown} among them"))
    return [Input(name, replace(index_of(members, place), index=None), role, via, relation=relation)]


def _of_loader(recorder: Recorder, use: LoaderUse, step: Step, gaps: list[Gap]) -> list[Input]:
    """The files of a loader's data set: the ones it lists and the ones that were read for it."""
    if not use.identity.settle(WAIT_SECONDS):
        gaps.append(Gap(f"data set {use.identity.name}", "was still being measured"))
    if use.conflicts:
        first = recorder.names.logical(min(use.conflicts))
        gaps.append(Gap(first, f"changed while it was used for training; {len(use.conflicts)} such files"))
    if use.identity.opaque and not use.reads:
        gaps.append(
            Gap(f"data set {use.identity.name}", "opaque: its bytes do not identify it; run.input(..., dataset=) does",
                input=True)
        )  # fmt: skip
    relation = None if step.parent is not None and step.contains(use.step) else EARLIER
    members = {**use.identity.files(), **use.reads}
    via = "torch.load" if use.reads else "files of a data set"
    return _files_input(recorder, members, gaps, role=use.role, via=via, relation=relation)


# ------------------------------------------------------------------------------------------------ everything else


def _metric(entry: dict[str, Any], names: set[str], gaps: list[Gap]) -> dict[str, Any]:
    shown = dict(entry)
    for key in ("of", "on"):
        if shown.get(key) is not None and shown[key] not in names:
            gaps.append(
                Gap(f"metric {shown['name']}", f"speaks of {shown[key]}, which is not an input of this artifact")
            )
            shown[key] = None
    return shown


def run_record(recorder: Recorder, step: Step) -> dict[str, Any]:
    """The content of org.atlasml.run: everything in it has been through the redactor."""
    redactor = Redactor()
    name_of = recorder.names.logical

    def clean(value: Any, where: str) -> Any:
        return _scrub(redactor.value(plain(value, name_of), where), recorder.names.scrub)

    entry: dict[str, Any] = {
        "version": 1,
        "run": recorder.id,
        "started": datetime.fromtimestamp(recorder.started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": [recorder.names.scrub(a) for a in redactor.arguments(_argv(name_of))],
    }
    if recorder.settings.name:
        entry["name"] = clean(recorder.settings.name, "name")
    if step.path:
        entry["step"] = clean(step.path, "step")
    rank, world = recorder.world()
    if world > 1:
        entry |= {"rank": rank, "world_size": world}
    entry |= recorder.context.record()
    if params := step.all_params():
        entry["params"] = clean(params, "params")
    if log := _log(step):
        entry["log"] = clean(log, "log")
    if found := environment():
        entry["environment"] = clean(found, "environment")
    if redactor.found:
        entry["redacted"] = sorted(redactor.found)
    return entry


def _argv(name_of: Any) -> list[str]:
    arguments = [str(a) for a in sys.argv]
    if arguments and arguments[0].startswith("/"):
        arguments[0] = name_of(arguments[0])
    return arguments


def _log(step: Step) -> dict[str, Any]:
    for place in step.lineage():
        if place.logged:
            return {"entries": place.logged, "last": place.log}
    return {}


def _scrub(value: Any, scrub: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(key): _scrub(item, scrub) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrub(item, scrub) for item in value]
    return value


__all__ = ["BY_CHILD", "Assembly", "assemble", "run_record"]
