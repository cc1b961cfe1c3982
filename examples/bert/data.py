"""The docstring data set as torch sees it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wordpiece import Tokenizer


def read(path: str | Path) -> list[dict[str, str]]:
    """The rows of a .jsonl file: {"text": ..., "label": ..., "file": ...}; a row without label is for pre-training."""
    with Path(path).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Sentences(Dataset[tuple[Tensor, Tensor]]):
    """Piece numbers and label number of every row."""

    def __init__(self, rows: list[dict[str, str]], tokenizer: Tokenizer, length: int, labels: list[str]) -> None:
        self.ids = torch.tensor([tokenizer.encode(row["text"], length) for row in rows])
        self.labels = torch.tensor([labels.index(row["label"]) if row["label"] else -1 for row in rows])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.ids[i], self.labels[i]
