/* verify_graph.c - stores, nodes and edges; discovery; what only the whole graph can tell. Iterative and linear. */
#include <stdlib.h>

#include "stage/verify_parts.h"

/* ----------------------------------------------------------------------------------------------------- stores */

static int check_budget(const struct atlas_verifier *v, size_t more, struct atlas_error *error)
{
    if (more > ATLAS_MAX_TOTAL_BYTES || v->total_bytes > ATLAS_MAX_TOTAL_BYTES - more) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "manifests", "more than %u bytes of manifests in one chain",
                               ATLAS_MAX_TOTAL_BYTES);
    }
    return ATLAS_OK;
}

static void release_store(struct atlas_store_part *s)
{
    atlas_jumbf_index_release(&s->manifests);
    free(s->bytes);
}

/* A sidecar is remembered by the digest it was referred to with: two algorithms, two entries, one more parse. */
int atlas_graph_add_store(struct atlas_verifier *v, struct atlas_span bytes, const struct atlas_digest *sidecar,
                          uint32_t *ret_store, struct atlas_error *error)
{
    struct atlas_store_part s = {.manifests = ATLAS_JUMBF_INDEX_INIT};
    int rc;
    if (sidecar != NULL && atlas_table_get(&v->by_sidecar, sidecar->b, ret_store)) {
        return ATLAS_OK;
    }
    ATLAS_TRY(check_budget(v, bytes.n, error));
    s.bytes = malloc(bytes.n != 0 ? bytes.n : 1);
    if (s.bytes == NULL || !atlas_grow((void **)&v->stores, &v->cap_stores, v->n_stores, sizeof *v->stores)) {
        rc = atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        goto out;
    }
    s.n = bytes.n;
    if (bytes.n != 0) {
        memcpy(s.bytes, bytes.p, bytes.n);
    }
    ATLAS_TRY(atlas_c2pa_store_read(atlas_span_of(s.bytes, s.n), &s.view, error));
    ATLAS_TRY(atlas_c2pa_manifests_index(&s.view, &s.manifests, error));
    if (sidecar != NULL) {
        ATLAS_TRY(atlas_table_put(&v->by_sidecar, sidecar->b, (uint32_t)v->n_stores));
    }
    *ret_store = (uint32_t)v->n_stores;
    v->stores[v->n_stores++] = s;
    v->total_bytes += s.n;
    s = (struct atlas_store_part){.manifests = ATLAS_JUMBF_INDEX_INIT};
out:
    release_store(&s);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ nodes */

int atlas_graph_node(struct atlas_verifier *v, uint32_t store, const struct atlas_jumbf *box, uint32_t *ret_node,
                     struct atlas_error *error)
{
    struct atlas_digest content;
    int rc;
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, box->payload, &content, error));
    if (atlas_table_get(&v->by_content, content.b, ret_node)) {
        return ATLAS_OK;
    }
    if (v->n_nodes >= ATLAS_MAX_NODES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "manifests", "more than %d manifests in one chain",
                               ATLAS_MAX_NODES);
    }
    if (!atlas_grow((void **)&v->nodes, &v->cap_nodes, v->n_nodes, sizeof *v->nodes)) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(atlas_table_put(&v->by_content, content.b, (uint32_t)v->n_nodes));
    *ret_node = (uint32_t)v->n_nodes;
    v->nodes[v->n_nodes++] = (struct atlas_node){
        .store = store, .box = *box, .content = content, .assertions = ATLAS_JUMBF_INDEX_INIT};
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------- reading one node */

static const char *const problem_codes[] = {
    [ATLAS_C2PA_FINE] = "claim.malformed",
    [ATLAS_C2PA_BAD_BOX] = "claim.malformed",
    [ATLAS_C2PA_WRONG_TYPE] = "claim.malformed",
    [ATLAS_C2PA_CLAIM_MISSING] = "claim.missing",
    [ATLAS_C2PA_CLAIM_MULTIPLE] = "claim.multiple",
    [ATLAS_C2PA_SIGNATURE_MISSING] = "claimSignature.missing",
    [ATLAS_C2PA_SIGNATURE_MULTIPLE] = "claim.malformed",
    [ATLAS_C2PA_ASSERTIONS_MISSING] = "claim.malformed",
    [ATLAS_C2PA_ASSERTIONS_MULTIPLE] = "claim.malformed",
    [ATLAS_C2PA_UNKNOWN_BOX] = "claim.malformed",
};

/* A manifest without its claim or signature lacks something; anything else is not a manifest of the profile. */
static int report_problem(struct atlas_verifier *v, uint32_t n, enum atlas_c2pa_problem problem,
                          const struct atlas_error *why)
{
    bool missing = problem == ATLAS_C2PA_CLAIM_MISSING || problem == ATLAS_C2PA_SIGNATURE_MISSING;
    if (missing && why->code != ATLAS_E_NOMEM) {
        return atlas_report(v, n, ATLAS_SLOT_FORM, problem_codes[problem], ATLAS_FAILED, ATLAS_INCOMPLETE,
                            v->nodes[n].box.label, "%s", why->text);
    }
    return atlas_report_error(v, n, ATLAS_SLOT_FORM, problem_codes[problem], ATLAS_MALFORMED, v->nodes[n].box.label,
                              why);
}

/* The claim's signature must be this manifest's own (C2PA 2.2, 15.7). */
static bool own_signature(const struct atlas_node *node)
{
    struct atlas_c2pa_ref ref;
    if (atlas_c2pa_ref_read(node->claim.signature, &ref, NULL) < 0) {
        /* up to 2.4 the URI may be relative to the manifest */
        return atlas_span_equal(node->claim.signature, ATLAS_LIT("self#jumbf=c2pa.signature"));
    }
    return ref.target == ATLAS_C2PA_TARGET_SIGNATURE &&
           (ref.manifest.p == NULL || atlas_span_equal(ref.manifest, node->box.label));
}

static int read_claim(struct atlas_verifier *v, uint32_t n)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_node *node = &v->nodes[n];
    enum atlas_c2pa_problem problem = ATLAS_C2PA_FINE;
    if (atlas_c2pa_manifest_read(&node->box, &node->manifest, &problem, &why) < 0) {
        return report_problem(v, n, problem, &why);
    }
    if (atlas_c2pa_claim_read(&node->manifest, &node->claim, &why) < 0) {
        const char *code = why.code == ATLAS_E_CBOR ? "claim.cbor.invalid" : "claim.malformed";
        return atlas_report_error(v, n, ATLAS_SLOT_FORM, code, ATLAS_MALFORMED, node->box.label, &why);
    }
    if (!own_signature(node)) {
        return atlas_report(v, n, ATLAS_SLOT_FORM, "claimSignature.missing", ATLAS_FAILED, ATLAS_MALFORMED,
                            node->box.label, "the claim's signature is not this manifest's own");
    }
    if (atlas_c2pa_assertions_index(&node->manifest, &node->assertions, &why) < 0) {
        return atlas_report_error(v, n, ATLAS_SLOT_FORM, "claim.malformed", ATLAS_MALFORMED, node->box.label, &why);
    }
    int rc = atlas_crypto_digest(ATLAS_SHA256, node->manifest.signature.payload, &node->signature_hash, &why);
    if (rc < 0) {
        return rc;
    }
    node->has_claim = true;
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------------ edges */

static int lead_embedded(struct atlas_verifier *v, struct atlas_edge_part *edge, struct atlas_error *error)
{
    struct atlas_c2pa_ref ref;
    int rc = atlas_c2pa_ref_read(edge->ingredient.active_manifest.url, &ref, error);
    if (rc < 0) {
        return rc;
    }
    edge->embedded = true;
    edge->urn = ref.manifest;
    uint32_t store = v->nodes[edge->from].store;
    const struct atlas_jumbf *box = atlas_jumbf_index_find(&v->stores[store].manifests, ref.manifest);
    if (box == NULL || atlas_c2pa_manifest_type(box) == ATLAS_C2PA_NO_MANIFEST) {
        return ATLAS_OK; /* reported by check_lineage */
    }
    return atlas_graph_node(v, store, box, &edge->view.node, error);
}

/* A manifest elsewhere: hashed_ext_uri with the digest of the whole sidecar, instanceID names its active manifest. */
static int lead_external(struct atlas_edge_part *edge, struct atlas_span claim_alg, struct atlas_error *error)
{
    const struct atlas_c2pa_link *link = &edge->ingredient.data;
    int rc = atlas_c2pa_digest(link->alg, claim_alg, link->hash, "ingredient.data", &edge->sidecar, error);
    if (rc < 0) {
        return rc;
    }
    edge->external = true;
    edge->urn = edge->ingredient.instance_id;
    edge->sidecar_bytes = link->size.present ? link->size.v : 0;
    return ATLAS_OK;
}

static bool refers_to_manifest(const struct atlas_c2pa_ingredient *ingredient)
{
    return ingredient->has_data && ingredient->data.external && ingredient->instance_id.p != NULL &&
           atlas_c2pa_urn_check(ingredient->instance_id) &&
           (ingredient->data.format.p == NULL ||
            atlas_span_equal(ingredient->data.format, ATLAS_LIT("application/c2pa")));
}

static int add_edge(struct atlas_verifier *v, uint32_t n, const struct atlas_c2pa_assertion *assertion,
                    struct atlas_error *error)
{
    struct atlas_edge_part edge = {.from = n, .view = {.label = assertion->box.label, .node = ATLAS_NO_NODE}};
    int rc;
    if (v->n_edges >= ATLAS_MAX_EDGES || v->nodes[n].n_edges >= ATLAS_MAX_INGREDIENTS) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "ingredients", "too many ingredients");
    }
    ATLAS_TRY(atlas_c2pa_ingredient_read(assertion, &edge.ingredient, error));
    edge.view.name = edge.ingredient.title;
    edge.view.relationship = atlas_span_str(atlas_c2pa_relationship_name(edge.ingredient.relationship));
    if (edge.ingredient.has_active_manifest) {
        ATLAS_TRY(lead_embedded(v, &edge, error));
    } else if (refers_to_manifest(&edge.ingredient)) {
        ATLAS_TRY(lead_external(&edge, v->nodes[n].claim.alg, error));
    } else {
        edge.view.unknown = true;
    }
    if (!atlas_grow((void **)&v->edges, &v->cap_edges, v->n_edges, sizeof *v->edges)) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    v->edges[v->n_edges++] = edge;
    v->nodes[n].n_edges++;
    rc = ATLAS_OK;
out:
    return rc;
}

/* One assertion of the store: an ingredient becomes an edge; one that cannot be read is a failure of the node. */
static int expand_assertion(struct atlas_verifier *v, uint32_t n, const struct atlas_jumbf *box)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_c2pa_assertion assertion;
    if (atlas_c2pa_kind(box->label) != ATLAS_C2PA_INGREDIENT) {
        return ATLAS_OK;
    }
    if (atlas_c2pa_assertion_read(box, &assertion, &why) < 0 || add_edge(v, n, &assertion, &why) < 0) {
        const char *code = why.code == ATLAS_E_CBOR ? "assertion.cbor.invalid" : "assertion.ingredient.malformed";
        return atlas_report_error(v, n, ATLAS_SLOT_INGREDIENTS, code, ATLAS_MALFORMED, box->label, &why);
    }
    return ATLAS_OK;
}

int atlas_graph_expand(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    int rc;
    v->nodes[n].first_edge = (uint32_t)v->n_edges;
    ATLAS_TRY(read_claim(v, n));
    if (!v->nodes[n].has_claim) {
        return ATLAS_OK;
    }
    for (size_t i = 0; i < v->nodes[n].assertions.n; i++) {
        ATLAS_TRY(expand_assertion(v, n, atlas_jumbf_index_at(&v->nodes[n].assertions, i)));
    }
    rc = atlas_report(v, n, ATLAS_SLOT_FORM, "org.atlasml.form", ATLAS_PASSED, ATLAS_VALID, v->nodes[n].box.label,
                      "one claim, one signature, one assertion store");
out:
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

/* ------------------------------------------------------------------------------------------- cycles and depth */

/* Depth-first, with the stack in an array: entry = node and how many of its edges were followed. */
struct frame {
    uint32_t node;
    uint32_t next;
};

static int report_cycle(struct atlas_verifier *v, struct atlas_edge_part *edge)
{
    uint32_t from = edge->from;
    uint32_t to = edge->view.node;
    edge->cyclic = true;
    return atlas_report(v, from, ATLAS_SLOT_INGREDIENTS, "org.atlasml.ingredient.cycle", ATLAS_FAILED, ATLAS_MALFORMED,
                        v->nodes[to].box.label, "%s",
                        from == to ? "the manifest is its own ingredient" : "the manifest is among its own ancestors");
}

static void deepen(struct atlas_verifier *v, uint32_t n, const struct atlas_edge_part *edge)
{
    uint32_t below = edge->embedded ? v->nodes[edge->view.node].depth : 0;
    if (below + 1 > v->nodes[n].depth) {
        v->nodes[n].depth = below + 1;
    }
}

static int leave(struct atlas_verifier *v, uint32_t n)
{
    struct atlas_node *node = &v->nodes[n];
    node->colour = ATLAS_BLACK;
    if (node->depth == 0) {
        node->depth = 1;
    }
    for (uint32_t i = 0; i < node->n_edges; i++) {
        const struct atlas_edge_part *edge = &v->edges[node->first_edge + i];
        if (edge->view.node != ATLAS_NO_NODE && v->nodes[edge->view.node].colour == ATLAS_BLACK) {
            deepen(v, n, edge);
        }
    }
    if (node->depth == ATLAS_MAX_CHAIN_DEPTH + 2) { /* once: nodes further up are deeper still */
        return atlas_report(v, n, ATLAS_SLOT_INGREDIENTS, "org.atlasml.depth.limit", ATLAS_FAILED, ATLAS_LIMIT,
                            node->box.label, "more than %d manifests embedded one below the other",
                            ATLAS_MAX_CHAIN_DEPTH);
    }
    return ATLAS_OK;
}

static int walk_from(struct atlas_verifier *v, uint32_t root, struct frame *stack)
{
    size_t top = 0;
    int rc = ATLAS_OK;
    stack[top++] = (struct frame){.node = root};
    v->nodes[root].colour = ATLAS_GREY;
    while (top != 0 && rc == ATLAS_OK) {
        struct frame *f = &stack[top - 1];
        const struct atlas_node *node = &v->nodes[f->node];
        if (f->next == node->n_edges) {
            rc = leave(v, f->node);
            top--;
            continue;
        }
        struct atlas_edge_part *edge = &v->edges[node->first_edge + f->next++];
        uint32_t to = edge->view.node;
        if (to == ATLAS_NO_NODE || v->nodes[to].colour == ATLAS_BLACK) {
            continue;
        }
        if (v->nodes[to].colour == ATLAS_GREY) {
            rc = report_cycle(v, edge);
            continue;
        }
        v->nodes[to].colour = ATLAS_GREY;
        stack[top++] = (struct frame){.node = to}; /* a node is on the stack at most once: n_nodes are enough */
    }
    return rc;
}

static int find_cycles(struct atlas_verifier *v)
{
    struct frame *stack = calloc(v->n_nodes + 1, sizeof *stack);
    int rc = stack != NULL ? ATLAS_OK : ATLAS_E_NOMEM;
    for (uint32_t i = 0; rc == ATLAS_OK && i < v->n_nodes; i++) {
        if (v->nodes[i].colour == ATLAS_WHITE) {
            rc = walk_from(v, i, stack);
        }
    }
    free(stack);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ twins */

/* One name, two claims: somebody tells two stories. Redaction changes a manifest's bytes but not its signature. */
static int find_twins(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    struct atlas_digest name;
    uint32_t first;
    int rc;
    if (!v->nodes[n].has_claim) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, v->nodes[n].box.label, &name, error));
    if (!atlas_table_get(&v->by_urn, name.b, &first)) {
        return atlas_table_put(&v->by_urn, name.b, n);
    }
    if (!atlas_digest_equal(&v->nodes[first].signature_hash, &v->nodes[n].signature_hash)) {
        rc = atlas_report(v, n, ATLAS_SLOT_FORM, "org.atlasml.equivocation", ATLAS_FAILED, ATLAS_INVALID,
                          v->nodes[n].box.label, "two different manifests carry this name");
    }
out:
    return rc;
}

int atlas_graph_settle(struct atlas_verifier *v, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(find_cycles(v));
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        ATLAS_TRY(atlas_redactions_find(v, i, error));
        ATLAS_TRY(find_twins(v, i, error));
    }
out:
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

uint32_t atlas_graph_bound(const struct atlas_verifier *v, uint32_t node)
{
    for (size_t steps = 0; steps <= v->n_nodes && node != ATLAS_NO_NODE; steps++) {
        const struct atlas_node *at = &v->nodes[node];
        if (!at->has_claim || at->manifest.type != ATLAS_C2PA_UPDATE) {
            return node;
        }
        uint32_t parent = ATLAS_NO_NODE;
        for (uint32_t i = 0; i < at->n_edges; i++) {
            const struct atlas_edge_part *edge = &v->edges[at->first_edge + i];
            if (edge->ingredient.relationship == ATLAS_C2PA_PARENT_OF) {
                parent = edge->view.node;
            }
        }
        node = parent;
    }
    return ATLAS_NO_NODE;
}

void atlas_graph_release(struct atlas_verifier *v)
{
    for (size_t i = 0; i < v->n_nodes; i++) {
        atlas_jumbf_index_release(&v->nodes[i].assertions);
        free(v->nodes[i].evidence);
    }
    for (size_t i = 0; i < v->n_stores; i++) {
        release_store(&v->stores[i]);
    }
    free(v->stores);
    free(v->nodes);
    free(v->edges);
    free(v->redactions);
    atlas_table_release(&v->by_content);
    atlas_table_release(&v->by_sidecar);
    atlas_table_release(&v->by_urn);
}
