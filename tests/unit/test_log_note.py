"""Signed notes and checkpoints as logs and witnesses write them."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from atlas.errors import AtlasError, LimitError, MalformedError, UsageError, VerificationError
from atlas.remote.checkpoint import open_checkpoint, with_lines
from atlas.remote.note import COSIGNATURE_KEY, SigningKey, VerifierKey, open_note, parse_checkpoint
from tests.forge import tlog

LOG = tlog.NoteKey("log.example/team")
COSIGNER = tlog.NoteKey("witness.example/w1", tlog.COSIGNATURE)
TEXT = tlog.checkpoint_text(LOG.name, 7, bytes(32))
KEY, COSIGNER_KEY = VerifierKey.parse(LOG.vkey), VerifierKey.parse(COSIGNER.vkey)


def test_a_note_opens_with_the_keys_that_signed_it() -> None:
    note = LOG.note(TEXT) + COSIGNER.line(TEXT, time=1_700_000_000)
    text, found = open_note(note, [KEY, COSIGNER_KEY])
    assert text == TEXT
    assert [(s.name, s.kind, s.time) for s in found] == [(LOG.name, 1, None), (COSIGNER.name, 4, 1_700_000_000)]
    assert open_note(note, []) == (TEXT, [])
    assert open_note(note, [VerifierKey.parse(tlog.NoteKey("stranger").vkey)]) == (TEXT, [])


def test_every_flipped_bit_of_a_signed_text_or_signature_is_found() -> None:
    note = LOG.note(TEXT)
    for at in range(len(note)):
        for bit in range(8):
            flipped = bytearray(note)
            flipped[at] ^= 1 << bit
            try:
                text, found = open_note(bytes(flipped), [KEY])
            except AtlasError:
                continue
            assert not found or text == TEXT, f"bit {bit} of byte {at}"


@pytest.mark.parametrize(
    ("note", "error"),
    [
        (b"", MalformedError),
        (TEXT, MalformedError),
        (TEXT + b"\n", MalformedError),
        (LOG.note(TEXT)[:-1], MalformedError),
        (LOG.note(TEXT) + b"words\n", MalformedError),
        (LOG.note(TEXT) + b"\n", MalformedError),
        (LOG.note(TEXT).replace("—".encode(), b"-"), MalformedError),
        (LOG.note(TEXT).replace(b"7\n", b"7\r\n"), MalformedError),
        (LOG.note(TEXT).replace(b"7\n", b"\xff\n"), MalformedError),
        (TEXT + b"\n" + "— a b c\n".encode(), MalformedError),
        (TEXT + b"\n" + "— a AAAA\n".encode(), MalformedError),
        (TEXT + b"\n" + "— a+b AAAAAAAA\n".encode(), MalformedError),
        (TEXT + b"\n" + LOG.line(TEXT) * 65, LimitError),
        (LOG.note(b"x\n" * 40000), LimitError),
        (LOG.note(TEXT).replace(b"7\n", b"8\n"), VerificationError),
    ],
)
def test_what_is_no_note_or_not_signed_is_refused(note: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_note(note, [KEY])


def test_the_last_empty_line_divides_a_note() -> None:
    text = b"a text\n\nwith an empty line\n"
    assert open_note(LOG.note(text), [KEY])[0] == text


@pytest.mark.parametrize(
    "text",
    [
        b"", b"origin\n", b"origin\n7\n", b"\n7\n" + base64.b64encode(bytes(32)) + b"\n",
        b"o\n07\n" + base64.b64encode(bytes(32)) + b"\n", b"o\n-1\n" + base64.b64encode(bytes(32)) + b"\n",
        b"o\n9999999999999999999\n" + base64.b64encode(bytes(32)) + b"\n",
        b"o\n7\n" + base64.b64encode(bytes(31)) + b"\n",
        b"o\n7\n!\n", "o\n\N{ARABIC-INDIC DIGIT SEVEN}\n".encode() + base64.b64encode(bytes(32)) + b"\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_checkpoint(text)


def test_a_checkpoint_may_have_more_lines() -> None:
    assert parse_checkpoint(tlog.checkpoint_text("o", 7, bytes(32), "more", "lines")) == ("o", 7, bytes(32))


def test_a_checkpoint_counts_only_under_the_key_of_its_origin() -> None:
    assert open_checkpoint(LOG.note(TEXT), [LOG.vkey], where="here").size == 7
    other = tlog.NoteKey("other.example")
    with pytest.raises(VerificationError, match="not signed by a log that you trust"):
        open_checkpoint(other.note(TEXT), [other.vkey, LOG.vkey], where="here")
    with pytest.raises(UsageError, match="not the key of a log"):
        open_checkpoint(LOG.note(TEXT), [COSIGNER.vkey], where="here")


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a+b", "a+00000000+AAAA", LOG.vkey.replace("team", "tean"), LOG.vkey[:-4],
        "+" + LOG.vkey.split("+", 1)[1], LOG.vkey.replace("+b", "+c"), "PRIVATE+KEY+" + LOG.vkey, LOG.skey,
    ],
)  # fmt: skip
def test_what_is_no_verifier_key_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("text", ["", "words", LOG.vkey, LOG.skey[:-4], LOG.skey.replace("team", "tean")])
def test_what_is_no_private_key_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        SigningKey(text)


def test_a_new_key_cosigns_under_its_verifier_key() -> None:
    key, text = SigningKey.generate("witness.example/new")
    assert SigningKey(text + "\n").verifier() == key.verifier()
    line = key.cosign(TEXT, 1_700_000_000)
    _, found = open_note(LOG.note(TEXT) + line, [key.verifier(COSIGNATURE_KEY)])
    assert [s.time for s in found] == [1_700_000_000]
    for name in ("", "with space", "with+plus"):
        with pytest.raises(UsageError):
            SigningKey.generate(name)


def test_a_newer_line_takes_the_place_of_its_older_one() -> None:
    old, new = (COSIGNER.line(TEXT, time=time) for time in (1, 2))
    assert with_lines(with_lines(LOG.note(TEXT), [old]), [new]) == LOG.note(TEXT) + new


@pytest.mark.skipif("ATLAS_VECTORS" not in os.environ, reason="ATLAS_VECTORS is not set")
def test_every_checkpoint_and_tile_of_the_public_log_holds() -> None:
    from atlas.remote.source import Folder
    from atlas.remote.tree import Tree

    folder = Path(os.environ["ATLAS_VECTORS"]) / "tlog-tiles"
    vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    found = 0
    for path in sorted(folder.rglob("checkpoint*")):
        checkpoint = open_checkpoint(path.read_bytes(), [vkey], where=str(path))
        tree = Tree(Folder(folder), checkpoint.size, checkpoint.root)
        assert sum(len(tree.entries(n)) for n in range(-(-checkpoint.size // 256))) == checkpoint.size
        found += 1
    assert found
