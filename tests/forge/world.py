"""The base chain that is attacked: six artifacts of five parties, from raw data to an evaluation report.

    data/raw ── data/clean ──┐
    base/ckpt ───────────────┴─ tuned/model.pt ──┐
    data/held-out ───────────────────────────────┴─ eval/report.json

Every party has its own key and leaf under one intermediate of one root. `attacker` has a certificate under a root that
nobody trusts, with the same names as `tuner`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from . import chain, pki, tsa
from .chain import Input, Made
from .manifest import Manifest, Store
from .measure import Content

RAW, CLEAN, HELD_OUT = "data/raw", "data/clean", "data/held-out"
BASE, TUNED, REPORT = "base/ckpt", "tuned/model.pt", "eval/report.json"
NAMES = (RAW, CLEAN, HELD_OUT, BASE, TUNED, REPORT)
LABEL = "c2pa.ingredient.v3"

ROOT = pki.Authority.root()
CA = ROOT.intermediate("Forge CA")
OTHER_ROOT = pki.Authority.root("Forge Root", key_name="an impostor")
OTHER_CA = OTHER_ROOT.intermediate("Forge CA", key_name="an impostor's CA")
TSA_ROOT = pki.Authority.root("Forge TSA Root")
TSA = tsa.Tsa.under(TSA_ROOT)

CURATOR, PREPARER, LAB = CA.leaf("Data Curator"), CA.leaf("Data Preparer"), CA.leaf("Base Lab")
TUNER, EVALUATOR = CA.leaf("Tuner"), CA.leaf("Evaluator")
ATTACKER = OTHER_CA.leaf("Tuner", private=pki.key("ES256", "attacker"))

_RAW_FILES = {f"part-{n}.txt": b"raw document %d\n" % n * 3 for n in range(4)} | {"notes/read me.txt": b"as found\n"}
_CLEAN_FILES = {f"part-{n}.txt": b"clean document %d\n" % n for n in range(4)}
_SHARDS = {f"shard-{n}.bin": bytes([n]) * 96 for n in range(1, 5)} | {"config.json": b'{"layers": 2}'}
_HELD_OUT = {"test.jsonl": b'{"text": "x", "label": 1}\n'}
_TUNED = b"tuned weights " * 20

CONTENT: dict[str, Content] = {
    RAW: _RAW_FILES,
    CLEAN: _CLEAN_FILES,
    HELD_OUT: _HELD_OUT,
    BASE: _SHARDS,
    TUNED: _TUNED,
    REPORT: chain.report({"accuracy": 0.9}),
}


@cache
def honest(mode: str = "embed") -> dict[str, Made]:
    """The chain by name. Not to be changed: `chain.reopened` gives a copy that may be."""
    data = "c2pa.types.dataset"
    made = {RAW: chain.make(RAW, CONTENT[RAW], CURATOR, asset_type=data)}
    made[HELD_OUT] = chain.make(HELD_OUT, CONTENT[HELD_OUT], CURATOR, asset_type=data)
    made[BASE] = chain.make(BASE, CONTENT[BASE], LAB)
    made[CLEAN] = chain.make(CLEAN, CONTENT[CLEAN], PREPARER, [Input(made[RAW], mode=mode)], asset_type=data)
    inputs = [Input(made[BASE], "base model", mode), Input(made[CLEAN], "training data", mode)]
    made[TUNED] = chain.make(TUNED, CONTENT[TUNED], TUNER, inputs)
    inputs = [Input(made[TUNED], "model", mode), Input(made[HELD_OUT], "evaluation data", mode)]
    result = {"name": "accuracy", "value": 0.9, "of": LABEL, "on": f"{LABEL}__1"}
    metrics = {"version": 1, "results": [result]}
    made[REPORT] = chain.make(
        REPORT, CONTENT[REPORT], EVALUATOR, inputs, metrics=metrics, asset_type="org.atlasml.types.report"
    )
    return made


@dataclass
class Scene:
    """A copy of the chain to attack: the report's store in memory, everything else on disk under `root`.

    Change manifests with `node`, files through `root`; `bytes_hook` has the last word on the report's sidecar.
    """

    root: Path
    made: dict[str, Made]
    store: Store
    subject: str = REPORT
    bytes_hook: list[Callable[[bytes], bytes]] = field(default_factory=list)

    @staticmethod
    def at(root: Path, *, mode: str = "embed", subject: str = REPORT) -> Scene:
        made = dict(honest(mode))
        for artifact in made.values():
            artifact.write(root)
        return Scene(root, made, chain.reopened(made[subject]).store, subject)

    def node(self, name: str) -> Manifest:
        """The manifest of an artifact in the subject's store, about to be changed."""
        return self.store[self.urn(name)].touch()

    def urn(self, name: str) -> str:
        return self.made[name].urn

    def path(self, name: str) -> Path:
        return self.root / name

    def reseal(self) -> None:
        """Every manifest signed again, nothing changed."""
        for manifest in self.store:
            manifest.touch()

    def change(self, hook: Callable[[bytes], bytes]) -> None:
        """Change the finished bytes; nothing is signed after that."""
        self.bytes_hook.append(hook)

    def publish(self) -> Path:
        """Seals the store and writes the subject's sidecar; gives the subject's path."""
        data = bytes(self.store)
        for hook in self.bytes_hook:
            data = hook(data)
        path = self.path(self.subject)
        chain.sidecar_of(path).write_bytes(data)
        return path
