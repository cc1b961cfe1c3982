/* table.c - a map read by a table that is its schema. */
#include "port/cbor.h"

static int take_number(struct atlas_cbor *c, enum atlas_cbor_want want, struct atlas_cbor_uint *ret)
{
    struct atlas_cbor_uint number = {.present = true};
    bool flag = false;
    int rc = want == ATLAS_CBOR_WANT_BOOL ? atlas_cbor_take_bool(c, &flag) : atlas_cbor_take_uint(c, &number.v);
    if (rc == ATLAS_OK) {
        number.v = want == ATLAS_CBOR_WANT_BOOL ? flag : number.v;
        *ret = number;
    }
    return rc;
}

static int take_typed_raw(struct atlas_cbor *c, enum atlas_cbor_type type, const char *name, struct atlas_span *ret)
{
    if (atlas_cbor_peek(c) != type) {
        return atlas_cbor_refuse(c, c->misfit, "must be %s", name);
    }
    return atlas_cbor_take_raw(c, ret);
}

/* POINTER MATH: `view` is the struct that the table was written for. */
static int take_field(struct atlas_cbor *c, const struct atlas_cbor_field *field, void *view)
{
    void *member = (char *)view + field->offset;
    switch (field->want) {
    case ATLAS_CBOR_WANT_UINT:
    case ATLAS_CBOR_WANT_BOOL:
        return take_number(c, field->want, member);
    case ATLAS_CBOR_WANT_BYTES:
        return atlas_cbor_take_bytes(c, member);
    case ATLAS_CBOR_WANT_TEXT:
        return atlas_cbor_take_text(c, member);
    case ATLAS_CBOR_WANT_DATE:
        return atlas_cbor_take_date(c, member);
    case ATLAS_CBOR_WANT_ARRAY:
        return take_typed_raw(c, ATLAS_CBOR_ARRAY, "an array", member);
    case ATLAS_CBOR_WANT_MAP:
        return take_typed_raw(c, ATLAS_CBOR_MAP, "a map", member);
    case ATLAS_CBOR_WANT_ANY:
        return atlas_cbor_take_raw(c, member);
    }
    return atlas_cbor_refuse(c, ATLAS_E_INTERNAL, "no such kind of field");
}

static const struct atlas_cbor_field *find_field(const struct atlas_cbor_field *fields, size_t n, struct atlas_span key)
{
    for (size_t i = 0; i < n; i++) {
        if (atlas_span_equal(key, atlas_span_str(fields[i].name))) {
            return &fields[i];
        }
    }
    return NULL;
}

/* One entry; its bit in *seen when the table knows the key. */
static int read_entry(struct atlas_cbor *c, const struct atlas_cbor_field *fields, size_t n, void *view, uint64_t *seen)
{
    struct atlas_span key = ATLAS_SPAN_NONE;
    if (atlas_cbor_peek(c) != ATLAS_CBOR_TEXT) {
        int rc = atlas_cbor_skip(c);
        return rc < 0 ? rc : atlas_cbor_skip(c);
    }
    int rc = atlas_cbor_take_text(c, &key);
    if (rc < 0) {
        return rc;
    }
    const struct atlas_cbor_field *field = find_field(fields, n, key);
    if (field == NULL) {
        return atlas_cbor_skip(c);
    }
    const char *outer = c->field;
    c->field = field->name;
    rc = take_field(c, field, view);
    if (rc == ATLAS_OK) {
        c->field = outer;
        *seen |= UINT64_C(1) << (field - fields);
    }
    return rc;
}

int atlas_cbor_read_map(struct atlas_cbor *c, const struct atlas_cbor_field *fields, size_t n, void *view)
{
    uint64_t seen = 0;
    int rc = n <= 64 ? atlas_cbor_enter_map(c, NULL) : atlas_cbor_refuse(c, ATLAS_E_ARG, "too many fields");
    while (rc == ATLAS_OK && atlas_cbor_more(c)) {
        rc = read_entry(c, fields, n, view, &seen);
    }
    for (size_t i = 0; rc == ATLAS_OK && i < n; i++) {
        if (fields[i].required && (seen >> i & 1u) == 0) {
            c->field = fields[i].name;
            return atlas_cbor_refuse(c, c->misfit, "is missing");
        }
    }
    return rc < 0 ? rc : atlas_cbor_leave(c);
}
