"""Entries of logs, policies and proofs in the C core, against entries, logs and proofs made by another hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from forge import chain, logged, tlog, world
from forge.manifest import Manifest, Store

from atlas import _core
from atlas.errors import AtlasError, LimitError, MalformedError, SystemFailure, VerificationError
from tests.unit import test_log_policy as policies

LOG = tlog.NoteKey("log.example/team")
WITNESSES = [tlog.NoteKey(f"witness.example/w{n}", tlog.COSIGNATURE) for n in range(3)]
SIDECAR = world.honest()[world.BASE].sidecar
MANIFEST = Store.parse(SIDECAR).active
FORGED = logged.log_of(LOG, [MANIFEST])
INDEX = 3
PROOF = logged.prove(FORGED, INDEX)


def trusted() -> _core.LogPolicy:
    return _core.LogPolicy(logged.policy(LOG))


# ------------------------------------------------------------------------------------------------------------ entries


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "PS256"])
def test_an_entry_is_the_canonical_one_of_another_hand(alg: str) -> None:
    made = chain.make("model.pt", b"x", world.CA.leaf("Signer", alg))
    assert _core.log_entry(made.sidecar) == logged.entry(made.store.active)


@pytest.mark.parametrize("alg", ["PS384", "PS512"])
def test_an_algorithm_without_a_name_in_logs_is_refused(alg: str) -> None:
    made = chain.make("model.pt", b"x", world.CA.leaf("Signer", alg))
    with pytest.raises(VerificationError, match="no name") as caught:
        _core.log_entry(made.sidecar)
    assert caught.value.code == "ATLAS_E_ALGORITHM"


def test_nothing_but_digest_signature_and_key_enters_a_log() -> None:
    entry = _core.log_entry(SIDECAR)
    assert len(entry) < 600
    for word in (b"Base Lab", b"ckpt", b"shard", MANIFEST.urn.encode()):
        assert word not in entry


def test_a_manifest_whose_signature_is_wrong_has_no_entry() -> None:
    broken = SIDECAR.replace(MANIFEST.signature.signature, bytes(64))
    assert broken != SIDECAR
    with pytest.raises(VerificationError):
        _core.log_entry(broken)


# ----------------------------------------------------------------------------------------------------------- policies


@pytest.mark.parametrize("lines", policies.LINES, ids=range(len(policies.LINES)))
def test_what_is_no_policy_is_refused_here_too(lines: str) -> None:
    with pytest.raises(MalformedError) as caught:
        _core.LogPolicy((policies.HEAD + lines).encode())
    assert caught.value.code == "ATLAS_E_NOTE"


def test_a_policy_may_have_comments_blanks_and_no_newline_at_its_end() -> None:
    text = f"# ours\n\n\tlog   {LOG.vkey}\thttps://log.example/\n #x\nquorum none"
    assert _core.LogPolicy(text.encode()).manifest(SIDECAR, PROOF)[1] == INDEX


def test_a_policy_has_a_limit() -> None:
    with pytest.raises(LimitError):
        _core.LogPolicy(b"#" * (256 << 10) + b"\nquorum none\n")


@pytest.mark.parametrize("quorum", [1, 2, 3])
@pytest.mark.parametrize("signed", [0, 1, 2, 3])
def test_a_quorum_is_counted_as_its_group_says(quorum: int, signed: int) -> None:
    policy = _core.LogPolicy(logged.policy(LOG, *WITNESSES, quorum=quorum))
    proof = logged.prove(FORGED, INDEX, *WITNESSES[:signed])
    if signed >= quorum:
        assert policy.manifest(SIDECAR, proof) == (LOG.name, INDEX, 4, FORGED.root, signed)
        return
    with pytest.raises(VerificationError, match="quorum") as caught:
        policy.manifest(SIDECAR, proof)
    assert caught.value.code == "ATLAS_E_UNKNOWN_LOG"


# ------------------------------------------------------------------------------------------------------------- proofs


@pytest.mark.parametrize("extra", [None, b"", b"a hint that nobody signed"])
def test_a_proof_of_the_entry_holds(extra: bytes | None) -> None:
    proof = logged.proof(INDEX, tlog.inclusion(FORGED.leaves, INDEX), FORGED.checkpoint(), extra=extra)
    assert trusted().manifest(SIDECAR, proof) == (LOG.name, INDEX, 4, FORGED.root, 0)
    assert trusted().entry(_core.log_entry(SIDECAR), proof)[1] == INDEX
    assert _core.log_proof_read(proof) == (
        INDEX, tlog.inclusion(FORGED.leaves, INDEX), FORGED.checkpoint(), None
    )  # fmt: skip


def test_a_proof_in_the_form_of_sigstore_holds() -> None:
    entry = logged.sigstore(FORGED, INDEX)
    bundle = json.dumps({"verificationMaterial": {"tlogEntries": [json.loads(entry)]}}).encode()
    for proof in (entry, bundle):
        assert trusted().manifest(SIDECAR, proof)[:2] == (LOG.name, INDEX)
    first = tlog.ForgedLog(LOG, [logged.entry(MANIFEST), b"later"])
    assert trusted().manifest(SIDECAR, logged.sigstore(first, 0))[1] == 0


@pytest.mark.parametrize(
    "body",
    [lambda m: logged.entry(m, certificate=True), logged.entry_v1],
    ids=["v2 with a certificate", "v1"],
)  # fmt: skip
def test_an_entry_in_another_form_of_sigstore_is_compared_with_the_manifest(body: Callable[[Manifest], bytes]) -> None:
    log = tlog.ForgedLog(LOG, [b"x", body(MANIFEST)])
    assert trusted().manifest(SIDECAR, logged.sigstore(log, 1))[1] == 1
    other = Store.parse(world.honest()[world.RAW].sidecar).active
    log = tlog.ForgedLog(LOG, [b"x", body(other)])
    with pytest.raises(VerificationError, match="of another digest"):
        trusted().manifest(SIDECAR, logged.sigstore(log, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.replace(b'{"apiVersion"', b'{ "apiVersion"'),
        lambda entry: entry[:-1] + b',"x":1}',
        lambda entry: entry.replace(b"SHA2_256", b"SHA2_\\u0032\\u00356"),
        lambda entry: entry.replace(b'"data":{', b'"data":{"a":"",'),
    ],
    ids=["blank", "member", "escape", "inner member"],
)
def test_an_entry_has_one_form_and_no_other(change: Callable[[bytes], bytes]) -> None:
    """Two entries of one signature would have two leaf hashes: proofs are found by the hash of the only form."""
    entry = change(logged.entry(MANIFEST))
    assert json.loads(entry)["kind"] == "hashedrekord" and entry != logged.entry(MANIFEST)
    with pytest.raises(MalformedError, match="canonical"):
        trusted().manifest(SIDECAR, logged.sigstore(tlog.ForgedLog(LOG, [entry]), 0))


def refused(proof: bytes, policy: _core.LogPolicy | None = None) -> AtlasError:
    with pytest.raises(AtlasError) as caught:
        (policy or trusted()).manifest(SIDECAR, proof)
    return caught.value


def test_every_truncation_and_every_flipped_bit_of_a_proof_is_refused() -> None:
    """But in the signature line's own name, which then is a stranger's: no log of the policy has signed."""
    policy = trusted()
    policy.manifest(SIDECAR, PROOF)
    for cut in range(len(PROOF)):
        refused(PROOF[:cut], policy)
    for bit in range(8 * len(PROOF)):
        flipped = bytearray(PROOF)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(bytes(flipped), policy)


JSON = json.loads(logged.sigstore(FORGED, INDEX))


@pytest.mark.parametrize(
    ("proof", "error"),
    [
        (b"", MalformedError), (b"c2sp.org/tlog-proof@v2\n", MalformedError), (PROOF + b"x", MalformedError),
        (PROOF.replace(b"index 3", b"index 03"), MalformedError),
        (PROOF.replace(b"index 3", b"index -3"), MalformedError),
        (PROOF.replace(b"index 3\n", b""), MalformedError), (PROOF.replace(b"index 3", b"index 2"), VerificationError),
        (logged.proof(INDEX, [bytes(31)], FORGED.checkpoint()), MalformedError),
        (logged.proof(INDEX, [bytes(32)] * 64, FORGED.checkpoint()), LimitError),
        (logged.proof(INDEX, [], FORGED.checkpoint()), VerificationError),
        (
            logged.proof(INDEX, [*tlog.inclusion(FORGED.leaves, INDEX), bytes(32)], FORGED.checkpoint()),
            VerificationError,
        ),
        (PROOF.replace(b"\nindex", b"\nextra !\nindex"), MalformedError), (b"{" * 100, MalformedError),
        (b"c2sp.org/tlog-proof@v1\n" + b"x" * (256 << 10), LimitError), (b"{}", MalformedError),
        (json.dumps(JSON | {"canonicalizedBody": ""}).encode(), MalformedError),
        (json.dumps(JSON | {"canonicalizedBody": tlog.b64(b"{}")}).encode(), SystemFailure),
        (json.dumps({"verificationMaterial": {"tlogEntries": [JSON, JSON]}}).encode(), MalformedError),
        (logged.sigstore(FORGED, INDEX, logIndex=3), MalformedError),
        (logged.sigstore(FORGED, INDEX, checkpoint={}), MalformedError),
        (logged.sigstore(FORGED, INDEX, hashes=[7]), MalformedError),
        (logged.sigstore(FORGED, INDEX, logIndex="2"), VerificationError),
    ],
    ids=range(22),
)  # fmt: skip
def test_what_is_no_proof_of_this_entry_is_refused(proof: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        trusted().manifest(SIDECAR, proof)


def test_what_a_bundle_says_of_the_tree_beside_the_checkpoint_is_not_believed() -> None:
    lies = logged.sigstore(FORGED, INDEX, rootHash=tlog.b64(bytes(32)), treeSize="1")
    assert trusted().manifest(SIDECAR, lies)[2:4] == (4, FORGED.root)


def test_a_checkpoint_under_another_origin_than_its_key_is_of_no_known_log() -> None:
    text = tlog.checkpoint_text("other.example", 4, FORGED.root)
    proof = logged.proof(INDEX, tlog.inclusion(FORGED.leaves, INDEX), LOG.note(text))
    assert refused(proof).code == "ATLAS_E_UNKNOWN_LOG"


def test_two_roots_of_one_size_are_two_histories() -> None:
    policy = trusted()
    policy.manifest(SIDECAR, PROOF)
    other = tlog.ForgedLog(LOG, [b"another history", *FORGED.entries[1:]])
    error = refused(logged.prove(other, INDEX), policy)
    assert error.code == "ATLAS_E_FORKED" and "two histories" in error.text
    with pytest.raises(VerificationError):
        policy.head(other.checkpoint())
    assert policy.head(FORGED.checkpoint())[2] == 4


def test_many_heads_are_remembered_and_their_number_is_bounded() -> None:
    policy = trusted()
    for n in range(1, 1100):
        assert policy.head(LOG.note(tlog.checkpoint_text(LOG.name, n, bytes(32))))[2] == n


# ---------------------------------------------------------------------------------------------------- public vectors


def test_recorded_answers_of_a_real_rekor_server_hold() -> None:
    recorded = json.loads((Path(__file__).parent.parent / "recorded" / "rekor.json").read_text())
    policy = _core.LogPolicy(f"log {recorded['vkey']}\nquorum none\n".encode())
    for index, (entry, answer) in enumerate(zip(recorded["entries"], recorded["answers"], strict=False)):
        found = policy.entry(entry.encode(), answer["body"].encode())
        assert found[:2] == ("rekor.example", index)
        with pytest.raises(VerificationError, match="another entry"):
            policy.entry(entry.encode()[:-1], answer["body"].encode())


@pytest.mark.skipif("ATLAS_VECTORS" not in os.environ, reason="ATLAS_VECTORS is not set")
def test_every_entry_of_the_public_log_is_proven_at_every_size() -> None:
    folder = Path(os.environ["ATLAS_VECTORS"]) / "tlog-tiles"
    policy = _core.LogPolicy(
        b"log example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx\nquorum none\n"
    )
    data = (folder / "tile" / "entries" / "000.p" / "15").read_bytes()
    entries: list[bytes] = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        entries.append(data[2:end])
        data = data[end:]
    leaves = [tlog.leaf(entry) for entry in entries]
    for size in range(16):
        note = (folder / f"checkpoint.{size}").read_bytes()
        assert policy.head(note)[2:4] == (size, tlog.mth(leaves[:size]))
        for index in range(size):
            proof = logged.proof(index, tlog.inclusion(leaves[:size], index), note)
            assert policy.entry(entries[index], proof)[1] == index
            with pytest.raises(VerificationError):
                policy.entry(entries[index] + b"x", proof)
