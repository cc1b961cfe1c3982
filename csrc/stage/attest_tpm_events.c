/* attest_tpm_events.c - the firmware's event log (TCG PC Client Platform Firmware Profile, 10) against quoted PCRs. */
#include "format/ccel.h"
#include "stage/attest_tpm.h"

static const char where[] = "event log";

#define FIRMWARE_PCRS 10 /* 0 to 9: what comes after boot extends others, and is in no log of the firmware */

struct replay {
    uint8_t pcr[ATLAS_TPM_PCRS][32];
    uint32_t touched;
    struct atlas_hasher hasher;
};

/* 10.4.5.3: the TPM was started at this locality, which is where PCR 0 begins. */
static void note_locality(struct replay *replay, struct atlas_span data)
{
    if (data.n == 17 && atlas_span_starts_with(data, ATLAS_LIT("StartupLocality\0")) && (replay->touched & 1) == 0) {
        replay->pcr[0][31] = data.p[16];
    }
}

static int replay_event(struct replay *replay, const struct atlas_ccel_event *event, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_digest next;
    if (event->type == ATLAS_EV_NO_ACTION) {
        note_locality(replay, event->data);
        return ATLAS_OK;
    }
    if (event->mr >= ATLAS_TPM_PCRS || event->sha256.p == NULL) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, where, "an event of no PCR, or without a SHA-256 digest");
    }
    ATLAS_TRY(atlas_hasher_update(&replay->hasher, atlas_span_of(replay->pcr[event->mr], 32), error));
    ATLAS_TRY(atlas_hasher_update(&replay->hasher, event->sha256, error));
    ATLAS_TRY(atlas_hasher_final(&replay->hasher, &next, error));
    memcpy(replay->pcr[event->mr], next.b, 32);
    replay->touched |= 1u << event->mr;
out:
    return rc;
}

static int replay_log(struct replay *replay, struct atlas_span bytes, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_ccel log;
    struct atlas_ccel_event event;
    bool more = true;
    ATLAS_TRY(atlas_hasher_init(&replay->hasher, ATLAS_SHA256, error));
    ATLAS_TRY(atlas_ccel_init(&log, bytes, error));
    for (;;) {
        ATLAS_TRY(atlas_ccel_next(&log, &event, &more));
        if (!more) {
            break;
        }
        ATLAS_TRY(replay_event(replay, &event, error));
    }
out:
    return rc;
}

static int compare(const struct atlas_tpm_run *run, const struct replay *replay, struct atlas_error *error)
{
    size_t compared = 0;
    for (unsigned i = 0; i < FIRMWARE_PCRS; i++) {
        struct atlas_span quoted = atlas_tpm_run_pcr(run, ATLAS_TPM_SHA256, i);
        if ((replay->touched >> i & 1) == 0 || quoted.p == NULL) {
            continue;
        }
        if (!atlas_span_equal_ct(quoted, atlas_span_of(replay->pcr[i], 32))) {
            return atlas_error_set(error, ATLAS_E_MISMATCH, where, "the log does not replay to PCR %u", i);
        }
        compared++;
    }
    return compared != 0 ? ATLAS_OK
                         : atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "the log is about no PCR that was quoted");
}

int atlas_tpm_events_check(struct atlas_tpm_run *run, struct atlas_error *error)
{
    struct replay replay = {.touched = 0, .hasher = ATLAS_HASHER_INIT};
    struct atlas_span bytes = run->evidence.events;
    if (bytes.p == NULL && !run->tee) {
        bytes = run->request->event_log; /* in a confidential VM that one is about its own registers */
    }
    if (bytes.p == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    int rc = replay_log(&replay, bytes, error);
    atlas_hasher_release(&replay.hasher);
    return rc < 0 ? rc : compare(run, &replay, error);
}
