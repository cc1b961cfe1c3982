/* pck.c - what vendors say in certificates: which hardware, which role; cut out of the DER. */
#include "port/crypto/der.h"
#include "port/crypto/vendor.h"

#define DER_ENUMERATED 0x0A
#define DER_IA5 0x16
#define DER_OID 0x06
#define DER_CONTEXT3 0xA3

static const char where[] = "certificate";

static int malformed(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_X509, where, "%s", text);
}

/* ------------------------------------------------------------------------------------------- any extension */

/* RFC 5280, 4.1: the last field of TBSCertificate. */
static bool find_extensions(struct atlas_span der, struct atlas_span *ret_list)
{
    struct atlas_der element;
    struct atlas_der last = {0};
    if (!atlas_der_take(&der, ATLAS_DER_SEQUENCE, &element) || der.n != 0 ||
        !atlas_der_take(&element.content, ATLAS_DER_SEQUENCE, &element)) {
        return false;
    }
    struct atlas_span rest = element.content;
    while (rest.n != 0) {
        if (!atlas_der_next(&rest, &last)) {
            return false;
        }
    }
    if (last.tag != DER_CONTEXT3) {
        *ret_list = ATLAS_SPAN_NONE;
        return true;
    }
    if (!atlas_der_take(&last.content, ATLAS_DER_SEQUENCE, &element) || last.content.n != 0) {
        return false;
    }
    *ret_list = element.content;
    return true;
}

static bool read_extension(struct atlas_span *list, struct atlas_span *ret_oid, struct atlas_span *ret_value)
{
    struct atlas_der extension;
    struct atlas_der oid;
    struct atlas_der critical;
    struct atlas_der value;
    if (!atlas_der_take(list, ATLAS_DER_SEQUENCE, &extension) || !atlas_der_take(&extension.content, DER_OID, &oid)) {
        return false;
    }
    (void)atlas_der_take(&extension.content, ATLAS_DER_BOOLEAN, &critical);
    if (!atlas_der_take(&extension.content, ATLAS_DER_OCTETS, &value) || extension.content.n != 0) {
        return false;
    }
    *ret_oid = oid.content;
    *ret_value = value.content;
    return true;
}

int atlas_certificate_extension(struct atlas_span der, struct atlas_span oid, struct atlas_span *ret_value,
                                struct atlas_error *error)
{
    struct atlas_span list;
    struct atlas_span found = ATLAS_SPAN_NONE;
    if (!find_extensions(der, &list)) {
        return malformed(error, "not one DER certificate");
    }
    while (list.n != 0) {
        struct atlas_span this_oid;
        struct atlas_span value;
        if (!read_extension(&list, &this_oid, &value)) {
            return malformed(error, "an extension that cannot be read");
        }
        if (atlas_span_equal(this_oid, oid)) {
            if (found.p != NULL) {
                return malformed(error, "the certificate has an extension twice");
            }
            found = value;
        }
    }
    if (found.p == NULL) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, where, "an extension of the vendor is missing");
    }
    *ret_value = found;
    return ATLAS_OK;
}

/* ---------------------------------------------------------------------------------------- Intel SGX extension */

/* 1.2.840.113741.1.13.1; its parts continue it by one or two numbers, all below 128. */
static const uint8_t sgx_oid[] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};

enum part {
    PART_PPID = 1,
    PART_TCB,
    PART_PCEID,
    PART_FMSPC,
    PART_SGX_TYPE,
    PART_INSTANCE,
    PART_CONFIGURATION,
    PART_PCESVN = 17, /* of PART_TCB: 1 to 16 are the components */
    PART_CPUSVN = 18,
};

/* One SEQUENCE { OID, value } under a prefix; the number behind the prefix says what it is. */
static bool take_part(struct atlas_span *list, const uint8_t *prefix, size_t n, unsigned *ret_part,
                      struct atlas_der *ret_value)
{
    struct atlas_der pair;
    struct atlas_der oid;
    if (!atlas_der_take(list, ATLAS_DER_SEQUENCE, &pair) || !atlas_der_take(&pair.content, DER_OID, &oid) ||
        oid.content.n != n + 1 || memcmp(oid.content.p, prefix, n) != 0 || oid.content.p[n] > 127 ||
        !atlas_der_next(&pair.content, ret_value) || pair.content.n != 0) {
        return false;
    }
    *ret_part = oid.content.p[n];
    return true;
}

static bool copy_octets(const struct atlas_der *value, uint8_t *ret_bytes, size_t n)
{
    if (value->tag != ATLAS_DER_OCTETS || value->content.n != n) {
        return false;
    }
    memcpy(ret_bytes, value->content.p, n);
    return true;
}

/* A non-negative INTEGER or ENUMERATED in its shortest form (X.690, 8.3.2), at most `max`. */
static bool small_number(const struct atlas_der *value, uint8_t tag, uint32_t max, uint32_t *ret_v)
{
    struct atlas_span s = value->content;
    if (value->tag != tag || s.n == 0 || s.n > 4 || (s.p[0] & 0x80) != 0 ||
        (s.n > 1 && s.p[0] == 0 && (s.p[1] & 0x80) == 0)) {
        return false;
    }
    uint32_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        v = v << 8 | s.p[i];
    }
    *ret_v = v;
    return v <= max;
}

static bool read_boolean(const struct atlas_der *value, int8_t *ret_v)
{
    if (value->tag != ATLAS_DER_BOOLEAN || value->content.n != 1) {
        return false;
    }
    *ret_v = value->content.p[0] != 0;
    return true;
}

static bool read_tcb_part(unsigned part, const struct atlas_der *value, struct atlas_pck *pck)
{
    uint32_t v = 0;
    if (part >= 1 && part <= 16) {
        bool good = small_number(value, ATLAS_DER_INTEGER, 255, &v);
        pck->svn[part - 1] = (uint8_t)v;
        return good;
    }
    if (part == PART_PCESVN) {
        bool good = small_number(value, ATLAS_DER_INTEGER, 65535, &v);
        pck->pcesvn = (uint16_t)v;
        return good;
    }
    return part == PART_CPUSVN && copy_octets(value, pck->cpusvn, sizeof pck->cpusvn);
}

/* Any order, none twice, none missing: the bits of what was seen must be exactly those wanted. */
static bool read_tcb(const struct atlas_der *tcb, struct atlas_pck *pck)
{
    uint8_t prefix[sizeof sgx_oid + 1];
    struct atlas_span list = tcb->content;
    uint32_t seen = 0;
    memcpy(prefix, sgx_oid, sizeof sgx_oid);
    prefix[sizeof sgx_oid] = PART_TCB;
    while (list.n != 0) {
        unsigned part;
        struct atlas_der value;
        if (!take_part(&list, prefix, sizeof prefix, &part, &value) || part > PART_CPUSVN ||
            (seen & 1u << part) != 0 || !read_tcb_part(part, &value, pck)) {
            return false;
        }
        seen |= 1u << part;
    }
    return tcb->tag == ATLAS_DER_SEQUENCE && seen == (1u << (PART_CPUSVN + 1)) - 2;
}

static bool read_configuration(const struct atlas_der *configuration, struct atlas_pck *pck)
{
    uint8_t prefix[sizeof sgx_oid + 1];
    struct atlas_span list = configuration->content;
    int8_t *flags[3] = {&pck->dynamic_platform, &pck->cached_keys, &pck->smt};
    memcpy(prefix, sgx_oid, sizeof sgx_oid);
    prefix[sizeof sgx_oid] = PART_CONFIGURATION;
    while (list.n != 0) {
        unsigned part;
        struct atlas_der value;
        if (!take_part(&list, prefix, sizeof prefix, &part, &value) || part < 1 || part > 3 || *flags[part - 1] != -1 ||
            !read_boolean(&value, flags[part - 1])) {
            return false;
        }
    }
    return configuration->tag == ATLAS_DER_SEQUENCE;
}

static bool read_sgx_part(unsigned part, const struct atlas_der *value, struct atlas_pck *pck)
{
    uint32_t v = 0;
    bool good;
    switch (part) {
    case PART_PPID:
        return copy_octets(value, pck->ppid, sizeof pck->ppid);
    case PART_TCB:
        return read_tcb(value, pck);
    case PART_PCEID:
        return copy_octets(value, pck->pceid, sizeof pck->pceid);
    case PART_FMSPC:
        return copy_octets(value, pck->fmspc, sizeof pck->fmspc);
    case PART_SGX_TYPE:
        good = small_number(value, DER_ENUMERATED, 255, &v);
        pck->sgx_type = (uint8_t)v;
        return good;
    case PART_INSTANCE:
        pck->platform = true;
        return copy_octets(value, pck->platform_instance_id, sizeof pck->platform_instance_id);
    case PART_CONFIGURATION:
        return read_configuration(value, pck);
    default:
        return false;
    }
}

int atlas_pck_read(struct atlas_span der, struct atlas_pck *ret_pck, struct atlas_error *error)
{
    struct atlas_pck pck = {.dynamic_platform = -1, .cached_keys = -1, .smt = -1};
    struct atlas_span extension;
    struct atlas_der sequence;
    uint32_t seen = 0;
    int rc = atlas_certificate_extension(der, atlas_span_of(sgx_oid, sizeof sgx_oid), &extension, error);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_der_take(&extension, ATLAS_DER_SEQUENCE, &sequence) || extension.n != 0) {
        return malformed(error, "the SGX extension is not a sequence");
    }
    while (sequence.content.n != 0) {
        unsigned part;
        struct atlas_der value;
        if (!take_part(&sequence.content, sgx_oid, sizeof sgx_oid, &part, &value) || part > PART_CONFIGURATION ||
            (seen & 1u << part) != 0 || !read_sgx_part(part, &value, &pck)) {
            return malformed(error, "the SGX extension has a part that is unknown, damaged or there twice");
        }
        seen |= 1u << part;
    }
    uint32_t wanted = 1u << PART_PPID | 1u << PART_TCB | 1u << PART_PCEID | 1u << PART_FMSPC | 1u << PART_SGX_TYPE;
    if ((seen & wanted) != wanted) {
        return malformed(error, "the SGX extension lacks a part");
    }
    *ret_pck = pck;
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------- AMD extensions */

/* 1.3.6.1.4.1.3704.1.<...> */
#define AMD_OID 0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01
static const uint8_t amd_product[] = {AMD_OID, 0x02};
static const uint8_t amd_hwid[] = {AMD_OID, 0x04};
static const uint8_t amd_csp[] = {AMD_OID, 0x05};

static int take_level(struct atlas_span der, uint8_t last, int16_t *ret_level, struct atlas_error *error)
{
    const uint8_t oid[] = {AMD_OID, 0x03, last};
    struct atlas_span value;
    struct atlas_der number;
    uint32_t v;
    int rc = atlas_certificate_extension(der, atlas_span_of(oid, sizeof oid), &value, error);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_der_next(&value, &number) || value.n != 0 || !small_number(&number, ATLAS_DER_INTEGER, 255, &v)) {
        return malformed(error, "a security patch level that is not a number from 0 to 255");
    }
    *ret_level = (int16_t)v;
    return ATLAS_OK;
}

/* Absent is fine; unreadable is not. */
static int take_optional(struct atlas_span der, struct atlas_span oid, struct atlas_span *ret_value,
                         struct atlas_error *error)
{
    struct atlas_error ignored = ATLAS_ERROR_INIT;
    int rc = atlas_certificate_extension(der, oid, ret_value, &ignored);
    if (rc == ATLAS_E_NOT_FOUND) {
        *ret_value = ATLAS_SPAN_NONE;
        return ATLAS_OK;
    }
    return rc < 0 ? atlas_error_set(error, rc, where, "%s", ignored.text) : rc;
}

static int read_product(struct atlas_span der, char *ret_product, size_t size, struct atlas_error *error)
{
    struct atlas_span value;
    struct atlas_der text;
    int rc = atlas_certificate_extension(der, atlas_span_of(amd_product, sizeof amd_product), &value, error);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_der_take(&value, DER_IA5, &text) || value.n != 0 || text.content.n >= size) {
        return malformed(error, "the product name is not a short text");
    }
    for (size_t i = 0; i < text.content.n; i++) {
        if (text.content.p[i] < 0x20 || text.content.p[i] > 0x7e) {
            return malformed(error, "the product name is not printable");
        }
        ret_product[i] = (char)text.content.p[i];
    }
    ret_product[text.content.n] = '\0';
    return ATLAS_OK;
}

int atlas_vcek_read(struct atlas_span der, struct atlas_vcek *ret_vcek, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_vcek v = {.fmc = -1};
    struct atlas_error none = ATLAS_ERROR_INIT;
    ATLAS_TRY(read_product(der, v.product, sizeof v.product, error));
    ATLAS_TRY(take_level(der, 1, &v.bl, error));
    ATLAS_TRY(take_level(der, 2, &v.tee, error));
    ATLAS_TRY(take_level(der, 3, &v.snp, error));
    ATLAS_TRY(take_level(der, 8, &v.ucode, error));
    int fmc = take_level(der, 9, &v.fmc, &none);
    if (fmc < 0 && fmc != ATLAS_E_NOT_FOUND) {
        ATLAS_TRY(atlas_error_set(error, fmc, where, "%s", none.text));
    }
    ATLAS_TRY(take_optional(der, atlas_span_of(amd_hwid, sizeof amd_hwid), &v.hwid, error));
    ATLAS_TRY(take_optional(der, atlas_span_of(amd_csp, sizeof amd_csp), &v.csp_id, error));
    if ((v.hwid.p == NULL) == (v.csp_id.p == NULL)) {
        ATLAS_TRY(malformed(error, "neither a VCEK nor a VLEK certificate: a hardware id or a provider, not both"));
    }
    *ret_vcek = v;
out:
    return rc;
}

/* ----------------------------------------------------------------------------------------------- DICE FWID */

static const uint8_t dice_fwid[] = {0x67, 0x81, 0x05, 0x05, 0x04, 0x01};
static const uint8_t sha384_oid[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02};

/* FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING } */
static bool read_fwid(struct atlas_span content, struct atlas_span *ret_fwid)
{
    struct atlas_der algorithm;
    struct atlas_der digest;
    if (!atlas_der_take(&content, DER_OID, &algorithm) ||
        !atlas_span_equal(algorithm.content, atlas_span_of(sha384_oid, sizeof sha384_oid)) ||
        !atlas_der_take(&content, ATLAS_DER_OCTETS, &digest) || content.n != 0 || digest.content.n != 48) {
        return false;
    }
    *ret_fwid = digest.content;
    return true;
}

/* CompositeDeviceID ::= SEQUENCE { version INTEGER, deviceID SubjectPublicKeyInfo, fwid FWID } */
static bool fwid_of_composite(struct atlas_span value, struct atlas_span *ret_fwid)
{
    struct atlas_der sequence;
    struct atlas_der element;
    if (!atlas_der_take(&value, ATLAS_DER_SEQUENCE, &sequence) || value.n != 0 ||
        !atlas_der_take(&sequence.content, ATLAS_DER_INTEGER, &element) ||
        !atlas_der_take(&sequence.content, ATLAS_DER_SEQUENCE, &element) ||
        !atlas_der_take(&sequence.content, ATLAS_DER_SEQUENCE, &element) || sequence.content.n != 0) {
        return false;
    }
    return read_fwid(element.content, ret_fwid);
}

/* DiceTcbInfo ::= SEQUENCE { ..., fwids [6] IMPLICIT SEQUENCE OF FWID, ... }: the first of the list. */
static bool fwid_of_tcb_info(struct atlas_span value, struct atlas_span *ret_fwid)
{
    struct atlas_der sequence;
    struct atlas_der element;
    if (!atlas_der_take(&value, ATLAS_DER_SEQUENCE, &sequence) || value.n != 0) {
        return false;
    }
    while (atlas_der_next(&sequence.content, &element)) {
        if (element.tag == 0xA6) {
            return atlas_der_take(&element.content, ATLAS_DER_SEQUENCE, &sequence) &&
                   read_fwid(sequence.content, ret_fwid);
        }
    }
    return false;
}

/* Both structures go by one OID: the older begins with an INTEGER, the newer holds nothing but tagged fields. */
int atlas_fwid_read(struct atlas_span der, struct atlas_span *ret_fwid, struct atlas_error *error)
{
    struct atlas_span value;
    int rc = atlas_certificate_extension(der, atlas_span_of(dice_fwid, sizeof dice_fwid), &value, error);
    if (rc < 0) {
        return rc;
    }
    if (!fwid_of_composite(value, ret_fwid) && !fwid_of_tcb_info(value, ret_fwid)) {
        return malformed(error, "the firmware extension cannot be read");
    }
    return ATLAS_OK;
}

/* ---------------------------------------------------------------------------------------------- outlines */

static const uint8_t common_name[] = {0x55, 0x04, 0x03};

/* RFC 5280, 4.1: version, serial number, signature, issuer, validity, subject, public key, ... */
int atlas_outline_read(struct atlas_span der, struct atlas_outline *ret_outline, struct atlas_error *error)
{
    struct atlas_der certificate;
    struct atlas_der tbs;
    struct atlas_der field[6];
    if (!atlas_der_take(&der, ATLAS_DER_SEQUENCE, &certificate) || der.n != 0 ||
        !atlas_der_take(&certificate.content, ATLAS_DER_SEQUENCE, &tbs)) {
        return malformed(error, "not one DER certificate");
    }
    struct atlas_span rest = tbs.content;
    (void)atlas_der_take(&rest, ATLAS_DER_CONTEXT0, &field[0]); /* version */
    for (size_t i = 0; i < 6; i++) {
        if (!atlas_der_take(&rest, i == 0 ? ATLAS_DER_INTEGER : ATLAS_DER_SEQUENCE, &field[i])) {
            return malformed(error, "not one DER certificate");
        }
    }
    *ret_outline = (struct atlas_outline){field[2].whole, field[4].whole, field[5].whole};
    return ATLAS_OK;
}

static bool holds(struct atlas_span text, struct atlas_span phrase)
{
    for (size_t i = 0; i + phrase.n <= text.n; i++) {
        if (memcmp(text.p + i, phrase.p, phrase.n) == 0) {
            return true;
        }
    }
    return false;
}

/* RDNSequence ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value } */
bool atlas_name_holds(struct atlas_span name, const char *phrase)
{
    struct atlas_der rdns;
    struct atlas_der set;
    struct atlas_der pair;
    struct atlas_der type;
    struct atlas_der value;
    size_t names = 0;
    bool found = false;
    if (!atlas_der_take(&name, ATLAS_DER_SEQUENCE, &rdns)) {
        return false;
    }
    while (atlas_der_next(&rdns.content, &set)) {
        while (atlas_der_take(&set.content, ATLAS_DER_SEQUENCE, &pair)) {
            if (atlas_der_take(&pair.content, DER_OID, &type) && atlas_der_next(&pair.content, &value) &&
                atlas_span_equal(type.content, atlas_span_of(common_name, sizeof common_name))) {
                names++;
                found = holds(value.content, atlas_span_str(phrase));
            }
        }
    }
    return names == 1 && found;
}
