"""`atlas log serve`: the files of a log and nothing else, and appends for those who have the token."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atlas.errors import LimitError, MalformedError, SystemFailure, UsageError
from atlas.remote import append
from atlas.remote.log_app import LogApp
from atlas.remote.server import Limits, Rates, Reply, Request, Server
from atlas.remote.source import Http
from atlas.remote.tree import Tree
from tests.forge import tlog

LOG = tlog.NoteKey("log.example/team")
TOKEN = "0123456789abcdef"


def log_of(size: int) -> tlog.ForgedLog:
    return tlog.ForgedLog(LOG, [f"entry {i}".encode() for i in range(size)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log in a place with secrets around it."""
    folder = log_of(700).write(tmp_path / "log")
    (tmp_path / "secret").write_text("secret")
    (folder / ".state").mkdir()
    (folder / ".state" / "key").write_text("secret")
    return folder


def get(app: LogApp, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
    return app.answer(Request(method, path, {name.lower(): value for name, value in headers.items()}, body, "me"))


def test_every_file_of_the_log_is_served_with_its_headers(folder: Path) -> None:
    app = LogApp(folder)
    for name, data in log_of(700).files().items():
        reply = get(app, f"/{name}")
        assert (reply.status, reply.body) == (200, data)
        if name == "checkpoint":
            assert (reply.kind, reply.headers["Cache-Control"]) == ("text/plain; charset=utf-8", "no-cache")
        else:
            assert reply.kind == "application/octet-stream"
            assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/.state/key", "/secret", "/../secret", "//secret", "/tile/../../secret", "/tile/0/../../.state/key",
        "/%2e%2e/secret", "/tile/0/%2e%2e/%2e%2e/.state/key", "/tile/00/000", "/tile/64/000", "/tile/0/0",
        "/tile/0/0000", "/tile/0/x000", "/tile/0/000/", "/tile/0/000.p/0", "/tile/0/000.p/256",
        "/tile/0/000.p/07", "/tile/0/000?a", "/checkpoint/", "/checkpoint\x00", "/tile/0/000\n",
        "http://other/checkpoint", "/tile/0/999", "/tile/-1/000",
    ],
)  # fmt: skip
def test_no_other_path_is_served(folder: Path, path: str) -> None:
    reply = get(LogApp(folder), path)
    assert reply.status == 404
    assert b"secret" not in reply.body
    assert reply.headers["Cache-Control"] == "no-cache", "a file that is not there yet may come"


def test_a_log_that_is_only_served_takes_no_entries(folder: Path) -> None:
    app = LogApp(folder)
    assert get(app, "/add", "POST", b"entry").status == 405
    assert get(app, "/checkpoint", "DELETE").status == 405
    assert app.body_limit("POST", "/add") == 0


def test_an_entry_is_added_only_with_the_token(folder: Path) -> None:
    added: list[bytes] = []

    def add(entry: bytes) -> int:
        added.append(entry)
        return 700

    app = LogApp(folder, add=add, token=TOKEN)
    for header in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
    ):
        assert get(app, "/add", "POST", b"entry", Authorization=header).status == 401
    assert get(app, "/add", "POST", b"entry").status == 401
    assert get(app, "/add", "GET", Authorization=f"Bearer {TOKEN}").status == 405
    assert added == []
    reply = get(app, "/add", "POST", b"entry", Authorization=f"Bearer {TOKEN}")
    assert (reply.status, reply.body, added) == (200, b"700\n", [b"entry"])
    assert (app.body_limit("POST", "/add"), app.body_limit("GET", "/add")) == (65535, 0)


@pytest.mark.parametrize("error", [UsageError("no entry"), MalformedError("no entry"), LimitError("no entry")])
def test_an_entry_that_the_log_does_not_take_is_a_bad_request(folder: Path, error: Exception) -> None:
    def add(entry: bytes) -> int:
        raise error

    reply = get(LogApp(folder, add=add, token=TOKEN), "/add", "POST", b"", Authorization=f"Bearer {TOKEN}")
    assert (reply.status, reply.body) == (400, b"no entry\n")


def test_a_short_token_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="fewer than 16"):
        LogApp(folder, add=lambda _: 0, token="short")


class Growing:
    """A log in memory that appends for real, and lays its files out for the server."""

    def __init__(self, folder: Path) -> None:
        self.log = log_of(0)
        self.folder = folder
        self._turn = threading.Lock()

    def add(self, entry: bytes) -> int:
        with self._turn:
            self.log.entries.append(entry)
            self.log.write(self.folder)
            return len(self.log.entries) - 1


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, Growing]]:
    (tmp_path / "log").mkdir()
    growing = Growing(tmp_path / "log")
    server = Server(LogApp(tmp_path / "log", add=growing.add, token=TOKEN), host="127.0.0.1", port=0)
    thread = server.start()
    yield server, growing
    server.stop()
    thread.join()


def test_entries_added_over_the_network_are_proven_from_its_tiles(served: tuple[Server, Growing]) -> None:
    server, growing = served
    for number in range(3):
        proof = append.submit(b"entry %d" % number, url=server.url, token=TOKEN, log_keys=[LOG.vkey])
        assert proof.startswith(b"c2sp.org/tlog-proof@v1\nindex %d\n" % number)
        assert proof.endswith(growing.log.checkpoint())
    tree = Tree(Http(server.url), 3, growing.log.root)
    assert tree.entries(0) == [b"entry 0", b"entry 1", b"entry 2"]
    with pytest.raises(SystemFailure, match="token"):
        append.submit(b"entry", url=server.url, token="another token at all", log_keys=[LOG.vkey])


def exchange(server: Server, data: bytes) -> bytes:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=3) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_head_request_has_the_length_and_no_body(served: tuple[Server, Growing]) -> None:
    server, growing = served
    growing.add(b"entry")
    received = exchange(server, b"HEAD /checkpoint HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"200" in head.split(b"\r\n")[0]
    assert f"content-length: {len(growing.log.checkpoint())}".encode() in head.lower()
    assert body == b""


def test_an_entry_that_is_too_large_is_refused_before_it_is_read(served: tuple[Server, Growing]) -> None:
    server, growing = served
    head = f"POST /add HTTP/1.1\r\nHost: l\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 65536\r\n\r\n".encode()
    assert exchange(server, head).startswith(b"HTTP/1.1 413")
    assert growing.log.entries == []


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(served: tuple[Server, Growing]) -> None:
    server, growing = served
    head = f"POST /add HTTP/1.1\r\nHost: l\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 5\r\n"
    received = exchange(server, head.encode() + b"Expect: 100-continue\r\nConnection: close\r\n\r\n" + b"entry")
    assert b"200" in received
    assert growing.log.entries == [b"entry"]


def test_a_client_that_does_not_read_does_not_hold_its_thread(tmp_path: Path) -> None:
    (tmp_path / "tile/0").mkdir(parents=True)
    (tmp_path / "tile/0/000").write_bytes(bytes(16 << 20))
    limits = Limits(answer_seconds=0.3)
    server = Server(LogApp(tmp_path), host="127.0.0.1", port=0, limits=limits)
    thread = server.start()
    try:
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=3) as connection:
            connection.sendall(b"GET /tile/0/000 HTTP/1.1\r\nHost: l\r\n\r\n")
            threading.Event().wait(0.8)
            received = 0
            try:
                while chunk := connection.recv(1 << 20):
                    received += len(chunk)
            except ConnectionResetError:
                pass
            assert received < 16 << 20
    finally:
        server.stop()
        thread.join()


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemFailure, match=f"127.0.0.1:{port}: cannot listen"):
            Server(LogApp(tmp_path), host="127.0.0.1", port=port).serve(signals=False)


def test_a_bucket_fills_again_and_is_nobody_elses() -> None:
    now = [0.0]
    rates = Rates(2.0, 3, clock=lambda: now[0])
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]
    assert rates.take("b")
    now[0] = 0.5
    assert [rates.take("a") for _ in range(2)] == [True, False]
    for number in range(10000):
        rates.take(str(number))
    assert len(rates._buckets) <= 4096
