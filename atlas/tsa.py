"""Ask a time-stamping authority over HTTP (RFC 3161, 3.4). The answer is checked in C against the question."""

from __future__ import annotations

import urllib.request

from atlas import _core, web
from atlas.errors import AtlasError, SystemFailure

MAX_RESPONSE_BYTES = 64 << 10
TIMEOUT = web.TIMEOUT


def request_timestamp(url: str, message: bytes, *, timeout: float = TIMEOUT) -> bytes:
    """An RFC 3161 token over `message`. Whether its authority is trusted is for whoever verifies to say."""
    host = web.host_of(url, what="a time-stamping authority")
    question = _core.timestamp_request(message)
    request = urllib.request.Request(
        url,
        data=question,
        headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
    )
    answer = web.exchange(request, host=host, limit=MAX_RESPONSE_BYTES, timeout=timeout)
    try:
        return _core.timestamp_token(question, answer.body)
    except AtlasError as error:
        raise SystemFailure(
            f"no usable time-stamp: {error.text}", code=error.code, where=host, hint="sign without --tsa, or try later"
        ) from error


__all__ = ["request_timestamp"]
