#include "format/c2pa.h"

#include "base/utf8.h"

/* ------------------------------------------------------------------------------------------ manifest store */

enum atlas_c2pa_manifest_type atlas_c2pa_manifest_type(const struct atlas_jumbf *superbox)
{
    switch (superbox->kind) {
    case ATLAS_C2PA_4CC_STANDARD:
        return ATLAS_C2PA_STANDARD;
    case ATLAS_C2PA_4CC_UPDATE:
        return ATLAS_C2PA_UPDATE;
    case ATLAS_C2PA_4CC_COMPRESSED:
        return ATLAS_C2PA_COMPRESSED;
    case ATLAS_C2PA_4CC_DEPRECATED:
        return ATLAS_C2PA_DEPRECATED;
    default:
        return ATLAS_C2PA_NO_MANIFEST;
    }
}

static int find_active(struct atlas_c2pa_store *store, struct atlas_error *error)
{
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(store->box.content, "store", error);
    while (atlas_jumbf_more(&it)) {
        struct atlas_jumbf superbox;
        int rc = atlas_jumbf_next(&it, &superbox);
        if (rc < 0) {
            return rc;
        }
        if (atlas_c2pa_manifest_type(&superbox) != ATLAS_C2PA_NO_MANIFEST) {
            store->active = superbox;
            store->manifests++;
        }
    }
    if (store->manifests == 0) {
        return atlas_error_set(error, ATLAS_E_C2PA, "store", "holds no manifest");
    }
    return store->manifests <= ATLAS_MAX_NODES
               ? ATLAS_OK
               : atlas_error_set(error, ATLAS_E_LIMIT, "store", "holds too many manifests");
}

int atlas_c2pa_store_read(struct atlas_span bytes, struct atlas_c2pa_store *ret_store, struct atlas_error *error)
{
    int rc;
    struct atlas_c2pa_store store = {0};
    if (bytes.n > ATLAS_MAX_STORE_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "store", "is larger than %u bytes", ATLAS_MAX_STORE_BYTES);
    }
    ATLAS_TRY(atlas_jumbf_check(bytes, "store", error));
    ATLAS_TRY(atlas_jumbf_read(bytes, "store", &store.box, error));
    if (store.box.kind != ATLAS_C2PA_4CC_STORE || !atlas_span_equal(store.box.label, ATLAS_C2PA_LABEL_STORE)) {
        return atlas_error_at(error, ATLAS_E_C2PA, 0, "store", "is not a C2PA manifest store");
    }
    ATLAS_TRY(find_active(&store, error));
    *ret_store = store;
out:
    return rc;
}

int atlas_c2pa_manifests_index(const struct atlas_c2pa_store *store, struct atlas_jumbf_index *ret_index,
                               struct atlas_error *error)
{
    return atlas_jumbf_index_read(store->box.content, ATLAS_MAX_NODES, true, "store", ret_index, error);
}

/* ------------------------------------------------------------------------------------------------ manifest */

#define UUID_CHARACTERS 36

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* 8-4-4-4-12 hexadecimal digits. */
static bool uuid_check(struct atlas_span s)
{
    if (s.n != UUID_CHARACTERS) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.p[i] != '-' : !is_hex(s.p[i])) {
            return false;
        }
    }
    return true;
}

/* C2PA 1.x: [<vendor>:]urn:uuid:<uuid>. */
static bool old_urn_check(struct atlas_span label)
{
    static const size_t tail = sizeof "urn:uuid:" - 1 + UUID_CHARACTERS;
    struct atlas_span rest = label;
    struct atlas_span vendor;
    struct atlas_span prefix;
    if (label.n < tail || !atlas_span_take(&rest, label.n - tail, &vendor)) {
        return false;
    }
    bool named = vendor.n > 1 && vendor.p[vendor.n - 1] == ':' && memchr(vendor.p, ':', vendor.n - 1) == NULL;
    return (vendor.n == 0 || named) && atlas_span_take(&rest, tail - UUID_CHARACTERS, &prefix) &&
           atlas_span_equal(prefix, ATLAS_LIT("urn:uuid:")) && uuid_check(rest);
}

bool atlas_c2pa_urn_check(struct atlas_span label)
{
    struct atlas_span rest = label;
    struct atlas_span prefix;
    struct atlas_span uuid;
    if (!atlas_jumbf_label_check(label)) {
        return false;
    }
    if (!atlas_span_starts_with(label, ATLAS_LIT("urn:c2pa:"))) {
        return old_urn_check(label);
    }
    (void)atlas_span_take(&rest, sizeof "urn:c2pa:" - 1, &prefix);
    return atlas_span_take(&rest, UUID_CHARACTERS, &uuid) && uuid_check(uuid) && (rest.n == 0 || rest.p[0] == ':');
}

/* Which of the three parts a superbox is, by kind and label together. */
static enum atlas_c2pa_target part_of(const struct atlas_jumbf *box, unsigned *ret_claim_version)
{
    if (box->kind == ATLAS_C2PA_4CC_CLAIM && atlas_span_equal(box->label, ATLAS_C2PA_LABEL_CLAIM)) {
        *ret_claim_version = 2;
        return ATLAS_C2PA_TARGET_CLAIM;
    }
    if (box->kind == ATLAS_C2PA_4CC_CLAIM && atlas_span_equal(box->label, ATLAS_C2PA_LABEL_CLAIM_V1)) {
        *ret_claim_version = 1;
        return ATLAS_C2PA_TARGET_CLAIM;
    }
    if (box->kind == ATLAS_C2PA_4CC_SIGNATURE && atlas_span_equal(box->label, ATLAS_C2PA_LABEL_SIGNATURE)) {
        return ATLAS_C2PA_TARGET_SIGNATURE;
    }
    if (box->kind == ATLAS_C2PA_4CC_ASSERTIONS && atlas_span_equal(box->label, ATLAS_C2PA_LABEL_ASSERTIONS)) {
        return ATLAS_C2PA_TARGET_ASSERTION;
    }
    return ATLAS_C2PA_TARGET_NONE;
}

struct part_counts {
    unsigned claims;
    unsigned signatures;
    unsigned stores;
    unsigned unknown;
};

static int count_parts(struct atlas_c2pa_manifest *m, struct part_counts *counts, struct atlas_error *error)
{
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(m->box.content, "manifest", error);
    while (atlas_jumbf_more(&it)) {
        struct atlas_jumbf part;
        int rc = atlas_jumbf_next(&it, &part);
        if (rc < 0) {
            return rc;
        }
        switch (part_of(&part, &m->claim_version)) {
        case ATLAS_C2PA_TARGET_CLAIM:
            m->claim = part;
            counts->claims++;
            break;
        case ATLAS_C2PA_TARGET_SIGNATURE:
            m->signature = part;
            counts->signatures++;
            break;
        case ATLAS_C2PA_TARGET_ASSERTION:
            m->assertions = part;
            counts->stores++;
            break;
        default:
            counts->unknown++;
            break;
        }
    }
    return ATLAS_OK;
}

static enum atlas_c2pa_problem problem_of(const struct part_counts *counts, unsigned claim_version)
{
    /* With a claim of version 1 stand boxes that version 2 has no place for; that claim itself is refused later. Else
     * unknown boxes come first: a claim in the wrong kind of box is not a missing claim. */
    if (counts->unknown != 0 && claim_version != 1) {
        return ATLAS_C2PA_UNKNOWN_BOX;
    }
    if (counts->claims != 1) {
        return counts->claims == 0 ? ATLAS_C2PA_CLAIM_MISSING : ATLAS_C2PA_CLAIM_MULTIPLE;
    }
    if (counts->signatures != 1) {
        return counts->signatures == 0 ? ATLAS_C2PA_SIGNATURE_MISSING : ATLAS_C2PA_SIGNATURE_MULTIPLE;
    }
    if (counts->stores != 1) {
        return counts->stores == 0 ? ATLAS_C2PA_ASSERTIONS_MISSING : ATLAS_C2PA_ASSERTIONS_MULTIPLE;
    }
    return ATLAS_C2PA_FINE;
}

static const char *problem_text(enum atlas_c2pa_problem problem)
{
    switch (problem) {
    case ATLAS_C2PA_FINE:
        return "is fine";
    case ATLAS_C2PA_BAD_BOX:
        return "holds a malformed box, or its label is no URN of a manifest";
    case ATLAS_C2PA_WRONG_TYPE:
        return "is neither a standard nor an update manifest";
    case ATLAS_C2PA_CLAIM_MISSING:
        return "holds no claim";
    case ATLAS_C2PA_CLAIM_MULTIPLE:
        return "holds more than one claim";
    case ATLAS_C2PA_SIGNATURE_MISSING:
        return "holds no claim signature";
    case ATLAS_C2PA_SIGNATURE_MULTIPLE:
        return "holds more than one claim signature";
    case ATLAS_C2PA_ASSERTIONS_MISSING:
        return "holds no assertion store";
    case ATLAS_C2PA_ASSERTIONS_MULTIPLE:
        return "holds more than one assertion store";
    case ATLAS_C2PA_UNKNOWN_BOX:
        return "holds a superbox that is no claim, signature or assertion store";
    }
    return "";
}

static int read_parts(struct atlas_c2pa_manifest *m, enum atlas_c2pa_problem *ret_problem, struct atlas_error *error)
{
    int rc;
    struct part_counts counts = {0};
    ATLAS_TRY(count_parts(m, &counts, error));
    *ret_problem = problem_of(&counts, m->claim_version);
    if (*ret_problem != ATLAS_C2PA_FINE) {
        return atlas_error_set(error, ATLAS_E_C2PA, "manifest", "%s", problem_text(*ret_problem));
    }
    *ret_problem = ATLAS_C2PA_BAD_BOX;
    ATLAS_TRY(atlas_jumbf_content(&m->claim, ATLAS_JUMBF_CBOR, "claim", &m->claim_cbor, error));
    ATLAS_TRY(atlas_jumbf_content(&m->signature, ATLAS_JUMBF_CBOR, "signature", &m->cose, error));
    *ret_problem = ATLAS_C2PA_FINE;
out:
    return rc;
}

int atlas_c2pa_manifest_read(const struct atlas_jumbf *superbox, struct atlas_c2pa_manifest *ret_manifest,
                             enum atlas_c2pa_problem *ret_problem, struct atlas_error *error)
{
    struct atlas_c2pa_manifest m = {.type = atlas_c2pa_manifest_type(superbox), .box = *superbox};
    *ret_problem = ATLAS_C2PA_WRONG_TYPE;
    if (m.type != ATLAS_C2PA_STANDARD && m.type != ATLAS_C2PA_UPDATE) {
        return atlas_error_set(error, ATLAS_E_UNSUPPORTED, "manifest", "%s", problem_text(*ret_problem));
    }
    *ret_problem = ATLAS_C2PA_BAD_BOX;
    if (!atlas_c2pa_urn_check(superbox->label)) {
        return atlas_error_set(error, ATLAS_E_C2PA, "manifest", "its label is no URN of a manifest");
    }
    int rc = read_parts(&m, ret_problem, error);
    if (rc == ATLAS_OK) {
        *ret_manifest = m;
    }
    return rc;
}

/* -------------------------------------------------------------------------------------------------- labels */

/* The number at the end of a label behind a mark: without leading zeros, at least `least`. */
static bool cut_number(struct atlas_span *label, struct atlas_span mark, uint32_t least, uint32_t *ret_number)
{
    size_t digits = 0;
    uint32_t number = 0;
    while (digits < label->n && digits < 9 && label->p[label->n - 1 - digits] >= '0' &&
           label->p[label->n - 1 - digits] <= '9') {
        digits++;
    }
    if (digits == 0 || label->n - digits <= mark.n) {
        return false;
    }
    size_t at = label->n - digits;
    for (size_t i = at; i < label->n; i++) {
        number = number * 10 + (uint32_t)(label->p[i] - '0');
    }
    if (label->p[at] == '0' || number < least ||
        !atlas_span_equal(atlas_span_sub(*label, at - mark.n, mark.n), mark)) {
        return false;
    }
    *label = atlas_span_sub(*label, 0, at - mark.n);
    *ret_number = number;
    return true;
}

struct atlas_c2pa_label atlas_c2pa_label_split(struct atlas_span label)
{
    struct atlas_c2pa_label split = {.base = label, .version = 1, .instance = 0};
    (void)cut_number(&split.base, ATLAS_LIT("__"), 1, &split.instance);
    (void)cut_number(&split.base, ATLAS_LIT(".v"), 2, &split.version);
    return split;
}

struct kind_row {
    const char *base;
    uint32_t version; /* that the kind stands for */
    enum atlas_c2pa_kind kind;
    enum atlas_c2pa_kind other_version;
};

/* A version that is not known must not turn a rule off: it stays the same kind, and reading it fails. */
static const struct kind_row kinds[] = {
    {"c2pa.hash.data", 1, ATLAS_C2PA_HASH_DATA, ATLAS_C2PA_HASH_UNSUPPORTED},
    {"c2pa.hash.collection.data", 1, ATLAS_C2PA_HASH_COLLECTION, ATLAS_C2PA_HASH_UNSUPPORTED},
    {"c2pa.hash.data.part", 1, ATLAS_C2PA_HASH_PART, ATLAS_C2PA_HASH_UNSUPPORTED},
    {"c2pa.hash.multi-asset", 1, ATLAS_C2PA_HASH_PART, ATLAS_C2PA_HASH_UNSUPPORTED},
    {"c2pa.actions", 2, ATLAS_C2PA_ACTIONS, ATLAS_C2PA_ACTIONS_OLD},
    {"c2pa.ingredient", 3, ATLAS_C2PA_INGREDIENT, ATLAS_C2PA_INGREDIENT_OLD},
    {"c2pa.asset-type", 2, ATLAS_C2PA_ASSET_TYPE, ATLAS_C2PA_OTHER},
    {"c2pa.attestation", 1, ATLAS_C2PA_ATTESTATION, ATLAS_C2PA_ATTESTATION},
    {"c2pa.certificate-status", 1, ATLAS_C2PA_CERTIFICATE_STATUS, ATLAS_C2PA_OTHER},
    {"c2pa.time-stamp", 1, ATLAS_C2PA_TIME_STAMP, ATLAS_C2PA_OTHER},
    {"cawg.training-mining", 1, ATLAS_C2PA_TRAINING_MINING, ATLAS_C2PA_TRAINING_MINING},
    {"c2pa.training-mining", 1, ATLAS_C2PA_TRAINING_MINING, ATLAS_C2PA_TRAINING_MINING},
    {ATLAS_NAMESPACE ".measurement", 1, ATLAS_C2PA_MEASUREMENT, ATLAS_C2PA_MEASUREMENT},
    {ATLAS_NAMESPACE ".inputs", 1, ATLAS_C2PA_INPUTS, ATLAS_C2PA_INPUTS},
    {ATLAS_NAMESPACE ".run", 1, ATLAS_C2PA_RUN, ATLAS_C2PA_RUN},
    {ATLAS_NAMESPACE ".data-use", 1, ATLAS_C2PA_DATA_USE, ATLAS_C2PA_DATA_USE},
    {ATLAS_NAMESPACE ".metrics", 1, ATLAS_C2PA_METRICS, ATLAS_C2PA_METRICS},
    {ATLAS_NAMESPACE ".coverage", 1, ATLAS_C2PA_COVERAGE, ATLAS_C2PA_COVERAGE},
};

enum atlas_c2pa_kind atlas_c2pa_kind(struct atlas_span label)
{
    struct atlas_c2pa_label split = atlas_c2pa_label_split(label);
    for (size_t i = 0; i < ATLAS_COUNT(kinds); i++) {
        if (atlas_span_equal(split.base, atlas_span_str(kinds[i].base))) {
            return split.version == kinds[i].version ? kinds[i].kind : kinds[i].other_version;
        }
    }
    return atlas_span_starts_with(label, ATLAS_LIT("c2pa.hash.")) ? ATLAS_C2PA_HASH_UNSUPPORTED : ATLAS_C2PA_OTHER;
}

/* ---------------------------------------------------------------------------------------------- assertions */

static enum atlas_c2pa_content content_of(uint32_t kind)
{
    switch (kind) {
    case ATLAS_JUMBF_CBOR:
        return ATLAS_C2PA_CONTENT_CBOR;
    case ATLAS_JUMBF_JSON:
        return ATLAS_C2PA_CONTENT_JSON;
    case ATLAS_JUMBF_UUID:
        return ATLAS_C2PA_CONTENT_UUID;
    case ATLAS_JUMBF_EMBEDDED_FILE:
        return ATLAS_C2PA_CONTENT_FILE;
    default:
        return ATLAS_C2PA_CONTENT_OTHER;
    }
}

/* The file description box: a byte of toggles, the media type and its NUL. A file name or a file that lies elsewhere
 * (the toggles) is outside the profile. */
static bool read_media_type(struct atlas_span description, struct atlas_span *ret_media_type)
{
    uint8_t toggles;
    if (!atlas_span_take_u8(&description, &toggles) || toggles != 0 || description.n == 0) {
        return false;
    }
    const uint8_t *nul = memchr(description.p, 0, description.n);
    *ret_media_type = atlas_span_sub(description, 0, description.n - 1);
    return nul != NULL && atlas_span_offset(description, (struct atlas_span){nul, 1}) == description.n - 1 &&
           atlas_utf8_check(*ret_media_type);
}

static int read_file(struct atlas_c2pa_assertion *a, struct atlas_error *error)
{
    int rc;
    struct atlas_jumbf_box description = {0};
    struct atlas_jumbf_box data = {0};
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(a->box.content, "assertion", error);
    ATLAS_TRY(atlas_jumbf_next_box(&it, &description));
    ATLAS_TRY(atlas_jumbf_next_box(&it, &data));
    if (description.type != ATLAS_JUMBF_FILE_DESCRIPTION || data.type != ATLAS_JUMBF_FILE_DATA ||
        atlas_jumbf_more(&it) || !read_media_type(description.payload, &a->media_type)) {
        return atlas_error_set(error, ATLAS_E_JUMBF, "assertion", "is no embedded file");
    }
    a->content = data.payload;
out:
    return rc;
}

int atlas_c2pa_assertion_read(const struct atlas_jumbf *superbox, struct atlas_c2pa_assertion *ret_assertion,
                              struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_c2pa_assertion a = {
        .kind = atlas_c2pa_kind(superbox->label),
        .type = content_of(superbox->kind),
        .box = *superbox,
        .content = superbox->content,
    };
    if (a.type == ATLAS_C2PA_CONTENT_FILE) {
        rc = read_file(&a, error);
    } else if (a.type != ATLAS_C2PA_CONTENT_OTHER) {
        /* the content box of these three has the four characters of its superbox */
        rc = atlas_jumbf_content(superbox, superbox->kind, "assertion", &a.content, error);
    }
    if (rc == ATLAS_OK) {
        *ret_assertion = a;
    }
    return rc;
}

int atlas_c2pa_assertions_index(const struct atlas_c2pa_manifest *manifest, struct atlas_jumbf_index *ret_index,
                                struct atlas_error *error)
{
    return atlas_jumbf_index_read(manifest->assertions.content, ATLAS_MAX_ASSERTIONS, false, "assertion store",
                                  ret_index, error);
}

int atlas_c2pa_assertion_cbor(const struct atlas_c2pa_assertion *assertion, const char *where, struct atlas_cbor *ret_c,
                              struct atlas_error *error)
{
    if (assertion->type != ATLAS_C2PA_CONTENT_CBOR) {
        return atlas_error_set(error, ATLAS_E_C2PA, where, "is not CBOR");
    }
    int rc = atlas_cbor_init(ret_c, assertion->content, where, error);
    ret_c->misfit = ATLAS_E_C2PA;
    return rc;
}

/* ------------------------------------------------------------------------------------------------- writing */

int atlas_c2pa_part_write(struct atlas_buf *b, uint32_t kind, struct atlas_span label, struct atlas_span cbor,
                          struct atlas_error *error)
{
    int rc;
    size_t mark = atlas_jumbf_open(b, kind, label, ATLAS_SPAN_NONE);
    ATLAS_TRY(atlas_jumbf_write_box(b, ATLAS_JUMBF_CBOR, cbor, error));
    ATLAS_TRY(atlas_jumbf_close(b, mark, error));
out:
    return rc;
}

int atlas_c2pa_assertion_write(struct atlas_buf *b, struct atlas_span label, struct atlas_span salt,
                               struct atlas_span cbor, struct atlas_span *ret_payload, struct atlas_error *error)
{
    int rc;
    size_t mark = atlas_jumbf_open(b, ATLAS_JUMBF_CBOR, label, salt);
    ATLAS_TRY(atlas_cbor_check(cbor, "assertion", error));
    ATLAS_TRY(atlas_jumbf_write_box(b, ATLAS_JUMBF_CBOR, cbor, error));
    ATLAS_TRY(atlas_jumbf_close(b, mark, error));
    *ret_payload = atlas_jumbf_written(b, mark);
out:
    return rc;
}
