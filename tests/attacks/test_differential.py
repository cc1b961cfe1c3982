"""Two verifiers on the same mutations: c2pa-rs, which knows nothing of Atlas, and ours.

Nothing that c2pa-rs refuses may be VALID here. Where we refuse and it does not, the reason stands in `STRICTER`.
Half of the mutations are signed again, so that a rule must refuse them and not a hash.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mutations
import pytest
from arena import VALID, failing, policy, told
from forge import chain, measure, oracle, world
from mutations import Mutation

from atlas.model import Verdict
from atlas.store import Store
from atlas.verify import verify

COUNT = 2400
ROOTS = world.ROOT.pem + world.TSA_ROOT.pem


@dataclass
class Outcome:
    mutation: Mutation
    ours: Verdict
    theirs: oracle.Opinion

    @property
    def title(self) -> str:
        return f"seed {self.mutation.seed}, {self.mutation.what}, {self.mutation.base.name}"

    @property
    def reasons(self) -> set[str]:
        """What our failed checks are called."""
        return {check.code for check in failing(self.ours)}


@dataclass
class Bench:
    """Lays artifacts out on disk and asks both."""

    root: Path

    def ask(self, sidecar: bytes, content: measure.Content, name: str) -> tuple[Verdict, oracle.Opinion]:
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        chain.write_content(self.root, name, content)
        ours = verify(path, policy=RULES, manifest=sidecar, store=self.store)
        return ours, oracle.validate(sidecar, measure.bound(content), roots=ROOTS)

    @property
    def store(self) -> Store:
        return Store(self.root / ".store")

    @cache  # noqa: B019 - a bench lives as long as the module
    def twin(self, sidecar: bytes, n: int) -> tuple[str, str]:
        base = mutations.bases()[n]
        ours, theirs = self.ask(sidecar, base.content, base.name)
        return ours.answer, theirs.state

    def __hash__(self) -> int:
        return id(self)


RULES = policy()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Every mutation judged by both; the clean twin of each must have passed first."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    indexes = {id(base): n for n, base in enumerate(mutations.bases())}
    found = []
    for seed in range(COUNT):
        mutation = mutations.make(seed)
        twin = bench.twin(mutation.twin, indexes[id(mutation.base)])
        assert twin == (VALID, "Trusted"), f"the clean twin of seed {seed} is {twin}"
        found.append(Outcome(mutation, *bench.ask(mutation.sidecar, mutation.content, mutation.base.name)))
    return found


def test_half_of_2000_mutations_and_more_are_signed_again(outcomes: list[Outcome]) -> None:
    assert len(outcomes) >= 2000
    assert sum(outcome.mutation.signed for outcome in outcomes) * 2 == len(outcomes)
    assert {outcome.mutation.what.strip() for outcome in outcomes} == mutations.KINDS
    changed = [
        o for o in outcomes if (o.mutation.sidecar, o.mutation.content) != (o.mutation.twin, o.mutation.base.content)
    ]
    assert len(changed) > 0.97 * len(outcomes)


def test_nothing_that_c2pa_rs_refuses_is_valid_here(outcomes: list[Outcome]) -> None:
    lax = [o for o in outcomes if o.ours.answer == VALID and not o.theirs.trusted]
    assert not lax, "\n".join(f"{o.title}: {o.theirs}" for o in lax)


def test_no_byte_of_an_unsigned_change_is_valid(outcomes: list[Outcome]) -> None:
    """Whatever c2pa-rs thinks: where nobody signed the change, we refuse it."""
    valid = [o for o in outcomes if o.ours.answer == VALID and not o.mutation.signed]
    assert not valid, "\n".join(o.title for o in valid)


# Why we refuse what c2pa-rs trusts: status code of a failed check -> the rule of the profile. A disagreement is explained
# when one of its codes stands here; a line that explains nothing must go.
STRICTER: dict[str, str] = {}


def test_every_stricter_answer_has_its_explanation(outcomes: list[Outcome]) -> None:
    strict = [o for o in outcomes if o.ours.answer != VALID and o.theirs.trusted]
    unexplained = [o for o in strict if not o.reasons & STRICTER.keys()]
    assert not unexplained, "\n".join(f"{o.title}: {told(o.ours)}" for o in unexplained)
    used = Counter(code for o in strict for code in o.reasons & STRICTER.keys())
    assert set(used) == set(STRICTER), f"explains nothing: {set(STRICTER) - set(used)}"
