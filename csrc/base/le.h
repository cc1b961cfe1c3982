/* le.h - little-endian integers, as hardware evidence has them. */
#ifndef ATLAS_BASE_LE_H
#define ATLAS_BASE_LE_H

#include "base/span.h"

/* The bytes must be there: for views whose length was checked. */
static inline uint16_t atlas_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t atlas_le32(const uint8_t *p)
{
    return (uint32_t)atlas_le16(p) | (uint32_t)atlas_le16(p + 2) << 16;
}

static inline uint64_t atlas_le64(const uint8_t *p)
{
    return (uint64_t)atlas_le32(p) | (uint64_t)atlas_le32(p + 4) << 32;
}

/* Cut one off the front of *s; false (nothing changed) when fewer bytes are left. */
static inline bool atlas_span_take_le16(struct atlas_span *s, uint16_t *ret_v)
{
    struct atlas_span head;
    if (!atlas_span_take(s, 2, &head)) {
        return false;
    }
    *ret_v = atlas_le16(head.p);
    return true;
}

static inline bool atlas_span_take_le32(struct atlas_span *s, uint32_t *ret_v)
{
    struct atlas_span head;
    if (!atlas_span_take(s, 4, &head)) {
        return false;
    }
    *ret_v = atlas_le32(head.p);
    return true;
}

static inline bool atlas_span_take_le64(struct atlas_span *s, uint64_t *ret_v)
{
    struct atlas_span head;
    if (!atlas_span_take(s, 8, &head)) {
        return false;
    }
    *ret_v = atlas_le64(head.p);
    return true;
}

static inline bool atlas_span_all(struct atlas_span s, uint8_t value)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != value) {
            return false;
        }
    }
    return true;
}

#endif
