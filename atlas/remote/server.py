"""A small HTTP/1.1 server for logs and witnesses: h11 for the protocol, asyncio for the sockets, and a limit on all.

Everything has an end here: the bytes of headers and bodies, the seconds of a request from its first byte to the last
byte of its answer, the requests of a connection, connections altogether and for each client, and requests per second
for each client. It speaks no TLS and is meant to stand behind a server that does (docs/log-remote.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

import h11

from atlas.errors import AtlasError, SystemFailure
from atlas.version import __version__


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    client: str


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class App(Protocol):
    def body_limit(self, method: str, path: str) -> int:
        """How many bytes of body are read before `answer` is asked."""
        ...

    def answer(self, request: Request) -> Reply:
        """Called in a thread of its own; may block. What it raises becomes a 500."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    header_bytes: int = 16 << 10
    request_seconds: float = 10.0  # to read a whole request
    answer_seconds: float = 60.0  # to make and to write the whole answer
    idle_seconds: float = 15.0  # between two requests of a connection
    requests: int = 1000  # in one connection
    connections: int = 256
    connections_per_client: int = 64
    rate: float = 200.0  # requests per second and client, over time
    burst: int = 400
    threads: int = 8


class Rates:
    """A token bucket for each client; the ones not seen for longest are forgotten."""

    _REMEMBERED = 4096

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        now = self._clock()
        left, then = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self._REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed


class Server:
    """`start` listens, `serve` does so until a signal comes, `stop` ends it from any thread."""

    def __init__(self, app: App, *, host: str, port: int, limits: Limits | None = None) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._rates = Rates(self._limits.rate, self._limits.burst)
        self._connections: dict[str, int] = {}
        self._pool = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="atlas-serve")
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._failure: OSError | None = None
        self._listening: Callable[[str], None] | None = None
        self.url = ""

    def serve(self, *, signals: bool = True, listening: Callable[[str], None] | None = None) -> None:
        """Until SIGINT or SIGTERM, or `stop`. listening: told the URL as soon as there is one."""
        self._listening = listening
        try:
            asyncio.run(self._main(signals))
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._ready.set()
        if self._failure is not None:
            place = f"{self._host}:{self._port}"
            raise SystemFailure(f"cannot listen: {self._failure.strerror}", where=place) from self._failure

    def start(self) -> threading.Thread:
        """In a thread of its own; returns when it listens. `url` says where."""
        thread = threading.Thread(target=self.serve, kwargs={"signals": False}, name="atlas-serve", daemon=True)
        thread.start()
        self._ready.wait()
        return thread

    def stop(self) -> None:
        if self._loop is not None and self._ended is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ended.set)

    async def _main(self, signals: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        if signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._ended.set)
        try:
            listener = await asyncio.start_server(self._connected, self._host, self._port, limit=64 << 10)
        except OSError as error:
            self._failure = error
            return
        host, port = listener.sockets[0].getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._ready.set()
        if self._listening is not None:
            self._listening(self.url)
        async with listener:
            await self._ended.wait()

    # ---------------------------------------------------------------------------------------------- a connection

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = str((writer.get_extra_info("peername") or ("?",))[0])
        mine = self._connections.get(client, 0)
        crowded = sum(self._connections.values()) >= self._limits.connections
        self._connections[client] = mine + 1
        try:
            if not crowded and mine < self._limits.connections_per_client:
                await _Connection(self, reader, writer, client).run()
        except (OSError, EOFError, TimeoutError):
            pass  # whoever does not finish in time, or goes away, gets no answer
        finally:
            self._connections[client] -= 1
            if not self._connections[client]:
                del self._connections[client]
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def reply(self, request: Request) -> Reply:
        if not self._rates.take(request.client):
            return Reply(HTTPStatus.TOO_MANY_REQUESTS, b"too many requests\n", headers={"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._app.answer, request)
        except (AtlasError, OSError, MemoryError) as error:
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}\n".encode())

    @property
    def app(self) -> App:
        return self._app

    @property
    def limits(self) -> Limits:
        return self._limits


class _Refused(Exception):
    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.reply = Reply(status, f"{status.phrase.lower()}\n".encode())


class _Connection:
    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._client = client
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.header_bytes)

    async def run(self) -> None:
        limits = self._server.limits
        for _ in range(limits.requests):
            if not await self._something(limits.idle_seconds):
                return
            try:
                async with asyncio.timeout(limits.request_seconds):
                    request = await self._request()
                async with asyncio.timeout(limits.answer_seconds):
                    await self._send(request.method, await self._server.reply(request))
            except _Refused as refused:
                async with asyncio.timeout(limits.request_seconds):
                    await self._send("GET", refused.reply, close=True)
                return
            if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
                return
            self._protocol.start_next_cycle()

    async def _something(self, seconds: float) -> bool:
        """Whether the first bytes of a request are there, or come in time."""
        if self._protocol.trailing_data[0]:
            return True
        async with asyncio.timeout(seconds):
            data = await self._reader.read(16 << 10)
        self._protocol.receive_data(data)
        return bool(data)

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError as error:
                raise _Refused(HTTPStatus(error.error_status_hint)) from error
            if event is not h11.NEED_DATA:
                return event
            data = await self._reader.read(16 << 10)
            if not data:
                raise EOFError
            self._protocol.receive_data(data)

    async def _request(self) -> Request:
        head = await self._event()
        if not isinstance(head, h11.Request):
            raise EOFError
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        method, path = head.method.decode("latin-1"), head.target.decode("latin-1")
        limit = self._server.app.body_limit(method, path)
        if headers.get("content-length", "0").lstrip("0")[:20] and int(headers["content-length"][:20]) > limit:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self._protocol.they_are_waiting_for_100_continue:
            await self._write(self._protocol.send(h11.InformationalResponse(status_code=100, headers=[])))
        body = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise EOFError
            body += event.data
            if len(body) > limit:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return Request(method, path, headers, bytes(body), self._client)

    async def _send(self, method: str, reply: Reply, *, close: bool = False) -> None:
        headers = {
            "Content-Type": reply.kind,
            "Content-Length": str(len(reply.body)),
            "X-Content-Type-Options": "nosniff",
            "Server": f"atlas/{__version__}",
            **reply.headers,
        } | ({"Connection": "close"} if close else {})
        if self._protocol.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise EOFError
        await self._write(self._protocol.send(h11.Response(status_code=reply.status, headers=list(headers.items()))))
        if method != "HEAD":
            await self._write(self._protocol.send(h11.Data(data=reply.body)))
        await self._write(self._protocol.send(h11.EndOfMessage()))

    async def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
            await self._writer.drain()


__all__ = ["App", "Limits", "Reply", "Request", "Server"]
