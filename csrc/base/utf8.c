#include "base/utf8.h"

/* Length of the sequence that starts with `lead`, and the range of its second byte (Unicode 15, table 3-7). */
static size_t sequence(uint8_t lead, uint8_t *ret_low, uint8_t *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xBF;
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        *ret_low = lead == 0xE0 ? 0xA0 : 0x80;
        *ret_high = lead == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        *ret_low = lead == 0xF0 ? 0x90 : 0x80;
        *ret_high = lead == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

bool atlas_utf8_check(struct atlas_span text)
{
    size_t i = 0;
    while (i < text.n) {
        uint8_t low;
        uint8_t high;
        size_t length = sequence(text.p[i], &low, &high);
        if (length == 0 || length > text.n - i) {
            return false;
        }
        for (size_t k = 1; k < length; k++) {
            uint8_t c = text.p[i + k];
            if (c < low || c > high) {
                return false;
            }
            low = 0x80;
            high = 0xBF;
        }
        i += length;
    }
    return true;
}
