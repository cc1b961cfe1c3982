#include "format/tile.h"

#include <stdio.h>

/* Groups of three digits, all but the last with an x before them: 1234067 is x001/x234/067. */
static void write_path(const struct atlas_tile *tile, const char *end, char ret_path[ATLAS_TILE_PATH_MAX])
{
    unsigned groups[7]; /* 2^63 has 19 digits */
    size_t n = 0;
    uint64_t rest = tile->index;
    do {
        groups[n++] = (unsigned)(rest % 1000);
        rest /= 1000;
    } while (rest != 0 && n < sizeof groups / sizeof groups[0]);
    size_t at;
    if (tile->level == ATLAS_TILE_ENTRIES) {
        at = (size_t)snprintf(ret_path, ATLAS_TILE_PATH_MAX, "tile/entries");
    } else {
        at = (size_t)snprintf(ret_path, ATLAS_TILE_PATH_MAX, "tile/%u", tile->level % ATLAS_TILE_ENTRIES);
    }
    while (n > 1) {
        at += (size_t)snprintf(ret_path + at, ATLAS_TILE_PATH_MAX - at, "/x%03u", groups[--n]);
    }
    snprintf(ret_path + at, ATLAS_TILE_PATH_MAX - at, "/%03u%s", groups[0], end);
}

void atlas_tile_path(const struct atlas_tile *tile, char ret_path[ATLAS_TILE_PATH_MAX])
{
    char end[8] = "";
    if (tile->width < ATLAS_TILE_WIDTH) {
        snprintf(end, sizeof end, ".p/%u", tile->width % ATLAS_TILE_WIDTH);
    }
    write_path(tile, end, ret_path);
}

void atlas_tile_partials_path(const struct atlas_tile *tile, char ret_path[ATLAS_TILE_PATH_MAX])
{
    write_path(tile, ".p", ret_path);
}

/* ------------------------------------------------------------------------------------------------ reading */

/* Digits up to something else, at most max_digits. */
static bool take_number(struct atlas_span *s, size_t max_digits, uint64_t *ret_v, size_t *ret_digits)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; n < s->n && n < max_digits && s->p[n] >= '0' && s->p[n] <= '9'; n++) {
        v = v * 10 + (s->p[n] - '0');
    }
    *s = atlas_span_sub(*s, n, s->n - n);
    *ret_v = v;
    *ret_digits = n;
    return n != 0;
}

static bool take_text(struct atlas_span *s, struct atlas_span text)
{
    struct atlas_span head;
    return atlas_span_starts_with(*s, text) && atlas_span_take(s, text.n, &head);
}

/* What is accepted is what the writer makes of it again: that leaves one form. */
static bool is_canonical(struct atlas_span path, const struct atlas_tile *tile)
{
    char again[ATLAS_TILE_PATH_MAX];
    atlas_tile_path(tile, again);
    return atlas_span_equal(path, atlas_span_str(again));
}

bool atlas_tile_read_path(struct atlas_span path, struct atlas_tile *ret_tile)
{
    struct atlas_tile tile = {.level = ATLAS_TILE_ENTRIES, .width = ATLAS_TILE_WIDTH};
    struct atlas_span rest = path;
    uint64_t v;
    size_t digits;
    if (!take_text(&rest, ATLAS_LIT("tile/"))) {
        return false;
    }
    if (!take_text(&rest, ATLAS_LIT("entries"))) {
        if (!take_number(&rest, 2, &v, &digits) || v >= ATLAS_TILE_ENTRIES) {
            return false;
        }
        tile.level = (unsigned)v;
    }
    bool more = true;
    for (size_t n = 0; more; n++) {
        if (!take_text(&rest, ATLAS_LIT("/"))) {
            return false;
        }
        more = take_text(&rest, ATLAS_LIT("x"));
        if (n == 6 || !take_number(&rest, 3, &v, &digits) || digits != 3) { /* 18 digits are below 2^63 */
            return false;
        }
        tile.index = tile.index * 1000 + v;
    }
    if (take_text(&rest, ATLAS_LIT(".p/"))) {
        if (!take_number(&rest, 3, &v, &digits) || v == 0 || v >= ATLAS_TILE_WIDTH) {
            return false;
        }
        tile.width = (unsigned)v;
    }
    if (rest.n != 0 || !is_canonical(path, &tile)) {
        return false;
    }
    *ret_tile = tile;
    return true;
}

/* ------------------------------------------------------------------------------------------------ bundles */

void atlas_bundle_append(struct atlas_buf *bundle, struct atlas_span entry)
{
    atlas_buf_append_u8(bundle, (uint8_t)(entry.n >> 8));
    atlas_buf_append_u8(bundle, (uint8_t)entry.n);
    atlas_buf_append(bundle, entry);
}

bool atlas_bundle_next(struct atlas_span *bundle, struct atlas_span *ret_entry)
{
    struct atlas_span rest = *bundle;
    uint8_t high;
    uint8_t low;
    if (!atlas_span_take_u8(&rest, &high) || !atlas_span_take_u8(&rest, &low) ||
        !atlas_span_take(&rest, (size_t)(high << 8 | low), ret_entry)) {
        return false;
    }
    *bundle = rest;
    return true;
}
