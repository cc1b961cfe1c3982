"""From the picture of a pickle to named tensors. A tensor that cannot be named, or whose elements are not simply those
of its storage, makes the whole table impossible: it is never left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from atlas.errors import LimitError, MalformedError
from atlas.tensors.pickled import Global, Object, Persistent
from atlas.tensors.place import check_shape
from atlas.tensors.table import ELEMENT_BYTES, MAX_DEPTH, MAX_TENSORS, encode_name

_VISITS_PER_BYTE = 4
_FREE_VISITS = 1024
_TYPED = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}  # fmt: skip
_VIEWS = {"_rebuild_tensor": 4, "_rebuild_tensor_v2": 6, "_rebuild_tensor_v3": 7}  # arguments before the metadata
_PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
# What comes out of these holds elements, even where its arguments do not show it.
_HOLDERS = ("torch._utils", "torch._tensor", "torch.storage", "torch.jit")
_MAPPINGS = (Global("collections", "OrderedDict"), Global("collections", "defaultdict"))

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Storage:
    key: str
    dtype: str
    numel: int
    untyped: bool


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as a checkpoint describes it; offset and strides are in elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Walk:
    def __init__(self, where: str, *, pickle_bytes: int) -> None:
        self._where = where
        # Lists that hold each other ten times, ten levels deep, take a few bytes and never end.
        self._visits = _VISITS_PER_BYTE * pickle_bytes + _FREE_VISITS
        self._clean: set[int] = set()  # ids of what was looked through and holds no tensor
        self._storages: dict[str, Storage] = {}

    def refuse(self, text: str) -> MalformedError:
        return MalformedError(text, where=self._where)

    def _visit(self) -> None:
        self._visits -= 1
        if self._visits < 0:
            raise LimitError("far more values than its pickle has bytes", where=self._where)

    # ------------------------------------------------------------------------------------------- containers

    def tensors(self, root: Any) -> Iterator[tuple[str, View]]:
        """(name, view) of every tensor that can be reached."""
        stack: list[tuple[Any, Path]] = [(root, ())]
        found = 0
        while stack:
            value, path = stack.pop()
            self._visit()
            view = self._tensor(value, path)
            if view is not None:
                found += 1
                if found > MAX_TENSORS:
                    raise LimitError(f"more than {MAX_TENSORS} tensors", where=self._where)
                yield encode_name(path), view
                continue
            inner = self._children(value, path)
            if inner and len(path) >= MAX_DEPTH:
                raise LimitError(f"nested deeper than {MAX_DEPTH}", where=self._where)
            stack += [(child, (*path, key)) for key, child in inner]

    def _children(self, value: Any, path: Path) -> list[tuple[str | int, Any]]:
        if type(value) in (list, tuple):
            return list(enumerate(value))
        if not isinstance(value, Object | Persistent):
            return []
        if isinstance(value, Object) and (value.call is None or value.call in _MAPPINGS):
            return self._mapping(value, path)
        self._holds_none(path, value)
        return []

    def _mapping(self, value: Object, path: Path) -> list[tuple[str | int, Any]]:
        self._holds_none(path, value.args, value.items, value.states)
        named: dict[str | int, Any] = {}
        for key, child in value.pairs:
            if type(key) is str or (type(key) is int and abs(key) < 1 << 32):
                named[key] = child
            else:  # an equal key of another type may stand for a named one
                self._holds_none(path, key, *(child for _, child in value.pairs))
                return []
        return list(named.items())

    def _holds_none(self, path: Path, *values: Any) -> None:
        """Whatever these are, there is no tensor in them that would need a name."""
        stack = [*values]
        while stack:
            item = stack.pop()
            if not isinstance(item, Object | Persistent | Global | list | tuple) or id(item) in self._clean:
                continue
            self._visit()
            if isinstance(item, Persistent) or (isinstance(item, Object) and _makes_elements(item.call)):
                raise self.refuse(f"{encode_name(path)}: holds a tensor or storage that no table describes")
            self._clean.add(id(item))  # the picture keeps every value alive, so no other one gets this id
            if isinstance(item, list | tuple):
                stack += item
            elif isinstance(item, Object):
                stack += [item.call, item.args, item.items, item.states]
                stack += [part for pair in item.pairs for part in pair]

    # --------------------------------------------------------------------------------------------- tensors

    def _tensor(self, value: Any, path: Path) -> View | None:
        if not isinstance(value, Object) or not isinstance(value.call, Global) or value.call.module != "torch._utils":
            return None
        shown = encode_name(path)
        if value.pairs or value.items or value.states or type(value.args) is not tuple:
            raise self.refuse(f"{shown}: a tensor with more to it than its elements")
        if value.call.name in _PARAMETERS:
            return self._parameter(value, path)
        if value.call.name in _VIEWS:
            return self._view(value.call.name, value.args, path)
        raise self.refuse(f"{shown}: {value.call} is a kind of tensor that no table describes")

    def _parameter(self, value: Object, path: Path) -> View:
        inner = value.args[0] if value.args else None
        view = None
        if isinstance(inner, Object) and inner.call != value.call:
            view = self._tensor(inner, path)
        if view is None:
            raise self.refuse(f"{encode_name(path)}: a parameter without a tensor")
        self._holds_none(path, *value.args[1:])
        return view

    def _view(self, name: str, args: tuple[Any, ...], path: Path) -> View:
        least, shown = _VIEWS[name], encode_name(path)
        if not least <= len(args) <= least + 1:
            raise self.refuse(f"{shown}: {name} with {len(args)} arguments")
        if len(args) > least and not (args[least] is None or _is_empty(args[least])):
            raise self.refuse(f"{shown}: a tensor whose elements are conjugated or negated when they are read")
        storage = self._storage(args[0], shown)
        shape = check_shape(args[2], self._where, shown)
        stride = check_shape(args[3], self._where, shown)
        if type(args[1]) is not int or not 0 <= args[1] < 1 << 62 or len(shape) != len(stride):
            raise self.refuse(f"{shown}: an offset or strides that no tensor has")
        self._holds_none(path, *args[4:])
        dtype = storage.dtype if name != "_rebuild_tensor_v3" else self._dtype(args[6], shown)
        if name == "_rebuild_tensor_v3" and not storage.untyped and dtype != storage.dtype:
            raise self.refuse(f"{shown}: a dtype that is not its storage's")
        return View(storage, dtype, args[1], shape, stride)

    def _dtype(self, value: Any, shown: str) -> str:
        if not isinstance(value, Global) or value.module != "torch" or value.name not in ELEMENT_BYTES:
            raise self.refuse(f"{shown}: a dtype that no table describes")
        return value.name

    def _storage(self, value: Any, shown: str) -> Storage:
        fields = value.id if isinstance(value, Persistent) else None
        if type(fields) is not tuple or len(fields) != 5 or fields[0] != "storage":
            raise self.refuse(f"{shown}: a tensor without a storage")
        _, kind, key, _location, numel = fields
        if type(key) is not str or type(numel) is not int or not 0 <= numel < 1 << 62 or not isinstance(kind, Global):
            raise self.refuse(f"{shown}: a storage without a name or a size")
        untyped = kind == Global("torch.storage", "UntypedStorage")
        dtype = "uint8" if untyped else _TYPED.get(kind.name, "") if kind.module == "torch" else ""
        if not dtype:
            raise self.refuse(f"{shown}: {kind} is a kind of storage that no table describes")
        storage = Storage(key, dtype, numel, untyped)
        if self._storages.setdefault(key, storage) != storage:
            raise self.refuse(f"{shown}: storage {key} is described in two ways")
        return storage


def _makes_elements(call: Any) -> bool:
    return isinstance(call, Global) and call.module.startswith(_HOLDERS)


def _is_empty(value: Any) -> bool:
    return isinstance(value, Object) and value.call is None and not value.pairs
