/* fuzz_ccel.c - event logs: the cursor ends, never past the log, and the replay agrees with it. */
#include "format/ccel.h"
#include "fuzz.h"
#include "stage/attest.h"

static size_t count(struct atlas_span bytes, int *ret_rc)
{
    struct atlas_ccel log;
    struct atlas_ccel_event event;
    size_t n = 0;
    bool more = true;
    int rc = atlas_ccel_init(&log, bytes, NULL);
    while (rc == ATLAS_OK && more) {
        rc = atlas_ccel_next(&log, &event, &more);
        if (rc == ATLAS_OK && more) {
            REQUIRE(event.data.n <= bytes.n && (event.sha384.p == NULL || event.sha384.n == 48));
            n++;
        }
        REQUIRE(log.rest.n <= bytes.n);
    }
    *ret_rc = rc;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_ccel_replay replay;
    struct atlas_span bytes = own_copy(data, size);
    int walked;
    size_t n = count(bytes, &walked);
    int rc = atlas_ccel_replay(bytes, &replay, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(walked == ATLAS_OK && replay.events == n + 1 && replay.used <= size);
    }
    free_copy(bytes);
    return 0;
}
