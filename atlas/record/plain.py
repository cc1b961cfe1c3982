"""Values of a user's program as plain data: what CBOR can hold, bounded, without importing anybody's types."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Set
from types import SimpleNamespace
from typing import Any

MAX_TEXT = 2048
MAX_ITEMS = 1000
MAX_DEPTH = 12
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1


def plain(value: Any, name_of: Callable[[str], str], depth: int = 0) -> Any:
    """`name_of` turns a path into its logical name. For a strange object the name of its type stands."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if _INT_MIN <= value <= _INT_MAX else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, bytes | bytearray):
        return bytes(value[:MAX_TEXT])
    if isinstance(value, os.PathLike):
        return name_of(os.fsdecode(os.fspath(value)))
    if depth >= MAX_DEPTH:
        return "..."
    return _compound(value, name_of, depth + 1)


def _text(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + f"... ({len(text)} characters)"


def _compound(value: Any, name_of: Callable[[str], str], depth: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
    elif isinstance(value, SimpleNamespace) or type(value).__name__ == "Namespace":  # argparse's
        value = vars(value)
    if isinstance(value, Mapping):
        items = list(value.items())
        shown = {_text(str(k)): plain(v, name_of, depth) for k, v in items[:MAX_ITEMS]}
        return shown | {"...": len(items)} if len(items) > MAX_ITEMS else shown
    if isinstance(value, Set):
        value = sorted(value, key=repr)
    if isinstance(value, list | tuple):
        shown_list = [plain(v, name_of, depth) for v in value[:MAX_ITEMS]]
        return [*shown_list, f"... ({len(value)} items)"] if len(value) > MAX_ITEMS else shown_list
    return _scalar(value, name_of, depth)


def _scalar(value: Any, name_of: Callable[[str], str], depth: int) -> Any:
    """Tensors and arrays of one element have `item`; enumerations have `value`; the rest is named by its type."""
    if isinstance(value, type):
        return _text(value.__qualname__)
    item = getattr(value, "item", None)
    if callable(item):
        try:
            return plain(item(), name_of, depth)
        except Exception:  # more than one element, a meta tensor, somebody's own `item`
            return _type_name(value)
    inner = getattr(value, "value", None)
    if isinstance(inner, int | float | str | bool):
        return plain(inner, name_of, depth)
    if callable(value):
        return _text(getattr(value, "__qualname__", _type_name(value)))
    return _type_name(value)


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
