/* table.h - 32-byte key -> number, open addressing. Keys are digests: any eight of their bytes are a hash. */
#ifndef ATLAS_BASE_TABLE_H
#define ATLAS_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct atlas_table_entry;

struct atlas_table { /* zeroed: empty */
    struct atlas_table_entry *entries;
    size_t cap;
    size_t n;
};

bool atlas_table_get(const struct atlas_table *t, const uint8_t key[32], uint32_t *ret_value);

/* The first value of a key stays. ATLAS_E_NOMEM. */
int atlas_table_put(struct atlas_table *t, const uint8_t key[32], uint32_t value);

void atlas_table_release(struct atlas_table *t);

#endif
