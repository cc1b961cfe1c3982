#include "stage/tensor.h"

#include <stdlib.h>

#include "port/chunks.h"
#include "port/file.h"

#define PIECE_BYTES ((size_t)64 << 10) /* those of all lanes fit the second-level cache */
#define WHERE "tensor"

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

/* ------------------------------------------------------------------------------------------------- reading */

/* A tensor on its way through a lane: its elements in row-major order, little-endian, piece by piece. */
struct reader {
    const struct atlas_tensor *tensor;
    const struct atlas_tensor_file *file;
    struct layout layout;
    uint64_t left;   /* bytes to come */
    uint64_t at;     /* contiguous: bytes so far */
    uint8_t *extent; /* of a strided tensor of a file: held, because its elements come in any order. Owned */
    const uint8_t *first; /* strided: the first element */
    uint64_t index[ATLAS_MAX_TENSOR_DIMS];
    uint64_t element; /* strided: where the run begins, in elements */
    uint64_t in_run;  /* bytes of it so far */
};

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

static bool is_held(const struct atlas_tensor *t, const struct layout *l)
{
    return t->memory.p == NULL && l->above != 0 && l->count != 0;
}

/* Elements in any order: the file's extent is read first. */
static int hold_extent(struct reader *r, struct atlas_error *error)
{
    int rc;
    if (r->layout.extent > ATLAS_MAX_STRIDED_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, r->file->where, "a strided tensor that is too large to be held");
    }
    r->extent = malloc((size_t)r->layout.extent);
    if (r->extent == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(read_all(r->file, r->tensor->offset, r->extent, (size_t)r->layout.extent, error));
    r->first = r->extent;
out:
    return rc;
}

static int reader_begin(struct reader *r, const struct atlas_tensor *t, const struct atlas_tensor_file *file,
                        const struct layout *layout, struct atlas_error *error)
{
    *r = (struct reader){.tensor = t, .file = file, .layout = *layout, .left = layout->count * t->element};
    if (is_held(t, layout)) {
        return hold_extent(r, error);
    }
    if (t->memory.p != NULL && layout->count != 0) {
        r->first = t->memory.p + t->offset;
    }
    return ATLAS_OK;
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

/* One run after the other into the piece. */
static void gather(struct reader *r, uint8_t *piece, size_t n)
{
    const struct atlas_tensor *t = r->tensor;
    uint64_t run = r->layout.run * t->element;
    size_t fill = 0;
    while (fill < n) {
        size_t part = run - r->in_run < n - fill ? (size_t)(run - r->in_run) : n - fill;
        memcpy(piece + fill, r->first + r->element * t->element + r->in_run, part);
        fill += part;
        r->in_run += part;
        if (r->in_run == run) {
            r->in_run = 0;
            (void)advance(t, r->layout.above, r->index, &r->element);
        }
    }
}

/* The next bytes: in memory where they are as they should be, else in the piece. */
static int reader_next(struct reader *r, uint8_t *piece, struct atlas_span *ret_bytes, struct atlas_error *error)
{
    const struct atlas_tensor *t = r->tensor;
    size_t n = r->left < PIECE_BYTES ? (size_t)r->left : PIECE_BYTES;
    bool is_plain = r->layout.above == 0;
    int rc = ATLAS_OK;
    *ret_bytes = atlas_span_of(piece, n);
    if (n == 0) {
        return ATLAS_OK;
    }
    if (!is_plain) {
        gather(r, piece, n);
    } else if (t->memory.p == NULL) {
        ATLAS_TRY(read_all(r->file, t->offset + r->at, piece, n, error));
    } else if (t->turned == 1) {
        ret_bytes->p = r->first + r->at;
    } else {
        memcpy(piece, r->first + r->at, n);
    }
    if (t->turned > 1) {
        turn(piece, n, t->turned);
    }
    r->at += n;
    r->left -= n;
out:
    return rc;
}

/* --------------------------------------------------------------------------------------------------- lanes */

/* What every thread has of its own. */
struct hand {
    struct atlas_stream streams[ATLAS_LANES_MAX];
    struct reader readers[ATLAS_LANES_MAX];
    struct atlas_digest digests[ATLAS_LANES_MAX];
    uint8_t *pieces;
};

struct place {
    uint64_t bytes;
    size_t tensor;
    bool is_held;
};

struct work {
    const struct atlas_tensor *tensors;
    const struct atlas_tensor_file *file;
    struct layout *layouts;
    struct place *places; /* tensors in the order of work: the held ones, then the largest first */
    size_t n;
    size_t n_held;
    unsigned lanes; /* tensors that a thread takes at a time */
    uint8_t *digests;
    struct hand *hands[ATLAS_MAX_THREADS];
};

static int hand_ready(struct work *w, unsigned worker, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    if (w->hands[worker] != NULL) {
        return ATLAS_OK;
    }
    struct hand *h = w->hands[worker] = calloc(1, sizeof *h);
    if (h == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    h->pieces = atlas_chunks_buffer(w->lanes * PIECE_BYTES);
    if (h->pieces == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (unsigned i = 0; i < w->lanes; i++) {
        ATLAS_TRY(atlas_stream_init(&h->streams[i], ATLAS_SHA256, w->lanes <= ATLAS_LANES_FEW, error));
    }
out:
    return rc;
}

static void hand_free(struct hand *h)
{
    for (unsigned i = 0; h != NULL && i < ATLAS_LANES_MAX; i++) {
        atlas_stream_release(&h->streams[i]);
    }
    if (h != NULL) {
        atlas_chunks_buffer_free(h->pieces);
    }
    free(h);
}

/* A piece of every tensor that has more to come; those that have not are at their end. */
static int feed_pieces(struct hand *h, bool *running, unsigned n, unsigned *ret_fed, struct atlas_error *error)
{
    struct atlas_feed feeds[ATLAS_LANES_MAX];
    unsigned fed = 0;
    int rc = ATLAS_OK;
    for (unsigned i = 0; i < n; i++) {
        if (!running[i]) {
            continue;
        }
        feeds[fed] = (struct atlas_feed){.stream = &h->streams[i]};
        ATLAS_TRY(reader_next(&h->readers[i], h->pieces + i * PIECE_BYTES, &feeds[fed].bytes, error));
        running[i] = h->readers[i].left != 0;
        feeds[fed].ret_digest = running[i] ? NULL : &h->digests[i];
        fed++;
    }
    ATLAS_TRY(atlas_streams_feed(feeds, fed, error));
    *ret_fed = fed;
out:
    return rc;
}

/* Tensors of about the same size, side by side. */
static int hash_together(struct work *w, struct hand *h, const struct place *places, unsigned n,
                         struct atlas_error *error)
{
    bool running[ATLAS_LANES_MAX];
    unsigned begun = 0;
    unsigned fed = 1;
    int rc = ATLAS_OK;
    for (; begun < n; begun++) {
        size_t i = places[begun].tensor;
        running[begun] = true;
        rc = reader_begin(&h->readers[begun], &w->tensors[i], w->file, &w->layouts[i], error);
        if (rc < 0) {
            begun++;
            goto out;
        }
    }
    while (fed != 0) {
        ATLAS_TRY(feed_pieces(h, running, n, &fed, error));
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(w->digests + places[i].tensor * h->digests[i].n, h->digests[i].b, h->digests[i].n);
    }
out:
    for (unsigned i = 0; i < begun; i++) {
        free(h->readers[i].extent);
    }
    return rc;
}

/* Held tensors one at a time, because of the memory; the others in lanes. */
static int one(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct work *w = context;
    size_t first = i < w->n_held ? (size_t)i : w->n_held + ((size_t)i - w->n_held) * w->lanes;
    size_t left = w->n - first;
    unsigned n = i < w->n_held ? 1 : left < w->lanes ? (unsigned)left : w->lanes;
    int rc;
    ATLAS_TRY(hand_ready(w, worker, error));
    ATLAS_TRY(hash_together(w, w->hands[worker], w->places + first, n, error));
out:
    return rc;
}

/* -------------------------------------------------------------------------------------------------- order */

static int compare_places(const void *a, const void *b)
{
    const struct place *p = a;
    const struct place *q = b;
    if (p->is_held != q->is_held) {
        return p->is_held ? -1 : 1;
    }
    if (p->bytes != q->bytes) {
        return p->bytes > q->bytes ? -1 : 1;
    }
    return p->tensor < q->tensor ? -1 : p->tensor > q->tensor;
}

static int plan(struct work *w, unsigned threads, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_lanes_width(ATLAS_SHA256, &w->lanes, error));
    for (size_t i = 0; i < w->n; i++) {
        const struct atlas_tensor *t = &w->tensors[i];
        uint64_t room = t->memory.p != NULL ? t->memory.n : w->file->size;
        ATLAS_TRY(lay_out(t, room, &w->layouts[i], error));
        bool held = is_held(t, &w->layouts[i]);
        w->places[i] = (struct place){w->layouts[i].count * t->element, i, held};
        w->n_held += held;
    }
    qsort(w->places, w->n, sizeof *w->places, compare_places);
    /* Few tensors: rather all threads than all lanes. */
    size_t share = w->n / ((size_t)4 * threads);
    w->lanes = share < w->lanes ? (share != 0 ? (unsigned)share : 1) : w->lanes;
out:
    return rc;
}

static void work_free(struct work *w)
{
    for (size_t i = 0; w != NULL && i < ATLAS_MAX_THREADS; i++) {
        hand_free(w->hands[i]);
    }
    if (w != NULL) {
        free(w->layouts);
        free(w->places);
    }
    free(w);
}

int atlas_tensor_digests(const struct atlas_tensor *tensors, size_t n, const struct atlas_tensor_file *file,
                         unsigned threads, struct atlas_buf *ret_digests, struct atlas_error *error)
{
    struct work *w = calloc(1, sizeof *w);
    struct atlas_buf digests = ATLAS_BUF_INIT;
    int rc = ATLAS_OK;
    threads = atlas_pool_threads(threads);
    if (w != NULL) {
        w->tensors = tensors;
        w->file = file;
        w->n = n;
        w->layouts = calloc(n + 1, sizeof *w->layouts);
        w->places = calloc(n + 1, sizeof *w->places);
        w->digests = n <= SIZE_MAX / 32 ? atlas_buf_extend(&digests, n * 32) : NULL;
    }
    if (w == NULL || w->layouts == NULL || w->places == NULL || (w->digests == NULL && n != 0)) {
        rc = atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        goto out;
    }
    ATLAS_TRY(plan(w, threads, error));
    uint64_t items = w->n_held + (n - w->n_held + w->lanes - 1) / w->lanes;
    ATLAS_TRY(atlas_pool_for(threads, items, one, w, error));
    atlas_buf_append(ret_digests, atlas_buf_span(&digests));
    ATLAS_TRY(atlas_buf_check(ret_digests, error));
out:
    atlas_buf_release(&digests);
    work_free(w);
    return rc;
}
