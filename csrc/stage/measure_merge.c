#include <stdlib.h>

#include "base/path.h"
#include "base/utf8.h"
#include "format/index.h"
#include "format/part.h"
#include "stage/measure_scan.h"

static const char where[] = "part";

/* ------------------------------------------------------------------------------------------------- merge */

static int compare_parts(const void *a, const void *b)
{
    const struct atlas_part *x = a;
    const struct atlas_part *y = b;
    if (x->first != y->first) {
        return x->first < y->first ? -1 : 1;
    }
    return (x->end > y->end) - (x->end < y->end);
}

/* Sorted parts: each must begin where the one before ended. */
static int check_parts(const struct atlas_part *parts, size_t n, struct atlas_error *error)
{
    for (size_t i = 1; i < n; i++) {
        const struct atlas_part *a = &parts[i - 1];
        const struct atlas_part *b = &parts[i];
        if (!atlas_part_same_whole(a, b)) {
            return atlas_error_set(error, ATLAS_E_PART, where,
                                   "parts of different files, of different versions, or with other options");
        }
        if (a->end != b->first) {
            return atlas_error_set(error, ATLAS_E_PART, where, "%s between blocks %llu and %llu",
                                   a->end < b->first ? "nobody measured what lies" : "two parts overlap",
                                   (unsigned long long)(a->end < b->first ? a->end : b->first),
                                   (unsigned long long)(a->end > b->first ? a->end : b->first));
        }
    }
    return ATLAS_OK;
}

/* All nodes of all parts, joined where they can be. */
static int join_nodes(struct atlas_part *parts, size_t n, struct atlas_merkle_range *range, struct atlas_error *error)
{
    struct atlas_digest hash;
    int rc = ATLAS_OK;
    atlas_merkle_range_init(range, parts[0].alg, parts[0].first);
    for (size_t i = 0; i < n; i++) {
        uint64_t at = parts[i].first;
        while (atlas_part_next_node(&parts[i], &hash)) {
            unsigned level = atlas_merkle_range_level(at, parts[i].end);
            ATLAS_TRY(atlas_merkle_range_append_node(range, level, atlas_digest_span(&hash), error));
            at += UINT64_C(1) << level;
        }
    }
out:
    return rc;
}

static int write_merged(struct atlas_part *parts, size_t n, struct atlas_buf *record, struct atlas_error *error)
{
    struct atlas_merkle_range range;
    struct atlas_part whole = parts[0];
    struct atlas_part again;
    int rc;
    whole.end = parts[n - 1].end;
    atlas_part_write_header(&whole, record);
    if (whole.kind == ATLAS_PART_FILE) {
        ATLAS_TRY(join_nodes(parts, n, &range, error));
        for (size_t i = 0; i < range.n_nodes; i++) {
            atlas_part_write_node(atlas_span_of(range.nodes[i].hash, atlas_alg_size(whole.alg)), record);
        }
    } else {
        atlas_buf_append(record, whole.link_lines);
        for (size_t i = 0; i < n; i++) {
            atlas_buf_append(record, parts[i].lines);
        }
    }
    ATLAS_TRY(atlas_buf_check(record, error));
    ATLAS_TRY(atlas_part_read(atlas_buf_span(record), &again, error)); /* lines in order across parts */
out:
    return rc;
}

int atlas_part_merge(const struct atlas_span *records, size_t n, struct atlas_buf *ret_record,
                     struct atlas_error *error)
{
    struct atlas_buf record = ATLAS_BUF_INIT;
    struct atlas_part *parts = NULL;
    int rc;
    if (n == 0) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no part was given");
    }
    parts = calloc(n, sizeof *parts);
    if (parts == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        ATLAS_TRY(atlas_part_read(records[i], &parts[i], error));
    }
    qsort(parts, n, sizeof *parts, compare_parts);
    ATLAS_TRY(check_parts(parts, n, error));
    ATLAS_TRY(write_merged(parts, n, &record, error));
    atlas_buf_append(ret_record, atlas_buf_span(&record));
    ATLAS_TRY(atlas_buf_check(ret_record, error));
out:
    free(parts);
    atlas_buf_release(&record);
    return rc;
}

/* ------------------------------------------------------------------------------------------- measurement */

static int file_measurement(struct atlas_part *p, struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    struct atlas_measurement m = {.kind = ATLAS_KIND_FILE, .size = p->size, .files = 1};
    struct atlas_merkle_range range;
    int rc;
    ATLAS_TRY(join_nodes(p, 1, &range, error));
    ATLAS_TRY(atlas_merkle_range_root(&range, &m.tree, error));
    *ret_measurement = m;
out:
    return rc;
}

/* What is computed line by line. */
struct lines {
    struct atlas_merkle tree;
    struct atlas_buf flats; /* of all files, for OMS */
    struct atlas_buf path;
    bool all_utf8;
};

static void append_flat(struct lines *l, struct atlas_span hex)
{
    uint8_t *bytes = atlas_buf_extend(&l->flats, hex.n / 2);
    for (size_t i = 0; bytes != NULL && i < hex.n; i++) {
        uint8_t digit = (uint8_t)(hex.p[i] <= '9' ? hex.p[i] - '0' : hex.p[i] - 'a' + 10);
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | digit);
    }
}

static int add_line(struct lines *l, const struct atlas_index_entry *e, struct atlas_measurement *m,
                    struct atlas_error *error)
{
    int rc;
    if (e->size > (uint64_t)INT64_MAX - m->size) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "more bytes than can be counted");
    }
    m->size += e->size;
    m->files++;
    append_flat(l, e->flat);
    atlas_buf_clear(&l->path);
    atlas_path_decode(e->path, &l->path);
    l->all_utf8 = l->all_utf8 && atlas_utf8_check(atlas_buf_span(&l->path));
    ATLAS_TRY(atlas_merkle_append(&l->tree, e->line, error));
    ATLAS_TRY(atlas_buf_check(&l->flats, error));
    ATLAS_TRY(atlas_buf_check(&l->path, error));
out:
    return rc;
}

static int directory_measurement(const struct atlas_part *p, struct atlas_buf *index,
                                 struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    struct atlas_measurement m = {.kind = ATLAS_KIND_DIRECTORY};
    struct lines l = {.flats = ATLAS_BUF_INIT, .path = ATLAS_BUF_INIT, .all_utf8 = true};
    struct atlas_index x;
    struct atlas_index_entry e;
    int rc;
    ATLAS_TRY(atlas_merkle_init(&l.tree, p->alg, error));
    atlas_index_write_header(p->alg, index);
    atlas_buf_append(index, p->lines);
    ATLAS_TRY(atlas_buf_check(index, error));
    ATLAS_TRY(atlas_index_open(&x, atlas_buf_span(index), error));
    while ((rc = atlas_index_next(&x, &e, error)) == 1) {
        ATLAS_TRY(add_line(&l, &e, &m, error));
    }
    ATLAS_TRY(rc);
    ATLAS_TRY(atlas_crypto_digest(p->alg, atlas_buf_span(index), &m.flat, error));
    ATLAS_TRY(atlas_merkle_root(&l.tree, &m.tree, error));
    if (l.all_utf8) { /* OMS refuses other names */
        ATLAS_TRY(atlas_oms_root(p->alg, atlas_buf_span(&l.flats), &m.oms, error));
    }
    *ret_measurement = m;
out:
    atlas_merkle_release(&l.tree);
    atlas_buf_release(&l.flats);
    atlas_buf_release(&l.path);
    return rc;
}

static void write_links(struct atlas_part *p, struct atlas_buf *links)
{
    struct atlas_span path;
    struct atlas_span target;
    while (atlas_part_next_link(p, &path, &target)) {
        atlas_buf_append(links, path);
        atlas_buf_append_u8(links, 0);
        atlas_buf_append(links, target);
        atlas_buf_append_u8(links, 0);
    }
}

int atlas_part_measurement(struct atlas_span record, struct atlas_buf *ret_index, struct atlas_buf *ret_links,
                           struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    struct atlas_part p = {0};
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_measurement m = {0};
    int rc;
    ATLAS_TRY(atlas_part_read(record, &p, error));
    if (p.first != 0 || p.end != p.total) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_PART, where, "only blocks %llu to %llu of %llu were measured",
                                  (unsigned long long)p.first, (unsigned long long)p.end,
                                  (unsigned long long)p.total));
    }
    if (p.kind == ATLAS_PART_FILE) {
        ATLAS_TRY(file_measurement(&p, &m, error));
    } else {
        ATLAS_TRY(directory_measurement(&p, &index, &m, error));
    }
    atlas_buf_append(ret_index, atlas_buf_span(&index));
    write_links(&p, ret_links);
    ATLAS_TRY(atlas_buf_check(ret_index, error));
    ATLAS_TRY(atlas_buf_check(ret_links, error));
    *ret_measurement = m;
out:
    atlas_buf_release(&index);
    return rc;
}
