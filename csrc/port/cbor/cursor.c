/* cursor.c - typed steps through one document. Bounds are checked again at every step: memory safety does not rest on
 * the document having been checked. */
#include <stdarg.h>
#include <stdio.h>

#include "port/cbor/item.h"

static size_t position(const struct atlas_cbor *c)
{
    return c->whole.n - c->rest.n;
}

/* "claim.created_assertions[3].hash" */
static void describe_place(const struct atlas_cbor *c, char *out, size_t size)
{
    char index[24] = "";
    if (c->index != ATLAS_NO_OFFSET) {
        (void)snprintf(index, sizeof index, "[%zu]", c->index);
    }
    const char *field = c->field != NULL ? c->field : "";
    (void)snprintf(out, size, "%s%s%s%s", c->where != NULL ? c->where : "", index, *field != '\0' ? "." : "", field);
}

int atlas_cbor_refuse(struct atlas_cbor *c, int code, const char *format, ...)
{
    char where[sizeof c->error->where];
    char text[sizeof c->error->text];
    va_list args;
    if (c->rc < 0) {
        return c->rc;
    }
    c->rc = code < 0 ? code : ATLAS_E_INTERNAL; /* a cursor that nobody initialised must not read as success */
    describe_place(c, where, sizeof where);
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return atlas_error_at(c->error, c->rc, position(c), where, "%s", text);
}

int atlas_cbor_init(struct atlas_cbor *c, struct atlas_span document, const char *where, struct atlas_error *error)
{
    atlas_cbor_open(c, document, where, error);
    c->rc = atlas_cbor_check(document, where, error);
    return c->rc;
}

void atlas_cbor_open(struct atlas_cbor *c, struct atlas_span item, const char *where, struct atlas_error *error)
{
    *c = (struct atlas_cbor){
        .whole = item,
        .rest = item,
        .error = error,
        .where = where,
        .index = ATLAS_NO_OFFSET,
        .misfit = ATLAS_E_CBOR,
        .left = {1},
    };
}

int atlas_cbor_open_list(struct atlas_cbor *c, struct atlas_span array, const char *where, struct atlas_error *error)
{
    atlas_cbor_open(c, array, where, error);
    int rc = atlas_cbor_enter_array(c, NULL);
    c->index = 0;
    return rc;
}

/* Look at the next item of the open level. */
static int look(struct atlas_cbor *c, struct atlas_cbor_item *ret_item)
{
    if (c->rc < 0) {
        return c->rc;
    }
    if (c->left[c->depth] == 0) {
        return atlas_cbor_refuse(c, c->misfit, "ends too early");
    }
    const char *why;
    int rc = atlas_cbor_item_read(c->rest, ret_item, &why);
    return rc < 0 ? atlas_cbor_refuse(c, rc, "%s", why) : ATLAS_OK;
}

/* One item of the open level is done with. */
static void count_down(struct atlas_cbor *c)
{
    c->left[c->depth]--;
    if (c->depth == 1 && c->index != ATLAS_NO_OFFSET) {
        c->index++;
    }
}

/* Take the next item's own bytes if it is of this type. */
static int take(struct atlas_cbor *c, enum atlas_cbor_type type, const char *name, struct atlas_cbor_item *ret_item)
{
    struct atlas_cbor_item item = {0};
    struct atlas_span own;
    int rc = look(c, &item);
    if (rc < 0) {
        return rc;
    }
    if (item.type != type) {
        return atlas_cbor_refuse(c, c->misfit, "must be %s", name);
    }
    (void)atlas_span_take(&c->rest, item.size, &own); /* read saw that it is there */
    if (type != ATLAS_CBOR_ARRAY && type != ATLAS_CBOR_MAP && type != ATLAS_CBOR_TAG) {
        count_down(c);
    }
    *ret_item = item;
    return ATLAS_OK;
}

enum atlas_cbor_type atlas_cbor_peek(const struct atlas_cbor *c)
{
    struct atlas_cbor_item item = {0};
    const char *why;
    if (!atlas_cbor_more(c) || atlas_cbor_item_read(c->rest, &item, &why) < 0) {
        return ATLAS_CBOR_NONE;
    }
    return item.type;
}

bool atlas_cbor_more(const struct atlas_cbor *c)
{
    return c->rc == ATLAS_OK && c->left[c->depth] != 0;
}

int atlas_cbor_take_uint(struct atlas_cbor *c, uint64_t *ret_v)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_UINT, "an unsigned integer", &item);
    if (rc == ATLAS_OK) {
        *ret_v = item.v;
    }
    return rc;
}

int atlas_cbor_take_int(struct atlas_cbor *c, int64_t *ret_v)
{
    struct atlas_cbor_item item = {0};
    bool negative = atlas_cbor_peek(c) == ATLAS_CBOR_NEGINT;
    int rc = take(c, negative ? ATLAS_CBOR_NEGINT : ATLAS_CBOR_UINT, "an integer", &item);
    if (rc < 0) {
        return rc;
    }
    if (item.v > INT64_MAX) {
        return atlas_cbor_refuse(c, c->misfit, "an integer beyond 64 bits with sign");
    }
    *ret_v = negative ? -1 - (int64_t)item.v : (int64_t)item.v;
    return ATLAS_OK;
}

int atlas_cbor_take_negint(struct atlas_cbor *c, uint64_t *ret_v)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_NEGINT, "a negative integer", &item);
    if (rc == ATLAS_OK) {
        *ret_v = item.v;
    }
    return rc;
}

int atlas_cbor_take_bytes(struct atlas_cbor *c, struct atlas_span *ret_bytes)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_BYTES, "a byte string", &item);
    if (rc == ATLAS_OK) {
        *ret_bytes = item.body;
    }
    return rc;
}

int atlas_cbor_take_text(struct atlas_cbor *c, struct atlas_span *ret_text)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_TEXT, "text", &item);
    if (rc == ATLAS_OK) {
        *ret_text = item.body;
    }
    return rc;
}

int atlas_cbor_take_date(struct atlas_cbor *c, struct atlas_span *ret_text)
{
    uint64_t tag = ATLAS_CBOR_TAG_DATE;
    if (atlas_cbor_peek(c) == ATLAS_CBOR_TAG && atlas_cbor_take_tag(c, &tag) < 0) {
        return c->rc;
    }
    if (tag != ATLAS_CBOR_TAG_DATE) {
        return atlas_cbor_refuse(c, c->misfit, "must be a date: text, tagged 0 or not at all");
    }
    return atlas_cbor_take_text(c, ret_text);
}

int atlas_cbor_take_bool(struct atlas_cbor *c, bool *ret_v)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_BOOL, "true or false", &item);
    if (rc == ATLAS_OK) {
        *ret_v = item.v == ATLAS_CBOR_SIMPLE_TRUE;
    }
    return rc;
}

int atlas_cbor_take_null(struct atlas_cbor *c)
{
    struct atlas_cbor_item item = {0};
    return take(c, ATLAS_CBOR_NULL, "null", &item);
}

int atlas_cbor_take_tag(struct atlas_cbor *c, uint64_t *ret_tag)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_TAG, "a tag", &item);
    if (rc == ATLAS_OK) {
        *ret_tag = item.v;
    }
    return rc;
}

int atlas_cbor_take_double(struct atlas_cbor *c, double *ret_v)
{
    struct atlas_cbor_item item = {0};
    int rc = take(c, ATLAS_CBOR_FLOAT, "a floating-point number", &item);
    if (rc < 0) {
        return rc;
    }
    if (item.head == 3) {
        *ret_v = atlas_cbor_half_value((uint16_t)item.v);
    } else if (item.head == 5) {
        uint32_t bits = (uint32_t)item.v;
        float v;
        memcpy(&v, &bits, sizeof v);
        *ret_v = (double)v;
    } else {
        memcpy(ret_v, &item.v, sizeof *ret_v);
    }
    return ATLAS_OK;
}

static int enter(struct atlas_cbor *c, enum atlas_cbor_type type, const char *name, uint32_t *ret_n)
{
    struct atlas_cbor_item item = {0};
    if (c->rc == ATLAS_OK && c->depth == ATLAS_MAX_CBOR_DEPTH) {
        return atlas_cbor_refuse(c, ATLAS_E_LIMIT, "nested too deeply");
    }
    int rc = take(c, type, name, &item);
    if (rc < 0) {
        return rc;
    }
    c->depth++;
    c->left[c->depth] = item.children;
    if (ret_n != NULL) {
        *ret_n = (uint32_t)item.v;
    }
    return ATLAS_OK;
}

int atlas_cbor_enter_array(struct atlas_cbor *c, uint32_t *ret_n)
{
    return enter(c, ATLAS_CBOR_ARRAY, "an array", ret_n);
}

int atlas_cbor_enter_map(struct atlas_cbor *c, uint32_t *ret_n)
{
    return enter(c, ATLAS_CBOR_MAP, "a map", ret_n);
}

int atlas_cbor_leave(struct atlas_cbor *c)
{
    if (c->rc < 0) {
        return c->rc;
    }
    if (c->depth == 0) {
        return atlas_cbor_refuse(c, ATLAS_E_ARG, "nothing is open");
    }
    if (c->left[c->depth] != 0) {
        return atlas_cbor_refuse(c, c->misfit, "holds more items than it should");
    }
    c->depth--;
    count_down(c);
    return ATLAS_OK;
}

int atlas_cbor_take_raw(struct atlas_cbor *c, struct atlas_span *ret_item)
{
    struct atlas_cbor_item item = {0};
    struct atlas_span whole = ATLAS_SPAN_NONE;
    const char *why;
    int rc = look(c, &item);
    if (rc < 0) {
        return rc;
    }
    rc = atlas_cbor_item_take(&c->rest, &whole, &why);
    if (rc < 0) {
        return atlas_cbor_refuse(c, rc, "%s", why);
    }
    count_down(c);
    *ret_item = whole;
    return ATLAS_OK;
}

int atlas_cbor_skip(struct atlas_cbor *c)
{
    struct atlas_span ignored;
    return atlas_cbor_take_raw(c, &ignored);
}

int atlas_cbor_finish(struct atlas_cbor *c)
{
    if (c->rc < 0) {
        return c->rc;
    }
    if (c->depth != 0 || c->left[0] != 0) {
        return atlas_cbor_refuse(c, ATLAS_E_ARG, "the document was not read to its end");
    }
    return c->rest.n != 0 ? atlas_cbor_refuse(c, ATLAS_E_CBOR, "bytes after the document") : ATLAS_OK;
}
