"""Attack: a log, a witness or whoever else is asked over HTTP answers with anything but what it should."""

from __future__ import annotations

import gzip
import threading
import time
import tracemalloc
import urllib.request
import zlib

import pytest

from atlas import web
from atlas.errors import SystemFailure
from tests import hostile
from tests.hostile import Behaviour, says

LIMIT = 100_000
SECONDS = 0.5


def ask(url: str, *, limit: int = LIMIT) -> web.Answer:
    return web.exchange(urllib.request.Request(url), host="the log", limit=limit, timeout=SECONDS)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "atlas-web"]


def all_ended() -> bool:
    deadline = time.monotonic() + 3
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not threads()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (says(200, bytes(LIMIT + 1)), "more than"),
        (says(200, b"", length=1 << 62), "cut short"),
        (hostile.endless, "more than"),
        (hostile.endless_chunks, "more than"),
        (hostile.endless_headers, "headers"),
        (hostile.dripping_body, "no answer within"),
        (hostile.dripping_headers, "no answer within"),
        (hostile.silent, "no answer within"),
        (says(302, b"", "Location: http://127.0.0.1:1/"), "status 302"),
        (says(307, b"", "Location: http://127.0.0.1:1/"), "status 307"),
        (says(204, b""), "status 204"),
        (says(404, b"not here"), "status 404"),
        (says(500, bytes(10 * LIMIT)), "status 500"),
        (says(200, b"short", length=100), "cut short"),
        (says(200, b"not gzip", "Content-Encoding: gzip"), "not gzip"),
        (says(200, gzip.compress(b"a")[:-4], "Content-Encoding: gzip"), "cut short"),
        (says(200, gzip.compress(b"a") * 2, "Content-Encoding: gzip"), "followed by"),
        (says(200, gzip.compress(bytes(LIMIT + 1)), "Content-Encoding: gzip"), "more than"),
        (says(200, zlib.compress(b"a"), "Content-Encoding: br"), "not asked for"),
        (lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no answer"),
    ],
    ids=[
        "a huge body", "a length without a body", "an endless body", "endless chunks", "endless headers",
        "a dripping body", "dripping headers", "silence", "a redirect", "a redirect that keeps the method",
        "nothing", "not found", "an error with a huge body", "a body cut short", "no gzip", "gzip cut short",
        "two gzips", "a gzip bomb", "an encoding not asked for", "another protocol",
    ],
)  # fmt: skip
def test_a_hostile_answer_is_refused_in_bounded_time(behaviour: Behaviour, reason: str) -> None:
    with hostile.hostile(behaviour) as server:
        start = time.monotonic()
        with pytest.raises(SystemFailure) as caught:
            ask(server.url)
        assert time.monotonic() - start < 3 * SECONDS
        assert reason in str(caught.value)
        assert caught.value.where == "the log"
        assert all_ended(), "a thread still listens to the server"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        hostile.endless,
        hostile.endless_chunks,
        says(200, gzip.compress(bytes(64 << 20)), "Content-Encoding: gzip"),
    ],
    ids=["an endless body", "endless chunks", "a gzip bomb"],
)
def test_a_hostile_answer_is_refused_in_bounded_memory(behaviour: Behaviour) -> None:
    with hostile.hostile(behaviour) as server:
        tracemalloc.start()
        try:
            with pytest.raises(SystemFailure):
                ask(server.url, limit=LIMIT)
            assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
        finally:
            tracemalloc.stop()


def test_an_answer_at_the_limit_is_taken_and_gzip_is_unpacked() -> None:
    body = bytes(range(250)) * (LIMIT // 250)
    with hostile.hostile(says(200, body)) as server:
        assert ask(server.url).body == body
    with hostile.hostile(says(200, gzip.compress(body), "Content-Encoding: gzip")) as server:
        assert ask(server.url).body == body


def test_a_status_is_an_answer_only_for_those_who_accept_it() -> None:
    with hostile.hostile(says(409, b"7\n")) as server:
        request = urllib.request.Request(server.url)
        answer = web.exchange(request, host="the witness", limit=100, timeout=SECONDS, accept=(200, 409))
        assert (answer.status, answer.body) == (409, b"7\n")
