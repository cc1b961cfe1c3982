/* fuzz_kernel.c - messages of any lengths, in pieces of any sizes, through every kernel of this processor: the digests
 * are OpenSSL's. The input: algorithm and kernel, from how many lanes on it is wide, how many messages, where they are
 * cut; the rest is what they are made of. */
#include "fuzz.h"
#include "port/simd/kernel.h"

#define MESSAGES 40
#define SHARES 3 /* how many lengths there are beside each other */

struct world {
    int alg;
    struct atlas_kernel_use use;
    size_t n;
    struct atlas_span whole[MESSAGES];
    struct atlas_span rest[MESSAGES];
    struct atlas_stream streams[MESSAGES];
    struct atlas_digest digests[MESSAGES];
    struct atlas_feed feeds[MESSAGES];
};

static struct atlas_kernel_use use_of(int alg, uint8_t kernel, uint8_t from)
{
    int family = atlas_kernel_family(alg);
    const struct atlas_kernel_set *set = atlas_kernel_set();
    size_t i = kernel % (set->n[family] + 1);
    if (i == 0 || (set->kernels[family][i - 1].needs & ~atlas_cpu_features()) != 0) {
        return (struct atlas_kernel_use){NULL, 0};
    }
    return (struct atlas_kernel_use){&set->kernels[family][i - 1], 1 + from % 20u};
}

/* Every round feeds a piece of each message that is not at its end; its size comes from the input. */
static bool feed_round(struct world *w, struct atlas_span *cuts)
{
    size_t used = 0;
    for (size_t i = 0; i < w->n; i++) {
        uint8_t cut = 255;
        if (w->digests[i].n != 0) {
            continue;
        }
        (void)atlas_span_take_u8(cuts, &cut);
        size_t piece = cut == 255 ? w->rest[i].n : (size_t)cut * 3;
        bool ends = piece >= w->rest[i].n;
        struct atlas_feed *f = &w->feeds[used++];
        f->stream = &w->streams[i];
        f->ret_digest = ends ? &w->digests[i] : NULL;
        (void)atlas_span_take(&w->rest[i], ends ? w->rest[i].n : piece, &f->bytes);
    }
    REQUIRE(atlas_streams_feed(w->feeds, used, NULL) == ATLAS_OK);
    return used != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct atlas_span all = atlas_span_of(data, size);
    struct atlas_span head;
    struct atlas_span cuts;
    if (!atlas_span_take(&all, 4, &head)) {
        return 0;
    }
    w.alg = 1 + head.p[0] % 3;
    w.use = use_of(w.alg, head.p[0] / 3, head.p[1]);
    w.n = head.p[2] % (MESSAGES + 1);
    (void)atlas_span_take(&all, all.n < head.p[3] ? all.n : head.p[3], &cuts);
    for (size_t i = 0; i < w.n; i++) { /* they overlap, and begin at any address */
        size_t start = all.n * i / (w.n + 1);
        w.whole[i] = w.rest[i] = own_copy(all.p + start, (all.n - start) / (1 + i % SHARES));
        w.digests[i].n = 0;
        atlas_stream_init_with(&w.streams[i], w.alg, w.use, i % 5 == 4);
    }
    while (feed_round(&w, &cuts)) {
    }
    for (size_t i = 0; i < w.n; i++) {
        struct atlas_digest right;
        REQUIRE(atlas_crypto_digest(w.alg, w.whole[i], &right, NULL) == ATLAS_OK);
        REQUIRE(atlas_digest_equal(&right, &w.digests[i]));
        atlas_stream_release(&w.streams[i]);
        free_copy(w.whole[i]);
    }
    return 0;
}
