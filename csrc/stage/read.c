#include "stage/read.h"

#include "port/chunks.h"

#define CHUNK ((size_t)1 << 20) /* ATLAS_CHUNK_SIZE: the leaf of a file's tree */

int atlas_read_chunks(int fd, uint64_t offset, uint8_t *ret_bytes, size_t n, const char *where, unsigned threads,
                      struct atlas_buf *ret_digests, struct atlas_error *error)
{
    struct atlas_chunks chunks = {.alg = ATLAS_SHA256, .chunk = CHUNK, .size = n, .fd = fd, .offset = offset,
                                  .keep = ret_bytes, .where = where};
    size_t n_digests = n / CHUNK + (n % CHUNK != 0);
    struct atlas_buf digests = ATLAS_BUF_INIT;
    uint8_t *room = NULL;
    int rc = ATLAS_OK;
    if (n_digests != 0) {
        room = atlas_buf_extend(&digests, n_digests * atlas_alg_size(ATLAS_SHA256));
        if (room == NULL) {
            return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        }
        /* Hashed while they are still in the cache of the core that read them. */
        ATLAS_TRY(atlas_chunks_digest(&chunks, n_digests < 2 ? 1 : atlas_pool_threads(threads), room, error));
    }
    atlas_buf_append(ret_digests, atlas_buf_span(&digests));
    ATLAS_TRY(atlas_buf_check(ret_digests, error));
out:
    atlas_buf_release(&digests);
    return rc;
}
