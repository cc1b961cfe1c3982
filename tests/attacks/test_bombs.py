"""Rows M1 to M8: small inputs that make a careless reader spend time or memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arena import INVALID, LIMIT, MALFORMED, policy
from forge import cbor, chain, jumbf, world
from forge.chain import sidecar_of
from forge.jumbf import Box, Super
from forge.manifest import Assertion

from atlas.errors import LimitError
from atlas.verify import verify


def sidecar_around(claim_bytes: bytes) -> bytes:
    """A store whose claim is these bytes, the rest as it should be."""
    made = chain.reopened(chain.make("model.pt", b"weights", world.LAB))
    made.store.active.replace_claim = lambda _: claim_bytes
    made.store.active.touch()
    return made.sidecar


def nested_boxes(depth: int) -> bytes:
    box = b""
    for _ in range(depth):
        description = jumbf.uuid(b"c2pa") + b"\x03c2pa\0"
        body = struct.pack(">I4s", len(description) + 8, b"jumd") + description + box
        box = struct.pack(">I4s", len(body) + 8, b"jumb") + body
    return box


def many_assertions(count: int) -> bytes:
    made = chain.reopened(chain.make("model.pt", b"weights", world.LAB))
    for n in range(count):
        made.store.active.assertions.append(Assertion(f"com.example.a{n}", 0))
    made.store.active.touch()
    return made.sidecar


def many_manifests(count: int) -> bytes:
    made = chain.make("model.pt", b"weights", world.LAB)
    tree = jumbf.parse(made.sidecar)
    tree.children = [Super(jumbf.MANIFEST, f"urn:c2pa:{n}") for n in range(count)] + tree.children
    return bytes(tree)


def box_length(length: bytes) -> bytes:
    data = chain.make("model.pt", b"weights", world.LAB).sidecar
    return length + data[len(length) :]


BOMBS: dict[str, Callable[[], bytes]] = {
    "M1 an array of 2^28 in five bytes": lambda: sidecar_around(bytes.fromhex("9a10000000")),
    "M2 headers that each declare the rest": lambda: sidecar_around(
        b"".join(cbor.head(4, 65000 - n * 3, width=2) for n in range(20000))
    ),
    "M3 a depth of 100,000": lambda: sidecar_around(b"\x81" * 100_000 + b"\x00"),
    "M4 a million empty maps": lambda: sidecar_around(cbor.head(4, 1_000_000) + b"\xa0" * 1_000_000),
    "M5 a text of 2^63 bytes": lambda: sidecar_around(cbor.head(3, 2**63)),
    "M5 a map of 2^64 - 1": lambda: sidecar_around(cbor.head(5, 2**64 - 1)),
    "M5 a map of 200,000 keys": lambda: sidecar_around(cbor.dumps({n: n for n in range(200_000)})),
    "M5 a map of 100,000 equal keys": lambda: sidecar_around(cbor.dumps(cbor.Pairs([("a", 1)] * 100_000))),
    **{
        f"M6 a box of length {length.hex()}": lambda length=length: box_length(length)
        for length in (
            struct.pack(">I4s", 0, b"jumb"),
            struct.pack(">I4s", 7, b"jumb"),
            struct.pack(">I4s", 2**32 - 1, b"jumb"),
            struct.pack(">I4sQ", 1, b"jumb", 2**64 - 1),
            struct.pack(">I4sQ", 1, b"jumb", 15),
        )
    },
    "M6 a box beyond its parent": lambda: box_length(struct.pack(">I4sI", 60, b"jumb", 100)),
    "M6 boxes nested 3,000 deep": lambda: nested_boxes(3000),
    "M7 a compressed manifest": lambda: bytes(
        Super(jumbf.STORE, "c2pa", [Super(b"c2cm", "urn:c2pa:x", [Box(b"brob", b"\x1b\xff\xff\xff" * 256)])])
    ),
    "M8 100,000 assertions": lambda: many_assertions(100_000),
    "M8 100,000 manifests": lambda: many_manifests(100_000),
}

RUN_BOMB = """
import json, resource, sys, time
from pathlib import Path
from atlas.policy import Policy
from atlas.errors import LimitError
from atlas.verify import verify
rules = Policy(roots=Path("root.pem").read_bytes())
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verify("model.pt", policy=rules, manifest=b"warm up", store="store")
for name in json.loads(Path("names.json").read_text()):
    data, start = Path(name).read_bytes(), time.perf_counter()
    before = peak()
    verdict = verify("model.pt", policy=rules, manifest=data, store="store")
    print(json.dumps([verdict.answer, time.perf_counter() - start, (peak() - before) / 1024, len(data) / 2**20]))
"""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Every bomb in one process of its own, so that memory can be measured: answer, seconds, MiB more, size in MiB."""
    here = tmp_path_factory.mktemp("bombs")
    (here / "root.pem").write_text(world.ROOT.pem)
    (here / "model.pt").write_bytes(b"weights")
    files = {f"bomb{n}": make() for n, make in enumerate(BOMBS.values())}
    for name, data in files.items():
        (here / name).write_bytes(data)
    (here / "names.json").write_text(json.dumps(list(files)))
    command = [sys.executable, "-c", RUN_BOMB]
    run = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=120, env=environment())
    assert run.returncode == 0, run.stderr
    return dict(zip(BOMBS, map(json.loads, run.stdout.splitlines()), strict=True))


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": root, "HOME": "/nonexistent"}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_quickly_and_in_little_memory(name: str, bombs: dict[str, list[Any]]) -> None:
    answer, seconds, grown, size = bombs[name]
    assert answer in (MALFORMED, LIMIT, INVALID), answer
    assert answer != INVALID or name.startswith("M8"), "a bomb is not proof of tampering"
    assert seconds < 1, f"{seconds:.2f} s"
    assert grown < 64 + 4 * size, f"{grown:.0f} MiB for {size:.1f} MiB"


def test_a_sidecar_beyond_the_limit_is_not_read_into_memory(tmp_path: Path) -> None:
    path = chain.make("model.pt", b"weights", world.LAB).write(tmp_path)
    with sidecar_of(path).open("r+b") as file:
        file.truncate(65 << 20)
    try:
        answer = verify(path, policy=policy(), store=tmp_path / ".store").answer
    except LimitError:
        answer = LIMIT
    assert answer == LIMIT
