"""Hooks: how Atlas sees what a program reads and writes. The only place that knows torch and safetensors inside.

`install` puts every hook point in for one recorder, `Hooks.uninstall` takes them out again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING

from atlas.hooks import torch as torch_hooks
from atlas.hooks.data import LoaderHooks
from atlas.hooks.engine import Engine, HookStatus
from atlas.hooks.files import FileHooks
from atlas.hooks.processes import ProcessHooks
from atlas.hooks.safetensors import SafetensorsHooks
from atlas.hooks.torch import TorchHooks
from atlas.record import net

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder


class Hooks:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._torch = TorchHooks(recorder)
        self._files = FileHooks(recorder)
        self._loaders = LoaderHooks(recorder)
        processes = ProcessHooks(recorder)
        safetensors = SafetensorsHooks(recorder, self._torch)
        points = [
            p for part in (self._torch, self._files, self._loaders, safetensors, processes) for p in part.points()
        ]
        self._engine = Engine(points, self._failed)
        self._undo: list[Callable[[], None]] = []

    def _failed(self, what: str, error: BaseException) -> None:
        self._recorder.guard.failed("installing a hook", error, what)

    def install(self) -> None:
        recorder = self._recorder
        recorder.distributed = torch_hooks.distributed
        recorder.current_loader = self._loaders.current
        recorder.bind_dataset = self._loaders.identifier.declare
        recorder.settle_files = self._files.settle
        recorder.hooks = lambda: [{k: str(v) for k, v in asdict(status).items()} for status in self.status()]
        recorder.context.providers |= {"torch": torch_hooks.facts, "random": torch_hooks.random_state}
        self._engine.after_import("torch.optim.optimizer", self._optimizers)
        self._engine.install()
        net.listen(self._files.event)

    def _optimizers(self, module: ModuleType) -> None:
        undo = self._torch.count_steps(module)
        if undo is not None:
            self._undo.append(undo)

    def uninstall(self) -> None:
        net.listen(None)
        self._engine.uninstall()
        for undo in self._undo:
            undo()
        self._undo.clear()

    def status(self) -> list[HookStatus]:
        return self._engine.status()


def install(recorder: Recorder) -> Hooks:
    if not sys.platform.startswith("linux"):  # /proc/self/fd, memfd: see docs
        recorder.guard.warn("platform", "hooks are made for Linux")
    hooks = Hooks(recorder)
    hooks.install()
    return hooks


__all__ = ["HookStatus", "Hooks", "install"]
