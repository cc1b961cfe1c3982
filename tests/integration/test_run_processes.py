"""Processes: forked and spawned children, ranks, threads. One run, one signer, every byte accounted for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recording import PACKAGE, Project

torch = pytest.importorskip("torch")

HEAD = """
import hashlib, multiprocessing, os, sys, time
import atlas, torch
from pathlib import Path
from torch.utils.data import DataLoader, TensorDataset

def state(seed):
    torch.manual_seed(seed)
    return dict(torch.nn.Linear(4, 4).state_dict())
"""


def flat(path: str | Path) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_child_saves_is_signed_by_its_parent(project: Project, method: str) -> None:
    project.python(
        HEAD
        + f"""
def child():
    torch.load("base.pt")
    torch.save(state(1), "child.pt")

if __name__ == "__main__":
    torch.save(state(0), "base.pt")
    with atlas.init() as run:
        process = multiprocessing.get_context({method!r}).Process(target=child)
        process.start()
        process.join()
        assert process.exitcode == 0
    assert "ATLAS_ATTACH" not in os.environ
"""
    )
    manifest = project.manifest("child.pt")
    assert manifest.inputs["base.pt"]["flat"] == flat("base.pt")
    assert project.verify("child.pt").answer == "VALID"


def test_what_a_child_saves_is_signed_while_the_parent_waits(project: Project) -> None:
    project.python(
        HEAD
        + """
def child():
    torch.save(state(1), "child.pt")
    for _ in range(100):
        if Path("child.pt.c2pa").exists():
            sys.exit(0)
        time.sleep(0.1)
    sys.exit("no manifest while the child was running")

if __name__ == "__main__":
    with atlas.init() as run:
        process = multiprocessing.get_context("spawn").Process(target=child)
        process.start()
        process.join()
        assert process.exitcode == 0
"""
    )
    assert project.verify("child.pt")


def test_a_main_module_that_calls_init_at_its_top_is_safe_to_spawn(project: Project) -> None:
    """The child imports it again: it must join the run and never open the key."""
    project.python(
        HEAD
        + """
run = atlas.init()

def child(run_id):
    assert atlas.init().id == run_id
    assert atlas.init().doctor()["signs"] is False
    torch.save(state(1), "child.pt")

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=child, args=(run.id,))
    Path("keys/key.pem").rename("keys/moved.pem")
    process.start()
    process.join()
    assert process.exitcode == 0
"""
    )
    assert project.verify("child.pt")


def test_a_forked_child_holds_no_key_and_leaves_the_parent_alone(project: Project) -> None:
    project.python(
        HEAD
        + """
run = atlas.init()
pid = os.fork()
if pid == 0:
    assert run.doctor()["signs"] is False
    torch.save(state(1), "child.pt")
    with run.step("in the child"):
        Path("note.txt").write_text("x")
        run.output("note.txt")
    run.finish()          # not the child's to end
    atlas.uninstall()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert run.live
torch.save(state(2), "parent.pt")
"""
    )
    for name in ("child.pt", "parent.pt", "note.txt"):
        assert project.verify(name), name
    assert project.manifest("note.txt").run["step"] == "in the child"


def test_a_fork_while_other_threads_record_does_not_hang(project: Project) -> None:
    """Without torch, which does not survive a fork in the middle of its own work."""
    project.python(
        """
        import os, threading
        from pathlib import Path
        import atlas

        run = atlas.init()
        stop = threading.Event()

        def busy(n):
            i = 0
            while not stop.is_set():
                i += 1
                Path(f"busy{n}.txt").write_text(str(i))
                run.output(f"busy{n}.txt")
                run.input(f"busy{n}.txt")
                with run.step(f"step {n}.{i}"):
                    run.params(i=i)

        threads = [threading.Thread(target=busy, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for i in range(20):
            pid = os.fork()
            if pid == 0:
                with run.step("child"):
                    Path(f"fork{i}.txt").write_text(str(i))
                    run.output(f"fork{i}.txt")
                    run.input(f"fork{i}.txt")
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        stop.set()
        for thread in threads:
            thread.join()
        """
    )
    for name in ("busy0.txt", "busy1.txt", "busy2.txt", *(f"fork{i}.txt" for i in range(20))):
        assert project.verify(name), name


def test_a_child_that_is_killed_loses_nothing_that_it_had_saved(project: Project) -> None:
    project.python(
        HEAD
        + """
import signal
run = atlas.init()
pid = os.fork()
if pid == 0:
    torch.save(state(1), "saved.pt")
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
"""
    )
    assert project.verify("saved.pt")


def test_inputs_of_the_parent_are_related_to_what_a_child_saves(project: Project) -> None:
    project.python(
        HEAD
        + """
torch.save(state(0), "base.pt")
run = atlas.init()
torch.load("base.pt")
pid = os.fork()
if pid == 0:
    torch.save(state(1), "child.pt")
    os._exit(0)
os.waitpid(pid, 0)
"""
    )
    assert project.manifest("child.pt").inputs["base.pt"]["relation"] == "loaded by the parent process"


def test_what_children_read_is_an_input_of_what_the_parent_saves(project: Project) -> None:
    project.python(
        HEAD
        + """
def work(i):
    return float(torch.load(f"part{i}.pt"))

if __name__ == "__main__":
    for i in range(3):
        torch.save(torch.tensor(float(i)), f"part{i}.pt")
    run = atlas.init()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        total = sum(pool.map(work, range(3)))
    torch.save({"a.total": torch.tensor(total)}, "sum.pt")
"""
    )
    manifest = project.manifest("sum.pt")
    assert set(manifest.inputs) == {"part0.pt", "part1.pt", "part2.pt"}
    assert {e["relation"] for e in manifest.inputs.values()} == {"loaded by a child process"}


def test_a_program_of_its_own_with_a_key_of_its_own_is_a_run_of_its_own(project: Project) -> None:
    from atlas.sign import keygen

    keygen("Bob", project.root / "bob")
    project.python(
        HEAD
        + """
import subprocess
run = atlas.init()
script = '''
import atlas, torch
run = atlas.init(key="bob/key.pem")
torch.save({"a.w": torch.zeros(1)}, "bobs.pt")
'''
subprocess.run([sys.executable, "-c", script], check=True)
torch.save(state(1), "alices.pt")
"""
    )
    bobs = project.verify("bobs.pt", trust=project.root / "bob" / "root.pem")
    assert bobs and bobs.nodes[0].signer is not None and bobs.nodes[0].signer.name == "Bob"
    assert project.manifest("alices.pt").inputs == {}


# -------------------------------------------------------------------------------------------------- ranks

RANKS = (
    HEAD
    + """
from torch.utils.data import DistributedSampler
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

def barrier(name):
    Path(f"{name}-{rank}").touch()
    while not all(Path(f"{name}-{r}").exists() for r in range(world)):
        time.sleep(0.01)

run = atlas.init()
assert run.doctor()["signs"] is (rank == 0)
base = torch.load("base.pt")
own = torch.load(f"own{rank}.pt")
data = TensorDataset(torch.arange(20))
sampler = DistributedSampler(data, num_replicas=world, rank=rank, shuffle=False)
seen = 0
with run.step("train"):
    for (x,) in DataLoader(data, batch_size=2, sampler=sampler):
        seen += len(x)
    barrier("trained")
    if rank == 0:
        torch.save(state(1), "model.pt")
torch.save(state(rank), f"shard{rank}.pt")
barrier("saved")
"""
)


def prepare() -> None:
    torch.save({"a.w": torch.zeros(2)}, "base.pt")
    for rank in range(2):
        torch.save(torch.tensor(rank), f"own{rank}.pt")


def check_ranks(project: Project) -> None:
    manifest = project.manifest("model.pt")
    assert (manifest.run["rank"], manifest.run["world_size"]) == (0, 2)
    loaders = sorted(manifest.loaders, key=lambda entry: entry["rank"])
    assert [entry["rank"] for entry in loaders] == [0, 1]
    assert [entry["samples"] for entry in loaders] == [10, 10]
    assert loaders[0]["order_digest"] != loaders[1]["order_digest"]
    assert set(manifest.inputs) == {"base.pt", "own0.pt", "own1.pt"}
    assert manifest.inputs["own1.pt"]["relation"] == "loaded by rank 1"
    assert manifest.gaps == {}
    for name in ("model.pt", "shard0.pt", "shard1.pt"):
        assert project.verify(name), name
    assert "own0.pt" not in project.manifest("shard1.pt").inputs


def start_ranks(
    project: Project, script: str, ranks: list[int], world: int, **environ: str
) -> list[subprocess.Popen[str]]:
    path = project.root / "ranks.py"
    path.write_text(script)
    common = {
        "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555", "ATLAS_KEY": str(project.key),
        "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, str(path)], cwd=project.root, text=True, stderr=subprocess.PIPE,
            env={**os.environ, **common, "RANK": str(rank), **environ},
        )
        for rank in ranks
    ]  # fmt: skip


def finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_two_ranks_share_one_manifest_and_only_rank_0_opens_the_key(project: Project) -> None:
    prepare()
    processes = start_ranks(project, RANKS, [0], 2)
    processes += start_ranks(project, RANKS, [1], 2, ATLAS_KEY="/nonexistent/key.pem")
    finish(processes)
    check_ranks(project)


def test_two_ranks_under_torchrun(project: Project) -> None:
    prepare()
    (project.root / "ranks.py").write_text(RANKS)
    project.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29556", "ranks.py"]
    )
    check_ranks(project)


def test_a_rank_that_is_missing_is_a_gap(project: Project) -> None:
    prepare()
    alone = RANKS.replace("range(world)", "[0]")
    finish(start_ranks(project, alone, [0], 2))
    assert "left no record" in project.manifest("model.pt").gaps["rank 1 of 2"]
    assert project.verify("model.pt")


def test_the_ranks_of_an_earlier_job_are_not_taken_for_those_of_this_one(project: Project) -> None:
    prepare()
    finish(start_ranks(project, RANKS, [0, 1], 2))
    for path in project.root.glob("*-?"):
        path.unlink()
    alone = RANKS.replace("range(world)", "[0]")
    finish(start_ranks(project, alone, [0], 2))
    assert "rank 1 of 2" in project.manifest("model.pt").gaps
    assert [entry["rank"] for entry in project.manifest("model.pt").loaders] == [0]


def test_workers_of_both_ranks_roll_up_into_one_input(project: Project) -> None:
    Path("samples").mkdir()
    for i in range(8):
        torch.save(torch.tensor(i), f"samples/{i}.pt")
    script = (
        HEAD
        + """
from torch.utils.data import Dataset, DistributedSampler
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

class Samples(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return torch.load(f"samples/{i}.pt")

run = atlas.init()
data = Samples()
sampler = DistributedSampler(data, num_replicas=world, rank=rank)
list(DataLoader(data, sampler=sampler, num_workers=1))
Path(f"done-{rank}").touch()
while not (Path("done-0").exists() and Path("done-1").exists()):
    time.sleep(0.01)
if rank == 0:
    torch.save(state(1), "model.pt")
"""
    )
    finish(start_ranks(project, script, [0, 1], 2))
    manifest = project.manifest("model.pt")
    assert list(manifest.inputs) == ["samples"]
    assert manifest.inputs["samples"]["size"] == sum(p.stat().st_size for p in Path("samples").iterdir())
    assert project.verify("model.pt")


# ------------------------------------------------------------------------------------------------- the rest


def test_a_script_that_dies_keeps_what_was_signed_and_a_journal(project: Project) -> None:
    ran = project.python(HEAD + "run = atlas.init()\ntorch.save(state(0), 'a.pt')\nraise SystemExit(3)\n", check=False)
    assert ran.returncode == 3
    assert project.verify("a.pt")
    (journal,) = (project.store.directory / "runs").glob("*/*.journal")
    assert '"t":"end"' in journal.read_text()


def test_a_failed_script_says_so_in_its_journal(project: Project) -> None:
    ran = project.python(HEAD + "run = atlas.init()\nraise ValueError('diverged')\n", check=False)
    assert "ValueError: diverged" in ran.stderr
    (journal,) = (project.store.directory / "runs").glob("*/*.journal")
    assert '"status":"failed"' in journal.read_text()


def test_a_declared_output_is_signed_when_the_script_ends_by_itself(project: Project) -> None:
    project.python("import atlas\nrun = atlas.init()\nrun.output('late.txt')\nopen('late.txt', 'w').write('x')\n")
    assert project.verify("late.txt")


def test_notebook_cells_are_code(project: Project) -> None:
    project.python(
        """
        import sys
        sys.modules["__main__"].In = ["", "import atlas", "atlas.init()"]
        sys.modules["__main__"].get_ipython = lambda: None
        import atlas
        run = atlas.init()
        open("out.txt", "w").write("x")
        run.output("out.txt")
        """
    )
    assert project.manifest("out.txt").run["code"]["cells"]["count"] == 2


def test_importing_atlas_is_quick_and_imports_no_torch(project: Project) -> None:
    program = "import sys; import atlas; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    project.run([sys.executable, "-c", program])
    timed = "import time; began = time.process_time(); import atlas; print(time.process_time() - began)"
    seconds = [float(project.run([sys.executable, "-c", timed]).stdout) for _ in range(5)]
    assert min(seconds) < 0.1, seconds


def test_init_before_torch_hooks_it_when_it_comes(project: Project) -> None:
    project.python(
        """
        import sys, atlas
        run = atlas.init()
        assert "torch" not in sys.modules
        import torch
        from torch import load, save
        save({"a.w": torch.zeros(1)}, "a.pt")
        load("a.pt")
        save({"a.w": torch.ones(1)}, "b.pt")
        """
    )
    assert set(project.manifest("b.pt").inputs) == {"a.pt"}


def test_names_bound_before_init_are_covered(project: Project) -> None:
    project.python(
        """
        import torch
        from torch import load, save
        from torch.utils.data import DataLoader, TensorDataset
        from safetensors.torch import load_file, save_file
        import atlas
        run = atlas.init()
        save({"a.w": torch.zeros(1)}, "a.pt")
        load("a.pt")
        save_file({"a.w": torch.zeros(1)}, "b.safetensors")
        load_file("b.safetensors")
        list(DataLoader(TensorDataset(torch.zeros(3))))
        save({"a.w": torch.ones(1)}, "c.pt")
        """
    )
    manifest = project.manifest("c.pt")
    assert set(manifest.inputs) == {"a.pt", "b.safetensors"} and manifest.loaders[0]["samples"] == 3
    assert project.verify("b.safetensors")
