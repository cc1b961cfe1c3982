"""`@atlas.step` and `@atlas.pipeline`: parts of a program as functions, with inputs and outputs in their signatures.

    @atlas.step
    def clean(raw: In[Dataset], out: Out[Dataset], min_len: int = 5): ...

An `In` parameter is declared as an input of the step, an `Out` parameter as its output, everything else that is plain
as a parameter. Without a live run, `atlas.init()` begins one from the environment.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union, overload

from atlas.evidence import Attest
from atlas.record.run import Run, StepScope
from atlas.recorder import init, live

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_ROLES = {"Dataset": "data", "Model": "base model"}
_KINDS = {"Dataset": "dataset", "Model": "model"}
_PLAIN = (str, int, float, bool, type(None), list, tuple, dict)


class Dataset(Protocol):
    """Marks a path to data: ``In[Dataset]``, ``Out[Dataset]``."""

    def __fspath__(self) -> str: ...


class Model(Protocol):
    """Marks a path to weights: ``In[Model]``, ``Out[Model]``."""

    def __fspath__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Port:
    """What ``In[...]`` and ``Out[...]`` leave in a signature."""

    direction: str
    kind: str


class _PortMaker:
    def __init__(self, direction: str) -> None:
        self._direction = direction

    def __getitem__(self, kind: Any) -> Port:
        return Port(self._direction, kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind)))

    def __repr__(self) -> str:
        return f"atlas.{self._direction.capitalize()}"


if TYPE_CHECKING:
    In = Union[T, str, os.PathLike[str]]  # noqa: UP007 - a generic alias
    Out = Union[T, str, os.PathLike[str]]  # noqa: UP007
else:
    In = _PortMaker("in")
    Out = _PortMaker("out")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A decorated function: its name and what its parameters are."""

    name: str
    signature: inspect.Signature
    ports: dict[str, Port]
    attest: str | None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            return {}  # the call itself says what is wrong with its arguments
        bound.apply_defaults()
        return dict(bound.arguments)


def _plan(function: Callable[..., Any], name: str | None, attest: str | None) -> _Plan:
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, TypeError, SyntaxError):  # annotations that cannot be evaluated declare nothing
        signature = inspect.signature(function)
    ports = {p.name: p.annotation for p in signature.parameters.values() if isinstance(p.annotation, Port)}
    return _Plan(name or function.__name__, signature, ports, attest)


class _Call:
    """One call of a step."""

    def __init__(self, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._plan = plan
        self._arguments = plan.bind(args, kwargs)
        self._run: Run = live() or init()

    def scope(self) -> StepScope:
        """Parameters are what is neither a port nor anything large."""
        plain = {
            name: value
            for name, value in self._arguments.items()
            if name not in self._plan.ports and name not in ("self", "cls") and isinstance(value, _PLAIN)
        }
        return self._run.scope(self._plan.name, plain, self._plan.attest)

    def declare(self) -> None:
        for name, port in self._plan.ports.items():
            for path in _paths(self._arguments.get(name)):
                if port.direction == "in":
                    self._run.input(path, role=_ROLES.get(port.kind, port.kind))
                else:
                    self._run.output(path, kind=_KINDS.get(port.kind, port.kind))


def _paths(value: Any) -> list[Any]:
    if isinstance(value, str | os.PathLike):
        return [value]
    if isinstance(value, list | tuple):
        return [item for item in value if isinstance(item, str | os.PathLike)]
    return []


@contextmanager
def _within(plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[StepScope]:
    call = _Call(plan, args, kwargs)
    with call.scope() as scope:
        call.declare()
        yield scope


@overload
def step(function: F, /) -> F: ...
@overload
def step(*, name: str | None = None, attest: str | None = None) -> Callable[[F], F]: ...
def step(function: Any = None, /, *, name: str | None = None, attest: str | None = None) -> Any:
    """Make a function a step: sync, async, or a generator of either kind. An exception ends the step as failed.

    `attest` is what `atlas.init` takes, for the artifacts of this step alone: with "require" the function is not even
    called without evidence.
    """
    if attest is not None:
        Attest.of(attest, {})  # a word that is wrong is found when the module is imported
    if function is None:
        return lambda each: _decorate(each, name, attest)
    return _decorate(function, name, attest)


def _decorate(function: Callable[..., Any], name: str | None, attest: str | None) -> Callable[..., Any]:
    plan = _plan(function, name, attest)
    if inspect.isasyncgenfunction(function):
        wrapper: Callable[..., Any] = _async_generator(function, plan)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, plan)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, plan)
    else:
        wrapper = _plain(function, plan)
    wrapped = functools.wraps(function)(wrapper)
    wrapped.__signature__ = plan.signature  # type: ignore[attr-defined]
    return wrapped


def _plain(function: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with _within(plan, args, kwargs):
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with _within(plan, args, kwargs):
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    """The step is current while the generator runs, not while its caller works with what it yielded."""

    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _within(plan, args, kwargs) as scope:
            inner = function(*args, **kwargs)
            send: Callable[[], Any] = functools.partial(next, inner)
            while True:
                try:
                    item = send()
                except StopIteration as stop:
                    return stop.value
                scope.suspend()
                try:
                    sent = yield item
                except GeneratorExit:
                    scope.resume()
                    inner.close()
                    raise
                except BaseException as error:
                    send = functools.partial(inner.throw, error)
                else:
                    send = functools.partial(inner.send, sent)
                scope.resume()

    return call


def _async_generator(function: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with _within(plan, args, kwargs) as scope:
            inner: AsyncIterator[Any] = function(*args, **kwargs)
            sent: Any = None
            while True:
                try:
                    item = await inner.asend(sent)  # type: ignore[attr-defined]
                except StopAsyncIteration:
                    return
                scope.suspend()
                try:
                    sent = yield item
                finally:
                    scope.resume()

    return call


def pipeline(function: Any = None, /, **options: Any) -> Any:
    """Make a function the whole run: ``@atlas.pipeline(key=...)``. Options are those of `atlas.init`."""
    if function is None:
        return lambda each: pipeline(each, **options)

    if inspect.iscoroutinefunction(function):

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with init(**{"name": function.__name__} | options):
                return await function(*args, **kwargs)

        return functools.wraps(function)(call_async)

    def call(*args: Any, **kwargs: Any) -> Any:
        with init(**{"name": function.__name__} | options):
            return function(*args, **kwargs)

    return functools.wraps(function)(call)


__all__ = ["Dataset", "In", "Model", "Out", "Port", "pipeline", "step"]
