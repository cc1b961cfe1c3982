/*
 * chunks.h - the digest of every chunk of a file or of memory, on all cores and on all lanes of each.
 *
 * A core takes as many chunks as its kernel has lanes and goes through them in stripes, so that the bytes it hashes are
 * those it just read and no thread needs more than a few megabytes, whatever the size.
 */
#ifndef ATLAS_PORT_CHUNKS_H
#define ATLAS_PORT_CHUNKS_H

#include "port/lanes.h"
#include "port/pool.h"

struct atlas_chunks {
    int alg;
    size_t chunk;  /* bytes of all but the last one */
    uint64_t size; /* bytes in all */
    const uint8_t *memory; /* where they are; NULL: in the file */
    int fd;
    uint64_t offset; /* of the first one in the file */
    uint8_t *keep;   /* where the file's bytes go; NULL: they are not kept */
    const char *where;
    /* Called when so many more bytes are done; NULL: nobody asks. */
    int (*done)(void *context, unsigned worker, uint64_t bytes, struct atlas_error *error);
    void *context;
};

/* ret_digests: room for one digest per chunk. ATLAS_E_CHANGED: the file ended too early. */
int atlas_chunks_digest(const struct atlas_chunks *c, unsigned threads, uint8_t *ret_digests,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* Memory for bytes that are read and hashed: on large pages where the system has them. NULL: out of memory. */
uint8_t *atlas_chunks_buffer(size_t size);
void atlas_chunks_buffer_free(uint8_t *buffer);

#endif
