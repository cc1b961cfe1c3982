"""Proofs that signatures were logged, verified offline on one core, with the checkpoint's signature verified once.

    python benchmarks/bench_proof.py [--quick] [--size 1048576] [--json FILE]

One log, one checkpoint, 20,000 proofs of different entries in a tree of a million (20 hashes each). "Of an entry" is
the proof alone: parsing, the path to the root, the checkpoint from memory. "Of a manifest" is all of it: parsing the
manifest, verifying its own signature, making its entry, and the proof. The first proof, which verifies the checkpoint's
signature too, is timed apart. A target that is missed ends with exit code 1.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from atlas import _core
from atlas.claim import sign_manifest
from atlas.measure import measure
from atlas.remote.note import SigningKey
from atlas.remote.proof import encode_proof
from atlas.sign import keygen, load_signer

TARGET = 20_000.0  # proofs of an entry per second
Call = Callable[[bytes, bytes], object]


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def levels_of(leaves: list[bytes]) -> list[list[bytes]]:
    """All levels of a tree whose size is a power of two."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def path_of(levels: list[list[bytes]], index: int) -> list[bytes]:
    return [level[(index >> height) ^ 1] for height, level in enumerate(levels[:-1])]


def signed_note(key: SigningKey, size: int, root: bytes) -> bytes:
    text = f"{key.name}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
    signature = key._key.sign(text, "EdDSA")
    blob = base64.b64encode(key.verifier().id + signature).decode()
    return text + f"\n— {key.name} {blob}\n".encode()


def manifest_in(folder: Path) -> bytes:
    """A small manifest, signed with ES256."""
    keys = keygen("Alice", folder / "keys")
    path = folder / "model.bin"
    path.write_bytes(b"model")
    measurement = measure(path)
    return sign_manifest(measurement=measurement, name="model.bin", signer=load_signer(keys.key)).store


def rate(call: Call, proofs: list[tuple[bytes, bytes]]) -> float:
    """Per second of processor time, which is one core's."""
    start = time.process_time()
    for subject, proof in proofs:
        call(subject, proof)
    return len(proofs) / (time.process_time() - start)


def first(policy: bytes, proof: tuple[bytes, bytes]) -> float:
    """Seconds of a proof whose checkpoint was not seen before."""
    checker = _core.LogPolicy(policy)
    start = time.perf_counter()
    checker.entry(*proof)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of it, without targets")
    parser.add_argument("--size", type=int, default=1 << 20, help="entries of the log, a power of two")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    size = min(args.size, 1 << 16) if args.quick else args.size
    count = 2_000 if args.quick else 20_000
    with tempfile.TemporaryDirectory(prefix="atlas-bench-proof-") as name:
        manifest = manifest_in(Path(name))
    key, _ = SigningKey.generate("log.example/bench")
    policy = f"log {key.verifier().text}\nquorum none\n".encode()
    entries = [_core.log_entry(manifest), *(b"entry %d " % i + bytes(480) for i in range(1, size))]
    levels = levels_of([hashlib.sha256(b"\0" + entry).digest() for entry in entries])
    note = signed_note(key, size, levels[-1][0])
    chosen = [i * (size // count) for i in range(count)] if size >= count else list(range(size))
    proofs = [(entries[i], encode_proof(i, path_of(levels, i), note)) for i in chosen]
    checker = _core.LogPolicy(policy)
    for subject, proof in proofs:  # warm, and every answer looked at
        assert checker.entry(subject, proof)[3] == levels[-1][0]
    whole = [(manifest, proofs[0][1])] * (count // 10)
    found = {
        "entries": float(size),
        "of an entry, per second": max(rate(checker.entry, proofs) for _ in range(args.rounds)),
        "of a manifest, per second": max(rate(checker.manifest, whole) for _ in range(args.rounds)),
        "first of a checkpoint, seconds": min(first(policy, proofs[1]) for _ in range(20)),
    }
    for what, value in found.items():
        print(f"{what:32} {value:12,.6g}")
    met = args.quick or found["of an entry, per second"] >= TARGET
    print("" if args.quick else f"target {TARGET:,.0f}/s: {'met' if met else 'MISSED'}")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
