"""Hook points of safetensors: written files are measured when they are complete, read ones through one descriptor.

The library is native code that opens files by path. So it is given the path of a descriptor of ours, which is hashed:
header and tensors come from the same file, whatever happens to the name meanwhile. In enforce the descriptor is that of
a sealed copy.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.errors import AtlasError, VerificationError
from atlas.hooks.engine import HookPoint, like
from atlas.hooks.loading import READING, Again, fail_closed, hand_over, verified_copy
from atlas.hooks.saving import ASIDE
from atlas.measure import from_core
from atlas.model import Measurement
from atlas.record.follow import concerns, keep_and_set_aside
from atlas.record.guard import shown
from atlas.record.outputs import SIGNING, Output
from atlas.record.reads import SMALL, Reading
from atlas.tensors.attach import measure_model

if TYPE_CHECKING:
    from atlas.hooks.torch import TorchHooks
    from atlas.record.recorder import Recorder


class SafetensorsHooks:
    def __init__(self, recorder: Recorder, torch: TorchHooks) -> None:
        self._recorder = recorder
        self._torch = torch

    def points(self) -> list[HookPoint]:
        """The names that the libraries' own functions look up, so that early imports of those are covered."""
        return [
            HookPoint("safetensors.torch save", "safetensors.torch", "serialize_file", self._serialize_file),
            HookPoint(
                "safetensors.numpy save", "safetensors.numpy", "serialize_file", self._serialize_file, optional=True
            ),
            HookPoint("safetensors.torch load", "safetensors.torch", "safe_open", self._safe_open),
            HookPoint("safetensors.numpy load", "safetensors.numpy", "safe_open", self._safe_open, optional=True),
            HookPoint("safetensors.safe_open", "safetensors", "safe_open", self._safe_open),
        ]

    def _away(self) -> bool:
        return not self._recorder.live or self._recorder.in_own

    # ---------------------------------------------------------------------------------------------- saving

    def _serialize_file(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def serialize_file(tensor_dict: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
            place = ""
            if not self._away():
                with self._recorder.entry(ASIDE, shown(filename)):
                    place = self._wanted(filename)
                    if place and concerns(place):
                        keep_and_set_aside(self._recorder, place)
            result = original(tensor_dict, filename, *args, **kwargs)
            if place:
                with self._recorder.entry(SIGNING, place):
                    self._written(place)
            return result

        return like(original, serialize_file)

    def _wanted(self, filename: Any) -> str:
        recorder = self._recorder
        if not isinstance(filename, str | os.PathLike):
            return ""
        place = recorder.names.absolute(os.fsdecode(filename))
        wanted = recorder.settings.wants(recorder.names.logical(place))
        return place if wanted and not recorder.outputs.in_declared_directory(place) else ""

    def _written(self, place: str) -> None:
        recorder = self._recorder
        measurement, _why = measure_model(place)
        recorder.outputs.saved(
            Output(
                name=recorder.names.logical(place),
                path=place,
                measurement=measurement,
                via="safetensors.save_file",
                source="recorded",
                asset_type="model",
                step=recorder.steps.current(),
            )
        )

    # --------------------------------------------------------------------------------------------- loading

    def _safe_open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def safe_open(filename: Any, *args: Any, **kwargs: Any) -> Any:
            if self._away() or not isinstance(filename, str | os.PathLike) or not os.path.exists(filename):  # noqa: PTH110
                return original(filename, *args, **kwargs)
            opener = self._enforced if self._recorder.inputs.enforce else self._observed
            return opener(original, os.fsdecode(filename), args, kwargs)

        return like(original, safe_open)

    def _enforced(self, original: Callable[..., Any], filename: str, args: Any, kwargs: Any) -> Any:
        try:
            with verified_copy(self._recorder, filename, "safetensors") as place, self._torch.passing_through():
                return original(place, *args, **kwargs)
        except VerificationError:
            raise
        except AtlasError as error:
            raise fail_closed(shown(filename), error) from error

    def _observed(self, original: Callable[..., Any], filename: str, args: Any, kwargs: Any) -> Any:
        recorder = self._recorder
        fd = -1
        with recorder.entry(READING, shown(filename), input=True):
            if recorder.settings.wants(recorder.names.logical(filename)):
                fd = _open_regular(filename)
        if fd < 0:
            return original(filename, *args, **kwargs)
        try:
            with self._torch.passing_through():
                opened = original(f"/proc/self/fd/{fd}", *args, **kwargs)
            with recorder.entry(READING, shown(filename), input=True):
                self._read(fd, recorder.names.absolute(filename))
            return opened
        finally:
            os.close(fd)

    def _read(self, fd: int, place: str) -> None:
        """Mapped from this very file, which is hashed here; a change in place while it is in use would be noticed."""
        before = _times(fd)
        whole = os.fstat(fd).st_size <= SMALL
        measurement: Measurement = from_core(_core.measure_fd(fd, flat=whole))
        full = None if whole else Again(fd)
        changed = _times(fd) != before
        name = self._recorder.names.logical(place)
        reading = Reading(place, name, measurement, "safetensors", role="base model", full=full, changed=changed)
        hand_over(self._recorder, reading)


def _open_regular(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a regular file")
    return fd


def _times(fd: int) -> tuple[int, int, int]:
    s = os.fstat(fd)
    return s.st_size, s.st_mtime_ns, s.st_ctime_ns
