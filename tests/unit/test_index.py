"""The index of a directory: one form only, and what differs between two."""

from __future__ import annotations

import pytest
from plain_measure import index_of

from atlas import _core
from atlas.errors import MalformedError, UsageError

D = "0" * 64
E = "1" * 64


def index(*lines: str, header: str = "atlas-index 1 sha256\n") -> bytes:
    return (header + "".join(line + "\n" for line in lines)).encode("latin-1")


def test_what_was_written_is_read() -> None:
    files = {b"a": b"x", b"a b/c%": b"", b"\xff": b"yy", b"a/b": b"z"}
    text, _ = index_of(files)
    assert [(path, size) for path, _, _, size in _core.index_parse(text)] == [
        ("a", 1),
        ("a%20b/c%25", 0),
        ("a/b", 1),
        ("%FF", 2),
    ]
    assert _core.index_parse(index()) == []


@pytest.mark.parametrize(("alg", "n"), [("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_the_header_says_how_long_digests_are(alg: str, n: int) -> None:
    header = f"atlas-index 1 {alg}\n"
    assert _core.index_parse(index(f"{'0' * n} {'1' * n} 7 a", header=header)) == [("a", "0" * n, "1" * n, 7)]
    with pytest.raises(MalformedError):
        _core.index_parse(index(f"{'0' * (n - 2)} {'1' * n} 7 a", header=header))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"atlas-index 1 sha256",
        b"atlas-index 1 sha256\r\n",
        b"atlas-index 1 sha256 \n",
        b"atlas-index 1 sha1\n",
        b"atlas-index 1 SHA256\n",
        b"atlas-index 1 \n",
        b"atlas-index 2 sha256\n",
        b"atlas-index 01 sha256\n",
        b" atlas-index 1 sha256\n",
        b"\xef\xbb\xbfatlas-index 1 sha256\n",
        b"atlas-index 1 sha256\x00\n",
        b"# a text that is signed\n",
    ],
)
def test_a_text_without_the_header_is_no_index(text: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        _core.index_parse(text)
    assert caught.value.code == "ATLAS_E_INDEX"


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        f"{D} {D} 1",
        f"{D} {D} 1 ",
        f"{D} {D} a",
        f"{D} {D}  a",
        f"{D} {D} 1  a",
        f" {D} {D} 1 a",
        f"{D}  {D} 1 a",
        f"{D}\t{D}\t1\ta",
        f"{D} {D} 1 a\r",
        f"{D} {D} 1 a ",
        f"{D[:-1]} {D} 1 a",
        f"{D}0 {D} 1 a",
        f"{D[:-1]}A {D} 1 a",
        f"{D[:-1]}g {D} 1 a",
        f"{D} {D[:-2]} 1 a",
        f"{D} {D} 01 a",
        f"{D} {D} -1 a",
        f"{D} {D} +1 a",
        f"{D} {D} 1.0 a",
        f"{D} {D} 0x1 a",
        f"{D} {D} 9223372036854775808 a",
        f"{D} {D} 18446744073709551617 a",
        f"{D} {D} 99999999999999999999999999 a",
    ],
)
def test_a_malformed_line_is_refused_and_named(line: str) -> None:
    good = f"{D} {D} 9223372036854775807 %01"
    assert len(_core.index_parse(index(good))) == 1
    with pytest.raises(MalformedError, match="line 3: ") as caught:
        _core.index_parse(index(good, line))
    assert caught.value.offset is not None
    assert caught.value.offset >= len(index(good))


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "a/",
        "a//b",
        "/",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        "./a",
        "a/.",
        "a%",
        "a%2",
        "a%2g",
        "a%2e",  # "." need not be encoded
        "%2E%2E/a",
        "%2Fa",
        "a%41",
        "a%00",
        "a%c3%a9",  # lower-case digits
        "a\x00b",
        "a\x7fb",
        "a\xe9b",
        "a\x1bb",
    ],
)
def test_a_path_in_any_other_form_is_refused(path: str) -> None:
    with pytest.raises(MalformedError, match="encoded form"):
        _core.index_parse(index(f"{D} {D} 1 {path}"))


def test_paths_must_be_sorted_by_what_they_stand_for_and_unique() -> None:
    ordered = ["%01", "%20", "!", "%25", "a", "a%20", "a!", "a/b", "ab", "~", "%7F", "%C3%A9", "%FF"]
    assert [path for path, *_ in _core.index_parse(index(*(f"{D} {D} 1 {p}" for p in ordered)))] == ordered
    for i in range(len(ordered) - 1):
        swapped = [*ordered[:i], ordered[i + 1], ordered[i], *ordered[i + 2 :]]
        with pytest.raises(MalformedError, match="not after"):
            _core.index_parse(index(*(f"{D} {D} 1 {p}" for p in swapped)))
        with pytest.raises(MalformedError, match="not after"):
            _core.index_parse(index(*(f"{D} {D} 1 {p}" for p in [*ordered[: i + 1], *ordered[i:]])))


def test_the_last_line_must_be_ended() -> None:
    with pytest.raises(MalformedError, match="not ended"):
        _core.index_parse(index(f"{D} {D} 1 a")[:-1])


def test_every_truncation_is_refused_or_ends_between_lines() -> None:
    text = index(f"{D} {E} 1 a", f"{D} {E} 22 b%20c/d")
    ends = {at + 1 for at, c in enumerate(text) if c == ord("\n")}
    for n in range(len(text)):
        if n in ends:
            _core.index_parse(text[:n])
        else:
            with pytest.raises(MalformedError):
                _core.index_parse(text[:n])


def test_every_flipped_bit_is_refused_or_read_as_another_index() -> None:
    text = index(f"{D} {E} 1 a", f"{D} {E} 22 b%20c/d")
    before = _core.index_parse(text)
    for at in range(len(text)):
        for bit in range(8):
            changed = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
            try:
                assert _core.index_parse(changed) != before
            except MalformedError:
                continue


# ------------------------------------------------------------------------------------------------------ compare


def test_equal_indexes_do_not_differ() -> None:
    text = index(f"{D} {D} 1 a", f"{D} {D} 1 b")
    assert _core.index_compare(text, text) == {"added": [], "removed": [], "changed": []}


def test_added_removed_and_changed_paths_are_told_apart() -> None:
    before = index(*(f"{D} {D} 1 {p}" for p in ("%20", "a", "b", "c", "z")))
    after = index(f"{D} {D} 1 !", f"{D} {D} 1 a", f"{E} {D} 1 b", f"{D} {D} 2 c", f"{D} {D} 1 d")
    assert _core.index_compare(before, after) == {
        "added": ["!", "d"],
        "removed": ["%20", "z"],
        "changed": ["b", "c"],
    }
    assert _core.index_compare(after, before) == {
        "added": ["%20", "z"],
        "removed": ["!", "d"],
        "changed": ["b", "c"],
    }


def test_comparison_with_an_empty_directory() -> None:
    text = index(f"{D} {D} 1 a")
    assert _core.index_compare(index(), text) == {"added": ["a"], "removed": [], "changed": []}
    assert _core.index_compare(text, index()) == {"added": [], "removed": ["a"], "changed": []}


def test_what_is_no_index_cannot_be_compared() -> None:
    text = index(f"{D} {D} 1 a")
    for bad in (b"", text[:-1], text + b"x\n"):
        with pytest.raises(MalformedError):
            _core.index_compare(text, bad)
        with pytest.raises(MalformedError):
            _core.index_compare(bad, text)
    with pytest.raises(UsageError, match="different algorithms"):
        _core.index_compare(text, index(header="atlas-index 1 sha512\n"))
