"""A small encoder with BERT's architecture. It is not bert-base: 2 layers of 128 instead of 12 of 768."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    vocabulary: int
    length: int = 32
    hidden: int = 128
    layers: int = 2
    heads: int = 2
    dropout: float = 0.1


class Bert(nn.Module):
    """Token, position and segment embeddings, then post-norm transformer layers (Devlin et al. 2018)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocabulary, config.hidden, padding_idx=0)
        self.position = nn.Embedding(config.length, config.hidden)
        self.segment = nn.Embedding(2, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=1e-12)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            config.hidden, config.heads, 4 * config.hidden, config.dropout, "gelu", 1e-12, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.apply(_initialise)

    def forward(self, ids: Tensor) -> Tensor:
        position = torch.arange(ids.shape[1], device=ids.device)
        x = self.token(ids) + self.position(position) + self.segment.weight[0]
        return self.encoder(self.dropout(self.norm(x)), src_key_padding_mask=ids == 0)


class MaskedLanguageModel(nn.Module):
    """The pre-training head: transform, then the token embedding again as output layer."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        hidden = bert.config.hidden
        self.bert = bert
        self.transform = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden, eps=1e-12))
        self.bias = nn.Parameter(torch.zeros(bert.config.vocabulary))
        self.transform.apply(_initialise)

    def forward(self, ids: Tensor, masked: Tensor) -> Tensor:
        """Logits over the vocabulary, for the masked places alone."""
        return self.transform(self.bert(ids)[masked]) @ self.bert.token.weight.T + self.bias


class Classifier(nn.Module):
    """The fine-tuning head: the mean over all tokens, dropout, one linear layer."""

    def __init__(self, bert: Bert, labels: int) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(bert.config.dropout)
        self.output = nn.Linear(bert.config.hidden, labels)
        self.output.apply(_initialise)

    def forward(self, ids: Tensor) -> Tensor:
        real = (ids != 0).unsqueeze(-1)
        mean = (self.bert(ids) * real).sum(1) / real.sum(1)
        return self.output(self.dropout(mean))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
