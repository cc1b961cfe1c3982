/*
 * merkle.h - the Merkle tree hash of RFC 6962, 2.1, and its proofs, over any algorithm of the profile.
 *
 * leaf = H(0x00 || entry), node = H(0x01 || left || right); n entries split at the largest power of two below n; the
 * tree of no entries is H(). A leaf hash can never be taken for a node hash, whatever the entry holds.
 *
 * Proofs are lists of hashes in the order of RFC 6962: the one nearest to the leaves first. They are checked as RFC
 * 9162, 2.1.3.2 and 2.1.4.2, do it: with all of the proof used up and no recursion.
 */
#ifndef ATLAS_STAGE_MERKLE_H
#define ATLAS_STAGE_MERKLE_H

#include "base/buf.h"
#include "base/error.h"
#include "port/crypto/crypto.h"

#define ATLAS_MERKLE_LEVELS 64              /* no tree has more than 2^63 leaves */
#define ATLAS_MERKLE_MAX_LEAVES (UINT64_C(1) << 63)

/* A tree that grows leaf by leaf and keeps one hash per level. Owner of its hasher. */
struct atlas_merkle {
    struct atlas_hasher hasher;
    uint64_t n; /* leaves so far */
    /* Roots of the complete subtrees, largest and leftmost first: one per bit that is set in n. */
    uint8_t roots[ATLAS_MERKLE_LEVELS][ATLAS_DIGEST_MAX];
};

int atlas_merkle_init(struct atlas_merkle *m, int alg, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_merkle_reset(struct atlas_merkle *m);   /* no leaves again, for the next tree */
void atlas_merkle_release(struct atlas_merkle *m); /* also for one that is all zeroes */

int atlas_merkle_append(struct atlas_merkle *m, struct atlas_span entry, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append an entry whose leaf hash is known. */
int atlas_merkle_append_hash(struct atlas_merkle *m, struct atlas_span leaf_hash,
                             struct atlas_error *error) ATLAS_MUST_CHECK;

/* The root of what was appended so far; more may follow. */
int atlas_merkle_root(struct atlas_merkle *m, struct atlas_digest *ret_root,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

int atlas_merkle_leaf(int alg, struct atlas_span entry, struct atlas_digest *ret_hash,
                      struct atlas_error *error) ATLAS_MUST_CHECK;
/* The same with a hasher that is there already, for many of them; it is released where it fails. */
int atlas_merkle_leaf_with(struct atlas_hasher *h, struct atlas_span entry, struct atlas_digest *ret_hash,
                           struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_merkle_node(int alg, struct atlas_span left, struct atlas_span right, struct atlas_digest *ret_hash,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

/* The leaves [first, first + n) of a tree whose size need not be known: the roots of the largest complete subtrees that
 * lie in them, left to right. Ranges that follow each other join, in any grouping, and the range from leaf 0 to the
 * last has the tree's root. */
#define ATLAS_MERKLE_RANGE_NODES ((size_t)2 * ATLAS_MERKLE_LEVELS)

struct atlas_merkle_range {
    int alg;
    uint64_t first;
    uint64_t n;
    size_t n_nodes;
    struct {
        unsigned level; /* a subtree of 2^level leaves */
        uint8_t hash[ATLAS_DIGEST_MAX];
    } nodes[ATLAS_MERKLE_RANGE_NODES];
};

void atlas_merkle_range_init(struct atlas_merkle_range *r, int alg, uint64_t first);

/* The next leaf, by its entry. */
int atlas_merkle_range_append(struct atlas_merkle_range *r, struct atlas_span entry,
                              struct atlas_error *error) ATLAS_MUST_CHECK;

/* The next 2^level leaves, by the root of their subtree; where they begin must be a multiple of 2^level. */
int atlas_merkle_range_append_node(struct atlas_merkle_range *r, unsigned level, struct atlas_span hash,
                                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* The level of the largest complete subtree that begins at leaf `at` and ends at `end` or before; at < end. */
unsigned atlas_merkle_range_level(uint64_t at, uint64_t end);

/* The root of the tree, for a range that begins at leaf 0. */
int atlas_merkle_range_root(const struct atlas_merkle_range *r, struct atlas_digest *ret_root,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* The proof that leaf `index` is in the tree over all of `leaf_hashes` (concatenated): its hashes, appended to
 * ret_proof. */
int atlas_merkle_inclusion_prove(int alg, struct atlas_span leaf_hashes, uint64_t index, struct atlas_buf *ret_proof,
                                 struct atlas_error *error) ATLAS_MUST_CHECK;

/* The proof that the tree over the first `size` leaves is a prefix of the tree over all of them; 0 < size. */
int atlas_merkle_consistency_prove(int alg, struct atlas_span leaf_hashes, uint64_t size, struct atlas_buf *ret_proof,
                                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is the leaf at `index` of the tree of that size and root? ATLAS_E_DIGEST: no. */
int atlas_merkle_inclusion_check(int alg, uint64_t index, uint64_t size, struct atlas_span leaf_hash,
                                 const struct atlas_span *proof, size_t n_proof, struct atlas_span root,
                                 struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is the tree (size1, root1) a prefix of the tree (size2, root2)? ATLAS_E_DIGEST: no. Nothing is consistent with an
 * empty tree: the question is useless, so it is refused. Equal sizes take equal roots and an empty proof. */
int atlas_merkle_consistency_check(int alg, uint64_t size1, uint64_t size2, struct atlas_span root1,
                                   struct atlas_span root2, const struct atlas_span *proof, size_t n_proof,
                                   struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
