"""The round trip of `atlas doctor`: an ordinary script with the one line in it, and what its manifests then say.

The script runs in a process and a directory of its own, so that neither torch nor a hook stays behind in this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from atlas.entry import DATA_USE, INPUTS, content, read_manifests, text_of
from atlas.errors import AtlasError
from atlas.sidecar import read_regular, sidecar_path
from atlas.sign import keygen
from atlas.verify import verify

SECONDS = 120

_TORCH = """
import atlas, torch
from torch.utils.data import DataLoader, TensorDataset
run = atlas.init(key="keys/key.pem", store="store")
weights = {"w": torch.arange(8.0)}
with run.step("save"):
    torch.save(weights, "saved.pt")
with run.step("load"):
    torch.load("saved.pt", weights_only=True)
    torch.save(weights, "loaded.pt")
with run.step("mmap"):
    torch.load("saved.pt", weights_only=True, mmap=True)
    torch.save(weights, "mapped.pt")
with run.step("data"):
    for batch in DataLoader(TensorDataset(torch.arange(8)), batch_size=2):
        pass
    torch.save(weights, "trained.pt")
"""
_SAFETENSORS = """
from safetensors.torch import load_file, save_file
with run.step("safetensors save"):
    save_file(weights, "saved.safetensors")
with run.step("safetensors load"):
    load_file("saved.safetensors")
    torch.save(weights, "converted.pt")
"""
_END = """
import json
with open("hooks.json", "w") as file:
    json.dump(run.doctor()["hooks"], file)
run.finish()
"""

State = Literal["ok", "missing", "broken"]
Result = tuple[str, State, str]  # hook, state, what to say of it


def round_trip() -> Iterator[Result]:
    """What each kind of hook that this installation can have did in the script, and which hook points were found."""
    with tempfile.TemporaryDirectory(prefix="atlas-doctor-") as name:
        directory = Path(name)
        keygen("doctor", directory / "keys")
        tensors = find_spec("safetensors") is not None
        failed = _run(_TORCH + (_SAFETENSORS if tensors else "") + _END, directory)
        for hook, check in _checks(directory, tensors):
            wrong = failed or _attempt(check)
            yield hook, "broken" if wrong else "ok", wrong or "recorded"
        if not failed:
            yield _points(directory / "hooks.json")


def _run(script: str, directory: Path) -> str:
    """What went wrong, in one line, or nothing."""
    (directory / "train.py").write_text(script, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")}
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package, kept.get("PYTHONPATH"))))
    try:
        ran = subprocess.run(
            [sys.executable, "train.py"],
            cwd=directory,
            env={**kept, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the script did not end within {SECONDS} seconds"
    lines = ran.stderr.strip().splitlines()
    return "" if ran.returncode == 0 else f"the script failed: {lines[-1] if lines else ran.returncode}"


def _checks(directory: Path, tensors: bool) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "torch.save", lambda: _signed(directory, "saved.pt")
    yield "torch.load", lambda: _read(directory, "loaded.pt", "saved.pt")
    yield "torch.load mmap", lambda: _read(directory, "mapped.pt", "saved.pt")
    yield "DataLoader", lambda: _used(directory, "trained.pt")
    if tensors:
        yield "safetensors save", lambda: _signed(directory, "saved.safetensors")
        yield "safetensors load", lambda: _read(directory, "converted.pt", "saved.safetensors")


def _points(report: Path) -> Result:
    """A point that this version of torch lacks is no failure while the round trip works."""
    points = json.loads(report.read_text(encoding="utf-8"))
    live = sum(point["state"] == "live" for point in points)
    waiting = sum(point["state"] == "waiting" for point in points)
    text = f"{live} live, {waiting} waiting for a module to be imported"
    bad: tuple[State, ...] = ("broken", "missing")
    for state in bad:
        named = [f"{point['id']} ({point['reason']})" for point in points if point["state"] == state]
        if named:
            return "hook points", state, f"{text}; {state}: {', '.join(named)}"
    return "hook points", "ok", text


def _attempt(check: Callable[[], str]) -> str:
    try:
        return check()
    except (AtlasError, LookupError) as error:
        return str(error)


def _signed(directory: Path, name: str) -> str:
    verdict = verify(directory / name, trust=directory / "keys" / "root.pem", store=directory / "store")
    return "" if verdict else f"{name} is {verdict.answer}: {verdict.failures[0].text}"


def _read(directory: Path, name: str, wanted: str) -> str:
    manifest = read_manifests(read_regular(sidecar_path(directory / name)))[-1]
    names = [text_of(entry, "name") for entry in content(manifest, INPUTS).get("inputs", [])]
    return _signed(directory, name) if wanted in names else f"{wanted} was read and not recorded"


def _used(directory: Path, name: str) -> str:
    manifest = read_manifests(read_regular(sidecar_path(directory / name)))[-1]
    loaders = content(manifest, DATA_USE).get("loaders", [])
    return _signed(directory, name) if loaders else "samples were consumed and not recorded"
