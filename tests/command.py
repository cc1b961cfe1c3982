"""Running the real command, with and without a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ATLAS = [sys.executable, "-m", "atlas"]
Command = Callable[..., subprocess.CompletedProcess[str]]


def on_a_terminal(
    words: list[str],
    work: Path,
    environment: dict[str, str],
    *,
    keys: str = "",
    delay: float = 0,
    seconds: float = 60,
) -> tuple[int, str]:
    """Run with stdin, stdout and stderr on a pseudo terminal; gives the exit code and everything shown.

    `keys` are typed `delay` seconds later: a password prompt throws away what was typed before it.
    """
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(work)
        os.execvpe(words[0], words, environment)
    time.sleep(delay)
    os.write(fd, keys.encode())
    shown = bytearray()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            data = os.read(fd, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not data:
            break
        shown += data
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), shown.decode()
