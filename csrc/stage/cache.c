#include "stage/cache.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "port/crypto/crypto.h"
#include "port/pool.h"

/*
 * Saved:  magic, alg, number of entries, boot (padded) | entries | HMAC-SHA-256 over the head and the digests of the
 * entries' pieces of PIECE bytes, so that threads share the work. Integers as the machine has them: a cache never
 * leaves it.
 */
#define MAGIC "atlas-cache 1\n"
#define BOOT_SIZE 64
#define PIECE ((size_t)1 << 20)
#define MAC_SIZE 32

struct head {
    char magic[16];
    uint64_t alg;
    uint64_t n;
    char boot[BOOT_SIZE];
};

enum { HAS_FLAT = 1, HAS_TREE = 2, IS_VERITY = 4 };

struct version {
    uint64_t volume;
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    int64_t mtime;
    int64_t ctime;
    int64_t btime;
};

/* The digests follow, flat and tree, of the cache's algorithm. */
struct entry {
    struct version version;
    uint64_t flags;
};

_Static_assert(sizeof(struct entry) == 64, "no padding is saved");

struct atlas_cache {
    int alg;
    size_t digest_size;
    size_t entry_size;
    struct head head;
    uint8_t key[ATLAS_CACHE_KEY_SIZE];
    uint8_t *entries;
    size_t n;
    size_t cap;
    uint32_t *slots; /* number of an entry plus one, by volume, device and inode; 0: free */
    size_t n_slots;  /* a power of two, more than twice n; 0: none */
    bool is_changed;
};

static const char where[] = "cache";

static int no_memory(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
}

static struct version version_of(const struct atlas_volume *volume, const struct atlas_file_id *id)
{
    return (struct version){
        .volume = volume->id,
        .device = id->device,
        .inode = id->inode,
        .size = id->size,
        .mtime = atlas_volume_nanoseconds(id->mtime_s, id->mtime_ns),
        .ctime = atlas_volume_nanoseconds(id->ctime_s, id->ctime_ns),
        .btime = atlas_volume_nanoseconds(id->btime_s, id->btime_ns),
    };
}

/* ------------------------------------------------------------------------------------------------- table */

static uint8_t *entry_at(const struct atlas_cache *c, size_t i)
{
    return c->entries + i * c->entry_size;
}

static struct entry entry_read(const struct atlas_cache *c, size_t i)
{
    struct entry e;
    memcpy(&e, entry_at(c, i), sizeof e);
    return e;
}

static size_t slot_of(const struct atlas_cache *c, const struct version *v)
{
    uint64_t h = v->inode * UINT64_C(0x9E3779B97F4A7C15) ^ v->device * UINT64_C(0xC2B2AE3D27D4EB4F) ^ v->volume;
    h ^= h >> 29;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    h ^= h >> 32;
    return (size_t)h & (c->n_slots - 1);
}

static bool is_same_file(const struct version *a, const struct version *b)
{
    return a->inode == b->inode && a->device == b->device && a->volume == b->volume;
}

/* The slot of that file, or the free one where it belongs. There is always a free one. */
static uint32_t *find(const struct atlas_cache *c, const struct version *v)
{
    size_t i = slot_of(c, v);
    while (c->slots[i] != 0) {
        struct entry e = entry_read(c, c->slots[i] - 1);
        if (is_same_file(&e.version, v)) {
            break;
        }
        i = (i + 1) & (c->n_slots - 1);
    }
    return &c->slots[i];
}

/* Slots for n entries, filled with those that are there. Two entries of one file: the first counts. */
static int index_entries(struct atlas_cache *c, size_t n, struct atlas_error *error)
{
    size_t n_slots = 1024;
    while (n_slots <= 2 * n) {
        n_slots *= 2;
    }
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return no_memory(error);
    }
    free(c->slots);
    c->slots = slots;
    c->n_slots = n_slots;
    for (size_t i = 0; i < c->n; i++) {
        struct entry e = entry_read(c, i);
        uint32_t *slot = find(c, &e.version);
        if (*slot == 0) {
            *slot = (uint32_t)i + 1;
        }
    }
    return ATLAS_OK;
}

static int reserve(struct atlas_cache *c, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    if (c->n == c->cap) {
        size_t cap = c->cap < 1024 ? 1024 : c->cap * 2;
        uint8_t *entries = realloc(c->entries, cap * c->entry_size);
        if (entries == NULL) {
            return no_memory(error);
        }
        c->entries = entries;
        c->cap = cap;
    }
    if (c->n_slots <= 2 * (c->n + 1)) {
        ATLAS_TRY(index_entries(c, 2 * (c->n + 1), error));
    }
out:
    return rc;
}

/* Takes over one entry as it is saved. replace: it is newer than what is there of that file. */
static int insert(struct atlas_cache *c, const uint8_t *bytes, bool replace, struct atlas_error *error)
{
    struct entry e;
    int rc;
    ATLAS_TRY(reserve(c, error));
    memcpy(&e, bytes, sizeof e);
    uint32_t *slot = find(c, &e.version);
    if (*slot != 0) {
        if (replace) {
            memcpy(entry_at(c, *slot - 1), bytes, c->entry_size);
        }
        return ATLAS_OK;
    }
    if (c->n >= ATLAS_CACHE_MAX_ENTRIES) {
        atlas_cache_forget(c);
        ATLAS_TRY(reserve(c, error));
        slot = find(c, &e.version);
    }
    memcpy(entry_at(c, c->n), bytes, c->entry_size);
    c->n++;
    *slot = (uint32_t)c->n;
out:
    return rc;
}

/* -------------------------------------------------------------------------------------------------- load */

struct sealing {
    int alg;
    struct atlas_span entries;
    uint8_t *digests; /* of the pieces */
};

static int seal_piece(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct sealing *s = context;
    size_t at = (size_t)i * PIECE;
    size_t n = s->entries.n - at < PIECE ? s->entries.n - at : PIECE;
    struct atlas_digest digest;
    (void)worker;
    int rc = atlas_crypto_digest(ATLAS_SHA256, atlas_span_sub(s->entries, at, n), &digest, error);
    if (rc == ATLAS_OK) {
        memcpy(s->digests + i * MAC_SIZE, digest.b, MAC_SIZE);
    }
    return rc;
}

static int seal(const struct atlas_cache *c, const struct head *head, struct atlas_span entries,
                struct atlas_digest *ret_mac, struct atlas_error *error)
{
    struct sealing s = {.entries = entries};
    size_t pieces = entries.n / PIECE + (entries.n % PIECE != 0);
    size_t n = sizeof *head + pieces * MAC_SIZE;
    uint8_t *text = malloc(n);
    int rc;
    if (text == NULL) {
        return no_memory(error);
    }
    memcpy(text, head, sizeof *head);
    s.digests = text + sizeof *head;
    ATLAS_TRY(atlas_pool_for(atlas_pool_threads(0), pieces, seal_piece, &s, error));
    ATLAS_TRY(atlas_crypto_hmac(atlas_span_of(c->key, sizeof c->key), atlas_span_of(text, n), ret_mac, error));
out:
    free(text);
    return rc;
}

/* The entries of what was saved, if it is what this user saved since the machine was started. */
static int open_saved(const struct atlas_cache *c, struct atlas_span saved, struct atlas_span *ret_entries,
                      enum atlas_cache_state *ret_state, struct atlas_error *error)
{
    struct head head = {0};
    struct atlas_span head_bytes;
    struct atlas_digest mac = {0};
    int rc = ATLAS_OK;
    *ret_state = ATLAS_CACHE_DAMAGED;
    if (saved.n < MAC_SIZE || !atlas_span_take(&saved, sizeof head, &head_bytes) || saved.n < MAC_SIZE) {
        return ATLAS_OK;
    }
    memcpy(&head, head_bytes.p, sizeof head);
    struct atlas_span entries = atlas_span_of(saved.p, saved.n - MAC_SIZE);
    struct atlas_span found = atlas_span_of(saved.p + entries.n, MAC_SIZE);
    ATLAS_TRY(seal(c, &head, entries, &mac, error));
    if (!atlas_span_equal_ct(atlas_digest_span(&mac), found)) {
        return ATLAS_OK;
    }
    /* Ours, whatever it is. */
    if (memcmp(head.magic, c->head.magic, sizeof head.magic) != 0 || head.alg != c->head.alg ||
        memcmp(head.boot, c->head.boot, sizeof head.boot) != 0) {
        *ret_state = ATLAS_CACHE_OLD;
        return ATLAS_OK;
    }
    if (head.n > ATLAS_CACHE_MAX_ENTRIES || entries.n != head.n * c->entry_size) {
        return ATLAS_OK;
    }
    *ret_entries = entries;
    *ret_state = ATLAS_CACHE_SOUND;
out:
    return rc;
}

static int load(struct atlas_cache *c, struct atlas_span entries, struct atlas_error *error)
{
    c->cap = entries.n / c->entry_size;
    c->entries = malloc(entries.n + 1);
    if (c->entries == NULL) {
        return no_memory(error);
    }
    memcpy(c->entries, entries.p, entries.n);
    c->n = c->cap;
    return index_entries(c, c->n, error);
}

int atlas_cache_new(int alg, struct atlas_span key, struct atlas_span boot, struct atlas_span saved,
                    struct atlas_cache **ret_cache, enum atlas_cache_state *ret_state, struct atlas_error *error)
{
    struct atlas_cache *c = NULL;
    struct atlas_span entries = ATLAS_SPAN_NONE;
    enum atlas_cache_state state = ATLAS_CACHE_EMPTY;
    int rc = ATLAS_OK;
    if (atlas_alg_size(alg) == 0 || key.n != ATLAS_CACHE_KEY_SIZE || boot.n == 0 || boot.n > BOOT_SIZE) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no algorithm, no key of 32 bytes, or no name of a start");
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        return no_memory(error);
    }
    c->alg = alg;
    c->digest_size = atlas_alg_size(alg);
    c->entry_size = sizeof(struct entry) + 2 * c->digest_size;
    memcpy(c->key, key.p, key.n);
    memcpy(c->head.magic, MAGIC, sizeof MAGIC);
    memcpy(c->head.boot, boot.p, boot.n);
    c->head.alg = (uint64_t)alg;
    if (saved.n != 0) {
        ATLAS_TRY(open_saved(c, saved, &entries, &state, error));
    }
    ATLAS_TRY(state == ATLAS_CACHE_SOUND ? load(c, entries, error) : index_entries(c, 0, error));
    *ret_cache = c;
    *ret_state = state;
    c = NULL;
out:
    atlas_cache_free(c);
    return rc;
}

void atlas_cache_free(struct atlas_cache *c)
{
    if (c != NULL) {
        free(c->entries);
        free(c->slots);
        memset(c->key, 0, sizeof c->key);
        free(c);
    }
}

int atlas_cache_merge(struct atlas_cache *c, struct atlas_span saved, struct atlas_error *error)
{
    struct atlas_span entries = ATLAS_SPAN_NONE;
    struct atlas_span bytes;
    enum atlas_cache_state state = ATLAS_CACHE_EMPTY;
    int rc = ATLAS_OK;
    if (saved.n != 0) {
        ATLAS_TRY(open_saved(c, saved, &entries, &state, error));
    }
    while (state == ATLAS_CACHE_SOUND && c->n < ATLAS_CACHE_MAX_ENTRIES &&
           atlas_span_take(&entries, c->entry_size, &bytes)) {
        ATLAS_TRY(insert(c, bytes.p, false, error));
    }
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------ get, put */

bool atlas_cache_get(const struct atlas_cache *c, const struct atlas_volume *volume, const struct atlas_file_id *id,
                     bool flat, bool tree, struct atlas_cache_hit *ret_hit)
{
    struct version v = version_of(volume, id);
    uint32_t slot = *find(c, &v);
    if (!volume->is_trusted || id->type != ATLAS_FILE_REGULAR || slot == 0) {
        return false;
    }
    struct entry e = entry_read(c, slot - 1);
    if (memcmp(&e.version, &v, sizeof v) != 0 || (flat && (e.flags & HAS_FLAT) == 0) ||
        (tree && (e.flags & HAS_TREE) == 0)) {
        return false;
    }
    const uint8_t *digests = entry_at(c, slot - 1) + sizeof e;
    struct atlas_cache_hit hit = {.is_verity = (e.flags & IS_VERITY) != 0};
    if ((e.flags & HAS_FLAT) != 0 && !atlas_digest_set(&hit.flat, c->alg, atlas_span_of(digests, c->digest_size))) {
        return false;
    }
    if ((e.flags & HAS_TREE) != 0 &&
        !atlas_digest_set(&hit.tree, c->alg, atlas_span_of(digests + c->digest_size, c->digest_size))) {
        return false;
    }
    *ret_hit = hit;
    return true;
}

int atlas_cache_put(struct atlas_cache *c, const struct atlas_volume *volume, const struct atlas_file_id *id,
                    const struct atlas_cache_hit *hit, struct atlas_error *error)
{
    uint8_t bytes[sizeof(struct entry) + (size_t)2 * ATLAS_DIGEST_MAX] = {0};
    struct entry e = {.version = version_of(volume, id)};
    struct atlas_cache_hit known = {0};
    int rc;
    if (!volume->is_trusted || id->type != ATLAS_FILE_REGULAR) {
        return ATLAS_OK;
    }
    (void)atlas_cache_get(c, volume, id, false, false, &known);
    const struct atlas_digest *flat = hit->flat.alg != ATLAS_ALG_NONE ? &hit->flat : &known.flat;
    const struct atlas_digest *tree = hit->tree.alg != ATLAS_ALG_NONE ? &hit->tree : &known.tree;
    if (flat->alg == c->alg) {
        e.flags |= HAS_FLAT;
        memcpy(bytes + sizeof e, flat->b, c->digest_size);
    }
    if (tree->alg == c->alg) {
        e.flags |= HAS_TREE;
        memcpy(bytes + sizeof e + c->digest_size, tree->b, c->digest_size);
    }
    e.flags |= hit->is_verity ? IS_VERITY : 0;
    memcpy(bytes, &e, sizeof e);
    ATLAS_TRY(insert(c, bytes, true, error));
    c->is_changed = true;
out:
    return rc;
}

void atlas_cache_forget(struct atlas_cache *c)
{
    c->n = 0;
    c->is_changed = true;
    memset(c->slots, 0, c->n_slots * sizeof *c->slots);
}

int atlas_cache_alg(const struct atlas_cache *c)
{
    return c->alg;
}

bool atlas_cache_is_changed(const struct atlas_cache *c)
{
    return c->is_changed;
}

size_t atlas_cache_count(const struct atlas_cache *c)
{
    return c->n;
}

int atlas_cache_save(const struct atlas_cache *c, struct atlas_buf *ret_saved, struct atlas_error *error)
{
    struct head head = c->head;
    struct atlas_span entries = atlas_span_of(c->entries, c->n * c->entry_size);
    struct atlas_digest mac = {0};
    int rc;
    head.n = c->n;
    ATLAS_TRY(seal(c, &head, entries, &mac, error));
    atlas_buf_append(ret_saved, atlas_span_of(&head, sizeof head));
    atlas_buf_append(ret_saved, entries);
    atlas_buf_append(ret_saved, atlas_digest_span(&mac));
    ATLAS_TRY(atlas_buf_check(ret_saved, error));
out:
    return rc;
}
