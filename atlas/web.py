"""One HTTP exchange, bounded in time and in bytes. The little of Atlas that asks a server asks through here."""

from __future__ import annotations

import http.client
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atlas.errors import SystemFailure, UsageError

TIMEOUT = 20.0  # seconds for the whole exchange


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said with status 200; names of headers in lower case."""

    body: bytes
    headers: Mapping[str, str]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The server is whom the user named, and nobody it points at."""

    def redirect_request(self, *_: Any) -> None:
        return None


def host_of(url: str, *, what: str) -> str:
    """The host of an http or https URL without a user name; UsageError otherwise. `what`: who is asked."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or parts.username is not None:
        raise UsageError(f"{what} is an http or https URL without a user name", where=url)
    return host


def _open(request: urllib.request.Request, timeout: float, limit: int) -> Answer:
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=timeout) as response:
        if response.status != http.client.OK:
            raise urllib.error.HTTPError(request.full_url, response.status, response.reason, response.headers, None)
        return Answer(
            bytes(response.read(limit + 1)), {name.lower(): value for name, value in response.headers.items()}
        )


def exchange(request: urllib.request.Request, *, host: str, limit: int, timeout: float = TIMEOUT) -> Answer:
    """The answer to a request: status 200, at most `limit` bytes, all of it within `timeout` seconds; SystemFailure
    otherwise. urllib's own timeout is per read: a server that sends a byte now and then would hold us for ever."""
    results: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(_open(request, timeout, limit))
        except Exception as error:  # handed to the waiting thread
            results.put(error)

    threading.Thread(target=run, name="atlas-web", daemon=True).start()
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
    if len(result.body) > limit:
        raise SystemFailure(f"an answer of more than {limit} bytes", where=host)
    return result
