/*
 * snp_report.h - AMD SEV-SNP attestation reports as views (SEV Secure Nested Paging Firmware ABI Specification, 56860,
 * "ATTESTATION_REPORT"). All integers little endian. Nothing is verified here.
 */
#ifndef ATLAS_FORMAT_SNP_REPORT_H
#define ATLAS_FORMAT_SNP_REPORT_H

#include "base/error.h"
#include "base/span.h"

#define ATLAS_SNP_REPORT_SIZE 0x4A0
#define ATLAS_SNP_SIGNED_SIZE 0x2A0

enum atlas_snp_key { ATLAS_SNP_VCEK = 0, ATLAS_SNP_VLEK = 1 };

struct atlas_snp_report {
    uint32_t version; /* 2 to 5 */
    uint32_t guest_svn;
    uint64_t policy;
    uint32_t vmpl;
    uint64_t platform_info;
    uint8_t signing_key; /* enum atlas_snp_key */
    bool chip_masked;    /* the chip's identity is withheld */
    struct atlas_span family_id;         /* 16 */
    struct atlas_span image_id;          /* 16 */
    struct atlas_span current_tcb;       /* 8, and so the other TCBs */
    struct atlas_span report_data;       /* 64 */
    struct atlas_span measurement;       /* 48 */
    struct atlas_span host_data;         /* 32 */
    struct atlas_span id_key_digest;     /* 48 */
    struct atlas_span author_key_digest; /* 48 */
    struct atlas_span report_id;         /* 32 */
    struct atlas_span reported_tcb;
    struct atlas_span chip_id;           /* 64 */
    struct atlas_span committed_tcb;
    struct atlas_span launch_tcb;
    struct atlas_span signed_part;
    uint8_t signature[96];               /* r || s, most significant byte first */
    size_t trailing;                     /* bytes after the report; signed by nobody */
};

/* ATLAS_E_EVIDENCE: not the format. ATLAS_E_UNSUPPORTED: not signed with ECDSA on P-384 by a VCEK or VLEK. */
int atlas_snp_report_read(struct atlas_span bytes, struct atlas_snp_report *ret_report,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
