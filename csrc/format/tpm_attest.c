#include "format/tpm_attest.h"

#define GENERATED 0xFF544347u /* TPM_GENERATED_VALUE: a restricted key signs it only in what the TPM made itself */
#define ECC_P256 3
#define ECC_P384 4

enum atlas_alg atlas_tpm_hash(uint16_t tpm_alg)
{
    switch (tpm_alg) {
    case ATLAS_TPM_SHA256:
        return ATLAS_SHA256;
    case ATLAS_TPM_SHA384:
        return ATLAS_SHA384;
    case ATLAS_TPM_SHA512:
        return ATLAS_SHA512;
    default:
        return ATLAS_ALG_NONE;
    }
}

/* --------------------------------------------------------------------------------------------- a small reader */

struct reader {
    struct atlas_span whole;
    struct atlas_span rest;
    const char *where;
    struct atlas_error *error;
    int rc; /* the first error, sticky */
};

static struct reader reader_of(struct atlas_span bytes, const char *where, struct atlas_error *error)
{
    return (struct reader){bytes, bytes, where, error, ATLAS_OK};
}

static void refuse(struct reader *r, int code, const char *text)
{
    if (r->rc == ATLAS_OK) {
        r->rc = atlas_error_at(r->error, code, r->whole.n - r->rest.n, r->where, "%s", text);
    }
}

static struct atlas_span take(struct reader *r, size_t n)
{
    struct atlas_span head = ATLAS_SPAN_NONE;
    if (r->rc == ATLAS_OK && !atlas_span_take(&r->rest, n, &head)) {
        refuse(r, ATLAS_E_EVIDENCE, "cut off");
    }
    return r->rc == ATLAS_OK ? head : ATLAS_SPAN_NONE;
}

static uint64_t take_number(struct reader *r, size_t n)
{
    struct atlas_span bytes = take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        v = v << 8 | bytes.p[i];
    }
    return v;
}

static uint16_t take16(struct reader *r)
{
    return (uint16_t)take_number(r, 2);
}

static uint32_t take32(struct reader *r)
{
    return (uint32_t)take_number(r, 4);
}

/* TPM2B_...: a size and as many bytes. */
static struct atlas_span take_sized(struct reader *r, size_t max)
{
    uint16_t n = take16(r);
    if (n > max) {
        refuse(r, ATLAS_E_EVIDENCE, "longer than the field may be");
    }
    return take(r, n);
}

static int finish(struct reader *r)
{
    if (r->rest.n != 0) {
        refuse(r, ATLAS_E_EVIDENCE, "bytes after the end");
    }
    return r->rc;
}

/* ---------------------------------------------------------------------------------------------- TPMS_ATTEST */

#define MAX_NAME 66  /* algorithm and digest; TPM2B_NAME */
#define MAX_DATA 66  /* TPM2B_DATA: sizeof(TPMT_HA) */
#define MAX_DIGEST 64
#define MAX_NV 2048

/* 10.6.2; PCRs beyond 23 do not exist on a PC (Platform TPM Profile), and a bank twice would be read in two ways. */
static void take_selection(struct reader *r, struct atlas_tpm_attest *a, size_t index)
{
    struct atlas_tpm_selection bank = {.hash = take16(r)};
    uint8_t n = (uint8_t)take_number(r, 1);
    struct atlas_span bits = take(r, n);
    if (n == 0 || n > 4) {
        refuse(r, ATLAS_E_EVIDENCE, "a PCR selection of an impossible size");
        return;
    }
    for (size_t i = 0; i < bits.n; i++) {
        bank.pcrs |= (uint32_t)bits.p[i] << 8 * i;
    }
    for (size_t i = 0; i < index; i++) {
        if (a->banks[i].hash == bank.hash) {
            refuse(r, ATLAS_E_EVIDENCE, "a PCR bank twice");
        }
    }
    if (bank.pcrs >> ATLAS_TPM_PCRS != 0) {
        refuse(r, ATLAS_E_EVIDENCE, "a PCR beyond 23");
    }
    a->banks[index] = bank;
}

static void take_quote(struct reader *r, struct atlas_tpm_attest *a)
{
    uint32_t n = take32(r);
    if (n > ATLAS_TPM_MAX_BANKS) {
        refuse(r, ATLAS_E_EVIDENCE, "too many PCR banks");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        take_selection(r, a, i);
    }
    a->n_banks = n;
    a->pcr_digest = take_sized(r, MAX_DIGEST);
}

/* 10.12.8 and 10.12.9: offset and contents, or offset, size and the digest of the contents. */
static void take_nv(struct reader *r, struct atlas_tpm_attest *a)
{
    a->name = take_sized(r, MAX_NAME);
    if (a->type == ATLAS_TPM_ATTEST_NV) {
        a->offset = take16(r);
        a->value = take_sized(r, MAX_NV);
    } else {
        a->value = take_sized(r, MAX_DIGEST);
    }
}

static void take_attested(struct reader *r, struct atlas_tpm_attest *a)
{
    switch (a->type) {
    case ATLAS_TPM_ATTEST_QUOTE:
        take_quote(r, a);
        break;
    case ATLAS_TPM_ATTEST_NV:
    case ATLAS_TPM_ATTEST_NV_DIGEST:
        take_nv(r, a);
        break;
    default: /* certify */
        a->name = take_sized(r, MAX_NAME);
        a->value = take_sized(r, MAX_NAME);
        break;
    }
}

static void take_type(struct reader *r, struct atlas_tpm_attest *a)
{
    if (take32(r) != GENERATED) {
        refuse(r, ATLAS_E_EVIDENCE, "not made by a TPM: the magic number is missing");
    }
    a->type = take16(r);
    if (a->type != ATLAS_TPM_ATTEST_QUOTE && a->type != ATLAS_TPM_ATTEST_NV && a->type != ATLAS_TPM_ATTEST_CERTIFY &&
        a->type != ATLAS_TPM_ATTEST_NV_DIGEST) {
        refuse(r, ATLAS_E_UNSUPPORTED, "an attestation of another type than quote, certify or NV certify");
    }
}

int atlas_tpm_attest_read(struct atlas_span bytes, struct atlas_tpm_attest *ret_attest, struct atlas_error *error)
{
    struct reader r = reader_of(bytes, "TPMS_ATTEST", error);
    struct atlas_tpm_attest a = {.whole = bytes};
    take_type(&r, &a);
    a.signer = take_sized(&r, MAX_NAME);
    a.extra = take_sized(&r, MAX_DATA);
    a.clock = take_number(&r, 8);
    a.resets = take32(&r);
    a.restarts = take32(&r);
    uint8_t safe = (uint8_t)take_number(&r, 1);
    if (safe > 1) {
        refuse(&r, ATLAS_E_EVIDENCE, "a yes or no that is neither");
    }
    a.safe = safe == 1;
    a.firmware = take_number(&r, 8);
    take_attested(&r, &a);
    int rc = finish(&r);
    if (rc >= 0) {
        *ret_attest = a;
    }
    return rc;
}

bool atlas_tpm_selected(const struct atlas_tpm_selection *bank, unsigned n)
{
    return n < ATLAS_TPM_PCRS && (bank->pcrs >> n & 1) != 0;
}

/* ---------------------------------------------------------------------------------------------- TPMT_PUBLIC */

#define MAX_RSA 1024
#define MAX_COORDINATE 66

/* TPMT_SYM_DEF_OBJECT: nothing, or a block cipher with its key size and mode. */
static void take_symmetric(struct reader *r, struct atlas_tpm_public *p)
{
    p->symmetric = take16(r);
    if (p->symmetric == ATLAS_TPM_NULL) {
        return;
    }
    p->symmetric_bits = take16(r);
    uint16_t mode = take16(r);
    if (p->symmetric != ATLAS_TPM_AES || mode != ATLAS_TPM_CFB) {
        refuse(r, ATLAS_E_UNSUPPORTED, "a symmetric cipher that is not AES in CFB mode");
    }
}

static void take_scheme(struct reader *r, struct atlas_tpm_public *p)
{
    p->scheme = take16(r);
    if (p->scheme == ATLAS_TPM_NULL) {
        return;
    }
    if (p->scheme != ATLAS_TPM_RSASSA && p->scheme != ATLAS_TPM_RSAPSS && p->scheme != ATLAS_TPM_ECDSA) {
        refuse(r, ATLAS_E_UNSUPPORTED, "a signature scheme that is neither RSASSA nor RSAPSS nor ECDSA");
    }
    p->scheme_hash = take16(r);
}

static void take_rsa(struct reader *r, struct atlas_tpm_public *p)
{
    p->bits = take16(r);
    p->exponent = take32(r);
    p->modulus = take_sized(r, MAX_RSA);
    if (p->scheme == ATLAS_TPM_ECDSA || p->modulus.n * 8 != p->bits) {
        refuse(r, ATLAS_E_EVIDENCE, "an RSA key that does not fit its own parameters");
    }
}

static void take_ecc(struct reader *r, struct atlas_tpm_public *p)
{
    p->curve = take16(r);
    if (take16(r) != ATLAS_TPM_NULL) {
        refuse(r, ATLAS_E_UNSUPPORTED, "a key derivation scheme");
    }
    p->x = take_sized(r, MAX_COORDINATE);
    p->y = take_sized(r, MAX_COORDINATE);
    size_t size = p->curve == ECC_P256 ? 32 : p->curve == ECC_P384 ? 48 : 0;
    if (size == 0) {
        refuse(r, ATLAS_E_UNSUPPORTED, "a curve that is neither P-256 nor P-384");
    }
    if ((p->scheme != ATLAS_TPM_ECDSA && p->scheme != ATLAS_TPM_NULL) || p->x.n > size || p->y.n > size ||
        p->x.n == 0 || p->y.n == 0) {
        refuse(r, ATLAS_E_EVIDENCE, "an ECC key that does not fit its own parameters");
    }
}

int atlas_tpm_public_read(struct atlas_span bytes, struct atlas_tpm_public *ret_public, struct atlas_error *error)
{
    struct reader r = reader_of(bytes, "TPMT_PUBLIC", error);
    struct atlas_tpm_public p = {.whole = bytes};
    p.type = take16(&r);
    p.name_hash = take16(&r);
    p.attributes = take32(&r);
    (void)take_sized(&r, MAX_DIGEST); /* authPolicy: who may use the key, not what it is */
    if (p.type != ATLAS_TPM_RSA && p.type != ATLAS_TPM_ECC) {
        refuse(&r, ATLAS_E_UNSUPPORTED, "a key that is neither RSA nor ECC");
    }
    take_symmetric(&r, &p);
    take_scheme(&r, &p);
    if (p.type == ATLAS_TPM_RSA) {
        take_rsa(&r, &p);
    } else {
        take_ecc(&r, &p);
    }
    int rc = finish(&r);
    if (rc >= 0) {
        *ret_public = p;
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------- TPMT_SIGNATURE */

int atlas_tpm_signature_read(struct atlas_span bytes, struct atlas_tpm_signature *ret_signature,
                             struct atlas_error *error)
{
    struct reader r = reader_of(bytes, "TPMT_SIGNATURE", error);
    struct atlas_tpm_signature s = {.scheme = take16(&r)};
    s.hash = take16(&r);
    if (s.scheme == ATLAS_TPM_ECDSA) {
        s.r = take_sized(&r, MAX_COORDINATE);
        s.s = take_sized(&r, MAX_COORDINATE);
    } else if (s.scheme == ATLAS_TPM_RSASSA || s.scheme == ATLAS_TPM_RSAPSS) {
        s.rsa = take_sized(&r, MAX_RSA);
    } else {
        refuse(&r, ATLAS_E_UNSUPPORTED, "a signature that is neither RSASSA nor RSAPSS nor ECDSA");
    }
    int rc = finish(&r);
    if (rc >= 0) {
        *ret_signature = s;
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------- TPMS_NV_PUBLIC */

int atlas_tpm_nv_read(struct atlas_span bytes, struct atlas_tpm_nv *ret_nv, struct atlas_error *error)
{
    struct reader r = reader_of(bytes, "TPMS_NV_PUBLIC", error);
    struct atlas_tpm_nv nv = {.whole = bytes, .index = take32(&r)};
    nv.name_hash = take16(&r);
    nv.attributes = take32(&r);
    nv.policy = take_sized(&r, MAX_DIGEST);
    nv.size = take16(&r);
    int rc = finish(&r);
    if (rc >= 0) {
        *ret_nv = nv;
    }
    return rc;
}
