/* lanes.c - the scheduler: messages of any length over the lanes of a kernel. */
#include "port/simd/kernel.h"

int atlas_kernel_family(int alg)
{
    return alg == ATLAS_SHA256 ? ATLAS_FAMILY_256 : ATLAS_FAMILY_512;
}

static size_t block_of(const struct atlas_stream *s)
{
    return s->alg == ATLAS_SHA256 ? 64 : 128;
}

/* ------------------------------------------------------------------------------------------------ streams */

/* FIPS 180-4, 5.3.3 to 5.3.5. */
static const uint32_t first_256[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};
static const uint64_t first_384[8] = {
    0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
    0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};
static const uint64_t first_512[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static void begin(struct atlas_stream *s)
{
    s->size = 0;
    if (s->alg == ATLAS_SHA256) {
        memcpy(s->state.narrow, first_256, sizeof first_256);
    } else {
        memcpy(s->state.broad, s->alg == ATLAS_SHA384 ? first_384 : first_512, sizeof first_512);
    }
}

void atlas_stream_init_with(struct atlas_stream *s, int alg, struct atlas_kernel_use use, bool alone)
{
    *s = ATLAS_STREAM_INIT;
    s->alg = alg;
    s->use = use;
    if (alone && use.kernel != NULL && !use.kernel->is_quick_one) {
        s->use.kernel = NULL;
    }
    begin(s);
}

int atlas_stream_init(struct atlas_stream *s, int alg, bool alone, struct atlas_error *error)
{
    struct atlas_kernel_choice choice;
    int rc;
    *s = ATLAS_STREAM_INIT;
    if (atlas_alg_size(alg) == 0) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, "digest", "unknown hash algorithm %d", alg);
    }
    ATLAS_TRY(atlas_kernel_chosen(&choice, error));
    atlas_stream_init_with(s, alg, choice.use[atlas_kernel_family(alg)], alone);
out:
    return rc;
}

void atlas_stream_release(struct atlas_stream *s)
{
    atlas_hasher_release(&s->hasher);
}

static void write_digest(struct atlas_stream *s, struct atlas_digest *ret_digest)
{
    struct atlas_digest digest = {.alg = (uint8_t)s->alg, .n = (uint8_t)atlas_alg_size(s->alg)};
    size_t word = s->alg == ATLAS_SHA256 ? 4 : 8;
    for (size_t i = 0; i < digest.n; i++) {
        uint64_t value = s->alg == ATLAS_SHA256 ? s->state.narrow[i / word] : s->state.broad[i / word];
        digest.b[i] = (uint8_t)(value >> 8 * (word - 1 - i % word));
    }
    begin(s);
    *ret_digest = digest;
}

/* ------------------------------------------------------------------------------------------------ OpenSSL */

static int feed_openssl(const struct atlas_feed *f, struct atlas_error *error)
{
    struct atlas_stream *s = f->stream;
    int rc;
    if (s->hasher.context == NULL) {
        ATLAS_TRY(atlas_hasher_init(&s->hasher, s->alg, error));
    }
    ATLAS_TRY(atlas_hasher_update(&s->hasher, f->bytes, error));
    s->size += f->bytes.n;
    if (f->ret_digest != NULL) {
        ATLAS_TRY(atlas_hasher_final(&s->hasher, f->ret_digest, error));
        s->size = 0;
    }
out:
    return rc;
}

/* Is OpenSSL quicker, and nothing of the message here yet or later? */
static bool is_for_openssl(const struct atlas_feed *f, size_t n)
{
    const struct atlas_kernel *kernel = f->stream->use.kernel;
    return kernel == NULL ||
           (n < f->stream->use.wide_from && !kernel->is_quick_one && f->stream->size == 0 && f->ret_digest != NULL);
}

/* -------------------------------------------------------------------------------------------------- lanes */

/* A feed as runs of whole blocks: the one that completes what the stream kept, those of the bytes, and the end with its
 * padding. */
struct run {
    const uint8_t *p;
    size_t blocks;
};

struct lane {
    const struct atlas_feed *feed;
    struct run runs[3];
    unsigned at;
    unsigned n;
    uint8_t head[ATLAS_KERNEL_BLOCK];
    uint8_t end[2 * ATLAS_KERNEL_BLOCK];
};

static void add_run(struct lane *l, const uint8_t *p, size_t blocks)
{
    if (blocks != 0) {
        l->runs[l->n++] = (struct run){p, blocks};
    }
}

/* FIPS 180-4, 5.1: a one bit, zeroes, and the number of bits in the last eighth of a block. */
static void add_end(struct lane *l, const struct atlas_stream *s, size_t fill)
{
    size_t block = block_of(s);
    size_t blocks = fill + 1 + block / 8 <= block ? 1 : 2;
    memcpy(l->end, s->tail, fill);
    l->end[fill] = 0x80;
    memset(l->end + fill + 1, 0, blocks * block - fill - 1);
    for (unsigned i = 0; i < 8; i++) {
        l->end[blocks * block - 1 - i] = (uint8_t)(s->size << 3 >> 8 * i);
    }
    if (block == 128) {
        l->end[blocks * block - 9] = (uint8_t)(s->size >> 61);
    }
    add_run(l, l->end, blocks);
}

static void lane_begin(struct lane *l, const struct atlas_feed *feed)
{
    struct atlas_stream *s = feed->stream;
    struct atlas_span bytes = feed->bytes;
    struct atlas_span part;
    size_t block = block_of(s);
    size_t fill = (size_t)(s->size % block);
    l->feed = feed;
    l->at = 0;
    l->n = 0;
    s->size += bytes.n;
    if (fill != 0) {
        (void)atlas_span_take(&bytes, bytes.n < block - fill ? bytes.n : block - fill, &part);
        memcpy(s->tail + fill, part.n != 0 ? part.p : s->tail, part.n);
        fill += part.n;
        if (fill == block) {
            memcpy(l->head, s->tail, block);
            add_run(l, l->head, 1);
            fill = 0;
        }
    }
    (void)atlas_span_take(&bytes, bytes.n - bytes.n % block, &part);
    add_run(l, part.p, part.n / block);
    if (bytes.n != 0) {
        memcpy(s->tail + fill, bytes.p, bytes.n);
        fill += bytes.n;
    }
    if (feed->ret_digest != NULL) {
        add_end(l, s, fill);
    }
}

static void lane_advance(struct lane *l, size_t block, size_t blocks)
{
    struct run *run = &l->runs[l->at];
    run->p += blocks * block;
    run->blocks -= blocks;
    if (run->blocks == 0) {
        l->at++;
    }
}

static bool lane_is_done(const struct lane *l)
{
    return l->at == l->n;
}

static void lane_end(struct lane *l)
{
    if (l->feed->ret_digest != NULL) {
        write_digest(l->feed->stream, l->feed->ret_digest);
    }
    l->feed = NULL;
}

/* The feeds that are still to be begun. */
struct queue {
    const struct atlas_feed *feeds;
    size_t n;
    size_t together; /* how many feeds there were */
};

/* Begin the next feed that has work for a kernel; false: there is none. */
static bool queue_take(struct queue *q, struct lane *l)
{
    while (q->n > 0) {
        const struct atlas_feed *feed = q->feeds++;
        q->n--;
        if (is_for_openssl(feed, q->together)) { /* it had it */
            continue;
        }
        lane_begin(l, feed);
        if (!lane_is_done(l)) {
            return true;
        }
        lane_end(l);
    }
    return false;
}

/* --------------------------------------------------------------------------------------------------- board */

/* The lanes at work. */
struct board {
    const struct atlas_kernel *kernel;
    size_t block;
    struct queue queue;
    struct lane lanes[ATLAS_KERNEL_LANES];
    struct lane *active[ATLAS_KERNEL_LANES];
    unsigned n;
    union { /* of the wide function; what a lane that is not active holds means nothing */
        uint32_t narrow[8][16];
        uint64_t broad[8][8];
    } states;
};

static void board_fill(struct board *b, unsigned lanes)
{
    for (b->n = 0; b->n < lanes && queue_take(&b->queue, &b->lanes[b->n]); b->n++) {
        b->active[b->n] = &b->lanes[b->n];
    }
}

static const struct run *run_of(const struct lane *l)
{
    return &l->runs[l->at];
}

static size_t shortest_run(const struct board *b, unsigned n)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): board_fill has set the first b->n of them */
    size_t blocks = run_of(b->active[0])->blocks;
    for (unsigned i = 1; i < n; i++) {
        size_t other = run_of(b->active[i])->blocks;
        blocks = other < blocks ? other : blocks;
    }
    return blocks;
}

/* The first n lanes did so many blocks: end what is done, and begin what waits. Backwards, because the last lane takes
 * the place of one that is left idle. */
static void board_settle(struct board *b, unsigned n, size_t blocks, void (*before_end)(struct board *, struct lane *),
                         void (*after_begin)(struct board *, struct lane *))
{
    for (unsigned i = n; i-- > 0;) {
        struct lane *lane = b->active[i];
        lane_advance(lane, b->block, blocks);
        if (!lane_is_done(lane)) {
            continue;
        }
        if (before_end != NULL) {
            before_end(b, lane);
        }
        lane_end(lane);
        if (!queue_take(&b->queue, lane)) {
            b->active[i] = b->active[--b->n];
        } else if (after_begin != NULL) {
            after_begin(b, lane);
        }
    }
}

static void run_narrow(struct board *b)
{
    while (b->n > 0) {
        unsigned n = b->kernel->two != NULL && b->n > 1 ? 2 : 1;
        size_t blocks = shortest_run(b, n);
        const uint8_t *const p[2] = {run_of(b->active[0])->p, run_of(b->active[n - 1])->p};
        void *const states[2] = {&b->active[0]->feed->stream->state, &b->active[n - 1]->feed->stream->state};
        if (n == 2) {
            b->kernel->two(states, p, blocks);
        } else {
            b->kernel->one(states[0], p[0], blocks);
        }
        board_settle(b, n, blocks, NULL, NULL);
    }
}

static void put_state(struct board *b, struct lane *lane)
{
    const struct atlas_stream *s = lane->feed->stream;
    size_t l = (size_t)(lane - b->lanes);
    for (unsigned w = 0; w < 8; w++) {
        if (b->block == 64) {
            b->states.narrow[w][l] = s->state.narrow[w];
        } else {
            b->states.broad[w][l] = s->state.broad[w];
        }
    }
}

static void take_state(struct board *b, struct lane *lane)
{
    struct atlas_stream *s = lane->feed->stream;
    size_t l = (size_t)(lane - b->lanes);
    for (unsigned w = 0; w < 8; w++) {
        if (b->block == 64) {
            s->state.narrow[w] = b->states.narrow[w][l];
        } else {
            s->state.broad[w] = b->states.broad[w][l];
        }
    }
}

static void run_wide(struct board *b, unsigned from)
{
    const uint8_t *p[ATLAS_KERNEL_LANES];
    for (unsigned i = 0; i < b->n; i++) {
        put_state(b, b->active[i]);
    }
    while (b->n >= from) {
        size_t blocks = shortest_run(b, b->n);
        for (unsigned i = 0; i < b->kernel->width; i++) {
            p[i] = run_of(b->active[0])->p; /* an idle lane needs something that it can read */
        }
        for (unsigned i = 0; i < b->n; i++) {
            p[b->active[i] - b->lanes] = run_of(b->active[i])->p;
        }
        b->kernel->wide(&b->states, p, blocks);
        board_settle(b, b->n, blocks, take_state, put_state);
    }
    for (unsigned i = 0; i < b->n; i++) {
        take_state(b, b->active[i]);
    }
}

static void run_kernel(struct atlas_kernel_use use, size_t block, const struct atlas_feed *feeds, size_t n)
{
    struct board b; /* set where it is used: it is large, and messages may be small */
    bool is_wide = use.kernel->wide != NULL && n >= use.wide_from;
    b.kernel = use.kernel;
    b.block = block;
    b.queue = (struct queue){feeds, n, n};
    board_fill(&b, is_wide ? use.kernel->width : 2);
    if (is_wide && b.n >= use.wide_from) {
        memset(&b.states, 0, sizeof b.states);
        run_wide(&b, use.wide_from);
    }
    run_narrow(&b);
}

int atlas_streams_feed(const struct atlas_feed *feeds, size_t n, struct atlas_error *error)
{
    const struct atlas_feed *first = NULL; /* that a kernel does */
    int rc = ATLAS_OK;
    for (size_t i = 0; i < n; i++) {
        if (is_for_openssl(&feeds[i], n)) {
            ATLAS_TRY(feed_openssl(&feeds[i], error));
        } else if (first == NULL) {
            first = &feeds[i];
        }
    }
    if (first != NULL) {
        run_kernel(first->stream->use, block_of(first->stream), feeds, n);
    }
out:
    return rc;
}
