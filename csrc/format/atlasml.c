#include "format/atlasml.h"

#include "base/path.h"
#include "base/utf8.h"

/* ------------------------------------------------------------------------------------------------- common */

static bool is_plain(struct atlas_span component)
{
    return component.n != 0 && !atlas_span_equal(component, ATLAS_LIT(".")) &&
           !atlas_span_equal(component, ATLAS_LIT(".."));
}

bool atlas_ml_name_check(struct atlas_span name)
{
    size_t start = 0;
    if (!atlas_utf8_check(name)) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (c < 0x20 || c == 0x7F || c == '\\') {
            return false;
        }
        if (c == '/') {
            if (!is_plain(atlas_span_sub(name, start, i - start))) {
                return false;
            }
            start = i + 1;
        }
    }
    return is_plain(atlas_span_sub(name, start, name.n - start));
}

/* The head of every own assertion: a map whose version is 1. */
static int read_all(const struct atlas_c2pa_assertion *assertion, const char *where,
                    const struct atlas_cbor_field *fields, size_t n, void *view, const struct atlas_cbor_uint *version,
                    struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    ATLAS_TRY(atlas_c2pa_assertion_cbor(assertion, where, &c, error));
    ATLAS_TRY(atlas_cbor_read_map(&c, fields, n, view));
    ATLAS_TRY(atlas_cbor_finish(&c));
    if (version->v != 1) {
        return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "a version that is not known here");
    }
out:
    return rc;
}

static int open_list(struct atlas_cbor *c, struct atlas_span array, const char *where, struct atlas_error *error)
{
    int rc = atlas_cbor_open_list(c, array, where, error);
    c->misfit = ATLAS_E_C2PA;
    return rc;
}

/* One of two words. */
static bool either(struct atlas_span word, struct atlas_span yes, struct atlas_span no, bool *ret_yes)
{
    if (!atlas_span_equal(word, yes) && !atlas_span_equal(word, no)) {
        return false;
    }
    *ret_yes = atlas_span_equal(word, yes);
    return true;
}

static bool read_kind(struct atlas_span word, bool *ret_directory)
{
    return either(word, ATLAS_LIT("directory"), ATLAS_LIT("file"), ret_directory);
}

static struct atlas_span kind_name(bool directory)
{
    return directory ? ATLAS_LIT("directory") : ATLAS_LIT("file");
}

/* ------------------------------------------------------------------------------------ org.atlasml.measurement */

#define MEASUREMENT ATLAS_NAMESPACE ".measurement"

struct raw_measurement {
    struct atlas_ml_measurement view;
    struct atlas_cbor_uint version;
    struct atlas_cbor_uint size;
    struct atlas_cbor_uint chunk;
    struct atlas_cbor_uint files;
    struct atlas_cbor_uint index;
    struct atlas_span kind;
    struct atlas_span source;
    struct atlas_span alg;
    struct atlas_span tree;
    struct atlas_span oms;
    struct atlas_span tensors;
    struct atlas_span table;
};

static const struct atlas_cbor_field measurement_fields[] = {
    ATLAS_CBOR_REQUIRED(raw_measurement, "version", UINT, version),
    ATLAS_CBOR_REQUIRED(raw_measurement, "kind", TEXT, kind),
    ATLAS_CBOR_REQUIRED(raw_measurement, "name", TEXT, view.name),
    ATLAS_CBOR_REQUIRED(raw_measurement, "alg", TEXT, alg),
    ATLAS_CBOR_REQUIRED(raw_measurement, "tree", BYTES, tree),
    ATLAS_CBOR_REQUIRED(raw_measurement, "size", UINT, size),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "chunk", UINT, chunk),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "files", UINT, files),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "index", UINT, index),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "ignore", ARRAY, view.ignore),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "links", MAP, view.links),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "oms", BYTES, oms),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "tensors", BYTES, tensors),
    ATLAS_CBOR_OPTIONAL(raw_measurement, "tensor-table", BYTES, table),
    ATLAS_CBOR_REQUIRED(raw_measurement, "source", TEXT, source),
};

/* What belongs to a file and what to a directory. */
static bool shape_check(const struct raw_measurement *raw)
{
    bool directory_only = raw->files.present || raw->index.present || raw->view.ignore.p != NULL ||
                          raw->view.links.p != NULL;
    if ((raw->tensors.p != NULL) != (raw->table.p != NULL)) {
        return false;
    }
    if (raw->view.directory) {
        return raw->tensors.p == NULL && !raw->chunk.present && raw->files.present && raw->index.present &&
               raw->index.v == ATLAS_INDEX_VERSION;
    }
    return raw->chunk.present && raw->chunk.v == ATLAS_CHUNK_BYTES && !directory_only;
}

static int check_ignore(struct atlas_span ignore, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    size_t room = ATLAS_MAX_IGNORE;
    ATLAS_TRY(open_list(&c, ignore, MEASUREMENT ".ignore", error));
    for (; atlas_cbor_more(&c); room--) {
        struct atlas_span entry;
        ATLAS_TRY(atlas_cbor_take_text(&c, &entry));
        if (room == 0) {
            return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more entries than %d", ATLAS_MAX_IGNORE);
        }
        if (entry.n > ATLAS_MAX_PATH_BYTES || !atlas_path_check_raw(entry)) {
            return atlas_cbor_refuse(&c, ATLAS_E_C2PA, "an entry is neither a name nor a relative path");
        }
    }
    rc = atlas_cbor_leave(&c);
out:
    return rc;
}

static int check_links(struct atlas_span links, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    atlas_cbor_open(&c, links, MEASUREMENT ".links", error);
    c.misfit = ATLAS_E_C2PA;
    ATLAS_TRY(atlas_cbor_enter_map(&c, NULL));
    while (atlas_cbor_more(&c)) {
        struct atlas_span path;
        struct atlas_span target;
        ATLAS_TRY(atlas_cbor_take_text(&c, &path));
        ATLAS_TRY(atlas_cbor_take_text(&c, &target));
    }
    rc = atlas_cbor_leave(&c);
out:
    return rc;
}

static int check_lists(const struct atlas_ml_measurement *m, struct atlas_error *error)
{
    int rc = m->ignore.p != NULL ? check_ignore(m->ignore, error) : ATLAS_OK;
    if (rc == ATLAS_OK && m->links.p != NULL) {
        rc = check_links(m->links, error);
    }
    return rc;
}

/* Digests that are of SHA-256 whatever `alg` is: docs/manifest.md, "Digests". */
static int read_sha256(struct atlas_span bytes, const char *where, struct atlas_digest *ret_digest,
                       struct atlas_error *error)
{
    return bytes.p == NULL ? ATLAS_OK
                           : atlas_c2pa_digest(ATLAS_LIT("sha256"), ATLAS_SPAN_NONE, bytes, where, ret_digest, error);
}

static int interpret_digests(struct raw_measurement *raw, struct atlas_error *error)
{
    struct atlas_ml_measurement *m = &raw->view;
    int rc;
    ATLAS_TRY(atlas_c2pa_digest(raw->alg, ATLAS_SPAN_NONE, raw->tree, MEASUREMENT ".tree", &m->tree, error));
    ATLAS_TRY(read_sha256(raw->oms, MEASUREMENT ".oms", &m->oms, error));
    ATLAS_TRY(read_sha256(raw->tensors, MEASUREMENT ".tensors", &m->tensors, error));
    ATLAS_TRY(read_sha256(raw->table, MEASUREMENT ".tensor-table", &m->table, error));
out:
    return rc;
}

/* The words and numbers of the map made into the view. */
static int interpret(struct raw_measurement *raw, struct atlas_error *error)
{
    struct atlas_ml_measurement *m = &raw->view;
    if (!read_kind(raw->kind, &m->directory) ||
        !either(raw->source, ATLAS_LIT("recorded"), ATLAS_LIT("declared"), &m->recorded)) {
        return atlas_error_set(error, ATLAS_E_C2PA, MEASUREMENT, "a kind or source that is not known");
    }
    if (!atlas_ml_name_check(m->name)) {
        return atlas_error_set(error, ATLAS_E_C2PA, MEASUREMENT ".name", "is no relative logical name");
    }
    if (raw->size.v > INT64_MAX) {
        return atlas_error_set(error, ATLAS_E_C2PA, MEASUREMENT ".size", "is a size that no file can have");
    }
    if (!shape_check(raw)) {
        return atlas_error_set(error, ATLAS_E_C2PA, MEASUREMENT, "chunk, files, index and tensors do not fit its kind");
    }
    m->alg = atlas_alg_of(raw->alg);
    m->size = raw->size.v;
    m->files = raw->files.v;
    return interpret_digests(raw, error);
}

int atlas_ml_measurement_read(const struct atlas_c2pa_assertion *assertion,
                              struct atlas_ml_measurement *ret_measurement, struct atlas_error *error)
{
    int rc;
    struct raw_measurement raw = {0};
    ATLAS_TRY(read_all(assertion, MEASUREMENT, measurement_fields, ATLAS_COUNT(measurement_fields), &raw, &raw.version,
                       error));
    ATLAS_TRY(interpret(&raw, error));
    ATLAS_TRY(check_lists(&raw.view, error));
    *ret_measurement = raw.view;
out:
    return rc;
}

static void put_digest(struct atlas_cbor_map *map, const char *key, const struct atlas_digest *digest)
{
    if (digest->alg != ATLAS_ALG_NONE) {
        atlas_cbor_map_put_bytes(map, key, atlas_digest_span(digest));
    }
}

int atlas_ml_measurement_write(struct atlas_buf *b, const struct atlas_ml_measurement *measurement,
                               struct atlas_error *error)
{
    struct atlas_cbor_map map = ATLAS_CBOR_MAP_INIT;
    const char *alg = atlas_alg_name((int)measurement->alg);
    if (alg == NULL || measurement->tree.alg != measurement->alg || !atlas_ml_name_check(measurement->name)) {
        return atlas_error_set(error, ATLAS_E_ARG, MEASUREMENT, "its name, algorithm or tree cannot be written");
    }
    atlas_cbor_map_put_uint(&map, "version", 1);
    atlas_cbor_map_put_text(&map, "kind", kind_name(measurement->directory));
    atlas_cbor_map_put_text(&map, "name", measurement->name);
    atlas_cbor_map_put_text(&map, "alg", atlas_span_str(alg));
    put_digest(&map, "tree", &measurement->tree);
    atlas_cbor_map_put_uint(&map, "size", measurement->size);
    if (measurement->directory) {
        atlas_cbor_map_put_uint(&map, "files", measurement->files);
        atlas_cbor_map_put_uint(&map, "index", ATLAS_INDEX_VERSION);
        atlas_cbor_map_put_raw(&map, "ignore", measurement->ignore);
        atlas_cbor_map_put_raw(&map, "links", measurement->links);
    } else {
        atlas_cbor_map_put_uint(&map, "chunk", ATLAS_CHUNK_BYTES);
    }
    put_digest(&map, "oms", &measurement->oms);
    put_digest(&map, "tensors", &measurement->tensors);
    put_digest(&map, "tensor-table", &measurement->table);
    atlas_cbor_map_put_text(&map, "source", measurement->recorded ? ATLAS_LIT("recorded") : ATLAS_LIT("declared"));
    int rc = atlas_cbor_map_write(&map, b, error);
    atlas_cbor_map_release(&map);
    return rc;
}

/* ----------------------------------------------------------------------------------------- org.atlasml.inputs */

#define INPUTS ATLAS_NAMESPACE ".inputs"

struct list_assertion {
    struct atlas_cbor_uint version;
    struct atlas_span list;
};

static const struct atlas_cbor_field inputs_fields[] = {
    ATLAS_CBOR_REQUIRED(list_assertion, "version", UINT, version),
    ATLAS_CBOR_REQUIRED(list_assertion, "inputs", ARRAY, list),
};

struct raw_input {
    struct atlas_ml_input view;
    struct atlas_cbor_uint size;
    struct atlas_span kind;
    struct atlas_span alg;
    struct atlas_span flat;
    struct atlas_span tree;
};

static const struct atlas_cbor_field input_fields[] = {
    ATLAS_CBOR_REQUIRED(raw_input, "ingredient", TEXT, view.ingredient),
    ATLAS_CBOR_REQUIRED(raw_input, "name", TEXT, view.name),
    ATLAS_CBOR_REQUIRED(raw_input, "kind", TEXT, kind),
    ATLAS_CBOR_REQUIRED(raw_input, "role", TEXT, view.role),
    ATLAS_CBOR_REQUIRED(raw_input, "alg", TEXT, alg),
    ATLAS_CBOR_OPTIONAL(raw_input, "flat", BYTES, flat),
    ATLAS_CBOR_OPTIONAL(raw_input, "tree", BYTES, tree),
    ATLAS_CBOR_REQUIRED(raw_input, "size", UINT, size),
    ATLAS_CBOR_REQUIRED(raw_input, "via", TEXT, view.via),
    ATLAS_CBOR_OPTIONAL(raw_input, "relation", TEXT, view.relation),
};

static int optional_digest(struct atlas_cbor *c, struct atlas_span alg, struct atlas_span bytes,
                           struct atlas_digest *ret_digest)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    if (bytes.p == NULL) {
        return ATLAS_OK;
    }
    int rc = atlas_c2pa_digest(alg, ATLAS_SPAN_NONE, bytes, "", ret_digest, &why);
    return rc < 0 ? atlas_cbor_refuse(c, rc, "%s", why.text) : ATLAS_OK;
}

int atlas_ml_input_take(struct atlas_cbor *c, struct atlas_ml_input *ret_input)
{
    int rc;
    struct raw_input raw = {0};
    ATLAS_TRY(atlas_cbor_read_map(c, input_fields, ATLAS_COUNT(input_fields), &raw));
    raw.view.alg = atlas_alg_of(raw.alg);
    raw.view.size = raw.size.v;
    if (raw.size.v > INT64_MAX) {
        return atlas_cbor_refuse(c, c->misfit, "a size that no file can have");
    }
    if (raw.view.alg == ATLAS_ALG_NONE) {
        return atlas_cbor_refuse(c, ATLAS_E_ALGORITHM, "names no hash algorithm of the profile");
    }
    if (!read_kind(raw.kind, &raw.view.directory)) {
        return atlas_cbor_refuse(c, c->misfit, "a kind that is neither file nor directory");
    }
    if (raw.flat.p == NULL && raw.tree.p == NULL) {
        return atlas_cbor_refuse(c, c->misfit, "has neither flat nor tree");
    }
    ATLAS_TRY(optional_digest(c, raw.alg, raw.flat, &raw.view.flat));
    ATLAS_TRY(optional_digest(c, raw.alg, raw.tree, &raw.view.tree));
    *ret_input = raw.view;
out:
    return rc;
}

int atlas_ml_inputs_read(const struct atlas_c2pa_assertion *assertion, struct atlas_span *ret_inputs,
                         struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct list_assertion raw = {0};
    size_t room = ATLAS_MAX_INGREDIENTS;
    ATLAS_TRY(read_all(assertion, INPUTS, inputs_fields, ATLAS_COUNT(inputs_fields), &raw, &raw.version, error));
    ATLAS_TRY(open_list(&c, raw.list, INPUTS, error));
    for (; atlas_cbor_more(&c); room--) {
        struct atlas_ml_input input;
        if (room == 0) {
            return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more inputs than %d", ATLAS_MAX_INGREDIENTS);
        }
        ATLAS_TRY(atlas_ml_input_take(&c, &input));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_inputs = raw.list;
out:
    return rc;
}

static int write_input(struct atlas_buf *b, const struct atlas_ml_input *input, struct atlas_error *error)
{
    struct atlas_cbor_map map = ATLAS_CBOR_MAP_INIT;
    const char *alg = atlas_alg_name((int)input->alg);
    bool flat = input->flat.alg != ATLAS_ALG_NONE;
    bool tree = input->tree.alg != ATLAS_ALG_NONE;
    if (alg == NULL || (!flat && !tree) || (flat && input->flat.alg != input->alg) ||
        (tree && input->tree.alg != input->alg)) {
        return atlas_error_set(error, ATLAS_E_ARG, INPUTS, "an input without a digest of its algorithm");
    }
    atlas_cbor_map_put_text(&map, "ingredient", input->ingredient);
    atlas_cbor_map_put_text(&map, "name", input->name);
    atlas_cbor_map_put_text(&map, "kind", kind_name(input->directory));
    atlas_cbor_map_put_text(&map, "role", input->role);
    atlas_cbor_map_put_text(&map, "alg", atlas_span_str(alg));
    put_digest(&map, "flat", &input->flat);
    put_digest(&map, "tree", &input->tree);
    atlas_cbor_map_put_uint(&map, "size", input->size);
    atlas_cbor_map_put_text(&map, "via", input->via);
    atlas_cbor_map_put_text(&map, "relation", input->relation);
    int rc = atlas_cbor_map_write(&map, b, error);
    atlas_cbor_map_release(&map);
    return rc;
}

int atlas_ml_inputs_write(struct atlas_buf *b, const struct atlas_ml_input *inputs, size_t n, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map map = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_uint(&map, "version", 1);
    struct atlas_buf *list = atlas_cbor_map_key(&map, "inputs");
    atlas_cbor_write_array(list, n);
    for (size_t i = 0; i < n; i++) {
        ATLAS_TRY(write_input(list, &inputs[i], error));
    }
    ATLAS_TRY(atlas_cbor_map_write(&map, b, error));
out:
    atlas_cbor_map_release(&map);
    return rc;
}

/* -------------------------------------------------------------------------------------------- org.atlasml.run */

static const struct atlas_cbor_field run_fields[] = {
    ATLAS_CBOR_OPTIONAL(atlas_ml_run, "run", TEXT, run),
    ATLAS_CBOR_OPTIONAL(atlas_ml_run, "step", TEXT, step),
};

int atlas_ml_run_read(const struct atlas_c2pa_assertion *assertion, struct atlas_ml_run *ret_run,
                      struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct atlas_ml_run run = {.run = ATLAS_SPAN_NONE};
    ATLAS_TRY(atlas_c2pa_assertion_cbor(assertion, ATLAS_NAMESPACE ".run", &c, error));
    ATLAS_TRY(atlas_cbor_read_map(&c, run_fields, ATLAS_COUNT(run_fields), &run));
    ATLAS_TRY(atlas_cbor_finish(&c));
    *ret_run = run;
out:
    return rc;
}

/* ---------------------------------------------------------------------------------------- org.atlasml.metrics */

#define METRICS ATLAS_NAMESPACE ".metrics"

static const struct atlas_cbor_field metrics_fields[] = {
    ATLAS_CBOR_REQUIRED(list_assertion, "version", UINT, version),
    ATLAS_CBOR_REQUIRED(list_assertion, "results", ARRAY, list),
};

static const struct atlas_cbor_field result_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_ml_result, "name", TEXT, name),
    ATLAS_CBOR_REQUIRED(atlas_ml_result, "value", ANY, value),
    ATLAS_CBOR_OPTIONAL(atlas_ml_result, "of", TEXT, of),
    ATLAS_CBOR_OPTIONAL(atlas_ml_result, "on", TEXT, on),
};

int atlas_ml_result_take(struct atlas_cbor *c, struct atlas_ml_result *ret_result)
{
    struct atlas_ml_result result = {0};
    int rc = atlas_cbor_read_map(c, result_fields, ATLAS_COUNT(result_fields), &result);
    if (rc == ATLAS_OK) {
        *ret_result = result;
    }
    return rc;
}

int atlas_ml_metrics_read(const struct atlas_c2pa_assertion *assertion, struct atlas_span *ret_results,
                          struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct list_assertion raw = {0};
    ATLAS_TRY(read_all(assertion, METRICS, metrics_fields, ATLAS_COUNT(metrics_fields), &raw, &raw.version, error));
    ATLAS_TRY(open_list(&c, raw.list, METRICS, error));
    while (atlas_cbor_more(&c)) {
        struct atlas_ml_result result;
        ATLAS_TRY(atlas_ml_result_take(&c, &result));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_results = raw.list;
out:
    return rc;
}

/* --------------------------------------------------------------------------------------- org.atlasml.coverage */

#define COVERAGE ATLAS_NAMESPACE ".coverage"

struct raw_coverage {
    struct list_assertion head;
    struct atlas_cbor_uint seen;
};

static const struct atlas_cbor_field coverage_fields[] = {
    ATLAS_CBOR_REQUIRED(raw_coverage, "version", UINT, head.version),
    ATLAS_CBOR_REQUIRED(raw_coverage, "seen", UINT, seen),
    ATLAS_CBOR_REQUIRED(raw_coverage, "gaps", ARRAY, head.list),
};

struct raw_gap {
    struct atlas_ml_gap view;
    struct atlas_cbor_uint input;
};

static const struct atlas_cbor_field gap_fields[] = {
    ATLAS_CBOR_REQUIRED(raw_gap, "what", TEXT, view.what),
    ATLAS_CBOR_REQUIRED(raw_gap, "reason", TEXT, view.reason),
    ATLAS_CBOR_OPTIONAL(raw_gap, "input", BOOL, input),
};

int atlas_ml_gap_take(struct atlas_cbor *c, struct atlas_ml_gap *ret_gap)
{
    struct raw_gap raw = {0};
    int rc = atlas_cbor_read_map(c, gap_fields, ATLAS_COUNT(gap_fields), &raw);
    if (rc == ATLAS_OK) {
        raw.view.input = raw.input.v != 0;
        *ret_gap = raw.view;
    }
    return rc;
}

int atlas_ml_coverage_read(const struct atlas_c2pa_assertion *assertion, struct atlas_ml_coverage *ret_coverage,
                           struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct raw_coverage raw = {0};
    struct atlas_ml_coverage coverage = {0};
    ATLAS_TRY(
        read_all(assertion, COVERAGE, coverage_fields, ATLAS_COUNT(coverage_fields), &raw, &raw.head.version, error));
    ATLAS_TRY(open_list(&c, raw.head.list, COVERAGE ".gaps", error));
    while (atlas_cbor_more(&c)) {
        struct atlas_ml_gap gap = {0};
        ATLAS_TRY(atlas_ml_gap_take(&c, &gap));
        coverage.input_gaps += gap.input;
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    coverage.seen = raw.seen.v;
    coverage.gaps = raw.head.list;
    *ret_coverage = coverage;
out:
    return rc;
}
