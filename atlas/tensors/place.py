"""Where tensors lie, and their digests: the elements themselves are only ever touched by the C core."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from atlas import _core
from atlas.errors import FileChanged, LimitError, MalformedError
from atlas.tensors.table import ELEMENT_BYTES, MAX_DIMS, MAX_ELEMENTS, MAX_TENSORS, Entry, Table

_BATCH_TENSORS = 1024  # one call of the core; Ctrl-C gets through between two
_BATCH_BYTES = 4 << 30
# Views of few bytes can claim many elements: a stride of 0, or the same storage a million times.
_MAX_TIMES = 4
_FREE_BYTES = 1 << 30

Known = Callable[[int, int], bytes | None]


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor: its elements begin at `offset` of a file, or of `memory`; strides are in elements."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    memory: Any = None
    big_endian: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape) * ELEMENT_BYTES[self.dtype]

    @property
    def contiguous(self) -> bool:
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True

    def job(self) -> tuple[Any, int, int, int, tuple[int, ...], tuple[int, ...]]:
        """What `_core.tensor_digests` takes."""
        element = ELEMENT_BYTES[self.dtype]
        turned = element // 2 if self.dtype.startswith("complex") else element
        return self.memory, self.offset, element, turned if self.big_endian else 1, self.shape, self.stride


@dataclass(frozen=True, slots=True)
class FileBytes:
    """An open file whose bytes are read at offsets; its errors name the file."""

    fd: int
    size: int
    where: str

    def read(self, offset: int, n: int) -> bytes:
        if offset < 0 or n < 0 or offset > self.size - n:
            raise MalformedError(f"{n} bytes are said to be here, beyond the end", where=self.where, offset=offset)
        data = bytearray()
        while len(data) < n:
            piece = os.pread(self.fd, n - len(data), offset + len(data))
            if not piece:
                raise FileChanged("became shorter while it was read", where=self.where)
            data += piece
        return bytes(data)


def span_of(shape: Sequence[int], stride: Sequence[int]) -> int:
    """Elements from the first to the last one of a view, both included; 0 for a view without elements."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def check_shape(shape: Any, where: str, name: str) -> tuple[int, ...]:
    if (
        not isinstance(shape, tuple | list)
        or len(shape) > MAX_DIMS
        or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape)
        or math.prod(shape) >= MAX_ELEMENTS
    ):
        raise MalformedError(f"{name}: a shape that no tensor has", where=where)
    return tuple(shape)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def digest(places: Iterable[Place], file: FileBytes | None = None, known: Known | None = None) -> Table:
    """Hash every tensor, on all cores. `known(offset, size)` may have the digest of a range of the file already."""
    where = file.where if file is not None else ""
    todo = sorted(places, key=lambda place: -place.size)
    _check_amount(todo, file, where)
    found: dict[int, bytes] = {}
    for number, place in enumerate(todo):
        if known is not None and place.contiguous and not place.big_endian and place.memory is None:
            value = known(place.offset, place.size)
            if value is not None:
                found[number] = value
    for batch in _batches([n for n in range(len(todo)) if n not in found], todo):
        values = _core.tensor_digests(
            [todo[n].job() for n in batch],
            fd=file.fd if file is not None else -1,
            size=file.size if file is not None else 0,
            where=where.encode("utf-8", "backslashreplace").decode()[:70],
            threads=0 if todo[batch[0]].contiguous else 1,  # a strided one is held in memory: one at a time
        )
        found |= {n: values[32 * i : 32 * i + 32] for i, n in enumerate(batch)}
    return Table.of([Entry(p.name, p.dtype, p.shape, found[n]) for n, p in enumerate(todo)], where)


def _check_amount(places: list[Place], file: FileBytes | None, where: str) -> None:
    if len(places) > MAX_TENSORS:
        raise LimitError(f"more than {MAX_TENSORS} tensors", where=where)
    if file is not None and sum(place.size for place in places) > _MAX_TIMES * file.size + _FREE_BYTES:
        raise LimitError("its tensors claim far more elements than the file holds", where=where)


def _batches(numbers: list[int], places: list[Place]) -> Iterable[list[int]]:
    for contiguous in (True, False):
        batch: list[int] = []
        size = 0
        for number in numbers:
            if places[number].contiguous is not contiguous:
                continue
            if batch and (len(batch) >= _BATCH_TENSORS or size + places[number].size > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(number)
            size += places[number].size
        if batch:
            yield batch


BIG_ENDIAN_HOST = sys.byteorder == "big"
