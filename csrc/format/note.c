#include "format/note.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/utf8.h"

static const char where[] = "signed note";
#define DASH ATLAS_LIT("\xE2\x80\x94 ") /* U+2014 and a space */

static int bad(struct atlas_error *error, size_t offset, const char *text)
{
    return atlas_error_at(error, ATLAS_E_NOTE, offset, where, "%s", text);
}

/* ------------------------------------------------------------------------------------------------------- lines */

bool atlas_line_take(struct atlas_span *s, struct atlas_span *ret_line)
{
    const uint8_t *end = s->n != 0 ? memchr(s->p, '\n', s->n) : NULL;
    if (end == NULL) {
        return false;
    }
    struct atlas_span newline;
    return atlas_span_take(s, (size_t)(end - s->p), ret_line) && atlas_span_take(s, 1, &newline);
}

bool atlas_line_number(struct atlas_span text, uint64_t *ret_v)
{
    uint64_t v = 0;
    if (text.n == 0 || text.n > 19 || (text.p[0] == '0' && text.n != 1)) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    if (v > INT64_MAX) {
        return false;
    }
    *ret_v = v;
    return true;
}

void atlas_line_write_number(uint64_t v, struct atlas_buf *ret_text)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    atlas_buf_append(ret_text, atlas_span_str(text));
}

/* ------------------------------------------------------------------------------------------------------- names */

/* The length of the space (Unicode's White_Space) that well-formed UTF-8 begins with; 0: it begins with none. */
static size_t space_at(struct atlas_span s)
{
    if (s.p[0] <= ' ' || s.p[0] == 0x7F) {
        return 1;
    }
    if (s.p[0] == 0xC2 && s.p[1] <= 0xA0) { /* C1 controls, no-break space */
        return 2;
    }
    if (s.p[0] == 0xE1 && s.p[1] == 0x9A && s.p[2] == 0x80) {
        return 3;
    }
    if (s.p[0] == 0xE2 && s.p[1] == 0x80) {
        return s.p[2] <= 0x8A || s.p[2] == 0xA8 || s.p[2] == 0xA9 || s.p[2] == 0xAF ? 3 : 0;
    }
    if (s.p[0] == 0xE2 && s.p[1] == 0x81 && s.p[2] == 0x9F) {
        return 3;
    }
    return s.p[0] == 0xE3 && s.p[1] == 0x80 && s.p[2] == 0x80 ? 3 : 0;
}

bool atlas_note_name_check(struct atlas_span name)
{
    if (name.n == 0 || name.n > ATLAS_MAX_NOTE_NAME || !atlas_utf8_check(name) || memchr(name.p, '+', name.n) != NULL) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (space_at(atlas_span_sub(name, i, name.n - i)) != 0) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------- notes */

/* Where the last empty line's second newline ends, which is where the signatures begin; 0: there is none. */
static size_t find_lines(struct atlas_span bytes)
{
    for (size_t i = bytes.n; i >= 2; i--) {
        if (bytes.p[i - 1] == '\n' && bytes.p[i - 2] == '\n') {
            return i;
        }
    }
    return 0;
}

static bool read_line(struct atlas_span line, struct atlas_note_signature *ret)
{
    struct atlas_span dash;
    struct atlas_span space;
    if (!atlas_span_starts_with(line, DASH) || !atlas_span_take(&line, DASH.n, &dash)) {
        return false;
    }
    const uint8_t *end = line.n != 0 ? memchr(line.p, ' ', line.n) : NULL;
    if (end == NULL || !atlas_span_take(&line, (size_t)(end - line.p), &ret->name) ||
        !atlas_span_take(&line, 1, &space) || !atlas_note_name_check(ret->name) || line.n % 4 != 0 || line.n == 0) {
        return false;
    }
    size_t n = line.n / 4 * 3;
    n -= line.p[line.n - 1] == '=' ? 1 : 0;
    n -= line.p[line.n - 2] == '=' ? 1 : 0;
    ret->n_blob = n;
    return n > ATLAS_NOTE_ID && n <= sizeof ret->blob && atlas_base64_decode_exact(line, ret->blob, n);
}

bool atlas_note_next(struct atlas_span *lines, struct atlas_note_signature *ret_signature)
{
    struct atlas_span line;
    return atlas_line_take(lines, &line) && read_line(line, ret_signature);
}

static int check_lines(struct atlas_span bytes, struct atlas_span lines, struct atlas_error *error)
{
    struct atlas_note_signature signature;
    size_t n = 0;
    while (lines.n != 0) {
        size_t at = bytes.n - lines.n;
        if (n++ == ATLAS_MAX_NOTE_SIGNATURES) {
            return atlas_error_at(error, ATLAS_E_LIMIT, at, where, "more than %d signatures",
                                  ATLAS_MAX_NOTE_SIGNATURES);
        }
        if (!atlas_note_next(&lines, &signature)) {
            return bad(error, at, "a line that is no signature");
        }
    }
    return n != 0 ? ATLAS_OK : bad(error, bytes.n, "no signature");
}

static int check_characters(struct atlas_span bytes, struct atlas_error *error)
{
    for (size_t i = 0; i < bytes.n; i++) {
        if (bytes.p[i] < 0x20 && bytes.p[i] != '\n') {
            return bad(error, i, "a control character");
        }
    }
    return atlas_utf8_check(bytes) ? ATLAS_OK : bad(error, 0, "not UTF-8");
}

int atlas_note_read(struct atlas_span bytes, struct atlas_note *ret_note, struct atlas_error *error)
{
    if (bytes.n > ATLAS_MAX_NOTE_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "%zu bytes", bytes.n);
    }
    int rc = check_characters(bytes, error);
    if (rc < 0) {
        return rc;
    }
    size_t at = find_lines(bytes);
    if (at < 2 || bytes.p[bytes.n - 1] != '\n') {
        return bad(error, bytes.n, "an empty line and signatures are missing");
    }
    struct atlas_note note = {atlas_span_sub(bytes, 0, at - 1), atlas_span_sub(bytes, at, bytes.n - at)};
    rc = check_lines(bytes, note.lines, error);
    if (rc >= 0) {
        *ret_note = note;
    }
    return rc;
}

void atlas_note_write_line(struct atlas_span name, struct atlas_span blob, struct atlas_buf *ret_line)
{
    atlas_buf_append(ret_line, DASH);
    atlas_buf_append(ret_line, name);
    atlas_buf_append_u8(ret_line, ' ');
    atlas_base64_encode(blob, ret_line);
    atlas_buf_append_u8(ret_line, '\n');
}

/* -------------------------------------------------------------------------------------------------------- keys */

static bool take_field(struct atlas_span *rest, struct atlas_span *ret_field)
{
    struct atlas_span plus;
    const uint8_t *end = rest->n != 0 ? memchr(rest->p, '+', rest->n) : NULL;
    return end != NULL && atlas_span_take(rest, (size_t)(end - rest->p), ret_field) && atlas_span_take(rest, 1, &plus);
}

static int nibble(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_id(struct atlas_span text, uint8_t ret_id[ATLAS_NOTE_ID])
{
    if (text.n != 2 * (size_t)ATLAS_NOTE_ID) {
        return false;
    }
    for (size_t i = 0; i < ATLAS_NOTE_ID; i++) {
        int high = nibble(text.p[2 * i]);
        int low = nibble(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

int atlas_note_key_read(struct atlas_span text, bool secret, struct atlas_note_key_text *ret_key,
                        struct atlas_error *error)
{
    struct atlas_note_key_text key = {.n_key = 0};
    struct atlas_span id;
    struct atlas_span word;
    struct atlas_buf decoded = ATLAS_BUF_INIT;
    bool good = !secret || (take_field(&text, &word) && atlas_span_equal(word, ATLAS_LIT("PRIVATE")) &&
                            take_field(&text, &word) && atlas_span_equal(word, ATLAS_LIT("KEY")));
    good = good && take_field(&text, &key.name) && take_field(&text, &id) && atlas_note_name_check(key.name) &&
           read_id(id, key.id) && text.n <= 4 * sizeof key.key / 3 && atlas_base64_decode(text, &decoded);
    if (good && decoded.n > 1 && decoded.n <= sizeof key.key) {
        memcpy(key.key, decoded.p, decoded.n);
        key.n_key = decoded.n;
    }
    int rc = atlas_buf_check(&decoded, error); /* no memory is no form */
    atlas_buf_release(&decoded);
    if (rc < 0) {
        return rc;
    }
    if (key.n_key == 0) {
        return atlas_error_set(error, ATLAS_E_NOTE, "key", "not the form %sNAME+HEX+BASE64",
                               secret ? "PRIVATE+KEY+" : "");
    }
    *ret_key = key;
    return ATLAS_OK;
}

void atlas_note_key_write(bool secret, struct atlas_span name, const uint8_t id[ATLAS_NOTE_ID], struct atlas_span key,
                          struct atlas_buf *ret_text)
{
    char number[2 * ATLAS_NOTE_ID + 1];
    atlas_hex(atlas_span_of(id, ATLAS_NOTE_ID), number);
    atlas_buf_append(ret_text, secret ? ATLAS_LIT("PRIVATE+KEY+") : ATLAS_LIT(""));
    atlas_buf_append(ret_text, name);
    atlas_buf_append_u8(ret_text, '+');
    atlas_buf_append(ret_text, atlas_span_str(number));
    atlas_buf_append_u8(ret_text, '+');
    atlas_base64_encode(key, ret_text);
}

/* ------------------------------------------------------------------------------------------------- checkpoints */

static bool check_extensions(struct atlas_span rest)
{
    struct atlas_span line;
    while (rest.n != 0) {
        if (!atlas_line_take(&rest, &line) || line.n == 0) {
            return false;
        }
    }
    return true;
}

int atlas_checkpoint_read(struct atlas_span text, struct atlas_checkpoint *ret_checkpoint, struct atlas_error *error)
{
    struct atlas_checkpoint c;
    struct atlas_span rest = text;
    struct atlas_span size;
    struct atlas_span root;
    if (!atlas_line_take(&rest, &c.origin) || c.origin.n == 0 || c.origin.n > ATLAS_MAX_NOTE_NAME ||
        !atlas_line_take(&rest, &size) || !atlas_line_take(&rest, &root)) {
        return bad(error, text.n - rest.n, "a checkpoint has an origin, a size and a root");
    }
    if (!atlas_line_number(size, &c.size)) {
        return bad(error, atlas_span_offset(text, size), "the checkpoint's size is no number below 2^63");
    }
    if (!atlas_base64_decode_exact(root, c.root, sizeof c.root)) {
        return bad(error, atlas_span_offset(text, root), "the checkpoint's root is not 32 bytes in Base64");
    }
    c.extensions = rest;
    if (!check_extensions(rest)) {
        return bad(error, text.n - rest.n, "a checkpoint with an empty line");
    }
    *ret_checkpoint = c;
    return ATLAS_OK;
}

void atlas_checkpoint_write(const struct atlas_checkpoint *checkpoint, struct atlas_buf *ret_text)
{
    atlas_buf_append(ret_text, checkpoint->origin);
    atlas_buf_append_u8(ret_text, '\n');
    atlas_line_write_number(checkpoint->size, ret_text);
    atlas_buf_append_u8(ret_text, '\n');
    atlas_base64_encode(atlas_span_of(checkpoint->root, sizeof checkpoint->root), ret_text);
    atlas_buf_append_u8(ret_text, '\n');
}
