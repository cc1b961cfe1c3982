/*
 * ccel.h - event logs of the firmware: TCG PC Client Platform Firmware Profile, 10.2, "crypto agile" form, about the
 * PCRs of a TPM or (CCEL) about the measurement registers of UEFI 2.10, 38.4.1. A cursor over borrowed bytes.
 */
#ifndef ATLAS_FORMAT_CCEL_H
#define ATLAS_FORMAT_CCEL_H

#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_CCEL_BYTES (16u << 20)
#define ATLAS_MAX_CCEL_ALGORITHMS 8

#define ATLAS_EV_NO_ACTION 3u
#define ATLAS_TPM_ALG_SHA256 0x000B
#define ATLAS_TPM_ALG_SHA384 0x000C

struct atlas_ccel {
    struct atlas_span whole;
    struct atlas_span rest;
    size_t n_algorithms;
    struct {
        uint16_t id;
        uint16_t size;
    } algorithms[ATLAS_MAX_CCEL_ALGORITHMS];
    struct atlas_error *error;
};

struct atlas_ccel_event {
    uint32_t mr;   /* a PCR; in CCEL 0: MRTD; 1 to 4: RTMR0 to RTMR3 */
    uint32_t type;
    struct atlas_span sha256; /* 32 bytes; p == NULL: the event has no such digest */
    struct atlas_span sha384; /* 48 bytes; the same */
    struct atlas_span data;
};

/* Read the header event; the log must say how long its digests are. ATLAS_E_EVIDENCE. */
int atlas_ccel_init(struct atlas_ccel *log, struct atlas_span bytes, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The next event; *ret_more is false at the padding or the end. */
int atlas_ccel_next(struct atlas_ccel *log, struct atlas_ccel_event *ret_event, bool *ret_more) ATLAS_MUST_CHECK;

#endif
