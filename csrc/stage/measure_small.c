/* measure_small.c - files of at most a chunk, many at a time: their bytes side by side in the lanes of a core, and then
 * the leaves of their trees. */
#include <stdlib.h>

#include "stage/measure_scan.h"

struct atlas_small {
    int alg;
    struct atlas_stream streams[ATLAS_SMALL_MAX];
    struct atlas_feed feeds[ATLAS_SMALL_MAX];
    uint8_t leaves[ATLAS_SMALL_MAX][1 + ATLAS_DIGEST_MAX];
};

int atlas_small_new(int alg, struct atlas_small **ret_small, struct atlas_error *error)
{
    struct atlas_small *s = calloc(1, sizeof *s);
    int rc = ATLAS_OK;
    if (s == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    s->alg = alg;
    for (size_t i = 0; i < ATLAS_SMALL_MAX; i++) {
        ATLAS_TRY(atlas_stream_init(&s->streams[i], alg, false, error));
        s->feeds[i].stream = &s->streams[i];
    }
    *ret_small = s;
    s = NULL;
out:
    atlas_small_free(s);
    return rc;
}

void atlas_small_free(struct atlas_small *s)
{
    for (size_t i = 0; s != NULL && i < ATLAS_SMALL_MAX; i++) {
        atlas_stream_release(&s->streams[i]);
    }
    free(s);
}

/* RFC 6962, 2.1: the root over one chunk is the hash of its leaf. The tree over no chunk is the digest of nothing, as
 * the flat digest is. */
static int digest_leaves(struct atlas_small *s, size_t n, struct atlas_measurement *measurements,
                         struct atlas_error *error)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        struct atlas_measurement *m = &measurements[i];
        m->tree = m->flat;
        if (m->size == 0) {
            continue;
        }
        s->leaves[used][0] = 0x00;
        memcpy(s->leaves[used] + 1, m->flat.b, m->flat.n);
        s->feeds[used].bytes = atlas_span_of(s->leaves[used], 1 + (size_t)m->flat.n);
        s->feeds[used].ret_digest = &m->tree;
        used++;
    }
    return atlas_streams_feed(s->feeds, used, error);
}

/* Longest first: then lanes that have no more work are few and soon done. */
static void sort_feeds(struct atlas_feed *feeds, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct atlas_feed feed = feeds[i];
        size_t at = i;
        for (; at > 0 && feeds[at - 1].bytes.n < feed.bytes.n; at--) {
            feeds[at] = feeds[at - 1];
        }
        feeds[at] = feed;
    }
}

int atlas_small_digest(struct atlas_small *s, const struct atlas_span *files, size_t n,
                       struct atlas_measurement *ret_measurements, struct atlas_error *error)
{
    int rc;
    if (n > ATLAS_SMALL_MAX) {
        return atlas_error_set(error, ATLAS_E_ARG, "", "too many files at a time");
    }
    for (size_t i = 0; i < n; i++) {
        ret_measurements[i] = (struct atlas_measurement){.kind = ATLAS_KIND_FILE, .size = files[i].n, .files = 1};
        s->feeds[i].bytes = files[i];
        s->feeds[i].ret_digest = &ret_measurements[i].flat;
    }
    sort_feeds(s->feeds, n);
    ATLAS_TRY(atlas_streams_feed(s->feeds, n, error));
    ATLAS_TRY(digest_leaves(s, n, ret_measurements, error));
out:
    return rc;
}
