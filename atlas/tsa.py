"""Ask a time-stamping authority over HTTP (RFC 3161, 3.4). The answer is checked in C against the question."""

from __future__ import annotations

import http.client
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from atlas import _core
from atlas.errors import AtlasError, SystemFailure, UsageError

MAX_RESPONSE_BYTES = 64 << 10
TIMEOUT = 20.0  # seconds for the whole exchange


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The authority is whom the user named, and nobody it points at."""

    def redirect_request(self, *_: Any) -> None:
        return None


def request_timestamp(url: str, message: bytes, *, timeout: float = TIMEOUT) -> bytes:
    """An RFC 3161 token over `message`. Whether its authority is trusted is for whoever verifies to say."""
    host = _host(url)
    question = _core.timestamp_request(message)
    request = urllib.request.Request(
        url,
        data=question,
        headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
    )
    answer = _within(timeout, host, request)
    try:
        return _core.timestamp_token(question, answer)
    except AtlasError as error:
        raise SystemFailure(
            f"no usable time-stamp: {error.text}", code=error.code, where=host, hint="sign without --tsa, or try later"
        ) from error


def _host(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or parts.username is not None:
        raise UsageError("a time-stamping authority is an http or https URL without a user name", where=url)
    return host


def _exchange(request: urllib.request.Request, timeout: float) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=timeout) as response:
        if response.status != http.client.OK:
            raise urllib.error.HTTPError(request.full_url, response.status, response.reason, response.headers, None)
        return bytes(response.read(MAX_RESPONSE_BYTES + 1))


def _within(timeout: float, host: str, request: urllib.request.Request) -> bytes:
    """urllib's timeout is per read: a server that sends a byte now and then would hold the training for ever."""
    results: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(_exchange(request, timeout))
        except Exception as error:  # handed to the waiting thread
            results.put(error)

    threading.Thread(target=run, name="atlas-tsa", daemon=True).start()
    try:
        result = results.get(timeout=timeout)
    except queue.Empty:
        raise SystemFailure(f"no answer within {timeout:g} seconds", where=host) from None
    if isinstance(result, urllib.error.HTTPError):
        raise SystemFailure(f"HTTP status {result.code}", where=host) from result
    if isinstance(result, urllib.error.URLError):
        raise SystemFailure(f"cannot be reached: {result.reason}", where=host) from result
    if isinstance(result, Exception):
        raise SystemFailure(f"no answer: {result}", where=host) from result
    if len(result) > MAX_RESPONSE_BYTES:
        raise SystemFailure(f"an answer of more than {MAX_RESPONSE_BYTES} bytes", where=host)
    return result


__all__ = ["request_timestamp"]
