"""A bundle of the public Rekor v1: its entry is in the log, under the key that sigstore publishes for it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from atlas import _core
from atlas.errors import AtlasError, VerificationError

if "ATLAS_VECTORS" not in os.environ:
    pytest.skip("ATLAS_VECTORS is not set", allow_module_level=True)

BUNDLE = Path(os.environ["ATLAS_VECTORS"]) / "oms" / "test-vectors" / "v1.0" / "valid" / "sigstore.bundle.json"
# sigstore's root of trust (root-signing, targets/trusted_root.json), as a verifier key of type 2
KEY = (
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGN"
    "M7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
ORIGIN = "rekor.sigstore.dev - 1193050959916656506"


def policy() -> _core.LogPolicy:
    return _core.LogPolicy(f"log {KEY}\nquorum none\n".encode())


def changed(**inclusion: Any) -> bytes:
    document = json.loads(BUNDLE.read_text())
    entry = document["verificationMaterial"]["tlogEntries"][0]
    entry["inclusionProof"] |= inclusion
    return json.dumps(document).encode()


def test_a_public_entry_is_proven_under_the_logs_ecdsa_key() -> None:
    bundle = BUNDLE.read_bytes()
    body = _core.log_proof_read(bundle)[3]
    assert body is not None and json.loads(body)["kind"] == "dsse"
    assert policy().entry(body, bundle)[:3] == (ORIGIN, 476246824, 476246825)


def test_every_flipped_bit_of_its_path_root_and_signature_is_refused() -> None:
    bundle = BUNDLE.read_bytes()
    body = _core.log_proof_read(bundle)[3]
    assert body is not None
    inclusion = json.loads(bundle)["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    for n, text in enumerate(inclusion["hashes"]):
        digest = bytearray(base64.b64decode(text))
        digest[n] ^= 1 << n % 8
        hashes = [*inclusion["hashes"][:n], base64.b64encode(digest).decode(), *inclusion["hashes"][n + 1 :]]
        with pytest.raises(VerificationError):
            policy().entry(body, changed(hashes=hashes))
    note = inclusion["checkpoint"]["envelope"].encode()
    for at in range(len(note)):
        flipped = note[:at] + bytes([note[at] ^ 1]) + note[at + 1 :]
        with pytest.raises((AtlasError, UnicodeDecodeError)):
            policy().entry(body, changed(checkpoint={"envelope": flipped.decode()}))
    with pytest.raises(VerificationError):
        policy().entry(body, changed(logIndex="476246823"))


def test_a_manifest_is_not_proven_by_an_entry_of_another_kind() -> None:
    from forge import world

    with pytest.raises(AtlasError, match="another kind than hashedrekord"):
        policy().manifest(world.honest()[world.RAW].sidecar, BUNDLE.read_bytes())


def test_the_python_side_reads_the_same_key_and_checkpoint() -> None:
    from atlas.remote.checkpoint import open_checkpoint
    from atlas.remote.policy import parse_log_policy

    note = _core.log_proof_read(BUNDLE.read_bytes())[2]
    checkpoint = open_checkpoint(note, [KEY], where="bundle")
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 476246825)
    parse_log_policy(f"log {KEY}\nquorum none\n").check(note)
    for at in range(note.index(b"wNI9"), len(note) - 1):
        flipped = note[:at] + bytes([note[at] ^ 1]) + note[at + 1 :]
        with pytest.raises((AtlasError, UnicodeDecodeError)):
            open_checkpoint(flipped, [KEY], where="bundle")
