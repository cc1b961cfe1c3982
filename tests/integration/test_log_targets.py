"""Logs on other machines, and witnesses: what a run hands in comes back as a proof that was verified, or stays pending.

The Rekor of this file is synthetic; what a real one said is in test_log_remote_rekor.py.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forge import chain, logged, tlog, world

from atlas.errors import UsageError
from atlas.log import TileLog
from atlas.log_queue import Flushed, LogQueue
from atlas.log_target import LogTarget
from atlas.remote.log_app import LogApp
from atlas.remote.server import App, Server
from atlas.remote.witness_app import WitnessApp
from atlas.store import Store
from atlas.verify import verify
from tests import hostile
from tests.hostile import answer

ORIGIN = "log.example/team"
REKOR = tlog.NoteKey("rekor.example")
STRANGER = tlog.NoteKey("stranger.example")
WITNESS = tlog.NoteKey("witness.example/w1", tlog.COSIGNATURE)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ATLAS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Store()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return chain.make("model.pt", b"weights", world.CA.leaf("Alice")).write(tmp_path)


def policy_file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "log.policy"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def log_it(model: Path, target: LogTarget, store: Store) -> Flushed:
    manifest = model.with_name("model.pt.c2pa").read_bytes()
    queue = LogQueue(store)
    return queue.flush([queue.add(manifest, store.put(manifest), target, model)])


def index_of(model: Path, policy: Path, store: Store) -> tuple[int, int] | None:
    verdict = verify(model, trust=world.ROOT.pem.encode(), store=store, log_policy=policy)
    assert verdict, verdict.explain()
    found = verdict.nodes[0].logged
    return (found.index, found.witnesses) if found is not None else None


# ------------------------------------------------------------------------------------------------------------ Rekor v2


def rekor(*, lies: Callable[[tlog.ForgedLog, int], bytes] | None = None, status: int = 201) -> hostile.Behaviour:
    """A log that makes entries of requests as Rekor v2 does."""
    log = tlog.ForgedLog(REKOR, [b"somebody else's"])

    def serve(connection: socket.socket, request: bytes) -> None:
        if status != 201:
            connection.sendall(answer(status, b"{}"))
            return
        record = json.loads(request.partition(b"\r\n\r\n")[2])["hashedRekordRequestV002"]
        data = {"algorithm": "SHA2_256", "digest": record["digest"]}
        spec = {"hashedRekordV002": {"data": data, "signature": record["signature"]}}
        document = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}
        log.entries.append(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
        index = len(log.entries) - 1
        connection.sendall(answer(201, lies(log, index) if lies else logged.sigstore(log, index)))

    return serve


def test_a_signature_is_logged_in_rekor(tmp_path: Path, model: Path, store: Store) -> None:
    policy = policy_file(tmp_path, f"log {REKOR.vkey}", "quorum none")
    with hostile.hostile(rekor()) as server:
        done = log_it(model, LogTarget(server.url, policy=policy), store)
    assert len(done.logged) == 1 and index_of(model, policy, store) == (1, 0)
    assert LogQueue(store).pending() == []


@pytest.mark.parametrize(
    ("lies", "says"),
    [
        (lambda log, index: logged.sigstore(log, 0), "another entry"),
        (lambda log, index: logged.sigstore(tlog.ForgedLog(STRANGER, log.entries), index), "not signed by a log"),
        (lambda log, index: logged.sigstore(log, index, hashes=[]), "does not hold"),
        (lambda log, index: b"{}", "no transparency log entry"),
    ],
    ids=["another entry", "another log", "no path", "nothing"],
)  # fmt: skip
def test_a_lie_of_rekor_is_not_stored_and_the_signature_stays_pending(
    tmp_path: Path, model: Path, store: Store, lies: Callable[[tlog.ForgedLog, int], bytes], says: str
) -> None:
    policy = policy_file(tmp_path, f"log {REKOR.vkey}", "quorum none")
    with hostile.hostile(rekor(lies=lies)) as server:
        done = log_it(model, LogTarget(server.url, policy=policy), store)
    assert done.logged == () and says in done.failed[0].error
    (pending,) = LogQueue(store).pending()
    assert pending == done.failed[0] and not model.with_name("model.pt.tlog-proof").exists()
    assert index_of(model, policy, store) is None


def test_a_log_that_is_not_there_leaves_the_signature_pending_until_it_is(
    tmp_path: Path, model: Path, store: Store
) -> None:
    policy = policy_file(tmp_path, f"log {REKOR.vkey}", "quorum none")
    with hostile.hostile(rekor(status=405)) as server:
        done = log_it(model, LogTarget(server.url, policy=policy), store)
        assert "closed for new entries" in done.failed[0].error or "405" in done.failed[0].error
    queue = LogQueue(store)
    (pending,) = queue.pending()
    with hostile.hostile(rekor()) as server:
        again = queue.add(
            model.with_name("model.pt.c2pa").read_bytes(), pending.manifest, LogTarget(server.url, policy=policy), model
        )
        assert {p.target for p in queue.pending()} == {pending.target, again.target}, "two logs, one signature"
        assert len(queue.flush([again]).logged) == 1
    assert queue.pending() == [pending]
    assert index_of(model, policy, store) == (1, 0)


def test_a_remote_log_needs_a_key_that_did_not_come_from_it(model: Path, store: Store) -> None:
    with pytest.raises(UsageError, match="no key of this log is known"):
        LogTarget("https://rekor.example").check("ES256", store)


# ------------------------------------------------------------------------------------------ a served log, and witnesses


@pytest.fixture
def serving() -> Iterator[Callable[[App], str]]:
    running = []

    def start(app: App) -> str:
        server = Server(app, host="127.0.0.1", port=0)
        running.append((server, server.start()))
        return server.url

    yield start
    for server, thread in running:
        server.stop()
        thread.join()


def test_a_signature_goes_to_a_log_that_another_machine_serves(
    tmp_path: Path, model: Path, store: Store, serving: Callable[[App], str]
) -> None:
    log = TileLog.init(tmp_path / "log", origin=ORIGIN, store=tmp_path / "operator")
    url = serving(LogApp(tmp_path / "log", add=log.add, token="a secret of sixteen bytes"))
    (tmp_path / "token").write_text("a secret of sixteen bytes\n")
    policy = policy_file(tmp_path, f"log {log.vkey} {url}", "quorum none")
    done = log_it(model, LogTarget(url, policy=policy, token_file=tmp_path / "token"), store)
    assert len(done.logged) == 1, done.failed
    assert index_of(model, policy, store) == (0, 0)
    (tmp_path / "token").write_text("another secret of many bytes\n")
    refused = log_it(model, LogTarget(url, policy=policy, token_file=tmp_path / "token"), store)
    assert "token is not accepted" in refused.failed[0].error


@pytest.mark.parametrize("text", ["hunter2-secret\nof two lines\n", "hunter2-secret of \u20ac\n", "\n"], ids=ascii)
def test_a_token_that_cannot_be_sent_is_refused_at_the_start_and_never_told(
    tmp_path: Path, model: Path, store: Store, text: str
) -> None:
    (tmp_path / "token").write_text(text)
    policy = policy_file(tmp_path, f"log {REKOR.vkey}", "quorum none")
    target = LogTarget("http://127.0.0.1:9/", policy=policy, token_file=tmp_path / "token")
    with pytest.raises(UsageError, match="not a token"):
        target.check("ES256", store)
    (failed,) = log_it(model, target, store).failed
    assert "not a token" in failed.error and "hunter2" not in failed.error


def test_witnesses_of_the_policy_are_asked_when_something_is_logged(
    tmp_path: Path, model: Path, store: Store, serving: Callable[[App], str]
) -> None:
    log = TileLog.init(tmp_path / "log", origin=ORIGIN)
    signer = tlog.NoteKey(WITNESS.name)
    app = WitnessApp(tmp_path / "witness", key=signer.skey, logs=[log.vkey])
    url = serving(app)
    policy = policy_file(tmp_path, f"log {log.vkey}", f"witness w {WITNESS.vkey} {url}", "quorum w")
    done = log_it(model, LogTarget(str(tmp_path / "log"), policy=policy), store)
    app.close()
    assert len(done.logged) == 1, done.failed
    assert index_of(model, policy, store) == (0, 1)
    assert WITNESS.name.encode() in (tmp_path / "log" / "checkpoint").read_bytes(), "published with its cosignature"


def test_without_its_witnesses_a_signature_stays_pending_and_is_entered_once(
    tmp_path: Path, model: Path, store: Store, serving: Callable[[App], str]
) -> None:
    log = TileLog.init(tmp_path / "log", origin=ORIGIN)
    nobody = policy_file(tmp_path, f"log {log.vkey}", f"witness w {WITNESS.vkey} http://127.0.0.1:9", "quorum w")
    target = LogTarget(str(tmp_path / "log"), policy=nobody)
    done = log_it(model, target, store)
    assert "the quorum is not reached" in done.failed[0].error
    assert index_of(model, nobody, store) is None and log.refresh().size == 1
    signer = tlog.NoteKey(WITNESS.name)
    app = WitnessApp(tmp_path / "witness", key=signer.skey, logs=[log.vkey])
    policy_file(tmp_path, f"log {log.vkey}", f"witness w {WITNESS.vkey} {serving(app)}", "quorum w")
    assert len(LogQueue(store).flush().logged) == 1
    app.close()
    assert log.refresh().size == 1 and index_of(model, nobody, store) == (0, 1)
