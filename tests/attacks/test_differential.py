"""Two verifiers on the same mutations: c2pa-rs, which knows nothing of Atlas, and ours.

Nothing that c2pa-rs refuses may be VALID here. Where we refuse and it does not, the reason stands in `STRICTER`.
Half of the mutations are signed again, so that a rule must refuse them and not a hash.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import mutations
import pytest
from arena import VALID, failing, policy, told
from forge import chain, measure, oracle, world
from mutations import Mutation

from atlas.model import Verdict
from atlas.verify import verify

pytestmark = pytest.mark.slow

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


@dataclass
class Bench:
    """Lays artifacts out on disk and asks both."""

    root: Path
    twins: dict[tuple[bytes, int], tuple[str, str]] = field(default_factory=dict)

    def ask(self, sidecar: bytes, content: measure.Content, name: str) -> tuple[Verdict, oracle.Opinion]:
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        chain.write_content(self.root, name, content)
        ours = verify(path, policy=RULES, manifest=sidecar, store=self.root / ".store")
        return ours, oracle.validate(sidecar, measure.bound(content), roots=ROOTS)

    def twin(self, mutation: Mutation) -> tuple[str, str]:
        """What both say of the mutation's clean twin; asked once for equal twins."""
        key = mutation.twin, id(mutation.base)
        if key not in self.twins:
            ours, theirs = self.ask(mutation.twin, mutation.base.content, mutation.base.name)
            self.twins[key] = ours.answer, theirs.state
        return self.twins[key]


RULES = policy()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Every mutation judged by both; the clean twin of each must have passed first."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    found = []
    for seed in range(COUNT):
        mutation = mutations.make(seed)
        twin = bench.twin(mutation)
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


# Why we refuse what c2pa-rs trusts. A disagreement is explained when one of its failed checks matches a line; a line
# that explains nothing must go.
STRICTER: dict[str, str] = {
    "claim.malformed": "bytes after the store, boxes that do not end where they say, two manifests of one name",
    "longer than needed|no definite length|one key twice|ends too early": "strict CBOR: shortest heads, no twins",
    "exactly one content box": "an assertion, a claim and a signature hold one box of the type they announce",
    "holds a superbox that is no claim": "a manifest has its three parts and nothing else",
    "a salt of neither|a label that no label may be": "labels and salts as C2PA 2.2, 11.1 has them",
    "signature.payload: must be nil": "the claim is signed where it stands; a second copy could say something else",
    "critical headers": "a critical header that is not understood must be refused (RFC 9052, 3.1)",
    "signature.unprotected: holds|is not protected|there are two": "nothing that counts stands outside the signature",
    "signature.rVals": "revocation responses that cannot be read are not evidence",
    "nothing binds the manifest|dataHash.malformed": "ancestors need a hard binding too; c2pa-rs reads only the newest",
    "not a hash algorithm of the profile": "SHA-256, -384 and -512, whoever asks",
    "neither a JUMBF URI nor http|wrong kind of box": "an address leads to what its field is about",
    "do not belong together": "a parent is opened, and what is opened is the parent",
    "ingredient.claimSignature.mismatch": "both hashes of an ingredient are compared",
    "org.atlasml.measurement|org.atlasml.tree|org.atlasml.kind": "our own statement about the artifact's bytes",
    "org.atlasml.inputs": "our own statement about the bytes that were read",
    "org.atlasml.run": "run and step are text: evidence and policies refer to them",
    "org.atlasml.coverage": "our own statement about what was not read",
    "timeStamp.mismatch|timeStamp.malformed": "a false time stamp is a false statement; c2pa-rs goes on without it",
    "timeStamp.credentialInvalid": "an authority's certificate is checked like a signer's",
    "timeStamp.outsideValidity": "trusted times make sense: not in the future, within the certificate",
}

# The same for changes that nobody signed. Random bytes find these places or not, so that none of them has to be met.
UNSIGNED = {
    "toggles are outside the profile": "a box says that it has a label and perhaps a salt, and nothing else",
    "called like a manifest and is none|is no claim": "all sixteen bytes of a box's type count; c2pa-rs reads four",
}


def explanations(outcome: Outcome) -> set[str]:
    said = "\n".join(f"{check.code}: {check.text}" for check in failing(outcome.ours))
    known = STRICTER if outcome.mutation.signed else STRICTER | UNSIGNED
    return {pattern for pattern in known if re.search(pattern, said)}


def test_every_stricter_answer_has_its_explanation(outcomes: list[Outcome]) -> None:
    strict = [o for o in outcomes if o.ours.answer != VALID and o.theirs.trusted]
    unexplained = [o for o in strict if not explanations(o)]
    assert not unexplained, "\n".join(f"{o.title}: {told(o.ours)}" for o in unexplained)
    used = Counter(pattern for o in strict for pattern in explanations(o))
    print(f"{len(strict)} of {len(outcomes)} answers are stricter than c2pa-rs:", *used.most_common(), sep="\n  ")
    assert set(STRICTER) <= set(used), f"explains nothing: {set(STRICTER) - set(used)}"
