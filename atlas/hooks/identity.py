"""What is this data set? Looked at once, when a loader first goes through it. Duck typing only: nothing is imported.

Whatever cannot be told by its bytes is opaque: a class name, a length or a repr identify nothing.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.hooks.kinds import is_tensor
from atlas.record.datasets import Identity
from atlas.record.inputs import signature
from atlas.record.ledger import Load
from atlas.record.rollup import Member, common_directory

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

MAX_ITEMS = 2_000_000  # of a state that is digested item by item
MAX_DEPTH = 8
_LISTS = ("samples", "imgs", "files", "paths", "file_paths", "image_paths", "filenames", "file_list", "names")
_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type)


class _OpaqueError(Exception):
    """Something in a data set's state has no bytes that could be digested."""


class Identifier:
    """Knows the data sets that were declared, and those it has looked at."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._declared: dict[int, tuple[object, Load]] = {}

    def declare(self, dataset: object, load: Load) -> None:
        """`run.input(path, dataset=ds)`. The object is kept: another one must not take over its id."""
        self._declared[id(dataset)] = (dataset, load)

    def identify(self, dataset: Any, depth: int = 0) -> Identity:
        name = type(dataset).__name__
        known = self._declared.get(id(dataset))
        if known is not None:
            return _declared(name, known[1])
        try:
            return self._identify(dataset, name, depth)
        except _OpaqueError:
            return Identity(name, "opaque")

    def _identify(self, dataset: Any, name: str, depth: int) -> Identity:
        if depth < MAX_DEPTH and hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
            part = self.identify(dataset.dataset, depth + 1)
            return Identity(name, "subset", {"indices": _digest(dataset.indices), "alg": "sha256"}, [part])
        parts = getattr(dataset, "datasets", None)
        if depth < MAX_DEPTH and isinstance(parts, list | tuple) and parts:
            return Identity(name, "concatenation", parts=[self.identify(part, depth + 1) for part in parts])
        tensors = getattr(dataset, "tensors", None)
        if isinstance(tensors, list | tuple) and tensors and all(is_tensor(t) for t in tensors):
            return Identity(name, "tensors", {"alg": "sha256", "digest": _digest(list(tensors))})
        found = _listed_files(dataset)
        if found:
            return self._files(name, found)
        state = dataset if isinstance(dataset, list | tuple | range | dict) else vars(dataset) or None
        if state is None or _reads_elsewhere(state):
            return Identity(name, "opaque")
        return Identity(name, "state", {"alg": "sha256", "digest": _digest(state)})

    def _files(self, name: str, paths: list[str]) -> Identity:
        identity = Identity(name, "files")
        recorder = self._recorder
        for path in paths:
            recorder.inputs.measured.setdefault(path, ())

        def measure() -> None:
            with recorder.own():
                identity.members = _measure_all(recorder, paths)

        identity.job = recorder.background.submit(measure)
        return identity


def _declared(name: str, load: Load) -> Identity:
    digest = load.measurement.flat or load.measurement.tree
    facts: dict[str, Any] = {"input": load.name}
    if digest is not None:
        facts |= {"alg": digest.alg, "digest": digest.value}
    return Identity(name, "input", facts)


def _measure_all(recorder: Recorder, paths: list[str]) -> dict[str, Member]:
    """From the index of the signed directory they lie in, else one by one."""
    directory = recorder.inputs.directory_at(common_directory(paths))
    found: dict[str, Member] = {}
    for path in paths:
        member = directory.members.get(path) if directory is not None else None
        if member is None:
            before = signature(path)
            _kind, flat, tree, size, _files, _oms = _core.measure_file(path, threads=1)
            assert flat is not None and tree is not None
            member = Member(flat[1], tree[1], size)
            recorder.inputs.measured[path] = before
        found[path] = member
    return found


# ----------------------------------------------------------------------------------------------------- files


def _listed_files(dataset: Any) -> list[str]:
    """Absolute paths of the files that a data set lists: `samples`, `imgs`, any list of paths, a memory map."""
    cache = getattr(dataset, "cache_files", None)  # of the datasets library
    if isinstance(cache, list) and cache and all(isinstance(c, dict) and "filename" in c for c in cache):
        return [os.path.abspath(c["filename"]) for c in cache]  # noqa: PTH100
    attributes = _attributes(dataset)
    bases = ["", *(v for v in attributes.values() if isinstance(v, str) and _is_directory(v))]
    bases += [os.fspath(v) for v in attributes.values() if isinstance(v, os.PathLike) and _is_directory(os.fspath(v))]
    names = [n for n in _LISTS if n in attributes] + [n for n in attributes if n not in _LISTS]
    for name in names:
        paths = _as_paths(attributes[name], bases)
        if paths:
            return paths
    single = [_as_file(v) for v in [dataset, *attributes.values()]]
    return sorted({path for path in single if path})


def _attributes(dataset: Any) -> dict[str, Any]:
    try:
        return dict(vars(dataset))
    except TypeError:
        return {}


def _as_paths(value: Any, bases: list[str]) -> list[str]:
    """A list of paths, or of tuples that begin with one. The first, middle and last must be there."""
    if not isinstance(value, list | tuple) or not value:
        return []
    probes = [_first_path(value[i]) for i in {0, len(value) // 2, len(value) - 1}]
    if any(probe is None for probe in probes):
        return []
    for base in bases:
        if all(os.path.isfile(os.path.join(base, probe)) for probe in probes if probe is not None):  # noqa: PTH113, PTH118
            texts = [_first_path(item) for item in value]
            return [os.path.abspath(os.path.join(base, t)) for t in texts if t is not None]  # noqa: PTH100, PTH118
    return []


def _first_path(item: Any) -> str | None:
    if isinstance(item, list | tuple) and item:
        item = item[0]
    if isinstance(item, os.PathLike):
        item = os.fspath(item)
    return item if isinstance(item, str) and 0 < len(item) < 4096 and "\0" not in item and "\n" not in item else None


def _as_file(value: Any) -> str:
    """The file behind a memory map, or a path that is kept as it is."""
    name = getattr(value, "filename", None) if hasattr(value, "__array_interface__") else value
    text = _first_path(name) if isinstance(name, str | os.PathLike) else None
    return os.path.abspath(text) if text is not None and os.path.isfile(text) else ""  # noqa: PTH100, PTH113


def _is_directory(text: str) -> bool:
    return 0 < len(text) < 4096 and "\0" not in text and os.path.isdir(text)  # noqa: PTH112


def _reads_elsewhere(state: Any) -> bool:
    """A directory among the attributes: the samples are probably read from there, and the state does not hold them."""
    values: Iterable[Any] = state.values() if isinstance(state, dict) else ()
    texts = [os.fspath(v) if isinstance(v, os.PathLike) else v for v in values]
    return any(isinstance(text, str) and _is_directory(text) for text in texts)


# ----------------------------------------------------------------------------------------------------- state


def _digest(value: Any) -> bytes:
    """SHA-256 of the canonical CBOR of a state in which tensors and arrays stand as their digests."""
    return hashlib.sha256(_core.cbor_encode(_Canonical().plain(value, 0))).digest()


class _Canonical:
    def __init__(self) -> None:
        self._items = 0
        self._open: set[int] = set()

    def plain(self, value: Any, depth: int) -> Any:
        self._items += 1
        if self._items > MAX_ITEMS or depth > MAX_DEPTH:
            raise _OpaqueError
        if value is None or isinstance(value, bool | str | bytes):
            return value
        if isinstance(value, int):
            return value if -(1 << 63) <= value < 1 << 64 else ["integer", str(value)]
        if isinstance(value, float):
            return ["float", value.hex()]
        if is_tensor(value):
            return ["tensor", str(value.dtype), list(value.shape), _tensor_root(value)]
        if hasattr(value, "__array_interface__"):
            return ["array", value.dtype.str, list(value.shape), _array_root(value)]
        if isinstance(value, range):
            return ["range", value.start, value.stop, value.step]
        return self._compound(value, depth + 1)

    def _compound(self, value: Any, depth: int) -> Any:
        if id(value) in self._open:
            raise _OpaqueError  # refers to itself
        self._open.add(id(value))
        try:
            if isinstance(value, list | tuple):
                return ["list", [self.plain(item, depth) for item in value]]
            if isinstance(value, dict):
                pairs = [[self.plain(k, depth), self.plain(v, depth)] for k, v in value.items()]
                return ["map", sorted(pairs, key=_core.cbor_encode)]
            if isinstance(value, set | frozenset):
                return ["set", sorted((self.plain(item, depth) for item in value), key=_core.cbor_encode)]
            return self._object(value, depth)
        finally:
            self._open.discard(id(value))

    def _object(self, value: Any, depth: int) -> Any:
        """Code by its name (the run's record has its digest), a path as text, an object by its attributes."""
        if isinstance(value, os.PathLike):
            return ["path", os.fspath(value)]
        if isinstance(value, functools.partial):
            return ["partial", self.plain([value.func, value.args, value.keywords], depth)]
        if isinstance(value, _CODE):
            return ["code", getattr(value, "__module__", "") or "", getattr(value, "__qualname__", value.__name__)]
        try:
            state = vars(value)
        except TypeError:
            raise _OpaqueError from None
        if type(value).__reduce_ex__ is not object.__reduce_ex__ or hasattr(type(value), "__slots__"):
            raise _OpaqueError  # keeps something where we cannot see it
        kind = type(value)
        return ["object", kind.__module__, kind.__qualname__, self.plain(state, depth)]


def _tensor_root(tensor: Any) -> bytes:
    try:
        flat = tensor.detach().cpu().contiguous()
        size = flat.numel() * flat.element_size()
        return _root(_view(flat.data_ptr(), size)) if size else _root(memoryview(b""))
    except (RuntimeError, NotImplementedError, TypeError):  # sparse, quantised, meta
        raise _OpaqueError from None


def _view(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def _array_root(array: Any) -> bytes:
    if array.dtype.hasobject:
        raise _OpaqueError
    return _root(memoryview(array.tobytes()))


def _root(data: memoryview) -> bytes:
    return _core.tree_root("sha256", _core.chunk_digests(data))


Declare = Callable[[object, Load], None]
