"""Step 5: evaluate the classifier on the held-out files, beside two baselines that need no network at all."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import atlas
from data import Sentences, read
from model import Bert, Classifier, Config, parameters
from wordpiece import Tokenizer, words

Rows = list[dict[str, str]]


def majority(train: Rows, test: Rows) -> float:
    """Always the label that is most frequent in the training data."""
    label = Counter(row["label"] for row in train).most_common(1)[0][0]
    return sum(row["label"] == label for row in test) / len(test)


def bag_of_words(train: Rows, test: Rows) -> float:
    """Multinomial naive Bayes over words, add-one smoothing."""
    counts: dict[str, Counter[str]] = {}
    for row in train:
        counts.setdefault(row["label"], Counter()).update(words(row["text"]))
    vocabulary = len(set().union(*counts.values()))
    prior = Counter(row["label"] for row in train)

    def score(label: str, text: str) -> float:
        seen, total = counts[label], counts[label].total() + vocabulary
        return math.log(prior[label]) + sum(math.log((seen[word] + 1) / total) for word in words(text))

    def guess(text: str) -> str:
        return max(sorted(counts), key=lambda label: score(label, text))

    return sum(guess(row["text"]) == row["label"] for row in test) / len(test)


@torch.no_grad()
def accuracy(model: Classifier, data: Sentences) -> float:
    model.eval()
    right = sum((model(ids).argmax(1) == label).sum().item() for ids, label in DataLoader(data, 256))
    return right / len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("model/model.pt"))
    parser.add_argument("--vocab", type=Path, default=Path("tokenizer/vocab.txt"))
    parser.add_argument("--train", type=Path, default=Path("data/train.jsonl"))
    parser.add_argument("--test", type=Path, default=Path("data/test.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("report.json"))
    args = parser.parse_args()

    run = atlas.init(key="keys/evaluator/key.pem")
    saved = torch.load(args.model)
    model = Classifier(Bert(Config(**saved["config"])), len(saved["labels"]))
    model.load_state_dict(saved["model"])
    train = [row for row in read(args.train) if row["label"]]
    test = read(args.test)
    data = Sentences(test, Tokenizer(args.vocab), saved["config"]["length"], saved["labels"])
    run.input(args.vocab, role="tokenizer")
    run.input(args.train, role="data of the baselines")
    run.input(args.test, role="evaluation data", dataset=data)

    report = {
        "model": "BERT architecture, {layers} x {hidden}, pre-trained locally".format(**saved["config"]),
        "parameters": parameters(model),
        "train_sentences": len(train),
        "test_sentences": len(test),
        "accuracy": {
            "majority": round(majority(train, test), 4),
            "bag_of_words": round(bag_of_words(train, test), 4),
            "classifier": round(accuracy(model, data), 4),
        },
    }
    run.metrics(report["accuracy"], of=args.model, on=args.test)
    run.output(args.out, kind="report")
    args.out.write_text(json.dumps(report, indent=2) + "\n")
    for name, value in report["accuracy"].items():
        print(f"{name:<14}{value:.1%}")


if __name__ == "__main__":
    main()
