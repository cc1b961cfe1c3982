/*
 * tdx_quote.h - Intel TDX quotes, versions 4 and 5, as views. Structure only: nothing here is verified.
 *
 * Source: Intel TDX DCAP Quoting Library API, appendix A.3 (version 4) and A.4 (version 5). All integers little endian.
 * Bytes after the authentication data exist in the field (buffers of fixed size) and are signed by nobody: counted, not
 * read.
 */
#ifndef ATLAS_FORMAT_TDX_QUOTE_H
#define ATLAS_FORMAT_TDX_QUOTE_H

#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_QUOTE_BYTES (1u << 20)
#define ATLAS_MAX_QE_AUTH_BYTES 65535

enum atlas_tdx_body_type {
    ATLAS_TDX_BODY_10 = 2,   /* TD 1.0; what version 4 holds without saying so */
    ATLAS_TDX_BODY_15 = 3,   /* TD 1.5: two TCB versions, service TD */
    ATLAS_TDX_BODY_15EX = 4, /* TD 1.5 with migration history */
};

/* A.3.2: what the attestation key signed about the trust domain. Every span has its full size; those of the later
 * types have p == NULL where the body has none. */
struct atlas_tdx_body {
    struct atlas_span tee_tcb_svn;     /* 16: of the TDX module and loader when the TD was launched */
    struct atlas_span mrseam;          /* 48 */
    struct atlas_span mrsignerseam;    /* 48 */
    struct atlas_span seam_attributes; /* 8 */
    struct atlas_span td_attributes;   /* 8 */
    struct atlas_span xfam;            /* 8 */
    struct atlas_span mrtd;            /* 48 */
    struct atlas_span mrconfigid;      /* 48 */
    struct atlas_span mrowner;         /* 48 */
    struct atlas_span mrownerconfig;   /* 48 */
    struct atlas_span rtmr[4];         /* 48 each */
    struct atlas_span report_data;     /* 64 */
    struct atlas_span tee_tcb_svn2;    /* 16: at present; TD 1.5 */
    struct atlas_span mrservicetd;     /* 48; TD 1.5 */
};

/* Intel SDM volume 3D, "REPORT" (the quoting enclave's own). */
struct atlas_sgx_report {
    struct atlas_span whole;       /* 384: what the PCK signed */
    struct atlas_span cpusvn;      /* 16 */
    struct atlas_span miscselect;  /* 4 */
    struct atlas_span attributes;  /* 16 */
    struct atlas_span mrenclave;   /* 32 */
    struct atlas_span mrsigner;    /* 32 */
    struct atlas_span report_data; /* 64 */
    uint16_t isvprodid;
    uint16_t isvsvn;
};

/* A.3.9: certification data types. */
enum atlas_cert_data {
    ATLAS_CERT_PPID = 1,
    ATLAS_CERT_PPID_RSA2048 = 2,
    ATLAS_CERT_PPID_RSA3072 = 3,
    ATLAS_CERT_PCK_LEAF = 4,  /* PEM: the leaf alone */
    ATLAS_CERT_PCK_CHAIN = 5, /* PEM: leaf, intermediate, root */
    ATLAS_CERT_QE_REPORT = 6, /* the outer type: always this */
};

struct atlas_tdx_quote {
    uint16_t version;
    uint16_t body_type; /* enum atlas_tdx_body_type */
    struct atlas_span user_data;        /* 20, of the header */
    struct atlas_span signed_part;      /* header and body: what the attestation key signed */
    struct atlas_tdx_body body;
    struct atlas_span signature;        /* 64: r || s */
    struct atlas_span attestation_key;  /* 64: x || y on P-256 */
    struct atlas_sgx_report qe_report;
    struct atlas_span qe_signature;     /* 64 */
    struct atlas_span qe_auth;          /* any length */
    uint16_t cert_type;                 /* 1 to 5 */
    struct atlas_span cert_data;        /* PEM without the NUL that some quotes end it with */
    size_t size;                        /* of the quote itself */
    size_t trailing;                    /* bytes after it */
};

/* ATLAS_E_EVIDENCE: not the format; ATLAS_E_UNSUPPORTED: a quote, but of a kind that is not verified here (SGX, P-384
 * keys, platform manifests), ATLAS_E_LIMIT. */
int atlas_tdx_quote_read(struct atlas_span bytes, struct atlas_tdx_quote *ret_quote,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
