"""Verify: artifact + manifests + trust -> verdict.

All trust decisions are made in C (csrc/stage/verify.h), which does no I/O: it asks for manifests by hash and for
measurements of artifacts. This module looks for them, measures, and hands them in.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas import _core
from atlas.entry import MEASUREMENT
from atlas.errors import AtlasError, FileChanged, LimitError, MalformedError, NotFound, SystemFailure, UsageError
from atlas.files import read_regular, version_of
from atlas.locate import Locator
from atlas.measure import measure
from atlas.model import Check, Digest, Edge, Identity, Logged, Measurement, Node, NodeEvidence, Verdict
from atlas.policy import Policy, resolve_policy
from atlas.proofs import Shelf, default_log_policy, keep_evidence, read_log_policy, seen_heads
from atlas.store import MAX_OBJECT_BYTES, Store, find_manifest, index_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    PathLike = str | os.PathLike[str]

_LISTED = 5  # differences of a directory that are named in a verdict


def verify(
    path: PathLike,
    *,
    trust: PathLike | bytes | None = None,
    policy: Policy | PathLike | None = None,
    signer: str | Iterable[str] | None = None,
    manifest: PathLike | bytes | None = None,
    root: PathLike | None = None,
    bundle: PathLike | None = None,
    log_policy: PathLike | bytes | None = None,
    require_log: bool = False,
    proofs: PathLike | None = None,
    store: Store | PathLike | None = None,
    tree: bool = False,
    at: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Verdict:
    """Verify an artifact and the whole chain behind it. Never touches the network, never uses a digest cache.

    `trust` names PEM roots (or is their bytes); without it `ATLAS_TRUST` and the user's own configuration are asked.
    `signer` pins every signer of the chain to these names or SPKI digests. Ancestors' artifacts are looked for beside
    the artifact and under `root`; their manifests in the sidecars, in `bundle` and in `store`. `tree` checks the tree
    digest alone. `at` is the time to check for, in Unix seconds. `log_policy` names the logs whose proofs count,
    `require_log` demands one for every signature, `proofs` is a folder of them (docs/log-proofs.md).

    Returns a verdict for everything that was looked at; raises UsageError for contradictory arguments and NotFound when
    `path` does not exist.
    """
    path = Path(path)
    if not path.exists() and not path.is_symlink():
        raise NotFound("no such file or directory", where=str(path), hint="check the path of the artifact")
    rules = resolve_policy(
        policy, trust=trust, signer=signer, at=at, log_policy=log_policy, require_log=require_log
    )
    shelf = store if isinstance(store, Store) else Store(store)
    if isinstance(manifest, bytes):
        data, origin = manifest, "argument"
    else:
        try:
            found = find_manifest(path, manifest=manifest, store=shelf)
        except LimitError as error:
            return _without_manifest(path, "LIMIT", str(error))
        except SystemFailure as error:
            return _without_manifest(path, "ERROR", str(error))
        if found is None:
            text = (
                f"no manifest: neither {path.name}.c2pa beside it nor the store {shelf.directory} knows this artifact"
            )
            return _without_manifest(path, "INCOMPLETE", text)
        data, origin = found
    locator = Locator(path, root=root, bundle=bundle, store=shelf)
    run = _Run(rules, tree, locator, progress)
    run.logs = _Logs.of(rules, Shelf(path, folder=proofs, bundle=bundle, store=shelf), shelf)
    return run.verify(path, data, str(origin))


def verify_measured(
    measurement: Measurement, manifest: bytes, *, path: PathLike, trust: PathLike | bytes | None, store: Store
) -> Verdict:
    """`verify` for bytes that are held already: `measurement` is of them, and nothing is read at `path`.

    For readers that hand out the bytes they hashed. With a tree alone the verdict says so.
    """
    rules = resolve_policy(None, trust=trust)
    locator = Locator(Path(path), root=None, bundle=None, store=store)
    run = _Run(rules, measurement.flat is None, locator, None, held=measurement)
    run.logs = _Logs.of(rules, Shelf(path, store=store), store)
    return run.verify(Path(path), manifest, "held")


def examine(manifest: bytes, measurement: Measurement) -> Verdict:
    """What a manifest proves about bytes that were measured already, without any trust: at best UNTRUSTED.

    Used when an input is recorded. INVALID, MALFORMED or LIMIT mean that the manifest must not vouch for the bytes.
    """
    core = _core.Verifier(now=int(time.time()), tree_only=measurement.flat is None)
    core.open(manifest)
    while (need := core.next()) is not None:
        if need["kind"] == "artifact" and need["subject"]:
            core.measured(_tuple(measurement))
        else:
            core.absent("not looked for")
    return _verdict(core, "", [], tree_only=measurement.flat is None, origin="")


def _without_manifest(path: Path, answer: str, text: str) -> Verdict:
    code = "claim.missing" if answer == "INCOMPLETE" else "general.error"
    return Verdict(str(path), answer, (Check(code, "failed", answer, 0, str(path), text),), ())


def _tuple(m: Measurement) -> tuple[Any, ...]:
    return (m.kind, m.flat and m.flat.pair, m.tree and m.tree.pair, m.size, m.files, m.oms and m.oms.pair)


class _Run:
    """One verification: answers the verifier's needs."""

    def __init__(
        self,
        policy: Policy,
        tree: bool,
        locator: Locator,
        progress: Callable[[int, int], object] | None,
        *,
        held: Measurement | None = None,
    ) -> None:
        self.core = _core.Verifier(
            trust=policy.roots,
            tsa_trust=policy.tsa_roots,
            crls=policy.crls,
            now=policy.at if policy.at is not None else int(time.time()),
            tree_only=tree,
            require_artifacts=policy.require_artifacts,
            require_revocation=policy.require_revocation,
            refuse_unknown=policy.refuse_unknown_inputs,
            signers=policy.signers,
            redactable=policy.allow_redaction,
            evidence=policy.require_evidence,
            appraisal=policy.appraisal,
            evidence_anchor=policy.evidence_anchor,
            collateral=policy.evidence_collateral,
        )
        self.tree = tree
        self.locator = locator
        self.progress = progress
        self.held = held
        self.paths: dict[int, str] = {}
        self.logs: _Logs | None = None

    def verify(self, path: Path, manifest: bytes, origin: str) -> Verdict:
        if self.logs is not None:
            self.logs.begin(self.core)
        self.core.open(manifest)
        self.locator.anchor(_own_name(manifest))
        while (need := self.core.next()) is not None:
            if need["kind"] == "manifest":
                self._manifest(need)
            elif need["kind"] == "proof":
                assert self.logs is not None
                self.logs.answer(self.core, need)
            else:
                self._artifact(need, path)
        paths = [self.paths.get(i, "") for i in range(max(self.paths, default=-1) + 1)]
        verdict = _verdict(self.core, str(path), paths, tree_only=self.tree, origin=origin)
        return self.logs.finish(verdict) if self.logs is not None else verdict

    def _manifest(self, need: dict[str, Any]) -> None:
        try:
            data = self.locator.manifest(Digest(*need["digest"]), need["name"])
        except OSError as error:
            self.core.unreadable(str(error))
            return
        if data is None:
            self.core.absent(
                f"the manifest of {need['name']!r} is in none of: its sidecar, the store, a bundle "
                "(atlas bundle gathers what a chain refers to)"
            )
        else:
            self.core.manifest(data)

    def _artifact(self, need: dict[str, Any], path: Path) -> None:
        node = need["node"]
        found: Path | None
        if need["subject"] and self.held is not None:
            self.paths[node] = str(path)
            self.core.measured(_tuple(self.held))
            return
        if need["subject"]:
            found, why = path, ""
        else:
            found, why = self.locator.artifact(need["name"], need["urn"])
        if found is None:
            self._table_of_store(need)
            self.core.absent(why)
            return
        self.paths[node] = str(found)
        try:
            before = version_of(found)
            m = measure(
                found,
                alg=need["alg"],
                flat=need["flat"],
                tree=need["tree"],
                ignore=need["ignore"],
                progress=self.progress,
            )
            self._tensors(need, found, before, m)
        except SystemFailure as error:
            if error.code == "ATLAS_E_REFUSED":
                self.core.refused(str(error))
            else:
                self.core.unreadable(str(error))
            return
        self.core.measured(_tuple(m), _differences(found, need, m))


    def _tensors(self, need: dict[str, Any], path: Path, before: tuple[int, ...], m: Measurement) -> None:
        """The root of the file's own tensor table, where the manifest states one and the bytes are the signed ones."""
        if need["tensors"] is None or m.kind != "file" or m.flat is None or m.flat.pair != need["expected"]:
            return
        from atlas.tensors.attach import find_tensors

        tensors, why = find_tensors(path)
        if version_of(path) != before:
            raise FileChanged("changed while it was verified", where=str(path))
        self.core.tensors(tensors.root.pair if tensors else None, True, why or "this file has none that could be made")

    def _table_of_store(self, need: dict[str, Any]) -> None:
        """The file is not there: whether the table that the manifest names has the root that it states."""
        data = self.locator.table(Digest(*need["table"])) if need["tensors"] is not None else None
        if data is None:
            return
        from atlas.tensors.table import Table

        try:
            self.core.tensors(("sha256", Table.parse(data).root), False)
        except MalformedError as error:
            self.core.tensors(None, False, f"what the manifest names is none: {error.text}")


class _Logs:
    """The logs that are trusted, and where proofs lie."""

    def __init__(self, policy: bytes, require: bool, shelf: Shelf, store: Store) -> None:
        self._policy = policy
        self._require = require
        self._shelf = shelf
        self._store = store
        self._notes = seen_heads(store)

    @classmethod
    def of(cls, rules: Policy, shelf: Shelf, store: Store) -> _Logs | None:
        policy = default_log_policy(store) if rules.log_policy is None else rules.log_policy
        if policy:
            return cls(read_log_policy(policy), rules.require_log, shelf, store)
        if rules.require_log:
            raise UsageError(
                "require_log without a log that is trusted",
                hint="name one with --log-policy, ATLAS_LOG_POLICY, or log_policy in the policy file",
            )
        return None

    def begin(self, core: _core.Verifier) -> None:
        core.trust_logs(self._policy, self._require, self._notes)

    def answer(self, core: _core.Verifier, need: dict[str, Any]) -> None:
        try:
            found = self._shelf.find(need["digest"][1], subject=need["subject"])
        except (SystemFailure, MalformedError) as error:
            core.unreadable(str(error))
            return
        if not found:
            core.absent("there is no proof beside it, in the store, a bundle or the folder of proofs")
            return
        for proof in found:
            with contextlib.suppress(AtlasError):
                self._notes.append(_core.log_proof_read(proof)[2])
        core.proofs(found)

    def finish(self, verdict: Verdict) -> Verdict:
        """Two histories of a log are kept as evidence that anybody can check."""
        forked = [i for i, check in enumerate(verdict.checks) if check.code == "org.atlasml.log.forked"]
        report = keep_evidence(self._store, self._policy, self._notes) if forked else None
        if report is None:
            return verdict
        checks = list(verdict.checks)
        for i in forked:
            checks[i] = replace(checks[i], text=f"{checks[i].text}; the proof of it is kept in {report}")
        return replace(verdict, checks=tuple(checks))


def _own_name(manifest: bytes) -> str:
    """What the manifest calls its artifact: a hint where to look, before anything has been checked."""
    try:
        assertions = _core.store_read(manifest)[-1]["assertions"]
    except AtlasError:  # the verifier will say what is wrong with it
        return ""
    names = [
        a["content"].get("name") for a in assertions if a["label"] == MEASUREMENT and isinstance(a["content"], dict)
    ]
    return names[0] if names and isinstance(names[0], str) else ""


def _differences(path: Path, need: dict[str, Any], m: Measurement) -> str:
    """What changed in a directory, by comparing with the index beside it, provided that index is the signed one."""
    if m.index is None or m.flat is None or need["expected"] in (None, m.flat.pair):
        return ""
    alg, value = need["expected"]
    try:
        signed = read_regular(index_path(path), limit=MAX_OBJECT_BYTES)
        if hashlib.new(alg, signed).digest() != value:
            return "the index beside it is not the signed one either"
        changes = _core.index_compare(signed, m.index)
    except (OSError, AtlasError):
        return ""
    parts = []
    for what in ("changed", "removed", "added"):
        names = changes[what]
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            parts.append(f"{what}: {', '.join(names[:_LISTED])}{more}")
    return "; ".join(parts)


def _verdict(core: _core.Verifier, path: str, paths: list[str], *, tree_only: bool, origin: str) -> Verdict:
    answer, checks, nodes = core.finish()
    return Verdict(
        path=path,
        answer=answer,
        checks=tuple(Check(*c) for c in checks),
        nodes=tuple(_node(n, paths[i] if i < len(paths) else "") for i, n in enumerate(nodes)),
        tree_only=tree_only,
        manifest_from=origin,
    )


def _node(n: dict[str, Any], path: str) -> Node:
    return Node(
        **{
            k: n[k]
            for k in ("urn", "name", "kind", "size", "signed_at", "time_source", "bytes", "answer", "gaps", "box")
        },
        step=n["step"] or "",
        logged=Logged(*n["logged"]) if n["logged"] else None,
        evidence=_evidence(n["evidence"]) if n["evidence"] else None,
        flat=Digest.of(n["flat"]),
        tree=Digest.of(n["tree"]),
        signer=Identity(**n["signer"]) if n["signer"] else None,
        path=path,
        inputs=tuple(_edge(e) for e in n["inputs"]),
    )


def _evidence(e: dict[str, Any]) -> NodeEvidence:
    from atlas.attest import Appraisal

    appraisal = Appraisal.of(e["appraisal"]) if e["appraisal"] else None
    return NodeEvidence(**e | {"why": e["why"] or "", "appraisal": appraisal})


def _edge(e: dict[str, Any]) -> Edge:
    return Edge(**e | {"flat": Digest.of(e["flat"]), "tree": Digest.of(e["tree"])})


__all__ = ["examine", "verify", "verify_measured"]
