#include "stage/read.h"

#include <stdlib.h>

#include "port/crypto/crypto.h"
#include "port/file.h"
#include "port/pool.h"

#define CHUNK ((size_t)1 << 20) /* ATLAS_CHUNK_SIZE: the leaf of a file's tree */
#define DIGEST_BYTES ((size_t)32)

struct reading {
    int fd;
    uint64_t offset;
    uint8_t *bytes;
    size_t n;
    const char *where;
    uint8_t *digests;
    struct atlas_hasher hashers[ATLAS_MAX_THREADS];
};

/* Hashed while it is still in the cache of the core that read it. */
static int read_one(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct reading *r = context;
    struct atlas_hasher *hasher = &r->hashers[worker];
    struct atlas_digest digest;
    size_t start = (size_t)i * CHUNK;
    size_t n = r->n - start < CHUNK ? r->n - start : CHUNK;
    size_t got = 0;
    int rc;
    ATLAS_TRY(hasher->context != NULL ? atlas_hasher_reset(hasher, error)
                                      : atlas_hasher_init(hasher, ATLAS_SHA256, error));
    ATLAS_TRY(atlas_file_read(r->fd, r->offset + start, r->bytes + start, n, r->where, &got, error));
    if (got != n) {
        return atlas_error_set(error, ATLAS_E_CHANGED, r->where, "became shorter while it was read");
    }
    ATLAS_TRY(atlas_hasher_update(hasher, atlas_span_of(r->bytes + start, n), error));
    ATLAS_TRY(atlas_hasher_final(hasher, &digest, error));
    memcpy(r->digests + i * DIGEST_BYTES, digest.b, DIGEST_BYTES);
out:
    return rc;
}

static void reading_free(struct reading *r)
{
    for (size_t i = 0; r != NULL && i < ATLAS_MAX_THREADS; i++) {
        atlas_hasher_release(&r->hashers[i]);
    }
    free(r);
}

int atlas_read_chunks(int fd, uint64_t offset, uint8_t *ret_bytes, size_t n, const char *where, unsigned threads,
                      struct atlas_buf *ret_digests, struct atlas_error *error)
{
    struct atlas_buf digests = ATLAS_BUF_INIT;
    uint64_t chunks = n / CHUNK + (n % CHUNK != 0);
    struct reading *r = calloc(1, sizeof *r);
    int rc;
    if (r == NULL || (chunks != 0 && atlas_buf_extend(&digests, (size_t)chunks * DIGEST_BYTES) == NULL)) {
        rc = atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        goto out;
    }
    for (size_t i = 0; i < ATLAS_MAX_THREADS; i++) {
        r->hashers[i] = ATLAS_HASHER_INIT;
    }
    r->fd = fd;
    r->offset = offset;
    r->bytes = ret_bytes;
    r->n = n;
    r->where = where;
    r->digests = digests.p;
    ATLAS_TRY(atlas_pool_for(chunks < 2 ? 1 : atlas_pool_threads(threads), chunks, read_one, r, error));
    atlas_buf_append(ret_digests, atlas_buf_span(&digests));
    ATLAS_TRY(atlas_buf_check(ret_digests, error));
out:
    atlas_buf_release(&digests);
    reading_free(r);
    return rc;
}
