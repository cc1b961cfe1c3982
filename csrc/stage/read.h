/*
 * read.h - a verified read: bytes of a file into the caller's memory, and the digests of exactly these bytes, in one
 * pass on all cores. Whoever compares the digests before using the memory has used no byte that was not hashed.
 */
#ifndef ATLAS_STAGE_READ_H
#define ATLAS_STAGE_READ_H

#include "base/buf.h"
#include "base/error.h"

/* Read n bytes from offset and append the SHA-256 of every ATLAS_CHUNK_SIZE of them, the last chunk maybe shorter.
 * where names the file in errors. ATLAS_E_CHANGED: it ends before that; the memory is then good for nothing. */
int atlas_read_chunks(int fd, uint64_t offset, uint8_t *ret_bytes, size_t n, const char *where, unsigned threads,
                      struct atlas_buf *ret_digests, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
