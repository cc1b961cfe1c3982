"""A witness of our own (c2sp.org/tlog-witness): cosigns checkpoints of the logs it knows, as long as they only grow.

What it has seen is flushed to its folder before the answer leaves, one request at a time, one process at a time. Keep
that folder apart from the log, on another machine, and never restore it from a backup: a witness that forgets will
cosign a second history.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

from atlas.errors import AtlasError, MalformedError, UsageError, VerificationError
from atlas.files import StrPath
from atlas.remote.checkpoint import Checkpoint, open_checkpoint, signature_lines, signer_of
from atlas.remote.note import LOG_KEY, SigningKey, VerifierKey, open_note, parse_checkpoint
from atlas.remote.server import Reply, Request
from atlas.remote.state import State, directory_of
from atlas.remote.tree import EMPTY_ROOT, check_consistency
from atlas.remote.witness import MAX_PROOF_LINES

MAX_REQUEST_BYTES = 16 << 10
_MONITORED = re.compile(r"/([0-9a-f]{64})/checkpoint")
_NUMBER = re.compile(rb"old (0|[1-9][0-9]{0,18})")
_HASH_BYTES = 32


class WitnessApp:
    """Holds the lock on its folder until `close`."""

    def __init__(
        self, folder: StrPath, *, key: str, logs: Iterable[str], clock: Callable[[], float] = time.time
    ) -> None:
        self._key = SigningKey(key)
        self._clock = clock
        self._turn = threading.Lock()
        self._broken = ""
        self._logs: dict[str, list[str]] = {}
        for text in logs:
            parsed = VerifierKey.parse(text)
            if parsed.kind != LOG_KEY:
                raise UsageError("not the key of a log", where=text)
            self._logs.setdefault(parsed.name, []).append(text)
        self._state = State(folder)

    def close(self) -> None:
        self._state.close()

    # ---------------------------------------------------------------------------------------------------- serving

    def body_limit(self, method: str, path: str) -> int:
        return MAX_REQUEST_BYTES if (method, path) == ("POST", "/add-checkpoint") else 0

    def answer(self, request: Request) -> Reply:
        if request.path == "/add-checkpoint":
            if request.method != "POST":
                return Reply(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
            return self.add_checkpoint(request.body)
        if request.method not in ("GET", "HEAD"):
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        found = _MONITORED.fullmatch(request.path)
        note = self._state.read(found[1]) if found else None
        if note is None:
            return Reply(HTTPStatus.NOT_FOUND, b"not found\n")
        return Reply(HTTPStatus.OK, note, headers={"Cache-Control": "no-cache"})

    def add_checkpoint(self, body: bytes) -> Reply:
        try:
            old, proof, note = _read_request(body)
            origin = _origin_of(note)
        except (AtlasError, ValueError) as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())
        if origin not in self._logs:
            return Reply(HTTPStatus.NOT_FOUND, b"unknown log\n")
        try:
            checkpoint = open_checkpoint(note, self._logs[origin], where=origin)
        except VerificationError:
            return Reply(HTTPStatus.FORBIDDEN, b"not signed by a known key of the log\n")
        except MalformedError as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())
        if old > checkpoint.size:
            return Reply(HTTPStatus.BAD_REQUEST, b"the old size is larger than the checkpoint's\n")
        with self._turn:
            return self._compare_and_keep(checkpoint, old, proof)

    # ---------------------------------------------------------------------------------------------------- state

    def _compare_and_keep(self, new: Checkpoint, old: int, proof: list[bytes]) -> Reply:
        if self._broken:
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"the witness's disk failed; it has to be started again\n")
        last = self._last(new.origin)
        size = last.size if last else 0
        if old != size:
            return Reply(HTTPStatus.CONFLICT, b"%d\n" % size, kind="text/x.tlog.size")
        if not _follows(new, last, proof):
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, b"not consistent with what was cosigned before\n")
        line = self._key.cosign(new.text, int(self._clock()))
        try:
            self._state.keep(new.origin, b"".join([new.text, b"\n", *_of_the_log(new), line]))
        except OSError as error:
            self._broken = str(error)  # after a failed fsync nobody knows what the disk holds
            raise
        return Reply(HTTPStatus.OK, line)

    def _last(self, origin: str) -> Checkpoint | None:
        note = self._state.read(directory_of(origin))
        return open_checkpoint(note, self._logs[origin], where="what the witness remembers") if note else None


def _read_request(body: bytes) -> tuple[int, list[bytes], bytes]:
    head, separator, note = body.partition(b"\n\n")
    lines = head.split(b"\n")
    found = _NUMBER.fullmatch(lines[0])
    if not separator or found is None:
        raise ValueError("the request begins with `old SIZE`, proof lines and an empty line")
    if len(lines) - 1 > MAX_PROOF_LINES:
        raise ValueError("more than 63 lines of proof")
    try:
        proof = [base64.b64decode(line, validate=True) for line in lines[1:]]
    except binascii.Error:
        proof = [b""]
    if any(len(digest) != _HASH_BYTES for digest in proof):
        raise ValueError("a line of the proof is no base64 of 32 bytes")
    return int(found[1]), proof, note


def _origin_of(note: bytes) -> str:
    text, _ = open_note(note, [])
    return parse_checkpoint(text)[0]


def _follows(new: Checkpoint, last: Checkpoint | None, proof: list[bytes]) -> bool:
    if new.size == 0 and new.root != EMPTY_ROOT:
        return False
    if last is None or last.size == 0:
        return not proof
    try:
        check_consistency(last.size, new.size, last.root, new.root, proof)
    except VerificationError:
        return False
    return True


def _of_the_log(checkpoint: Checkpoint) -> list[bytes]:
    """The log's own signature line: others are words that nobody checked here."""
    key = VerifierKey.parse(checkpoint.key)
    return [line for line in signature_lines(checkpoint.note) if signer_of(line) == (key.name.encode(), key.id)]


__all__ = ["WitnessApp"]
