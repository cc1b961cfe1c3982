/* proof_entry.c - the entry of a signature, and an entry compared with the signature at hand. */
#include "base/ecdsa.h"
#include "format/c2pa.h"
#include "format/cose.h"
#include "format/hashedrekord.h"
#include "stage/proof.h"

static const char where[] = "log entry";

static bool is_ecdsa(int64_t alg)
{
    return alg == ATLAS_COSE_ES256 || alg == ATLAS_COSE_ES384 || alg == ATLAS_COSE_ES512;
}

/* Logs hold ECDSA signatures in DER: other clients of the log verify them so. */
static int signature_of(const struct atlas_log_statement *s, struct atlas_buf *ret_signature, struct atlas_error *error)
{
    if (!is_ecdsa(s->alg)) {
        atlas_buf_append(ret_signature, s->signature);
    } else if (!atlas_ecdsa_to_der(s->signature, ret_signature)) {
        return atlas_error_set(error, ATLAS_E_SIGNATURE, where, "no pair of numbers");
    }
    return atlas_buf_check(ret_signature, error);
}

static int record_of(const struct atlas_log_statement *s, struct atlas_digest *digest, struct atlas_buf *signature,
                     struct atlas_hashedrekord *ret_record, struct atlas_error *error)
{
    const char *details;
    int alg;
    int rc = ATLAS_OK;
    if (!atlas_hashedrekord_kind(s->alg, s->signature.n, &alg, &details)) {
        const char *name = atlas_cose_alg_name(s->alg);
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ALGORITHM, where,
                                  "entries of logs have no name for %s with a key of this size",
                                  name != NULL ? name : "this algorithm"));
    }
    ATLAS_TRY(atlas_crypto_digest(alg, s->tbs, digest, error));
    ATLAS_TRY(signature_of(s, signature, error));
    *ret_record = (struct atlas_hashedrekord){.alg = alg,
                                              .digest = atlas_digest_span(digest),
                                              .signature = atlas_buf_span(signature),
                                              .key = s->spki,
                                              .details = atlas_span_str(details)};
out:
    return rc;
}

int atlas_log_entry_make(const struct atlas_log_statement *statement, struct atlas_buf *ret_entry,
                         struct atlas_error *error)
{
    struct atlas_buf signature = ATLAS_BUF_INIT;
    struct atlas_hashedrekord record;
    struct atlas_digest digest;
    int rc;
    ATLAS_TRY(record_of(statement, &digest, &signature, &record, error));
    atlas_hashedrekord_write(&record, ret_entry);
    ATLAS_TRY(atlas_buf_check(ret_entry, error));
out:
    atlas_buf_release(&signature);
    return rc;
}

int atlas_log_entry_compare(const struct atlas_log_statement *statement, struct atlas_span entry,
                            struct atlas_error *error)
{
    struct atlas_buf signature = ATLAS_BUF_INIT;
    struct atlas_buf storage = ATLAS_BUF_INIT;
    struct atlas_hashedrekord expected;
    struct atlas_hashedrekord found;
    struct atlas_digest digest;
    int rc;
    ATLAS_TRY(record_of(statement, &digest, &signature, &expected, error));
    ATLAS_TRY(atlas_hashedrekord_read(entry, &storage, &found, error));
    const char *other = NULL;
    if (found.alg != expected.alg || !atlas_span_equal(found.digest, expected.digest)) {
        other = "digest";
    } else if (!atlas_span_equal(found.signature, expected.signature)) {
        other = "signature";
    } else if (!atlas_span_equal(found.key, found.certificate ? statement->certificate : expected.key) ||
               (found.details.n != 0 && !atlas_span_equal(found.details, expected.details))) {
        other = "key";
    }
    if (other != NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_DIGEST, where, "the entry is of another %s", other));
    }
out:
    atlas_buf_release(&signature);
    atlas_buf_release(&storage);
    return rc;
}

/* The signature of the active manifest; tbs keeps what it is of. */
static int statement_of(struct atlas_span store, struct atlas_buf *tbs, struct atlas_log_statement *ret_statement,
                        struct atlas_error *error)
{
    struct atlas_c2pa_store view;
    struct atlas_c2pa_manifest manifest;
    enum atlas_c2pa_problem problem;
    struct atlas_cose_sign1 cose;
    struct atlas_certificate leaf;
    struct atlas_log_statement s;
    int rc;
    ATLAS_TRY(atlas_c2pa_store_read(store, &view, error));
    ATLAS_TRY(atlas_c2pa_manifest_read(&view.active, &manifest, &problem, error));
    ATLAS_TRY(atlas_cose_claim_signature_read(manifest.cose, &cose, error));
    ATLAS_TRY(atlas_cose_certificate(&cose, 0, &s.certificate, error));
    ATLAS_TRY(atlas_certificate_read(s.certificate, &leaf, error));
    atlas_cose_write_sig_structure(tbs, cose.protected_, ATLAS_SPAN_NONE, manifest.claim_cbor);
    ATLAS_TRY(atlas_buf_check(tbs, error));
    s.alg = cose.alg;
    s.tbs = atlas_buf_span(tbs);
    s.signature = cose.signature;
    s.spki = leaf.spki;
    ATLAS_TRY(atlas_signature_verify(s.alg, s.spki, s.tbs, s.signature, error));
    *ret_statement = s;
out:
    return rc;
}

int atlas_log_entry_of_store(struct atlas_span store, struct atlas_buf *ret_entry, struct atlas_error *error)
{
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_log_statement statement;
    int rc;
    ATLAS_TRY(statement_of(store, &tbs, &statement, error));
    ATLAS_TRY(atlas_log_entry_make(&statement, ret_entry, error));
out:
    atlas_buf_release(&tbs);
    return rc;
}

int atlas_log_checker_store(struct atlas_log_checker *checker, struct atlas_span store, struct atlas_span proof,
                            struct atlas_log_place *ret_place, struct atlas_error *error)
{
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_log_statement statement;
    int rc;
    ATLAS_TRY(statement_of(store, &tbs, &statement, error));
    ATLAS_TRY(atlas_log_checker_prove(checker, &statement, proof, ret_place, error));
out:
    atlas_buf_release(&tbs);
    return rc;
}
