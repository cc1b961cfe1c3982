"""Secrets: canaries in every place a program has one. None may be found in anything that Atlas writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from recording import Project

pytest.importorskip("torch")

PROGRAM = """
import argparse, json, os, sys, warnings
from dataclasses import dataclass
import atlas, torch

C = json.load(open(os.environ["CANARIES"]))

parser = argparse.ArgumentParser()
for name in ("--token", "--api-key", "--password", "--url", "--lr", "--out", "--hub"):
    parser.add_argument(name)
args, _ = parser.parse_known_args()

@dataclass
class Config:
    secret_key: str

run = atlas.init(name="run of " + C["run name"])
run.params(args)
run.params({"nested": {"db": {"password": C["nested parameter"]}}, "list": ["--token", C["parameter list"]]})
run.params(config=Config(C["dataclass field"]), command="curl -H 'Authorization: Bearer " + C["header in text"] + "'")
run.params(connection="postgres://me:" + C["userinfo in parameter"] + "@db/x")
run.params(json='{"api_key": "' + C["json text"] + '"}')
run.params(aws=C["aws key"], jwt=C["jwt"], hf=C["hub token in value"], pem=C["private key"], gh=C["github token"])
run.params({C["token as key"]: 1}, access_token=[C["secret in a list"], "b"], bytes_secret=C["bytes"].encode())
run.log(step=1, note="token=" + C["log value"])
with run.step("step with " + C["step name"]):
    run.metrics({"accuracy": 0.5, "password": C["metric value"], "m " + C["metric name"]: 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.input("/nonexistent/api_key=" + C["missing path"])
        from atlas.record.recorder import Recorder
        recorder = run._recorder
        error = RuntimeError("GET https://u:" + C["exception text"] + "@host/x failed")
        recorder.guard.failed("recording an input", error)
    torch.save({"a.w": torch.zeros(2)}, "out.pt")
torch.save({"a.w": torch.ones(2)}, "second.pt")
"""


def canaries() -> dict[str, str]:
    places = [
        "argument after flag", "argument with equals", "short password", "url userinfo", "url query",
        "nested parameter", "parameter list", "dataclass field", "userinfo in parameter", "json text", "log value",
        "metric value",
        "secret in a list", "bytes", "missing path", "environment token", "environment url", "environment plain",
        "header in text", "exception text",
    ]  # fmt: skip
    made = {place: f"CANARY{i:02}x{'z' * 12}" for i, place in enumerate(places)}
    shaped = {
        "run name": "hf_{}", "aws key": "AKIA{}", "jwt": "eyJhbGciOi{}.eyJzdWIi{}.c2lnbmF0dXJl",
        "github token": "ghp_{}",
        "hub token in value": "hf_{}", "private key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        "token as key": "hf_{}", "step name": "glpat-{}", "metric name": "sk-{}", "positional": "hf_{}",
    }  # fmt: skip
    return made | {
        place: form.replace("{}", f"CANARY{i + 40}QQQQQQQQQQQQQQQQ") for i, (place, form) in enumerate(shaped.items())
    }


def test_no_secret_is_found_in_anything_that_was_written(project: Project, tmp_path: Path) -> None:
    import json

    found = canaries()
    assert len(found) >= 25
    file = tmp_path / "canaries.json"
    file.write_text(json.dumps(found))
    ran = project.python(
        PROGRAM,
        "--token", found["argument after flag"],
        f"--api-key={found['argument with equals']}",
        "--password", found["short password"],
        "--url", f"https://user:{found['url userinfo']}@example.org/x?token={found['url query']}&n=1",
        "--lr", "0.1",
        found["positional"],
        HF_TOKEN=found["environment token"],
        TORCH_PROXY=f"http://u:{found['environment url']}@proxy",
        DATABASE_PASSWORD=found["environment plain"],
        CUDA_API_TOKEN=found["environment token"],
        CANARIES=str(file),
    )  # fmt: skip
    written = [p for p in (*project.store.directory.rglob("*"), *project.root.rglob("*")) if p.is_file()]
    written = [p for p in written if p.suffix != ".py" and p.name != "pyproject.toml"]
    assert len(written) > 5
    leaks = {}
    for path in written:
        data = path.read_bytes()
        hits = [place for place, value in found.items() if "CANARY" in value and _core_of(value) in data]
        if hits:
            leaks[path.name] = hits
    assert leaks == {}
    assert "CANARY" not in ran.stderr
    run = project.manifest("out.pt").run
    assert run["params"]["lr"] == "0.1"
    assert {"command[2]", "params.password", "params.nested.db.password", "environment.CUDA_API_TOKEN"} <= set(
        run["redacted"]
    )


def _core_of(value: str) -> bytes:
    """The part of a canary that no redaction could leave standing by accident."""
    start = value.index("CANARY")
    return value[start : start + 12].encode()


def test_the_canaries_are_really_there_without_redaction(project: Project) -> None:
    """The twin: a check that cannot fail would find nothing either."""
    with project.init() as run:
        run.params(harmless="CANARY99harmless")
        Path("out.txt").write_text("")
        run.output("out.txt")
    assert b"CANARY99harmless" in Path("out.txt.c2pa").read_bytes()


def test_no_absolute_path_user_or_host_leaves_the_machine(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.record.names.getpass.getuser", lambda: "alice-liddell")
    monkeypatch.setattr("atlas.record.names.platform.node", lambda: "looking-glass.example.org")
    monkeypatch.setattr("sys.argv", [
        "/home/alice-liddell/project/train.py", "--data=/data/corpora/wiki", f"--out={project.root}/out", "--by",
        "alice-liddell",
    ])  # fmt: skip
    with project.init() as run:
        run.params(
            host="looking-glass", path=Path("/home/alice-liddell/x/data.txt"), text="saved to /home/alice-liddell/y/z"
        )
        Path("out.txt").write_text("")
        run.output("out.txt")
    data = Path("out.txt.c2pa").read_bytes()
    for word in (b"alice-liddell", b"looking-glass", b"/home/", b"/data/corpora", str(project.root).encode()):
        assert word not in data
    record = project.manifest("out.txt").run
    assert record["command"] == ["train.py", "--data=wiki", "--out=out", "--by", "..."]
    assert record["params"] == {"host": "...", "path": "data.txt", "text": "saved to z"}
