"""Secrets: found by the name they go by and by what they look like, cut out, and listed as cut out.

Command lines, parameters, environment variables, log values and error texts pass through here before anything is
written. What cannot be told from an ordinary word (a password without a name) cannot be found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

REDACTED = "<redacted>"

_SECRET_WORDS = frozenset(
    (
        "token secret secrets key keys apikey password passwd passphrase passcode pass pwd pw pin credential "
        "credentials cred creds auth authorization bearer cookie signature sig dsn pat private jwt otp"
    ).split()
)
# "pad_token": 0 and "key_dim" are hyper-parameters: numbers are secrets only under these.
_NUMERIC_WORDS = frozenset("password passwd passphrase passcode pwd pw pin otp secret".split())
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LOOKS = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"hf_[A-Za-z0-9]{8,}",
        r"(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{12,}",
        r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
        r"gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{12,}",
        r"sk-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{10,}",
        r"npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|dapi[0-9a-f]{32}|r8_[A-Za-z0-9]{30,}",
        r"-----BEGIN[A-Z ]*PRIVATE KEY-----.*?(?:-----END[A-Z ]*PRIVATE KEY-----|\Z)",
    )
]
_SCHEME = re.compile(r"\b(bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
# name=value, name: value, "name": "value" inside a longer text
_NAMED = re.compile(
    r"""(?P<name>["']?[A-Za-z_][\w.-]*["']?)(?P<sep>\s*[=:]\s*)(?P<value>"[^"]*"|'[^']*'|[^\s,;&#"'{}\[\]]+)"""
)
_FLAG = re.compile(r"-{1,2}[A-Za-z][\w.-]*\Z")
MAX_DEPTH = 16


def is_secret_name(name: str) -> bool:
    """Whether a word of the name is one that secrets go by: HF_TOKEN, apiKey, --db-password."""
    return not _SECRET_WORDS.isdisjoint(_split(name))


def _split(name: str) -> set[str]:
    words = [word.lower() for word in _WORDS.findall(name)]
    return {*words, *("".join(pair) for pair in pairwise(words))}


class Redactor:
    """Cuts secrets out of values and remembers where. Not shared between threads."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def _cut(self, where: str) -> str:
        if where not in self.found:
            self.found.append(where)
        return REDACTED

    def text(self, text: str, where: str) -> str:
        """A text with whatever looks like a secret cut out."""
        for look in _LOOKS:
            if look.search(text):
                text = look.sub(self._cut(where), text)
        if "://" in text and _USERINFO.search(text):
            text = _USERINFO.sub(self._cut(where), text)
        text = _SCHEME.sub(lambda m: f"{m[1]} {self._cut(where)}", text)
        return _NAMED.sub(lambda m: self._named(m, where), text)

    def _named(self, match: re.Match[str], where: str) -> str:
        name, value = match["name"].strip("\"'"), match["value"]
        if not is_secret_name(name) or value in ("", REDACTED) or value.startswith("//"):
            return f"{match['name']}{match['sep']}{_NAMED.sub(lambda m: self._named(m, where), value)}"
        bare = value.strip("\"'").lower()
        if bare in ("true", "false", "none", "null") or name.endswith(("Error", "Exception", "Warning")):
            return match[0]
        if _is_number(bare) and _NUMERIC_WORDS.isdisjoint(_split(name)):
            return match[0]
        quote = value[0] if value[0] in "\"'" else ""
        return f"{match['name']}{match['sep']}{quote}{self._cut(where)}{quote}"

    def value(self, value: Any, where: str, name: str = "", depth: int = 0) -> Any:
        """Plain data (dicts, lists, texts, numbers) with secrets cut out. `name` is what the value goes by."""
        if depth > MAX_DEPTH:
            return "..."
        if isinstance(value, Mapping):
            return dict(self._item(str(k), v, where, depth) for k, v in value.items())
        secret = bool(name) and is_secret_name(name)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            if secret:
                return [self.value(v, where, name, depth + 1) for v in value]
            return self._list(value, where, depth)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            numeric = secret and not _NUMERIC_WORDS.isdisjoint(_split(name))
            return self._cut(where) if numeric else value
        if secret and value not in ("", b""):
            return self._cut(where)
        return self.text(value, where) if isinstance(value, str) else value

    def _item(self, key: str, value: Any, where: str, depth: int) -> tuple[str, Any]:
        shown = self.text(key, where)  # a key can be the secret; `found` must not tell it
        return shown, self.value(value, f"{where}.{shown}" if where else shown, key, depth + 1)

    def _list(self, values: Sequence[Any], where: str, depth: int) -> list[Any]:
        """A list may be a command line: the value after a secret's flag is the secret."""
        clean: list[Any] = []
        for i, item in enumerate(values):
            before = values[i - 1] if i else None
            flag = isinstance(before, str) and _FLAG.match(before) and is_secret_name(before)
            if flag and isinstance(item, str) and not _FLAG.match(item):
                clean.append(self._cut(f"{where}[{i}]"))
            else:
                clean.append(self.value(item, f"{where}[{i}]", "", depth + 1))
        return clean

    def arguments(self, argv: Sequence[str], where: str = "command") -> list[str]:
        """A command line."""
        return [str(item) for item in self._list(list(argv), where, 0)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
