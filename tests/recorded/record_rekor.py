"""Run a real Rekor v2 server, submit entries to it, and write down what it answered and what files it then had.

    python -m tests.recorded.record_rekor SERVER VERSION > tests/recorded/rekor.json

SERVER is `rekor-server-posix` (sigstore/rekor-tiles, cmd/rekor-server/posix).
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.forge import hashedrekord, tlog

ORIGIN = "rekor.example"
LOG = tlog.NoteKey(ORIGIN)
URL = "http://127.0.0.1:3300"


@contextlib.contextmanager
def rekor(server: str, work: Path, *options: str) -> Iterator[None]:
    (work / "key.pem").write_bytes(
        Ed25519PrivateKey.from_private_bytes(LOG.seed).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    command = [server, "serve", "--hostname", ORIGIN, "--storage-dir", work / "log", "--signer-filepath"]
    command += [work / "key.pem", "--http-port", "3300", "--grpc-port", "3301", "--http-metrics-port", "3302"]
    command += ["--checkpoint-interval", "1s", "--persistent-antispam", *options]
    with (work / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(100):
                time.sleep(0.1)
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{URL}/healthz", timeout=1):
                    break
            yield
        finally:
            process.terminate()


def request_of(entry: bytes) -> bytes:
    record = json.loads(entry)["spec"]["hashedRekordV002"]
    body = {"hashedRekordRequestV002": {"digest": record["data"]["digest"], "signature": record["signature"]}}
    return json.dumps(body).encode()


def ask(body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{URL}/api/v2/log/entries", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, received, answer = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        status, received, answer = error.code, error.headers, error.read()
    kept = {name: value for name, value in received.items() if name.lower() in ("content-type", "x-log-index")}
    return {"status": status, "headers": kept, "body": answer.decode()}


def main() -> None:
    entries = [hashedrekord.entry(b"message %d" % i, hashedrekord.key("alice")) for i in range(5)]
    entries.append(hashedrekord.entry(b"of a larger curve", hashedrekord.key("bob", "SHA2_384"), "SHA2_384"))
    answers = []
    pure = json.loads(entries[0])
    pure["spec"]["hashedRekordV002"]["signature"]["verifier"]["keyDetails"] = "PKIX_ED25519"
    other = json.loads(entries[0])
    other["spec"]["hashedRekordV002"]["data"]["digest"] = hashedrekord.b64(bytes(32))
    refused = {"pure Ed25519": pure, "a signature of something else": other}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with rekor(sys.argv[1], work):
            answers = [ask(request_of(entry)) for entry in entries]
            time.sleep(2)
            again = ask(request_of(entries[2]))
            no = {name: ask(request_of(json.dumps(document).encode())) for name, document in refused.items()}
        files = {
            str(path.relative_to(work / "log")): base64.b64encode(path.read_bytes()).decode()
            for path in sorted((work / "log").rglob("*"))
            if path.is_file() and path.relative_to(work / "log").parts[0] in ("checkpoint", "tile")
        }
        with rekor(sys.argv[1], work, "--read-only"):
            frozen = ask(request_of(hashedrekord.entry(b"too late", hashedrekord.key("alice"))))
    document = {
        "server": f"rekor-server-posix, rekor-tiles {sys.argv[2]}",
        "vkey": LOG.vkey,
        "entries": [entry.decode() for entry in entries],
        "answers": answers,
        "again": again,
        "refused": no,
        "frozen": frozen,
        "files": files,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
