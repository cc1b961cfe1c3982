"""Rekor v2 (sigstore/rekor-tiles), hashedrekord 0.0.2 only: submit an entry, come back with a proof that was verified.

The write API answers when a checkpoint covers the entry, after ten seconds or so: this is never called by training,
but by `atlas log flush` and the queue behind it. Reading is not the server's business; tiles have a URL of their own.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

from atlas import web
from atlas.errors import AtlasError, SystemFailure, UsageError, VerificationError
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.proof import Accept, checked_proof, proof_from_tiles
from atlas.remote.source import Http

TIMEOUT = 30.0
MAX_ANSWER_BYTES = 256 << 10
ATTEMPTS = 6
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_BUSY = (429, 502, 503, 504)
_ACCEPTED = {"es256": "SHA-256", "es384": "SHA-384", "es512": "SHA-512"}


def check_algorithm(alg: str) -> None:
    """UsageError for a signing algorithm whose signatures Rekor v2 refuses. Asked when a run starts, not after it."""
    if alg.lower() in _ACCEPTED:
        return
    why = {
        "ps256": "RSA-PSS", "ps384": "RSA-PSS", "ps512": "RSA-PSS", "ed25519": "pure Ed25519", "eddsa": "pure Ed25519"
    }.get(alg.lower(), alg)  # fmt: skip
    raise UsageError(
        f"Rekor v2 takes no signatures by {why}",
        where=alg,
        hint="sign with es256, es384 or es512 (`atlas keygen --alg`), or use a log of your own (`atlas log init`)",
    )


def submit(
    entry: bytes,
    *,
    url: str,
    read_url: str,
    log_keys: Iterable[str],
    accept: Accept | None = None,
    timeout: float = TIMEOUT,
    attempts: int = ATTEMPTS,
    pause: Callable[[float], None] = time.sleep,
) -> bytes:
    """Put the canonical entry into the log. Returns its tlog-proof, verified under one of `log_keys`.

    accept: raises when a policy does not accept the checkpoint; then one that it accepts is waited for. An entry that
    the log already has is no error: its proof is built from the tiles at `read_url`.
    """
    keys = list(log_keys)
    host = web.host_of(url, what="a Rekor log")
    request = _request(url, entry)
    for attempt in range(attempts):
        answer = web.exchange(request, host=host, limit=MAX_ANSWER_BYTES, timeout=timeout, accept=_Everything())
        if answer.status not in _BUSY:
            break
        if attempt + 1 < attempts:
            pause(_pause_of(answer, attempt))
    index, proof = _read_answer(answer, entry, keys, accept, host)
    if proof is not None:
        return proof
    source = Http(read_url, timeout=timeout)
    return proof_from_tiles(source, entry, index, log_keys=keys, accept=accept, pause=pause)


class _Everything:
    """Statuses of a whole exchange: all of them say something to whoever submits."""

    def __contains__(self, status: object) -> bool:
        return isinstance(status, int) and not 300 <= status < 400


def _request(url: str, entry: bytes) -> urllib.request.Request:
    try:
        document = json.loads(entry)
        if (document["apiVersion"], document["kind"]) != ("0.0.2", "hashedrekord"):
            raise ValueError
        record = document["spec"]["hashedRekordV002"]
        body = {"hashedRekordRequestV002": {"digest": record["data"]["digest"], "signature": record["signature"]}}
    except (ValueError, KeyError, TypeError):
        raise UsageError("Rekor v2 takes hashedrekord 0.0.2 entries only") from None
    return urllib.request.Request(
        url.rstrip("/") + "/api/v2/log/entries",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )


def _pause_of(answer: web.Answer, attempt: int) -> float:
    """Twice as long each time, with some chance in it, and at least as long as the server asks for."""
    asked = answer.headers.get("retry-after", "")
    wanted = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
    usual = _FIRST_PAUSE * 2.0**attempt * random.uniform(0.75, 1.25)
    return min(max(wanted, usual), _LONGEST_PAUSE)


def _read_answer(
    answer: web.Answer, entry: bytes, keys: list[str], accept: Accept | None, host: str
) -> tuple[int, bytes | None]:
    """The index that the log names, and the proof if the answer holds one that is enough."""
    if answer.status in (http.client.OK, http.client.CREATED):
        return _read_entry(answer.body, entry, keys, accept, host)
    if answer.status == http.client.CONFLICT:
        index = answer.headers.get("x-log-index", "").strip()
        if not (index.isascii() and index.isdigit() and len(index) <= 19):
            raise SystemFailure("has the entry already, and does not say where (no X-Log-Index)", where=host)
        return int(index), None
    raise SystemFailure(_refusal(answer), where=host, hint=_REMEDIES.get(answer.status, ""))


_REMEDIES = {
    405: "this log is closed for new entries; its operator has a new one, with a new URL and a new key",
    400: "the log does not take this kind of entry or key",
    401: "the log wants a credential",
    403: "the log does not let you write",
    404: "is this the write URL of a Rekor v2 log? Version 1 has another interface",
}


def _refusal(answer: web.Answer) -> str:
    text = (
        f"refuses the entry (HTTP status {answer.status})"
        if answer.status not in _BUSY
        else (f"is busy (HTTP status {answer.status}), also after several tries")
    )
    try:
        message = json.loads(answer.body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
    return f"{text}: {message[:200]}" if isinstance(message, str) else text


def _read_entry(
    body: bytes, entry: bytes, keys: list[str], accept: Accept | None, host: str
) -> tuple[int, bytes | None]:
    """A TransparencyLogEntry. Size and root come from the checkpoint's signed text, never from its own fields."""
    try:
        document = json.loads(body)
        index = _number(document.get("logIndex", "0"))
        inclusion = document["inclusionProof"]
        path = [base64.b64decode(text, validate=True) for text in inclusion.get("hashes", [])]
        note = inclusion["checkpoint"]["envelope"].encode()
        logged = base64.b64decode(document["canonicalizedBody"], validate=True)
        if _number(inclusion.get("logIndex", "0")) != index:
            raise ValueError("two indexes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SystemFailure(f"answers with no transparency log entry: {error}", where=host) from None
    if logged != entry:
        raise VerificationError("the log has made another entry of it", code="ATLAS_E_DIGEST", where=host)
    proof = checked_proof(entry, index, path, open_checkpoint(note, keys, where=host))
    if accept is not None:
        try:
            accept(note)
        except AtlasError:
            return index, None
    return index, proof


def _number(value: Any) -> int:
    """protojson writes 64-bit integers as strings."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    raise ValueError("not an index")


__all__ = ["check_algorithm", "submit"]
