#include "base/path.h"

#include <stdio.h>

static bool is_plain(uint8_t c)
{
    return c >= 0x21 && c <= 0x7E && c != '%';
}

void atlas_path_encode(struct atlas_span raw, struct atlas_buf *ret_encoded)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t start = 0; /* of bytes that stay as they are */
    for (size_t i = 0; i < raw.n; i++) {
        uint8_t c = raw.p[i];
        if (!is_plain(c)) {
            const char text[3] = {'%', digits[c >> 4], digits[c & 15]};
            atlas_buf_append(ret_encoded, atlas_span_sub(raw, start, i - start));
            atlas_buf_append(ret_encoded, atlas_span_of(text, 3));
            start = i + 1;
        }
    }
    atlas_buf_append(ret_encoded, atlas_span_sub(raw, start, raw.n - start));
}

static int nibble(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Cut one byte, encoded or plain, off the front; -1: at the end, or not in the one encoded form. */
static int take(struct atlas_span *rest)
{
    struct atlas_span hex;
    uint8_t c;
    if (!atlas_span_take_u8(rest, &c)) {
        return -1;
    }
    if (c != '%') {
        return is_plain(c) ? c : -1;
    }
    if (!atlas_span_take(rest, 2, &hex) || nibble(hex.p[0]) < 0 || nibble(hex.p[1]) < 0) {
        return -1;
    }
    int value = nibble(hex.p[0]) * 16 + nibble(hex.p[1]);
    return is_plain((uint8_t)value) ? -1 : value;
}

void atlas_path_decode(struct atlas_span encoded, struct atlas_buf *ret_raw)
{
    int c = take(&encoded);
    while (c >= 0) {
        atlas_buf_append_u8(ret_raw, (uint8_t)c);
        c = take(&encoded);
    }
}

int atlas_path_compare(struct atlas_span a, struct atlas_span b)
{
    int left;
    int right;
    do {
        left = take(&a);
        right = take(&b);
    } while (left == right && left >= 0);
    return (left > right) - (left < right);
}

static bool is_component(struct atlas_span c)
{
    return c.n != 0 && !atlas_span_equal(c, ATLAS_LIT(".")) && !atlas_span_equal(c, ATLAS_LIT(".."));
}

/* Neither '/' nor '.' is ever encoded, so components look the same in both forms. */
static bool has_good_components(struct atlas_span path)
{
    size_t start = 0;
    for (size_t i = 0; i <= path.n; i++) {
        if (i == path.n || path.p[i] == '/') {
            if (!is_component(atlas_span_sub(path, start, i - start))) {
                return false;
            }
            start = i + 1;
        }
    }
    return true;
}

bool atlas_path_check(struct atlas_span encoded)
{
    if (encoded.n == 0 || !has_good_components(encoded)) {
        return false;
    }
    while (encoded.n != 0) {
        if (take(&encoded) <= 0) { /* 0: a NUL */
            return false;
        }
    }
    return true;
}

bool atlas_path_check_raw(struct atlas_span raw)
{
    return raw.n != 0 && memchr(raw.p, 0, raw.n) == NULL && has_good_components(raw);
}

unsigned atlas_path_depth(const char *path)
{
    unsigned n = 1;
    for (; *path != '\0'; path++) {
        n += *path == '/';
    }
    return n;
}

void atlas_path_where(const char *path, bool encode, char *out, size_t n)
{
    struct atlas_buf text = ATLAS_BUF_INIT;
    if (encode) {
        atlas_path_encode(atlas_span_str(path), &text);
    } else {
        atlas_buf_append(&text, atlas_span_str(path));
    }
    struct atlas_span shown = atlas_buf_span(&text);
    const char *cut = "";
    if (shown.n >= n) {
        cut = "...";
        shown = atlas_span_sub(shown, shown.n - (n - 4), n - 4);
    }
    snprintf(out, n, "%s%.*s", cut, (int)shown.n, shown.n != 0 ? (const char *)shown.p : "");
    atlas_buf_release(&text);
}
