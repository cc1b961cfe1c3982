"""Rekor v2 as a client sees it: what a real server said (tests/recorded/rekor.json), and what no honest one would."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from atlas import _core
from atlas.errors import SystemFailure, UsageError, VerificationError
from atlas.remote import append, rekor
from atlas.remote.note import VerifierKey, open_note, parse_checkpoint
from tests import hostile
from tests.forge import tlog
from tests.hostile import answer

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "rekor.json").read_text())
ENTRIES = [text.encode() for text in RECORDED["entries"]]
FILES = {name: base64.b64decode(data) for name, data in RECORDED["files"].items()}
KEY = RECORDED["vkey"]


def said(recorded: dict[str, Any]) -> bytes:
    headers = [f"{name}: {value}" for name, value in recorded["headers"].items()]
    return answer(recorded["status"], recorded["body"].encode(), *headers)


def replay(*posts: bytes, files: dict[str, bytes] = FILES) -> AbstractContextManager[hostile.Hostile]:
    """A server that answers POSTs with these, one after the other, the last again and again, and has these files."""
    waiting = list(posts)

    def serve(connection: socket.socket, request: bytes) -> None:
        if request.startswith(b"POST"):
            connection.sendall(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            return
        name = request.split()[1].decode().removeprefix("/")
        connection.sendall(answer(200, files[name]) if name in files else answer(404, b""))

    return hostile.hostile(serve)


def submit(server: hostile.Hostile, entry: bytes, **options: Any) -> bytes:
    return rekor.submit(
        entry, url=server.url, read_url=server.url, log_keys=[KEY], pause=lambda _: None, timeout=1, **options
    )


def parts(proof: bytes) -> tuple[int, list[bytes], bytes]:
    head, _, note = proof.partition(b"\n\n")
    lines = head.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    return int(lines[1].removeprefix("index ")), [base64.b64decode(line) for line in lines[2:]], note


def check(proof: bytes, entry: bytes, index: int) -> int:
    """Checked from its bytes alone; the size of the tree."""
    stated, path, note = parts(proof)
    assert stated == index
    text, signatures = open_note(note, [VerifierKey.parse(KEY)])
    assert signatures
    _, size, root = parse_checkpoint(text)
    _core.merkle_inclusion_check("sha256", index, size, tlog.leaf(entry), path, root)
    return int(size)


# -------------------------------------------------------------------------------------- what a real server answered


@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_a_new_entry_comes_back_with_its_proof(index: int) -> None:
    with replay(said(RECORDED["answers"][index])) as server:
        proof = submit(server, ENTRIES[index])
        assert check(proof, ENTRIES[index], index) == index + 1
        sent = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
        assert set(sent) == {"hashedRekordRequestV002"}
        assert set(sent["hashedRekordRequestV002"]) == {"digest", "signature"}


def test_an_entry_that_is_there_already_gets_its_proof_from_the_tiles() -> None:
    with replay(said(RECORDED["again"])) as server:
        assert check(submit(server, ENTRIES[2]), ENTRIES[2], 2) == 7


def test_a_frozen_log_says_where_to_go() -> None:
    with replay(said(RECORDED["frozen"])) as server, pytest.raises(SystemFailure, match="closed for new entries"):
        submit(server, ENTRIES[0])


@pytest.mark.parametrize("name", ["pure Ed25519", "a signature of something else"])
def test_what_the_log_refuses_is_an_error_with_its_reason(name: str) -> None:
    with replay(said(RECORDED["refused"][name])) as server:
        with pytest.raises(SystemFailure, match="invalid hashedrekord request"):
            submit(server, ENTRIES[0])
        assert len(server.requests) == 1


# ------------------------------------------------------------------------------------------- synthetic: busy, or lies


def test_a_busy_log_is_asked_again_and_a_little_later_each_time() -> None:
    pauses: list[float] = []
    good = said(RECORDED["answers"][0])
    with replay(answer(503, b""), answer(503, b"", "Retry-After: 7"), answer(429, b""), good) as server:
        proof = rekor.submit(
            ENTRIES[0], url=server.url, read_url=server.url, log_keys=[KEY], pause=pauses.append, timeout=1
        )
        assert check(proof, ENTRIES[0], 0) == 1
    assert 0.7 < pauses[0] < 1.3
    assert pauses[1] == 7
    assert 3 <= pauses[2] <= 5


def test_a_log_that_stays_busy_is_given_up() -> None:
    with replay(answer(503, b"", "Retry-After: 99999")) as server:
        with pytest.raises(SystemFailure, match="is busy"):
            submit(server, ENTRIES[0], attempts=3)
        assert len(server.requests) == 3


def changed(**changes: Any) -> bytes:
    """The real answer for entry 3 with some of its fields replaced."""
    document = json.loads(RECORDED["answers"][3]["body"])
    for name, value in changes.items():
        target = document["inclusionProof"] if name in document["inclusionProof"] else document
        target[name] = value
    return answer(201, json.dumps(document).encode())


PROOF = json.loads(RECORDED["answers"][3]["body"])["inclusionProof"]
OTHER_TREE = json.loads(RECORDED["answers"][4]["body"])["inclusionProof"]["checkpoint"]
FORGED = tlog.NoteKey("rekor.example/mallory").note(tlog.checkpoint_text("rekor.example", 4, bytes(32)))


def both_indexes(value: str) -> bytes:
    document = json.loads(RECORDED["answers"][3]["body"])
    document["logIndex"] = document["inclusionProof"]["logIndex"] = value
    return answer(201, json.dumps(document).encode())


LIES: dict[str, tuple[bytes, type[Exception]]] = {
    "a wrong index": (both_indexes("2"), VerificationError),
    "an index beyond the tree": (both_indexes("4"), VerificationError),
    "two indexes": (changed(logIndex="2"), SystemFailure),
    "a negative index": (both_indexes("-1"), SystemFailure),
    "another leaf": (changed(canonicalizedBody=base64.b64encode(ENTRIES[1]).decode()), VerificationError),
    "no leaf": (changed(canonicalizedBody=None), SystemFailure),
    "another tree size": (changed(checkpoint=OTHER_TREE), VerificationError),
    "a forged checkpoint": (changed(checkpoint={"envelope": FORGED.decode()}), VerificationError),
    "no checkpoint": (changed(checkpoint={}), SystemFailure),
    "a short path": (changed(hashes=PROOF["hashes"][:1]), VerificationError),
    "a long path": (changed(hashes=PROOF["hashes"] * 40), VerificationError),
    "a path of short hashes": (changed(hashes=["AAAA", "AAAA"]), VerificationError),
    "words": (answer(201, b"<html>logged</html>"), SystemFailure),
    "nested brackets": (answer(201, b"[" * 100000), SystemFailure),
    "a list": (answer(201, b"[]"), SystemFailure),
    "a redirect": (answer(302, b"", "Location: http://127.0.0.1:1/"), SystemFailure),
    "409 without an index": (answer(409, b"{}"), SystemFailure),
    "409 with words": (answer(409, b"{}", "X-Log-Index: many"), SystemFailure),
    "409 with another's index": (answer(409, b"{}", "X-Log-Index: 1"), VerificationError),
    "409 beyond the log": (answer(409, b"{}", "X-Log-Index: 99"), SystemFailure),
    "401": (answer(401, b""), SystemFailure),
    "500": (answer(500, b"{}"), SystemFailure),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_log_that_lies_gets_no_proof_stored(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.remote.proof.time.monotonic", Clock())
    reply, error = LIES[lie]
    with replay(reply) as server, pytest.raises(error):
        submit(server, ENTRIES[3])


class Clock:
    """Time flies whenever somebody looks, so that waiting ends."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


@pytest.mark.parametrize("behaviour", [hostile.endless, hostile.dripping_body, hostile.silent])
def test_a_log_that_does_not_end_is_left(behaviour: hostile.Behaviour) -> None:
    with hostile.hostile(behaviour) as server, pytest.raises(SystemFailure):
        rekor.submit(ENTRIES[0], url=server.url, read_url=server.url, log_keys=[KEY], timeout=0.4)


def test_a_checkpoint_that_the_policy_refuses_is_waited_out() -> None:
    """The server answers whether witnesses answered it or not; the policy decides what is enough."""
    asked: list[bytes] = []

    def accept(note: bytes) -> None:
        asked.append(note)
        if len(asked) < 3:
            raise VerificationError("no quorum of witnesses yet")

    with replay(said(RECORDED["answers"][0])) as server:
        assert check(submit(server, ENTRIES[0], accept=accept), ENTRIES[0], 0) == 7
    assert len(asked) == 3


def test_an_entry_of_another_kind_is_not_sent_at_all() -> None:
    for entry in (b"", b"[]", ENTRIES[0].replace(b"0.0.2", b"0.0.1"), ENTRIES[0].replace(b"hashedrekord", b"dsse")):
        with pytest.raises(UsageError):
            rekor.submit(entry, url="http://127.0.0.1:1", read_url="http://127.0.0.1:1", log_keys=[KEY])


@pytest.mark.parametrize("alg", ["ps256", "ps384", "PS512", "ed25519", "EdDSA", "es256k"])
def test_keys_that_rekor_does_not_take_are_refused_beforehand(alg: str) -> None:
    with pytest.raises(UsageError, match="Rekor v2 takes no signatures"):
        rekor.check_algorithm(alg)


@pytest.mark.parametrize("alg", ["es256", "ES384", "es512"])
def test_keys_that_rekor_takes_are_not_refused(alg: str) -> None:
    rekor.check_algorithm(alg)


# ------------------------------------------------------------------------------------- POST /add, as `atlas log serve`


@pytest.fixture
def add() -> Iterator[Callable[[bytes], bytes]]:
    def ask(reply: bytes) -> bytes:
        with replay(reply) as server:
            return append.submit(ENTRIES[1], url=server.url, token="secret", log_keys=[KEY], timeout=1)

    yield ask


def test_an_index_is_believed_once_the_tiles_prove_it(add: Callable[[bytes], bytes]) -> None:
    assert check(add(answer(200, b"1\n")), ENTRIES[1], 1) == 7
    with pytest.raises(VerificationError, match="another entry at 2"):
        add(answer(200, b"2\n"))


@pytest.mark.parametrize("reply", [answer(200, b"one"), answer(200, b"01"), answer(200, b"-1"), answer(500, b"1")])
def test_an_index_that_is_none_is_refused(add: Callable[[bytes], bytes], reply: bytes) -> None:
    with pytest.raises(SystemFailure):
        add(reply)


def test_a_token_that_is_not_accepted_says_so(add: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SystemFailure, match="token"):
        add(answer(401, b""))
