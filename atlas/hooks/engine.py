"""Hook points: which attribute of which module is replaced by what, when that module is there, and how it is undone.

Nothing is imported here. A module that is there already is patched at once; one that comes later is patched right after
its import, by a finder that watches for its name.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Literal

Make = Callable[[Any], Any]
State = Literal["live", "waiting", "missing", "broken"]
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class HookPoint:
    """`attribute` may be dotted (a class's method). `make` takes what stands there and gives what shall stand there.

    `optional` points do not exist in every version of the library.
    """

    id: str
    module: str
    attribute: str
    make: Make
    optional: bool = False


@dataclass(frozen=True, slots=True)
class HookStatus:
    """`waiting`: its module is not imported. `missing`: the module has no such attribute."""

    id: str
    module: str
    attribute: str
    state: State
    reason: str = ""


@dataclass(slots=True)
class _Patch:
    point: HookPoint
    holder: Any
    name: str
    original: Any  # as it stood in the holder's dictionary; _ABSENT: inherited
    ours: Any


def like(original: Any, replacement: Callable[..., Any]) -> Callable[..., Any]:
    """A replacement that looks like what it replaces: name, signature, documentation, pickling by name."""
    return functools.update_wrapper(replacement, original)


class Engine:
    """Installs hook points and takes them out again."""

    def __init__(self, points: Sequence[HookPoint], on_failure: Callable[[str, BaseException], None]) -> None:
        self._points = points
        self._failed = on_failure
        self._patches: dict[str, _Patch] = {}
        self._broken: dict[str, str] = {}
        self._lock = threading.RLock()
        self._finder = _Finder({point.module for point in points}, self._imported)
        self._after: dict[str, list[Callable[[ModuleType], None]]] = {}

    def after_import(self, module: str, call: Callable[[ModuleType], None]) -> None:
        """Call once the module is there, now or later."""
        self._after.setdefault(module, []).append(call)
        self._finder.wanted.add(module)

    def install(self) -> None:
        sys.meta_path.insert(0, self._finder)
        for name in {*(point.module for point in self._points), *self._after}:
            module = sys.modules.get(name)
            if module is not None and not _being_imported(module):
                self._imported(module)

    def uninstall(self) -> None:
        """Everything as it was; what somebody else replaced since stays, and ours under it passes through."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        with self._lock:
            for patch in reversed(list(self._patches.values())):
                if vars(patch.holder).get(patch.name) is not patch.ours:
                    continue
                if patch.original is _ABSENT:
                    delattr(patch.holder, patch.name)
                else:
                    setattr(patch.holder, patch.name, patch.original)
            self._patches.clear()

    def _imported(self, module: ModuleType) -> None:
        with self._lock:
            for point in self._points:
                if point.module == module.__name__ and point.id not in self._patches:
                    self._patch(point, module)
        for call in self._after.get(module.__name__, ()):
            try:
                call(module)
            except Exception as error:
                self._failed(module.__name__, error)

    def _patch(self, point: HookPoint, module: ModuleType) -> None:
        *parents, name = point.attribute.split(".")
        try:
            holder: Any = functools.reduce(getattr, parents, module)
            current = getattr(holder, name)
            original = vars(holder).get(name, _ABSENT)
            ours = point.make(current)
            if isinstance(holder, type) and isinstance(_raw(holder, name), staticmethod):
                ours = staticmethod(ours)
            setattr(holder, name, ours)
            self._patches[point.id] = _Patch(point, holder, name, original, vars(holder)[name])
        except AttributeError as error:
            if not point.optional:
                self._broken[point.id] = str(error)
                self._failed(point.id, error)
        except Exception as error:
            self._broken[point.id] = str(error)
            self._failed(point.id, error)

    def status(self) -> list[HookStatus]:
        found = []
        for point in self._points:
            state: State = "waiting"
            reason = ""
            patch = self._patches.get(point.id)
            if patch is not None:
                state = "live" if vars(patch.holder).get(patch.name) is patch.ours else "broken"
                reason = "" if state == "live" else "replaced by somebody else"
            elif point.id in self._broken:
                state, reason = "broken", self._broken[point.id]
            elif point.module in sys.modules:
                state, reason = "missing", "this version has no such attribute"
            found.append(HookStatus(point.id, point.module, point.attribute, state, reason))
        return found


def _raw(holder: type, name: str) -> Any:
    """As it stands in the dictionary of the class that defines it."""
    return next((vars(base)[name] for base in holder.__mro__ if name in vars(base)), None)


def _being_imported(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


class _Finder(MetaPathFinder):
    """First in the list: sees every import, answers only for the names it waits for, and lets the others find them."""

    def __init__(self, wanted: set[str], imported: Callable[[ModuleType], None]) -> None:
        self.wanted = wanted
        self._imported = imported
        self._asking = threading.local()

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in self.wanted or getattr(self._asking, "name", None) == fullname:
            return None
        self._asking.name = fullname
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking.name = None
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        spec.loader = _Loader(spec.loader, self._imported)
        return spec


class _Loader(Loader):
    """Stands in for the real loader until the module is executed; then the module gets its own loader back."""

    def __init__(self, loader: Loader, imported: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._imported = imported

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._imported(module)
