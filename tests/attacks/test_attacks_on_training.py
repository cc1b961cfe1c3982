"""Attacks on a training script that has the one line of Atlas: what it reads is not what its manifest claims."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from forge import chain, world
from forge.chain import index_of, sidecar_of
from recording import Project

import atlas
from atlas.errors import AtlasError

torch = pytest.importorskip("torch", reason="training needs torch")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with Project.at(tmp_path, monkeypatch) as project:
        (project.root / "both.pem").write_text(world.ROOT.pem + project.trust.read_text())
        project.trust = project.root / "both.pem"
        yield project


def weights(root: Path, value: float) -> bytes:
    path = root / "scratch.pt"
    torch.save({"w": torch.full((4,), value)}, path)
    data = path.read_bytes()
    path.unlink()
    return data


def published(project: Project, party: object = world.LAB) -> chain.Made:
    """base/model.pt as somebody else published it, signed without the product."""
    made = chain.make("base/model.pt", weights(project.root, 1.0), party)  # type: ignore[arg-type]
    made.write(project.root)
    return made


def train(project: Project, **options: object) -> None:
    with project.init(**options):
        base = torch.load("base/model.pt")
        Path("out").mkdir(exist_ok=True)
        torch.save({"w": base["w"] + 1}, "out/model.pt")


def test_an_honest_base_becomes_an_ancestor(project: Project) -> None:
    base = published(project)
    train(project)
    verdict = project.verify("out/model.pt")
    assert verdict.answer == "VALID", verdict.explain()
    assert [node.urn for node in verdict.nodes[1:]] == [base.urn]


def test_a_base_swapped_before_training_gives_no_child_with_that_base(project: Project) -> None:
    """The honest sidecar stays. The child says what was read and that nobody vouched for it."""
    base = published(project)
    Path("base/model.pt").write_bytes(weights(project.root, 666.0))
    train(project)
    verdict = project.verify("out/model.pt")
    assert base.urn not in {node.urn for node in verdict.nodes}
    assert verdict.unknown == 1
    assert verdict.gaps >= 1
    strict = atlas.verify("out/model.pt", policy=strict_policy(project))
    assert strict.answer == "UNTRUSTED", strict.explain()


def strict_policy(project: Project) -> object:
    from atlas.policy import Policy

    return Policy(roots=project.trust.read_bytes(), refuse_unknown_inputs=True)


def test_a_base_swapped_after_training_is_seen(project: Project) -> None:
    published(project)
    train(project)
    Path("base/model.pt").write_bytes(weights(project.root, 666.0))
    assert project.verify("out/model.pt").answer == "INVALID"


def test_the_sidecar_of_another_model_does_not_vouch_for_the_base(project: Project) -> None:
    other = chain.make("base/model.pt", weights(project.root, 2.0), world.LAB)
    published(project)
    sidecar_of(Path("base/model.pt")).write_bytes(other.sidecar)
    train(project)
    verdict = project.verify("out/model.pt")
    assert other.urn not in {node.urn for node in verdict.nodes}
    assert verdict.unknown == 1


def test_a_forged_base_is_not_trusted_later(project: Project) -> None:
    """In observe mode nothing stops; the verdict about the child names the forger's manifest."""
    base = published(project, world.ATTACKER)
    train(project)
    verdict = project.verify("out/model.pt")
    assert verdict.answer == "UNTRUSTED", verdict.explain()
    assert base.urn in {verdict.nodes[check.node].urn for check in verdict.failures}


@pytest.mark.parametrize("what", ["swapped", "foreign root", "no manifest", "sidecar of another model"])
def test_enforce_refuses_the_base_before_it_is_read(what: str, project: Project) -> None:
    published(project, world.ATTACKER if what == "foreign root" else world.LAB)
    path = Path("base/model.pt")
    if what == "swapped":
        path.write_bytes(weights(project.root, 666.0))
    elif what == "no manifest":
        sidecar_of(path).unlink()
    elif what == "sidecar of another model":
        sidecar_of(path).write_bytes(chain.make("base/model.pt", b"other", world.LAB).sidecar)
    with pytest.raises(AtlasError):
        train(project, mode="enforce", trust=project.trust)
    assert not Path("out/model.pt").exists()


def test_enforce_loads_what_the_roots_vouch_for(project: Project) -> None:
    published(project)
    train(project, mode="enforce", trust=project.trust)
    assert project.verify("out/model.pt").answer == "VALID"


def test_a_planted_policy_does_not_reach_the_recorder(project: Project) -> None:
    published(project, world.ATTACKER)
    for name in "roots.pem", "base/roots.pem", ".atlas/roots.pem", "root.pem":
        chain.write_content(project.root, name, world.OTHER_ROOT.pem.encode())
    (project.root / "pyproject.toml").write_text('[tool.atlas]\ntrust = "roots.pem"\nmode = "off"\n')
    with pytest.raises(AtlasError):
        train(project, mode="enforce", trust=project.trust)


def test_a_data_set_changed_while_its_sidecar_stays_is_unknown(project: Project) -> None:
    data = chain.make("data", {"a.txt": b"honest"}, world.CURATOR)
    path = data.write(project.root)
    (path / "a.txt").write_bytes(b"poison")
    with project.init() as run:
        run.input("data", role="training data")
        torch.save({"w": torch.zeros(1)}, "model.pt")
    assert index_of(path).read_bytes() == data.bound
    verdict = project.verify("model.pt")
    assert data.urn not in {node.urn for node in verdict.nodes}
    assert verdict.unknown == 1
