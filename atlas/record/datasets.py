"""What a data set is, by its bytes: tensors, plain state, files, a declared input, or parts of these. Else opaque."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atlas.record.background import Job
from atlas.record.rollup import Member, common_directory, index_of


@dataclass(eq=False, slots=True)
class Identity:
    """`kind`: "tensors", "state" (every attribute, digested), "files", "input" (declared), "subset", "concatenation",
    "stream", or "opaque". `name` is the class of the data set, never its repr."""

    name: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    parts: list[Identity] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    job: Job | None = None  # fills in `members`
    _described: tuple[int, dict[str, Any]] | None = None

    @property
    def opaque(self) -> bool:
        return self.kind == "opaque" or any(part.opaque for part in self.parts)

    def settle(self, seconds: float) -> bool:
        """Wait for digests; False when they are not there in time."""
        deadline = time.monotonic() + seconds
        if self.job is not None and not self.job.wait(max(0.0, deadline - time.monotonic())):
            return False
        return all(part.settle(max(0.0, deadline - time.monotonic())) for part in self.parts)

    def files(self) -> dict[str, Member]:
        found = dict(self.members) if self.job is None or self.job.done else {}
        for part in self.parts:
            found |= part.files()
        return found

    def describe(self, reads: Mapping[str, Member] | None = None, *, strays: bool = False) -> dict[str, Any]:
        """`reads` are files that were loaded for it. `strays`: it read files nobody measured, so this is not it."""
        entry: dict[str, Any] = {"class": self.name, "kind": self.kind} | self.facts
        if self.kind == "files" and self.job is not None and not self.job.done:
            return entry | {"kind": "opaque"}
        if self.kind == "state" and strays:
            return {"class": self.name, "kind": "opaque"}
        count = len(reads or ())
        if self._described is None or self._described[0] != count:
            self._described = (count, self._describe(entry, reads))
        return dict(self._described[1])

    def _describe(self, entry: dict[str, Any], reads: Mapping[str, Member] | None) -> dict[str, Any]:
        members = self.members
        if self.kind in ("opaque", "state") and reads:
            entry, members = {"class": self.name, "kind": "files read"}, dict(reads)
        if members:
            index = index_of(members, common_directory(members))
            assert index.flat is not None
            entry |= {"files": index.files, "size": index.size, "alg": index.flat.alg, "digest": index.flat.value}
        if self.parts:
            entry["parts"] = [part.describe() for part in self.parts]
        return entry
