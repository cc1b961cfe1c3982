#include "stage/tensor.h"

#include <stdlib.h>

#include "port/crypto/crypto.h"
#include "port/file.h"
#include "port/pool.h"

#define PIECE_BYTES ((size_t)256 << 10) /* fits the second-level cache */
#define WHERE "tensor"

/* What every thread has of its own. */
struct hand {
    struct atlas_hasher hasher;
    uint8_t *piece;
    size_t fill;
};

struct work {
    const struct atlas_tensor *tensors;
    const struct atlas_tensor_file *file;
    uint8_t *digests;
    struct hand hands[ATLAS_MAX_THREADS];
};

/* A tensor as runs of elements that lie one after the other, and the dimensions above them. */
struct layout {
    uint64_t count;  /* elements */
    uint64_t run;    /* elements of a run */
    unsigned above;  /* dimensions that are walked */
    uint64_t extent; /* bytes from the first element to the end of the last one */
};

/* ------------------------------------------------------------------------------------------------- layout */

static bool multiply(uint64_t a, uint64_t b, uint64_t *ret_product)
{
    if (b != 0 && a > UINT64_MAX / b) {
        return false;
    }
    *ret_product = a * b;
    return true;
}

static bool add(uint64_t a, uint64_t b, uint64_t *ret_sum)
{
    if (a > UINT64_MAX - b) {
        return false;
    }
    *ret_sum = a + b;
    return true;
}

static bool count_of(const struct atlas_tensor *t, uint64_t *ret_count)
{
    uint64_t count = 1;
    for (unsigned i = 0; i < t->dims; i++) {
        if (t->shape[i] == 0) {
            *ret_count = 0;
            return true;
        }
    }
    for (unsigned i = 0; i < t->dims; i++) {
        if (!multiply(count, t->shape[i], &count)) {
            return false;
        }
    }
    *ret_count = count;
    uint64_t bytes;
    return multiply(count, t->element, &bytes);
}

static bool extent_of(const struct atlas_tensor *t, uint64_t *ret_extent)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < t->dims; i++) {
        uint64_t step;
        if (!multiply(t->shape[i] - 1, t->stride[i], &step) || !add(last, step, &last)) {
            return false;
        }
    }
    return add(last, 1, &last) && multiply(last, t->element, ret_extent);
}

/* The innermost dimensions that are contiguous make one run. */
static void find_run(const struct atlas_tensor *t, struct layout *l)
{
    l->run = 1;
    l->above = t->dims;
    while (l->above > 0 && (t->shape[l->above - 1] == 1 || t->stride[l->above - 1] == l->run)) {
        l->run *= t->shape[--l->above];
    }
}

static int lay_out(const struct atlas_tensor *t, uint64_t room, struct layout *ret_layout, struct atlas_error *error)
{
    struct layout l = {0};
    bool sane = t->dims <= ATLAS_MAX_TENSOR_DIMS && t->element >= 1 && t->element <= ATLAS_MAX_ELEMENT_BYTES &&
                PIECE_BYTES % t->element == 0 && /* no piece ends within an element */
                t->turned >= 1 && t->element % t->turned == 0;
    if (!sane || !count_of(t, &l.count)) {
        return atlas_error_set(error, ATLAS_E_ARG, WHERE, "dimensions or element size that no tensor has");
    }
    if (l.count != 0) {
        if (!extent_of(t, &l.extent) || t->offset > room || l.extent > room - t->offset) {
            return atlas_error_set(error, ATLAS_E_ARG, WHERE, "elements outside the bytes that hold it");
        }
        find_run(t, &l);
    }
    *ret_layout = l;
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------- hashing */

static void turn(uint8_t *p, size_t n, unsigned width)
{
    for (size_t at = 0; at + width <= n; at += width) {
        for (unsigned i = 0; i < width / 2; i++) {
            uint8_t kept = p[at + i];
            p[at + i] = p[at + width - 1 - i];
            p[at + width - 1 - i] = kept;
        }
    }
}

static int flush(struct hand *h, unsigned turned, struct atlas_error *error)
{
    struct atlas_span piece = atlas_span_of(h->piece, h->fill);
    if (turned > 1) {
        turn(h->piece, h->fill, turned);
    }
    h->fill = 0;
    return atlas_hasher_update(&h->hasher, piece, error);
}

static int hash_memory(struct hand *h, const uint8_t *p, uint64_t n, unsigned turned, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    if (turned == 1) {
        return atlas_hasher_update(&h->hasher, atlas_span_of(p, (size_t)n), error);
    }
    while (n != 0) {
        h->fill = n < PIECE_BYTES ? (size_t)n : PIECE_BYTES;
        memcpy(h->piece, p, h->fill);
        p += h->fill;
        n -= h->fill;
        ATLAS_TRY(flush(h, turned, error));
    }
out:
    return rc;
}

static int read_all(const struct atlas_tensor_file *file, uint64_t offset, uint8_t *bytes, size_t n,
                    struct atlas_error *error)
{
    size_t got = 0;
    int rc;
    ATLAS_TRY(atlas_file_read(file->fd, offset, bytes, n, file->where, &got, error));
    if (got != n) {
        return atlas_error_at(error, ATLAS_E_CHANGED, (size_t)offset, file->where, "became shorter while it was read");
    }
out:
    return rc;
}

static int hash_file(struct hand *h, const struct atlas_tensor_file *file, uint64_t offset, uint64_t n,
                     unsigned turned, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    while (n != 0) {
        h->fill = n < PIECE_BYTES ? (size_t)n : PIECE_BYTES;
        ATLAS_TRY(read_all(file, offset, h->piece, h->fill, error));
        offset += h->fill;
        n -= h->fill;
        ATLAS_TRY(flush(h, turned, error));
    }
out:
    return rc;
}

/* One run after the other through the piece. */
static int gather_run(struct hand *h, const uint8_t *p, uint64_t n, unsigned turned, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    while (n != 0) {
        size_t room = PIECE_BYTES - h->fill;
        size_t part = n < room ? (size_t)n : room;
        memcpy(h->piece + h->fill, p, part);
        h->fill += part;
        p += part;
        n -= part;
        if (h->fill == PIECE_BYTES) {
            ATLAS_TRY(flush(h, turned, error));
        }
    }
out:
    return rc;
}

/* The next combination of indices of the dimensions above the runs; false after the last one. */
static bool advance(const struct atlas_tensor *t, unsigned above, uint64_t *index, uint64_t *at)
{
    for (unsigned i = above; i-- > 0;) {
        *at += t->stride[i];
        if (++index[i] < t->shape[i]) {
            return true;
        }
        *at -= t->stride[i] * t->shape[i];
        index[i] = 0;
    }
    return false;
}

static int hash_strided(struct hand *h, const struct atlas_tensor *t, const struct layout *l, const uint8_t *first,
                        struct atlas_error *error)
{
    uint64_t index[ATLAS_MAX_TENSOR_DIMS] = {0};
    uint64_t at = 0;
    int rc;
    h->fill = 0;
    do {
        ATLAS_TRY(gather_run(h, first + at * t->element, l->run * t->element, t->turned, error));
    } while (advance(t, l->above, index, &at));
    ATLAS_TRY(flush(h, t->turned, error));
out:
    return rc;
}

/* Elements in any order: the file's extent is read first. */
static int hash_strided_file(struct hand *h, const struct atlas_tensor *t, const struct layout *l,
                             const struct atlas_tensor_file *file, struct atlas_error *error)
{
    uint8_t *extent = NULL;
    int rc;
    if (l->extent > ATLAS_MAX_STRIDED_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, file->where, "a strided tensor that is too large to be held");
    }
    extent = malloc((size_t)l->extent);
    if (extent == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(read_all(file, t->offset, extent, (size_t)l->extent, error));
    ATLAS_TRY(hash_strided(h, t, l, extent, error));
out:
    free(extent);
    return rc;
}

static int hash_elements(struct hand *h, const struct atlas_tensor *t, const struct layout *l,
                         const struct atlas_tensor_file *file, struct atlas_error *error)
{
    uint64_t bytes = l->count * t->element;
    if (l->count == 0) {
        return ATLAS_OK;
    }
    if (t->memory.p == NULL) {
        return l->above == 0 ? hash_file(h, file, t->offset, bytes, t->turned, error)
                             : hash_strided_file(h, t, l, file, error);
    }
    const uint8_t *first = t->memory.p + t->offset;
    return l->above == 0 ? hash_memory(h, first, bytes, t->turned, error) : hash_strided(h, t, l, first, error);
}

/* ------------------------------------------------------------------------------------------------- threads */

static int hand_ready(struct hand *h, struct atlas_error *error)
{
    if (h->piece == NULL) {
        h->piece = malloc(PIECE_BYTES);
        return h->piece != NULL ? atlas_hasher_init(&h->hasher, ATLAS_SHA256, error)
                                : atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    return atlas_hasher_reset(&h->hasher, error);
}

static int one(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct work *w = context;
    const struct atlas_tensor *t = &w->tensors[i];
    struct atlas_digest digest;
    struct layout layout;
    int rc;
    uint64_t room = t->memory.p != NULL ? t->memory.n : w->file->size;
    ATLAS_TRY(lay_out(t, room, &layout, error));
    ATLAS_TRY(hand_ready(&w->hands[worker], error));
    ATLAS_TRY(hash_elements(&w->hands[worker], t, &layout, w->file, error));
    ATLAS_TRY(atlas_hasher_final(&w->hands[worker].hasher, &digest, error));
    memcpy(w->digests + i * digest.n, digest.b, digest.n);
out:
    return rc;
}

static void work_free(struct work *w)
{
    for (size_t i = 0; w != NULL && i < ATLAS_MAX_THREADS; i++) {
        atlas_hasher_release(&w->hands[i].hasher);
        free(w->hands[i].piece);
    }
    free(w);
}

int atlas_tensor_digests(const struct atlas_tensor *tensors, size_t n, const struct atlas_tensor_file *file,
                         unsigned threads, struct atlas_buf *ret_digests, struct atlas_error *error)
{
    struct work *w = calloc(1, sizeof *w);
    struct atlas_buf digests = ATLAS_BUF_INIT;
    int rc;
    if (w == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < ATLAS_MAX_THREADS; i++) {
        w->hands[i].hasher = ATLAS_HASHER_INIT;
    }
    w->tensors = tensors;
    w->file = file;
    w->digests = n <= SIZE_MAX / 32 ? atlas_buf_extend(&digests, n * 32) : NULL;
    if (w->digests == NULL && n != 0) {
        rc = atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        goto out;
    }
    ATLAS_TRY(atlas_pool_for(atlas_pool_threads(threads), n, one, w, error));
    atlas_buf_append(ret_digests, atlas_buf_span(&digests));
    ATLAS_TRY(atlas_buf_check(ret_digests, error));
out:
    atlas_buf_release(&digests);
    work_free(w);
    return rc;
}
