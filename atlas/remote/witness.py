"""Ask witnesses to cosign a checkpoint (c2sp.org/tlog-witness). A cosignature is verified before anybody sees it.

A witness vouches that it has only ever seen this log grow. It is not asked for anything else, and cannot hold up a log
for longer than the time-out.
"""

from __future__ import annotations

import base64
import re
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from atlas import web
from atlas.errors import AtlasError, SystemFailure, UsageError
from atlas.remote.checkpoint import Checkpoint, with_lines
from atlas.remote.note import COSIGNATURE_KEY, VerifierKey, open_note

TIMEOUT = 5.0  # seconds for each request; there are at most two for a witness
MAX_ANSWER_BYTES = 16 << 10
MAX_PROOF_LINES = 63
MAX_WITNESSES = 64
_CONFLICT = 409
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_REASONS = {
    400: "it calls the request malformed",
    403: "it does not know the log's key",
    404: "it does not know this log",
    422: "it says that the log's histories do not fit together",
}

Prove = Callable[[int], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness, its key (type 4) and where it is asked."""

    name: str
    vkey: str
    url: str


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The checkpoint with whatever cosignatures came, and why the others did not."""

    note: bytes
    by: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


def cosign(
    checkpoint: Checkpoint, witnesses: Iterable[Witness], prove: Prove, *, since: int = 0, timeout: float = TIMEOUT
) -> Cosigned:
    """Ask all of them at once.

    prove: the consistency proof from a size to the checkpoint's. since: the size that they probably saw last.
    """
    asked = list(witnesses)
    if len(asked) > MAX_WITNESSES:
        raise UsageError(f"more than {MAX_WITNESSES} witnesses")
    if not asked:
        return Cosigned(checkpoint.note)
    lines: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(len(asked), thread_name_prefix="atlas-witness") as pool:
        ask = partial(add_checkpoint, checkpoint=checkpoint, prove=prove, since=since, timeout=timeout)
        for name, result in {witness.name: pool.submit(ask, witness) for witness in asked}.items():
            try:
                lines[name] = result.result()
            except AtlasError as error:
                failed[name] = str(error)
    return Cosigned(with_lines(checkpoint.note, list(lines.values())), tuple(lines), failed)


def add_checkpoint(
    witness: Witness, checkpoint: Checkpoint, prove: Prove, *, since: int = 0, timeout: float = TIMEOUT
) -> bytes:
    """The signature line of one witness. SystemFailure when it gives none."""
    key = VerifierKey.parse(witness.vkey)
    if key.kind != COSIGNATURE_KEY:
        raise UsageError("not a key for cosignatures", where=witness.vkey, hint="a witness publishes one of type 4")
    old = min(since, checkpoint.size)
    answer = _post(witness, _request(checkpoint, prove, old), timeout)
    if answer.status == _CONFLICT:
        seen = _size_of(answer, witness)
        if seen > checkpoint.size:
            raise SystemFailure(
                f"has seen this log with {seen} entries; now there are {checkpoint.size}",
                where=witness.name,
                hint="was the log's folder rolled back, or is there a second copy that is written to?",
            )
        if seen == old:
            raise SystemFailure(f"refuses the size {old}, which it names itself", where=witness.name)
        answer = _post(witness, _request(checkpoint, prove, seen), timeout)
    if answer.status != 200:
        reason = _REASONS.get(answer.status, "it does not cosign")
        raise SystemFailure(f"{reason} (HTTP status {answer.status})", where=witness.name)
    return _line_of(answer.body, checkpoint, key, witness)


def _request(checkpoint: Checkpoint, prove: Prove, old: int) -> bytes:
    proof = list(prove(old)) if 0 < old < checkpoint.size else []
    if len(proof) > MAX_PROOF_LINES:
        raise UsageError("a consistency proof of more than 63 hashes")
    lines = [b"old %d\n" % old, *(base64.b64encode(digest) + b"\n" for digest in proof), b"\n"]
    return b"".join(lines) + checkpoint.note


def _post(witness: Witness, body: bytes, timeout: float) -> web.Answer:
    web.host_of(witness.url, what="a witness")
    request = urllib.request.Request(
        witness.url.rstrip("/") + "/add-checkpoint", data=body, headers={"Content-Type": "text/plain; charset=utf-8"}
    )
    statuses = (200, _CONFLICT, *_REASONS)
    return web.exchange(request, host=witness.name, limit=MAX_ANSWER_BYTES, timeout=timeout, accept=statuses)


def _size_of(answer: web.Answer, witness: Witness) -> int:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "text/x.tlog.size" or not _SIZE.fullmatch(answer.body):
        raise SystemFailure("answers 409 without the size that it has seen", where=witness.name)
    return int(answer.body)


def _line_of(body: bytes, checkpoint: Checkpoint, key: VerifierKey, witness: Witness) -> bytes:
    """Its own line among those that it sent, verified. Lines of other keys are nobody's business here."""
    for line in body.splitlines(keepends=True):
        note = checkpoint.text + b"\n" + line
        try:
            _, signatures = open_note(note, [key])
        except AtlasError as error:
            raise SystemFailure(
                f"sends no valid cosignature: {error.text}", code=error.code, where=witness.name
            ) from error
        if any(signature.kind == COSIGNATURE_KEY and signature.time for signature in signatures):
            return line
    raise SystemFailure("sends no cosignature under the key that is known for it", where=witness.name)


__all__ = ["Cosigned", "Witness", "add_checkpoint", "cosign"]
