#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t digit(uint32_t v)
{
    return (uint8_t)digits[v & 63];
}

void atlas_base64_encode(struct atlas_span bytes, struct atlas_buf *ret_text)
{
    uint8_t *out = atlas_buf_extend(ret_text, (bytes.n + 2) / 3 * 4);
    if (out == NULL) {
        return;
    }
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t left = bytes.n - i;
        uint32_t v = (uint32_t)bytes.p[i] << 16 | (left > 1 ? (uint32_t)bytes.p[i + 1] << 8 : 0) |
                     (left > 2 ? bytes.p[i + 2] : 0);
        *out++ = digit(v >> 18);
        *out++ = digit(v >> 12);
        *out++ = left > 1 ? digit(v >> 6) : '=';
        *out++ = left > 2 ? digit(v) : '=';
    }
}

/* 64 for what is no digit. */
static uint32_t value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint32_t)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (uint32_t)(c - 'a' + 26);
    }
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0' + 52);
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* How many bytes a text of this form stands for; false where it cannot be one by its length and padding. */
static bool size_of(struct atlas_span text, size_t *ret_n)
{
    if (text.n % 4 != 0) {
        return false;
    }
    size_t padding = 0;
    while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=') {
        padding++;
    }
    *ret_n = text.n / 4 * 3 - padding;
    return true;
}

/* Does text stand for exactly these n bytes? They are written in any case. */
static bool decode(struct atlas_span text, uint8_t *out, size_t n)
{
    size_t done = 0;
    for (size_t i = 0; i < text.n; i += 4) {
        size_t take = n - done < 3 ? n - done : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            uint32_t d = k <= take ? value_of(text.p[i + k]) : 0; /* the rest is padding, which was counted */
            if (d > 63) {
                return false;
            }
            v = v << 6 | d;
        }
        for (size_t k = 0; k < take; k++) {
            out[done++] = (uint8_t)(v >> (16 - 8 * k));
        }
        if (take < 3 && (v & (0xFFFFFFu >> (8 * take))) != 0) {
            return false;
        }
    }
    return true;
}

bool atlas_base64_decode_exact(struct atlas_span text, uint8_t *ret_bytes, size_t n)
{
    size_t size;
    return size_of(text, &size) && size == n && decode(text, ret_bytes, n);
}

bool atlas_base64_decode(struct atlas_span text, struct atlas_buf *ret_bytes)
{
    size_t n;
    size_t before = ret_bytes->n;
    if (!size_of(text, &n)) {
        return false;
    }
    uint8_t *out = n != 0 ? atlas_buf_extend(ret_bytes, n) : NULL;
    if (n != 0 && out == NULL) {
        return true; /* sticky in the buffer */
    }
    if (decode(text, out, n)) {
        return true;
    }
    ret_bytes->n = before;
    return false;
}
