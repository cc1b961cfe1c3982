#include "stage/merkle.h"

static const char where[] = "merkle tree";

static int spent(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_LIMIT, where, "a tree has at most 2^63 leaves");
}

/* H(prefix || a || b). RFC 6962, 2.1: the prefix keeps leaves and nodes apart. */
static int hash(struct atlas_hasher *h, uint8_t prefix, struct atlas_span a, struct atlas_span b,
                struct atlas_digest *ret_hash, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_hasher_update(h, atlas_span_of(&prefix, 1), error));
    ATLAS_TRY(atlas_hasher_update(h, a, error));
    ATLAS_TRY(atlas_hasher_update(h, b, error));
    ATLAS_TRY(atlas_hasher_final(h, ret_hash, error));
out:
    if (rc < 0) { /* half a message is in it: never to be used again */
        atlas_hasher_release(h);
    }
    return rc;
}

int atlas_merkle_leaf_with(struct atlas_hasher *h, struct atlas_span entry, struct atlas_digest *ret_hash,
                           struct atlas_error *error)
{
    return hash(h, 0x00, entry, ATLAS_SPAN_NONE, ret_hash, error);
}

static int hash_node(struct atlas_hasher *h, struct atlas_span left, struct atlas_span right,
                     struct atlas_digest *ret_hash, struct atlas_error *error)
{
    return hash(h, 0x01, left, right, ret_hash, error);
}

int atlas_merkle_leaf(int alg, struct atlas_span entry, struct atlas_digest *ret_hash, struct atlas_error *error)
{
    struct atlas_hasher h = ATLAS_HASHER_INIT;
    int rc;
    ATLAS_TRY(atlas_hasher_init(&h, alg, error));
    ATLAS_TRY(atlas_merkle_leaf_with(&h, entry, ret_hash, error));
out:
    atlas_hasher_release(&h);
    return rc;
}

int atlas_merkle_node(int alg, struct atlas_span left, struct atlas_span right, struct atlas_digest *ret_hash,
                      struct atlas_error *error)
{
    struct atlas_hasher h = ATLAS_HASHER_INIT;
    int rc;
    if (left.n != atlas_alg_size(alg) || right.n != left.n) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "a node is made of two hashes of its algorithm");
    }
    ATLAS_TRY(atlas_hasher_init(&h, alg, error));
    ATLAS_TRY(hash_node(&h, left, right, ret_hash, error));
out:
    atlas_hasher_release(&h);
    return rc;
}

/* ------------------------------------------------------------------------------------- incremental root */

int atlas_merkle_init(struct atlas_merkle *m, int alg, struct atlas_error *error)
{
    m->n = 0;
    return atlas_hasher_init(&m->hasher, alg, error);
}

void atlas_merkle_reset(struct atlas_merkle *m)
{
    m->n = 0;
}

void atlas_merkle_release(struct atlas_merkle *m)
{
    atlas_hasher_release(&m->hasher);
    m->n = 0;
}

static struct atlas_span stored(const struct atlas_merkle *m, unsigned level)
{
    return atlas_span_of(m->roots[level], atlas_alg_size(m->hasher.alg));
}

static unsigned count_ones(uint64_t v)
{
    unsigned ones = 0;
    for (; v != 0; v &= v - 1) {
        ones++;
    }
    return ones;
}

int atlas_merkle_append_hash(struct atlas_merkle *m, struct atlas_span leaf_hash, struct atlas_error *error)
{
    if (leaf_hash.n == 0 || leaf_hash.n != atlas_alg_size(m->hasher.alg)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "a leaf hash of the wrong size");
    }
    if (m->n >= ATLAS_MERKLE_MAX_LEAVES) {
        return spent(error);
    }
    /* Like adding one to a binary number: every carry joins two complete subtrees of equal size. */
    unsigned top = count_ones(m->n);
    struct atlas_digest carry;
    memcpy(carry.b, leaf_hash.p, leaf_hash.n);
    for (uint64_t bits = m->n; (bits & 1) != 0; bits >>= 1) {
        top--;
        int rc = hash_node(&m->hasher, stored(m, top), atlas_span_of(carry.b, leaf_hash.n), &carry, error);
        if (rc < 0) {
            return rc;
        }
    }
    memcpy(m->roots[top], carry.b, leaf_hash.n);
    m->n++;
    return ATLAS_OK;
}

int atlas_merkle_append(struct atlas_merkle *m, struct atlas_span entry, struct atlas_error *error)
{
    struct atlas_digest leaf;
    int rc;
    ATLAS_TRY(atlas_merkle_leaf_with(&m->hasher, entry, &leaf, error));
    ATLAS_TRY(atlas_merkle_append_hash(m, atlas_digest_span(&leaf), error));
out:
    return rc;
}

int atlas_merkle_root(struct atlas_merkle *m, struct atlas_digest *ret_root, struct atlas_error *error)
{
    if (m->n == 0) {
        return atlas_crypto_digest(m->hasher.alg, ATLAS_SPAN_NONE, ret_root, error);
    }
    unsigned top = count_ones(m->n) - 1;
    struct atlas_digest root;
    if (!atlas_digest_set(&root, m->hasher.alg, stored(m, top))) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the tree was not initialised");
    }
    while (top > 0) {
        top--;
        int rc = hash_node(&m->hasher, stored(m, top), atlas_digest_span(&root), &root, error);
        if (rc < 0) {
            return rc;
        }
    }
    *ret_root = root;
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------ proofs: make */

/* A range of leaves [first, first + n) and the siblings met on the way down to it, nearest to the root first. */
struct path {
    int alg;
    struct atlas_span leaves;
    uint64_t first;
    uint64_t n;
    struct atlas_digest siblings[ATLAS_MERKLE_LEVELS + 1];
    size_t n_siblings;
};

static int path_init(struct path *p, int alg, struct atlas_span leaf_hashes, struct atlas_error *error)
{
    size_t size = atlas_alg_size(alg);
    if (size == 0 || leaf_hashes.n % size != 0) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "leaf hashes of the wrong size");
    }
    p->alg = alg;
    p->leaves = leaf_hashes;
    p->first = 0;
    p->n = leaf_hashes.n / size;
    p->n_siblings = 0;
    return ATLAS_OK;
}

/* MTH(D[first : first + n]), noted as the next sibling. */
static int path_note(struct path *p, uint64_t first, uint64_t n, struct atlas_error *error)
{
    struct atlas_merkle m = {.hasher = ATLAS_HASHER_INIT};
    size_t size = atlas_alg_size(p->alg);
    int rc;
    ATLAS_TRY(atlas_merkle_init(&m, p->alg, error));
    for (uint64_t i = first; i < first + n; i++) {
        struct atlas_span leaf = atlas_span_sub(p->leaves, (size_t)i * size, size);
        ATLAS_TRY(atlas_merkle_append_hash(&m, leaf, error));
    }
    ATLAS_TRY(atlas_merkle_root(&m, &p->siblings[p->n_siblings], error));
    p->n_siblings++;
out:
    atlas_merkle_release(&m);
    return rc;
}

/* RFC 6962, 2.1: the largest power of two smaller than n; n > 1. */
static uint64_t split(uint64_t n)
{
    uint64_t k = 1;
    while (k < n - k) {
        k *= 2;
    }
    return k;
}

/* Go down into the half that holds the boundary or leaf at `position` (counted from the range's first), noting the
 * other half. */
static int path_descend(struct path *p, bool left, struct atlas_error *error)
{
    uint64_t k = split(p->n);
    int rc;
    if (left) {
        ATLAS_TRY(path_note(p, p->first + k, p->n - k, error));
        p->n = k;
    } else {
        ATLAS_TRY(path_note(p, p->first, k, error));
        p->first += k;
        p->n -= k;
    }
out:
    return rc;
}

/* The siblings, nearest to the leaves first. */
static int path_write(const struct path *p, struct atlas_buf *ret_proof, struct atlas_error *error)
{
    for (size_t i = p->n_siblings; i > 0; i--) {
        atlas_buf_append(ret_proof, atlas_digest_span(&p->siblings[i - 1]));
    }
    return atlas_buf_check(ret_proof, error);
}

int atlas_merkle_inclusion_prove(int alg, struct atlas_span leaf_hashes, uint64_t index, struct atlas_buf *ret_proof,
                                 struct atlas_error *error)
{
    struct path p = {0};
    int rc;
    ATLAS_TRY(path_init(&p, alg, leaf_hashes, error));
    if (index >= p.n) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no such leaf");
    }
    while (p.n > 1) {
        ATLAS_TRY(path_descend(&p, index - p.first < split(p.n), error));
    }
    ATLAS_TRY(path_write(&p, ret_proof, error));
out:
    return rc;
}

int atlas_merkle_consistency_prove(int alg, struct atlas_span leaf_hashes, uint64_t size, struct atlas_buf *ret_proof,
                                   struct atlas_error *error)
{
    struct path p = {0};
    int rc;
    ATLAS_TRY(path_init(&p, alg, leaf_hashes, error));
    if (size == 0 || size > p.n) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no prefix of that size");
    }
    /* SUBPROOF(m, D[n], b) of RFC 6962, 2.1.2: down to the subtree that ends where the old tree ended. It is the old
     * tree itself, and need not be told, as long as every step went left. */
    while (p.first + p.n != size) {
        ATLAS_TRY(path_descend(&p, size - p.first <= split(p.n), error));
    }
    if (p.first != 0) {
        ATLAS_TRY(path_note(&p, p.first, p.n, error));
    }
    ATLAS_TRY(path_write(&p, ret_proof, error));
out:
    return rc;
}

/* ----------------------------------------------------------------------------------------- proofs: check */

/* A proof that is being read. */
struct walk {
    struct atlas_hasher hasher;
    size_t size; /* of one hash */
    const struct atlas_span *proof;
    size_t n;
};

static int wrong(struct atlas_error *error, const char *why)
{
    return atlas_error_set(error, ATLAS_E_DIGEST, where, "the proof does not hold: %s", why);
}

static int walk_init(struct walk *w, int alg, const struct atlas_span *proof, size_t n, struct atlas_error *error)
{
    *w = (struct walk){.hasher = ATLAS_HASHER_INIT, .size = atlas_alg_size(alg), .proof = proof, .n = n};
    for (size_t i = 0; i < n; i++) {
        if (proof[i].n != w->size) {
            return wrong(error, "a hash of the wrong size");
        }
    }
    return atlas_hasher_init(&w->hasher, alg, error);
}

static bool walk_take(struct walk *w, struct atlas_span *ret_hash)
{
    if (w->n == 0) {
        return false;
    }
    *ret_hash = w->proof[0];
    w->proof++;
    w->n--;
    return true;
}

/* Replace *node by the hash of itself and its sibling. */
static int join(struct walk *w, struct atlas_digest *node, struct atlas_span sibling, bool sibling_is_left,
                struct atlas_error *error)
{
    struct atlas_span self = atlas_span_of(node->b, w->size);
    return hash_node(&w->hasher, sibling_is_left ? sibling : self, sibling_is_left ? self : sibling, node, error);
}

int atlas_merkle_inclusion_check(int alg, uint64_t index, uint64_t size, struct atlas_span leaf_hash,
                                 const struct atlas_span *proof, size_t n_proof, struct atlas_span root,
                                 struct atlas_error *error)
{
    struct walk w = {.hasher = ATLAS_HASHER_INIT};
    struct atlas_digest node;
    struct atlas_span sibling;
    int rc;
    if (!atlas_digest_set(&node, alg, leaf_hash) || index >= size || size > ATLAS_MERKLE_MAX_LEAVES) {
        return wrong(error, "no such leaf");
    }
    ATLAS_TRY(walk_init(&w, alg, proof, n_proof, error));
    /* RFC 9162, 2.1.3.2: fn is the leaf's place on its level, sn the last one's. */
    uint64_t fn = index;
    uint64_t sn = size - 1;
    while (walk_take(&w, &sibling)) {
        if (sn == 0) {
            ATLAS_TRY(wrong(error, "too long"));
        }
        bool right = (fn & 1) != 0 || fn == sn;
        ATLAS_TRY(join(&w, &node, sibling, right, error));
        while (right && (fn & 1) == 0 && fn != 0) { /* a last node without sibling rises unchanged */
            fn >>= 1;
            sn >>= 1;
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0) {
        ATLAS_TRY(wrong(error, "too short"));
    }
    if (!atlas_span_equal_ct(atlas_digest_span(&node), root)) {
        ATLAS_TRY(wrong(error, "it leads to another root"));
    }
out:
    atlas_hasher_release(&w.hasher);
    return rc;
}

/* RFC 9162, 2.1.4.2, steps 2 to 8, for 0 < size1 < size2. */
static int consistency_walk(struct walk *w, int alg, uint64_t size1, uint64_t size2, struct atlas_span root1,
                            struct atlas_span root2, struct atlas_error *error)
{
    struct atlas_span first = root1; /* a complete tree is its own first node */
    struct atlas_digest fr;
    struct atlas_digest sr;
    struct atlas_span sibling;
    int rc = ATLAS_OK;
    if (((size1 & (size1 - 1)) != 0 && !walk_take(w, &first)) || !atlas_digest_set(&fr, alg, first)) {
        return wrong(error, "too short");
    }
    sr = fr;
    uint64_t fn = size1 - 1;
    uint64_t sn = size2 - 1;
    while ((fn & 1) != 0) {
        fn >>= 1;
        sn >>= 1;
    }
    while (walk_take(w, &sibling)) {
        if (sn == 0) {
            return wrong(error, "too long");
        }
        bool right = (fn & 1) != 0 || fn == sn;
        if (right) {
            ATLAS_TRY(join(w, &fr, sibling, true, error));
        }
        ATLAS_TRY(join(w, &sr, sibling, right, error));
        while (right && (fn & 1) == 0 && fn != 0) {
            fn >>= 1;
            sn >>= 1;
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0) {
        return wrong(error, "too short");
    }
    if (!atlas_span_equal_ct(atlas_digest_span(&fr), root1) || !atlas_span_equal_ct(atlas_digest_span(&sr), root2)) {
        return wrong(error, "it leads to other roots");
    }
out:
    return rc;
}

int atlas_merkle_consistency_check(int alg, uint64_t size1, uint64_t size2, struct atlas_span root1,
                                   struct atlas_span root2, const struct atlas_span *proof, size_t n_proof,
                                   struct atlas_error *error)
{
    struct walk w = {.hasher = ATLAS_HASHER_INIT};
    int rc;
    if (size1 == 0 || size1 > size2 || size2 > ATLAS_MERKLE_MAX_LEAVES) {
        return wrong(error, "no tree is a prefix of that size");
    }
    if (size1 == size2) {
        return n_proof == 0 && atlas_span_equal_ct(root1, root2) ? ATLAS_OK : wrong(error, "the trees differ");
    }
    ATLAS_TRY(walk_init(&w, alg, proof, n_proof, error));
    ATLAS_TRY(consistency_walk(&w, alg, size1, size2, root1, root2, error));
out:
    atlas_hasher_release(&w.hasher);
    return rc;
}
