"""Verifiable provenance for PyTorch: every checkpoint carries a signed C2PA manifest, anyone can check it offline.

    measure  ->  claim  ->  sign  ->  attest  ->  log  ->  verify

    import atlas
    run = atlas.init(key="keys/key.pem")        # the one line of a training script
    atlas.verify("out/model.pt", trust="keys/root.pem").raise_for_status()

Importing atlas imports neither torch nor anything else that is slow.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from atlas import errors
from atlas.errors import (
    AtlasError,
    InternalError,
    LimitError,
    MalformedError,
    SystemFailure,
    UsageError,
    VerificationError,
)
from atlas.measure import measure  # after this line atlas.measure is the function, not its module
from atlas.model import Check, Digest, Input, Measurement, Node, Verdict
from atlas.verify import verify  # likewise
from atlas.version import __version__

if TYPE_CHECKING:
    from atlas.decorators import Dataset, In, Model, Out, pipeline, step
    from atlas.evidence import Attest, NotAttested
    from atlas.log_target import LogTarget
    from atlas.recorder import Run, init, uninstall

_LATER = {
    "init": "atlas.recorder",
    "uninstall": "atlas.recorder",
    "Run": "atlas.recorder",
    "step": "atlas.decorators",
    "pipeline": "atlas.decorators",
    "In": "atlas.decorators",
    "Out": "atlas.decorators",
    "Dataset": "atlas.decorators",
    "Model": "atlas.decorators",
    "LogTarget": "atlas.log_target",
    "Attest": "atlas.evidence",
    "NotAttested": "atlas.evidence",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'atlas' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext atlas``"""
    from atlas.notebook import load_ipython_extension as load

    load(shell)


__all__ = [
    "AtlasError",
    "Attest",
    "Check",
    "Dataset",
    "Digest",
    "In",
    "Input",
    "InternalError",
    "LimitError",
    "LogTarget",
    "MalformedError",
    "Measurement",
    "Model",
    "Node",
    "NotAttested",
    "Out",
    "Run",
    "SystemFailure",
    "UsageError",
    "Verdict",
    "VerificationError",
    "__version__",
    "errors",
    "init",
    "measure",
    "pipeline",
    "step",
    "uninstall",
    "verify",
]

if "ATLAS_ATTACH" in os.environ:  # multiprocessing started this process out of a recorded one: it belongs to that run
    importlib.import_module("atlas.recorder").attach()
