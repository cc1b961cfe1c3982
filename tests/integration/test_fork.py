"""libcrypto has locks that a forked child inherits in whatever state they are: no fork may happen while one is held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from atlas.sign import keygen

# Every trial is a process that has not used libcrypto yet: its tables are built, under its locks, while it forks.
PROGRAM = """
import os, signal, sys, threading
from atlas import _core

pem = open(sys.argv[1], "rb").read()

def work():
    key = _core.Key(pem)
    _core.signature_verify("ES256", key.spki, b"x", key.sign(b"x", "ES256"))
    _core.measure_file(sys.argv[1])

def forked(body):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        body()
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def trial():
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    if any(forked(work) for _ in range(3)):
        os._exit(1)
    for thread in threads:
        thread.join()

hung = sum(forked(trial) != 0 for _ in range(60))
sys.exit(f"{hung} of 60 hung" if hung else 0)
"""


def test_a_child_forked_in_the_middle_of_cryptography_does_not_hang(tmp_path: Path) -> None:
    keys = keygen("Alice", tmp_path / "keys")
    subprocess.run([sys.executable, "-c", PROGRAM, str(keys.key)], check=True, timeout=100)
