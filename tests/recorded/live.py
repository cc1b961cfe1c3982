"""A real Rekor v2 server whose checkpoints our witness cosigns and whose files we serve, watched and copied by us.

    python -m tests.recorded.live SERVER

SERVER is `rekor-server-posix` (sigstore/rekor-tiles). Run by hand; what it showed stands in docs/log-remote.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atlas.log_queue import LogQueue
from atlas.log_target import LogTarget
from atlas.remote import policy, rekor
from atlas.remote.monitor import watch
from atlas.remote.source import Http
from atlas.remote.state import State
from atlas.remote.sync import sync
from atlas.store import Store
from atlas.verify import verify
from tests.forge import chain, hashedrekord, world
from tests.recorded.record_rekor import LOG, URL
from tests.recorded.record_rekor import rekor as real_rekor


@contextmanager
def atlas_log(*arguments: str | Path, lines: int = 1) -> Iterator[list[str]]:
    command = [sys.executable, "-m", "atlas", "log", *map(str, arguments), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [process.stdout.readline().split()[-1] for _ in range(lines)]
        finally:
            process.terminate()


def logged_and_verified(work: Path, read_url: str) -> str:
    """A manifest goes the whole way: the queue, the server, the proof, and the verifier in C that demands it."""
    model = chain.make("model.pt", b"weights", world.CA.leaf("Alice")).write(work)
    manifest = model.with_name("model.pt.c2pa").read_bytes()
    store = Store(work / "store")
    queue = LogQueue(store)
    target = LogTarget(URL, policy=work / "policy", read_url=read_url)
    done = queue.flush([queue.add(manifest, store.put(manifest), target, model)])
    assert not done.failed, done.failed[0].error
    verdict = verify(
        model, trust=world.ROOT.pem.encode(), store=store, log_policy=work / "policy", require_log=True
    )
    assert verdict, verdict.explain()
    return verdict.explain()


def main() -> None:
    entries = [hashedrekord.entry(b"live %d" % i, hashedrekord.key("alice")) for i in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "log").mkdir()
        new_key = ("--key", work / "witness.key", "--new", "witness.example/ours")
        with atlas_log("witness", work / "seen", *new_key, "--log", LOG.vkey, lines=2) as (witness, vkey):
            (work / "policy").write_text(f"log {LOG.vkey}\nwitness ours {vkey} {witness}\nquorum ours\n")
            trusted = policy.load_log_policy(work / "policy")
            with (
                real_rekor(sys.argv[1], work, "--witness-policy-path", str(work / "policy")),
                atlas_log("serve", work / "log") as (read_url,),
                State(work / "state") as state,
            ):
                keys, check = trusted.log_keys, trusted.check
                for entry in [*entries, entries[1]]:  # the last one is there already
                    proof = rekor.submit(entry, url=URL, read_url=read_url, log_keys=keys, accept=check)
                    assert b"witness.example/ours" in proof
                    print(proof.split(b"\n")[1].decode(), "proven and cosigned")
                print(watch(Http(read_url), state, log_keys=keys, accept=check))
                print(sync(Http(read_url), work / "copy", log_keys=keys, accept=check))
                print(logged_and_verified(work, read_url))


if __name__ == "__main__":
    main()
