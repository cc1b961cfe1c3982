"""One HTTP exchange, bounded in time and in bytes. The little of Atlas that asks a server asks through here."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from atlas.errors import SystemFailure, UsageError

TIMEOUT = 20.0  # seconds for the whole exchange


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; names of headers in lower case. The status is 200 unless the caller accepts others."""

    body: bytes
    headers: Mapping[str, str]
    status: int = http.client.OK


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


class _Line:
    """The connection of one exchange, so that whoever waits can cut it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def hold(self, connected: socket.socket) -> None:
        with self._lock:
            self._socket = connected
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """Whatever thread reads from the connection gets its end at once."""
        with self._lock, contextlib.suppress(OSError):
            self._cut = True
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


def _handlers(line: _Line) -> tuple[urllib.request.BaseHandler, ...]:
    class Http(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            line.hold(self.sock)

    class Https(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            line.hold(self.sock)

    class HttpHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Http, request)

    class HttpsHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Https, request)

    return _NoRedirect(), HttpHandler(), HttpsHandler()


class _Statuses(urllib.request.HTTPErrorProcessor):
    """Statuses that the caller accepts are answers, not exceptions."""

    def __init__(self, accept: Container[int]) -> None:
        self._accept = accept

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response if response.status in self._accept else super().http_response(request, response)

    https_response = http_response


def _decoded(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding, of at most limit + 1 bytes: a small answer may not become a large one."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise ValueError(f"encoded as {encoding!r}, which was not asked for")
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from error
    if len(plain) <= limit and (not unpacker.eof or unpacker.unused_data):
        raise ValueError("its gzip is cut short or followed by something else")
    return plain


def _open(request: urllib.request.Request, line: _Line, timeout: float, limit: int, accept: Container[int]) -> Answer:
    opener = urllib.request.build_opener(*_handlers(line), _Statuses(accept))
    with opener.open(request, timeout=timeout) as response:
        if response.status not in accept:
            raise urllib.error.HTTPError(request.full_url, response.status, response.reason, response.headers, None)
        body = bytes(response.read(limit + 1))
        if len(body) <= limit and response.length:
            raise ValueError(f"cut short, {response.length} bytes are missing")
        headers = {name.lower(): value for name, value in response.headers.items()}
        if len(body) <= limit:
            body = _decoded(body, headers.get("content-encoding", "").strip().lower(), limit)
        return Answer(body, headers, response.status)


def exchange(
    request: urllib.request.Request,
    *,
    host: str,
    limit: int,
    timeout: float = TIMEOUT,
    accept: Container[int] = (http.client.OK,),
) -> Answer:
    """The answer to a request: a status of `accept`, at most `limit` bytes (packed and unpacked), all of it within
    `timeout` seconds; SystemFailure otherwise. urllib's own timeout is per read: a server that sends a byte now and
    then would hold us for ever. So the work is a thread's, and when time is up its connection is cut."""
    line = _Line()
    results: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(_open(request, line, timeout, limit, accept))
        except Exception as error:  # handed to the waiting thread
            results.put(error)

    threading.Thread(target=run, name="atlas-web", daemon=True).start()
    try:
        result = results.get(timeout=timeout)
    except queue.Empty:
        line.cut()
        raise SystemFailure(f"no answer within {timeout:g} seconds", where=host) from None
    if isinstance(result, urllib.error.HTTPError):
        raise SystemFailure(f"HTTP status {result.code}", where=host) from result
    if isinstance(result, TimeoutError) or isinstance(getattr(result, "reason", None), TimeoutError):
        raise SystemFailure(f"no answer within {timeout:g} seconds", where=host) from None
    if isinstance(result, urllib.error.URLError):
        raise SystemFailure(f"cannot be reached: {result.reason}", where=host) from result
    if isinstance(result, Exception):
        raise SystemFailure(f"no answer: {result}", where=host) from result
    if len(result.body) > limit:
        raise SystemFailure(f"an answer of more than {limit} bytes", where=host)
    return result
