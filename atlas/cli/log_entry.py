"""The actions of `atlas log` on entries: add, verify, pending, flush."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.cli.options import add_json, add_manifest
from atlas.errors import NotFound, UsageError, VerificationError, in_file
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.log_queue import Flushed, Pending
    from atlas.log_target import LogTarget
    from atlas.proofs import Proven

INVALID, UNTRUSTED, INCOMPLETE, FAILED = 1, 3, 4, 6


def add_entry_actions(actions: Any) -> None:
    add = actions.add_parser("add", help="log the signature of an artifact's manifest", allow_abbrev=False)
    add.add_argument("artifact", metavar="ARTIFACT", help="file or directory that has a manifest")
    add_manifest(add)
    add.add_argument("--log", metavar="DIR", help="the log's folder")
    add.add_argument("--url", metavar="URL", help="a Rekor v2 server; with --token-file `atlas log serve` elsewhere")
    add.add_argument("--read-url", metavar="URL", help="where the tiles of --url are read, if elsewhere")
    add.add_argument("--token-file", metavar="FILE", help="the token that `atlas log serve` wants")
    add.add_argument("--key", metavar="FILE", help="the private key of --log, where your store does not have it")
    _add_policy(add)
    add_json(add)

    verify = actions.add_parser("verify", help="is the signature of an artifact's manifest logged?", allow_abbrev=False)
    verify.add_argument("artifact", metavar="ARTIFACT", help="file or directory that has a manifest")
    add_manifest(verify)
    verify.add_argument("--log", metavar="DIR", help="prove it from the log's folder; the key is not from there")
    verify.add_argument("--proof", metavar="FILE", help="a .tlog-proof, or sigstore's JSON; else those that are found")
    verify.add_argument("--proofs", metavar="DIR", help="a folder of proofs, named by leaf hash")
    verify.add_argument(
        "--offline", action="store_true", help="make no network call; this never does, so it changes nothing"
    )
    verify.add_argument("--export", metavar="FILE", help="write the proof as sigstore's TransparencyLogEntry (JSON)")
    _add_policy(verify)
    add_json(verify)

    bundle = actions.add_parser("bundle", help="is the entry of a sigstore bundle in its log?", allow_abbrev=False)
    bundle.add_argument("bundle", metavar="FILE", help="a sigstore bundle, of Rekor v1 or v2, with one log entry")
    _add_policy(bundle)
    add_json(bundle)

    pending = actions.add_parser("pending", help="list the signatures that are not logged yet", allow_abbrev=False)
    add_json(pending)
    flush = actions.add_parser("flush", help="log them now", allow_abbrev=False)
    add_json(flush)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-policy",
        metavar="FILE",
        help="logs, witnesses and quorum (else ATLAS_LOG_POLICY, ~/.config/atlas/log.policy, logs that you made)",
    )


def _target(args: argparse.Namespace) -> LogTarget:
    from atlas.log_target import LogTarget, is_url

    if bool(args.log) == bool(args.url):
        raise UsageError("where to? Give a folder with --log, or a server with --url")
    if args.url and not is_url(args.url):
        raise UsageError("not a URL", where=args.url, hint="it begins with https://; a folder is given with --log")
    return LogTarget(
        args.url or str(Path(args.log).expanduser().absolute()),
        policy=args.log_policy,
        read_url=args.read_url,
        token_file=args.token_file,
        key=args.key,
    )


def _manifest(args: argparse.Namespace) -> bytes:
    from atlas.entry import read_manifests
    from atlas.store import need_manifest

    found = need_manifest(args.artifact, manifest=args.manifest)
    with in_file(found.where):
        read_manifests(found.data)
    return found.data


def _add(args: argparse.Namespace, console: Console) -> int:
    from atlas.log_queue import LogQueue
    from atlas.store import Store

    target, store = _target(args), Store()
    data = _manifest(args)
    target.check(None, store)
    queue = LogQueue(store)
    pending = queue.add(data, store.put(data), target, args.artifact)
    return _say_flushed(queue.flush([pending]), args, console)


def _say_flushed(done: Flushed, args: argparse.Namespace, console: Console) -> int:
    if args.json:
        console.document({"logged": [_plain(p) for p in done.logged], "failed": [_plain(p) for p in done.failed]})
    else:
        for pending in done.logged:
            console.result(f"logged {_words(pending)}")
        for pending in done.failed:
            console.result(console.paint(f"not logged: {_words(pending)}: {escape(pending.error)}", "red"))
    return FAILED if done.failed else 0


def _plain(pending: Pending) -> dict[str, Any]:
    return {
        "artifact": pending.artifact, "leaf": pending.leaf.hex(), "log": pending.target.place, "error": pending.error
    }  # fmt: skip


def _words(pending: Pending) -> str:
    artifact = pending.artifact or f"manifest {pending.manifest}"
    return f"{escape(artifact)} (leaf {pending.leaf.hex()}) in {escape(pending.target.place)}"


def _verify(args: argparse.Namespace, console: Console) -> int:
    from atlas.proofs import prove_manifest
    from atlas.store import Store

    try:
        proven = prove_manifest(
            _manifest(args),
            artifact=args.artifact,
            policy=args.log_policy,
            proof=args.proof,
            proofs=args.proofs,
            folder=args.log,
            store=Store(),
        )
    except VerificationError as error:
        code = UNTRUSTED if error.code == "ATLAS_E_UNKNOWN_LOG" else INVALID
        console.fail(error, code=code)
        return code
    except NotFound as error:
        console.fail(error, code=INCOMPLETE)
        return INCOMPLETE
    if args.export:
        _export(proven, Path(args.export))
    _say_proven(proven, args, console)
    return 0


def _export(proven: Proven, path: Path) -> None:
    from atlas.files import write_atomic
    from atlas.remote.note import LOG_KEY, VerifierKey
    from atlas.remote.sigstore import encode_entry

    key = VerifierKey.parse(proven.key) if proven.key else None
    if key is None or key.kind != LOG_KEY or proven.proof[:1] == b"{":
        raise UsageError("only a tlog-proof of a log with an Ed25519 key can be written so", where=str(path))
    write_atomic(path, encode_entry(proven.entry, proven.proof, key))


def _bundle(args: argparse.Namespace, console: Console) -> int:
    from atlas.files import read_regular
    from atlas.proofs import MAX_PROOF_BYTES, trusted_policy
    from atlas.remote.sigstore import check_bundle
    from atlas.store import Store

    data = read_regular(args.bundle, limit=MAX_PROOF_BYTES)
    try:
        place = check_bundle(data, trusted_policy(args.log_policy, Store()), where=args.bundle)
    except VerificationError as error:
        code = UNTRUSTED if error.code == "ATLAS_E_UNKNOWN_LOG" else INVALID
        console.fail(error, code=code)
        return code
    if args.json:
        console.document(place.to_dict())
    else:
        console.result(
            f"{escape(args.bundle)}: its signature is entry {place.index} of the {place.size} in {escape(place.origin)}"
            "; the signature itself was not looked at"
        )
    return 0


def _say_proven(proven: Proven, args: argparse.Namespace, console: Console) -> None:
    where = proven.place
    if args.json:
        console.document(where.to_dict() | {"leaf": proven.leaf.hex()})
        return
    cosigned = f", cosigned by {where.witnesses} witnesses of the policy" if where.witnesses else ""
    console.result(
        f"{escape(args.artifact)}: its signature is entry {where.index} of the {where.size} in {escape(where.origin)}"
        f"{cosigned}"
    )


def _pending(args: argparse.Namespace, console: Console) -> int:
    from atlas.log_queue import LogQueue
    from atlas.store import Store

    found = LogQueue(Store()).pending()
    if args.json:
        console.document({"pending": [_plain(pending) for pending in found]})
        return 0
    for pending in found:
        console.result(_words(pending) + (f": {escape(pending.error)}" if pending.error else ""))
    console.result(f"{len(found)} signature{'' if len(found) == 1 else 's'} not logged yet")
    return 0


def _flush(args: argparse.Namespace, console: Console) -> int:
    from atlas.log_queue import LogQueue
    from atlas.store import Store

    done = LogQueue(Store()).flush()
    if not args.json:
        console.result(f"{len(done.logged)} logged, {len(done.failed)} not")
    return _say_flushed(done, args, console)


_ACTIONS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "add": _add,
    "verify": _verify,
    "bundle": _bundle,
    "pending": _pending,
    "flush": _flush,
}


def is_entry(action: str) -> bool:
    return action in _ACTIONS


def run_entry(args: argparse.Namespace, console: Console) -> int:
    try:
        return _ACTIONS[args.action](args, console)
    except VerificationError as error:
        console.fail(error, code=INVALID)
        return INVALID


__all__ = ["add_entry_actions", "is_entry", "run_entry"]
