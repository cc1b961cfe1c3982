"""Measure on all ranks of a torch.distributed job: each a share, every rank gets the whole measurement.

    from atlas.distributed import measure
    measured = measure("/shared/data")          # on every rank, like any collective

The answer is the same for any number of ranks. Records travel as tensors of bytes over a Gloo group of its own, never
as pickles, so the job's own group and its devices are left alone. When one rank fails, all of them raise; one that is
gone makes the others raise after `timeout`.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from atlas.errors import AtlasError, SystemFailure
from atlas.measure import measure as measure_alone
from atlas.model import DEFAULT_IGNORE, DIGEST_SIZES, Digest, Measurement
from atlas.parts import measure_part, measurement_of, merge_parts

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

TIMEOUT = datetime.timedelta(minutes=30)
_FAILED, _RECORD, _WITH_FLAT = 0, 1, 2


def measure(
    path: str | os.PathLike[str],
    *,
    alg: str = "sha256",
    flat: bool = False,
    ignore: Iterable[str] = DEFAULT_IGNORE,
    threads: int = 0,
    timeout: datetime.timedelta = TIMEOUT,
) -> Measurement:
    """The measurement of a file or directory that all ranks see. To be called by every rank of the job.

    A file's flat digest, which signing needs, cannot be shared out: with `flat` rank 0 takes one pass for it. `threads`
    is for each rank; 0 is one per CPU.
    """
    ignored = tuple(ignore)
    if not dist.is_available() or not dist.is_initialized():
        return measure_alone(path, alg=alg, flat=flat, ignore=ignored, threads=threads)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    failure: Exception | None = None
    kind, payload = _FAILED, b""
    try:
        record = measure_part(path, share=(rank, ranks), alg=alg, ignore=ignored, threads=threads)
        kind, payload = _RECORD, record
        if flat and rank == 0 and record.split(b"\n", 2)[1].startswith(b"file "):
            kind, payload = _WITH_FLAT, _flat_pass(path, record, alg, threads)
    except Exception as error:
        failure = error
        payload = str(error).encode("utf-8", "backslashreplace")
    answers = _gather(kind, payload, timeout)
    if failure is not None:
        raise failure
    for number, (answered, text) in enumerate(answers):
        if answered == _FAILED:
            raise SystemFailure(f"rank {number}: {text.decode('utf-8', 'replace')}", where=str(path))
    return _together(answers, ignored)


def _flat_pass(path: str | os.PathLike[str], record: bytes, alg: str, threads: int) -> bytes:
    """The flat digest, then a record that was joined with an empty part taken after it: of the same version, or never
    put together."""
    digest = measure_alone(path, alg=alg, tree=False, threads=threads).flat
    assert digest is not None
    return digest.value + merge_parts([record, measure_part(path, first=0, end=0, alg=alg)])


def _together(answers: Sequence[tuple[int, bytes]], ignore: tuple[str, ...]) -> Measurement:
    if answers[0][0] != _WITH_FLAT:
        return measurement_of(merge_parts(payload for _, payload in answers), ignore=ignore)
    for alg, size in DIGEST_SIZES.items():
        first = answers[0][1][size:]
        if first.startswith(b"atlas-part 1 " + alg.encode() + b"\n"):
            whole = measurement_of(merge_parts([first, *(payload for _, payload in answers[1:])]))
            return _with_flat(whole, Digest(alg, answers[0][1][:size]))
    raise SystemFailure("rank 0 sent no record")


def _with_flat(tree: Measurement, flat: Digest) -> Measurement:
    import hashlib

    oms = Digest("sha256", hashlib.sha256(flat.value).digest()) if flat.alg == "sha256" else None
    return Measurement(tree.kind, flat, tree.tree, tree.size, tree.files, oms)


# ------------------------------------------------------------------------------------------------------ collectives


def _gather(kind: int, payload: bytes, timeout: datetime.timedelta) -> list[tuple[int, bytes]]:
    """What every rank gave, in order of rank."""
    try:
        group = dist.new_group(backend="gloo", timeout=timeout)
        try:
            return _all_gather(kind, payload, group)
        finally:
            dist.destroy_process_group(group)
    except AtlasError:
        raise
    except (RuntimeError, ValueError) as error:  # torch has no class of its own for a rank that does not answer
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SystemFailure(f"a rank did not answer: {line}", hint="look at the other ranks: one has failed") from error


def _all_gather(kind: int, payload: bytes, group: Any) -> list[tuple[int, bytes]]:
    ranks = dist.get_world_size(group)
    head = torch.tensor([kind, len(payload)], dtype=torch.int64)
    heads = [torch.empty_like(head) for _ in range(ranks)]
    dist.all_gather(heads, head, group=group)
    sizes = [int(h[1]) for h in heads]
    mine = torch.zeros(max(*sizes, 1), dtype=torch.uint8)
    if payload:
        mine[: len(payload)] = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    bodies = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(bodies, mine, group=group)
    return [(int(h[0]), _bytes_of(body[:size])) for h, size, body in zip(heads, sizes, bodies, strict=True)]


def _bytes_of(tensor: torch.Tensor) -> bytes:
    """Without numpy, which torch does without too."""
    data = bytearray(tensor.numel())
    if data:
        torch.frombuffer(data, dtype=torch.uint8).copy_(tensor)
    return bytes(data)
