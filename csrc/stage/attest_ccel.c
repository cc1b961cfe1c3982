/* attest_ccel.c - what the registers must hold if an event log is complete and true. */
#include "format/ccel.h"
#include "port/crypto/crypto.h"
#include "stage/attest.h"

/* RTMR := SHA-384(RTMR || digest) */
static int extend(struct atlas_hasher *hasher, uint8_t rtmr[48], struct atlas_span digest, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_digest next;
    ATLAS_TRY(atlas_hasher_update(hasher, atlas_span_of(rtmr, 48), error));
    ATLAS_TRY(atlas_hasher_update(hasher, digest, error));
    ATLAS_TRY(atlas_hasher_final(hasher, &next, error));
    memcpy(rtmr, next.b, 48);
out:
    return rc;
}

static int replay_event(const struct atlas_ccel_event *event, struct atlas_hasher *hasher,
                        struct atlas_ccel_replay *replay, struct atlas_error *error)
{
    if (event->type == ATLAS_EV_NO_ACTION) {
        return ATLAS_OK; /* informs, extends nothing */
    }
    if (event->mr > 4) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, "event log", "an event of measurement register %lu",
                               (unsigned long)event->mr);
    }
    if (event->sha384.p == NULL) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, "event log", "an event without a SHA-384 digest");
    }
    /* Register 0 is MRTD: measured by the TDX module before anything could log. */
    return event->mr == 0 ? ATLAS_OK : extend(hasher, replay->rtmr[event->mr - 1], event->sha384, error);
}

int atlas_ccel_replay(struct atlas_span bytes, struct atlas_ccel_replay *ret_replay, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_ccel log;
    struct atlas_ccel_replay replay = {.events = 1};
    struct atlas_hasher hasher = ATLAS_HASHER_INIT;
    struct atlas_ccel_event event;
    ATLAS_TRY(atlas_hasher_init(&hasher, ATLAS_SHA384, error));
    ATLAS_TRY(atlas_ccel_init(&log, bytes, error));
    for (;;) {
        bool more = false;
        ATLAS_TRY(atlas_ccel_next(&log, &event, &more));
        if (!more) {
            break;
        }
        ATLAS_TRY(replay_event(&event, &hasher, &replay, error));
        replay.events++;
    }
    replay.used = bytes.n - log.rest.n;
    *ret_replay = replay;
out:
    atlas_hasher_release(&hasher);
    return rc;
}
