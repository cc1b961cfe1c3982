"""Names that somebody else chose, shown to people: terminals, HTML, CI logs."""

import html
import re
import string
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atlas.escape import MAX_SHOWN, escape, escape_html, escape_lines

HOSTILE = {
    "ansi": "model\x1b[2J\x1b[31mVALID\x1b[0m.pt",
    "c1 csi": "model\x9b31m.pt",
    "osc title": "\x1b]0;owned\x07",
    "carriage return": "INVALID\rVALID  ",
    "newline": "a\nVALID  model.pt",
    "backspace": "INVALID\b\b\b\b\b\b\bVALID",
    "bidi override": "model\u202etp.exe",
    "bidi isolate": "a\u2066b\u2069",
    "zero width": "mo\u200bdel.pt",
    "tag characters": "a\U000e0041b",
    "line separator": "a\u2028b",
    "no-break space": "a\u00a0b",
    "lone surrogate": "a\udc80b",
    "nul": "a\x00b",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_shows_only_characters_that_can_be_seen(name: str) -> None:
    shown = escape(name)
    assert all(unicodedata.category(c)[0] in "LMNPS" or c == " " for c in shown), ascii(shown)
    assert "\\" in shown


@pytest.mark.parametrize(
    "line",
    [
        "::error file=a::boom",
        "  ::warning::x",
        "##[error]boom",
        "name ##vso[task.complete]",
        "##teamcity[x]",
        "###[error]",
    ],
)
def test_a_name_is_never_a_command_to_a_ci_system(line: str) -> None:
    shown = escape(line)
    assert not shown.lstrip().startswith("::")
    assert not re.search(r"##\w*\[", shown)


def test_ordinary_names_in_any_script_stay_as_they_are() -> None:
    for name in ("out/model.pt", "données/été.jsonl", "データ/漢字.pt", "a b (1).bin", "C++::notes", "x:y", "é\u0301"):
        assert escape(name) == name


def test_ten_thousand_characters_are_cut_in_the_middle_and_the_cut_says_how_much() -> None:
    shown = escape("a" * 5000 + "b" * 5000)
    assert len(shown) == MAX_SHOWN
    assert shown.startswith("aaa")
    assert shown.endswith("bbb")
    assert f"{10_000 - MAX_SHOWN} more" in shown


def test_a_tower_of_combining_marks_is_pulled_down() -> None:
    assert sum(unicodedata.category(c) == "Mn" for c in escape("e" + "\u0301" * 50, limit=1000)) == 2


def test_html_cannot_be_closed_or_opened_by_a_name() -> None:
    shown = escape_html("</script><img src=x onerror='alert(1)'>\"&\x1b")
    assert not set(shown) & set("<>\"'\x1b")
    assert html.unescape(shown) == escape("</script><img src=x onerror='alert(1)'>\"&\x1b")


def test_several_lines_stay_several_lines_and_each_is_escaped() -> None:
    assert escape_lines("bad\x1b\n  hint\r") == "bad\\x1b\n  hint\\r"


@given(st.text(max_size=2 * MAX_SHOWN))
@example("#" * 500 + "[")
@example(":" * 500)
@example("\x1b" * 500)
def test_escaping_is_bounded_printable_and_does_nothing_the_second_time(text: str) -> None:
    once = escape(text)
    assert len(once) <= MAX_SHOWN
    assert all(c.isprintable() for c in once)
    assert escape(once) == once


@given(st.text(string.printable.strip() + " ", max_size=50).filter(lambda t: "#" not in t and ":" not in t))
def test_plain_ascii_is_untouched(text: str) -> None:
    assert escape(text) == text
