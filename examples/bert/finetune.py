"""Step 4: fine-tune a classifier from the pre-trained base."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import atlas
from data import Sentences, read
from model import Bert, Classifier, Config
from wordpiece import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, default=Path("data/train.jsonl"))
    parser.add_argument("--vocab", type=Path, default=Path("tokenizer/vocab.txt"))
    parser.add_argument("--base", type=Path, default=Path("base/model.pt"))
    parser.add_argument("--out", type=Path, default=Path("model/model.pt"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    run = atlas.init(key="keys/model-maker/key.pem")
    run.params(args)
    torch.manual_seed(args.seed)
    base = torch.load(args.base)
    bert = Bert(Config(**base["config"]))
    bert.load_state_dict(base["bert"])

    rows = [row for row in read(args.train) if row["label"]]
    labels = sorted({row["label"] for row in rows})
    model = Classifier(bert, len(labels))
    data = Sentences(rows, Tokenizer(args.vocab), bert.config.length, labels)
    run.input(args.vocab, role="tokenizer")
    run.input(args.train, role="training data", dataset=data)
    loader = DataLoader(data, args.batch, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    total = args.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=total, pct_start=0.1)

    for epoch in range(args.epochs):
        running = 0.0
        for ids, label in loader:
            loss = torch.nn.functional.cross_entropy(model(ids), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            running += loss.item()
        print(f"epoch {epoch + 1}  loss {running / len(loader):.3f}", flush=True)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": base["config"], "labels": labels, "model": model.state_dict()}, args.out)


if __name__ == "__main__":
    main()
