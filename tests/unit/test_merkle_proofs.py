"""Merkle trees and their proofs: every (m, n) up to 64 against the recursive text of RFC 6962."""

from __future__ import annotations

import pytest
from plain_measure import digest, tree_hash

from atlas import _core
from atlas.errors import UsageError, VerificationError

ALGORITHMS = ("sha256", "sha384", "sha512")
SIZE = 64


def entries(n: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(n)]


def leaves(n: int, alg: str = "sha256") -> bytes:
    return b"".join(_core.merkle_leaf(alg, entry) for entry in entries(n))


def path(m: int, d: list[bytes], alg: str) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(d) == 1:
        return []
    k = 1 << (len(d) - 1).bit_length() - 1
    if m < k:
        return [*path(m, d[:k], alg), tree_hash(d[k:], alg)]
    return [*path(m - k, d[k:], alg), tree_hash(d[:k], alg)]


def subproof(m: int, d: list[bytes], alg: str, *, complete: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(d):
        return [] if complete else [tree_hash(d, alg)]
    k = 1 << (len(d) - 1).bit_length() - 1
    if m <= k:
        return [*subproof(m, d[:k], alg, complete=complete), tree_hash(d[k:], alg)]
    return [*subproof(m - k, d[k:], alg, complete=False), tree_hash(d[:k], alg)]


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_leaf_hash_has_the_prefix_of_rfc_6962(alg: str) -> None:
    assert _core.merkle_leaf(alg, b"entry") == digest(b"\0entry", alg)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_roots_of_all_sizes_equal_the_recursive_definition(alg: str) -> None:
    for n in range(130):
        chunk_digests = [digest(entry, alg) for entry in entries(n)]
        assert _core.tree_root(alg, b"".join(chunk_digests)) == tree_hash(chunk_digests, alg)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_inclusion_proof_is_the_one_of_the_rfc_and_holds(alg: str) -> None:
    for n in range(1, SIZE + 1 if alg == "sha256" else 10):
        hashes, root = leaves(n, alg), tree_hash(entries(n), alg)
        for m in range(n):
            proof = _core.merkle_inclusion_prove(alg, hashes, m)
            assert proof == path(m, entries(n), alg)
            _core.merkle_inclusion_check(alg, m, n, _core.merkle_leaf(alg, entries(n)[m]), proof, root)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_consistency_proof_is_the_one_of_the_rfc_and_holds(alg: str) -> None:
    for n in range(1, SIZE + 1 if alg == "sha256" else 10):
        hashes, root = leaves(n, alg), tree_hash(entries(n), alg)
        for m in range(1, n + 1):
            proof = _core.merkle_consistency_prove(alg, hashes, m)
            assert proof == subproof(m, entries(n), alg, complete=True)
            _core.merkle_consistency_check(alg, m, n, tree_hash(entries(m), alg), root, proof)


def refuses_inclusion(m: int, n: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    try:
        _core.merkle_inclusion_check("sha256", m, n, leaf, proof, root)
    except VerificationError:
        return True
    return False


def refuses_consistency(m: int, n: int, root1: bytes, root2: bytes, proof: list[bytes]) -> bool:
    try:
        _core.merkle_consistency_check("sha256", m, n, root1, root2, proof)
    except VerificationError:
        return True
    return False


def spoiled(proof: list[bytes]) -> list[list[bytes]]:
    flipped = [[*proof[:i], bytes([h[0] ^ 1]) + h[1:], *proof[i + 1 :]] for i, h in enumerate(proof)]
    swapped = [[*proof[:i], proof[i + 1], proof[i], *proof[i + 2 :]] for i in range(len(proof) - 1)]
    cut = [proof[1:], proof[:-1]] if proof else []
    grown = [[*proof, digest(b"")], [digest(b""), *proof], [*proof, b""]]
    return flipped + swapped + cut + grown


def test_no_spoiled_inclusion_proof_holds() -> None:
    for n in (1, 2, 3, 7, 8, 21):
        hashes, root = leaves(n), tree_hash(entries(n))
        for m in range(n):
            leaf = _core.merkle_leaf("sha256", entries(n)[m])
            proof = _core.merkle_inclusion_prove("sha256", hashes, m)
            assert not refuses_inclusion(m, n, leaf, proof, root)
            assert all(refuses_inclusion(m, n, leaf, bad, root) for bad in spoiled(proof))
            assert all(refuses_inclusion(i, n, leaf, proof, root) for i in range(n + 2) if i != m)
            assert refuses_inclusion(m, n, digest(b"\0other"), proof, root)
            assert refuses_inclusion(m, n, leaf[:-1], proof, root)
            assert refuses_inclusion(m, n, leaf, proof, digest(b"other"))


def test_no_spoiled_consistency_proof_holds() -> None:
    for n in (2, 3, 7, 8, 21):
        hashes, root = leaves(n), tree_hash(entries(n))
        for m in range(1, n):
            old = tree_hash(entries(m))
            proof = _core.merkle_consistency_prove("sha256", hashes, m)
            assert not refuses_consistency(m, n, old, root, proof)
            assert all(refuses_consistency(m, n, old, root, bad) for bad in spoiled(proof))
            assert all(refuses_consistency(i, n, old, root, proof) for i in range(n + 1) if i not in (m, n))
            assert refuses_consistency(m, n, digest(b"other"), root, proof)
            assert refuses_consistency(m, n, old, digest(b"other"), proof)


def test_a_node_is_never_a_leaf() -> None:
    """The second preimage that RFC 6962's prefixes are there for."""
    left, right = (_core.merkle_leaf("sha256", entry) for entry in entries(2))
    assert _core.merkle_leaf("sha256", left + right) != tree_hash(entries(2))


def test_a_size_beyond_what_a_tree_can_have_is_refused_at_once() -> None:
    assert refuses_inclusion(0, 2**64 - 1, digest(b""), [digest(b"")] * 64, digest(b""))
    assert refuses_consistency(1, 2**64 - 1, digest(b""), digest(b""), [digest(b"")] * 64)


def test_no_prefix_is_consistent_with_an_empty_tree() -> None:
    assert refuses_consistency(0, 1, digest(b""), tree_hash(entries(1)), [])
    assert refuses_consistency(0, 0, digest(b""), digest(b""), [])


def test_wrong_arguments_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        _core.merkle_inclusion_prove("sha256", leaves(3), 3)
    with pytest.raises(UsageError):
        _core.merkle_inclusion_prove("sha256", b"", 0)
    with pytest.raises(UsageError):
        _core.merkle_consistency_prove("sha256", leaves(3), 0)
    with pytest.raises(UsageError):
        _core.merkle_consistency_prove("sha256", leaves(3), 4)
    with pytest.raises(UsageError):
        _core.tree_root("sha256", b"\0" * 33)
    with pytest.raises(ValueError, match="unknown hash algorithm"):
        _core.tree_root("md5", b"")
    with pytest.raises(ValueError, match="at most 65"):
        _core.merkle_inclusion_check("sha256", 0, 1, digest(b""), [digest(b"")] * 66, digest(b""))
