#include "base/buf.h"

#include <stdlib.h>

void atlas_buf_release(struct atlas_buf *b)
{
    free(b->p);
    *b = ATLAS_BUF_INIT;
}

void atlas_buf_clear(struct atlas_buf *b)
{
    b->n = 0;
    b->failed = false;
}

static bool set_capacity(struct atlas_buf *b, size_t cap)
{
    uint8_t *p = realloc(b->p, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

static bool reserve(struct atlas_buf *b, size_t more)
{
    if (b->failed || more > SIZE_MAX / 2 - b->n) {
        b->failed = true;
        return false;
    }
    size_t need = b->n + more;
    if (need <= b->cap) {
        return true;
    }
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < need) {
        cap *= 2;
    }
    return set_capacity(b, cap);
}

/* POINTER MATH */
uint8_t *atlas_buf_extend(struct atlas_buf *b, size_t n)
{
    if (!reserve(b, n)) {
        return NULL;
    }
    if (n == 0) {
        return b->p;
    }
    uint8_t *p = b->p + b->n;
    memset(p, 0, n);
    b->n += n;
    return p;
}

void atlas_buf_append(struct atlas_buf *b, struct atlas_span s)
{
    if (s.n != 0 && reserve(b, s.n)) {
        memcpy(b->p + b->n, s.p, s.n);
        b->n += s.n;
    }
}

void atlas_buf_take(struct atlas_buf *b, struct atlas_buf *from)
{
    if (b->n == 0 && !b->failed) {
        free(b->p);
        *b = *from;
        *from = ATLAS_BUF_INIT;
        return;
    }
    atlas_buf_append(b, atlas_buf_span(from));
    b->failed = b->failed || from->failed;
    atlas_buf_release(from);
}

void atlas_buf_reserve(struct atlas_buf *b, size_t more)
{
    if (b->failed || more > SIZE_MAX / 2 - b->n) {
        b->failed = true;
    } else if (b->n + more > b->cap) {
        (void)set_capacity(b, b->n + more);
    }
}

void atlas_buf_append_u8(struct atlas_buf *b, uint8_t v)
{
    atlas_buf_append(b, atlas_span_of(&v, 1));
}

void atlas_buf_append_be32(struct atlas_buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    atlas_buf_append(b, atlas_span_of(bytes, 4));
}

void atlas_buf_append_be64(struct atlas_buf *b, uint64_t v)
{
    atlas_buf_append_be32(b, (uint32_t)(v >> 32));
    atlas_buf_append_be32(b, (uint32_t)v);
}

void atlas_buf_set_be32(struct atlas_buf *b, size_t offset, uint32_t v)
{
    if (b->failed || b->n < 4 || offset > b->n - 4) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        b->p[offset + i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

int atlas_buf_check(const struct atlas_buf *b, struct atlas_error *error)
{
    return b->failed ? atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory") : ATLAS_OK;
}
