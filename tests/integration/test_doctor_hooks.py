"""`atlas doctor` tries the hooks in an ordinary script and believes only what the manifests say."""

import json
from pathlib import Path

import pytest
from command import Command

from atlas.cli import roundtrip

pytest.importorskip("torch")


def results() -> dict[str, tuple[str, str]]:
    return {hook: (state, text) for hook, state, text in roundtrip.round_trip()}


def test_with_torch_installed_every_hook_is_seen_to_record(atlas: Command) -> None:
    ran = atlas("doctor", "--json")
    findings = {f["what"]: f["state"] for f in json.loads(ran.stdout)["findings"]}
    assert ran.returncode == 0, ran.stdout
    for hook in ("torch.save", "torch.load", "torch.load mmap", "DataLoader", "hook points"):
        assert findings[hook] == "ok"


def test_it_leaves_nothing_behind(atlas: Command, home: dict[str, str]) -> None:
    atlas("doctor")
    assert not Path(home["HOME"]).exists()
    assert not Path(home["ATLAS_STORE"]).exists()


@pytest.mark.parametrize(
    ("line", "instead", "broken"),
    [
        ('    torch.load("saved.pt", weights_only=True)\n', "    pass\n", "torch.load"),
        ('    torch.save(weights, "saved.pt")\n', '    open("saved.pt", "wb").write(b"x")\n', "torch.save"),
        ("DataLoader(TensorDataset(torch.arange(8)), batch_size=2)", "range(4)", "DataLoader"),
    ],
)
def test_what_was_not_recorded_is_reported_as_broken(
    monkeypatch: pytest.MonkeyPatch, line: str, instead: str, broken: str
) -> None:
    assert line in roundtrip._TORCH
    script = roundtrip._TORCH.replace(line, instead)
    monkeypatch.setattr(roundtrip, "_TORCH", script)
    assert results()[broken][0] == "broken"


def test_a_script_that_fails_is_reported_with_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roundtrip, "_TORCH", "raise SystemError('no torch today')\n")
    for state, text in results().values():
        assert state == "broken"
        assert "no torch today" in text
