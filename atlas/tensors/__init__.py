"""Tensor tables: name, dtype, shape and digest of every tensor of a model, from its file or from memory.

No torch is imported and nothing is unpickled: files are read by readers of our own, which refuse what they do not know.
docs/manifest.md, "Tensor table", says what stands in a table.
"""

from __future__ import annotations

from atlas.tensors.diff import Difference, compare
from atlas.tensors.live import table_of_state
from atlas.tensors.source import is_checkpoint, table_of_fd, table_of_file
from atlas.tensors.table import Entry, Table

__all__ = [
    "Difference", "Entry", "Table", "compare", "is_checkpoint", "table_of_fd", "table_of_file", "table_of_state",
]  # fmt: skip
