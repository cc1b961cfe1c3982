/*
 * hcl_report.h - the report that Azure's paravisor (OpenHCL) leaves in NV index 0x01400001 of a confidential VM's vTPM:
 * a hardware report and JSON with the keys of the vTPM, whose digest stands in the hardware's report data. Integers
 * little endian. Nothing is verified here.
 */
#ifndef ATLAS_FORMAT_HCL_REPORT_H
#define ATLAS_FORMAT_HCL_REPORT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_HCL_BYTES (64u << 10)

enum atlas_hcl_type { ATLAS_HCL_SNP = 2, ATLAS_HCL_TDX = 4 };

struct atlas_hcl_report {
    uint32_t type;               /* enum atlas_hcl_type */
    enum atlas_alg hash;
    struct atlas_span hardware;  /* SNP: the report; TDX: a TDREPORT, which only its own machine could verify */
    struct atlas_span runtime;   /* JSON */
};

/* ATLAS_E_EVIDENCE: not the format. ATLAS_E_UNSUPPORTED: of another kind of machine. */
int atlas_hcl_report_read(struct atlas_span bytes, struct atlas_hcl_report *ret_report,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the RSA modulus of the vTPM's attestation key, the JWK "HCLAkPub". ATLAS_E_NOT_FOUND: there is none. */
int atlas_hcl_attestation_key(const struct atlas_hcl_report *report, struct atlas_buf *ret_modulus,
                              struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
