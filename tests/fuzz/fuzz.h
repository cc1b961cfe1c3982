/* fuzz.h - what the targets share. */
#ifndef ATLAS_FUZZ_H
#define ATLAS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* libFuzzer's entry point, and that of replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input, in every build. */
#define REQUIRE(condition)                                                     \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* The input in a block of its own, of its exact size, so that a sanitizer sees the first byte beyond it. */
static inline struct atlas_span own_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size != 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    if (size != 0) {
        memcpy(copy, data, size);
    }
    return atlas_span_of(copy, size);
}

static inline void free_copy(struct atlas_span copy)
{
    union {
        const uint8_t *borrowed;
        uint8_t *owned;
    } p = {copy.p};
    free(p.owned);
}

#endif
