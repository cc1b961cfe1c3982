"""Checkpoints of safetensors: a length, a JSON header, and the bytes of all tensors, without holes.

The rules are those of the format's own reader: whatever that refuses is refused, so that no two readers differ.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from typing import Any

from atlas.errors import LimitError, MalformedError
from atlas.tensors.place import FileBytes, Place, check_shape, row_major
from atlas.tensors.table import ELEMENT_BYTES, MAX_TENSORS, encode_name

MAX_HEADER_BYTES = 64 << 20  # the format allows 100 MB
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def looks_like_it(file: FileBytes) -> bool:
    if file.size < 10:
        return False
    head = file.read(0, 9)
    length: int = struct.unpack("<Q", head[:8])[0]
    return head[8:] == b"{" and length <= file.size - 8


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _header(file: FileBytes) -> tuple[dict[str, Any], int]:
    length: int = struct.unpack("<Q", file.read(0, 8))[0]
    if length > MAX_HEADER_BYTES:
        raise LimitError(f"a header of {length} bytes", where=file.where, offset=0)
    data = file.read(8, length)
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"its header cannot be read: {error}", where=file.where, offset=8) from None
    if not data.startswith(b"{") or not isinstance(header, dict):
        raise MalformedError("its header is not a JSON object", where=file.where, offset=8)
    return header, 8 + length


def places(file: FileBytes) -> Iterator[Place]:
    header, start = _header(file)
    _check_metadata(header.pop("__metadata__", None), file)
    if len(header) > MAX_TENSORS:
        raise LimitError(f"more than {MAX_TENSORS} tensors", where=file.where)
    found = sorted((_place(file, name, fields) for name, fields in header.items()), key=lambda item: item[1])
    at = 0
    for place, (begin, end) in found:
        if begin != at:
            raise MalformedError(f"{place.name}: a hole or an overlap before it", where=file.where, offset=start + at)
        at = end
        yield Place(place.name, place.dtype, place.shape, place.stride, start + begin)
    if start + at != file.size:
        raise MalformedError("bytes after the last tensor, or too few of them", where=file.where, offset=start + at)


def _check_metadata(value: Any, file: FileBytes) -> None:
    if value is not None and not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
        raise MalformedError("__metadata__ is not a map from text to text", where=file.where, offset=8)


def _place(file: FileBytes, name: str, fields: Any) -> tuple[Place, tuple[int, int]]:
    shown = encode_name((name,))
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise MalformedError(f"{shown}: needs dtype, shape and data_offsets", where=file.where, offset=8)
    dtype = _DTYPES.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
    if dtype is None:
        raise MalformedError(f"{shown}: a dtype that no table describes", where=file.where, offset=8)
    if not isinstance(fields["shape"], list):
        raise MalformedError(f"{shown}: a shape that no tensor has", where=file.where, offset=8)
    shape = check_shape(fields["shape"], file.where, shown)
    offsets = fields["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int for n in offsets):
        raise MalformedError(f"{shown}: data_offsets are not two numbers", where=file.where, offset=8)
    begin, end = offsets
    if not 0 <= begin <= end <= file.size or end - begin != math.prod(shape) * ELEMENT_BYTES[dtype]:
        raise MalformedError(f"{shown}: its offsets do not fit its shape", where=file.where, offset=8)
    return Place(shown, dtype, shape, row_major(shape), begin), (begin, end)
