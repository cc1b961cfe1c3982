/* fuzz_x509.c - everything that port/crypto reads from others. The first byte says which reader gets the rest; they
 * hold the credentials of the C tests, so that mutants of those get past the first checks. */
#include <openssl/err.h>

#include "base/utf8.h"
#include "credentials.h"
#include "fuzz.h"
#include "port/crypto/crypto.h"

#define NOW CREDENTIALS_NOW
#define SPAN(array) atlas_span_of(array, sizeof(array))

static struct atlas_trust *new_trust(void)
{
    struct atlas_trust *trust = NULL;
    REQUIRE(atlas_trust_new(&trust, NULL) == ATLAS_OK);
    REQUIRE(atlas_trust_add_anchors(trust, SPAN(credentials_root_pem), NULL) == ATLAS_OK);
    REQUIRE(atlas_trust_add_tsa_anchors(trust, SPAN(credentials_root_pem), NULL) == ATLAS_OK);
    return trust;
}

static int read_certificate(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_certificate view;
    int rc = atlas_certificate_read(bytes, &view, error);
    if (rc == ATLAS_OK) {
        REQUIRE(atlas_span_offset(bytes, view.spki) < bytes.n && view.spki.n < bytes.n);
        REQUIRE(strlen(view.common_name) < ATLAS_NAME_MAX && strlen(view.subject) < ATLAS_NAME_MAX);
        REQUIRE(atlas_utf8_check(atlas_span_str(view.subject)) && atlas_utf8_check(atlas_span_str(view.issuer)));
        for (int purpose = ATLAS_PURPOSE_CLAIM; purpose <= ATLAS_PURPOSE_OCSP; purpose++) {
            (void)!atlas_certificate_profile_check(bytes, (enum atlas_purpose)purpose, NULL);
        }
    }
    return rc;
}

/* Only the leaf itself is trusted in the leaf's place. */
static int read_chain(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_chain result;
    struct atlas_trust *trust = new_trust();
    struct atlas_span chain[2] = {bytes, SPAN(credentials_middle)};
    int rc = atlas_trust_chain_check(trust, chain, 2, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, error);
    REQUIRE(rc != ATLAS_OK || atlas_span_equal(bytes, SPAN(credentials_leaf)));
    atlas_trust_free(trust);
    return rc;
}

/* The one token there is says one time only. */
static int read_token(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_timestamp stamp;
    struct atlas_trust *trust = new_trust();
    int rc = atlas_timestamp_check(trust, bytes, SPAN(credentials_message), NOW, &stamp, error);
    REQUIRE(rc != ATLAS_OK || !stamp.trusted || stamp.gen_time == NOW);
    atlas_trust_free(trust);
    return rc;
}

static int read_response(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_span token;
    struct atlas_buf request = ATLAS_BUF_INIT;
    REQUIRE(atlas_timestamp_request(SPAN(credentials_message), &request, NULL) == ATLAS_OK);
    int rc = atlas_timestamp_response_token(atlas_buf_span(&request), bytes, &token, error);
    REQUIRE(rc != ATLAS_OK); /* nobody guesses the nonce */
    atlas_buf_release(&request);
    return rc;
}

static int read_ocsp(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_ocsp ocsp;
    struct atlas_trust *trust = new_trust();
    struct atlas_span chain[2] = {SPAN(credentials_leaf), SPAN(credentials_middle)};
    int rc = atlas_ocsp_check(trust, bytes, chain, 2, NOW, NOW, &ocsp, error);
    REQUIRE(rc != ATLAS_OK || (ocsp.status == ATLAS_OCSP_GOOD && ocsp.this_update <= NOW && ocsp.next_update >= NOW));
    atlas_trust_free(trust);
    return rc;
}

static int read_crl(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_chain result;
    struct atlas_trust *trust = new_trust();
    struct atlas_span chain[2] = {SPAN(credentials_leaf), SPAN(credentials_middle)};
    int rc = atlas_trust_add_crls(trust, bytes, error);
    if (rc == ATLAS_OK) {
        rc = atlas_trust_chain_check(trust, chain, 2, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, error);
    }
    atlas_trust_free(trust);
    return rc;
}

static int read_pem(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_span der;
    int rc = atlas_certificate_read_pem(bytes, &ders, error);
    struct atlas_span rest = atlas_buf_span(&ders);
    while (atlas_certificate_next(&rest, &der)) {
        REQUIRE(der.n > 0);
    }
    REQUIRE(rest.n == 0 && (rc == ATLAS_OK) == (ders.n != 0));
    atlas_buf_release(&ders);
    return rc;
}

static int read_key(struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_key *key = NULL;
    int rc = atlas_key_new(bytes, ATLAS_LIT("password"), &key, error);
    atlas_key_free(key);
    return rc;
}

static int read_public_key(struct atlas_span bytes, struct atlas_error *error)
{
    static const uint8_t signature[64] = {1};
    return atlas_signature_verify(ATLAS_COSE_ES256, bytes, ATLAS_LIT("m"), SPAN(signature), error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const readers[])(struct atlas_span, struct atlas_error *) = {
        read_certificate, read_chain, read_token, read_response,   read_ocsp,
        read_crl,         read_pem,   read_key,   read_public_key,
    };
    if (size == 0) {
        return 0;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_span bytes = own_copy(data + 1, size - 1);
    int rc = readers[data[0] % (sizeof readers / sizeof readers[0])](bytes, &error);
    REQUIRE(rc == error.code);
    REQUIRE(ERR_peek_error() == 0);
    free_copy(bytes);
    return 0;
}
