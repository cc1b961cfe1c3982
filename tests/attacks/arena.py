"""How an attack is judged: the product's verdict about a scene, the promised answer, and the node it must name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from forge.world import REPORT, ROOT, TSA_ROOT, Scene

from atlas.model import Verdict
from atlas.policy import Policy
from atlas.verify import verify

Change = Callable[[Scene], object]

VALID, INVALID, UNTRUSTED = "VALID", "INVALID", "UNTRUSTED"
INCOMPLETE, MALFORMED, LIMIT = "INCOMPLETE", "MALFORMED", "LIMIT"


def untouched(scene: Scene) -> None:
    """The twin of an attack on bytes: the honest chain itself."""


def resealed(scene: Scene) -> None:
    """The twin of an attack that is signed again: taken apart, signed again, nothing changed."""
    scene.reseal()


@dataclass(frozen=True)
class Case:
    """One line of a table: what is done, what the answer must be, and the artifact whose manifest must be named.

    `node` None: there is no one manifest to name; several: one of them. `says` must occur in a failed check's code
    or text.
    """

    name: str
    answer: str | tuple[str, ...]
    node: str | tuple[str, ...] | None
    attack: Change
    twin: Change = resealed
    says: str = ""
    subject: str = REPORT
    mode: str = "embed"
    policy: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def answers(self) -> tuple[str, ...]:
        return (self.answer,) if isinstance(self.answer, str) else self.answer


def policy(**changes: Any) -> Policy:
    roots = {"roots": ROOT.pem.encode(), "tsa_roots": TSA_ROOT.pem.encode()}
    return Policy(**{**roots, **changes})


def judge(scene: Scene, path: Path, *, rules: dict[str, Any] | None = None, **options: Any) -> Verdict:
    """The product's verdict, with an empty store, on the artifact and what lies under the scene's root."""
    options = {"root": scene.root, "store": scene.root / ".store", **options}
    return verify(path, policy=policy(**(rules or {})), **options)


def failing(verdict: Verdict) -> list[Any]:
    return [check for check in verdict.checks if check.status in ("failed", "not run")]


def blamed(verdict: Verdict) -> set[str]:
    """URNs of the manifests that a failed check names."""
    return {verdict.nodes[check.node].urn for check in failing(verdict) if check.node < len(verdict.nodes)}


def told(verdict: Verdict) -> str:
    """What a failing test prints."""
    return f"{verdict.answer}\n" + "\n".join(
        f"  {c.answer} {c.code} [{c.status}] node {c.node} {c.where}: {c.text}" for c in failing(verdict)
    )


def attack(case: Case, root: Path) -> None:
    """Runs the attack and holds the verdict against the promise."""
    scene = Scene.at(root, mode=case.mode, subject=case.subject)
    case.attack(scene)
    verdict = judge(scene, scene.publish(), rules=case.policy, **case.options)
    assert verdict.answer in case.answers, told(verdict)
    assert not verdict
    assert verdict.exit_code != 0
    if case.node is not None:
        names = (case.node,) if isinstance(case.node, str) else case.node
        assert {scene.urn(name) for name in names} & blamed(verdict), told(verdict)
    if case.says:
        assert case.says in told(verdict), told(verdict)


def clean(case: Case, root: Path) -> None:
    """Runs the clean twin: the same work without the harm is VALID."""
    scene = Scene.at(root, mode=case.mode, subject=case.subject)
    case.twin(scene)
    verdict = judge(scene, scene.publish(), rules=case.policy, **case.options)
    assert verdict.answer == VALID, told(verdict)
    assert verdict.exit_code == 0


def table(cases: Iterable[Case]) -> Any:
    """A table as a parametrisation; names must differ."""
    listed = list(cases)
    names = [case.name for case in listed]
    assert len(set(names)) == len(names), "two cases have one name"
    return pytest.mark.parametrize("case", listed, ids=names)
