"""The handle that `atlas.init` returns. What torch neither reads nor writes is said here, in plain words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from atlas.claim import Gap
from atlas.errors import NotFound
from atlas.evidence import NotAttested
from atlas.model import Digest, SignedManifest
from atlas.record.guard import shown
from atlas.record.steps import Declared, Step

if TYPE_CHECKING:
    from atlas.record.recorder import Recorder

PathLike = str | os.PathLike[str]


class StepScope:
    """``with run.step("train"):`` - what is loaded and saved within belongs to it."""

    def __init__(
        self, recorder: Recorder | None, name: str, params: Mapping[str, Any], attest: str | None = None
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._params = params
        self._attest = attest
        self._step: Step | None = None

    def __enter__(self) -> Self:
        if self._recorder is not None:
            refused: NotAttested | None = None
            with self._recorder.guard("beginning a step", self._name):
                try:
                    attest = self._recorder.attesting.demand(self._attest)
                    self._step = self._recorder.begin_step(self._name, self._params, attest)
                except NotAttested as error:
                    refused = error
            if refused is not None:  # what a step requires stops it; nothing else does
                raise refused
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._recorder is not None and self._step is not None:
            with self._recorder.guard("ending a step", self._name):
                self._recorder.end_step(self._step, "failed" if kind is not None else "done")

    def suspend(self) -> None:
        """A generator or coroutine hands control back to its caller."""
        if self._recorder is not None and self._step is not None:
            self._recorder.steps.suspend(self._step)

    def resume(self) -> None:
        if self._recorder is not None and self._step is not None:
            self._recorder.steps.resume(self._step)


class Run:
    """A run of a program. Ends with `finish`, at the end of its `with` block, or when the interpreter exits."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder: Recorder | None = recorder
        self.id: str = recorder.id

    def __repr__(self) -> str:
        state = self._recorder.settings.mode if self._recorder is not None else "finished"
        return f"<atlas.Run {self.id} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.finish("failed" if kind is not None else "done")

    @property
    def live(self) -> bool:
        return self._recorder is not None and self._recorder.live

    @property
    def _active(self) -> Recorder | None:
        return self._recorder if self.live else None

    # ------------------------------------------------------------------------------------------------ saying

    def step(self, name: str, /, **params: Any) -> StepScope:
        """A part of the program with inputs, outputs and parameters of its own."""
        return StepScope(self._active, str(name), params)

    def scope(self, name: str, params: Mapping[str, Any], attest: str | None) -> StepScope:
        """`step` with a wish for hardware evidence, as `@atlas.step(attest=...)` makes it."""
        return StepScope(self._active, name, params, attest)

    def input(
        self,
        path: PathLike,
        *,
        role: str = "data",
        dataset: object | None = None,
        name: str | None = None,
        digest: str | Digest | None = None,
    ) -> Path:
        """Say that a file or directory is read here; returns its path.

        `dataset` is the torch data set that was made of it. `digest` allows these bytes in enforce although no manifest
        vouches for them.
        """
        if digest is not None:
            self.pin(digest)
        recorder = self._active
        if recorder is not None:
            with recorder.guard("recording an input", shown(path), input=True):
                recorder.reads.declare(path, role=role, dataset=dataset, name=name)
        return Path(path)

    def output(self, path: PathLike, *, kind: str | None = None, name: str | None = None) -> Path:
        """Say that a file or directory is written here; returns its path. Call it before or after writing.

        `kind` is "model", "dataset", "tokenizer", "report" or a word of your own. Files that are saved inside a
        declared directory are signed with it and not one by one.
        """
        recorder = self._active
        if recorder is not None:
            with recorder.guard("recording an artifact", shown(path)):
                declared = Declared(Path(recorder.names.absolute(path)), kind, name)
                recorder.outputs.declare(declared, recorder.steps.current())
        return Path(path)

    def params(self, values: Mapping[str, Any] | Any = None, /, **more: Any) -> None:
        """Parameters of the step, or of the run: a dict, an argparse namespace, a dataclass, or keywords."""
        if self._active is not None:
            with self._active.guard("recording parameters"):
                self._active.add_params(values, more)

    def log(self, step: int | None = None, /, **values: Any) -> None:
        """Progress, such as ``run.log(step=10, loss=loss)``: the last values are recorded, tensors read at the end."""
        if self._active is not None:
            with self._active.guard("logging"):
                place = self._active.steps.current()
                place.logged += 1
                for name, value in (values if step is None else {"step": step} | values).items():
                    # a loss must not keep its graph alive
                    place.log[name] = value.detach() if hasattr(value, "detach") else value

    def metrics(
        self,
        results: Mapping[str, Any] | None = None,
        /,
        *,
        of: PathLike | None = None,
        on: PathLike | None = None,
        **more: Any,
    ) -> None:
        """Results of an evaluation: `of` is the model, `on` the data, by path; they become inputs if they are not."""
        recorder = self._active
        if recorder is not None:
            with recorder.guard("recording metrics"):
                recorder.add_metrics({**(results or {}), **more}, of, on)

    def pin(self, digest: str | Digest) -> None:
        """In enforce, allow an input of unknown provenance that has this flat or tree digest."""
        if self._active is not None:
            self._active.inputs.pin(Digest.parse(digest) if isinstance(digest, str) else digest)

    # ------------------------------------------------------------------------------------------------ asking

    def manifest(self, path: PathLike) -> SignedManifest:
        """The manifest of an artifact that this run made."""
        recorder = self._recorder
        output = recorder.outputs.at(recorder.names.absolute(path)) if recorder is not None else None
        if output is None or output.signed is None:
            raise NotFound("this run signed no such artifact", where=os.fspath(path))
        return output.signed

    @property
    def outputs(self) -> tuple[SignedManifest, ...]:
        """Manifests of the artifacts that this run made and that are still there, oldest first."""
        if self._recorder is None:
            return ()
        return tuple(
            o.signed for o in sorted(self._recorder.outputs.all(), key=lambda o: o.number) if o.signed is not None
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What was seen and could not be measured or recorded, so far."""
        return tuple(dict.fromkeys(s.gap for s in self._recorder.ledger.seen)) if self._recorder is not None else ()

    def doctor(self) -> dict[str, Any]:
        """Which hooks are live, where records go, what could not be recorded."""
        return self._recorder.doctor() if self._recorder is not None else {"mode": "off"}

    def finish(self, status: str = "done") -> None:
        """End the run: declared outputs are signed, hooks removed. Nothing happens in a child or when it is over."""
        if self._active is not None:
            with self._active.guard("ending the run"):
                self._active.finish(status)


class OffRun(Run):
    """What `mode="off"` gives: every call is accepted, nothing is recorded."""

    def __init__(self) -> None:
        self._recorder = None
        self.id = "off"

    def __repr__(self) -> str:
        return "<atlas.Run off>"
