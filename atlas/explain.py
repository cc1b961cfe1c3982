"""A verdict in words: the answer, why, and what to do. Names come from manifests, so every one is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.escape import escape

if TYPE_CHECKING:
    from atlas.model import Check, Node, Verdict

_MEANING = {
    "VALID": "every required check passed",
    "INVALID": "proof of tampering, or of a false statement",
    "UNTRUSTED": "well formed, but a signer, a time or the policy does not accept it",
    "INCOMPLETE": "something required is missing",
    "MALFORMED": "not a manifest of the profile",
    "LIMIT": "beyond a limit of the verifier",
    "ERROR": "could not be checked",
}

_REMEDY = {
    "INVALID": "Do not use this artifact. Fetch it again from its source and verify it before loading.",
    "UNTRUSTED": "Find out who signed it. If you trust that signer, name their root with --trust or policy.",
    "INCOMPLETE": "Get the missing piece from whoever gave you the artifact, or gather it with atlas bundle.",
    "MALFORMED": "Do not use this manifest. Get it again: it may have been damaged on its way. If it comes out the "
    "same, ask the producer for one of the profile (docs/manifest.md).",
    "LIMIT": "A manifest this large or deep is refused on purpose; ask the producer to cut the chain.",
    "ERROR": "Nothing is known about the artifact. Repair the cause and verify again.",
}

_REMEDY_BY_CODE = {
    "claim.missing": "Ask the producer for the .c2pa sidecar, or name the manifest with --manifest.",
    "claimSignature.outsideValidity": "The certificate was not valid at the time checked. Only a trusted timestamp "
    "(--tsa when signing, --tsa-trust when verifying) outlives a certificate.",
    "signingCredential.untrusted": "No given root leads to this signer. If you trust it, pass its root with --trust.",
    "org.atlasml.signer.refused": "The signer is not among those given with --signer. Check who signed, or add them.",
    "org.atlasml.attestation.required": "The policy demands hardware evidence. Ask the producer to sign with "
    "attest='require', give newer collateral in the policy, or relax the policy (docs/attest-manifests.md).",
    "org.atlasml.log.missing": "The policy wants every signature in a log. Get the .tlog-proof files from the producer "
    "(--proofs DIR), or log it (`atlas log add`).",
    "org.atlasml.log.untrusted": "The proof is of a log or without witnesses that the policy does not accept. Get the "
    "log's key from its operator, never from where the proof came from, and add it to --log-policy.",
    "org.atlasml.log.forked": "The log shows two histories to different people. Keep the report, and tell others.",
    "org.atlasml.unknown.refused": "The policy wants a manifest for every input: sign the input, or relax the policy.",
}


LOG = "org.atlasml.log."  # checks that speak of logs: there are none where the policy names no logs

# Formats that run code when they are loaded. A signature says who made the code, not what it does.
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
PICKLE_NOTE = "this is not a safety claim: loading a pickle can run code (torch.load(..., weights_only=True) does not)"


def first_line(verdict: Verdict) -> str:
    """``VALID  out/model.pt  (2 of 5 artifacts present, 1 input of unknown provenance)``"""
    facts = []
    if verdict.nodes:
        facts.append(f"{verdict.measured} of {len(verdict.nodes)} artifacts present")
    if verdict.unknown:
        facts.append(f"{verdict.unknown} input{'s' if verdict.unknown > 1 else ''} of unknown provenance")
    if verdict.gaps:
        facts.append(f"{verdict.gaps} gap{'s' if verdict.gaps > 1 else ''} recorded")
    if any(node.evidence for node in verdict.nodes):
        attested = sum(bool(node.evidence and node.evidence.holds) for node in verdict.nodes)
        facts.append(f"{attested} of {len(verdict.nodes)} attested by hardware")
    if any(check.code.startswith(LOG) for check in verdict.checks):
        facts.append(f"{sum(node.logged is not None for node in verdict.nodes)} of {len(verdict.nodes)} logged")
    if verdict.tree_only:
        facts.append("tree only: hard binding not checked")
    return f"{verdict.answer}  {escape(verdict.path)}" + (f"  ({', '.join(facts)})" if facts else "")


def remedy(verdict: Verdict) -> str:
    """What to do, for anything but VALID."""
    for check in verdict.failures:
        if check.answer == verdict.answer and check.code in _REMEDY_BY_CODE:
            return _REMEDY_BY_CODE[check.code]
    return _REMEDY.get(verdict.answer, "")


def node_name(node: Node | None, verdict: Verdict) -> str:
    """As its manifest calls it; a manifest that could not be read is called as the artifact under verification."""
    if node is None or (node is verdict.nodes[0] and not node.name and not node.urn):
        return verdict.path
    return node.name or node.urn or "(no name)"


def node_line(node: Node, verdict: Verdict) -> str:
    signer = f"signed by {escape(node.signer.name)}" if node.signer else "signer not known"
    bytes_ = {"measured": "bytes match", "different": "BYTES DIFFER"}.get(
        node.bytes, "manifest verified, bytes not measured" if node.answer == "VALID" else "bytes not measured"
    )
    return f"{escape(node_name(node, verdict))}  {signer}  {bytes_}"


def evidence_words(node: Node) -> str:
    """What was proven about the hardware: ``TDX evidence for this artifact: attested``; "" where there is none."""
    found = node.evidence
    if found is None:
        return ""
    what = f"{escape(found.kind).upper()} evidence for {'this artifact' if found.mode == 'artifact' else 'its run'}"
    if found.holds:
        return f"{what}: attested"
    if not found.bound or found.appraisal is None:
        return f"{what}: proves nothing"
    return f"{what}: {found.appraisal.answer.lower()}"


def _evidence_lines(node: Node) -> list[str]:
    words = evidence_words(node)
    if not words or node.evidence is None:
        return []
    why = f" ({escape(node.evidence.why)})" if node.evidence.why else ""
    return [f"      {words}{why}"]


def log_words(node: Node) -> str:
    if node.logged is None:
        return "not proven to be logged"
    where = node.logged
    cosigned = f", cosigned by {where.witnesses}" if where.witnesses else ""
    return f"logged: entry {where.index} of {escape(where.origin)}{cosigned}"


def why_line(check: Check, verdict: Verdict) -> str:
    node = verdict.nodes[check.node] if check.node < len(verdict.nodes) else None
    return f"{escape(node_name(node, verdict))}: {escape(check.text)} [{check.code}]"


def explain(verdict: Verdict, *, limit: int = 10) -> str:
    lines = [first_line(verdict), f"  {_MEANING.get(verdict.answer, 'nothing was checked')}"]
    failures = sorted(verdict.failures, key=lambda c: c.answer != verdict.answer)
    if failures:
        lines += ["", "why:"]
        lines += [f"  - {why_line(check, verdict)}" for check in failures[:limit]]
        if len(failures) > limit:
            lines.append(f"  - and {len(failures) - limit} more (--json lists all)")
    if verdict.nodes:
        lines += ["", "chain:"]
        logs = any(check.code.startswith(LOG) for check in verdict.checks)
        for node in verdict.nodes:
            mark = "x" if node.answer != "VALID" else "+"
            lines += [f"  {mark} {node_line(node, verdict)}", *_evidence_lines(node)]
            lines += [f"      {log_words(node)}"] if logs else []
    if not verdict:
        lines += ["", "what to do:", f"  {remedy(verdict)}"]
    elif verdict.nodes[0].name.lower().endswith(PICKLES):
        lines += ["", f"note: {PICKLE_NOTE}"]
    return "\n".join(lines)


__all__ = ["evidence_words", "explain", "first_line", "log_words", "node_line", "node_name", "remedy", "why_line"]
