"""What became of the tensors of one model in another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atlas.tensors.table import Entry, Table


@dataclass(frozen=True, slots=True)
class Difference:
    """Tensors by name. `changed` have the same name in both, but another dtype, shape or elements."""

    changed: tuple[tuple[Entry, Entry], ...]
    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    unchanged: int
    total: int  # bytes of all tensors of the second one
    same: int  # of these, bytes of tensors that are as they were

    @property
    def identical(self) -> bool:
        return not (self.changed or self.added or self.removed)

    @property
    def same_structure(self) -> bool:
        """Same names and shapes: what a fine-tune of a model has."""
        return not (self.added or self.removed) and all(a.shape == b.shape for a, b in self.changed)

    @property
    def fine_tune(self) -> bool:
        return self.same_structure and not self.identical

    @property
    def share(self) -> float:
        """Of the bytes of the second model, those in tensors that changed or are new."""
        return (self.total - self.same) / self.total if self.total else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "identical": self.identical,
            "fine_tune": self.fine_tune,
            "changed": [
                {"name": b.name, "from": _plain(a), "to": _plain(b), "elements": a.digest != b.digest}
                for a, b in self.changed
            ],
            "added": [{"name": e.name} | _plain(e) for e in self.added],
            "removed": [{"name": e.name} | _plain(e) for e in self.removed],
            "unchanged": self.unchanged,
            "bytes": {"total": self.total, "unchanged": self.same, "share_changed": round(self.share, 6)},
        }


def _plain(entry: Entry) -> dict[str, Any]:
    return {"dtype": entry.dtype, "shape": list(entry.shape), "bytes": entry.size, "sha256": entry.digest.hex()}


def compare(before: Table, after: Table) -> Difference:
    old = {entry.name: entry for entry in before}
    new = {entry.name: entry for entry in after}
    both = [(old[name], entry) for name, entry in new.items() if name in old]
    changed = tuple((a, b) for a, b in both if a != b)
    return Difference(
        changed=changed,
        added=tuple(entry for name, entry in new.items() if name not in old),
        removed=tuple(entry for name, entry in old.items() if name not in new),
        unchanged=len(both) - len(changed),
        total=after.size,
        same=sum(b.size for a, b in both if a == b),
    )
