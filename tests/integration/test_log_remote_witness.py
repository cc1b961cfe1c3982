"""Witnesses: our client and our server of the protocol (c2sp.org/tlog-witness), against each other and against lies."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atlas.errors import SystemFailure, UsageError
from atlas.remote import witness_app
from atlas.remote.checkpoint import Checkpoint, open_checkpoint
from atlas.remote.note import COSIGNATURE_KEY, SigningKey
from atlas.remote.server import Limits, Request, Server
from atlas.remote.state import directory_of
from atlas.remote.witness import Witness, add_checkpoint, cosign
from atlas.remote.witness_app import WitnessApp
from tests import hostile
from tests.forge import tlog
from tests.hostile import says
from tests.recorded.questions import LOG, body, log_of, questions

WITNESS = tlog.NoteKey("witness.example/w1", tlog.COSIGNATURE)
SIGNER = tlog.NoteKey(WITNESS.name)  # the same pair as a key for notes, as `log init` would make it
NOW = 1_700_000_000


@pytest.fixture
def app(tmp_path: Path) -> Iterator[WitnessApp]:
    app = WitnessApp(tmp_path / "witness", key=SIGNER.skey, logs=[LOG.vkey], clock=lambda: NOW)
    yield app
    app.close()


def opened(log: tlog.ForgedLog) -> Checkpoint:
    return open_checkpoint(log.checkpoint(), [LOG.vkey], where="test")


# ------------------------------------------------------------------------------------------------------- the server


def test_a_witness_cosigns_what_grows_and_remembers_it(app: WitnessApp, tmp_path: Path) -> None:
    log = log_of(9)
    first = app.add_checkpoint(body(log, 0, 3))
    assert (first.status, first.body) == (200, WITNESS.line(log.text(3), time=NOW))
    assert app.add_checkpoint(body(log, 3, 9)).body == WITNESS.line(log.text(), time=NOW)
    assert app.add_checkpoint(body(log, 9, 9)).status == 200, "the same again is cosigned again"
    kept = (tmp_path / "witness" / directory_of(LOG.name) / "checkpoint").read_bytes()
    assert kept == log.checkpoint() + WITNESS.line(log.text(), time=NOW)


def test_a_witness_remembers_across_a_restart(tmp_path: Path) -> None:
    log = log_of(5)
    for size, old in ((3, 0), (5, 3)):
        app = WitnessApp(tmp_path, key=SIGNER.skey, logs=[LOG.vkey])
        assert app.add_checkpoint(body(log, old, size)).status == 200
        app.close()


@pytest.mark.parametrize(
    ("request_body", "status"),
    [
        (body(log_of(5), 2), 409),
        (body(log_of(5), 0), 409),
        (body(log_of(5, " of another history"), 3), 422),
        (body(log_of(5), 3, proof=[bytes(32)]), 422),
        (body(log_of(5), 3, proof=[]), 422),
        (body(log_of(3, " of another history"), 3), 422),
        (body(log_of(3), 3, proof=[bytes(32)]), 422),
        (body(log_of(2), 3), 400),
        (body(tlog.ForgedLog(tlog.NoteKey("other.example"), [b"a"]), 0), 404),
        (b"", 400),
        (b"old 3\n", 400),
        (b"old 03\n\n" + log_of(5).checkpoint(), 400),
        (b"old -3\n\n" + log_of(5).checkpoint(), 400),
        (b"size 3\n\n" + log_of(5).checkpoint(), 400),
        (b"old 3\nAAAA\n\n" + log_of(5).checkpoint(), 400),
        (b"old 3\n!!!!\n\n" + log_of(5).checkpoint(), 400),
        (body(log_of(5), 3, proof=[bytes(32)] * 64), 400),
        (b"old 3\n\n" + log_of(5).text(), 400),
        (b"old 3\n\n" + log_of(5).text() + b"\n" + tlog.NoteKey("stranger").line(log_of(5).text()), 403),
        (b"old 3\n\n" + log_of(5).text() + b"\n" + LOG.line(log_of(4).text()), 403),
    ],
)
def test_a_witness_answers_as_the_protocol_says_and_forgets_nothing(
    app: WitnessApp, tmp_path: Path, request_body: bytes, status: int
) -> None:
    assert app.add_checkpoint(body(log_of(3), 0)).status == 200
    kept = tmp_path / "witness" / directory_of(LOG.name) / "checkpoint"
    before = kept.read_bytes()
    reply = app.add_checkpoint(request_body)
    assert reply.status == status
    assert "—".encode() not in reply.body
    assert kept.read_bytes() == before
    if status == 409:
        assert (reply.body, reply.kind) == (b"3\n", "text/x.tlog.size")


def test_an_empty_log_is_cosigned_only_with_the_root_of_the_empty_tree(app: WitnessApp) -> None:
    bad = b"old 0\n\n" + LOG.note(tlog.checkpoint_text(LOG.name, 0, bytes(32)))
    assert app.add_checkpoint(bad).status == 422
    assert app.add_checkpoint(body(log_of(0), 0)).status == 200
    assert app.add_checkpoint(body(log_of(2), 0)).status == 200


def test_of_many_that_ask_at_once_one_history_is_cosigned(app: WitnessApp) -> None:
    logs = [log_of(5, f" of history {i}") for i in range(8)]
    assert app.add_checkpoint(body(log_of(2), 0)).status == 200
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda log=log: statuses.append(app.add_checkpoint(body(log, 2)).status))
        for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7


def test_a_witness_whose_disk_fails_signs_nothing_more(
    app: WitnessApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("atlas.remote.state.os.fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            app.add_checkpoint(body(log_of(3), 0))
    assert app.add_checkpoint(body(log_of(3), 0)).status == 503


def test_two_witnesses_do_not_share_a_folder(app: WitnessApp, tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="another process"):
        WitnessApp(tmp_path / "witness", key=SIGNER.skey, logs=[LOG.vkey])


def test_the_monitoring_endpoint_shows_what_was_cosigned(app: WitnessApp) -> None:
    app.add_checkpoint(body(log_of(3), 0))

    def get(path: str, method: str = "GET") -> int:
        return app.answer(Request(method, path, {}, b"", "me")).status

    assert get(f"/{directory_of(LOG.name)}/checkpoint") == 200
    assert get(f"/{'0' * 64}/checkpoint") == 404
    assert get("/../lock") == 404
    assert get("/lock") == 404
    assert get("/add-checkpoint") == 405
    assert get(f"/{directory_of(LOG.name)}/checkpoint", "POST") == 405


def test_a_key_that_is_no_log_key_is_refused(tmp_path: Path) -> None:
    for vkey in (WITNESS.vkey, "nonsense", LOG.vkey[:-2] + "AA"):
        with pytest.raises(UsageError):
            WitnessApp(tmp_path, key=SIGNER.skey, logs=[vkey])


# ------------------------------------------------------------------------------------------------------- the client


@pytest.fixture
def running(app: WitnessApp) -> Iterator[Witness]:
    server = Server(app, host="127.0.0.1", port=0)
    thread = server.start()
    yield Witness("w1", WITNESS.vkey, server.url)
    server.stop()
    thread.join()


def ask(witness: Witness, log: tlog.ForgedLog, *, since: int = 0, timeout: float = 2.0) -> bytes:
    return add_checkpoint(
        witness, opened(log), lambda old: tlog.consistency(log.leaves, old), since=since, timeout=timeout
    )


def test_client_and_server_understand_each_other(running: Witness) -> None:
    for size in (3, 5, 9):
        log = log_of(size)
        assert ask(running, log, since=1) == WITNESS.line(log.text(), time=NOW)
    assert ask(running, log_of(9), since=9) == WITNESS.line(log_of(9).text(), time=NOW)


def test_a_log_that_was_rolled_back_hears_it_from_its_witness(running: Witness) -> None:
    ask(running, log_of(9))
    with pytest.raises(SystemFailure, match="has seen this log with 9 entries; now there are 5"):
        ask(running, log_of(5))


def test_a_log_with_another_history_gets_no_cosignature(running: Witness) -> None:
    ask(running, log_of(5))
    with pytest.raises(SystemFailure, match="do not fit together"):
        ask(running, log_of(7, " of another history"), since=5)


def test_a_cosigned_checkpoint_holds_under_both_keys(running: Witness) -> None:
    log = log_of(5)
    silent = Witness("w2", WITNESS.vkey, "http://127.0.0.1:1")
    cosigned = cosign(opened(log), [running, silent], lambda old: tlog.consistency(log.leaves, old), timeout=2)
    assert cosigned.by == ("w1",)
    assert "cannot be reached" in cosigned.failed["w2"]
    assert cosigned.note == log.checkpoint() + WITNESS.line(log.text(), time=NOW)
    again = cosign(open_checkpoint(cosigned.note, [LOG.vkey], where=""), [running], lambda _: [], since=5)
    assert again.note.count(b"witness.example/w1") == 1


def test_the_key_for_cosignatures_is_that_of_the_same_pair() -> None:
    assert SigningKey(SIGNER.skey).verifier().text == SIGNER.vkey
    assert SigningKey(SIGNER.skey).verifier(COSIGNATURE_KEY).text == WITNESS.vkey


GOOD = WITNESS.line(log_of(5).text(), time=NOW)
LIES = {
    "nothing": (says(200, b""), "no cosignature"),
    "words": (says(200, b"<html>welcome</html>\n"), "no valid cosignature"),
    "another checkpoint's": (says(200, WITNESS.line(log_of(4).text(), time=NOW)), "no valid cosignature"),
    "another's": (says(200, tlog.NoteKey("w2", tlog.COSIGNATURE).line(log_of(5).text(), time=NOW)), "no cosignature"),
    "without a time": (says(200, WITNESS.line(log_of(5).text(), time=0)), "no cosignature"),
    "a flipped bit": (says(200, GOOD[:-6] + bytes([GOOD[-6] ^ 1]) + GOOD[-5:]), "no valid cosignature"),
    "no end of line": (says(200, GOOD[:-1]), "no valid cosignature"),
    "a plain signature": (says(200, SIGNER.line(log_of(5).text())), "no cosignature"),
    "409 without a size": (says(409, b"", "Content-Type: text/x.tlog.size"), "without the size"),
    "409 with words": (says(409, b"many\n", "Content-Type: text/x.tlog.size"), "without the size"),
    "409 of a wrong type": (says(409, b"3\n", "Content-Type: text/plain"), "without the size"),
    "409 with a huge size": (says(409, b"9" * 30 + b"\n", "Content-Type: text/x.tlog.size"), "without the size"),
    "409 with what was sent": (says(409, b"0\n", "Content-Type: text/x.tlog.size"), "which it names itself"),
    "409 again and again": (says(409, b"3\n", "Content-Type: text/x.tlog.size"), "status 409"),
    "404": (says(404, b""), "does not know this log"),
    "403": (says(403, b""), "does not know the log's key"),
    "302": (says(302, b"", "Location: http://127.0.0.1:1/"), "status 302"),
    "500": (says(500, b""), "status 500"),
    "a huge body": (says(200, GOOD * 1000), "more than"),
    "an endless body": (hostile.endless, "more than"),
    "a slow drip": (hostile.dripping_body, "no answer within"),
    "silence": (hostile.silent, "no answer within"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_witness_that_lies_gives_no_cosignature(lie: str) -> None:
    behaviour, reason = LIES[lie]
    with hostile.hostile(behaviour) as server:
        with pytest.raises(SystemFailure) as caught:
            ask(Witness("w1", WITNESS.vkey, server.url), log_of(5), timeout=0.5)
        assert reason in str(caught.value)
        assert len(server.requests) <= 2


def test_a_line_beside_those_of_strangers_is_found() -> None:
    stranger = tlog.NoteKey("w2", tlog.COSIGNATURE).line(log_of(5).text(), time=NOW)
    with hostile.hostile(says(200, stranger + GOOD)) as server:
        assert ask(Witness("w1", WITNESS.vkey, server.url), log_of(5)) == GOOD


# ------------------------------------------------------------------------------------------- the server under attack


def raw(url: str, data: bytes, *, wait: float = 3.0) -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=wait) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.fixture
def strict(app: WitnessApp) -> Iterator[Server]:
    limits = Limits(request_seconds=0.4, idle_seconds=0.4, connections_per_client=4, rate=1000, burst=1000)
    server = Server(app, host="127.0.0.1", port=0, limits=limits)
    thread = server.start()
    yield server
    server.stop()
    thread.join()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n", b"404"),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000\r\n\r\n", b"413"),
        (b"POST /other HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\n\r\na", b"413"),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"4"),
        (
            b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"4000\r\n" + bytes(0x4000) + b"\r\n" + b"4000\r\n" + bytes(0x4000) + b"\r\n", b"413",
        ),
        (b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 40000 + b"\r\n\r\n", b"431"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nHost: w\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: w\r\n", b""),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold", b""),
        (b"", b""),
    ],
)  # fmt: skip
def test_a_hostile_request_ends_soon(strict: Server, data: bytes, status: bytes) -> None:
    received = raw(strict.url, data)
    assert received.startswith(b"HTTP/1.1 " + status if status else b"")
    assert bool(received) == bool(status)


def test_a_client_does_not_hold_more_than_its_connections(strict: Server) -> None:
    port = urlsplit(strict.url).port
    held = [socket.create_connection(("127.0.0.1", port), timeout=3) for _ in range(4)]
    try:
        assert raw(strict.url, b"") == b""
    finally:
        for connection in held:
            connection.close()


def test_a_client_that_asks_too_often_is_told_so(app: WitnessApp) -> None:
    server = Server(app, host="127.0.0.1", port=0, limits=Limits(rate=0.001, burst=2))
    thread = server.start()
    try:
        once = b"GET / HTTP/1.1\r\nHost: w\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"
        received = raw(server.url, once + once + last)
        assert re.findall(rb"HTTP/1.1 ([0-9]+)", received) == [b"404", b"404", b"429"]
    finally:
        server.stop()
        thread.join()


def test_an_app_that_fails_is_a_500_without_details(app: WitnessApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, request: Request) -> None:
        raise SystemFailure("the secret place", where="/secret")

    monkeypatch.setattr(witness_app.WitnessApp, "answer", fail)
    server = Server(app, host="127.0.0.1", port=0)
    thread = server.start()
    try:
        received = raw(server.url, b"GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 500")
        assert b"secret" not in received
    finally:
        server.stop()
        thread.join()


# --------------------------------------------------------------------------------------------- beside a real witness

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "litewitness.json").read_text())
STRICTER = {
    "leading zero": 400,  # "with no leading zeroes": the request is malformed; litewitness reads it as 3
    "unsigned": 400,  # a note without signatures is malformed; litewitness fails with 500
}


def test_our_witness_answers_as_a_real_one_did(app: WitnessApp) -> None:
    for name, asked in questions().items():
        theirs = RECORDED["answers"][name]
        ours = app.add_checkpoint(asked)
        assert ours.status == STRICTER.get(name, theirs["status"]), name
        if ours.status == 409:
            assert (ours.kind, ours.body.decode()) == (theirs["type"], theirs["body"])


def test_our_client_understands_a_real_witness() -> None:
    real = {asked: RECORDED["answers"][name] for name, asked in questions().items()}

    def reply(connection: socket.socket, request: bytes) -> None:
        said = real[request.partition(b"\r\n\r\n")[2]]
        connection.sendall(hostile.answer(said["status"], said["body"].encode(), f"Content-Type: {said['type']}"))

    with hostile.hostile(reply) as server:
        witness = Witness("lite", RECORDED["vkey"], server.url)
        assert ask(witness, log_of(3)).startswith("— witness.example/lite ".encode())
        assert ask(witness, log_of(9), since=3).startswith("— witness.example/lite ".encode())
        with pytest.raises(SystemFailure, match="9 entries; now there are 5"):
            ask(witness, log_of(5), since=5)
        with pytest.raises(SystemFailure, match="do not fit together"):
            ask(witness, log_of(3, " of another history"), since=3)
