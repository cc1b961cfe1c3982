/* certificate.c - read one certificate: bytes, names, times. No judgement here. */
#include <limits.h>
#include <stdio.h>

#include <openssl/bio.h>

#include "base/utf8.h"
#include "port/crypto/der.h"
#include "port/crypto/x509.h"

/* Bytes outside the signed part could be written in other ways and still parse: only the one DER form is accepted. */
static bool is_der(X509 *x, struct atlas_span der)
{
    unsigned char *again = NULL;
    int n = i2d_X509(x, &again);
    bool same = n > 0 && atlas_span_equal(der, atlas_span_of(again, (size_t)n));
    OPENSSL_free(again);
    return same;
}

int atlas_x509_read(struct atlas_span der, const char *where, X509 **ret_x, struct atlas_error *error)
{
    if (der.n > ATLAS_MAX_CERTIFICATE_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "a certificate of %zu bytes", der.n);
    }
    const unsigned char *p = der.p;
    X509 *x = der.n != 0 ? d2i_X509(NULL, &p, (long)der.n) : NULL;
    if (x == NULL || !is_der(x, der)) {
        X509_free(x);
        return atlas_ossl_fail(error, ATLAS_E_X509, where, "not one DER certificate");
    }
    *ret_x = x;
    return ATLAS_OK;
}

int atlas_x509_time(const ASN1_TIME *when, const char *where, int64_t *ret_time, struct atlas_error *error)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days;
    int seconds;
    bool good = epoch != NULL && when != NULL && ASN1_TIME_diff(&days, &seconds, epoch, when) == 1;
    ASN1_TIME_free(epoch);
    if (!good) {
        return atlas_ossl_fail(error, ATLAS_E_X509, where, "not a time");
    }
    *ret_time = (int64_t)days * 86400 + seconds;
    return ATLAS_OK;
}

int atlas_x509_valid_at(const X509 *x, int64_t time, const char *where, struct atlas_error *error)
{
    int64_t first = 0;
    int64_t last = 0;
    int rc = atlas_x509_time(X509_get0_notBefore(x), where, &first, error);
    if (rc >= 0) {
        rc = atlas_x509_time(X509_get0_notAfter(x), where, &last, error);
    }
    if (rc >= 0 && time < first) {
        rc = atlas_error_set(error, ATLAS_E_EXPIRED, where, "the certificate is not yet valid");
    }
    if (rc >= 0 && time >= last) {
        rc = atlas_error_set(error, ATLAS_E_EXPIRED, where, "the certificate has expired");
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------ names */

static size_t utf8_length(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Of text that was checked. */
static uint32_t code_point(const uint8_t *p, size_t length)
{
    uint32_t c = length == 1 ? p[0] : p[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        c = c << 6 | (p[i] & 0x3F);
    }
    return c;
}

/* Code points that a terminal or a browser acts upon instead of showing: C1 controls, soft hyphen, zero-width and
 * bidirectional marks, line separators, byte-order mark, tags. (C0 is escaped elsewhere.) */
static bool acts(uint32_t c)
{
    return (c >= 0x80 && c < 0xA0) || c == 0xAD || c == 0x061C || c == 0x180E || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xE0000 && c <= 0xE007F);
}

struct name_writer {
    char *out; /* ATLAS_NAME_MAX bytes */
    size_t n;
    bool full;
};

static void put(struct name_writer *w, const uint8_t *p, size_t n, bool escape)
{
    size_t need = escape ? 3 * n : n;
    if (w->full || need >= ATLAS_NAME_MAX - w->n) {
        w->full = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (escape) {
            w->n += (size_t)snprintf(w->out + w->n, ATLAS_NAME_MAX - w->n, "\\%02X", p[i]);
        } else {
            w->out[w->n++] = (char)p[i];
        }
    }
    w->out[w->n] = '\0';
}

/* Copy UTF-8 text, escaping what acts; `all` escapes backslashes and C0 controls too (text that is not escaped yet). */
static int copy_name(struct atlas_span text, bool all, char *ret_name, struct atlas_error *error)
{
    if (!atlas_utf8_check(text)) {
        return atlas_error_set(error, ATLAS_E_X509, "name", "a name that is not UTF-8");
    }
    char name[ATLAS_NAME_MAX] = "";
    struct name_writer w = {name, 0, false};
    size_t length;
    for (size_t i = 0; i < text.n; i += length) {
        const uint8_t *p = text.p + i;
        length = utf8_length(*p);
        put(&w, p, length, acts(code_point(p, length)) || (all && (*p < 0x20 || *p == 0x7F || *p == '\\')));
    }
    if (w.full) {
        return atlas_error_set(error, ATLAS_E_X509, "name", "a name longer than %d bytes", ATLAS_NAME_MAX - 1);
    }
    memcpy(ret_name, name, w.n + 1);
    return ATLAS_OK;
}

/* RFC 2253 in UTF-8: commas, quotes and C0 controls escaped by OpenSSL. */
static int whole_name(const X509_NAME *name, char *ret_name, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, "name", "out of memory");
    }
    unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    if (X509_NAME_print_ex(bio, name, 0, flags) < 0) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_X509, "name", "a name that cannot be read"));
    }
    char *text = NULL;
    long n = BIO_get_mem_data(bio, &text);
    ATLAS_TRY(copy_name(atlas_span_of(text, n > 0 ? (size_t)n : 0), false, ret_name, error));
out:
    BIO_free(bio);
    return rc;
}

int atlas_x509_common_name(const X509 *x, char *ret_name, struct atlas_error *error)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return whole_name(subject, ret_name, error);
    }
    unsigned char *text = NULL;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (n < 0) {
        return atlas_ossl_fail(error, ATLAS_E_X509, "name", "a name that cannot be read");
    }
    int rc = copy_name(atlas_span_of(text, (size_t)n), true, ret_name, error);
    OPENSSL_free(text);
    return rc;
}

/* ------------------------------------------------------------------------------------------------- view */

/* RFC 5280, 4.1: the seventh field of TBSCertificate, the version being present or not. The public key is taken from
 * the bytes that were signed, not from what OpenSSL would write again. */
static bool find_spki(struct atlas_span der, struct atlas_span *ret_spki)
{
    struct atlas_der certificate;
    struct atlas_der tbs;
    struct atlas_der field;
    if (!atlas_der_take(&der, ATLAS_DER_SEQUENCE, &certificate) ||
        !atlas_der_take(&certificate.content, ATLAS_DER_SEQUENCE, &tbs)) {
        return false;
    }
    struct atlas_span rest = tbs.content;
    (void)atlas_der_take(&rest, ATLAS_DER_CONTEXT0, &field); /* version */
    for (size_t i = 0; i < 5; i++) {                         /* serial number, signature, issuer, validity, subject */
        if (!atlas_der_next(&rest, &field)) {
            return false;
        }
    }
    if (!atlas_der_take(&rest, ATLAS_DER_SEQUENCE, &field)) {
        return false;
    }
    *ret_spki = field.whole;
    return true;
}

/* RFC 5280, 4.1.2.2: at most 20 octets. */
static int read_serial(const X509 *x, char *ret_serial, struct atlas_error *error)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    struct atlas_span bytes = atlas_span_of(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
    if (bytes.n > 20) {
        return atlas_error_set(error, ATLAS_E_X509, "serial number", "longer than 20 bytes");
    }
    bool negative = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER;
    if (negative) {
        *ret_serial++ = '-';
    }
    atlas_hex(bytes, ret_serial);
    return ATLAS_OK;
}

int atlas_certificate_read(struct atlas_span der, struct atlas_certificate *ret_certificate, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    struct atlas_certificate view = {.common_name = ""};
    ATLAS_TRY(atlas_x509_read(der, "certificate", &x, error));
    if (!find_spki(der, &view.spki)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_X509, "certificate", "not one DER certificate"));
    }
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, view.spki, &view.spki_sha256, error));
    ATLAS_TRY(atlas_x509_common_name(x, view.common_name, error));
    ATLAS_TRY(whole_name(X509_get_subject_name(x), view.subject, error));
    ATLAS_TRY(whole_name(X509_get_issuer_name(x), view.issuer, error));
    ATLAS_TRY(read_serial(x, view.serial, error));
    ATLAS_TRY(atlas_x509_time(X509_get0_notBefore(x), "certificate", &view.not_before, error));
    ATLAS_TRY(atlas_x509_time(X509_get0_notAfter(x), "certificate", &view.not_after, error));
    EVP_PKEY *key = X509_get0_pubkey(x);
    view.alg = key != NULL ? atlas_pkey_alg(key) : ATLAS_COSE_NONE;
    view.self_issued = X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
    *ret_certificate = view;
out:
    X509_free(x);
    return atlas_ossl_done(rc);
}
