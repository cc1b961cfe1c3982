/* json.c - parsed documents: jansson behind one door. */
#include "port/json.h"

#include <jansson.h>

static const json_t *of(const struct atlas_json *value)
{
    return (const json_t *)(const void *)value;
}

static const struct atlas_json *to(const json_t *value)
{
    return (const struct atlas_json *)(const void *)value;
}

int atlas_json_new(struct atlas_span document, const char *where, struct atlas_json **ret_document,
                   struct atlas_error *error)
{
    json_error_t reason;
    int rc = atlas_json_check(document, where, error);
    if (rc < 0) {
        return rc;
    }
    json_t *value = json_loadb((const char *)document.p, document.n, JSON_REJECT_DUPLICATES, &reason);
    if (value == NULL) {
        if (json_error_code(&reason) == json_error_out_of_memory) {
            return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
        }
        size_t at = reason.position >= 0 ? (size_t)reason.position : ATLAS_NO_OFFSET;
        return atlas_error_at(error, ATLAS_E_JSON, at, where, "%s", reason.text);
    }
    *ret_document = (struct atlas_json *)(void *)value;
    return ATLAS_OK;
}

void atlas_json_free(struct atlas_json *document)
{
    json_decref((json_t *)(void *)document);
}

const struct atlas_json *atlas_json_member(const struct atlas_json *object, const char *key)
{
    return object != NULL ? to(json_object_get(of(object), key)) : NULL;
}

size_t atlas_json_count(const struct atlas_json *array)
{
    return array != NULL ? json_array_size(of(array)) : 0;
}

const struct atlas_json *atlas_json_at(const struct atlas_json *array, size_t index)
{
    return to(json_array_get(of(array), index));
}

bool atlas_json_text(const struct atlas_json *value, struct atlas_span *ret_text)
{
    if (value == NULL || !json_is_string(of(value))) {
        return false;
    }
    *ret_text = atlas_span_of(json_string_value(of(value)), json_string_length(of(value)));
    return true;
}

/* ------------------------------------------------------------------------------------------------ scalars */

static int nibble(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_bytes(struct atlas_span text, uint8_t *ret_bytes, size_t n)
{
    if (text.n != 2 * n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int high = nibble(text.p[2 * i]);
        int low = nibble(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool atlas_json_hex(const struct atlas_json *value, uint8_t *ret_bytes, size_t n)
{
    struct atlas_span text;
    return atlas_json_text(value, &text) && hex_bytes(text, ret_bytes, n);
}

static bool digits(const uint8_t *p, size_t n, int64_t *ret_v)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        v = v * 10 + (p[i] - '0');
    }
    *ret_v = v;
    return true;
}

static bool leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_before(int64_t year, int64_t month)
{
    static const int before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - 1;
    int64_t days = y * 365 + y / 4 - y / 100 + y / 400 - 719162; /* 719162 days from 0001-01-01 to 1970-01-01 */
    return days + before[month - 1] + (month > 2 && leap(year));
}

static int64_t days_in(int64_t year, int64_t month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && leap(year));
}

/* RFC 3339 as vendors write it: whole seconds, Z. */
bool atlas_json_date(struct atlas_span text, int64_t *ret_time)
{
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    if (text.n != 20 || text.p[4] != '-' || text.p[7] != '-' || text.p[10] != 'T' || text.p[13] != ':' ||
        text.p[16] != ':' || text.p[19] != 'Z') {
        return false;
    }
    if (!digits(text.p, 4, &year) || !digits(text.p + 5, 2, &month) || !digits(text.p + 8, 2, &day) ||
        !digits(text.p + 11, 2, &hour) || !digits(text.p + 14, 2, &minute) || !digits(text.p + 17, 2, &second)) {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 ||
        second > 59) {
        return false;
    }
    *ret_time = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    return true;
}

/* ------------------------------------------------------------------------------------------------ objects */

static bool store_uint(const json_t *value, bool boolean, struct atlas_json_uint *ret_v)
{
    if (boolean ? !json_is_boolean(value) : !json_is_integer(value)) {
        return false;
    }
    json_int_t v = boolean ? json_is_true(value) : json_integer_value(value);
    *ret_v = (struct atlas_json_uint){true, (uint64_t)v};
    return v >= 0 && v <= (json_int_t)1 << 53;
}

static bool store_date(const struct atlas_json *value, int64_t *ret_time)
{
    struct atlas_span text;
    return atlas_json_text(value, &text) && atlas_json_date(text, ret_time);
}

static bool store_hex(const struct atlas_json *value, size_t n, struct atlas_json_hex *ret_hex)
{
    ret_hex->n = n;
    return n <= sizeof ret_hex->b && atlas_json_hex(value, ret_hex->b, n);
}

static bool store_container(const struct atlas_json *value, bool object, const struct atlas_json **ret_value)
{
    *ret_value = value;
    return object ? json_is_object(of(value)) : json_is_array(of(value));
}

static bool store(const struct atlas_json *value, const struct atlas_json_field *field, void *member)
{
    switch (field->want) {
    case ATLAS_JSON_WANT_UINT:
        return store_uint(of(value), false, member);
    case ATLAS_JSON_WANT_BOOL:
        return store_uint(of(value), true, member);
    case ATLAS_JSON_WANT_TEXT:
        return atlas_json_text(value, member);
    case ATLAS_JSON_WANT_DATE:
        return store_date(value, member);
    case ATLAS_JSON_WANT_HEX:
        return store_hex(value, field->size, member);
    case ATLAS_JSON_WANT_OBJECT:
        return store_container(value, true, member);
    case ATLAS_JSON_WANT_ARRAY:
        return store_container(value, false, member);
    }
    return false;
}

static bool named(const char *key, const struct atlas_json_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key, fields[i].name) == 0) {
            return true;
        }
    }
    return false;
}

static int check_closed(const json_t *object, const struct atlas_json_field *fields, size_t n, const char *where,
                        struct atlas_error *error)
{
    union {
        const json_t *in;
        json_t *out;
    } walked = {object}; /* jansson's iterators want a value that may change; nothing is changed */
    for (void *i = json_object_iter(walked.out); i != NULL; i = json_object_iter_next(walked.out, i)) {
        const char *key = json_object_iter_key(i);
        if (!named(key, fields, n)) {
            return atlas_error_set(error, ATLAS_E_JSON, where, "unknown member \"%.60s\"", key);
        }
    }
    return ATLAS_OK;
}

int atlas_json_read(const struct atlas_json *object, const struct atlas_json_field *fields, size_t n, bool closed,
                    const char *where, void *view, struct atlas_error *error)
{
    if (object == NULL || !json_is_object(of(object))) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "not an object");
    }
    for (size_t i = 0; i < n; i++) {
        const struct atlas_json *value = atlas_json_member(object, fields[i].name);
        if (value == NULL && fields[i].required) {
            return atlas_error_set(error, ATLAS_E_JSON, where, "there is no member \"%s\"", fields[i].name);
        }
        if (value != NULL && !store(value, &fields[i], (uint8_t *)view + fields[i].offset)) {
            return atlas_error_set(error, ATLAS_E_JSON, where, "member \"%s\" is not what it must be", fields[i].name);
        }
    }
    return closed ? check_closed(of(object), fields, n, where, error) : ATLAS_OK;
}
