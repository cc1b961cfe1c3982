/* json_scan.c - where in the bytes does a value begin and end (RFC 8259). Iterative; the open brackets are bits. */
#include "port/json.h"

struct scan {
    struct atlas_span whole;
    size_t at;
    unsigned depth;
    uint64_t objects; /* bit d: level d is an object, not an array */
    const char *where;
    struct atlas_error *error;
};

_Static_assert(ATLAS_MAX_JSON_DEPTH < 64, "one bit per level");

static int bad(const struct scan *s, const char *text)
{
    return atlas_error_at(s->error, ATLAS_E_JSON, s->at, s->where, "%s", text);
}

static int byte_at(const struct scan *s)
{
    return s->at < s->whole.n ? s->whole.p[s->at] : -1;
}

static void skip_space(struct scan *s)
{
    while (byte_at(s) == ' ' || byte_at(s) == '\t' || byte_at(s) == '\n' || byte_at(s) == '\r') {
        s->at++;
    }
}

/* A string, with its quotes. What an escape stands for is the parser's business; that it cannot end the string is ours.
 */
static int skip_string(struct scan *s, struct atlas_span *ret_inner)
{
    size_t start = ++s->at;
    for (;; s->at++) {
        int c = byte_at(s);
        if (c < 0x20) {
            return bad(s, c < 0 ? "a string without end" : "a control character in a string");
        }
        if (c == '"') {
            *ret_inner = atlas_span_sub(s->whole, start, s->at - start);
            s->at++;
            return ATLAS_OK;
        }
        if (c == '\\') {
            s->at++; /* the escaped byte is passed over; the end of input is seen by the next turn */
            if (byte_at(s) < 0x20) {
                return bad(s, "a string without end");
            }
        }
    }
}

static bool is_scalar_byte(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '+' || c == '-' || c == '.';
}

/* A number, true, false or null: its extent. The parser judges it. */
static int skip_scalar(struct scan *s)
{
    size_t start = s->at;
    while (is_scalar_byte(byte_at(s))) {
        s->at++;
    }
    return s->at == start ? bad(s, "not a JSON value") : ATLAS_OK;
}

static int open_level(struct scan *s, bool object)
{
    if (s->depth == ATLAS_MAX_JSON_DEPTH) {
        return atlas_error_at(s->error, ATLAS_E_LIMIT, s->at, s->where, "JSON nested deeper than %d levels",
                              ATLAS_MAX_JSON_DEPTH);
    }
    s->depth++;
    s->objects = object ? s->objects | 1ull << s->depth : s->objects & ~(1ull << s->depth);
    s->at++;
    return ATLAS_OK;
}

static bool in_object(const struct scan *s)
{
    return (s->objects >> s->depth & 1) != 0;
}

/* The key of a member, and its colon. */
static int skip_key(struct scan *s, struct atlas_span *ret_key)
{
    if (byte_at(s) != '"') {
        return bad(s, "a member without a name");
    }
    int rc = skip_string(s, ret_key);
    if (rc < 0) {
        return rc;
    }
    skip_space(s);
    if (byte_at(s) != ':') {
        return bad(s, "a member without a colon");
    }
    s->at++;
    skip_space(s);
    return ATLAS_OK;
}

/* After a value: close levels as they end, and stand before the next value (with its key passed) or behind the last. */
static int next_value(struct scan *s, unsigned floor)
{
    struct atlas_span key;
    while (s->depth > floor) {
        skip_space(s);
        int c = byte_at(s);
        if (c == ',') {
            s->at++;
            skip_space(s);
            return in_object(s) ? skip_key(s, &key) : ATLAS_OK;
        }
        if (c != (in_object(s) ? '}' : ']')) {
            return bad(s, "a comma or closing bracket is missing");
        }
        s->at++;
        s->depth--;
    }
    return ATLAS_OK;
}

/* Just opened: an empty level ends at once, else stand before its first value. */
static int first_value(struct scan *s, bool *ret_empty)
{
    struct atlas_span key;
    skip_space(s);
    *ret_empty = byte_at(s) == (in_object(s) ? '}' : ']');
    if (*ret_empty) {
        s->at++;
        s->depth--;
        return ATLAS_OK;
    }
    return in_object(s) ? skip_key(s, &key) : ATLAS_OK;
}

/* One token; *ret_done when it is a whole value (and not the beginning of one). */
static int take_token(struct scan *s, bool *ret_done)
{
    int rc;
    struct atlas_span inner;
    int c = byte_at(s);
    *ret_done = true;
    if (c == '"') {
        return skip_string(s, &inner);
    }
    if (c != '{' && c != '[') {
        return skip_scalar(s);
    }
    rc = open_level(s, c == '{');
    return rc < 0 ? rc : first_value(s, ret_done);
}

/* One whole value; s stands on its first byte, and afterwards behind its last. */
static int skip_value(struct scan *s)
{
    int rc = ATLAS_OK;
    unsigned floor = s->depth;
    do {
        bool done = false;
        ATLAS_TRY(take_token(s, &done));
        if (done) {
            ATLAS_TRY(next_value(s, floor));
        }
    } while (s->depth > floor);
out:
    return rc;
}

/* Members of the one object; `key` NULL: any. A key that is written with escapes could be the one that is asked for. */
static int scan_members(struct scan *s, const char *key, struct atlas_span *ret_value, bool *ret_found)
{
    int rc = ATLAS_OK;
    struct atlas_span name;
    do {
        s->at++; /* the brace or comma */
        skip_space(s);
        ATLAS_TRY(skip_key(s, &name));
        if (name.n != 0 && memchr(name.p, '\\', name.n) != NULL) {
            ATLAS_TRY(bad(s, "an escape in the name of a top-level member"));
        }
        size_t start = s->at;
        ATLAS_TRY(skip_value(s));
        if (key != NULL && atlas_span_equal(name, atlas_span_str(key))) {
            if (*ret_found) {
                ATLAS_TRY(bad(s, "a top-level member twice"));
            }
            *ret_value = atlas_span_sub(s->whole, start, s->at - start);
            *ret_found = true;
        }
        skip_space(s);
    } while (byte_at(s) == ',');
    if (byte_at(s) != '}') {
        ATLAS_TRY(bad(s, "a comma or closing bracket is missing"));
    }
out:
    return rc;
}

static int scan_document(struct atlas_span document, const char *key, const char *where, struct atlas_span *ret_value,
                         bool *ret_found, struct atlas_error *error)
{
    struct scan s = {.whole = document, .depth = 1, .objects = 1u << 1, .where = where, .error = error};
    if (document.n > ATLAS_MAX_JSON_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "JSON of %zu bytes", document.n);
    }
    skip_space(&s);
    if (byte_at(&s) != '{') {
        return bad(&s, "not a JSON object");
    }
    size_t brace = s.at++;
    skip_space(&s);
    if (byte_at(&s) != '}') {
        s.at = brace;
        int rc = scan_members(&s, key, ret_value, ret_found);
        if (rc < 0) {
            return rc;
        }
    }
    s.at++;
    skip_space(&s);
    return s.at == document.n ? ATLAS_OK : bad(&s, "bytes after the JSON document");
}

int atlas_json_check(struct atlas_span document, const char *where, struct atlas_error *error)
{
    bool found = false;
    struct atlas_span value;
    return scan_document(document, NULL, where, &value, &found, error);
}

int atlas_json_find(struct atlas_span document, const char *key, const char *where, struct atlas_span *ret_value,
                    struct atlas_error *error)
{
    bool found = false;
    struct atlas_span value = ATLAS_SPAN_NONE;
    int rc = scan_document(document, key, where, &value, &found, error);
    if (rc < 0) {
        return rc;
    }
    if (!found) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, where, "there is no member \"%s\"", key);
    }
    *ret_value = value;
    return ATLAS_OK;
}
