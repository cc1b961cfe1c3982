/* claim.c - references between boxes and the claim that lists them; declared in c2pa.h. */
#include "format/c2pa.h"

/* ---------------------------------------------------------------------------------------- JUMBF references */

/* Cut a prefix off. */
static bool skip_prefix(struct atlas_span *s, struct atlas_span prefix)
{
    struct atlas_span ignored;
    return atlas_span_starts_with(*s, prefix) && atlas_span_take(s, prefix.n, &ignored);
}

/* "<urn>" or "<urn>/", off the front. */
static bool take_urn(struct atlas_span *s, struct atlas_span *ret_urn)
{
    size_t n = 0;
    struct atlas_span slash;
    while (n < s->n && s->p[n] != '/') {
        n++;
    }
    bool more = n < s->n;
    if (!atlas_span_take(s, n, ret_urn) || !atlas_c2pa_urn_check(*ret_urn)) {
        return false;
    }
    return !more || (atlas_span_take(s, 1, &slash) && s->n != 0);
}

/* What stands behind the manifest. */
static bool read_target(struct atlas_span rest, struct atlas_c2pa_ref *ref)
{
    if (atlas_span_equal(rest, ATLAS_C2PA_LABEL_SIGNATURE)) {
        ref->target = ATLAS_C2PA_TARGET_SIGNATURE;
        return true;
    }
    if (atlas_span_equal(rest, ATLAS_C2PA_LABEL_CLAIM) || atlas_span_equal(rest, ATLAS_C2PA_LABEL_CLAIM_V1)) {
        ref->target = ATLAS_C2PA_TARGET_CLAIM;
        return true;
    }
    if (!skip_prefix(&rest, ATLAS_LIT("c2pa.assertions/")) || !atlas_jumbf_label_check(rest)) {
        return false;
    }
    ref->target = ATLAS_C2PA_TARGET_ASSERTION;
    ref->label = rest;
    return true;
}

static bool read_ref(struct atlas_span rest, struct atlas_c2pa_ref *ref)
{
    if (!skip_prefix(&rest, ATLAS_LIT("self#jumbf="))) {
        return false;
    }
    if (!skip_prefix(&rest, ATLAS_LIT("/c2pa/"))) {
        return read_target(rest, ref);
    }
    if (!take_urn(&rest, &ref->manifest)) {
        return false;
    }
    if (rest.n == 0) {
        ref->target = ATLAS_C2PA_TARGET_MANIFEST;
        return true;
    }
    return read_target(rest, ref);
}

int atlas_c2pa_ref_read(struct atlas_span uri, struct atlas_c2pa_ref *ret_ref, struct atlas_error *error)
{
    struct atlas_c2pa_ref ref = {0};
    if (!read_ref(uri, &ref)) {
        return atlas_error_set(error, ATLAS_E_C2PA, "", "a reference that is no JUMBF URI of the profile");
    }
    *ret_ref = ref;
    return ATLAS_OK;
}

void atlas_c2pa_ref_write(struct atlas_buf *b, enum atlas_c2pa_target target, struct atlas_span urn,
                          struct atlas_span label)
{
    atlas_buf_append(b, ATLAS_LIT("self#jumbf="));
    if (urn.p != NULL) {
        atlas_buf_append(b, ATLAS_LIT("/c2pa/"));
        atlas_buf_append(b, urn);
        atlas_buf_append(b, target != ATLAS_C2PA_TARGET_MANIFEST ? ATLAS_LIT("/") : ATLAS_SPAN_NONE);
    }
    switch (target) {
    case ATLAS_C2PA_TARGET_CLAIM:
        atlas_buf_append(b, ATLAS_C2PA_LABEL_CLAIM);
        break;
    case ATLAS_C2PA_TARGET_SIGNATURE:
        atlas_buf_append(b, ATLAS_C2PA_LABEL_SIGNATURE);
        break;
    case ATLAS_C2PA_TARGET_ASSERTION:
        atlas_buf_append(b, ATLAS_LIT("c2pa.assertions/"));
        atlas_buf_append(b, label);
        break;
    case ATLAS_C2PA_TARGET_NONE:
    case ATLAS_C2PA_TARGET_MANIFEST:
        break;
    }
}

/* --------------------------------------------------------------------------------------------------- links */

static const struct atlas_cbor_field link_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_c2pa_link, "url", TEXT, url),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_link, "alg", TEXT, alg),
    ATLAS_CBOR_REQUIRED(atlas_c2pa_link, "hash", BYTES, hash),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_link, "size", UINT, size),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_link, "dc:format", TEXT, format),
};

static bool is_web_url(struct atlas_span url)
{
    return atlas_span_starts_with(url, ATLAS_LIT("https://")) || atlas_span_starts_with(url, ATLAS_LIT("http://"));
}

int atlas_c2pa_link_take(struct atlas_cbor *c, struct atlas_c2pa_link *ret_link)
{
    struct atlas_c2pa_link link = {0};
    int rc = atlas_cbor_read_map(c, link_fields, ATLAS_COUNT(link_fields), &link);
    if (rc < 0) {
        return rc;
    }
    link.external = is_web_url(link.url);
    if (!link.external && !atlas_span_starts_with(link.url, ATLAS_LIT("self#jumbf="))) {
        return atlas_cbor_refuse(c, c->misfit, "its url is neither a JUMBF URI nor http");
    }
    if (link.external && link.alg.p == NULL) {
        return atlas_cbor_refuse(c, c->misfit, "an external reference must name its algorithm");
    }
    *ret_link = link;
    return ATLAS_OK;
}

int atlas_c2pa_link_read(struct atlas_span item, const char *where, struct atlas_c2pa_link *ret_link,
                         struct atlas_error *error)
{
    struct atlas_cbor c;
    atlas_cbor_open(&c, item, where, error);
    c.misfit = ATLAS_E_C2PA;
    return atlas_c2pa_link_take(&c, ret_link);
}

int atlas_c2pa_link_write(struct atlas_buf *b, const struct atlas_c2pa_link *link, struct atlas_error *error)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&m, "url", link->url);
    atlas_cbor_map_put_text(&m, "alg", link->alg);
    atlas_cbor_map_put_bytes(&m, "hash", link->hash);
    atlas_cbor_map_put_text(&m, "dc:format", link->format);
    if (link->size.present) {
        atlas_cbor_map_put_uint(&m, "size", link->size.v);
    }
    int rc = atlas_cbor_map_write(&m, b, error);
    atlas_cbor_map_release(&m);
    return rc;
}

int atlas_c2pa_digest(struct atlas_span alg, struct atlas_span enclosing, struct atlas_span hash, const char *where,
                      struct atlas_digest *ret_digest, struct atlas_error *error)
{
    struct atlas_span name = alg.p != NULL ? alg : enclosing;
    enum atlas_alg number = atlas_alg_of(name);
    if (number == ATLAS_ALG_NONE) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, name.p != NULL ? "not a hash algorithm of the profile"
                                                                               : "no hash algorithm is named");
    }
    if (!atlas_digest_set(ret_digest, (int)number, hash)) {
        return atlas_error_set(error, ATLAS_E_C2PA, where, "a hash of %zu bytes cannot be %s", hash.n,
                               atlas_alg_name((int)number));
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------ claim v2 */

static const struct atlas_cbor_field claim_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_c2pa_claim, "instanceID", TEXT, instance_id),
    ATLAS_CBOR_REQUIRED(atlas_c2pa_claim, "claim_generator_info", MAP, generator),
    ATLAS_CBOR_REQUIRED(atlas_c2pa_claim, "signature", TEXT, signature),
    ATLAS_CBOR_REQUIRED(atlas_c2pa_claim, "created_assertions", ARRAY, created),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "gathered_assertions", ARRAY, gathered),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "redacted_assertions", ARRAY, redacted),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "alg", TEXT, alg),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "dc:title", TEXT, title),
};

static const struct atlas_cbor_field generator_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_c2pa_claim, "name", TEXT, generator_name),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "version", TEXT, generator_version),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "specVersion", TEXT, generator_spec),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_claim, "operating_system", TEXT, generator_system),
};

static int check_generator(struct atlas_c2pa_claim *claim, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    atlas_cbor_open(&c, claim->generator, "claim.claim_generator_info", error);
    c.misfit = ATLAS_E_C2PA;
    ATLAS_TRY(atlas_cbor_read_map(&c, generator_fields, ATLAS_COUNT(generator_fields), claim));
    if (claim->generator_name.n == 0) {
        return atlas_error_set(error, ATLAS_E_C2PA, "claim.claim_generator_info", "names no generator");
    }
out:
    return rc;
}

/* Every entry must be a link into this store; *room counts down over both lists. */
static int check_links(struct atlas_span list, const char *where, size_t *room, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    ATLAS_TRY(atlas_cbor_open_list(&c, list, where, error));
    c.misfit = ATLAS_E_C2PA;
    while (atlas_cbor_more(&c)) {
        struct atlas_c2pa_link link = {0};
        if (*room == 0) {
            return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more assertions than %d", ATLAS_MAX_ASSERTIONS);
        }
        *room -= 1;
        ATLAS_TRY(atlas_c2pa_link_take(&c, &link));
        if (link.external) {
            return atlas_cbor_refuse(&c, ATLAS_E_C2PA, "an assertion outside the manifest");
        }
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
out:
    return rc;
}

static int check_redactions(struct atlas_span list, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    size_t room = ATLAS_MAX_REDACTIONS;
    ATLAS_TRY(atlas_cbor_open_list(&c, list, "claim.redacted_assertions", error));
    c.misfit = ATLAS_E_C2PA;
    for (; atlas_cbor_more(&c); room--) {
        struct atlas_span uri;
        if (room == 0) {
            return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more redactions than %d", ATLAS_MAX_REDACTIONS);
        }
        ATLAS_TRY(atlas_cbor_take_text(&c, &uri));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
out:
    return rc;
}

static int check_lists(const struct atlas_c2pa_claim *claim, struct atlas_error *error)
{
    int rc;
    size_t room = ATLAS_MAX_ASSERTIONS;
    ATLAS_TRY(check_links(claim->created, "claim.created_assertions", &room, error));
    if (room == ATLAS_MAX_ASSERTIONS) {
        return atlas_error_set(error, ATLAS_E_C2PA, "claim.created_assertions", "is empty");
    }
    if (claim->gathered.p != NULL) {
        ATLAS_TRY(check_links(claim->gathered, "claim.gathered_assertions", &room, error));
    }
    if (claim->redacted.p != NULL) {
        ATLAS_TRY(check_redactions(claim->redacted, error));
    }
out:
    return rc;
}

int atlas_c2pa_claim_read(const struct atlas_c2pa_manifest *manifest, struct atlas_c2pa_claim *ret_claim,
                          struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct atlas_c2pa_claim claim = {0};
    if (manifest->claim_version != 2) {
        return atlas_error_set(error, ATLAS_E_UNSUPPORTED, "claim", "a claim of version 1 is outside the profile");
    }
    ATLAS_TRY(atlas_cbor_init(&c, manifest->claim_cbor, "claim", error));
    c.misfit = ATLAS_E_C2PA;
    ATLAS_TRY(atlas_cbor_read_map(&c, claim_fields, ATLAS_COUNT(claim_fields), &claim));
    ATLAS_TRY(atlas_cbor_finish(&c));
    ATLAS_TRY(check_generator(&claim, error));
    ATLAS_TRY(check_lists(&claim, error));
    *ret_claim = claim;
out:
    return rc;
}

int atlas_c2pa_claim_write(struct atlas_buf *b, const struct atlas_c2pa_claim *claim, struct atlas_error *error)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&m, "instanceID", claim->instance_id);
    atlas_cbor_map_put_raw(&m, "claim_generator_info", claim->generator);
    atlas_cbor_map_put_text(&m, "signature", claim->signature);
    atlas_cbor_map_put_raw(&m, "created_assertions", claim->created);
    atlas_cbor_map_put_raw(&m, "gathered_assertions", claim->gathered);
    atlas_cbor_map_put_raw(&m, "redacted_assertions", claim->redacted);
    atlas_cbor_map_put_text(&m, "alg", claim->alg);
    atlas_cbor_map_put_text(&m, "dc:title", claim->title);
    int rc = atlas_cbor_map_write(&m, b, error);
    atlas_cbor_map_release(&m);
    return rc;
}

/* ------------------------------------------------------------------------------------------ a claim, altered */

static bool is_attestation(struct atlas_span item)
{
    struct atlas_cbor c;
    struct atlas_c2pa_link link;
    struct atlas_c2pa_ref ref;
    atlas_cbor_open(&c, item, "link", NULL);
    return atlas_c2pa_link_take(&c, &link) == ATLAS_OK && atlas_c2pa_ref_read(link.url, &ref, NULL) == ATLAS_OK &&
           ref.target == ATLAS_C2PA_TARGET_ASSERTION && atlas_c2pa_kind(ref.label) == ATLAS_C2PA_ATTESTATION;
}

/* Append the items of an encoded array that are no attestations; ret_n counts them. */
static int copy_links(struct atlas_span array, struct atlas_buf *b, uint64_t *ret_n, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    uint64_t n = 0;
    ATLAS_TRY(atlas_cbor_open_list(&c, array, "claim", error));
    while (atlas_cbor_more(&c)) {
        struct atlas_span item;
        ATLAS_TRY(atlas_cbor_take_raw(&c, &item));
        if (!is_attestation(item)) {
            atlas_buf_append(b, item);
            n++;
        }
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_n = n;
out:
    return rc;
}

/* Append claim[*at, array) as it is and the array without attestations; *at moves behind it. */
static int copy_up_to(struct atlas_span claim, size_t *at, struct atlas_span array, struct atlas_buf *b,
                      struct atlas_error *error)
{
    struct atlas_buf links = ATLAS_BUF_INIT;
    size_t start = atlas_span_offset(claim, array);
    uint64_t n;
    int rc;
    ATLAS_TRY(copy_links(array, &links, &n, error));
    atlas_buf_append(b, atlas_span_sub(claim, *at, start - *at));
    atlas_cbor_write_array(b, n);
    atlas_buf_append(b, atlas_buf_span(&links));
    ATLAS_TRY(atlas_buf_check(&links, error));
    *at = start + array.n;
out:
    atlas_buf_release(&links);
    return rc;
}

int atlas_c2pa_claim_partial(struct atlas_span claim_cbor, const struct atlas_c2pa_claim *claim,
                             struct atlas_buf *ret_partial, struct atlas_error *error)
{
    struct atlas_span first = claim->created;
    struct atlas_span second = claim->gathered;
    size_t at = 0;
    int rc;
    if (second.p != NULL && second.p < first.p) { /* any order of keys is accepted */
        first = claim->gathered;
        second = claim->created;
    }
    ATLAS_TRY(copy_up_to(claim_cbor, &at, first, ret_partial, error));
    if (second.p != NULL) {
        ATLAS_TRY(copy_up_to(claim_cbor, &at, second, ret_partial, error));
    }
    atlas_buf_append(ret_partial, atlas_span_sub(claim_cbor, at, claim_cbor.n - at));
    rc = atlas_buf_check(ret_partial, error);
out:
    return rc;
}

int atlas_c2pa_claim_extend(struct atlas_span claim_cbor, const struct atlas_c2pa_claim *claim, struct atlas_span link,
                            struct atlas_buf *ret_extended, struct atlas_error *error)
{
    struct atlas_cbor c;
    uint32_t n;
    size_t start = atlas_span_offset(claim_cbor, claim->created);
    size_t end = start + claim->created.n;
    struct atlas_buf head = ATLAS_BUF_INIT;
    int rc;
    atlas_cbor_open(&c, claim->created, "claim.created_assertions", error);
    ATLAS_TRY(atlas_cbor_enter_array(&c, &n));
    atlas_cbor_write_array(&head, n);
    ATLAS_TRY(atlas_buf_check(&head, error));
    atlas_buf_append(ret_extended, atlas_span_sub(claim_cbor, 0, start));
    atlas_cbor_write_array(ret_extended, (uint64_t)n + 1);
    atlas_buf_append(ret_extended, atlas_span_sub(claim_cbor, start + head.n, end - start - head.n));
    atlas_buf_append(ret_extended, link);
    atlas_buf_append(ret_extended, atlas_span_sub(claim_cbor, end, claim_cbor.n - end));
    rc = atlas_buf_check(ret_extended, error);
out:
    atlas_buf_release(&head);
    return rc;
}
