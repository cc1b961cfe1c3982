"""Ways to change a scene: a node, its claim, an assertion, its boxes, its signature's envelope.

Everything here is followed by sealing: hashes and signatures are right again, except where the edit says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge import cbor
from forge.jumbf import Box, Super
from forge.manifest import Manifest
from forge.world import TUNED, Scene

Change = Callable[[Scene], object]


def node(change: Callable[[Manifest], object], name: str = TUNED) -> Change:
    """Changes a manifest."""
    return lambda scene: change(scene.node(name))


def claim(change: Callable[[dict[str, Any]], object], name: str = TUNED) -> Change:
    """Changes a claim."""
    return lambda scene: change(scene.node(name).claim)


def content(label: str, change: Callable[[Any], object], name: str = TUNED) -> Change:
    """Changes the content of an assertion."""
    return lambda scene: change(scene.node(name)[label].content)


def boxes(change: Callable[[Super], object], name: str = TUNED) -> Change:
    """Changes the finished box tree of a manifest; the manifests above it are signed over the result."""

    def apply(scene: Scene) -> None:
        def reshape(tree: Super) -> Super:
            change(tree)
            return tree

        scene.node(name).reshape = reshape

    return apply


def outer(change: Callable[[Super], object]) -> Change:
    """Changes the outermost superbox; no signature covers it."""

    def apply(scene: Scene) -> None:
        def reshape(tree: Super) -> Super:
            change(tree)
            return tree

        scene.store.reshape = reshape

    return apply


def cose(change: Callable[[list[Any]], Any], name: str = TUNED) -> Change:
    """Changes the four elements of the COSE_Sign1 after signing."""

    def apply(tree: Super) -> None:
        box = tree["c2pa.signature"].children[0]
        assert isinstance(box, Box)
        box.payload = b"\xd2" + cbor.dumps(change(cbor.loads(box.payload).value))

    return boxes(apply, name)


def envelope(name: str = TUNED, **fields: Any) -> Change:
    """Sets fields of forge.cose.Envelope."""

    def apply(scene: Scene) -> None:
        target = scene.node(name).envelope
        for field, value in fields.items():
            assert hasattr(target, field)
            setattr(target, field, value)

    return apply


def signed_by(party: Any, name: str = TUNED) -> Change:
    """Somebody else signs the node."""
    return lambda scene: setattr(scene.node(name), "signer", party)


def both(*changes: Change) -> Change:
    def apply(scene: Scene) -> None:
        for change in changes:
            change(scene)

    return apply


def finished(change: Callable[[bytes], bytes]) -> Change:
    """Changes the bytes of the finished sidecar."""
    return lambda scene: scene.change(change)


def replaced(old: bytes, new: bytes) -> Change:
    """Puts other bytes of the same length into the finished sidecar, wherever the old ones stand."""
    assert len(old) == len(new)

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new)

    return finished(change)
