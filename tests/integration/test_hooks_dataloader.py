"""DataLoader: which samples were handed out, in which order, from which bytes."""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path
from typing import Any

import pytest
from recording import Manifest, Project

torch = pytest.importorskip("torch")

from torch.utils.data import (  # noqa: E402
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    TensorDataset,
)


def order_of(batches: list[list[int]]) -> bytes:
    """Independently of Atlas: SHA-256 over count and indices of every batch."""
    running = hashlib.sha256()
    for batch in batches:
        running.update(len(batch).to_bytes(8, "little") + array("q", batch).tobytes())
    return running.digest()


class Numbers(Dataset):
    """Hands out its own indices, so that a test sees what was consumed."""

    def __init__(self, n: int = 20) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> int:
        return i


def save(project: Project) -> Manifest:
    torch.save({"x.w": torch.zeros(1)}, "out.pt")
    return project.manifest("out.pt")


def consume(loader: DataLoader, limit: int | None = None) -> list[list[int]]:
    seen = []
    for i, batch in enumerate(loader):
        seen.append(batch.tolist())
        if limit is not None and i + 1 == limit:
            break
    return seen


OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2},
    {"num_workers": 2, "persistent_workers": True},
    {"num_workers": 1, "multiprocessing_context": "forkserver"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["no workers", "fork", "persistent", "forkserver"])
def test_the_order_is_the_one_that_was_really_consumed(project: Project, options: dict[str, Any]) -> None:
    with project.init():
        loader = DataLoader(Numbers(), batch_size=3, shuffle=True, **options)
        seen = consume(loader) + consume(loader)
        (entry,) = save(project).loaders
    assert (entry["epochs"], entry["batches"], entry["samples"]) == (2, 14, 40)
    assert (entry["order"], entry["order_digest"]) == ("exact", order_of(seen))
    assert entry["sampler"] == "RandomSampler" and len(entry["seeds"]) >= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_broken_off_counts_what_was_handed_out(project: Project, workers: int) -> None:
    with project.init():
        seen = consume(DataLoader(Numbers(), batch_size=2, shuffle=True, num_workers=workers), limit=5)
        (entry,) = save(project).loaders
    assert (entry["batches"], entry["samples"], entry["order_digest"]) == (5, 10, order_of(seen))


def test_a_loader_that_is_made_anew_for_every_epoch_is_one(project: Project) -> None:
    data = Numbers()
    with project.init():
        seen = [batch for _ in range(3) for batch in consume(DataLoader(data, batch_size=5, shuffle=True))]
        (entry,) = save(project).loaders
    assert (entry["epochs"], entry["order_digest"]) == (3, order_of(seen))


def test_counting_goes_on_after_a_save(project: Project) -> None:
    with project.init():
        loader = DataLoader(Numbers(), batch_size=5)
        consume(loader)
        assert save(project).loaders[0]["samples"] == 20
        consume(loader)
        assert save(project).loaders[0]["samples"] == 40


def test_a_sample_that_fails_is_not_counted(project: Project) -> None:
    class Fails(Numbers):
        def __getitem__(self, i: int) -> int:
            if i == 4:
                raise ValueError("broken sample")
            return i

    with project.init():
        it = iter(DataLoader(Fails(10), batch_size=2))
        assert [next(it).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
        with pytest.raises(ValueError, match="broken sample"):
            next(it)
        assert next(it).tolist() == [6, 7]
        (entry,) = save(project).loaders
    assert (entry["samples"], entry["order_digest"]) == (6, order_of([[0, 1], [2, 3], [6, 7]]))


def test_without_batches_every_sample_counts_one(project: Project) -> None:
    with project.init():
        assert list(DataLoader(Numbers(4), batch_size=None)) == [0, 1, 2, 3]
        (entry,) = save(project).loaders
    assert (entry["samples"], entry["order_digest"]) == (4, order_of([[0], [1], [2], [3]]))


def test_indices_that_are_no_numbers_have_an_order_too(project: Project) -> None:
    class Named(Dataset):
        def __getitem__(self, key: str) -> int:
            return len(key)

    digests = []
    for keys in (["a", "bb"], ["bb", "a"]):
        with project.init():
            list(DataLoader(Named(), sampler=keys, batch_size=1))
            digests.append(save(project).loaders[0]["order_digest"])
    assert digests[0] != digests[1]


def test_an_iterable_data_set_is_counted_and_has_no_order(project: Project) -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(7))

    with project.init():
        list(DataLoader(Stream(), batch_size=3))
        (entry,) = save(project).loaders
    assert (entry["batches"], entry["samples"], entry["order"]) == (3, 7, "not applicable")
    assert "order_digest" not in entry


def test_batches_out_of_order_say_so(project: Project) -> None:
    try:
        loader = DataLoader(Numbers(), batch_size=2, num_workers=2, in_order=False)
    except TypeError:
        pytest.skip("this torch always keeps the order")
    with project.init():
        list(loader)
        (entry,) = save(project).loaders
    assert (entry["order"], entry["samples"]) == ("unordered", 20)


def test_a_distributed_sampler_says_whose_share_it_was(project: Project) -> None:
    data = Numbers()
    with project.init():
        sampler = DistributedSampler(data, num_replicas=2, rank=1, seed=7)
        loader = DataLoader(data, batch_size=5, sampler=sampler)
        sampler.set_epoch(3)
        seen = consume(loader)
        (entry,) = save(project).loaders
    assert (entry["rank"], entry["replicas"], entry["sampler_seed"], entry["sampler_epoch"]) == (1, 2, 7, 3)
    assert entry["order_digest"] == order_of(seen)


# --------------------------------------------------------------------------------------------- what it is


def dataset_of(project: Project, data: Any, **options: Any) -> dict[str, Any]:
    with project.init():
        next(iter(DataLoader(data, **options)))
        (entry,) = save(project).loaders
    return dict(entry["dataset"])


def test_a_tensor_data_set_is_its_tensors(project: Project) -> None:
    x, y = torch.randn(8, 3), torch.arange(8)
    first = dataset_of(project, TensorDataset(x, y))
    assert first["kind"] == "tensors"
    assert dataset_of(project, TensorDataset(x.clone(), y)) == first
    changed = x.clone()
    changed[3, 1] += 1
    assert dataset_of(project, TensorDataset(changed, y))["digest"] != first["digest"]
    assert dataset_of(project, TensorDataset(x.reshape(8, 3, 1), y))["digest"] != first["digest"]


class InMemory(Dataset):
    def __init__(self, x: torch.Tensor, labels: list[str], transform: Any = None) -> None:
        self.x, self.labels, self.transform = x, labels, transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.x[i]


def test_a_data_set_of_plain_attributes_is_their_digest(project: Project) -> None:
    x = torch.randn(4, 2)
    first = dataset_of(project, InMemory(x, ["a", "b", "c", "d"]))
    assert first["kind"] == "state"
    assert dataset_of(project, InMemory(x.clone(), ["a", "b", "c", "d"])) == first
    assert dataset_of(project, InMemory(x, ["a", "b", "c", "e"]))["digest"] != first["digest"]


def test_what_has_no_bytes_is_opaque_and_a_gap(project: Project) -> None:
    import sqlite3

    data = InMemory(torch.zeros(4, 2), [], sqlite3.connect(":memory:"))
    with project.init():
        next(iter(DataLoader(data)))
        manifest = save(project)
    assert manifest.loaders[0]["dataset"] == {"class": "InMemory", "kind": "opaque"}
    assert "opaque" in manifest.gaps["data set InMemory"]
    assert project.verify("out.pt")


def test_a_directory_among_the_attributes_is_not_taken_for_the_data(project: Project) -> None:
    class Lazy(Numbers):
        def __init__(self) -> None:
            super().__init__(3)
            self.root = "samples"

    Path("samples").mkdir()
    assert dataset_of(project, Lazy())["kind"] == "opaque"


class Files(Dataset):
    """Like torchvision's ImageFolder: `samples` lists paths and classes; read with plain Python."""

    def __init__(self, directory: str) -> None:
        self.samples = [(str(p), len(p.name)) for p in sorted(Path(directory).rglob("*.txt"))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> int:
        return len(Path(self.samples[i][0]).read_text())


def files(directory: str = "data", n: int = 6) -> None:
    for i in range(n):
        path = Path(directory) / f"class{i % 2}" / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * i)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_of_files_is_one_index_ingredient(project: Project, workers: int) -> None:
    files()
    with project.init():
        list(DataLoader(Files("data"), num_workers=workers))
        manifest = save(project)
    assert manifest.loaders[0]["dataset"]["kind"] == "files"
    entry = manifest.inputs["data"]
    assert (entry["kind"], entry["flat"]) == ("directory", manifest.loaders[0]["dataset"]["digest"])
    assert entry["size"] == sum(range(6)) and not manifest.has_manifest("data")
    assert manifest.gaps == {}
    assert project.verify("out.pt")


def test_the_index_is_the_one_of_the_directory_when_every_file_was_read(project: Project) -> None:
    import atlas

    files()
    with project.init():
        list(DataLoader(Files("data")))
        entry = save(project).inputs["data"]
    whole = atlas.measure("data")
    assert whole.flat is not None and whole.tree is not None
    assert (entry["flat"], entry["tree"]) == (whole.flat.value, whole.tree.value)


def sign_directory(project: Project, directory: str) -> None:
    with project.init() as run:
        run.output(directory)


def test_files_in_a_signed_directory_are_linked_to_its_manifest(project: Project) -> None:
    files()
    sign_directory(project, "data")
    with project.init():
        list(DataLoader(Subset(Files("data"), [0, 2]), num_workers=1))
        manifest = save(project)
    assert list(manifest.inputs) == ["data"] and manifest.has_manifest("data")
    assert manifest.loaders[0]["dataset"]["kind"] == "subset"
    verdict = project.verify("out.pt")
    assert verdict and verdict.unknown == 0 and verdict.measured == 2


def test_a_changed_file_in_a_signed_directory_is_not_vouched_for(project: Project) -> None:
    files()
    sign_directory(project, "data")
    Path("data/class1/1.txt").write_text("y")
    with project.init():
        list(DataLoader(Files("data")))
        manifest = save(project)
    assert not manifest.has_manifest("data")
    assert "data" in manifest.gaps


class Saved(Dataset):
    """Loads each sample with torch.load, from a directory that its attributes do not list."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.load(f"samples/{i}.pt")


def samples(n: int) -> None:
    Path("samples").mkdir()
    for i in range(n):
        torch.save(torch.tensor([i]), f"samples/{i}.pt")


@pytest.mark.parametrize("options", OPTIONS, ids=["no workers", "fork", "persistent", "forkserver"])
def test_files_that_are_loaded_for_a_data_set_roll_up_into_one_input(project: Project, options: dict[str, Any]) -> None:
    samples(9)
    with project.init():
        list(DataLoader(Saved(7), batch_size=2, **options))
        manifest = save(project)
    assert list(manifest.inputs) == ["samples"]
    entry = manifest.inputs["samples"]
    assert (entry["kind"], entry["size"]) == (
        "directory",
        sum(Path(f"samples/{i}.pt").stat().st_size for i in range(7)),
    )
    assert (manifest.loaders[0]["dataset"]["kind"], manifest.loaders[0]["dataset"]["files"]) == ("files read", 7)
    assert manifest.gaps == {}
    assert project.verify("out.pt")


def test_a_file_that_changes_between_two_epochs_is_a_gap(project: Project) -> None:
    samples(2)
    with project.init():
        loader = DataLoader(Saved(2))
        list(loader)
        torch.save(torch.tensor([9]), "other.pt")
        Path("samples/1.pt").write_bytes(Path("other.pt").read_bytes())
        list(loader)
        manifest = save(project)
    assert "changed while it was used" in manifest.gaps["samples/1.pt"]


def test_a_declared_input_says_what_a_data_set_is(project: Project) -> None:
    Path("train.txt").write_text("one\ntwo\n")
    data = InMemory(torch.zeros(4, 2), [], print)
    with project.init() as run:
        run.input("train.txt", role="training data", dataset=data)
        list(DataLoader(data))
        manifest = save(project)
    assert manifest.loaders[0]["dataset"]["input"] == "train.txt"
    assert manifest.loaders[0]["dataset"]["digest"] == hashlib.sha256(b"one\ntwo\n").digest()
    assert manifest.gaps == {}


def test_parts_of_data_sets_are_looked_into(project: Project) -> None:
    a, b = TensorDataset(torch.zeros(3)), TensorDataset(torch.ones(3))
    found = dataset_of(project, ConcatDataset([Subset(a, [0, 2]), b]))
    assert found["kind"] == "concatenation"
    assert [part["kind"] for part in found["parts"]] == ["subset", "tensors"]


def test_what_was_trained_on_is_told_from_what_was_evaluated(project: Project) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train, test = TensorDataset(torch.randn(6, 2)), TensorDataset(torch.randn(4, 2))
    with project.init():
        for (x,) in DataLoader(train, batch_size=3):
            model(x).sum().backward()
            optimizer.step()
        with torch.no_grad():
            for (x,) in DataLoader(test, batch_size=2):
                model(x)
        manifest = save(project)
    assert [entry["use"] for entry in manifest.loaders] == ["training data", "evaluation data"]


def test_an_iterator_that_was_made_before_the_run_is_a_gap(project: Project) -> None:
    it = iter(DataLoader(Numbers(), batch_size=2))
    next(it)
    with project.init():
        next(it)
        next(it)
        manifest = save(project)
    assert "before the run began" in manifest.gaps["data set Numbers"]


def test_counting_a_batch_costs_microseconds(project: Project) -> None:
    from time import process_time

    from atlas.record.loaders import LoaderUse
    from atlas.record.steps import Steps

    use = LoaderUse(1, Steps().top, {}, ordered="exact")
    index = list(range(256))
    began = process_time()
    for _ in range(2000):
        use.observe(1, True)
        use.consumed(index)
    assert (process_time() - began) / 2000 < 100e-6
