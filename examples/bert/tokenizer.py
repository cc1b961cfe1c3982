"""Step 2: a WordPiece vocabulary from the training text."""

from __future__ import annotations

import argparse
from pathlib import Path

import atlas
import wordpiece
from data import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, default=Path("data/train.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("tokenizer/vocab.txt"))
    parser.add_argument("--size", type=int, default=4000)
    args = parser.parse_args()

    run = atlas.init(key="keys/model-maker/key.pem")
    run.input(args.train, role="training data")
    run.output(args.out, kind="tokenizer")

    vocabulary = wordpiece.train((row["text"] for row in read(args.train)), args.size)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("".join(piece + "\n" for piece in vocabulary), "utf-8")
    print(f"{len(vocabulary)} pieces, the last one {vocabulary[-1]!r}")


if __name__ == "__main__":
    main()
