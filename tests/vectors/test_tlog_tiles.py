"""Tessera's test log: appended one by one, its entries make the same tiles, bundles and roots at every size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atlas.log import TileLog
from atlas.remote.checkpoint import open_checkpoint
from atlas.remote.source import Folder
from atlas.remote.tree import Tree
from tests.log_crash import in_memory

if "ATLAS_VECTORS" not in os.environ:
    pytest.skip("ATLAS_VECTORS is not set", allow_module_level=True)

VECTORS = Path(os.environ["ATLAS_VECTORS"]) / "tlog-tiles"
VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


def test_the_log_of_tessera_comes_out_the_same_file_for_file() -> None:
    last = open_checkpoint((VECTORS / "checkpoint").read_bytes(), [VKEY], where="")
    entries = Tree(Folder(VECTORS), last.size, last.root).entries(0)
    names = {p.relative_to(VECTORS) for p in (VECTORS / "tile").rglob("*") if p.is_file()}
    with in_memory() as place:
        log = TileLog.init(place / "log", origin="log.example/again", store=place / "store")
        for size in range(last.size + 1):
            theirs = open_checkpoint((VECTORS / f"checkpoint.{size}").read_bytes(), [VKEY], where="")
            assert (log.head().size, log.head().root) == (theirs.size, theirs.root)
            if size < last.size:
                log.append([entries[size]])
        assert {p.relative_to(log.folder) for p in (log.folder / "tile").rglob("*") if p.is_file()} == names
        assert all((log.folder / name).read_bytes() == (VECTORS / name).read_bytes() for name in names)
