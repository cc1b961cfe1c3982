"""Hook points of os and shutil, so that manifests go where their artifacts go, and the net of the audit hook."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from atlas.hooks.engine import HookPoint, like
from atlas.record.follow import KIND, Move, concerns, copied, discard_aside, is_own, keep_and_set_aside
from atlas.record.guard import shown
from atlas.record.inputs import signature
from atlas.store import put_back

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

_WRITES = frozenset("wax+")


class FileHooks:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._local = threading.local()
        self._asides: dict[str, tuple[int, ...]] = {}  # files that were opened for writing, as they were before
        self._unseen: list[Move] = []  # renames through names that were bound before the run began
        self._gone: list[str] = []

    def points(self) -> list[HookPoint]:
        return [
            HookPoint("os.replace", "os", "replace", self._rename),
            HookPoint("os.rename", "os", "rename", self._rename),
            HookPoint("os.remove", "os", "remove", self._remove),
            HookPoint("os.unlink", "os", "unlink", self._remove),
            HookPoint("shutil.copyfile", "shutil", "copyfile", self._copyfile),
        ]

    def _away(self) -> bool:
        recorder = self._recorder
        return not recorder.live or recorder.in_own

    # --------------------------------------------------------------------------------------------- renames

    def _rename(self, original: Callable[..., None]) -> Callable[..., None]:
        def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
            move = None
            if not self._away() and src_dir_fd is None and dst_dir_fd is None:
                move = self._begin_move(src, dst)
            self._local.seen = True
            try:
                original(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            except BaseException:
                if move is not None:
                    with self._recorder.entry(KIND, move.target):
                        move.undo()
                raise
            finally:
                self._local.seen = False
            if move is not None:
                with self._recorder.entry(KIND, move.target):
                    move.done()

        return like(original, rename)

    def _begin_move(self, src: Any, dst: Any) -> Move | None:
        """None where nothing has to follow."""
        recorder = self._recorder
        move = None
        with recorder.entry(KIND, shown(dst)):
            source, target = _path(src), _path(dst)
            if source and target and not is_own(source) and not is_own(target) and self._concerned(source, target):
                move = Move(recorder, source, target)
                move.begin()
        return move

    def _concerned(self, source: str, target: str) -> bool:
        outputs = self._recorder.outputs
        return concerns(source) or concerns(target) or outputs.at(source) is not None or bool(outputs.under(source))

    # -------------------------------------------------------------------------------------- copies, removals

    def _copyfile(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def copyfile(src: Any, dst: Any, *, follow_symlinks: bool = True) -> Any:
            source, target = ("", "") if self._away() else (_path(src), _path(dst))
            follow = bool(source and target) and source != target and (concerns(source) or concerns(target))
            aside = False
            if follow and concerns(target):
                with self._recorder.entry(KIND, target):
                    aside = keep_and_set_aside(self._recorder, target)
            result = original(src, dst, follow_symlinks=follow_symlinks)
            if follow:
                with self._recorder.entry(KIND, target):
                    copied(self._recorder, source, target, aside=aside)
            return result

        return like(original, copyfile)

    def _remove(self, original: Callable[..., None]) -> Callable[..., None]:
        def remove(path: Any, *, dir_fd: int | None = None) -> None:
            self._local.seen = True
            try:
                original(path, dir_fd=dir_fd)
            finally:
                self._local.seen = False
            if not self._away() and dir_fd is None:
                self._removed(_path(path))

        return like(original, remove)

    def _removed(self, path: str) -> None:
        with self._recorder.entry(KIND, path):
            if path and self._recorder.outputs.at(path) is not None:
                self._recorder.outputs.removed(path)

    # --------------------------------------------------------------------------------------------- the net

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """From the audit hook, before the operation itself. Must never raise: that would abort the operation."""
        if self._away() or getattr(self._local, "busy", False):
            return
        self._local.busy = True
        try:
            with self._recorder.entry("watching files"):
                self._event(name, arguments)
        finally:
            self._local.busy = False

    def _event(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            self._opened(*arguments)
        elif getattr(self._local, "seen", False):
            return  # one of our own hooks does what there is to do
        elif name == "os.rename":
            move = self._begin_move(arguments[0], arguments[1])
            if move is not None:
                self._unseen.append(move)
        elif name == "os.remove":
            path = _path(arguments[0])
            if path and self._recorder.outputs.at(path) is not None:
                self._gone.append(path)

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        recorder = self._recorder
        if isinstance(path, int) or path is None:
            return
        if isinstance(mode, str):
            writes = not _WRITES.isdisjoint(mode)
        else:
            writes = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        if writes:
            self._overwriting(_path(path))
        place = recorder.net.opened(path, mode, flags, recorder.steps.current())
        if not place or recorder.inputs.knows(place):
            return
        use, loader = recorder.current_loader()
        if use is not None:
            use.strays.add(place)
        if not recorder.owner:
            recorder.diary.write("open", {"path": place, "loader": loader, "step": recorder.steps.current().id})

    def _overwriting(self, path: str) -> None:
        """Somebody opens an artifact to write to it: its manifest steps aside before the first byte changes."""
        if path and not is_own(path) and path not in self._asides and concerns(path):
            self._asides[path] = signature(path)
            keep_and_set_aside(self._recorder, path)

    def settle(self) -> None:
        """What the net saw beginning has ended by now: bring manifests to where their artifacts are."""
        unseen, self._unseen = self._unseen, []
        for move in unseen:
            with self._recorder.entry(KIND, move.target):
                if os.path.lexists(move.source) or not os.path.lexists(move.target):
                    move.undo()
                else:
                    move.done()
        gone, self._gone = self._gone, []
        for path in gone:
            if not os.path.lexists(path):
                self._removed(path)
        asides, self._asides = self._asides, {}
        for path, before in asides.items():
            with self._recorder.entry(KIND, path):
                if signature(path) == before:
                    put_back(path)
                elif not concerns(path):
                    discard_aside(path)


def _path(value: Any) -> str:
    """Absolute; "" for what is no path of a file with a name."""
    try:
        path = os.fspath(value)
    except TypeError:
        return ""
    text = os.fsdecode(path)
    return os.path.abspath(text).rstrip("/") if text else ""  # noqa: PTH100
