"""A file's measurement and its tensor table: of one and the same version of the file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from atlas.errors import AtlasError, FileChanged, MalformedError
from atlas.files import StrPath, open_regular, version_of
from atlas.measure import measure
from atlas.model import Digest, Measurement, Tensors
from atlas.tensors.place import Known
from atlas.tensors.source import is_checkpoint, table_of_fd
from atlas.tensors.table import Table


def tensors_of(table: Table) -> Tensors:
    return Tensors(Digest("sha256", table.root), Digest("sha256", table.sha256), table.encoded)


def find_tensors(path: StrPath, *, known: Known | None = None) -> tuple[Tensors | None, str]:
    """The tensors of a model file; or None, and why there is no table ("" for what is no checkpoint at all)."""
    with open_regular(path) as file:
        if not is_checkpoint(file.fileno(), os.fspath(path)):
            return None, ""
        try:
            return tensors_of(table_of_fd(file.fileno(), os.fspath(path), known=known)), ""
        except MalformedError as error:
            return None, error.text


def measure_model(path: StrPath, **options: Any) -> tuple[Measurement, str]:
    """`measure` for what may be a model file: with its tensors where there is a table, else why there is none."""
    before = version_of(path)
    measured = measure(path, **options)
    if measured.kind != "file":
        return measured, ""
    tensors, why = find_tensors(path)
    if version_of(path) != before:
        raise FileChanged("changed while it was measured", where=os.fspath(path))
    return replace(measured, tensors=tensors), why


def attach(measurement: Measurement, path: StrPath, *, known: Known | None = None) -> Measurement:
    """The measurement with the file's tensors; as it is where there is no table, or the file is no longer that one."""
    try:
        if os.stat(path).st_size != measurement.size:  # noqa: PTH116
            return measurement
        tensors, _why = find_tensors(path, known=known)
    except (AtlasError, OSError):
        return measurement
    return replace(measurement, tensors=tensors)
