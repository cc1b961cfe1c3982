"""`atlas.init`: from settings to a live recorder with its hooks in, and back. One per process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.errors import UsageError
from atlas.record.family import ATTACH, Attachment, Rank
from atlas.record.journal import started_ns
from atlas.record.recorder import Recorder
from atlas.record.run import OffRun, Run
from atlas.record.settings import NO_KEY_HINT, Settings, resolve
from atlas.sign import load_signer
from atlas.store import Store

if TYPE_CHECKING:
    from atlas.evidence import Attest
    from atlas.hooks import Hooks

_lock = threading.RLock()
_registered = False


class _Live:
    """The one live recorder of this process, with what was set up for it."""

    def __init__(self, recorder: Recorder, run: Run, hooks: Hooks, environ: str | None) -> None:
        self.recorder = recorder
        self.run = run
        self.hooks = hooks
        self.environ = environ  # ATLAS_ATTACH as it was before


_live: _Live | None = None


def init(
    *,
    key: Any = None,
    chain: Any = None,
    trust: Any = None,
    mode: str | None = None,
    store: Any = None,
    name: str | None = None,
    attest: str | Attest | None = None,
    log: Any = None,
    include: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
) -> Run:
    """Record this program from here on: what it loads and saves, the data it goes through, what it ran on.

    `key` is a PEM file (the certificate chain, `chain.pem`, is looked for beside it), or a signer, or ATLAS_KEY. `mode`
    is "observe" (the default: nothing is ever broken, gaps are recorded), "enforce" (inputs must be valid under
    `trust`) or "off". `store` is where manifests are kept. `include` and `exclude` are patterns of logical names.
    `attest` is "off", "auto" (hardware evidence where there is hardware, else a gap that says why not) or "require"
    (NotAttested here, before anything is trained), with ":session" or ":artifact" behind it, or an `atlas.Attest`.
    `log` is a folder made with `atlas log init`, the URL of a Rekor v2 server, or an `atlas.LogTarget`: every manifest
    that the run signs is logged there, by a thread that the program never waits for.
    What is not given comes from ATLAS_* and then from [tool.atlas] of pyproject.toml.

    Called again it returns the live run. Ends with `Run.finish`, a `with` block, or the program. In a child process it
    joins the parent's run and never opens the key.
    """
    given = {
        "key": key, "chain": chain, "trust": trust, "mode": mode, "store": store, "name": name, "attest": attest,
        "log": log, "include": include, "exclude": exclude,
    }  # fmt: skip
    with _lock:
        if _live is not None:
            _warn_about(_live.recorder, given)
            return _live.run
        attachment = Attachment.load(os.environ)
        if attachment is not None and _joins(attachment, key):
            return _attach(attachment)
        settings = resolve(**given)
        if settings.mode == "off":
            return OffRun()
        rank = Rank.find(os.environ)
        if rank is not None and rank.rank > 0:
            return _join_ranks(settings, rank)
        recorder = Recorder(settings, _signer(settings), rank=rank)
        return _begin(recorder, "owner")


def attach(environ: Mapping[str, str] = os.environ) -> Run | None:
    """In a child that multiprocessing started: join the parent's run. None when there is none, or this is no child."""
    with _lock:
        attachment = Attachment.load(environ)
        if _live is not None and (attachment is None or attachment.run == _live.recorder.id or _live.recorder.owner):
            return _live.run
        if attachment is None or not _is_multiprocessing_child():
            return None
        if _live is not None:  # a fork server's children know only the run that was live when it was started
            _ended(_live.recorder)
        return _attach(attachment)


def uninstall() -> None:
    """End the live run, if there is one, and take every hook out: torch is as it was."""
    with _lock:
        if _live is not None:
            _live.run.finish()


def live() -> Run | None:
    """The run of this process, if one is live."""
    return _live.run if _live is not None else None


# ------------------------------------------------------------------------------------------------- beginning


def _signer(settings: Settings) -> Any:
    if settings.key is None:
        raise UsageError("no key: nothing could be signed", hint=NO_KEY_HINT)
    signer = load_signer(settings.key, chain=settings.chain)
    if settings.log is not None:
        settings.log.check(signer.alg, Store(settings.store))
    return signer


def _begin(recorder: Recorder, kind: str) -> Run:
    global _live, _registered
    from atlas.hooks import install

    before = os.environ.get(ATTACH)
    run = recorder.start(kind)
    recorder.ended = _ended
    recorder.announce = lambda: _announce(recorder)
    hooks = install(recorder)
    _live = _Live(recorder, run, hooks, before)
    _announce(recorder)
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_forked)
        atexit.register(_at_exit)
    return run


def _announce(recorder: Recorder) -> None:
    """Tell children, through the environment, which run they belong to and in which step they begin."""
    settings = recorder.settings
    os.environ[ATTACH] = Attachment(
        run=recorder.id,
        directory=str(recorder.directory),
        pid=os.getpid(),
        born=started_ns(os.getpid()),
        mode=settings.mode,
        root=str(settings.root),
        store=str(recorder.store.directory),
        trust=(settings.trust or b"").decode("ascii", "replace"),
        step=recorder.steps.current().id,
        rank=os.environ.get("RANK", ""),
    ).dump()


def _joins(attachment: Attachment, key: Any) -> bool:
    """A plain child process that names a key of its own is a party of its own; a rank of a job belongs to its job."""
    if os.environ.get("RANK", "") != attachment.rank:
        return False
    return key is None or _is_multiprocessing_child()


def _is_multiprocessing_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    # spawn imports the main module before it says whose child this is; `_inheriting` is set even then
    return process.parent_process() is not None or bool(getattr(process.current_process(), "_inheriting", False))


def _attach(attachment: Attachment) -> Run:
    settings = Settings(
        mode="enforce" if attachment.mode == "enforce" else "observe",
        key=None,
        chain=None,
        trust=attachment.trust.encode() or None,
        store=Path(attachment.store),
        name="",
        root=Path(attachment.root),
    )
    recorder = Recorder(
        settings, None, run_id=attachment.run, process=f"child {os.getpid()}", directory=Path(attachment.directory)
    )
    recorder.steps.born_in(attachment.step)
    return _begin(recorder, "child")


def _join_ranks(settings: Settings, rank: Rank) -> Run:
    from atlas.store import Store

    place = f"{rank.rank}-{os.getpid()}-{started_ns(os.getpid())}"
    directory = rank.directory(Store(settings.store).directory / "runs") / place
    recorder = Recorder(settings, None, process=f"rank {rank.rank}", rank=rank, directory=directory)
    return _begin(recorder, "rank")


def _warn_about(recorder: Recorder, given: dict[str, Any]) -> None:
    """A notebook cell that is run again changes nothing; a cell that asks for something else should know."""
    asked = {name for name, value in given.items() if value is not None}
    same = {"key": recorder.settings.key, "chain": recorder.settings.chain, "mode": recorder.settings.mode}
    different = {n for n in asked if n in same and str(given[n]) != str(same[n])} if recorder.owner else set()
    if different:
        what = ", ".join(sorted(different))
        recorder.guard.warn("init", f"a run is live, so {what} was not used; call run.finish() first")


# ---------------------------------------------------------------------------------------------------- ending


def _ended(recorder: Recorder) -> None:
    global _live
    with _lock:
        if _live is None or _live.recorder is not recorder:
            return
        _live.hooks.uninstall()
        if _live.environ is None:
            os.environ.pop(ATTACH, None)
        else:
            os.environ[ATTACH] = _live.environ
        _live = None


def _at_exit() -> None:
    if _live is not None:
        failed = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
        _live.run.finish("failed" if failed else "done")


def _forked() -> None:
    global _lock
    _lock = threading.RLock()
    if _live is not None:
        _live.recorder.forked()


__all__ = ["Run", "attach", "init", "live", "uninstall"]
