#include "notation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "port/cbor.h"

static void write_value(struct atlas_buf *b, const char **at);

static void mistake(const char *at)
{
    fprintf(stderr, "no CBOR notation: %s\n", at);
    abort();
}

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " \n");
}

static bool skip(const char **at, const char *word)
{
    skip_blanks(at);
    bool there = strncmp(*at, word, strlen(word)) == 0;
    *at += there ? strlen(word) : 0;
    return there;
}

/* What stands up to the closing quote. */
static struct atlas_span take_quoted(const char **at)
{
    const char *end = strchr(*at, '\'');
    if (end == NULL) {
        mistake(*at);
    }
    struct atlas_span s = atlas_span_of(*at, (size_t)(end - *at));
    *at = end + 1;
    return s;
}

static void write_hex(struct atlas_buf *b, const char **at)
{
    uint8_t bytes[256];
    char text[513] = "";
    struct atlas_span digits = take_quoted(at);
    memcpy(text, digits.p, digits.n < 512 ? digits.n : 512);
    atlas_cbor_write_bytes(b, hex(text, bytes, sizeof bytes));
}

static void write_filler(struct atlas_buf *b, const char **at)
{
    static const uint8_t zeroes[256];
    char *end;
    atlas_cbor_write_bytes(b, atlas_span_of(zeroes, strtoul(*at, &end, 10)));
    *at = end;
}

static void write_list(struct atlas_buf *b, const char **at)
{
    uint64_t n = 0;
    struct atlas_buf items = ATLAS_BUF_INIT;
    while (!skip(at, "]")) {
        write_value(&items, at);
        (void)skip(at, ",");
        n++;
    }
    atlas_cbor_write_array(b, n);
    atlas_buf_append(b, atlas_buf_span(&items));
    atlas_buf_release(&items);
}

static void write_map(struct atlas_buf *b, const char **at)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    while (!skip(at, "}")) {
        struct atlas_buf *entry = atlas_cbor_map_entry(&m);
        write_value(entry, at);
        if (!skip(at, ":")) {
            mistake(*at);
        }
        write_value(entry, at);
        (void)skip(at, ",");
    }
    if (atlas_cbor_map_write(&m, b, NULL) < 0) {
        mistake("a map");
    }
    atlas_cbor_map_release(&m);
}

static void write_number(struct atlas_buf *b, const char **at)
{
    char *end;
    long long v = strtoll(*at, &end, 10);
    if (end == *at) {
        mistake(*at);
    }
    *at = end;
    atlas_cbor_write_int(b, v);
}

static void write_value(struct atlas_buf *b, const char **at)
{
    if (skip(at, "{")) {
        write_map(b, at);
    } else if (skip(at, "[")) {
        write_list(b, at);
    } else if (skip(at, "h'")) {
        write_hex(b, at);
    } else if (skip(at, "#")) {
        write_filler(b, at);
    } else if (skip(at, "'")) {
        atlas_cbor_write_text(b, take_quoted(at));
    } else if (skip(at, "true")) {
        atlas_cbor_write_bool(b, true);
    } else if (skip(at, "false")) {
        atlas_cbor_write_bool(b, false);
    } else if (skip(at, "null")) {
        atlas_cbor_write_null(b);
    } else {
        write_number(b, at);
    }
}

void write_notation(struct atlas_buf *b, const char *notation)
{
    const char *at = notation;
    write_value(b, &at);
    skip_blanks(&at);
    if (*at != '\0') {
        mistake(at);
    }
}
