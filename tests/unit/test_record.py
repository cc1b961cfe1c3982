"""The parts of the recorder, each alone: names, redaction, plain data, settings, journals, indexes, steps, context."""

from __future__ import annotations

import contextvars
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from atlas.errors import UsageError
from atlas.measure import measure
from atlas.record.background import Background
from atlas.record.code import Code, git_state
from atlas.record.context import environment, packages, system
from atlas.record.family import Attachment, Rank
from atlas.record.journal import Follower, Journal, started_ns
from atlas.record.names import Names, encode_name, find_root
from atlas.record.plain import plain
from atlas.record.redact import REDACTED, Redactor, is_secret_name
from atlas.record.rollup import Member, index_of, read_index
from atlas.record.settings import resolve
from atlas.record.steps import Steps

# ----------------------------------------------------------------------------------------------------- names


def test_names_are_relative_to_the_root_or_the_last_part(tmp_path: Path) -> None:
    names = Names(tmp_path)
    assert names.logical(tmp_path / "out" / "model.pt") == "out/model.pt"
    assert names.logical(f"{tmp_path}/a/../b.pt") == "b.pt"
    assert names.logical("/elsewhere/deep/x.pt") == "x.pt"
    assert names.logical("/") == "root"
    assert (
        names.logical("/h/.cache/huggingface/hub/models--o--n/snapshots/abc/m.bin")
        == "models--o--n/snapshots/abc/m.bin"
    )


def test_names_that_no_manifest_may_have_are_encoded() -> None:
    assert encode_name("a\\b") == "a%5Cb"
    assert encode_name("line\nbreak") == "line%0Abreak"
    assert encode_name(os.fsdecode(b"\xff.pt")) == "%FF.pt"
    assert encode_name("modèle.pt") == "modèle.pt"


def test_absolute_paths_in_texts_are_shortened_and_urls_are_not(tmp_path: Path) -> None:
    names = Names(tmp_path)
    assert names.scrub(f"cannot read {tmp_path}/data/x.txt: gone") == "cannot read data/x.txt: gone"
    assert names.scrub("'/home/a/b.pt' and --out=/data/c") == "'b.pt' and --out=c"
    assert names.scrub("https://host/path/x at 10 it /s, 3/4") == "https://host/path/x at 10 it /s, 3/4"


def test_the_root_is_the_nearest_project(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "src" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "project" / ".git").mkdir()
    assert find_root(inner) == tmp_path / "project"


# ------------------------------------------------------------------------------------------------- redaction


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "apiKey", "--db-password", "AWS_SECRET_ACCESS_KEY", "auth", "x_credentials"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "monkey", "author", "passes", "keyboard", "lr", "compass"])
def test_names_that_only_look_like_it(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize("argv", [
    ["--token", "S3CRET"], ["--token=S3CRET"], ["api_key=S3CRET"], ["-password", "S3CRET"], ["HF_TOKEN=S3CRET", "x"],
    ["https://me:S3CRET@host/x"], ["--url=s3://key:S3CRET@bucket"], ["https://h/x?a=1&token=S3CRET"],
    ['{"api_key": "S3CRET"}'], ["Authorization: Bearer S3CRETS3CRET"], ["--header", "authorization: Basic S3CRET=="],
])  # fmt: skip
def test_secrets_on_a_command_line(argv: list[str]) -> None:
    redactor = Redactor()
    shown = redactor.arguments(["train.py", *argv])
    assert "S3CRET" not in " ".join(shown)
    assert redactor.found


def test_what_is_no_secret_stays() -> None:
    redactor = Redactor()
    argv = [
        "train.py",
        "--max-tokens",
        "512",
        "--lr=3e-5",
        "--tokenizer",
        "bert",
        "--pin_memory=True",
        "--key-dim=64",
        "KeyError: 'x'",
    ]
    assert redactor.arguments(argv) == argv
    assert redactor.value({"pad_token_id": 0, "key_dim": 64, "pin_memory": True}, "params") == {
        "pad_token_id": 0, "key_dim": 64, "pin_memory": True,
    }  # fmt: skip
    assert redactor.found == []


def test_numbers_are_secrets_where_passwords_are() -> None:
    assert Redactor().value({"password": 1234, "pin": 99}, "") == {"password": REDACTED, "pin": REDACTED}


def test_redactions_are_listed_by_place() -> None:
    redactor = Redactor()
    redactor.value({"db": {"password": "x"}, "list": ["--token", "y"]}, "params")
    assert redactor.found == ["params.db.password", "params.list[1]"]


def test_an_endless_structure_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert plain(loop, str) and Redactor().value({"a": [[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]}, "")


# ------------------------------------------------------------------------------------------------ plain data


def test_strange_values_become_plain() -> None:
    class Strange:
        def item(self) -> None:
            raise ValueError

    assert plain({1: float("nan"), "b": b"x", "c": Strange, "d": Strange(), "e": len}, str) == {
        "1": "nan", "b": b"x", "c": Strange.__qualname__, "d": f"{__name__}.{Strange.__qualname__}", "e": "len",
    }  # fmt: skip
    assert plain(list(range(5000)), str)[-1] == "... (5000 items)"
    assert len(plain("x" * 100_000, str)) < 3000
    assert plain("\ud800", str) == "\\ud800"


# --------------------------------------------------------------------------------------------------- settings


def make(tmp_path: Path, text: str, **options: Any) -> Any:
    (tmp_path / "pyproject.toml").write_text(text)
    return resolve(directory=tmp_path, **({"environ": {}} | options))


def test_arguments_are_stronger_than_environment_and_project(tmp_path: Path) -> None:
    text = '[tool.atlas]\nname = "project"\nmode = "off"\nstore = "s"\n'
    assert make(tmp_path, text).name == "project" and make(tmp_path, text).mode == "off"
    assert make(tmp_path, text).store == tmp_path / "s"
    environ = {"ATLAS_NAME": "environment", "ATLAS_MODE": "observe"}
    assert make(tmp_path, text, environ=environ).name == "environment"
    assert make(tmp_path, text, environ=environ, name="argument", mode="off").name == "argument"
    assert make(tmp_path, text, environ=environ, mode="off").mode == "off"


@pytest.mark.parametrize(
    "text", ["[tool.atlas]\npolicy = 'x'", "[tool.atlas]\nnmae = 'x'", "[tool]\natlas = 1", "[broken"]
)
def test_a_project_file_that_says_what_it_must_not_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        make(tmp_path, text)


def test_patterns_choose_files(tmp_path: Path) -> None:
    settings = make(tmp_path, "", include=["out/"], exclude="*.tmp")
    assert settings.wants("out/a.pt") and not settings.wants("out/a.tmp") and not settings.wants("other/a.pt")


# --------------------------------------------------------------------------------------------------- journals


def test_a_journal_is_read_while_it_grows(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    follower = Follower(journal.path)
    assert list(follower.records()) == []
    journal.append("a", {"x": 1, "bytes": b"\xff"})
    (record,) = follower.records()
    assert (record["t"], record["x"], record["bytes"]) == ("a", 1, b"\xff")
    journal.append("b", {})
    assert [r["t"] for r in follower.records()] == ["b"]
    journal.close()


def test_a_torn_line_ends_the_reading_and_what_came_before_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("a", {})
    with journal.path.open("ab") as file:
        file.write(b'0badc0de {"t":')
    follower = Follower(journal.path)
    assert [r["t"] for r in follower.records()] == ["a"]
    with journal.path.open("ab") as file:
        file.write(b'"x"}\n')
    assert list(follower.records()) == [] and follower.damaged


def test_every_truncation_of_a_journal_gives_a_prefix_of_its_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for i in range(4):
        journal.append("r", {"i": i})
    data = journal.path.read_bytes()
    copy = tmp_path / "copy.journal"
    for n in range(len(data) + 1):
        copy.write_bytes(data[:n])
        found = [r["i"] for r in Follower(copy).records()]
        assert found == list(range(len(found))) and len(found) == data[:n].count(b"\n")


def test_a_state_is_replaced_and_never_seen_half(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    follower = Follower(journal.path)
    assert follower.state() is None
    for i in range(3):
        journal.state({"loaders": [{"n": i}]})
        state = follower.state()
        assert state is not None and state["loaders"] == [{"n": i}]


def test_lines_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    threads = [
        threading.Thread(target=lambda n=n: [journal.append("x", {"n": n}) for _ in range(50)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(Follower(journal.path).records())) == 200


def test_a_process_is_known_by_its_number_and_its_birth() -> None:
    assert started_ns(os.getpid()) > 0
    assert started_ns(2**22 + 1) == 0


def test_an_attachment_to_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    alive = Attachment("run", str(tmp_path), os.getpid(), started_ns(os.getpid()), "observe", "/", "/")
    assert Attachment.load({"ATLAS_ATTACH": alive.dump()}) == alive
    assert Attachment.load({"ATLAS_ATTACH": alive.dump().replace(str(os.getpid()), "4194305")}) is None
    assert Attachment.load({"ATLAS_ATTACH": "junk"}) is None
    (tmp_path / "ended").touch()
    assert Attachment.load({"ATLAS_ATTACH": alive.dump()}) is None


@pytest.mark.parametrize(("environ", "rank"), [
    ({}, None), ({"RANK": "0", "WORLD_SIZE": "1"}, None), ({"RANK": "x", "WORLD_SIZE": "2"}, None),
    ({"RANK": "2", "WORLD_SIZE": "2"}, None), ({"RANK": "1", "WORLD_SIZE": "2"}, 1),
])  # fmt: skip
def test_ranks_come_from_the_environment(environ: dict[str, str], rank: int | None) -> None:
    found = Rank.find(environ)
    assert (found.rank if found else None) == rank


# ---------------------------------------------------------------------------------------------------- indexes


def test_an_index_of_files_is_the_one_of_the_core(tmp_path: Path) -> None:
    place = tmp_path / "data"
    members = {}
    for name in ("a.txt", "b c.txt", "ü%.bin", "sub/x", "sub/deep/y", "Z"):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        m = measure(path)
        assert m.flat is not None and m.tree is not None
        members[str(path)] = Member(m.flat.value, m.tree.value, m.size)
    ours, core = index_of(members, str(place)), measure(place)
    assert (ours.index, ours.flat, ours.tree, ours.size, ours.files) == (
        core.index,
        core.flat,
        core.tree,
        core.size,
        core.files,
    )
    assert core.index is not None and read_index(core.index, str(place)) == members


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 100])
def test_the_tree_over_any_number_of_lines_is_that_of_rfc_6962(n: int) -> None:
    import hashlib

    from atlas.record.rollup import tree_hash

    def reference(entries: list[bytes]) -> bytes:
        if len(entries) == 1:
            return hashlib.sha256(b"\0" + entries[0]).digest()
        k = 1 << (len(entries) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + reference(entries[:k]) + reference(entries[k:])).digest()

    entries = [str(i).encode() for i in range(n)]
    assert tree_hash(entries) == reference(entries)


# ------------------------------------------------------------------------------------------------------ steps


def test_a_step_ends_where_it_began_even_in_another_context() -> None:
    steps = Steps()
    step = steps.new("a")
    contextvars.copy_context().run(steps.enter, step)
    steps.leave(step, "done")
    assert steps.current() is steps.top


def test_a_thread_without_a_step_belongs_to_the_only_one_that_runs() -> None:
    steps = Steps()
    one = steps.new("one")
    steps.enter(one)
    found = []
    thread = threading.Thread(target=lambda: found.append(steps.current()))
    thread.start()
    thread.join()
    assert found == [one]


def test_work_in_the_background_is_done_once_and_its_errors_are_kept() -> None:
    background = Background()
    calls = []
    jobs = [background.submit(lambda i=i: calls.append(i)) for i in range(20)]
    failing = background.submit(lambda: 1 / 0)
    assert all(job.wait(5) for job in jobs) and failing.wait(5)
    assert calls == list(range(20)) and isinstance(failing.error, ZeroDivisionError)
    assert not background.submit(lambda: threading.Event().wait(0.5)).wait(0.01)


def test_a_job_is_done_in_a_forked_child_that_has_no_such_thread() -> None:
    background = Background()
    blocker = threading.Event()
    background.submit(blocker.wait)
    waiting = background.submit(lambda: 42)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if waiting.wait(5) and waiting.value == 42 else 1)
    blocker.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# ---------------------------------------------------------------------------------------------------- context


def git(directory: Path, *words: str) -> None:
    import subprocess

    who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True)


def test_the_state_of_a_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path)["commit"] == "unborn"  # type: ignore[index]
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    clean = git_state(tmp_path)
    assert clean is not None and len(clean["commit"]) == 40 and (clean["dirty"], clean["untracked"]) == (False, 0)
    for own in ("m.pt.c2pa", "d.c2pa-index", "x.c2pa.old"):
        (tmp_path / own).write_text("")
    assert git_state(tmp_path) == clean
    (tmp_path / "new.txt").write_text("")
    assert git_state(tmp_path) == clean | {"untracked": 1}
    (tmp_path / "a.py").write_text("2")
    assert git_state(tmp_path) == clean | {"untracked": 1, "dirty": True}


def test_looking_at_a_repository_runs_nothing_that_it_configured(tmp_path: Path) -> None:
    git(tmp_path, "init")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(trap))
    git(tmp_path, "config", "core.hooksPath", str(tmp_path))
    git(tmp_path, "config", "core.pager", str(trap))
    git_state(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    assert packages()["pytest"]
    described = system()
    assert described["kernel"] and platform.node() not in described.values()


def test_only_listed_variables_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("MY_SECRET", "x")
    monkeypatch.setenv("MASTER_ADDR", "host.example.org")
    found = environment()
    assert found["CUDA_VISIBLE_DEVICES"] == "0" and not {"MY_SECRET", "MASTER_ADDR", "HOME", "USER"} & set(found)


def test_code_of_the_project_is_digested_once_and_late_changes_are_said(tmp_path: Path, monkeypatch) -> None:
    import hashlib
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "ours_one.py").write_text("A = 1\n")
    os.utime(tmp_path / "ours_one.py", (1, 1))
    importlib.import_module("ours_one")
    code = Code(Names(tmp_path))
    entry = code.record()
    assert entry["sources"]["ours_one.py"] == hashlib.sha256(b"A = 1\n").digest()
    (tmp_path / "ours_two.py").write_text("B = 2\n")
    importlib.invalidate_caches()
    importlib.import_module("ours_two")
    os.utime(tmp_path / "ours_two.py", (1e11, 1e11))
    entry = code.record()
    assert "ours_two.py" in entry["sources"] and entry["changed during the run"] == ["ours_two.py"]
    assert not any("pytest" in name for name in entry["sources"])
