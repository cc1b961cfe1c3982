"""The docstring data set as torch sees it."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wordpiece import CLS, SEP, Tokenizer


def read(path: str | Path) -> list[dict[str, str]]:
    """The rows of a .jsonl file: {"text": ..., "label": ..., "file": ...}; a row without label is for pre-training."""
    with Path(path).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Sentences(Dataset[tuple[Tensor, Tensor]]):
    """For the classifier: the pieces of one sentence, padded, and the number of its label."""

    def __init__(self, rows: list[dict[str, str]], tokenizer: Tokenizer, length: int, labels: list[str]) -> None:
        self.ids = torch.tensor([tokenizer.padded(row["text"], length) for row in rows])
        self.labels = torch.tensor([labels.index(row["label"]) for row in rows])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.ids[i], self.labels[i]


class Windows(Dataset[Tensor]):
    """For pre-training: the sentences of each file one after the other, cut into windows without padding."""

    def __init__(self, rows: list[dict[str, str]], tokenizer: Tokenizer, length: int) -> None:
        windows = []
        for _, of_one_file in groupby(rows, key=lambda row: row["file"]):
            pieces = [piece for row in of_one_file for piece in (*tokenizer.encode(row["text"]), SEP)]
            starts = range(0, len(pieces) - length + 2, length - 1)
            windows += [[CLS, *pieces[start : start + length - 1]] for start in starts]
        self.ids = torch.tensor(windows)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Tensor:
        return self.ids[i]
