"""The case study from end to end: three signers, five steps in five processes, verified back to the raw data, altered.

    python examples/bert/run.py [--out demo-out] [--quick]

Everything happens in the output folder. Exit code 0: the honest chain was VALID and every altered copy was refused.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIGNERS = {"data-provider": "Data Provider", "model-maker": "Model Maker", "evaluator": "Evaluator"}
NOT_RAW = {"test", "tests", "idlelib", "turtledemo", "lib2to3", "ensurepip", "pydoc_data"}
NOT_RAW |= {"site-packages", "dist-packages", "__pycache__"}
QUICK_RAW = {"asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "xml"}
PROJECT = "# Made by examples/bert/run.py: names in manifests are relative to this folder.\n"


class UnexpectedError(Exception):
    """Something did not end as the case study says."""


class Stage:
    """Runs programs in the output folder and shows what they say."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.trust = out / "keys" / "trust"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")}
        # One core stays free: on a virtual machine, OpenMP threads that wait for a descheduled one make this 50x slower.
        threads = str(max(1, min(2, (os.cpu_count() or 1) - 1)))
        clean = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"} | clean
        self.environ = clean | {"ATLAS_STORE": str(out / "store"), "PYTHONUNBUFFERED": "1"}

    def run(self, command: list[str], *, shown: str, expect: int = 0, lines: int | None = None, **environ: str) -> None:
        """Run a command, show it as `shown` and its output indented, at most `lines` of it."""
        print(f"{'' if lines == 0 else chr(10)}  $ {shown}", flush=True)
        child = subprocess.Popen(
            command, cwd=self.out, env=self.environ | environ, text=True, encoding="utf-8", errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        kept: list[str] = []
        with child:
            for line in child.stdout or ():
                kept.append(line)
                if lines is None:
                    print("  " + line, end="", flush=True)
        if lines is not None:
            print("".join("  " + line for line in kept[len(kept) - lines :]), end="", flush=True)
        if child.returncode != expect:
            raise UnexpectedError(f"{shown}: exit code {child.returncode}, expected {expect}\n{''.join(kept[-20:])}")
        if expect:
            print(f"  (exit code {child.returncode})")

    def script(self, name: str, *arguments: str, note: str = "", **keywords: object) -> None:
        shown = " ".join(["python", name, *arguments]) + (f"    # {note}" if note else "")
        self.run([sys.executable, str(HERE / name), *arguments], shown=shown, **keywords)  # type: ignore[arg-type]

    def atlas(self, *arguments: str, **keywords: object) -> None:
        command = [sys.executable, "-m", "atlas", *arguments]
        self.run(command, shown=shlex.join(["atlas", *arguments]), **keywords)  # type: ignore[arg-type]


def prepare(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        mark = out / "pyproject.toml"
        if not mark.exists() or mark.read_text() != PROJECT:
            raise UnexpectedError(f"{out} is not empty and was not made by this script; name another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "pyproject.toml").write_text(PROJECT)


def make_keys(stage: Stage) -> None:
    """Three parties, each with a root of its own; a verifier collects the three roots in one folder."""
    for folder, name in SIGNERS.items():
        stage.atlas("keygen", "--name", name, f"keys/{folder}", lines=0)
    stage.trust.mkdir()
    for folder in SIGNERS:
        shutil.copyfile(stage.out / "keys" / folder / "root.pem", stage.trust / f"{folder}.pem")


def copy_raw(raw: Path, quick: bool) -> None:
    """The sources of this interpreter's standard library: what the data provider publishes."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(stdlib.rglob("*.py")):
        name = path.relative_to(stdlib)
        if NOT_RAW.intersection(name.parts) or (quick and name.parts[0] not in QUICK_RAW):
            continue
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, raw / name)
    files = [path for path in raw.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"\nRaw data: {len(files)} files of Python {platform.python_version()}'s standard library, {size:.1f} MB")


def train(stage: Stage, quick: bool) -> None:
    def small(*arguments: str) -> tuple[str, ...]:
        return arguments if quick else ()

    stage.script("dataset.py", note="step 1, signed by Data Provider")
    stage.script("tokenizer.py", *small("--size", "600"), note="step 2, signed by Model Maker")
    stage.script("pretrain.py", *small("--steps", "12", "--hidden", "32"), note="step 3, signed by Model Maker")
    stage.script("finetune.py", *small("--epochs", "1"), note="step 4, signed by Model Maker")
    stage.script("evaluate.py", note="step 5, signed by Evaluator")


def alter(stage: Stage) -> None:
    """A copy with one bit of the base model changed; then somebody covers that up with a signature of their own."""
    copy = stage.out / "altered"
    kept_out = shutil.ignore_patterns("keys", "store", "altered")
    shutil.copytree(stage.out, copy, ignore=kept_out)
    base = copy / "base" / "model.pt"
    content = bytearray(base.read_bytes())
    content[len(content) // 2] ^= 1
    base.write_bytes(content)
    print("\nAltered: one bit of base/model.pt, in a copy of everything")
    stage.atlas("verify", "altered/report.json", "--trust", "keys/trust", expect=1)

    print("\nRefused before it is loaded, too: the same training script, told to enforce")
    stage.script(
        "finetune.py", "--base", "altered/base/model.pt", "--out", "altered/model.pt", note="ATLAS_MODE=enforce",
        expect=1, lines=4, ATLAS_MODE="enforce", ATLAS_TRUST=str(stage.trust),
    )  # fmt: skip

    print("\nCovered up: a stranger signs the altered file again")
    stage.atlas("keygen", "--name", "Mallory", "keys/mallory", lines=0)
    stage.atlas("sign", "altered/base/model.pt", "--key", "keys/mallory/key.pem", lines=0)
    stage.atlas("verify", "altered/base/model.pt", "--trust", "keys/trust", expect=3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="output folder (default demo-out)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows the chain, learns nothing")
    args = parser.parse_args()
    began = time.monotonic()
    try:
        stage = Stage(args.out.resolve())
        prepare(stage.out)
        print("Case study: a small text classifier with BERT's architecture, pre-trained locally")
        print(f"Five steps, five processes, three signers. Everything happens in {args.out}/\n")
        make_keys(stage)
        copy_raw(stage.out / "raw", args.quick)
        stage.atlas("sign", "raw", "--key", "keys/data-provider/key.pem", lines=0)
        train(stage, args.quick)
        trained = time.monotonic()
        print("\nVerified: from the report back to the raw data")
        stage.atlas("lineage", "report.json")
        stage.atlas("verify", "report.json", "--trust", "keys/trust")
        alter(stage)
    except UnexpectedError as error:
        print(f"\nThe case study did not end as it should: {error}", file=sys.stderr)
        return 1
    seconds = f"{time.monotonic() - began:.0f} s ({trained - began:.0f} s of it training)"
    print(f"\nDone in {seconds}: the chain is VALID, the altered copies are refused.")
    print(f"Look around in {args.out}/, for example: atlas inspect {args.out}/model/model.pt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
