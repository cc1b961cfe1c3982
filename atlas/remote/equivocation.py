"""Proof that a log has two histories: two checkpoints under its own signature that no honest log can have signed.

Of one size with different roots they speak for themselves. Of different sizes the report adds the root that the larger
tree has at the smaller size, with a consistency proof for it: so the larger tree does not begin with the smaller one.
Whoever has the log's key can check that, and needs to believe nobody.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from atlas.errors import MalformedError, VerificationError
from atlas.remote.checkpoint import Checkpoint, open_checkpoint
from atlas.remote.tree import Tree, check_consistency

FORMAT = "atlas-equivocation/1"
MAX_REPORT_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two checkpoints of one log, the smaller first, that contradict each other."""

    first: Checkpoint
    second: Checkpoint
    prefix_root: bytes = b""  # of the second's first `first.size` entries; empty when the sizes are equal
    proof: tuple[bytes, ...] = ()

    def explain(self) -> str:
        lines = [f"{self.first.origin} has signed two histories"]
        lines += [f"  size {c.size}, root {c.root.hex()}" for c in (self.first, self.second)]
        if self.prefix_root:
            lines.append(f"  the second tree has at size {self.first.size} the root {self.prefix_root.hex()}")
        return "\n".join(lines)

    def encode(self) -> bytes:
        document: dict[str, Any] = {
            "format": FORMAT,
            "log": self.first.key,
            "first": self.first.note.decode(),
            "second": self.second.note.decode(),
            "prefix_root": base64.b64encode(self.prefix_root).decode(),
            "proof": [base64.b64encode(digest).decode() for digest in self.proof],
            "check": f"atlas log equivocation FILE --log {self.first.key}",
        }
        return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def compare(one: Checkpoint, other: Checkpoint, tree: Tree | None = None) -> Equivocation | None:
    """Whether two checkpoints of a log contradict each other. tree: that of the larger one, where sizes differ."""
    first, second = sorted((one, other), key=lambda checkpoint: checkpoint.size)
    if first.size == second.size:
        return Equivocation(first, second) if first.root != second.root else None
    if tree is None or first.size == 0:
        return None
    root = tree.root_at(first.size)
    return Equivocation(first, second, root, tuple(tree.consistency(first.size))) if root != first.root else None


def read_report(data: bytes, log_keys: Iterable[str], *, where: str = "") -> Equivocation:
    """The equivocation that a report proves under a key that the reader trusts. VerificationError if it proves none."""
    keys = list(log_keys)
    notes, prefix, proof = _decode(data, where)
    one, other = (open_checkpoint(note, keys, where=where) for note in notes)
    found = Equivocation(one, other, prefix, tuple(proof))
    if one.key != other.key or not _holds(found):
        raise VerificationError(
            "this does not prove that the log has two histories", code="ATLAS_E_DIGEST", where=where
        )
    return found


def _holds(claim: Equivocation) -> bool:
    first, second = claim.first, claim.second
    if first.size == second.size:
        return first.root != second.root
    if not 0 < first.size < second.size or claim.prefix_root == first.root:
        return False
    try:
        check_consistency(first.size, second.size, claim.prefix_root, second.root, claim.proof)
    except VerificationError:
        return False
    return True


def _decode(data: bytes, where: str) -> tuple[list[bytes], bytes, Sequence[bytes]]:
    try:
        document = json.loads(data)
        if len(data) > MAX_REPORT_BYTES or document["format"] != FORMAT:
            raise ValueError
        notes = [str(document[name]).encode() for name in ("first", "second")]
        proof = [base64.b64decode(text, validate=True) for text in document["proof"]]
        return notes, base64.b64decode(document["prefix_root"], validate=True), proof
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MalformedError("not a report of an equivocation", where=where) from None


__all__ = ["MAX_REPORT_BYTES", "Equivocation", "compare", "read_report"]
