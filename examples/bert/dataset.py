"""Step 1: a text-classification data set from the docstrings of Python's standard library.

Every sentence of a docstring becomes a row; its label is the top package that it stands in. Whole files go to the
test set, so that no sentence of a test file is seen in training. Files outside the labelled packages give text without
label, for pre-training only.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import atlas

LABELS = ["asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "xml"]
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n")
TEST_SHARE = 0.25


def sentences(source: bytes) -> Iterator[str]:
    """The sentences of at least five words in the docstrings of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for part in SENTENCE_END.split(ast.get_docstring(node) or ""):
                text = " ".join(part.split())
                if len(re.findall(r"[A-Za-z]+", text)) >= 5:
                    yield text


def rows(raw: Path) -> Iterator[dict[str, str]]:
    for path in sorted(raw.rglob("*.py")):
        file = path.relative_to(raw).as_posix()
        top = file.split("/")[0].removesuffix(".py")
        for text in sentences(path.read_bytes()):
            yield {"text": text, "label": top if top in LABELS else "", "file": file}


def unique(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """One row per text; a text under two labels says nothing about either and is left out."""
    labels: dict[str, set[str]] = {}
    for row in found:
        labels.setdefault(row["text"].lower(), set()).add(row["label"])
    first: dict[str, dict[str, str]] = {}
    for row in found:
        if len(labels[row["text"].lower()]) == 1:
            first.setdefault(row["text"].lower(), row)
    return list(first.values())


def test_files(found: list[dict[str, str]]) -> set[str]:
    """About a quarter of every label's rows, by whole files, in the order of their hashed names."""
    chosen: set[str] = set()
    for label in LABELS:
        sizes = Counter(row["file"] for row in found if row["label"] == label)
        left = TEST_SHARE * sizes.total()
        for file in sorted(sizes, key=lambda f: hashlib.sha256(f.encode()).digest()):
            if sizes[file] <= left:
                chosen.add(file)
                left -= sizes[file]
    return chosen


def write(path: Path, lines: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=Path("raw"))
    parser.add_argument("--out", type=Path, default=Path("data"))
    args = parser.parse_args()

    run = atlas.init(key="keys/data-provider/key.pem")
    run.input(args.raw, role="raw data")  # torch does not read it, so it is said
    run.output(args.out / "train.jsonl", kind="dataset")
    run.output(args.out / "test.jsonl", kind="dataset")

    found = unique(list(rows(args.raw)))
    held_out = test_files(found)
    train = [row for row in found if row["file"] not in held_out]
    test = [row for row in found if row["file"] in held_out]
    write(args.out / "train.jsonl", train)
    write(args.out / "test.jsonl", test)

    labelled = Counter(row["label"] for row in train if row["label"])
    print(f"train {len(train)} sentences, {labelled.total()} of them labelled; test {len(test)}, all from other files")
    print("labels " + ", ".join(f"{label} {labelled[label]}" for label in LABELS))


if __name__ == "__main__":
    main()
