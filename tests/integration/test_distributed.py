"""Measuring on all ranks of a torch.distributed job, in real processes over Gloo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atlas.measure import measure

ROOT = Path(__file__).parents[2]
CHUNK = 1 << 20

pytest.importorskip("torch")

RANK = """
import datetime, json, os, sys
import torch.distributed as dist
from atlas.distributed import measure
from atlas.errors import AtlasError

dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=20))
rank = dist.get_rank()
for paths, options in json.loads(sys.argv[1]):
    path = paths[rank % len(paths)]
    if path == "leave":
        os._exit(3)
    try:
        m = measure(path, timeout=datetime.timedelta(seconds=3), **options)
    except AtlasError as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)
    else:
        print(json.dumps([str(m.flat), str(m.tree), m.size, m.files, str(m.oms)]), flush=True)
dist.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def run(ranks: int, work: list[Any]) -> list[list[Any]]:
    """What each rank answered; one that left answers no more."""
    environ = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    command = [sys.executable, "-c", RANK, json.dumps(work)]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, env={**environ, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    answers = []
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode in (0, 3), err
        answers.append([json.loads(line) for line in out.splitlines()])
    return answers


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    for i in range(9):
        (root / f"file {i}").write_bytes(os.urandom(i * 100_000))
    (root / "link").symlink_to("file 3")
    return root


def expected(path: Path, **options: Any) -> list[Any]:
    m = measure(path, **options)
    return [str(m.flat), str(m.tree), m.size, m.files, str(m.oms)]


def test_every_rank_gets_the_measurement_and_every_rank_hears_of_a_failure(tmp_path: Path, data: Path) -> None:
    """One job of three ranks, because starting one is what takes time."""
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(os.urandom(5 * CHUNK + 7))
    other.write_bytes(file.read_bytes())
    work: list[Any] = [
        [[str(file)], {}],
        [[str(file)], {"flat": True, "alg": "sha384"}],
        [[str(data)], {}],
        [[str(data), "/nonexistent", str(data)], {}],  # rank 1 fails
        [[str(file), str(other), str(file)], {}],  # rank 1 has a copy: another file
        [[str(data)], {}],  # and the job goes on
        [[str(data), str(data), "leave"], {}],  # rank 2 is gone
    ]
    answers = run(3, work)
    whole = [expected(file, flat=False), expected(file, alg="sha384"), expected(data)]
    for rank, answer in enumerate(answers):
        assert answer[:3] == whole
        assert answer[3][0] == ("NotFound" if rank == 1 else "SystemFailure")
        assert "/nonexistent: cannot look at it: No such file or directory" in answer[3][1]
        assert rank == 1 or "rank 1: " in answer[3][1]
        assert answer[4][0] == "MalformedError"
        assert "different files" in answer[4][1]
        assert answer[5] == whole[2]
    assert len(answers[2]) == 6
    for answer in answers[:2]:
        assert answer[6][0] == "SystemFailure"
        assert "did not answer" in answer[6][1]


def test_two_ranks_give_the_same(data: Path) -> None:
    assert run(2, [[[str(data)], {}], [[str(data / "file 8")], {"flat": True}]]) == [
        [expected(data), expected(data / "file 8")]
    ] * 2


def test_a_job_of_one_rank_and_no_job_at_all(tmp_path: Path, data: Path) -> None:
    import torch.distributed as dist

    from atlas.distributed import measure as together

    assert together(data) == measure(data)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        assert together(data) == measure(data)
        assert together(data / "file 1", flat=True) == measure(data / "file 1")
    finally:
        dist.destroy_process_group()
