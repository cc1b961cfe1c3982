"""Seeded mutations of honest manifests, for the differential test: what to break, where, and whether to sign again.

`make(seed)` does the same to the same place every time; only RSA keys differ from run to run.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cbor2
from forge import cbor, chain, cose, manifest, pki, tsa, world
from forge.chain import Input, Made
from forge.jumbf import Box, Super
from forge.manifest import Assertion, Frozen, Manifest
from forge.pki import days
from forge.world import ATTACKER, CA, ROOT, TSA

Rng = random.Random


@cache
def bases() -> list[Made]:
    """The honest artifacts that are mutated: files and a directory, every algorithm, every kind of link."""
    signer = CA.leaf("Signer")
    raw = chain.make("raw.txt", b"raw data", signer)
    base = chain.make("base.pt", b"base", CA.leaf("Lab"), [Input(raw)])
    envelope = cose.Envelope(token=TSA.stamp(days(-1)))
    made = [
        chain.make("model.pt", b"weights", signer),
        chain.make("ckpt", {"a.bin": b"a", "b/c.bin": b"c"}, signer),
        chain.make("model.pt", b"tuned", signer, [Input(base), Input(raw)]),
        chain.make("model.pt", b"opened", signer, [Input(base, relationship="parentOf")]),
        chain.make("model.pt", b"stamped", signer, [Input(raw)], envelope=envelope),
        chain.make("model.pt", b"unknown", signer, [Input(raw, mode="unknown")]),
    ]
    made += [chain.make("model.pt", alg.encode(), CA.leaf("Signer", alg), [Input(raw)]) for alg in cose.ALGORITHMS]
    run = manifest.assertion_url(made[2].urn, "org.atlasml.run")
    return [*made, chain.update(made[2], signer, redact=[run]), chain.update(made[0], signer)]


@dataclass
class Mutation:
    """A mutated sidecar and artifact. `twin` is the same sidecar without the harm."""

    seed: int
    what: str
    signed: bool
    base: Made
    sidecar: bytes
    content: Any
    twin: bytes


def make(seed: int) -> Mutation:
    """Odd seeds are signed again."""
    rng = Rng(f"mutation {seed}")
    base = bases()[rng.randrange(len(bases()))]
    return _signed(seed, rng, base) if seed % 2 else _unsigned(seed, rng, base)


# ------------------------------------------------------------------------------------------------------- bytes


def _unsigned(seed: int, rng: Rng, base: Made) -> Mutation:
    sidecar, content = base.sidecar, base.content
    if rng.random() < 0.15:
        what, content = "artifact", _artifact(rng, content)
    elif rng.random() < 0.15:
        what, sidecar = "certificate", _certificate_swap(rng, base)
    else:
        what, change = rng.choice(list(_BYTES.items()))
        sidecar = change(rng, sidecar)
    return Mutation(seed, what, False, base, sidecar, content, base.sidecar)


def _artifact(rng: Rng, content: Any) -> Any:
    if isinstance(content, bytes):
        return rng.choice(list(_BYTES.values()))(rng, content)
    files = dict(content)
    name = rng.choice(sorted(files))
    action = rng.randrange(4)
    if action == 0:
        files[name] = rng.choice(list(_BYTES.values()))(rng, files[name])
    elif action == 1:
        del files[name]
    elif action == 2:
        files[name + "x"] = files.pop(name)
    else:
        files["new"] = b"new"
    return files


def _flip(rng: Rng, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out) if bytes(out) != data else data + b"\0"


def _set(rng: Rng, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    value = rng.choice([0, 1, 0x7F, 0x80, 0xFF, (data[at] + 1) % 256])
    return data[:at] + bytes([value if value != data[at] else data[at] ^ 0x55]) + data[at + 1 :]


def _insert(rng: Rng, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice([1, 1, 4, 32])) + data[at:]


def _cut(rng: Rng, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice([1, 1, 4, 32]) :]


def _truncate(rng: Rng, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _double(rng: Rng, data: bytes) -> bytes:
    at, n = rng.randrange(len(data)), rng.choice([1, 8, 64])
    return data[: at + n] + data[at : at + n] + data[at + n :]


def _zero(rng: Rng, data: bytes) -> bytes:
    at, n = rng.randrange(len(data)), rng.choice([4, 16, 64])
    zeroed = data[:at] + bytes(len(data[at : at + n])) + data[at + n :]
    return zeroed if zeroed != data else data + b"\0"


_BYTES: dict[str, Callable[[Rng, bytes], bytes]] = {
    "bits flipped": _flip,
    "a byte set": _set,
    "bytes inserted": _insert,
    "bytes cut": _cut,
    "truncated": _truncate,
    "bytes doubled": _double,
    "bytes zeroed": _zero,
}


def _certificate_swap(rng: Rng, base: Made) -> bytes:
    """Other certificates in the protected header, the old signature."""
    store = chain.reopened(base).store
    target = rng.choice(store.manifests)
    old = target.signature
    protected = cbor.loads(old.protected)
    protected[cose.X5CHAIN] = rng.choice([ATTACKER.chain, CA.leaf("Else").chain, old.chain[::-1], old.chain[:1] * 2])
    assert target.box is not None
    body = [cbor.dumps(protected), old.unprotected, None, old.signature]
    target.box["c2pa.signature"].children = [Box(b"cbor", cbor.dumps(cbor2.CBORTag(18, body)))]
    return bytes(store.tree())


# ------------------------------------------------------------------------------------------------- signed again


def _signed(seed: int, rng: Rng, base: Made) -> Mutation:
    made = chain.reopened(base)
    target = rng.choice(made.store.manifests)
    what, change = rng.choice(_CHANGES)
    change(rng, target.touch())
    return Mutation(seed, what, True, base, made.sidecar, base.content, _twin(base, target.urn))


@cache
def _sealed_again(index: int, urn: str) -> bytes:
    made = chain.reopened(bases()[index])
    made.store[urn].touch()
    return made.sidecar


def _twin(base: Made, urn: str) -> bytes:
    return _sealed_again(next(n for n, b in enumerate(bases()) if b is base), urn)


def _spots(item: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in decoded CBOR: its container and its key there."""
    todo = [item]
    while todo:
        node = todo.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            for key in keys:
                yield node, key
                todo.append(node[key])


def _other(rng: Rng, value: Any) -> Any:
    """Another value, mostly of the same type."""
    if rng.random() < 0.1:
        return rng.choice([None, True, 0, "", b"", [], {}, -1, 1.5, "x" * 300])
    match value:
        case bool():
            return not value
        case int():
            return rng.choice([value + 1, value - 1, 0, -1, 2**32, 2**63, 2**64 - 1])
        case float():
            return value + 1
        case str():
            return rng.choice([value + "x", value[:-1], value.upper(), value[::-1], f"../{value}", value + "\0"])
        case bytes():
            return rng.choice([_flip(rng, value or b"x"), value[:-1], value + b"\0", b"", bytes(32)])
        case list():
            return rng.choice([[], value + value[-1:], value[::-1], value[1:]])
        case dict():
            return rng.choice([{}, {**value, "unknown": 1}, {k + "x": v for k, v in value.items()}])
    return 0


def _tweak(rng: Rng, content: Any) -> None:
    """One change somewhere in decoded CBOR. A hashed URI that is hit keeps the change."""
    spots = list(_spots(content))
    if not spots:
        return
    container, key = rng.choice(spots)
    action = rng.random()
    if isinstance(container, dict) and action < 0.2:
        del container[key]
    elif isinstance(container, dict) and action < 0.3:
        container[rng.choice(["unknown", "alg", "hash", "url", "exclusions", "version"])] = rng.choice([1, "x", b"x"])
    else:
        container[key] = _other(rng, container[key])


def _frozen(item: Any) -> Any:
    """The same with every hashed URI kept as it is."""
    if isinstance(item, dict):
        changed = {key: _frozen(value) for key, value in item.items()}
        return Frozen(changed) if "hash" in item or "url" in item else changed
    return [_frozen(entry) for entry in item] if isinstance(item, list) else item


def _in_assertion(rng: Rng, target: Manifest) -> None:
    assertion = rng.choice(target.assertions)
    content = copy.deepcopy(assertion.content)
    _tweak(rng, content)
    assertion.content = _frozen(content) if rng.random() < 0.5 else content


def _in_claim(rng: Rng, target: Manifest) -> None:
    content = copy.deepcopy(target.claim)
    _tweak(rng, content)
    target.claim = _frozen(content)


def _encoding(rng: Rng, target: Manifest) -> None:
    flaw = rng.choice([cbor.long_head, cbor.duplicate_key, cbor.indefinite, cbor.trailing, cbor.unsorted])
    place = rng.randrange(3)
    if place == 0:
        target.encode_claim = lambda data: bytes(flaw(cbor.loads(data)))
    elif place == 1:
        target.envelope.protected = flaw
    else:
        assertion = rng.choice([a for a in target.assertions if "actions" not in a.label])
        assertion.content = flaw(assertion.content)


def _assertion_list(rng: Rng, target: Manifest) -> None:
    assertion = rng.choice(target.assertions)
    action = rng.randrange(7)
    if action == 0:
        target.remove(assertion.label)
    elif action == 1:
        target.assertions.remove(assertion)
    elif action == 2:
        target.assertions.append(assertion)
    elif action == 3:
        target.add(Assertion("com.example.new", {"a": 1}, rng.choice([None, bytes(16), bytes(32), bytes(7)])))
    elif action == 4:
        assertion.label = rng.choice([assertion.label + "__1", assertion.label + ".v9", "c2pa.hash.data", "x"])
    elif action == 5:
        assertion.salt = rng.choice([None, bytes(16), bytes(32), bytes(31)])
    else:
        assertion.type = rng.choice([b"json", b"uuid", b"xxxx"])


def _boxes(rng: Rng, target: Manifest) -> None:
    action, pick, bits = rng.randrange(8), rng.random(), rng.randrange(256)

    def reshape(tree: Super) -> Super:
        supers = [box for box in tree.walk() if box.children]
        box = supers[int(pick * len(supers))]
        n = int(pick * 97) % len(box.children)
        match action:
            case 0:
                del box.children[n]
            case 1:
                box.children.append(box.children[n])
            case 2:
                box.children.reverse()
            case 3:
                box.toggles = bits
            case 4:
                box.label += "x"
            case 5:
                box.children.append(Box(b"free", bytes(bits % 9)))
            case 6:
                box.kind = b"c2xx"
            case 7:
                box.children.append(Super(b"c2yy", "extra", [Box(b"cbor", b"\xa0")]))
        return tree

    target.reshape = reshape


def _envelope(rng: Rng, target: Manifest) -> None:
    envelope = target.envelope
    action = rng.randrange(8)
    if action == 0:
        envelope.alg = rng.choice([*cose.ALGORITHMS.values(), -9, -49, -257, 5, "ES256", cose.ABSENT])
    elif action == 1:
        envelope.tagged = False
    elif action == 2:
        envelope.payload = rng.choice([b"", b"junk", "text", 0])
    elif action == 3:
        envelope.mangle = lambda signature: _BYTES["bits flipped"](Rng(1), signature)
    elif action == 4:
        envelope.mangle = rng.choice([lambda s: s[:-1], lambda s: s + b"\0", lambda s: b"", lambda s: s[::-1]])
    elif action == 5:
        envelope.unprotected[rng.choice([33, 1, 4, "x5chain", "note", "pad", "sigTst2", "rVals"])] = rng.choice(
            [b"", b"x", -7, {"tstTokens": []}, {"ocspVals": [b"x"]}, target.signer.chain]
        )
    elif action == 6:
        extra = rng.choice([{2: ["x"]}, {4: b"kid"}, {"x5chain": ATTACKER.chain}, {"iat": 0}, {33: []}, {16: "x"}])
        envelope.protected = lambda header: {**header, **extra}
    else:
        envelope.message = lambda message: message[:-1]


def _certificate(rng: Rng, target: Manifest) -> None:
    alg = target.signer.alg
    party: pki.Party = target.signer
    past, ahead = {"start": days(-100), "end": days(-10)}, {"start": days(10), "end": days(100)}
    flaws: list[dict[str, Any]] = [*pki.LEAF_FLAWS.values(), past, ahead, {"ekus": (pki.CLAIM_SIGNING,)}, {}]
    above = rng.choice(
        [
            CA,
            CA,
            CA,
            world.OTHER_CA,
            ROOT,
            ROOT.intermediate("No CA", ca=False),
            ROOT.intermediate("Past CA", **past),
            ROOT.intermediate("Zero", path_length=0).intermediate("Below zero"),
            ROOT.intermediate("Odd CA", extra=((pki.UNKNOWN_EXTENSION, True),)),
        ]
    )
    target.signer = above.leaf(party.name, alg, **rng.choice(flaws))
    if rng.random() < 0.2:
        chains = [target.signer.chain[:1], target.signer.chain[::-1], [*target.signer.chain, ATTACKER.chain[0]]]
        target.envelope.chain = rng.choice(chains)
    if rng.random() < 0.1:
        target.signer = replace(target.signer, key=pki.key(alg, "somebody else"))


def _stamp(rng: Rng, target: Manifest) -> None:
    lies: list[dict[str, Any]] = [
        {},
        {"over": b"other"},
        {"mangle": True},
        {"digest_lies": True},
        {"certificates": False},
        {"alg": "sha1"},
        {"at": days(30)},
        {"at": days(-200)},
        {"nonce": 7},
    ]
    authority = rng.choice([TSA, TSA, tsa.Tsa.under(ROOT), tsa.Tsa.under(world.TSA_ROOT, ekus=None)])
    target.envelope.token = authority.stamp(**rng.choice(lies))


_CHANGES: list[tuple[str, Callable[[Rng, Manifest], None]]] = [
    ("an assertion's content", _in_assertion),
    ("an assertion's content ", _in_assertion),
    ("the claim", _in_claim),
    ("an encoding", _encoding),
    ("the list of assertions", _assertion_list),
    ("boxes", _boxes),
    ("the signature's envelope", _envelope),
    ("the certificate", _certificate),
    ("the time stamp", _stamp),
]
KINDS = {what.strip() for what, _ in _CHANGES} | set(_BYTES) | {"artifact", "certificate"}
