#include "format/part.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/path.h"
#include "format/index.h"

#define HEADER ATLAS_LIT("atlas-part 1 ")
#define CHUNK_SIZE ((uint64_t)1 << 20) /* docs/manifest.md, "Digests" */

static const char where[] = "part";

uint64_t atlas_part_chunks(uint64_t size)
{
    return size / CHUNK_SIZE + (size % CHUNK_SIZE != 0);
}

/* ------------------------------------------------------------------------------------------------- write */

static void write_text(const char *text, struct atlas_buf *record)
{
    atlas_buf_append(record, atlas_span_str(text));
}

static void write_hex(struct atlas_span bytes, struct atlas_buf *record)
{
    char hex[2 * ATLAS_DIGEST_MAX + 1];
    if (bytes.n > ATLAS_DIGEST_MAX) {
        record->failed = true; /* never happens: digests come from the hasher */
        return;
    }
    atlas_hex(bytes, hex);
    write_text(hex, record);
}

void atlas_part_write_header(const struct atlas_part *p, struct atlas_buf *ret_record)
{
    char numbers[96];
    atlas_buf_append(ret_record, HEADER);
    write_text(atlas_alg_name(p->alg), ret_record);
    if (p->kind == ATLAS_PART_FILE) {
        snprintf(numbers, sizeof numbers, "\nfile %" PRIu64 " ", p->size);
    } else {
        snprintf(numbers, sizeof numbers, "\ndirectory %" PRIu64 " %" PRIu64 " ", p->total, p->links);
    }
    write_text(numbers, ret_record);
    write_hex(atlas_span_of(p->version, sizeof p->version), ret_record);
    snprintf(numbers, sizeof numbers, "\nrange %" PRIu64 " %" PRIu64 "\n", p->first, p->end);
    write_text(numbers, ret_record);
}

void atlas_part_write_link(struct atlas_span path, struct atlas_span target, struct atlas_buf *ret_record)
{
    write_text("link ", ret_record);
    atlas_buf_append(ret_record, path);
    write_text(" ", ret_record);
    atlas_buf_append(ret_record, target);
    write_text("\n", ret_record);
}

void atlas_part_write_node(struct atlas_span hash, struct atlas_buf *ret_record)
{
    write_hex(hash, ret_record);
    write_text("\n", ret_record);
}

/* -------------------------------------------------------------------------------------------------- read */

struct reader {
    struct atlas_span whole;
    struct atlas_span rest;
    struct atlas_error *error;
};

static int malformed(const struct reader *r, struct atlas_span at, const char *text)
{
    return atlas_error_at(r->error, ATLAS_E_PART, atlas_span_offset(r->whole, at), where, "%s", text);
}

/* Cut off the bytes before the next `end` and the `end` itself. */
static bool take_until(struct atlas_span *rest, uint8_t end, struct atlas_span *ret_text)
{
    const uint8_t *p = rest->n != 0 ? memchr(rest->p, end, rest->n) : NULL;
    struct atlas_span ignored;
    return p != NULL && atlas_span_take(rest, atlas_span_offset(*rest, atlas_span_of(p, 1)), ret_text) &&
           atlas_span_take(rest, 1, &ignored);
}

static bool take_word(struct atlas_span *rest, struct atlas_span word)
{
    struct atlas_span ignored;
    return atlas_span_starts_with(*rest, word) && atlas_span_take(rest, word.n, &ignored);
}

/* Decimal, without leading zeroes, ended by `end`, no larger than a file can be. */
static bool take_number(struct atlas_span *rest, uint8_t end, uint64_t *ret_number)
{
    struct atlas_span s;
    uint64_t number = 0;
    if (!take_until(rest, end, &s) || s.n == 0 || s.n > 19 || (s.p[0] == '0' && s.n > 1)) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(s.p[i] - '0'); /* 19 digits fit 64 bits */
    }
    *ret_number = number;
    return number <= INT64_MAX;
}

static int nibble(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A line of n bytes in lower-case hexadecimal. */
static bool take_hex_line(struct atlas_span *rest, uint8_t *ret_bytes, size_t n)
{
    struct atlas_span s;
    if (!take_until(rest, '\n', &s) || s.n != 2 * n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int high = nibble(s.p[2 * i]);
        int low = nibble(s.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int read_header(struct reader *r, struct atlas_part *p)
{
    struct atlas_span line;
    struct atlas_span at;
    if (!take_until(&r->rest, '\n', &line) || !take_word(&line, HEADER)) {
        return malformed(r, r->whole, "does not begin with \"atlas-part 1 \"");
    }
    p->alg = (int)atlas_alg_of(line);
    if (p->alg == ATLAS_ALG_NONE) {
        return malformed(r, line, "names no known hash algorithm");
    }
    at = r->rest;
    if (take_word(&r->rest, ATLAS_LIT("file "))) {
        p->kind = ATLAS_PART_FILE;
        if (!take_number(&r->rest, ' ', &p->size)) {
            return malformed(r, at, "no size of a file");
        }
        p->total = atlas_part_chunks(p->size);
    } else if (take_word(&r->rest, ATLAS_LIT("directory "))) {
        p->kind = ATLAS_PART_DIRECTORY;
        if (!take_number(&r->rest, ' ', &p->total) || !take_number(&r->rest, ' ', &p->links) ||
            p->total > ATLAS_MAX_FILES || p->links > ATLAS_MAX_FILES) {
            return malformed(r, at, "no number of files and links of a directory");
        }
    } else {
        return malformed(r, at, "speaks neither of a file nor of a directory");
    }
    if (!take_hex_line(&r->rest, p->version, sizeof p->version)) {
        return malformed(r, at, "no version in lower-case hexadecimal");
    }
    at = r->rest;
    if (!take_word(&r->rest, ATLAS_LIT("range ")) || !take_number(&r->rest, ' ', &p->first) ||
        !take_number(&r->rest, '\n', &p->end) || p->first > p->end || p->end > p->total) {
        return malformed(r, at, "no range inside the whole");
    }
    return ATLAS_OK;
}

/* The largest complete subtree that begins at chunk `at`: the next range[first:end] has it as its next line. */
static uint64_t subtree(uint64_t at, uint64_t end)
{
    uint64_t n = 1;
    while ((at & n) == 0 && n <= (end - at) / 2) {
        n *= 2;
    }
    return n;
}

static int read_nodes(struct reader *r, struct atlas_part *p)
{
    struct atlas_span start = r->rest;
    uint8_t hash[ATLAS_DIGEST_MAX];
    for (uint64_t at = p->first; at < p->end; at += subtree(at, p->end)) {
        struct atlas_span line = r->rest;
        if (!take_hex_line(&r->rest, hash, atlas_alg_size(p->alg))) {
            return malformed(r, line, "not the hash of a subtree in lower-case hexadecimal");
        }
    }
    if (r->rest.n != 0) {
        return malformed(r, r->rest, "more lines than the range has subtrees");
    }
    p->lines = start;
    return ATLAS_OK;
}

/* One form of any bytes, in words without spaces; a target may be anything that a link can hold. */
static bool is_encoded(struct atlas_span text)
{
    struct atlas_buf raw = ATLAS_BUF_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    atlas_path_decode(text, &raw);
    atlas_path_encode(atlas_buf_span(&raw), &again);
    bool same = text.n != 0 && atlas_span_equal(atlas_buf_span(&again), text);
    atlas_buf_release(&raw);
    atlas_buf_release(&again);
    return same;
}

static int read_links(struct reader *r, struct atlas_part *p)
{
    struct atlas_span start = r->rest;
    struct atlas_span previous = ATLAS_SPAN_NONE;
    struct atlas_span path;
    struct atlas_span target;
    for (uint64_t i = 0; i < p->links; i++) {
        struct atlas_span line = r->rest;
        if (!take_word(&r->rest, ATLAS_LIT("link ")) || !take_until(&r->rest, ' ', &path) ||
            !take_until(&r->rest, '\n', &target) || !atlas_path_check(path) || !is_encoded(target)) {
            return malformed(r, line, "no link in its encoded form");
        }
        if (i != 0 && atlas_path_compare(previous, path) >= 0) {
            return malformed(r, line, "not after the link before it");
        }
        previous = path;
    }
    p->link_lines = atlas_span_of(start.p, start.n - r->rest.n);
    return ATLAS_OK;
}

static int read_files(struct reader *r, struct atlas_part *p)
{
    struct atlas_index x = {.whole = r->whole, .rest = r->rest, .alg = p->alg};
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_index_entry e;
    int rc;
    do {
        rc = atlas_index_next(&x, &e, &cause);
    } while (rc == 1);
    if (rc < 0) {
        return atlas_error_at(r->error, ATLAS_E_PART, cause.offset, where, "%s", cause.text);
    }
    if (x.n != p->end - p->first) {
        return malformed(r, r->rest, "not as many files as its range has");
    }
    p->lines = r->rest;
    return ATLAS_OK;
}

int atlas_part_read(struct atlas_span record, struct atlas_part *ret_part, struct atlas_error *error)
{
    struct reader r = {record, record, error};
    struct atlas_part p = {0};
    int rc;
    ATLAS_TRY(read_header(&r, &p));
    if (p.kind == ATLAS_PART_FILE) {
        ATLAS_TRY(read_nodes(&r, &p));
    } else {
        ATLAS_TRY(read_links(&r, &p));
        ATLAS_TRY(read_files(&r, &p));
    }
    *ret_part = p;
out:
    return rc;
}

bool atlas_part_next_node(struct atlas_part *p, struct atlas_digest *ret_hash)
{
    struct atlas_digest hash = {.alg = (uint8_t)p->alg, .n = (uint8_t)atlas_alg_size(p->alg)};
    if (p->lines.n == 0 || !take_hex_line(&p->lines, hash.b, hash.n)) {
        return false;
    }
    *ret_hash = hash;
    return true;
}

bool atlas_part_next_link(struct atlas_part *p, struct atlas_span *ret_path, struct atlas_span *ret_target)
{
    return take_word(&p->link_lines, ATLAS_LIT("link ")) && take_until(&p->link_lines, ' ', ret_path) &&
           take_until(&p->link_lines, '\n', ret_target);
}

bool atlas_part_same_whole(const struct atlas_part *a, const struct atlas_part *b)
{
    return a->alg == b->alg && a->kind == b->kind && a->size == b->size && a->total == b->total &&
           a->links == b->links && memcmp(a->version, b->version, sizeof a->version) == 0 &&
           atlas_span_equal(a->link_lines, b->link_lines);
}
