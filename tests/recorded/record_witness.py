"""Run a real litewitness, ask it everything that the tests ask ours, and write down what it answered.

    python -m tests.recorded.record_witness FOLDER VERSION > tests/recorded/litewitness.json

FOLDER holds `litewitness` and `witnessctl` (Debian: package torchwood). Needs ssh-agent, ssh-add and ssh-keygen.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.recorded.questions import LOG, questions

ADDRESS = "127.0.0.1:7391"


def told(*command: str | Path, **environment: str) -> str:
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return ran.stdout


@contextlib.contextmanager
def litewitness(binaries: Path, work: Path) -> Iterator[str]:
    """A fresh one that knows the log of the tests; its verifier key."""
    agent = work / "agent.sock"
    found = re.search(r"SSH_AGENT_PID=(\d+)", told("ssh-agent", "-a", agent))
    assert found
    try:
        told("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "key")
        told("ssh-add", "-q", work / "key", SSH_AUTH_SOCK=str(agent))
        fingerprint = told("ssh-keygen", "-lf", work / "key.pub").split()[1]
        database = work / "w.db"
        told(binaries / "witnessctl", "add-log", "-db", database, "-origin", LOG.name)
        told(binaries / "witnessctl", "add-key", "-db", database, "-origin", LOG.name, "-key", LOG.vkey)
        command = [binaries / "litewitness", "-db", database, "-name", "witness.example/lite", "-key", fingerprint]
        command += ["-listen", ADDRESS, "-ssh-agent", agent]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield _ready(process)
            finally:
                process.terminate()
    finally:
        os.kill(int(found[1]), signal.SIGTERM)


def _ready(process: subprocess.Popen[str]) -> str:
    key = ""
    assert process.stderr is not None
    for line in process.stderr:
        if "vkey=" in line:
            key = line.split("vkey=")[1].strip()
        if "listening" in line:
            break
    time.sleep(0.2)
    return key


def ask(body: bytes) -> dict[str, Any]:
    request = urllib.request.Request(f"http://{ADDRESS}/add-checkpoint", data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            status, headers, answer = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        status, headers, answer = error.code, error.headers, error.read()
    return {"status": status, "type": headers.get("Content-Type", ""), "body": answer.decode()}


def main() -> None:
    with tempfile.TemporaryDirectory() as work, litewitness(Path(sys.argv[1]), Path(work)) as key:
        answers = {name: ask(body) for name, body in questions().items()}
    document = {"server": f"litewitness, torchwood {sys.argv[2]}", "vkey": key, "answers": answers}
    print(json.dumps(document, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
