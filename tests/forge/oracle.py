"""The independent judge: c2pa-rs, as c2pa-python carries it.

The recipe that gives "Trusted" for a sidecar and any bytes (0.38.1, c2pa-rs 0.91.3)::

    context = c2pa.Context.from_dict(settings)
    reader = c2pa.Reader("application/octet-stream", io.BytesIO(asset), manifest_data=sidecar, context=context)
    reader.get_validation_state()       # "Trusted" | "Valid" | "Invalid"
    reader.get_validation_results()     # the status codes

The container is looked for in the bytes first (a ``.pt`` is a ZIP), but with ``manifest_data`` no handler is asked, so
every kind of file works. An empty asset never does: c2pa-rs reports assertion.dataHash.mismatch for it.

Trusted needs ``trust.trust_config`` (the EKUs) and ``trust.trust_anchors`` (roots of signers and time stampers, PEM).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import c2pa

_EKUS = ("1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9")
_ALGS = {"EdDSA": "ed25519"}
FORMAT = "application/octet-stream"
TRAINED = "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What c2pa-rs says. `state` is Trusted, Valid, Invalid, or Unreadable when it raised instead of judging."""

    state: str
    failures: tuple[str, ...] = ()
    successes: tuple[str, ...] = ()
    informational: tuple[str, ...] = ()
    error: str = ""

    @property
    def trusted(self) -> bool:
        return self.state == "Trusted"


@lru_cache(maxsize=64)
def _context(roots: str) -> c2pa.Context:
    return c2pa.Context.from_dict(
        {
            "verify": {
                "verify_trust": True,
                "verify_after_reading": True,
                "verify_after_sign": False,
                "verify_timestamp_trust": True,
                "ocsp_fetch": False,
                "remote_manifest_fetch": False,
            },
            "trust": {"trust_anchors": roots, "trust_config": "\n".join(_EKUS)},
        }
    )


def _codes(results: dict[str, Any], kind: str) -> Iterator[str]:
    for entry in results.get("activeManifest", {}).get(kind, ()):
        yield entry["code"]
    for delta in results.get("ingredientDeltas") or ():
        for entry in delta["validationDeltas"].get(kind, ()):
            yield entry["code"]


def validate(store: bytes, asset: bytes, *, roots: str) -> Opinion:
    """c2pa-rs on a sidecar and its asset under these PEM roots."""
    try:
        reader = c2pa.Reader(FORMAT, io.BytesIO(asset), manifest_data=store, context=_context(roots))
    except c2pa.C2paError as error:
        return Opinion("Unreadable", error=f"{type(error).__name__}: {error}")
    with reader:
        results = reader.get_validation_results() or {}
        return Opinion(
            reader.get_validation_state() or "Invalid",
            failures=tuple(_codes(results, "failure")),
            successes=tuple(_codes(results, "success")),
            informational=tuple(_codes(results, "informational")),
        )


def read(store: bytes, asset: bytes, *, roots: str) -> dict[str, Any]:
    """Everything that c2pa-rs reads out of a sidecar, as its JSON report."""
    with c2pa.Reader(FORMAT, io.BytesIO(asset), manifest_data=store, context=_context(roots)) as reader:
        report: dict[str, Any] = json.loads(reader.json())
        return report


@dataclass(frozen=True, slots=True)
class Parent:
    """An ingredient for `make`: a sidecar together with its asset."""

    store: bytes
    asset: bytes
    title: str = "parent"
    relationship: str = "inputTo"


def make(
    asset: bytes,
    *,
    alg: str,
    chain_pem: str,
    key_pem: str,
    roots: str,
    title: str = "foreign",
    parents: Sequence[Parent] = (),
    assertions: Sequence[dict[str, Any]] = (),
    created: bool = True,
) -> bytes:
    """A sidecar written and signed by c2pa-rs itself (its Builder with no_embed).

    Unless told otherwise the Builder lists actions and other assertions as gathered; `created` tells it otherwise.
    """
    info = c2pa.C2paSignerInfo(
        alg=_ALGS.get(alg, alg.lower()), sign_cert=chain_pem.encode(), private_key=key_pem.encode(), ta_url=None
    )
    first = {"action": "c2pa.created", "digitalSourceType": TRAINED}
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [first]}}
    definition = {
        "claim_generator_info": [{"name": "foreign generator", "version": "1"}],
        "title": title,
        "assertions": [{**assertion, "created": created} for assertion in (actions, *assertions)],
        "ingredients": [_ingredient(parent, n, roots) for n, parent in enumerate(parents)],
    }
    # add_ingredient() wants an archive of its own kind; a sidecar goes in as a resource of the definition.
    with c2pa.Builder(definition, context=_context(roots)) as builder, c2pa.Signer.from_info(info) as signer:
        for n, parent in enumerate(parents):
            builder.add_resource(f"parent{n}.c2pa", io.BytesIO(parent.store))
        builder.set_no_embed()
        return bytes(builder.sign(signer, FORMAT, io.BytesIO(asset)))


def _ingredient(parent: Parent, n: int, roots: str) -> dict[str, Any]:
    with c2pa.Reader(FORMAT, io.BytesIO(parent.asset), manifest_data=parent.store, context=_context(roots)) as reader:
        return {
            "title": parent.title,
            "relationship": parent.relationship,
            "format": FORMAT,
            "active_manifest": json.loads(reader.json())["active_manifest"],
            "manifest_data": {"format": "application/c2pa", "identifier": f"parent{n}.c2pa"},
            "validation_results": reader.get_validation_results(),
        }
