"""The actions of `atlas log` that watch, copy or serve a log: monitor, sync, equivocation, witness, serve."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.cli.options import add_json
from atlas.errors import SystemFailure, UsageError, VerificationError
from atlas.escape import escape
from atlas.files import read_regular

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.remote.log_app import LogApp
    from atlas.remote.server import App

MAX_KEY_BYTES = 4096
INVALID = 1


def add_remote_actions(actions: Any) -> None:
    monitor = actions.add_parser("monitor", help="look at a log from outside: does it only grow?", allow_abbrev=False)
    monitor.add_argument("log", metavar="LOG", help="the log: a URL or a folder")
    monitor.add_argument("--state", metavar="DIR", required=True, help="what was seen; keep it apart from the log")
    _add_keys(monitor)
    monitor.add_argument(
        "--key", metavar="CERT|SHA256", action="append", default=[], help="list entries of this key; may be repeated"
    )
    monitor.add_argument("--known", metavar="FILE", help="leaf hashes (hex, one a line): any other entry is an alert")
    monitor.add_argument("--all", action="store_true", help="read all entries again, not only new ones")
    add_json(monitor)

    sync = actions.add_parser("sync", help="copy a log's static files outward", allow_abbrev=False)
    sync.add_argument("source", metavar="SRC", help="the log: a URL or a folder")
    sync.add_argument("target", metavar="DST", help="the folder of the copy")
    _add_keys(sync)
    add_json(sync)

    report = actions.add_parser("equivocation", help="check a report that a log has two histories", allow_abbrev=False)
    report.add_argument("report", metavar="FILE", help="as `atlas log monitor` writes it")
    _add_keys(report)
    add_json(report)

    witness = actions.add_parser("witness", help="cosign checkpoints of logs that only grow", allow_abbrev=False)
    witness.add_argument("state", metavar="DIR", help="what was seen; keep it apart from the logs, never restore it")
    witness.add_argument("--key", metavar="FILE", required=True, help="the witness's private key")
    witness.add_argument("--new", metavar="NAME", help="make that key first; NAME reads like witness.example/team")
    _add_keys(witness)
    _add_listen(witness, "127.0.0.1:7380")

    serve = actions.add_parser("serve", help="serve a log's files over HTTP", allow_abbrev=False)
    serve.add_argument("log", metavar="DIR", help="the log's folder")
    serve.add_argument("--token-file", metavar="FILE", help="take entries (POST /add) from those who have this token")
    serve.add_argument("--key", metavar="FILE", help="the log's private key, where your store does not have it")
    _add_listen(serve, "127.0.0.1:7381")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log",
        dest="log_keys",
        metavar="VKEY",
        action="append",
        default=[],
        help="verifier key of the log, from its operator and never from the log's folder; may be repeated",
    )
    parser.add_argument(
        "--policy", metavar="FILE", help="logs, witnesses and quorum (c2sp.org/tlog-policy), instead of --log"
    )


def _trusted(args: argparse.Namespace) -> tuple[list[str], Callable[[bytes], None] | None]:
    """The keys of logs, and what a policy asks of their checkpoints."""
    if args.policy and args.log_keys:
        raise UsageError("--log and --policy both say whom to trust", hint="name the log in the policy file")
    if args.policy:
        from atlas.remote.policy import load_log_policy

        policy = load_log_policy(args.policy)
        if not policy.logs:
            raise UsageError("the policy names no log", where=args.policy)
        return policy.log_keys, policy.check
    if not args.log_keys:
        raise UsageError("no log is trusted", hint="give its verifier key with --log, or a --policy")
    return args.log_keys, None


def _add_listen(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", default=default, help=f"where (default {default})")


# ------------------------------------------------------------------------------------------------------- from outside


def _monitor(args: argparse.Namespace, console: Console) -> int:
    from atlas.remote.monitor import key_hash, read_hashes, watch
    from atlas.remote.source import source_of
    from atlas.remote.state import State

    log_keys, accept = _trusted(args)
    with State(args.state) as state:
        seen = watch(
            source_of(args.log),
            state,
            log_keys=log_keys,
            accept=accept,
            keys=frozenset(key_hash(text) for text in args.key),
            known=read_hashes(args.known) if args.known else None,
            everything=args.all,
        )
    if args.json:
        entries = [{"index": e.index, "leaf": e.leaf.hex(), "key": e.key.hex(), "known": e.known} for e in seen.entries]
        facts = {"origin": seen.origin, "before": seen.before, "size": seen.size, "root": seen.root.hex()}
        console.document(facts | {"entries": entries, "alerts": list(seen.alerts)})
    else:
        before = "first look" if seen.before is None else f"{seen.before} before"
        console.result(f"{escape(seen.origin)}: {seen.size} entries ({before}), root {seen.root.hex()}")
        for entry in seen.entries:
            console.result(f"  entry {entry.index}  leaf {entry.leaf.hex()}  key {entry.key.hex()}")
        for alert in seen.alerts:
            console.result(console.paint(f"  ALERT: {alert}", "red"))
    return INVALID if seen.alerts else 0


def _sync(args: argparse.Namespace, console: Console) -> int:
    from atlas.remote.source import source_of
    from atlas.remote.sync import sync

    log_keys, accept = _trusted(args)
    done = sync(source_of(args.source), args.target, log_keys=log_keys, accept=accept)
    if args.json:
        console.document({"before": done.before, "size": done.size, "files": done.files})
    else:
        console.result(f"{done.size} entries, {done.files} files written")
    return 0


def _equivocation(args: argparse.Namespace, console: Console) -> int:
    from atlas.remote.equivocation import MAX_REPORT_BYTES, read_report

    log_keys, _ = _trusted(args)
    found = read_report(read_regular(args.report, limit=MAX_REPORT_BYTES), log_keys, where=args.report)
    if args.json:
        console.document({"proven": True, "origin": found.first.origin, "sizes": [found.first.size, found.second.size]})
    else:
        console.result("proven: " + "\n".join(escape(line) for line in found.explain().split("\n")))
    return 0


# ------------------------------------------------------------------------------------------------------------ serving


def _listen(app: App, address: str, say: Callable[[str], None]) -> int:
    try:
        from atlas.remote.server import Server
    except ImportError as error:
        raise SystemFailure("h11 is not installed", hint="pip install 'atlas-provenance[serve]'") from error
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError("not an address to listen at", where=address, hint="it reads HOST:PORT")
    Server(app, host=host.strip("[]"), port=int(port)).serve(listening=say)
    return 0


def _witness(args: argparse.Namespace, console: Console) -> int:
    from atlas.remote.note import COSIGNATURE_KEY, SigningKey
    from atlas.remote.witness_app import WitnessApp

    log_keys, _ = _trusted(args)
    key = _new_key(args.key, args.new) if args.new else _read_key(args.key)
    vkey = SigningKey(key).verifier(COSIGNATURE_KEY).text
    app = WitnessApp(args.state, key=key, logs=log_keys)
    try:
        return _listen(app, args.listen, lambda url: _say(console, (f"listens at {url}", f"key {vkey}")))
    finally:
        app.close()


def _serve(args: argparse.Namespace, console: Console) -> int:
    from atlas.remote.log_app import LogApp

    app = _appending(args, console) if args.token_file else LogApp(args.log)
    return _listen(app, args.listen, lambda url: _say(console, (f"listens at {url}",)))


def _appending(args: argparse.Namespace, console: Console) -> LogApp:
    from atlas.log import TileLog
    from atlas.remote.log_app import LogApp

    log = TileLog(args.log, key=args.key)
    if log.warning:
        console.note(log.warning)
    return LogApp(args.log, add=log.add, token=_read_key(args.token_file))


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.result(line)
    console.flush()


def _read_key(path: str) -> str:
    return read_regular(path, limit=MAX_KEY_BYTES).decode("utf-8", "replace").strip()


def _new_key(path: str, name: str) -> str:
    from atlas.remote.note import SigningKey

    _, skey = SigningKey.generate(name)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError("exists already; leave --new away to use it", where=str(Path(path))) from None
    with os.fdopen(fd, "w") as file:
        file.write(skey + "\n")
        file.flush()
        os.fsync(file.fileno())
    return skey


_ACTIONS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "monitor": _monitor,
    "sync": _sync,
    "equivocation": _equivocation,
    "witness": _witness,
    "serve": _serve,
}


def run_remote(args: argparse.Namespace, console: Console) -> int:
    """What was checked and is false ends with 1, as a verdict does."""
    try:
        return _ACTIONS[args.action](args, console)
    except VerificationError as error:
        console.fail(error, code=INVALID)
        return INVALID
