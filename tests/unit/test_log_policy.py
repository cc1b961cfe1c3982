"""Policies for logs (c2sp.org/tlog-policy): which logs, which witnesses, how many."""

from __future__ import annotations

import itertools

import pytest

from atlas.errors import MalformedError, VerificationError
from atlas.remote.policy import parse_log_policy
from tests.forge import tlog

LOG = tlog.NoteKey("log.example/team")
W = {name: tlog.NoteKey(f"witness.example/{name}", tlog.COSIGNATURE) for name in ("X1", "X2", "X3", "Y1", "Y2")}
TEXT = tlog.checkpoint_text(LOG.name, 7, bytes(32))
HEAD = f"# who may log\n\nlog {LOG.vkey} https://log.example/\n" + "".join(
    f"witness {name} {key.vkey} https://{name}.example/\n" for name, key in W.items()
)
NESTED = HEAD + "group X 2 X1 X2 X3\n \tgroup  Y\tany Y1 Y2 \ngroup both all X Y\nquorum both\n"


def note(*names: str) -> bytes:
    return LOG.note(TEXT) + b"".join(W[name].line(TEXT, time=1) for name in names)


def test_a_quorum_of_groups_is_reached_by_exactly_those_sets_that_it_names() -> None:
    policy = parse_log_policy(NESTED)
    for chosen in itertools.chain.from_iterable(itertools.combinations(W, n) for n in range(len(W) + 1)):
        enough = len({"X1", "X2", "X3"} & set(chosen)) >= 2 and bool({"Y1", "Y2"} & set(chosen))
        if enough:
            policy.check(note(*chosen))
        else:
            with pytest.raises(VerificationError, match="quorum 'both' is not reached"):
                policy.check(note(*chosen))


def test_a_witness_counts_once_however_often_it_signs() -> None:
    with pytest.raises(VerificationError):
        parse_log_policy(HEAD + "group X 2 X1 X2\nquorum X\n").check(note("X1", "X1"))


def test_without_witnesses_the_log_alone_is_enough_and_nobody_else() -> None:
    policy = parse_log_policy(HEAD + "quorum none\n")
    policy.check(note())
    stranger = tlog.NoteKey("stranger")
    with pytest.raises(VerificationError, match="not signed by a log of the policy"):
        policy.check(stranger.note(TEXT))


def test_a_cosignature_that_does_not_hold_is_not_passed_over() -> None:
    bad = LOG.note(TEXT) + W["X1"].line(TEXT + b"more\n", time=1)
    with pytest.raises(VerificationError):
        parse_log_policy(HEAD + "quorum none\n").check(bad)


def test_logs_and_witnesses_are_found_with_their_places() -> None:
    policy = parse_log_policy(NESTED)
    assert policy.log_keys == [LOG.vkey]
    assert policy.log_urls == {LOG.vkey: "https://log.example/"}
    assert [(w.name, w.vkey, w.url) for w in policy.reachable()] == [
        (name, key.vkey, f"https://{name}.example/") for name, key in W.items()
    ]


LINES = [
    "", "quorum none\nquorum none\n", "quorum\n", "quorum X9\n", "quorum X1 X2\n", "group X 3 X1 X2\nquorum X\n",
    "group X 0 X1\nquorum X\n", "group X -1 X1\nquorum X\n", "group X most X1 X2\nquorum X\n",
    "group X any\nquorum none\n", "group none any X1\nquorum none\n", "group X1 any X2\nquorum none\n",
    "group X any X\nquorum X\n", "group X any none\nquorum X\n", "group X all X1 X1\nquorum X\n",
    "group A any X1\ngroup B any X1\nquorum A\n", f"log {LOG.vkey}\nquorum none\n",
    f"witness W {W['X1'].vkey}\nquorum none\n", f"witness W {LOG.vkey}\nquorum none\n",
    f"log {W['X1'].vkey}\nquorum none\n", f"witness X1 {tlog.NoteKey('new', 4).vkey}\nquorum none\n",
    "log nonsense\nquorum none\n", "log\nquorum none\n", "trust everybody\nquorum none\n",
    "quorum none\n" + "#\n" * 2000, "group X any Y\ngroup Y any X\nquorum X\n",
]  # fmt: skip


@pytest.mark.parametrize("lines", LINES, ids=range(len(LINES)))
def test_what_is_no_policy_is_refused(lines: str) -> None:
    with pytest.raises(MalformedError):
        parse_log_policy(HEAD + lines)


def test_a_cosignature_without_a_time_does_not_count() -> None:
    with pytest.raises(VerificationError):
        parse_log_policy(HEAD + "quorum X1\n").check(LOG.note(TEXT) + W["X1"].line(TEXT, time=0))


def test_an_error_names_its_line() -> None:
    with pytest.raises(MalformedError, match="line 9: 'X9' is not defined"):
        parse_log_policy(HEAD + "quorum X9\n")
