#include "format/index.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/path.h"

#define HEADER ATLAS_LIT("atlas-index 1 ")

static const char where[] = "index";

/* ------------------------------------------------------------------------------------------------- write */

void atlas_index_write_header(int alg, struct atlas_buf *ret_index)
{
    atlas_buf_append(ret_index, HEADER);
    atlas_buf_append(ret_index, atlas_span_str(atlas_alg_name(alg)));
    atlas_buf_append_u8(ret_index, '\n');
}

static void write_hex(struct atlas_span digest, struct atlas_buf *ret_index)
{
    char hex[2 * ATLAS_DIGEST_MAX + 1];
    if (digest.n > ATLAS_DIGEST_MAX) {
        ret_index->failed = true; /* never happens: digests come from the hasher */
        return;
    }
    atlas_hex(digest, hex);
    atlas_buf_append(ret_index, atlas_span_str(hex));
    atlas_buf_append_u8(ret_index, ' ');
}

void atlas_index_write_line(struct atlas_span flat, struct atlas_span tree, uint64_t size, struct atlas_span path,
                            struct atlas_buf *ret_index)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64 " ", size);
    write_hex(flat, ret_index);
    write_hex(tree, ret_index);
    atlas_buf_append(ret_index, atlas_span_str(number));
    atlas_path_encode(path, ret_index);
    atlas_buf_append_u8(ret_index, '\n');
}

/* -------------------------------------------------------------------------------------------------- read */

/* Cut off the bytes before the next `end` and the `end` itself. */
static bool take_until(struct atlas_span *rest, uint8_t end, struct atlas_span *ret_text)
{
    const uint8_t *p = rest->n != 0 ? memchr(rest->p, end, rest->n) : NULL;
    struct atlas_span ignored;
    return p != NULL && atlas_span_take(rest, atlas_span_offset(*rest, atlas_span_of(p, 1)), ret_text) &&
           atlas_span_take(rest, 1, &ignored);
}

static int malformed(const struct atlas_index *x, struct atlas_span at, struct atlas_error *error, const char *text)
{
    return atlas_error_at(error, ATLAS_E_INDEX, atlas_span_offset(x->whole, at), where, "line %" PRIu64 ": %s",
                          x->n + 2, text);
}

int atlas_index_open(struct atlas_index *x, struct atlas_span text, struct atlas_error *error)
{
    struct atlas_index index = {.whole = text, .rest = text};
    struct atlas_span line;
    if (!take_until(&index.rest, '\n', &line) || !atlas_span_starts_with(line, HEADER)) {
        return atlas_error_at(error, ATLAS_E_INDEX, 0, where, "does not begin with \"atlas-index 1 \"");
    }
    index.alg = (int)atlas_alg_of(atlas_span_sub(line, HEADER.n, line.n - HEADER.n));
    if (index.alg == ATLAS_ALG_NONE) {
        return atlas_error_at(error, ATLAS_E_INDEX, HEADER.n, where, "names no known hash algorithm");
    }
    *x = index;
    return ATLAS_OK;
}

static bool is_hex(struct atlas_span s, size_t digest_size)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return false;
        }
    }
    return s.n == 2 * digest_size;
}

/* Decimal, without leading zeroes, no larger than a file can be. */
static bool parse_size(struct atlas_span s, uint64_t *ret_size)
{
    uint64_t size = 0;
    if (s.n == 0 || s.n > 19 || (s.p[0] == '0' && s.n > 1)) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        size = size * 10 + (uint64_t)(s.p[i] - '0'); /* 19 digits fit 64 bits */
    }
    *ret_size = size;
    return size <= INT64_MAX;
}

int atlas_index_next(struct atlas_index *x, struct atlas_index_entry *ret_entry, struct atlas_error *error)
{
    struct atlas_index_entry e;
    struct atlas_span size;
    if (x->rest.n == 0) {
        return 0;
    }
    if (!take_until(&x->rest, '\n', &e.line)) {
        return malformed(x, x->rest, error, "the last line is not ended");
    }
    struct atlas_span rest = e.line;
    size_t digest_size = atlas_alg_size(x->alg);
    if (!take_until(&rest, ' ', &e.flat) || !is_hex(e.flat, digest_size)) {
        return malformed(x, e.line, error, "no flat digest in lower-case hexadecimal");
    }
    if (!take_until(&rest, ' ', &e.tree) || !is_hex(e.tree, digest_size)) {
        return malformed(x, e.line, error, "no tree digest in lower-case hexadecimal");
    }
    if (!take_until(&rest, ' ', &size) || !parse_size(size, &e.size)) {
        return malformed(x, e.line, error, "no size");
    }
    e.path = rest;
    if (!atlas_path_check(e.path)) {
        return malformed(x, e.path, error, "not a relative path in its encoded form");
    }
    if (x->n != 0 && atlas_path_compare(x->previous, e.path) >= 0) {
        return malformed(x, e.path, error, "not after the path before it");
    }
    x->previous = e.path;
    x->n++;
    *ret_entry = e;
    return 1;
}

/* ------------------------------------------------------------------------------------------ differences */

static int advance(struct atlas_index_diff *d, int side, struct atlas_error *error)
{
    int rc = atlas_index_next(&d->index[side], &d->entry[side], error);
    d->at_end[side] = rc != 1;
    return rc;
}

int atlas_index_diff_open(struct atlas_index_diff *d, struct atlas_span before, struct atlas_span after,
                          struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_index_open(&d->index[0], before, error));
    ATLAS_TRY(atlas_index_open(&d->index[1], after, error));
    if (d->index[0].alg != d->index[1].alg) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "indexes of different algorithms cannot be compared");
    }
    ATLAS_TRY(advance(d, 0, error));
    ATLAS_TRY(advance(d, 1, error));
    rc = ATLAS_OK;
out:
    return rc;
}

/* Which side's entry comes first; 0: the same path. */
static int order(const struct atlas_index_diff *d)
{
    if (d->at_end[0] || d->at_end[1]) {
        return (int)d->at_end[0] - (int)d->at_end[1];
    }
    return atlas_path_compare(d->entry[0].path, d->entry[1].path);
}

int atlas_index_diff_next(struct atlas_index_diff *d, enum atlas_index_change *ret_change, struct atlas_span *ret_path,
                          struct atlas_error *error)
{
    enum atlas_index_change change = ATLAS_INDEX_SAME;
    struct atlas_span path = ATLAS_SPAN_NONE;
    int rc = ATLAS_OK;
    while (change == ATLAS_INDEX_SAME && !(d->at_end[0] && d->at_end[1])) {
        int which = order(d);
        path = d->entry[which > 0 ? 1 : 0].path;
        if (which < 0) {
            change = ATLAS_INDEX_REMOVED;
        } else if (which > 0) {
            change = ATLAS_INDEX_ADDED;
        } else if (!atlas_span_equal(d->entry[0].line, d->entry[1].line)) {
            change = ATLAS_INDEX_CHANGED;
        }
        if (which <= 0) {
            ATLAS_TRY(advance(d, 0, error));
        }
        if (which >= 0) {
            ATLAS_TRY(advance(d, 1, error));
        }
    }
    *ret_change = change;
    *ret_path = path;
    rc = ATLAS_OK;
out:
    return rc;
}
