"""Hook points of DataLoader: which samples were really handed out, in which order, by every kind of loader.

The order of the indices lives in the main process, with workers too: `_next_index` sees what is sent out, `__next__`
what comes back. What is read while a batch is made, here or in a worker, belongs to the loader's data set.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atlas.claim import Gap
from atlas.hooks.engine import HookPoint, like
from atlas.hooks.identity import Identifier
from atlas.hooks.kinds import is_tensor
from atlas.record.family import ATTACH
from atlas.record.loaders import LoaderUse

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

COUNTING = "counting the samples of a DataLoader"
MAX_USES = 256
_MODULE = "torch.utils.data.dataloader"
_STATE = "_atlas_state"

_worker_loader = 0  # in a worker: the number of the loader it works for; in the parent: of the one being started


@dataclass(slots=True)
class _State:
    """What hangs on an iterator."""

    use: LoaderUse
    run: str
    pending: deque[Any] = field(default_factory=deque)  # sent out and not handed out yet


class WorkerInit:
    """Stands in for the user's worker_init_fn where workers are not forked: unpickling it attaches the worker."""

    def __init__(self, inner: Callable[[int], Any] | None) -> None:
        self.inner = inner
        self.loader = 0
        self.attachment = os.environ.get(ATTACH, "")  # the fork server may be older than the run

    def __setstate__(self, state: dict[str, Any]) -> None:
        global _worker_loader
        self.__dict__.update(state)
        _worker_loader = self.loader
        from atlas.recorder import attach

        attach({ATTACH: self.attachment})

    def __call__(self, worker: int) -> Any:
        return self.inner(worker) if self.inner is not None else None


class LoaderHooks:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._local = threading.local()
        self._uses: dict[tuple[Any, ...], tuple[Callable[[], Any], LoaderUse]] = {}
        self.identifier = Identifier(recorder)

    def points(self) -> list[HookPoint]:
        base, many = "_BaseDataLoaderIter", "_MultiProcessingDataLoaderIter"
        return [
            HookPoint("DataLoader begins", _MODULE, f"{base}.__init__", self._init),
            HookPoint("DataLoader begins again", _MODULE, f"{base}._reset", self._reset, optional=True),
            HookPoint("DataLoader sends out", _MODULE, f"{base}._next_index", self._next_index),
            HookPoint("DataLoader hands out", _MODULE, f"{base}.__next__", self._next),
            HookPoint("DataLoader workers", _MODULE, f"{many}.__init__", self._workers, optional=True),
        ]

    def current(self) -> tuple[LoaderUse | None, int]:
        """The loader for whose batch this thread is reading, or in a worker its number."""
        use = getattr(self._local, "use", None)
        if use is not None:
            return use, 0
        worker = sys.modules.get("torch.utils.data._utils.worker")
        working = worker is not None and getattr(worker, "_worker_info", None) is not None
        return None, _worker_loader if working else 0

    # ---------------------------------------------------------------------------------------------- uses

    def _use_for(self, loader: Any) -> LoaderUse:
        """Loaders that are made anew for every epoch over the same data set count as one."""
        recorder = self._recorder
        dataset, step = loader.dataset, recorder.steps.current()
        sampler = getattr(loader, "sampler", None)
        key = (id(dataset), type(sampler).__name__, loader.batch_size, loader.drop_last, step.id, recorder.process)
        known = self._uses.get(key)
        if known is not None and known[0]() is dataset:
            use = known[1]
            use.facts |= _distributed(sampler)
            return use
        if len(recorder.ledger.loaders) >= MAX_USES:
            recorder.gap(Gap("more DataLoaders", f"only the first {MAX_USES} are told apart"))
            return recorder.ledger.loaders[-1]
        use = LoaderUse(len(recorder.ledger.loaders) + 1, step, _facts(loader, sampler), ordered=_order(loader))
        with recorder.own():
            use.identity = self.identifier.identify(dataset)
        recorder.ledger.loaders.append(use)
        self._uses[key] = (_reference(dataset), use)
        return use

    # --------------------------------------------------------------------------------------------- hooks

    def _init(self, original: Callable[..., None]) -> Callable[..., None]:
        def begin(iterator: Any, loader: Any, *args: Any, **kwargs: Any) -> None:
            original(iterator, loader, *args, **kwargs)
            if self._recorder.live:
                self._begin(iterator, loader)

        return like(original, begin)

    def _begin(self, iterator: Any, loader: Any) -> None:
        global _worker_loader
        with self._recorder.guard(COUNTING):
            use = self._use_for(loader)
            use.begin(getattr(iterator, "_base_seed", None))
            setattr(iterator, _STATE, _State(use, self._recorder.id))
            _worker_loader = use.number
            stand_in = getattr(self._local, "stand_in", None)
            if stand_in is not None:
                stand_in.loader = use.number

    def _reset(self, original: Callable[..., None]) -> Callable[..., None]:
        def _reset(iterator: Any, loader: Any, first_iter: bool = False, *args: Any, **kwargs: Any) -> None:
            if not first_iter and self._recorder.live:  # persistent workers go through it once more
                self._begin(iterator, loader)
            original(iterator, loader, first_iter, *args, **kwargs)

        return like(original, _reset)

    def _next_index(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def _next_index(iterator: Any) -> Any:
            index = original(iterator)
            state = iterator.__dict__.get(_STATE)
            if state is not None:
                state.pending.append(index)
            return index

        return like(original, _next_index)

    def _next(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        recorder, local = self._recorder, self._local

        def advance(iterator: Any) -> Any:
            state = self._before(iterator) if recorder.live else None
            if state is None:
                return original(iterator)
            before = getattr(local, "use", None)
            local.use = state.use
            try:
                batch = original(iterator)
            except StopIteration:
                self._after(state, finished=True)
                raise
            except BaseException:
                if state.pending:
                    state.pending.popleft()
                raise
            finally:
                local.use = before
            self._after(state, batch)
            return batch

        return like(original, advance)

    def _before(self, iterator: Any) -> _State | None:
        try:
            state: _State | None = iterator.__dict__.get(_STATE)
            if state is None or state.run != self._recorder.id:
                self._unknown(iterator)
                return None
            state.use.observe(self._recorder.optimizer_steps, _gradients())
        except Exception as error:
            self._recorder.guard.failed(COUNTING, error)
            return None
        return state

    def _after(self, state: _State, batch: Any = None, *, finished: bool = False) -> None:
        try:
            if finished:
                state.use.finished(self._recorder.optimizer_steps)
            else:
                self._commit(state, batch)
            self._recorder.diary.flush(force=finished)
        except Exception as error:
            self._recorder.guard.failed(COUNTING, error)

    def _commit(self, state: _State, batch: Any) -> None:
        use = state.use
        index = state.pending.popleft() if state.pending else None
        if use.order == "exact" and index is not None:
            use.consumed(index)
        else:
            use.counted(_length(batch, index))

    def _unknown(self, iterator: Any) -> None:
        """It was made before the run began: how far it is, nobody counted."""
        if not getattr(iterator, "_atlas_unknown", False):
            iterator._atlas_unknown = True
            name = type(iterator._dataset).__name__
            gap = Gap(f"data set {name}", "its DataLoader was running before the run began: not counted", input=True)
            self._recorder.gap(gap)

    def _workers(self, original: Callable[..., None]) -> Callable[..., None]:
        def start(iterator: Any, loader: Any, *args: Any, **kwargs: Any) -> None:
            user = loader.worker_init_fn
            stand_in = None
            if self._recorder.live and _start_method(loader) != "fork":
                stand_in = WorkerInit(user)
                loader.worker_init_fn = self._local.stand_in = stand_in
            try:
                original(iterator, loader, *args, **kwargs)
            finally:
                if stand_in is not None:
                    loader.worker_init_fn, self._local.stand_in = user, None

        return like(original, start)


def _start_method(loader: Any) -> str:
    context = getattr(loader, "multiprocessing_context", None)
    if context is not None:
        return str(context.get_start_method())
    return str(multiprocessing.get_start_method())


def _reference(dataset: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(dataset)
    except TypeError:  # a list or a range: kept alive
        return lambda: dataset


def _gradients() -> bool:
    torch = sys.modules.get("torch")
    return bool(torch.is_grad_enabled()) if torch is not None else True


def _order(loader: Any) -> str:
    if _is_iterable(loader):
        return "not applicable"
    if not getattr(loader, "in_order", True) and loader.num_workers > 0:
        return "unordered"
    return "exact"


def _is_iterable(loader: Any) -> bool:
    return getattr(loader, "_dataset_kind", 0) == 1  # torch's _DatasetKind.Iterable


def _facts(loader: Any, sampler: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "sampler": type(sampler).__name__,
        "drop_last": bool(loader.drop_last),
        "workers": int(loader.num_workers),
    }
    if isinstance(loader.batch_size, int):
        facts["batch_size"] = loader.batch_size
    else:
        facts["batch_sampler"] = type(getattr(loader, "batch_sampler", None)).__name__
    with contextlib.suppress(TypeError, NotImplementedError):
        facts["length"] = len(loader.dataset)
    if loader.generator is not None:
        facts["generator_seed"] = loader.generator.initial_seed()
    return facts | _distributed(sampler)


def _distributed(sampler: Any) -> dict[str, Any]:
    """DistributedSampler: this rank's share."""
    names = {"rank": "rank", "num_replicas": "replicas", "seed": "sampler_seed", "epoch": "sampler_epoch"}
    if not hasattr(sampler, "num_replicas"):
        return {}
    return {
        shown: getattr(sampler, name) for name, shown in names.items() if isinstance(getattr(sampler, name, None), int)
    }


def _length(batch: Any, index: Any) -> int:
    """Samples in a batch of which the indices say nothing."""
    value = batch
    for _ in range(4):
        if is_tensor(value):
            return int(value.shape[0]) if len(value.shape) else 1
        if isinstance(value, dict) and value:
            value = next(iter(value.values()))
        elif isinstance(value, list | tuple) and value:
            if not is_tensor(value[0]) and not isinstance(value[0], list | tuple | dict):
                return len(value)
            value = value[0]
        else:
            break
    return len(index) if isinstance(index, list) else 1
