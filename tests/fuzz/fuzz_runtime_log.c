/* fuzz_runtime_log.c - run-time logs: lines counted are lines there, and the value is that of start and lines alone. */
#include "fuzz.h"
#include "stage/attest.h"

static size_t count_ends(struct atlas_span bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        n += bytes.p[i] == '\n';
    }
    return n;
}

/* A log without its last line leads to another value, and has one line less. */
static void shorten(struct atlas_span bytes, const struct atlas_runtime_log *whole)
{
    struct atlas_runtime_log shorter;
    size_t n = bytes.n - 1;
    while (n != 0 && bytes.p[n - 1] != '\n') {
        n--;
    }
    int rc = atlas_runtime_log_replay(atlas_span_of(bytes.p, n), &shorter, NULL);
    REQUIRE((rc == ATLAS_OK) == (whole->lines != 0));
    REQUIRE(rc != ATLAS_OK || shorter.lines + 1 == whole->lines);
    REQUIRE(rc != ATLAS_OK || memcmp(shorter.value, whole->value, 48) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_runtime_log log;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_runtime_log_replay(bytes, &log, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(log.lines + 1 == count_ends(bytes));
        REQUIRE((log.lines == 0) == (memcmp(log.start, log.value, 48) == 0));
        shorten(bytes, &log);
    }
    free_copy(bytes);
    return 0;
}
