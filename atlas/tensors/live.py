"""From a state dict in memory to its table. No torch is imported: a tensor is what has the attributes of one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

from atlas.errors import LimitError, UsageError
from atlas.tensors.place import BIG_ENDIAN_HOST, Place, digest, span_of
from atlas.tensors.table import ELEMENT_BYTES, MAX_DEPTH, MAX_TENSORS, Entry, Table, encode_name

_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), date, timedelta, Enum, PurePath, type)
Path = tuple[str | int, ...]


_NO_TENSORS = {  # of torch and numpy: what a checkpoint may hold beside tensors
    "torch": ("dtype", "device", "Size", "layout", "memory_format"),
    "numpy": None,
}


def is_tensor(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("untyped_storage", "dtype", "shape", "stride", "storage_offset"))


def _is_other(value: Any) -> bool:
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    allowed = _NO_TENSORS.get(package, ())
    return isinstance(value, _PLAIN) or allowed is None or kind.__name__ in allowed


def table_of_state(value: Any) -> Table:
    """The tensor table of a tensor, or of mappings and sequences of tensors: the same as that of their checkpoint.

    Tensors that are not in main memory are copied there one at a time. Raises UsageError for what no table describes.
    """
    entries: list[Entry] = []
    here: list[Place] = []
    for path, tensor in _tensors(value):
        name = encode_name(path)
        place = _place(name, tensor)
        if place.memory is not None and not _is_elsewhere(tensor):
            here.append(place)
        else:
            entries += digest([place])
    return Table.of([*entries, *digest(here)])


def _tensors(root: Any) -> Iterator[tuple[Path, Any]]:
    stack: list[tuple[Any, Path]] = [(root, ())]
    found = 0
    while stack:
        value, path = stack.pop()
        if is_tensor(value):
            found += 1
            if found > MAX_TENSORS:
                raise LimitError(f"more than {MAX_TENSORS} tensors")
            yield path, value
            continue
        inner = _children(value, path)
        if inner and len(path) >= MAX_DEPTH:
            raise LimitError(f"{encode_name(path)[:80]}: nested deeper than {MAX_DEPTH}")
        stack += [(child, (*path, key)) for key, child in inner]


def _children(value: Any, path: Path) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        if all(type(key) in (str, int) for key in value):
            return list(value.items())
        if any(is_tensor(child) or isinstance(child, Mapping | list | tuple) for child in value.values()):
            raise UsageError(f"{encode_name(path)}: keys that are neither text nor integers")
        return []
    if type(value) in (list, tuple):
        return list(enumerate(value))
    if _is_other(value):
        return []
    hint = "give its state_dict()" if callable(getattr(value, "state_dict", None)) else ""
    raise UsageError(
        f"{encode_name(path)}: {type(value).__name__} may hold tensors that no table describes", hint=hint
    )


def _is_elsewhere(tensor: Any) -> bool:
    return str(getattr(tensor, "device", "cpu")).partition(":")[0] != "cpu"


def _place(name: str, tensor: Any) -> Place:
    dtype = str(tensor.dtype).removeprefix("torch.")
    strided = str(getattr(tensor, "layout", "torch.strided")) == "torch.strided"
    if dtype not in ELEMENT_BYTES or not strided or type(tensor).__name__ not in ("Tensor", "Parameter", "Buffer"):
        raise UsageError(f"{name}: {type(tensor).__name__} of {dtype} is a kind that no table describes")
    if getattr(tensor, "is_meta", False):
        raise UsageError(f"{name}: has no elements")
    if _is_elsewhere(tensor):
        tensor = tensor.detach().cpu()
    for flag in ("is_conj", "is_neg"):
        if getattr(tensor, flag, bool)():
            raise UsageError(f"{name}: a tensor whose elements are conjugated or negated when they are read")
    shape, stride = tuple(map(int, tensor.shape)), tuple(map(int, tensor.stride()))
    element, offset = ELEMENT_BYTES[dtype], int(tensor.storage_offset())
    storage = tensor.untyped_storage()
    memory = _Memory(tensor, storage).view()
    if (offset + span_of(shape, stride)) * element > len(memory):
        raise UsageError(f"{name}: reaches beyond its storage")
    return Place(name, dtype, shape, stride, offset * element, memory=memory, big_endian=BIG_ENDIAN_HOST)


class _Memory:
    """The bytes of a storage without a copy; keeps the tensor alive as long as they are looked at."""

    def __init__(self, tensor: Any, storage: Any) -> None:
        self._tensor = tensor
        self._address = int(storage.data_ptr())
        self._size = int(storage.nbytes())

    def view(self) -> memoryview:
        if self._size == 0:
            return memoryview(b"")
        if self._address == 0:
            raise UsageError("a tensor without elements in memory")
        array = (ctypes.c_char * self._size).from_address(self._address)
        array._atlas_owner = self._tensor  # type: ignore[attr-defined]
        return memoryview(array).cast("B")
