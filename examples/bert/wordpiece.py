"""A small WordPiece tokenizer in plain Python: training by frequent pairs, encoding by longest match."""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]")


def words(text: str) -> list[str]:
    """Lower-cased words, digits and punctuation marks, each on its own, as BERT's uncased models split them."""
    return WORD.findall(text.lower())


def train(texts: Iterable[str], size: int) -> list[str]:
    """A vocabulary of `size` pieces: all characters, then the most frequent pair of neighbours again and again."""
    counts = Counter(word for text in texts for word in words(text))
    spelled = {word: [word[0], *("##" + c for c in word[1:])] for word in sorted(counts)}
    pieces = sorted({piece for spelling in spelled.values() for piece in spelling})
    vocabulary = (SPECIAL + pieces)[:size]

    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def count(word: str, sign: int) -> set[tuple[str, str]]:
        neighbours = set(zip(spelled[word], spelled[word][1:], strict=False))
        for pair in zip(spelled[word], spelled[word][1:], strict=False):
            pairs[pair] += sign * counts[word]
            where[pair].add(word)
        return neighbours

    for word in spelled:
        count(word, +1)
    queue = [(-n, pair) for pair, n in pairs.items()]  # most frequent first, ties by name; entries may be out of date
    heapq.heapify(queue)
    while len(vocabulary) < size and queue:
        negative, pair = heapq.heappop(queue)
        if -negative != pairs[pair]:
            continue
        if pairs[pair] < 2:
            break
        merged = pair[0] + pair[1].removeprefix("##")
        changed: set[tuple[str, str]] = set()
        for word in where.pop(pair):
            changed |= count(word, -1)
            spelled[word] = _merge(spelled[word], pair, merged)
            changed |= count(word, +1)
        for other in changed:
            heapq.heappush(queue, (-pairs[other], other))
        vocabulary.append(merged)
    return vocabulary


def _merge(spelling: list[str], pair: tuple[str, str], merged: str) -> list[str]:
    result: list[str] = []
    for piece in spelling:
        if result and (result[-1], piece) == pair:
            result[-1] = merged
        else:
            result.append(piece)
    return result


class Tokenizer:
    """Text to piece numbers, with the pieces of a `vocab.txt`, one per line."""

    def __init__(self, path: str | Path) -> None:
        self.pieces = Path(path).read_text("utf-8").splitlines()
        self._id = {piece: i for i, piece in enumerate(self.pieces)}
        self._known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        return [i for word in words(text) for i in self._word(word)]

    def padded(self, text: str, length: int) -> list[int]:
        """Exactly `length` numbers: [CLS], as many pieces as fit, [SEP], padding."""
        ids = self.encode(text)[: length - 2]
        return [CLS, *ids, SEP] + [PAD] * (length - 2 - len(ids))

    def _word(self, word: str) -> list[int]:
        if word not in self._known:
            self._known[word] = self._longest_match(word)
        return self._known[word]

    def _longest_match(self, word: str) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = self._id.get(prefix + word[start:end])
                if piece is not None:
                    ids.append(piece)
                    start = end
                    break
            else:
                return [UNK]
        return ids
