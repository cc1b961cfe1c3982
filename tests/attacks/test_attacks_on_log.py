"""Logs: a proof says that one signature is in one log that the policy names, and nothing else passes for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from arena import INCOMPLETE, INVALID, MALFORMED, UNTRUSTED, VALID, blamed, judge, told
from forge import cose, logged, tlog
from forge.world import BASE, CLEAN, RAW, REPORT, TUNED, Scene

from atlas.errors import MalformedError, UsageError
from atlas.model import Verdict
from atlas.proofs import keep_proof, remember_head
from atlas.store import Store

LOG = tlog.NoteKey("log.example/team")
FOLDERS_OWN = tlog.NoteKey("log.example/folder")
WITNESSES = [tlog.NoteKey(f"witness.example/w{n}", tlog.COSIGNATURE) for n in range(3)]
DEMANDED = {"log_policy": logged.policy(LOG), "require_log": True}


@dataclass
class Logged:
    """An honest chain whose every signature is in one log; proofs are written beside the subject and in a folder."""

    scene: Scene
    key: tlog.NoteKey = LOG
    log: tlog.ForgedLog = field(init=False)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.scene.root / "proofs"
        self.folder.mkdir()
        self.log = logged.log_of(self.key, self.scene.store)

    def index(self, name: str) -> int:
        return self.log.entries.index(self.entry(name))

    def entry(self, name: str) -> bytes:
        return logged.entry(self.scene.store[self.scene.urn(name)])

    def place(self, name: str) -> Path:
        if name == self.scene.subject:
            path = self.scene.path(name)
            return path.parent / (path.name + ".tlog-proof")
        return self.folder / (tlog.leaf(self.entry(name)).hex() + ".tlog-proof")

    def prove(self, *cosigners: tlog.NoteKey) -> Logged:
        for name in self.scene.made:
            self.put(name, logged.prove(self.log, self.index(name), *cosigners))
        return self

    def put(self, name: str, proof: bytes) -> None:
        self.place(name).write_bytes(proof)

    def judge(self, **rules: object) -> Verdict:
        path = self.scene.publish()
        return judge(self.scene, path, rules={**DEMANDED, **rules}, proofs=self.folder)


@pytest.fixture
def chain(tmp_path: Path) -> Logged:
    return Logged(Scene.at(tmp_path))


def codes(verdict: Verdict) -> set[str]:
    return {check.code for check in verdict.failures}


# --------------------------------------------------------------------------------------------------------------- honest


def test_a_chain_whose_every_signature_is_logged_is_valid(chain: Logged) -> None:
    verdict = chain.prove(*WITNESSES[:2]).judge(log_policy=logged.policy(LOG, *WITNESSES, quorum=2))
    assert verdict.answer == VALID, told(verdict)
    assert {node.logged.index for node in verdict.nodes if node.logged} == {chain.index(n) for n in chain.scene.made}
    assert all(node.logged and node.logged.witnesses == 2 for node in verdict.nodes)
    assert "6 of 6 logged" in verdict.explain()
    assert f"logged: entry {chain.index(REPORT)} of {LOG.name}, cosigned by 2" in verdict.explain()
    assert verdict.to_dict()["nodes"][0]["logged"]["root"] == chain.log.root.hex()


def test_a_missing_proof_is_a_note_where_nobody_demands_one(chain: Logged) -> None:
    verdict = chain.judge(require_log=False)
    assert verdict.answer == VALID, told(verdict)
    notes = [check for check in verdict.checks if check.code == "org.atlasml.log.missing"]
    assert len(notes) == 6 and {check.status for check in notes} == {"note"}
    assert "0 of 6 logged" in verdict.explain() and "not proven to be logged" in verdict.explain()


def test_nobody_asks_for_proofs_where_no_log_is_trusted(chain: Logged) -> None:
    (chain.place(REPORT)).write_bytes(b"not a proof at all")
    verdict = chain.judge(require_log=False, log_policy=b"")
    assert verdict.answer == VALID and not any("log" in check.code for check in verdict.checks), told(verdict)
    with pytest.raises(UsageError, match="require_log without a log"):
        chain.judge(log_policy=b"")


def test_proofs_are_found_in_a_bundle_and_in_the_store(chain: Logged) -> None:
    chain.prove()
    bundle, store = chain.scene.root / "bundle", chain.scene.root / ".store" / "proofs"
    bundle.mkdir()
    for n, name in enumerate(set(chain.scene.made) - {REPORT}):
        place = chain.place(name)
        folder = bundle if n % 2 else store / place.name[:2]
        folder.mkdir(parents=True, exist_ok=True)
        place.rename(folder / place.name)
    verdict = judge(chain.scene, chain.scene.publish(), rules=DEMANDED, bundle=bundle)
    assert verdict.answer == VALID, told(verdict)


def test_the_form_of_sigstore_counts_beside_the_artifact(chain: Logged) -> None:
    chain.prove()
    place = chain.place(REPORT)
    place.unlink()
    place.with_name("report.json.tle.json").write_bytes(logged.sigstore(chain.log, chain.index(REPORT)))
    assert chain.judge().answer == VALID


# -------------------------------------------------------------------------------------------------------------- attacks

Attack = Callable[[Logged], object]


def other_entry(chain: Logged) -> None:
    """A true proof, of somebody else's entry."""
    chain.put(REPORT, logged.prove(chain.log, 0))


def other_entry_as_sigstore(chain: Logged) -> None:
    chain.put(REPORT, logged.sigstore(chain.log, chain.index(TUNED)))


def other_signature(chain: Logged) -> None:
    """The claim was signed twice; only the first signature was logged."""
    manifest = chain.scene.store[chain.scene.urn(REPORT)]
    _, tbs, _, _ = logged.parts(manifest)
    again = manifest.signer.key.sign(tbs, cose.ec.ECDSA(cose.hashes.SHA256()))
    entry = logged.entry(manifest, signature=again)
    assert entry != chain.entry(REPORT)
    log = tlog.ForgedLog(LOG, [entry])
    chain.put(REPORT, logged.sigstore(log, 0))


def other_key(chain: Logged) -> None:
    """Digest and signature of this manifest, entered under somebody else's key."""
    _, _, _, leaf = logged.parts(chain.scene.store[chain.scene.urn(BASE)])
    key = logged.x509.load_der_x509_certificate(leaf).public_key()
    spki = key.public_bytes(
        logged.serialization.Encoding.DER, logged.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    entry = logged.entry(chain.scene.store[chain.scene.urn(REPORT)], key=spki)
    chain.put(REPORT, logged.sigstore(tlog.ForgedLog(LOG, [entry]), 0))


def wrong_index(chain: Logged) -> None:
    path = tlog.inclusion(chain.log.leaves, chain.index(REPORT))
    chain.put(REPORT, logged.proof(chain.index(REPORT) - 1, path, chain.log.checkpoint()))


def wrong_size(chain: Logged) -> None:
    """The path of the whole tree under the checkpoint of a smaller one that has the entry too."""
    chain.log.entries.append(b"one more")
    path = tlog.inclusion(chain.log.leaves, chain.index(REPORT))
    chain.put(REPORT, logged.proof(chain.index(REPORT), path, chain.log.checkpoint(len(chain.log.entries) - 1)))


def old_checkpoint(chain: Logged) -> None:
    """The entry is shown under a checkpoint from before it was there."""
    index = chain.index(REPORT)
    path = tlog.inclusion(chain.log.leaves, index)
    chain.put(REPORT, logged.proof(index, path, chain.log.checkpoint(index)))


def no_signature(chain: Logged) -> None:
    """The signature line is another log's, under this log's name and number."""
    note = chain.log.text() + b"\n" + tlog.NoteKey("elsewhere").line(chain.log.text())
    note = note.replace(b"elsewhere", LOG.name.encode())
    blob = note.rsplit(b" ", 1)[1]
    forged = tlog.b64(LOG.id + tlog.base64.b64decode(blob)[4:]).encode()
    proof = logged.proof(chain.index(REPORT), tlog.inclusion(chain.log.leaves, chain.index(REPORT)), b"")
    chain.put(REPORT, proof + note.replace(blob.strip(), forged))


def cut_proof(chain: Logged) -> None:
    chain.put(REPORT, chain.place(REPORT).read_bytes()[:40])


def huge_proof(chain: Logged) -> None:
    chain.put(REPORT, b"c2sp.org/tlog-proof@v1\n" * 20000)


def flipped(chain: Logged) -> None:
    proof = bytearray(chain.place(CLEAN).read_bytes())
    at = proof.index(b"\n", 24) + 8
    proof[at] ^= 1
    chain.put(CLEAN, bytes(proof))


ATTACKS: list[tuple[str, Attack, tuple[str, ...], str]] = [
    ("proof of another entry", other_entry, (INVALID,), "another root"),
    ("sigstore's proof of another entry", other_entry_as_sigstore, (INVALID,), "of another digest"),
    ("proof of another signature of the same digest", other_signature, (INVALID,), "of another signature"),
    ("proof of the same digest under another key", other_key, (INVALID,), "of another key"),
    ("wrong index", wrong_index, (INVALID,), "does not hold"),
    ("wrong size", wrong_size, (INVALID,), "does not hold"),
    ("checkpoint from before the entry", old_checkpoint, (INVALID,), "does not hold"),
    ("checkpoint that its log did not sign", no_signature, (INVALID,), "does not hold"),
    ("flipped hash in an ancestor's proof", flipped, (INVALID,), "does not hold"),
    ("proof that is cut off", cut_proof, (MALFORMED,), "log proof"),
    ("proof of half a megabyte", huge_proof, ("LIMIT", "ERROR"), ""),
]


@pytest.mark.parametrize(("attack", "answers", "says"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS])
@pytest.mark.parametrize("demanded", [True, False], ids=["demanded", "not demanded"])
def test_a_wrong_proof_is_refused(
    chain: Logged, attack: Attack, answers: tuple[str, ...], says: str, demanded: bool
) -> None:
    attack(chain.prove())
    verdict = chain.judge(require_log=demanded)
    assert verdict.answer in answers, told(verdict)
    assert says in told(verdict) and codes(verdict) <= {
        f"org.atlasml.log.{name}" for name in ("mismatch", "malformed", "unreadable")
    }, told(verdict)
    name = CLEAN if attack is flipped else REPORT
    assert blamed(verdict) == {chain.scene.urn(name)}, told(verdict)


@pytest.mark.parametrize("name", [REPORT, RAW])
def test_a_stripped_proof_is_incomplete_where_the_policy_demands_one(chain: Logged, name: str) -> None:
    chain.prove().place(name).unlink()
    verdict = chain.judge()
    assert verdict.answer == INCOMPLETE and codes(verdict) == {"org.atlasml.log.missing"}, told(verdict)
    assert blamed(verdict) == {chain.scene.urn(name)}
    assert "atlas log add" in verdict.explain()


def test_a_log_that_nobody_named_is_untrusted(tmp_path: Path) -> None:
    chain = Logged(Scene.at(tmp_path), key=tlog.NoteKey("log.example/impostor")).prove()
    verdict = chain.judge()
    assert verdict.answer == UNTRUSTED and codes(verdict) == {"org.atlasml.log.untrusted"}, told(verdict)


def test_a_log_of_the_same_name_with_another_key_is_untrusted(chain: Logged) -> None:
    """The name is only a name; the number of the key is not the one that the policy has."""
    other = tlog.NoteKey("an impostor")
    log, text = chain.log, chain.log.text()
    number = tlog.hashlib.sha256(LOG.name.encode() + b"\n\x01" + other.public).digest()[:4]
    line = f"— {LOG.name} {tlog.b64(number + other._key.sign(text))}\n".encode()
    chain.prove()
    path = tlog.inclusion(log.leaves, chain.index(REPORT))
    chain.put(REPORT, logged.proof(chain.index(REPORT), path, text + b"\n" + line))
    verdict = chain.judge()
    assert verdict.answer == UNTRUSTED, told(verdict)


def test_the_key_that_lies_in_the_logs_own_folder_is_not_believed(tmp_path: Path) -> None:
    """Whoever ships an artifact with a log ships a key with it too; it is never looked at."""
    chain = Logged(Scene.at(tmp_path), key=FOLDERS_OWN).prove()
    for folder in (tmp_path, tmp_path / "eval", tmp_path / "proofs"):
        chain.log.write(folder)
        (folder / ".state").mkdir(exist_ok=True)
        for name in ("vkey", "log.policy", ".state/vkey", ".state/origin"):
            (folder / name).write_text(FOLDERS_OWN.vkey)
    assert chain.judge().answer == UNTRUSTED
    verdict = chain.judge(log_policy=None, require_log=False)
    assert not any(node.logged for node in verdict.nodes)


@pytest.mark.parametrize("signed", [0, 1])
def test_too_few_witnesses_are_untrusted(chain: Logged, signed: int) -> None:
    verdict = chain.prove(*WITNESSES[:signed]).judge(log_policy=logged.policy(LOG, *WITNESSES, quorum=2))
    assert verdict.answer == UNTRUSTED, told(verdict)
    assert f"the quorum is not reached: {signed} of 3 witnesses cosigned" in told(verdict)


def test_one_witness_cannot_stand_for_two(chain: Logged) -> None:
    verdict = chain.prove(WITNESSES[0], WITNESSES[0]).judge(log_policy=logged.policy(LOG, *WITNESSES, quorum=2))
    assert verdict.answer == UNTRUSTED, told(verdict)


def test_two_histories_in_one_chain_are_invalid_and_kept_as_evidence(chain: Logged) -> None:
    from atlas.remote.equivocation import read_report

    chain.prove()
    other = tlog.ForgedLog(LOG, [b"another first entry", *chain.log.entries[1:]])
    chain.put(TUNED, logged.prove(other, chain.index(TUNED)))
    verdict = chain.judge()
    assert verdict.answer == INVALID and codes(verdict) == {"org.atlasml.log.forked"}, told(verdict)
    reports = list((chain.scene.root / ".store" / "logs").glob("*/equivocation-*.json"))
    assert len(reports) == 1 and str(reports[0]) in told(verdict)
    found = read_report(reports[0].read_bytes(), [LOG.vkey])
    assert {found.first.root, found.second.root} == {chain.log.root, other.root}


def test_a_head_that_was_seen_before_convicts_the_log(chain: Logged) -> None:
    other = tlog.ForgedLog(LOG, [b"another first entry", *chain.log.entries[1:]])
    store = Store(chain.scene.root / ".store")
    remember_head(store, LOG.name, len(other.entries), other.root, other.checkpoint())
    verdict = chain.prove().judge()
    assert verdict.answer == INVALID and codes(verdict) == {"org.atlasml.log.forked"}, told(verdict)
    assert list((chain.scene.root / ".store" / "logs").glob("*/equivocation-*.json"))


def test_a_proof_that_cannot_be_used_does_not_spoil_one_that_holds_but_a_false_one_does(chain: Logged) -> None:
    chain.prove()
    spare = chain.folder / (tlog.leaf(chain.entry(REPORT)).hex() + ".tlog-proof")
    stranger = tlog.ForgedLog(tlog.NoteKey("stranger"), chain.log.entries)
    spare.write_bytes(logged.prove(stranger, chain.index(REPORT)))
    assert chain.judge().answer == VALID
    spare.write_bytes(b"nonsense")
    assert chain.judge().answer == VALID
    spare.write_bytes(logged.prove(chain.log, 0))
    assert chain.judge().answer == INVALID


def test_an_algorithm_that_logs_have_no_name_for_is_incomplete_where_proofs_are_demanded(tmp_path: Path) -> None:
    from forge import chain as chains
    from forge.world import CA

    made = chains.make("model.pt", b"x", CA.leaf("Signer", "PS384"))
    path = made.write(tmp_path)
    scene = Scene.at(tmp_path)
    verdict = judge(scene, path, rules=DEMANDED)
    assert verdict.answer == INCOMPLETE and "no name" in told(verdict), told(verdict)
    assert judge(scene, path, rules={**DEMANDED, "require_log": False}).answer == VALID


@pytest.mark.parametrize("mode", ["embed", "refer"])
def test_a_bundle_takes_the_proofs_along(tmp_path: Path, mode: str) -> None:
    """Whoever gets the artifact with its bundle needs nothing else but the log's key."""
    from atlas.bundle import bundle

    (tmp_path / "here").mkdir()
    scene = Scene.at(tmp_path / "here", mode=mode)
    store = Store(tmp_path / "store")
    subject = scene.publish()
    manifests = [made.store.active for made in scene.made.values()]
    log = logged.log_of(LOG, manifests)
    for made in scene.made.values():
        store.put(made.sidecar)
    for n, manifest in enumerate(manifests):
        keep_proof(store, logged.entry(manifest), logged.prove(log, 3 + n))
    target = tmp_path / "bundle"
    bundle(subject, target, store=store, root=scene.root)
    empty = {"store": tmp_path / "empty", "root": scene.root}
    assert judge(scene, subject, rules=DEMANDED, **empty).answer == INCOMPLETE
    verdict = judge(scene, subject, rules=DEMANDED, bundle=target, **empty)
    assert verdict.answer == VALID, told(verdict)
    assert all(node.logged for node in verdict.nodes) and len(verdict.nodes) == 6


def test_the_verifier_takes_proofs_only_when_it_asked_for_them(chain: Logged) -> None:
    from atlas import _core

    core = _core.Verifier(now=1)
    core.trust_logs(logged.policy(LOG), False, ())
    for call in (
        lambda: core.trust_logs(logged.policy(LOG), False, ()),
        lambda: core.proofs([b"x"]),
        lambda: _core.Verifier(now=1).trust_logs(b"log nonsense\n", False, ()),
    ):
        with pytest.raises((UsageError, MalformedError)):
            call()
    core.open(bytes(chain.scene.store))
    with pytest.raises(UsageError, match="before anything is opened"):
        core.trust_logs(logged.policy(LOG), True, ())
    need = core.next()
    assert need is not None and need["kind"] == "proof"
    with pytest.raises(UsageError, match="absent"):
        core.proofs([])
    with pytest.raises(UsageError, match="not what was asked for"):
        core.measured(("file", None, None, 0, 0, None))
    assert core.finish()[0] != VALID, "a need without an answer is not run"


def test_a_signature_that_is_false_is_not_asked_about(chain: Logged) -> None:
    chain.prove()
    chain.scene.change(lambda data: data.replace(chain.scene.store.active.signature.signature, bytes(64)))
    verdict = chain.judge()
    assert verdict.answer == INVALID and verdict.nodes[0].logged is None, told(verdict)
    (open_,) = [check for check in verdict.checks if check.status == "not run" and check.node == 0]
    assert "log" in open_.text.split(": ")[1].split(", ")
