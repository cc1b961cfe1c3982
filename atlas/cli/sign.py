"""Measure a file or directory, state what it was made from, and sign that.

Writes PATH.c2pa beside it (and PATH.c2pa-index for a directory) and keeps a copy in the store. The artifact itself is
never changed. Each --ingredient is measured too; its own manifest, if it has one that fits, becomes part of the chain.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from atlas.cli.options import add_cache, add_json, add_password, password_of
from atlas.errors import SystemFailure, UsageError
from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.cli.console import Console
    from atlas.model import Input, Measurement, Relationship, SignedManifest
    from atlas.sign import Signer

HELP = "sign a file or directory, with what it was made from"
RELATIONSHIPS = ("inputTo", "parentOf", "componentOf")


class _Ingredient(argparse.Action):
    """Collects (path, relationship, role); --role speaks of the ingredients that come after it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        path, _, relationship = str(values).rpartition(":")
        if relationship not in RELATIONSHIPS or not path:
            path, relationship = str(values), "inputTo"
        namespace.ingredients = [*namespace.ingredients, (path, relationship, namespace.role)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or directory to sign")
    parser.add_argument(
        "--key", metavar="KEY", default=os.environ.get("ATLAS_KEY"), help="private key, PEM (else ATLAS_KEY)"
    )
    parser.add_argument("--chain", metavar="CHAIN", help="its certificates, PEM (else chain.pem beside the key)")
    add_password(parser)
    parser.add_argument(
        "--role",
        default="data",
        metavar="ROLE",
        help='what the ingredients after it are: "base model", "training data", "evaluation data", "code", ...',
    )
    parser.add_argument(
        "--ingredient",
        metavar="PATH[:RELATIONSHIP]",
        action=_Ingredient,
        dest="ingredients",
        default=[],
        help=f"something it was made from; relationship: {', '.join(RELATIONSHIPS)} (default inputTo)",
    )
    parser.add_argument("--name", metavar="NAME", help="logical name, such as out/model.pt (default: PATH if relative)")
    parser.add_argument("--output", metavar="FILE", help="write the manifest here instead of beside PATH")
    parser.add_argument("--tsa", metavar="URL", help="RFC 3161 time-stamping authority to ask for the time")
    parser.add_argument(
        "--attest",
        metavar="LEVEL",
        default=os.environ.get("ATLAS_ATTEST", "off"),
        help="hardware evidence for this artifact: off, auto or require (docs/attest-manifests.md; else ATLAS_ATTEST)",
    )
    parser.add_argument("--no-store", action="store_true", help="keep no copy in the store")
    add_cache(parser)
    add_json(parser)


def logical_name(path: str) -> str:
    """Relative to the working directory where it lies under it, else the last part: no machine's paths get signed."""
    place = Path(os.path.normpath(Path(path).absolute()))
    here = Path.cwd()
    return place.relative_to(here).as_posix() if place.is_relative_to(here) and place != here else place.name


def _measure(path: str, args: argparse.Namespace, console: Console) -> Measurement:
    from atlas.measure import measure

    return measure(path, progress=console.progress(path), cache=args.cache)


def _measure_model(path: str, args: argparse.Namespace, console: Console) -> Measurement:
    from atlas.tensors.attach import measure_model

    measurement, why = measure_model(path, progress=console.progress(path), cache=args.cache)
    if why:
        console.note(f"{path}: no tensor table: {why}")
    return measurement


def _input(path: str, relationship: str, role: str, args: argparse.Namespace, console: Console) -> Input:
    from atlas.model import Input
    from atlas.store import find_manifest

    measurement = _measure(path, args, console)
    found = find_manifest(path, measured=lambda _path: measurement)
    if found is None:
        console.note(f"{path}: has no manifest, recorded as of unknown provenance")
    return Input(
        name=logical_name(path),
        measurement=measurement,
        role=role,
        manifest=None if found is None else found.data,
        relationship=cast("Relationship", relationship),
    )


def _gaps(manifest: bytes) -> list[dict[str, Any]]:
    from atlas.entry import COVERAGE, content, read_manifests

    gaps = content(read_manifests(manifest)[-1], COVERAGE).get("gaps", [])
    return [gap for gap in gaps if isinstance(gap, dict)]


def _keep(args: argparse.Namespace, signed: SignedManifest, inputs: list[Input], console: Console) -> str:
    """A copy in the store, with those of the inputs: some are only referred to. Returns the store's name, or ""."""
    from atlas.store import Store

    if args.no_store:
        return ""
    store = Store()
    try:
        tensors = signed.measurement.tensors
        tables = [tensors.table] if tensors is not None and tensors.table is not None else []
        manifests = [item.manifest for item in inputs if item.manifest is not None]
        for data in (signed.store, *manifests, *tables):
            store.put(data)
    except SystemFailure as error:  # the sidecar will stand all the same
        console.note(f"no copy in the store: {error}")
        return ""
    return f"the store {store.directory}"


def _write(args: argparse.Namespace, signed: SignedManifest, index: bytes | None, kept: str, console: Console) -> str:
    from atlas.files import write_atomic
    from atlas.sidecar import INDEX_SUFFIX, SIDECAR_SUFFIX, write_sidecar

    if args.output:
        output = Path(args.output)
        if index is not None:
            write_atomic(output.with_name(output.name.removesuffix(SIDECAR_SUFFIX) + INDEX_SUFFIX), index)
        write_atomic(output, signed.store)
        return str(output)
    try:
        return str(write_sidecar(args.path, signed.store, index))
    except SystemFailure as error:
        if not kept:
            raise
        console.note(f"{error}\n  {kept} alone has the manifest; verify finds it there by digest")
        return kept


def _sign(attest: str, signer: Signer, **claim: Any) -> SignedManifest:
    """With hardware evidence for this artifact, where it is wished for; a wish that fails becomes a gap."""
    from atlas.claim import Gap, sign_manifest
    from atlas.evidence import Attest, Attester, NotAttested

    wanted = Attest.of(attest)
    if wanted.level == "off":
        return sign_manifest(signer=signer, **claim)
    if wanted.mode == "session":
        raise UsageError("evidence for a session needs a session", hint="atlas sign makes evidence for the artifact")
    attester = Attester(wanted.asked(wanted.level, "artifact"), signer, run="")
    try:
        if wanted.level == "require":
            attester.start()
        return sign_manifest(signer=signer, attester=attester, **claim)
    except NotAttested as error:
        if wanted.level == "require":
            raise
        return sign_manifest(signer=signer, gaps=[Gap("hardware evidence", f"not attested: {error.text}")], **claim)


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.sign import load_signer

    if not args.key:
        raise UsageError("no key", hint="give --key KEY or set ATLAS_KEY; `atlas keygen` makes one")
    signer = load_signer(args.key, chain=args.chain, password=password_of(args))
    inputs = [_input(path, relationship, role, args, console) for path, relationship, role in args.ingredients]
    measurement = _measure_model(args.path, args, console)
    signed = _sign(
        args.attest,
        signer,
        measurement=measurement,
        name=args.name or logical_name(args.path),
        inputs=inputs,
        tsa=args.tsa,
    )
    kept = _keep(args, signed, inputs, console)
    written = _write(args, signed, measurement.index, kept, console)
    gaps = _gaps(signed.store)
    if args.json:
        console.document(
            {
                "path": args.path,
                "name": signed.name,
                "manifest": written,
                "urn": signed.urn,
                "sha256": signed.sha256,
                "flat": str(measurement.flat),
                "tree": str(measurement.tree),
                "ingredients": [item.name for item in inputs],
                "gaps": gaps,
            }
        )
    else:
        console.result(f"{escape(written)}  {signed.urn}")
    for gap in gaps:
        console.note(f"{gap.get('what')}: {gap.get('reason')}")
    return 0
