"""Names out of manifests, certificates and file systems, made safe to show: terminal, HTML, CI logs, reports.

Whoever made an artifact chooses these names. Escaped are: control characters (ANSI sequences among them), everything
invisible or unassigned, what turns the direction of writing, line separators, unusual spaces, heaps of combining marks,
and the beginnings of lines that CI systems take for commands. Very long text is cut in the middle.
"""

from __future__ import annotations

import html
import re
import unicodedata

MAX_SHOWN = 400
_MAX_MARKS = 2  # combining marks on one character; more are a tower over the lines above
# Cc control, Cf format (bidi, zero width), Cs surrogate, Co private, Cn unassigned, Zl/Zp line and paragraph, Zs spaces
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
_MARKS = frozenset(("Mn", "Me"))
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# "::error ...", "##[error]...", "##vso[...", "##teamcity[...": commands of GitHub, Azure and TeamCity runners
_CI_COMMAND = re.compile(r"\A(\s*):(?=:)|#(?=#\w*\[)")


def _code(character: str) -> str:
    number = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    mark = f" ...{len(text) - limit} more... "
    head = (limit - len(mark)) * 2 // 3
    return f"{text[:head]}{mark}{text[head + len(mark) - limit :]}"


def escape(text: object, *, limit: int = MAX_SHOWN) -> str:
    """One line of at most `limit` characters that shows as what it is. Escaping twice changes nothing."""
    marks = 0
    shown: list[str] = []
    for character in str(text):
        category = unicodedata.category(character)
        marks = marks + 1 if category in _MARKS else 0
        hidden = (category in _HIDDEN and character != " ") or marks > _MAX_MARKS
        shown.append(_code(character) if hidden else character)
    safe = _CI_COMMAND.sub(lambda match: (match[1] or "") + _code(match[0][-1]), "".join(shown))
    return _cut(safe, limit)


def escape_lines(text: object, *, limit: int = MAX_SHOWN) -> str:
    """The same for text of several lines, such as an error with its hint."""
    return "\n".join(escape(line, limit=limit) for line in str(text).split("\n"))


def escape_html(text: object, *, limit: int = MAX_SHOWN) -> str:
    """The same for HTML text and attribute values in double quotes."""
    return html.escape(escape(text, limit=limit), quote=True)
