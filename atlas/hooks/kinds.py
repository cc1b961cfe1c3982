"""What a saved or loaded object is, told by its shape: no torch is imported, attributes are enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LOOK_AT = 64
_DEPTH = 3
_MAX_VALUES = 100_000


def is_tensor(value: Any) -> bool:
    return hasattr(value, "untyped_storage") and hasattr(value, "dtype") and hasattr(value, "shape")


def is_state_dict(value: Any) -> bool:
    """What `Module.state_dict()` gives, also after a round trip: names to tensors."""
    if not isinstance(value, Mapping) or not value:
        return False
    if hasattr(value, "_metadata"):
        return True
    items = list(value.items())[:_LOOK_AT]
    if not all(isinstance(k, str) and is_tensor(v) for k, v in items):
        return False
    return any("." in k or k in ("weight", "bias") for k, _ in items)


def is_module(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "named_parameters", None))


def is_in_main_memory(value: Any) -> bool:
    """Whether every tensor in it surely is: containers of tensors and of plain values, as far as they are looked at."""
    stack, looked = [value], 0
    while stack:
        item = stack.pop()
        looked += 1
        if looked > _MAX_VALUES:
            return False
        if is_tensor(item):
            if str(getattr(item, "device", "")) != "cpu":
                return False
        elif isinstance(item, Mapping):
            stack += item.values()
        elif type(item) in (list, tuple):
            stack += item
        elif not isinstance(item, str | bytes | int | float | None):
            return False
    return True


# What training scripts call the rest of their state when they mean to go on from it.
_TRAINING = ("optim", "epoch", "step", "global_step", "iteration", "lr_sched", "scheduler", "scaler", "rng", "loop")


def holds_model(value: Any, depth: int = 0) -> bool:
    if is_module(value) or is_state_dict(value):
        return True
    if depth < _DEPTH and isinstance(value, Mapping):
        return any(holds_model(item, depth + 1) for item in list(value.values())[:_LOOK_AT])
    return False


def asset_type(value: Any) -> str | None:
    """For the claim: "model", "dataset", or None for what only its name can tell."""
    if holds_model(value):
        return "model"
    if is_tensor(value) or isinstance(value, list | tuple):
        return "dataset"
    return None


def role(value: Any) -> str:
    """For an input: weights are a base model; with the state of a training run (optimizer, epoch) a checkpoint."""
    if is_module(value) or is_state_dict(value):
        return "base model"
    if not isinstance(value, Mapping) or not holds_model(value):
        return "data"
    keys = {key.lower() for key in value if isinstance(key, str)}
    return "checkpoint" if any(key.startswith(_TRAINING) for key in keys) else "base model"
