/* check.c - one walk over a whole document: depth, number of items, UTF-8, duplicate keys, nothing left over. */
#include <stdlib.h>

#include "base/utf8.h"
#include "port/cbor/item.h"

/* Keys of a map that are sorted without an allocation. */
#define KEYS_ON_STACK 64

struct level {
    uint32_t left;             /* items still to come */
    uint32_t pairs;            /* of a map */
    bool map;
    bool unsorted;             /* some key was not above its predecessor: look for duplicates at the end */
    struct atlas_span bytes;   /* of a map: from its first key on */
    struct atlas_span highest; /* the last key */
};

struct walk {
    struct atlas_span rest;
    uint32_t budget; /* items */
    unsigned depth;  /* open containers; levels[0] is the document */
    struct level levels[ATLAS_MAX_CBOR_DEPTH + 1];
    const char *why;
};

static int refuse(struct walk *w, int code, const char *text)
{
    w->why = text;
    return code;
}

/* Are the keys of this map (its bytes from the first key on) all different? */
static int check_unique(struct walk *w, struct atlas_span bytes, size_t n)
{
    struct atlas_cbor_key few[2 * KEYS_ON_STACK]; /* the keys, and as much room to sort them */
    struct atlas_cbor_key *keys = n <= KEYS_ON_STACK ? few : malloc(2 * n * sizeof *keys);
    size_t size;
    if (keys == NULL) {
        return refuse(w, ATLAS_E_NOMEM, "out of memory");
    }
    int rc = atlas_cbor_keys_collect(bytes, keys, n, &size, &w->why);
    if (rc == ATLAS_OK) {
        atlas_cbor_keys_sort(bytes, keys, keys + n, n);
        if (atlas_cbor_keys_have_twins(bytes, keys, n)) {
            rc = refuse(w, ATLAS_E_CBOR, "is the end of a map that holds one key twice");
        }
    }
    if (keys != few) {
        free(keys);
    }
    return rc;
}

/* A map in deterministic order cannot hold duplicates: that costs one comparison per key. */
static int check_key(struct walk *w, const struct atlas_cbor_item *item)
{
    struct level *level = &w->levels[w->depth];
    if (item->type > ATLAS_CBOR_TEXT) {
        return refuse(w, ATLAS_E_CBOR, "is a map key and no integer, text or byte string");
    }
    struct atlas_span key = atlas_span_sub(w->rest, 0, item->size);
    if (level->highest.p != NULL && atlas_span_compare(level->highest, key) >= 0) {
        level->unsorted = true;
    }
    level->highest = key;
    return ATLAS_OK;
}

static int check_item(struct walk *w, struct atlas_cbor_item *ret_item)
{
    if (w->budget == 0) {
        return refuse(w, ATLAS_E_LIMIT, "is one item too many");
    }
    w->budget--;
    int rc = atlas_cbor_item_read(w->rest, ret_item, &w->why);
    if (rc < 0) {
        return rc;
    }
    if (ret_item->type == ATLAS_CBOR_TEXT && !atlas_utf8_check(ret_item->body)) {
        return refuse(w, ATLAS_E_CBOR, "is text and not UTF-8");
    }
    const struct level *level = &w->levels[w->depth];
    bool is_key = level->map && level->left % 2 == 0;
    return is_key ? check_key(w, ret_item) : ATLAS_OK;
}

/* The caller has seen that another level fits. */
static void open_level(struct walk *w, const struct atlas_cbor_item *item)
{
    w->depth++;
    w->levels[w->depth] = (struct level){
        .left = item->children,
        .pairs = (uint32_t)item->v,
        .map = item->type == ATLAS_CBOR_MAP,
        .bytes = w->rest,
    };
}

/* An item is complete; so is every container that it was the last item of. */
static int close_levels(struct walk *w)
{
    w->levels[w->depth].left--;
    while (w->depth != 0 && w->levels[w->depth].left == 0) {
        const struct level *level = &w->levels[w->depth];
        int rc = level->unsorted ? check_unique(w, level->bytes, level->pairs) : ATLAS_OK;
        if (rc < 0) {
            return rc;
        }
        w->depth--;
        w->levels[w->depth].left--;
    }
    return ATLAS_OK;
}

static int step(struct walk *w)
{
    struct atlas_cbor_item item = {0};
    struct atlas_span own;
    int rc = check_item(w, &item);
    if (rc < 0) {
        return rc;
    }
    bool container = item.type == ATLAS_CBOR_ARRAY || item.type == ATLAS_CBOR_MAP;
    if (container && w->depth == ATLAS_MAX_CBOR_DEPTH) {
        return refuse(w, ATLAS_E_LIMIT, "is nested too deeply");
    }
    (void)atlas_span_take(&w->rest, item.size, &own); /* read saw that it is there */
    if (container && item.children != 0) {
        open_level(w, &item);
        return ATLAS_OK;
    }
    return item.type == ATLAS_CBOR_TAG ? ATLAS_OK /* complete with the item behind it */ : close_levels(w);
}

int atlas_cbor_check(struct atlas_span document, const char *where, struct atlas_error *error)
{
    struct walk w = {.rest = document, .budget = ATLAS_MAX_CBOR_ITEMS, .levels = {{.left = 1}}};
    int rc = document.n <= UINT32_MAX ? ATLAS_OK : refuse(&w, ATLAS_E_LIMIT, "is too long a document");
    while (rc == ATLAS_OK && w.levels[0].left != 0) {
        rc = step(&w);
    }
    if (rc == ATLAS_OK && w.rest.n != 0) {
        rc = refuse(&w, ATLAS_E_CBOR, "is behind the end of the document");
    }
    return rc == ATLAS_OK ? ATLAS_OK : atlas_error_at(error, rc, document.n - w.rest.n, where, "%s", w.why);
}
