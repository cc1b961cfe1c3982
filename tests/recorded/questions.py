"""What a witness is asked, in this order, each time with the same bytes."""

from __future__ import annotations

import base64

from tests.forge import tlog

LOG = tlog.NoteKey("log.example/team")


def log_of(size: int, salt: str = "") -> tlog.ForgedLog:
    """Entries from the third on depend on the salt: histories that fork."""
    return tlog.ForgedLog(LOG, [f"entry {i}{salt if i >= 2 else ''}".encode() for i in range(size)])


def body(log: tlog.ForgedLog, old: int, size: int | None = None, proof: list[bytes] | None = None) -> bytes:
    size = len(log.entries) if size is None else size
    if proof is None:
        proof = tlog.consistency(log.leaves[:size], old) if 0 < old < size else []
    lines = [b"old %d\n" % old, *(base64.b64encode(digest) + b"\n" for digest in proof), b"\n"]
    return b"".join(lines) + log.checkpoint(size)


def questions() -> dict[str, bytes]:
    text = log_of(5).text()
    return {
        "first": body(log_of(3), 0),
        "again from nothing": body(log_of(5), 0),
        "wrong old size": body(log_of(5), 2),
        "another history": body(log_of(5, " of another history"), 3),
        "a wrong proof": body(log_of(5), 3, proof=[bytes(32)]),
        "no proof": body(log_of(5), 3, proof=[]),
        "same size, another root": body(log_of(3, " of another history"), 3),
        "old size beyond the checkpoint": body(log_of(2), 3),
        "unknown log": body(tlog.ForgedLog(tlog.NoteKey("other.example"), [b"a"]), 0),
        "empty request": b"",
        "no checkpoint": b"old 3\n",
        "leading zero": b"old 03\n\n" + log_of(5).checkpoint(),
        "other words": b"size 3\n\n" + log_of(5).checkpoint(),
        "a short hash": b"old 3\nAAAA\n\n" + log_of(5).checkpoint(),
        "no base64": b"old 3\n!!!!\n\n" + log_of(5).checkpoint(),
        "64 hashes": body(log_of(5), 3, proof=[bytes(32)] * 64),
        "unsigned": b"old 3\n\n" + text,
        "signed by a stranger": b"old 3\n\n" + text + b"\n" + tlog.NoteKey("stranger").line(text),
        "a bad signature": b"old 3\n\n" + text + b"\n" + LOG.line(log_of(4).text()),
        "grown": body(log_of(9), 3),
        "the same again": body(log_of(9), 9),
        "going back": body(log_of(5), 5),
    }


__all__ = ["LOG", "body", "log_of", "questions"]
