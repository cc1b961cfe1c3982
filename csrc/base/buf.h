/* buf.h - owned, growable bytes. Out of memory is sticky: write freely, check once with atlas_buf_check. */
#ifndef ATLAS_BASE_BUF_H
#define ATLAS_BASE_BUF_H

#include "base/error.h"
#include "base/span.h"

struct atlas_buf {
    uint8_t *p;
    size_t n;
    size_t cap;
    bool failed; /* an allocation failed; every later append is a no-op */
};

#define ATLAS_BUF_INIT ((struct atlas_buf){NULL, 0, 0, false})

void atlas_buf_release(struct atlas_buf *b); /* frees the bytes; b is empty and usable again */
void atlas_buf_clear(struct atlas_buf *b);   /* forgets the contents, keeps the memory */

void atlas_buf_append(struct atlas_buf *b, struct atlas_span s);

/* Append all of `from`, which is empty afterwards: without a copy when b has nothing. */
void atlas_buf_take(struct atlas_buf *b, struct atlas_buf *from);

/* Memory for so many more bytes and no more than those, where many are to come. */
void atlas_buf_reserve(struct atlas_buf *b, size_t more);
void atlas_buf_append_u8(struct atlas_buf *b, uint8_t v);
void atlas_buf_append_be32(struct atlas_buf *b, uint32_t v);
void atlas_buf_append_be64(struct atlas_buf *b, uint64_t v);

/* Room for n bytes at the end, zeroed and counted in; NULL when out of memory. Valid until the next append. */
uint8_t *atlas_buf_extend(struct atlas_buf *b, size_t n);

/* Overwrite four bytes that were written before. */
void atlas_buf_set_be32(struct atlas_buf *b, size_t offset, uint32_t v);

static inline struct atlas_span atlas_buf_span(const struct atlas_buf *b)
{
    return (struct atlas_span){b->p, b->n};
}

/* ATLAS_E_NOMEM if any append failed. */
int atlas_buf_check(const struct atlas_buf *b, struct atlas_error *error);

#endif
