#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/types.h"

struct atlas_table_entry {
    uint8_t key[32];
    uint32_t value;
    bool used;
};

/* Keys are digests: any 8 of their bytes are a hash. */
static size_t first_place(const struct atlas_table *t, const uint8_t key[32])
{
    uint64_t h;
    memcpy(&h, key, sizeof h);
    return (size_t)h & (t->cap - 1);
}

static struct atlas_table_entry *find_entry(const struct atlas_table *t, const uint8_t key[32])
{
    if (t->cap == 0) {
        return NULL;
    }
    size_t i = first_place(t, key);
    while (t->entries[i].used && memcmp(t->entries[i].key, key, 32) != 0) {
        i = (i + 1) & (t->cap - 1);
    }
    return &t->entries[i];
}

bool atlas_table_get(const struct atlas_table *t, const uint8_t key[32], uint32_t *ret_value)
{
    const struct atlas_table_entry *entry = find_entry(t, key);
    if (entry == NULL || !entry->used) {
        return false;
    }
    *ret_value = entry->value;
    return true;
}

static bool table_widen(struct atlas_table *t)
{
    struct atlas_table wider = {.cap = t->cap == 0 ? 64 : t->cap * 2, .n = t->n};
    wider.entries = calloc(wider.cap, sizeof *wider.entries);
    if (wider.entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < t->cap; i++) {
        if (t->entries[i].used) {
            *find_entry(&wider, t->entries[i].key) = t->entries[i];
        }
    }
    free(t->entries);
    *t = wider;
    return true;
}

int atlas_table_put(struct atlas_table *t, const uint8_t key[32], uint32_t value)
{
    if (t->n * 2 >= t->cap && !table_widen(t)) {
        return ATLAS_E_NOMEM;
    }
    struct atlas_table_entry *entry = find_entry(t, key);
    if (!entry->used) {
        *entry = (struct atlas_table_entry){.value = value, .used = true};
        memcpy(entry->key, key, 32);
        t->n++;
    }
    return ATLAS_OK;
}

void atlas_table_release(struct atlas_table *t)
{
    free(t->entries);
    *t = (struct atlas_table){0};
}
