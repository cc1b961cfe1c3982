"""Which logs are trusted, and how many of which witnesses must have cosigned: c2sp.org/tlog-policy, a text file.

log VKEY [URL]
witness NAME VKEY [URL]
group NAME all|any|NUMBER MEMBER...
quorum NAME|none
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from atlas.errors import MalformedError, UsageError, VerificationError
from atlas.files import StrPath, read_regular
from atlas.remote.note import COSIGNATURE_KEY, ECDSA_KEY, LOG_KEY, VerifierKey, open_note
from atlas.remote.witness import Witness

MAX_POLICY_BYTES = 256 << 10
MAX_LINES = 1024
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Group:
    threshold: int
    members: tuple[str, ...]


@dataclass(slots=True)
class LogPolicy:
    """What a policy file says. `check` holds a checkpoint against it."""

    where: str = ""
    logs: list[VerifierKey] = field(default_factory=list)
    log_urls: dict[str, str] = field(default_factory=dict)  # by verifier key
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    witness_urls: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)  # each only of names before it
    quorum: str | None = None

    @property
    def log_keys(self) -> list[str]:
        return [key.text for key in self.logs]

    def reachable(self) -> list[Witness]:
        """The witnesses that the policy says where to ask."""
        return [Witness(name, self.witnesses[name].text, url) for name, url in self.witness_urls.items()]

    def check(self, note: bytes) -> None:
        """VerificationError unless a log of the policy signed the note and its quorum of witnesses cosigned it."""
        _, found = open_note(note, [*self.logs, *self.witnesses.values()])
        signed = {(signature.name, signature.id) for signature in found if signature.time != 0}
        if not any((key.name, key.id) in signed for key in self.logs):
            raise VerificationError("not signed by a log of the policy", code="ATLAS_E_SIGNATURE", where=self.where)
        holds = {name: (key.name, key.id) in signed for name, key in self.witnesses.items()}
        for name, group in self.groups.items():
            holds[name] = sum(holds[member] for member in group.members) >= group.threshold
        if self.quorum is not None and not holds[self.quorum]:
            missing = ", ".join(name for name in self.witnesses if not holds[name])
            raise VerificationError(
                f"the quorum {self.quorum!r} is not reached; no cosignature of {missing}",
                code="ATLAS_E_SIGNATURE",
                where=self.where,
            )


def load_log_policy(path: StrPath) -> LogPolicy:
    data = read_regular(path, limit=MAX_POLICY_BYTES)
    try:
        return parse_log_policy(data.decode(), where=str(path))
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8", where=str(path), offset=error.start) from None


def parse_log_policy(text: str, *, where: str = "policy") -> LogPolicy:
    """MalformedError, with the line, for anything that the specification does not say."""
    reader = _Reader(LogPolicy(where))
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise MalformedError(f"more than {MAX_LINES} lines", where=where)
    for number, line in enumerate(lines, start=1):
        words = _BLANKS.split(line.strip(" \t"))
        if words == [""] or words[0].startswith("#"):
            continue
        try:
            reader.line(words)
        except (ValueError, UsageError) as error:
            raise MalformedError(f"line {number}: {error}", where=where) from None
    if not reader.complete:
        raise MalformedError("there is no quorum line", where=where, hint="`quorum none` asks for no witnesses")
    return reader.policy


class _Reader:
    def __init__(self, policy: LogPolicy) -> None:
        self.policy = policy
        self.complete = False
        self._keys: set[bytes] = set()
        self._members: set[str] = set()
        self._lines: dict[str, Callable[[list[str]], None]] = {
            "log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum
        }  # fmt: skip

    def line(self, words: list[str]) -> None:
        if words[0] not in self._lines:
            raise ValueError(f"no such word: {words[0][:50]!r}")
        self._lines[words[0]](words[1:])

    def _key(self, text: str, *kinds: int) -> VerifierKey:
        key = VerifierKey.parse(text)
        if key.kind not in kinds:
            raise ValueError("a key of the wrong type; logs have 1 or 2, witnesses 4")
        if key.public in self._keys:
            raise ValueError("the same key twice")
        self._keys.add(key.public)
        return key

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise ValueError("log VKEY [URL]")
        key = self._key(words[0], LOG_KEY, ECDSA_KEY)
        self.policy.logs.append(key)
        if len(words) == 2:
            self.policy.log_urls[key.text] = words[1]

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise ValueError("witness NAME VKEY [URL]")
        name = self._new(words[0])
        self.policy.witnesses[name] = self._key(words[1], COSIGNATURE_KEY)
        if len(words) == 3:
            self.policy.witness_urls[name] = words[2]

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise ValueError("group NAME all|any|NUMBER MEMBER...")
        name, rule, members = self._new(words[0]), words[1], tuple(words[2:])
        for member in members:
            if member not in self.policy.witnesses and member not in self.policy.groups:
                raise ValueError(f"{member[:50]!r} is not defined before")
            if member in self._members:
                raise ValueError(f"{member[:50]!r} is in a group already")
            self._members.add(member)
        thresholds = {"all": len(members), "any": 1}
        threshold = thresholds.get(rule) or (int(rule) if _NUMBER.fullmatch(rule) else 0)
        if not 1 <= threshold <= len(members):
            raise ValueError(f"a group of {len(members)} cannot ask for {rule[:50]!r}")
        self.policy.groups[name] = Group(threshold, members)

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self.complete:
            raise ValueError("one quorum, of one name or none")
        if words[0] != "none":
            if words[0] not in self.policy.witnesses and words[0] not in self.policy.groups:
                raise ValueError(f"{words[0][:50]!r} is not defined before")
            self.policy.quorum = words[0]
        self.complete = True

    def _new(self, name: str) -> str:
        if name == "none" or name in self.policy.witnesses or name in self.policy.groups:
            raise ValueError(f"the name {name[:50]!r} is taken")
        return name


__all__ = ["LogPolicy", "load_log_policy", "parse_log_policy"]
