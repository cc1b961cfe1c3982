/*
 * spdm.h - attestation reports of NVIDIA GPUs: an SPDM 1.1 GET_MEASUREMENTS request and its MEASUREMENTS response
 * (DMTF DSP0274, 10.11), one after the other. Little endian. Nothing is verified here.
 */
#ifndef ATLAS_FORMAT_SPDM_H
#define ATLAS_FORMAT_SPDM_H

#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_SPDM_BYTES (64u << 10)
#define ATLAS_SPDM_NONCE 32
#define ATLAS_SPDM_SIGNATURE 96 /* ECDSA on P-384, r || s */

/* Types of NVIDIA's opaque data. */
enum atlas_spdm_opaque {
    ATLAS_SPDM_DRIVER = 3,
    ATLAS_SPDM_VBIOS = 6,
    ATLAS_SPDM_FWID = 20,
};

struct atlas_spdm {
    struct atlas_span nonce;          /* 32: of the request, chosen by whoever asked */
    struct atlas_span measurements;   /* blocks, still encoded: walk them with atlas_spdm_next */
    size_t n_measurements;
    struct atlas_span response_nonce; /* 32: of the device */
    struct atlas_span opaque;
    struct atlas_span signed_part;    /* request and response without the signature */
    struct atlas_span signature;      /* 96 */
    size_t trailing;
};

/* Every block and every opaque field is walked once. ATLAS_E_EVIDENCE, ATLAS_E_UNSUPPORTED, ATLAS_E_LIMIT. */
int atlas_spdm_read(struct atlas_span bytes, struct atlas_spdm *ret_report, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Cut the next measurement block off *rest; false at the end. `value` is the measurement itself. */
bool atlas_spdm_next(struct atlas_span *rest, uint8_t *ret_index, struct atlas_span *ret_value);

/* The opaque field of that type; p == NULL: none, or more than one. */
struct atlas_span atlas_spdm_opaque(const struct atlas_spdm *report, uint16_t type);

#endif
