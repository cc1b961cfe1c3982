"""Step 3: pre-train the encoder with masked language modelling."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import atlas
from data import Windows, read
from model import Bert, Config, MaskedLanguageModel, parameters
from wordpiece import MASK, SPECIAL, Tokenizer


def mask(ids: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """15 % of the pieces are to be guessed; of these 80 % read [MASK], 10 % a random piece, 10 % themselves."""
    chosen = (torch.rand(ids.shape) < 0.15) & (ids >= len(SPECIAL))
    dice = torch.rand(ids.shape)
    shown = ids.masked_fill(chosen & (dice < 0.8), MASK)
    random = torch.randint(len(SPECIAL), vocabulary, ids.shape)
    return torch.where(chosen & (dice >= 0.9), random, shown), chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, default=Path("data/train.jsonl"))
    parser.add_argument("--vocab", type=Path, default=Path("tokenizer/vocab.txt"))
    parser.add_argument("--out", type=Path, default=Path("base/model.pt"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    run = atlas.init(key="keys/model-maker/key.pem")
    run.params(args)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer(args.vocab)
    config = Config(vocabulary=len(tokenizer), hidden=args.hidden, layers=args.layers)
    data = Windows(read(args.train), tokenizer, config.length)
    run.input(args.vocab, role="tokenizer")
    run.input(args.train, role="training data", dataset=data)
    model = MaskedLanguageModel(Bert(config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps, pct_start=0.1)
    print(f"{len(data)} windows of {config.length} pieces")
    print(f"BERT architecture, {config.layers} x {config.hidden}, {parameters(model):,} parameters, random start")

    step, recent = 0, 0.0
    while step < args.steps:
        for ids in DataLoader(data, args.batch, shuffle=True, drop_last=True):
            shown, chosen = mask(ids, len(tokenizer))
            loss = torch.nn.functional.cross_entropy(model(shown, chosen), ids[chosen])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step, recent = step + 1, recent + loss.item()
            if step % max(args.steps // 6, 1) == 0:
                print(f"step {step:4d}  masked-word loss {recent / max(args.steps // 6, 1):.3f}", flush=True)
                recent = 0.0
            if step == args.steps:
                break

    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": asdict(config), "bert": model.bert.state_dict()}, args.out)


if __name__ == "__main__":
    main()
