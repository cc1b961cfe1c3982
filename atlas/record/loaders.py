"""Which samples a DataLoader really handed out, in which order. No torch here: the hooks call in with plain values.

The order digest is SHA-256 over, for every batch, the number of its indices (uint64, little-endian) and the indices
(int64, little-endian). A batch of other indices than integers: 2^63 plus the length of its CBOR, then that CBOR.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import Any

from atlas import _core
from atlas.record.datasets import Identity
from atlas.record.plain import plain
from atlas.record.rollup import Member
from atlas.record.steps import Step

_OTHER = 1 << 63
MAX_SEEDS = 64


class LoaderUse:
    """One data set as one kind of loader went through it in one step, counted since the run began."""

    def __init__(self, number: int, step: Step, facts: dict[str, Any], *, ordered: str) -> None:
        self.number = number
        self.step = step
        self.facts = facts  # sampler, batch size and so on, as the hook found them
        self.identity = Identity("unknown", "opaque")
        self.order = ordered  # "exact", "unordered", "not applicable"
        self.epochs = 0
        self.batches = 0
        self.samples = 0
        self.seeds: list[int] = []
        self.trained = False  # an optimizer made a step between two of its batches
        self.with_gradients = False
        self.changed = False  # since the last flush
        self.reads: dict[str, Member] = {}  # files that were loaded for it, by absolute path
        self.conflicts: set[str] = set()
        self.strays: set[str] = set()  # files that were opened for it and that no hook measures
        self._hash = hashlib.sha256()
        self._steps_seen = -1

    def begin(self, seed: int | None) -> None:
        self.epochs += 1
        if seed is not None and len(self.seeds) < MAX_SEEDS:
            self.seeds.append(seed)
        self._steps_seen = -1
        self.changed = True

    def consumed(self, index: Any) -> None:
        """A batch was handed out; `index` is what the sampler gave for it."""
        if type(index) is not list:
            index = list(index) if isinstance(index, tuple) else [index]
        try:
            data = array("q", index).tobytes()
            head = len(index)
        except (TypeError, OverflowError):
            data, head = self._other(index)
        self._hash.update(head.to_bytes(8, "little") + data)
        self.batches += 1
        self.samples += len(index)
        self.changed = True

    def _other(self, index: list[Any]) -> tuple[bytes, int]:
        data = _core.cbor_encode(plain(index, str))
        return data, _OTHER + len(data)

    def counted(self, samples: int) -> None:
        """A batch of which only the size is known."""
        self.batches += 1
        self.samples += samples
        self.changed = True

    def observe(self, optimizer_steps: int, gradients: bool) -> None:
        """Called before each batch: what happened since the last one says what the data was used for."""
        if 0 <= self._steps_seen < optimizer_steps:
            self.trained = True
        self._steps_seen = optimizer_steps
        self.with_gradients = self.with_gradients or gradients

    def finished(self, optimizer_steps: int) -> None:
        """The loader ran out: the last batch may have trained too."""
        self.observe(optimizer_steps, False)

    @property
    def role(self) -> str:
        if self.trained:
            return "training data"
        return "data" if self.with_gradients else "evaluation data"

    def read(self, path: str, member: Member) -> None:
        known = self.reads.setdefault(path, member)
        if known != member:
            self.conflicts.add(path)

    def record(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "loader": self.number,
            "use": self.role,
            "dataset": self.identity.describe(self.reads, strays=bool(self.strays)),
            "epochs": self.epochs,
            "batches": self.batches,
            "samples": self.samples,
            "order": self.order,
        }
        if self.order == "exact":
            entry["order_digest"] = self._hash.digest()
        if self.seeds:
            entry["seeds"] = list(self.seeds)
        if self.step.path:
            entry["step"] = self.step.path
        return entry | self.facts


__all__ = ["LoaderUse", "Member"]
