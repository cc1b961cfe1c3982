"""Hook points of torch: save, load, mapping, optimizers, and what of torch is seen but not measured.

torch is never imported here: hooks are installed when the program imports it. The inner functions that torch.save and
torch.load look up when they are called are replaced, so `from torch import save` before `atlas.init` is covered too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.errors import AtlasError, VerificationError
from atlas.hooks.engine import HookPoint, like
from atlas.hooks.loading import READING, Loading, Mapping, fail_closed, verified_copy
from atlas.hooks.saving import HASHING, Saving
from atlas.record.guard import shown as _shown
from atlas.record.outputs import SIGNING

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

_JIT = "TorchScript is not measured; declare it with run.input() or run.output()"
_EXPORT = "torch.export is not measured; declare it with run.input() or run.output()"
_SCRIPT = "torch.jit._script"
_DCP_FILES = "torch.distributed.checkpoint.filesystem"
_DCP = "a distributed checkpoint is not measured; declare its directory with run.input() or run.output()"


class TorchHooks:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._local = threading.local()

    def points(self) -> list[HookPoint]:
        s = "torch.serialization"
        return [
            HookPoint("torch.save", s, "_open_zipfile_writer", self._zip_writer),
            HookPoint("torch.load", s, "_open_file_like", self._file_like),
            HookPoint("torch.save kind", s, "_save", self._save, optional=True),
            HookPoint("torch.save kind (legacy)", s, "_legacy_save", self._save, optional=True),
            HookPoint("torch.load kind", s, "_load", self._load, optional=True),
            HookPoint("torch.load kind (legacy)", s, "_legacy_load", self._load, optional=True),
            HookPoint("torch mmap", "torch.storage", "UntypedStorage.from_file", self._from_file, optional=True),
            HookPoint("torch.jit.load", "torch.jit", "load", self._unmeasured(_JIT, 0, reads=True), optional=True),
            HookPoint(
                "ScriptModule.save", _SCRIPT, "RecursiveScriptModule.save", self._unmeasured(_JIT, 1), optional=True
            ),
            HookPoint(
                "torch.export.load", "torch.export", "load", self._unmeasured(_EXPORT, 0, reads=True), optional=True
            ),
            HookPoint("torch.export.save", "torch.export", "save", self._unmeasured(_EXPORT, 1), optional=True),
            HookPoint(
                "distributed checkpoint", _DCP_FILES, "FileSystem.create_stream", self._create_stream, optional=True
            ),
        ]

    # ----------------------------------------------------------------------------------- what is going on

    @property
    def _saves(self) -> list[Saving]:
        return self._stack("saves")

    @property
    def _loads(self) -> list[Loading]:
        return self._stack("loads")

    def _stack(self, name: str) -> list[Any]:
        """Of this thread: a save within a save, a load within a load."""
        if not hasattr(self._local, name):
            setattr(self._local, name, [])
        stack: list[Any] = getattr(self._local, name)
        return stack

    @contextlib.contextmanager
    def passing_through(self) -> Iterator[None]:
        """Somebody else accounts for the file that torch.save and torch.load work on here."""
        before = getattr(self._local, "through", False)
        self._local.through = True
        try:
            yield
        finally:
            self._local.through = before

    @property
    def _away(self) -> bool:
        recorder = self._recorder
        return not recorder.live or recorder.in_own or getattr(self._local, "through", False)

    # ---------------------------------------------------------------------------------------------- saving

    def _zip_writer(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def _open_zipfile_writer(name_or_buffer: Any) -> Any:
            return self._begin_save(name_or_buffer, "torch.save", original) or original(name_or_buffer)

        return like(original, _open_zipfile_writer)

    def _begin_save(self, target: Any, via: str, original: Callable[[Any], Any] | None) -> Saving | None:
        """None: torch does it alone."""
        try:
            saving = self._saving(target, via, original)
            if saving is not None:
                self._saves.append(saving)
            return saving
        except OSError as error:
            if isinstance(error, AtlasError):
                self._recorder.guard.failed(HASHING, error, _shown(target))
            return None  # torch will say itself that it cannot open the file
        except Exception as error:
            self._recorder.guard.failed(HASHING, error, _shown(target))
            return None

    def _saving(self, target: Any, via: str, original: Callable[[Any], Any] | None) -> Saving | None:
        """A save within a save writes into the outer one's stream, which is hashed there."""
        if self._away or self._saves:
            return None
        recorder = self._recorder
        path = os.fspath(target) if isinstance(target, str | os.PathLike) else None
        if isinstance(path, str):
            place = recorder.names.absolute(path)
            wanted = recorder.settings.wants(recorder.names.logical(place))
            if not wanted or recorder.outputs.in_declared_directory(place) or not _is_file_or_new(place):
                return None
        return Saving(recorder, path if isinstance(path, str) else target, via, self._saved, original)

    def _saved(self, saving: Saving) -> None:
        if saving in self._saves:
            self._saves.remove(saving)

    def _save(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _save(obj: Any, *args: Any, **kwargs: Any) -> Any:
            if len(self._saves) == 1:
                with self._recorder.guard(SIGNING):
                    self._saves[0].saw(obj)
                    args = tuple(map(self._saves[0].follow, args))
            return original(obj, *args, **kwargs)

        return like(original, _save)

    # --------------------------------------------------------------------------------------------- loading

    def _file_like(self, original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        def _open_file_like(name_or_buffer: Any, mode: str) -> Any:
            if "w" in mode:
                ours: Any = self._begin_save(name_or_buffer, "torch.save (legacy)", None)
            else:
                ours = self._begin_load(name_or_buffer)
            return ours or original(name_or_buffer, mode)

        return like(original, _open_file_like)

    def _begin_load(self, target: Any) -> Loading | None:
        """None: torch does it alone. In enforce, what cannot be checked is not loaded."""
        try:
            loading = self._loading(target)
            if loading is not None:
                self._loads.append(loading)
            return loading
        except VerificationError:
            raise
        except Exception as error:
            if _is_missing(target, error):
                return None  # torch says so in its own words
            if self._recorder.inputs.enforce:
                raise fail_closed(_shown(target), error) from error
            self._recorder.guard.failed(READING, error, _shown(target), input=True)
            return None

    def _loading(self, target: Any) -> Loading | None:
        recorder = self._recorder
        if self._away:
            return None
        path = os.fspath(target) if isinstance(target, str | os.PathLike) else None
        if isinstance(path, str):
            if not recorder.inputs.enforce and not recorder.settings.wants(recorder.names.logical(path)):
                return None
        elif self._loads or not _seekable(target):
            return None  # bytes out of a file that is being measured; or torch will refuse it itself
        return Loading(recorder, path if isinstance(path, str) else target, "torch.load", self._loaded)

    def _loaded(self, loading: Loading) -> None:
        if loading in self._loads:
            self._loads.remove(loading)

    def _load(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _load(*args: Any, **kwargs: Any) -> Any:
            if self._loads and self._loads[-1].taken is not None and kwargs.get("overall_storage", self) is None:
                kwargs["overall_storage"] = _storage_of(self._loads[-1])
            result = original(*args, **kwargs)
            if self._loads:
                with self._recorder.guard(READING):
                    self._loads[-1].saw(result)
            return result

        return like(original, _load)

    # ---------------------------------------------------------------------------------------------- mapping

    def _from_file(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def from_file(filename: Any, *args: Any, **kwargs: Any) -> Any:
            if self._away or not isinstance(filename, str):
                return original(filename, *args, **kwargs)
            if self._recorder.inputs.enforce:
                shared = bool(args[0] if args else kwargs.get("shared", False))
                return self._enforced(lambda place: original(place, *args, **kwargs), filename, shared=shared)
            old = os.path.exists(filename)  # noqa: PTH110 - a shared mapping may make a new file
            storage = original(filename, *args, **kwargs)
            if old:
                with self._recorder.entry(READING, _shown(filename), input=True):
                    self._mapped(filename, storage)
            return storage

        return like(original, from_file)

    def _loading_of(self, filename: str) -> Loading | None:
        """The torch.load(mmap=True) that maps this file."""
        place = self._recorder.names.absolute(filename)
        return next((loading for loading in reversed(self._loads) if loading.path == place), None)

    def _mapped(self, filename: str, storage: Any) -> None:
        loading = self._loading_of(filename)
        if loading is not None:
            loading.mapped(storage)
        else:
            Mapping(self._recorder, filename).observe(storage)

    def _enforced(self, original: Callable[[str], Any], filename: str, *, shared: bool) -> Any:
        """What is mapped is a sealed copy of what was verified: later writes to the file cannot show through."""
        if shared:
            text = "a shared mapping cannot be verified: others may write to it"
            raise VerificationError(text, where=_shown(filename))
        try:
            loading = self._loading_of(filename)
            if loading is not None and loading.taken is not None:
                return _storage_of(loading)
            if loading is not None:
                with loading.sealed() as place:
                    return original(place)
            with verified_copy(self._recorder, filename, "mmap") as place, self._recorder.own():
                return original(place)
        except VerificationError:
            raise
        except AtlasError as error:
            raise fail_closed(_shown(filename), error) from error

    # ----------------------------------------------------------------------------------- seen, not measured

    def _unmeasured(self, reason: str, argument: int, *, reads: bool = False) -> Callable[[Any], Any]:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def hooked(*args: Any, **kwargs: Any) -> Any:
                target = args[argument] if len(args) > argument else kwargs.get("f")
                if not self._away and not self._loads:
                    self._note_unmeasured(reason, target, reads=reads)
                return original(*args, **kwargs)

            return like(original, hooked)

        return make

    def _note_unmeasured(self, reason: str, target: Any, *, reads: bool) -> None:
        recorder = self._recorder
        shown = _shown(target)
        if reads and recorder.inputs.enforce:
            raise VerificationError("cannot be verified before it is deserialised", where=shown)
        with recorder.entry(READING, shown, input=True):
            recorder.gap(Gap(shown, reason, input=reads))

    def _create_stream(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @contextlib.contextmanager
        def create_stream(system: Any, path: Any, mode: str) -> Iterator[Any]:
            if not self._away:
                directory = os.path.dirname(os.fspath(path))  # noqa: PTH120
                self._note_unmeasured(_DCP, directory, reads="r" in mode)
            with self.passing_through(), original(system, path, mode) as stream:
                yield stream

        return like(original, create_stream)

    # --------------------------------------------------------------------------------------------- training

    def count_steps(self, module: ModuleType) -> Callable[[], None] | None:
        """Count optimizer steps through torch's own global hook; gives what takes it out again."""
        register = getattr(module, "register_optimizer_step_post_hook", None)
        if register is None:
            return None
        recorder = self._recorder

        def stepped(*_args: Any, **_kwargs: Any) -> None:
            recorder.optimizer_steps += 1

        remove: Callable[[], None] = register(stepped).remove
        return remove


def _storage_of(loading: Loading) -> Any:
    """torch's storage over the memory into which the file was read and hashed; it keeps that memory alive."""
    assert loading.taken is not None
    torch = sys.modules["torch"]
    return torch.frombuffer(loading.taken.memory, dtype=torch.uint8).untyped_storage()


def _is_file_or_new(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _seekable(file: Any) -> bool:
    return all(callable(getattr(file, name, None)) for name in ("read", "seek", "tell"))


def _is_missing(target: Any, error: Exception) -> bool:
    ours = isinstance(error, AtlasError) or not isinstance(error, OSError)
    return not ours and isinstance(target, str | os.PathLike) and not os.path.exists(target)  # noqa: PTH110


# ---------------------------------------------------------------------------------------------------- facts


def facts() -> dict[str, Any]:
    """Versions and switches of a torch that the program imported; never initialises CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "__version__"):
        return {}
    version = torch.version
    entry: dict[str, Any] = {
        "version": str(torch.__version__),
        "commit": str(getattr(version, "git_version", "") or ""),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "seed": torch.initial_seed(),
    }
    for name in ("cuda", "hip"):
        if getattr(version, name, None):
            entry[name] = str(getattr(version, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entry["matmul precision"] = torch.get_float32_matmul_precision()
        entry["cudnn deterministic"] = bool(torch.backends.cudnn.deterministic)
        entry["cudnn benchmark"] = bool(torch.backends.cudnn.benchmark)
    if torch.cuda.is_initialized():
        entry["devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {key: value for key, value in entry.items() if value != ""}


def random_state() -> dict[str, Any]:
    """Digests of the states of torch's and numpy's generators, as far as the program has them."""
    found: dict[str, Any] = {}
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        found["torch"] = hashlib.sha256(bytes(torch.get_rng_state().tolist())).digest()
        if torch.cuda.is_initialized():
            states = b"".join(bytes(state.tolist()) for state in torch.cuda.get_rng_state_all())
            found["cuda"] = hashlib.sha256(states).digest()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        kind, keys, *rest = numpy_random.get_state()
        found["numpy"] = hashlib.sha256(kind.encode() + keys.tobytes() + repr(rest).encode()).digest()
    return found


def distributed() -> tuple[int, int]:
    """Rank and world size, where torch.distributed was set up without the usual environment."""
    dist = sys.modules.get("torch.distributed")
    try:
        if dist is not None and dist.is_available() and dist.is_initialized():
            return int(dist.get_rank()), int(dist.get_world_size())
    except (RuntimeError, ValueError, AttributeError):
        pass
    return 0, 1
