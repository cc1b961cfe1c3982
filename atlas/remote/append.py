"""Append to a log that `atlas log serve` serves: POST /add with a token. Any server of Tessera's shape does."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Iterable

from atlas import web
from atlas.errors import SystemFailure
from atlas.remote.proof import Accept, proof_from_tiles
from atlas.remote.source import Http

TIMEOUT = 30.0
_INDEX = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")


def submit(
    entry: bytes,
    *,
    url: str,
    token: str,
    log_keys: Iterable[str],
    read_url: str | None = None,
    accept: Accept | None = None,
    timeout: float = TIMEOUT,
) -> bytes:
    """Append the entry; the index that the server names is believed only once the proof from its tiles holds."""
    host = web.host_of(url, what="a log")
    request = urllib.request.Request(
        url.rstrip("/") + "/add",
        data=entry,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"},
    )
    answer = web.exchange(request, host=host, limit=4096, timeout=timeout, accept=(200, 400, 401, 403, 404, 429))
    if answer.status != http.client.OK or not _INDEX.fullmatch(answer.body):
        reason = "the token is not accepted" if answer.status in (401, 403) else f"HTTP status {answer.status}"
        raise SystemFailure(f"refuses the entry: {reason}", where=host)
    source = Http(read_url or url, timeout=timeout)
    return proof_from_tiles(source, entry, int(answer.body), log_keys=log_keys, accept=accept)


__all__ = ["submit"]
