#include "stage/merkle.h"

static const char where[] = "merkle range";

void atlas_merkle_range_init(struct atlas_merkle_range *r, int alg, uint64_t first)
{
    r->alg = alg;
    r->first = first;
    r->n = 0;
    r->n_nodes = 0;
}

unsigned atlas_merkle_range_level(uint64_t at, uint64_t end)
{
    unsigned level = 0;
    while (level + 1 < ATLAS_MERKLE_LEVELS && (at & (UINT64_C(1) << level)) == 0 &&
           end - at >= UINT64_C(1) << (level + 1)) {
        level++;
    }
    return level;
}

static struct atlas_span node(const struct atlas_merkle_range *r, size_t i)
{
    return atlas_span_of(r->nodes[i].hash, atlas_alg_size(r->alg));
}

/* Are the last two nodes the halves of one complete subtree? Its left half begins 2^(level + 1) leaves before the
 * end. */
static bool last_two_join(const struct atlas_merkle_range *r)
{
    if (r->n_nodes < 2 || r->nodes[r->n_nodes - 1].level != r->nodes[r->n_nodes - 2].level) {
        return false;
    }
    uint64_t size = UINT64_C(2) << r->nodes[r->n_nodes - 1].level;
    return ((r->first + r->n) & (size - 1)) == 0;
}

int atlas_merkle_range_append_node(struct atlas_merkle_range *r, unsigned level, struct atlas_span hash,
                                   struct atlas_error *error)
{
    uint64_t end = r->first + r->n;
    struct atlas_digest joined;
    if (level >= ATLAS_MERKLE_LEVELS - 1 || hash.n == 0 || hash.n != atlas_alg_size(r->alg) ||
        (end & ((UINT64_C(1) << level) - 1)) != 0) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "a node that cannot stand there");
    }
    if (end > ATLAS_MERKLE_MAX_LEAVES - (UINT64_C(1) << level) || r->n_nodes == ATLAS_MERKLE_RANGE_NODES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "a tree has at most 2^63 leaves");
    }
    memcpy(r->nodes[r->n_nodes].hash, hash.p, hash.n);
    r->nodes[r->n_nodes++].level = level;
    r->n += UINT64_C(1) << level;
    while (last_two_join(r)) {
        int rc = atlas_merkle_node(r->alg, node(r, r->n_nodes - 2), node(r, r->n_nodes - 1), &joined, error);
        if (rc < 0) {
            return rc;
        }
        r->n_nodes--;
        r->nodes[r->n_nodes - 1].level++;
        memcpy(r->nodes[r->n_nodes - 1].hash, joined.b, joined.n);
    }
    return ATLAS_OK;
}

int atlas_merkle_range_append(struct atlas_merkle_range *r, struct atlas_span entry, struct atlas_error *error)
{
    struct atlas_digest leaf;
    int rc;
    ATLAS_TRY(atlas_merkle_leaf(r->alg, entry, &leaf, error));
    ATLAS_TRY(atlas_merkle_range_append_node(r, 0, atlas_digest_span(&leaf), error));
out:
    return rc;
}

int atlas_merkle_range_root(const struct atlas_merkle_range *r, struct atlas_digest *ret_root,
                            struct atlas_error *error)
{
    struct atlas_digest root;
    if (r->first != 0) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "only a range from leaf 0 has a root");
    }
    if (r->n == 0) {
        return atlas_crypto_digest(r->alg, ATLAS_SPAN_NONE, ret_root, error);
    }
    if (!atlas_digest_set(&root, r->alg, node(r, r->n_nodes - 1))) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the range was not initialised");
    }
    for (size_t i = r->n_nodes - 1; i > 0; i--) {
        int rc = atlas_merkle_node(r->alg, node(r, i - 1), atlas_digest_span(&root), &root, error);
        if (rc < 0) {
            return rc;
        }
    }
    *ret_root = root;
    return ATLAS_OK;
}
