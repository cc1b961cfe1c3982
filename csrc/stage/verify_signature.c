/* verify_signature.c - who signed, when, and is that accepted: C2PA 2.2, 15.7 and 15.8 in this order: COSE signature,
 * timestamp, credential at the time, revocation, pinned signer. */
#include "stage/verify_parts.h"

struct signer {
    struct atlas_verifier *v;
    uint32_t n;
    struct atlas_buf where; /* URI of the signature box */
    struct atlas_span chain[ATLAS_MAX_CERTIFICATES];
    size_t n_chain;
    struct atlas_certificate leaf;
};

static struct atlas_node *node_of(const struct signer *s)
{
    return &s->v->nodes[s->n];
}

static int pass(const struct signer *s, enum atlas_slot slot, const char *code, const char *text)
{
    return atlas_report(s->v, s->n, slot, code, ATLAS_PASSED, ATLAS_VALID, atlas_buf_span(&s->where), "%s", text);
}

static int note(const struct signer *s, const char *code, const char *text)
{
    return atlas_report(s->v, s->n, ATLAS_SLOT_COUNT, code, ATLAS_NOTE, ATLAS_VALID, atlas_buf_span(&s->where), "%s",
                        text);
}

/* A code of the crypto layer, its C2PA status, and what it makes of the verdict. */
struct outcome {
    int code;
    const char *status;
    enum atlas_answer answer;
};

/* Report the error by the table; what the table does not know is a malformed credential. */
static int fail(const struct signer *s, enum atlas_slot slot, const struct outcome *table, size_t n,
                const struct atlas_error *why)
{
    for (size_t i = 0; i < n; i++) {
        if (table[i].code == why->code) {
            return atlas_report(s->v, s->n, slot, table[i].status, ATLAS_FAILED, table[i].answer,
                                atlas_buf_span(&s->where), "%s", why->text);
        }
    }
    return atlas_report_error(s->v, s->n, slot, "general.error", ATLAS_INVALID, atlas_buf_span(&s->where), why);
}

#define FAIL(s, slot, table, why) fail(s, slot, table, sizeof(table) / sizeof((table)[0]), why)

/* -------------------------------------------------------------------------------------------------- signature */

static const struct outcome signature_outcomes[] = {
    {ATLAS_E_SIGNATURE, "claimSignature.mismatch", ATLAS_INVALID},
    {ATLAS_E_ALGORITHM, "algorithm.unsupported", ATLAS_INVALID},
    {ATLAS_E_CREDENTIAL, "signingCredential.invalid", ATLAS_UNTRUSTED},
    {ATLAS_E_X509, "signingCredential.invalid", ATLAS_MALFORMED},
};

static int read_chain(struct signer *s, struct atlas_error *why)
{
    const struct atlas_cose_sign1 *cose = &node_of(s)->cose;
    int rc = ATLAS_OK;
    for (s->n_chain = 0; s->n_chain < cose->certificates; s->n_chain++) {
        ATLAS_TRY(atlas_cose_certificate(cose, s->n_chain, &s->chain[s->n_chain], why));
    }
    ATLAS_TRY(atlas_certificate_read(s->chain[0], &s->leaf, why));
out:
    return rc;
}

static int verify_bytes(const struct signer *s, struct atlas_error *why)
{
    const struct atlas_node *node = node_of(s);
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    int rc;
    atlas_cose_write_sig_structure(&tbs, node->cose.protected_, ATLAS_SPAN_NONE, node->manifest.claim_cbor);
    ATLAS_TRY(atlas_buf_check(&tbs, why));
    ATLAS_TRY(atlas_signature_verify(node->cose.alg, s->leaf.spki, atlas_buf_span(&tbs), node->cose.signature, why));
out:
    atlas_buf_release(&tbs);
    return rc;
}

/* ret_good: the claim was signed by the key of chain[0]; only then does anything that follows mean something. */
static int check_cose(struct signer *s, bool *ret_good)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_node *node = node_of(s);
    *ret_good = false;
    if (atlas_cose_claim_signature_read(node->manifest.cose, &node->cose, &why) < 0) {
        const char *code = why.code == ATLAS_E_ALGORITHM ? "algorithm.unsupported" : "claimSignature.mismatch";
        return atlas_report_error(s->v, s->n, ATLAS_SLOT_SIGNATURE, code, ATLAS_INVALID, atlas_buf_span(&s->where),
                                  &why);
    }
    node->has_cose = true;
    if (read_chain(s, &why) < 0 || verify_bytes(s, &why) < 0) {
        return FAIL(s, ATLAS_SLOT_SIGNATURE, signature_outcomes, &why);
    }
    node->leaf = s->chain[0];
    *ret_good = true;
    return pass(s, ATLAS_SLOT_SIGNATURE, "claimSignature.validated", "the claim is signed by this certificate's key");
}

/* -------------------------------------------------------------------------------------------------- timestamp */

static const struct outcome timestamp_outcomes[] = {
    {ATLAS_E_X509, "timeStamp.malformed", ATLAS_MALFORMED},
    {ATLAS_E_DIGEST, "timeStamp.mismatch", ATLAS_INVALID},
    {ATLAS_E_SIGNATURE, "timeStamp.mismatch", ATLAS_INVALID},
    {ATLAS_E_ALGORITHM, "timeStamp.credentialInvalid", ATLAS_UNTRUSTED},
    {ATLAS_E_CREDENTIAL, "timeStamp.credentialInvalid", ATLAS_UNTRUSTED},
    {ATLAS_E_CHAIN, "timeStamp.untrusted", ATLAS_UNTRUSTED},
    {ATLAS_E_EXPIRED, "timeStamp.outsideValidity", ATLAS_UNTRUSTED},
    {ATLAS_E_REVOKED, "timeStamp.untrusted", ATLAS_UNTRUSTED},
};

/* C2PA lets a bad timestamp pass as if there were none; we do not: somebody put it there. */
static int check_timestamp(const struct signer *s)
{
    struct atlas_node *node = node_of(s);
    struct atlas_buf message = ATLAS_BUF_INIT;
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_timestamp stamp;
    int rc;
    if (node->cose.timestamp.p == NULL) {
        return node->cose.timestamp_v1.p == NULL
                   ? ATLAS_OK
                   : note(s, "timeStamp.malformed", "sigTst belongs to claims v1; not looked at");
    }
    atlas_cose_write_countersignature(&message, node->cose.protected_, node->cose.signature);
    ATLAS_TRY(atlas_buf_check(&message, NULL));
    if (atlas_timestamp_check(s->v->policy.trust, node->cose.timestamp, atlas_buf_span(&message), s->v->policy.now,
                              &stamp, &why) < 0) {
        rc = FAIL(s, ATLAS_SLOT_CREDENTIAL, timestamp_outcomes, &why);
        goto out;
    }
    if (!stamp.trusted) {
        rc = note(s, "timeStamp.untrusted",
                  "the time-stamping authority is under none of the given TSA roots; not used");
        goto out;
    }
    node->timestamped = true;
    node->signed_at = stamp.gen_time;
    rc = pass(s, ATLAS_SLOT_COUNT, "timeStamp.trusted", "signing time proven by a trusted authority");
out:
    atlas_buf_release(&message);
    return rc;
}

/* ------------------------------------------------------------------------------------------------- credential */

static const struct outcome chain_outcomes[] = {
    {ATLAS_E_CREDENTIAL, "signingCredential.invalid", ATLAS_UNTRUSTED},
    {ATLAS_E_EXPIRED, "claimSignature.outsideValidity", ATLAS_UNTRUSTED},
    {ATLAS_E_REVOKED, "signingCredential.revoked", ATLAS_UNTRUSTED},
    {ATLAS_E_ALGORITHM, "algorithm.unsupported", ATLAS_UNTRUSTED},
    {ATLAS_E_X509, "signingCredential.invalid", ATLAS_MALFORMED},
};

static int check_without_roots(const struct signer *s)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    if (atlas_certificate_profile_check(s->chain[0], ATLAS_PURPOSE_CLAIM, &why) < 0) {
        return FAIL(s, ATLAS_SLOT_CREDENTIAL, chain_outcomes, &why);
    }
    return atlas_report(s->v, s->n, ATLAS_SLOT_CREDENTIAL, "signingCredential.untrusted", ATLAS_FAILED, ATLAS_UNTRUSTED,
                        atlas_buf_span(&s->where), "signed by \"%s\", and no roots were given", s->leaf.common_name);
}

/* What the stapled responses say; ret_good when one vouches for the leaf. */
static int check_ocsp(const struct signer *s, bool *ret_good)
{
    const struct atlas_node *node = node_of(s);
    struct atlas_cbor list;
    struct atlas_span response;
    int rc = ATLAS_OK;
    *ret_good = false;
    if (node->cose.ocsp.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, node->cose.ocsp, "rVals.ocspVals", NULL));
    while (atlas_cbor_more(&list)) {
        struct atlas_error why = ATLAS_ERROR_INIT;
        struct atlas_ocsp ocsp;
        ATLAS_TRY(atlas_cbor_take_bytes(&list, &response));
        int status = atlas_ocsp_check(s->v->policy.trust, response, s->chain, s->n_chain, node->signed_at,
                                      s->v->policy.now, &ocsp, &why);
        if (status == ATLAS_E_REVOKED) {
            ATLAS_TRY(atlas_report(s->v, s->n, ATLAS_SLOT_CREDENTIAL, "signingCredential.ocsp.revoked", ATLAS_FAILED,
                                   ATLAS_UNTRUSTED, atlas_buf_span(&s->where), "%s", why.text));
        } else if (status < 0 || ocsp.status == ATLAS_OCSP_UNKNOWN) {
            ATLAS_TRY(note(s, "signingCredential.ocsp.unknown", status < 0 ? why.text : "the responder does not know"));
        } else {
            *ret_good = true;
            ATLAS_TRY(pass(s, ATLAS_SLOT_COUNT, "signingCredential.ocsp.notRevoked",
                           "a stapled OCSP response says that the certificate was good at the time"));
        }
    }
out:
    return rc;
}

static int check_revocation(const struct signer *s, const struct atlas_revocation *by_crl)
{
    bool by_ocsp = false;
    int rc;
    ATLAS_TRY(check_ocsp(s, &by_ocsp));
    if (by_crl->revoked_later) {
        ATLAS_TRY(note(s, "signingCredential.revokedLater", "revoked, but only after this was signed"));
    }
    if (s->v->policy.require_revocation && !((by_crl->leaf_covered || by_ocsp) && by_crl->issuers_covered)) {
        ATLAS_TRY(atlas_report(s->v, s->n, ATLAS_SLOT_CREDENTIAL, "signingCredential.ocsp.skipped", ATLAS_FAILED,
                               ATLAS_INCOMPLETE, atlas_buf_span(&s->where), "%s",
                               by_crl->stale ? "the revocation list of its issuer is out of date"
                                             : "no revocation data covers this signer, and the policy requires it"));
    }
out:
    return rc;
}

/* The crypto layer knows why the path ends nowhere; a reader wants to know whose it was. */
static int untrusted(const struct signer *s, const struct atlas_error *why)
{
    return atlas_report(s->v, s->n, ATLAS_SLOT_CREDENTIAL, "signingCredential.untrusted", ATLAS_FAILED, ATLAS_UNTRUSTED,
                        atlas_buf_span(&s->where), "no given root vouches for \"%s\" (%s)", s->leaf.common_name,
                        why->text);
}

static int check_credential(const struct signer *s)
{
    const struct atlas_node *node = node_of(s);
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_chain chain;
    int rc;
    if (s->v->policy.trust == NULL || atlas_trust_anchors(s->v->policy.trust) == 0) {
        return check_without_roots(s);
    }
    if (atlas_trust_chain_check(s->v->policy.trust, s->chain, s->n_chain, ATLAS_PURPOSE_CLAIM, node->signed_at,
                                s->v->policy.now, &chain, &why) < 0) {
        return why.code == ATLAS_E_CHAIN ? untrusted(s, &why) : FAIL(s, ATLAS_SLOT_CREDENTIAL, chain_outcomes, &why);
    }
    ATLAS_TRY(check_revocation(s, &chain.revocation));
    ATLAS_TRY(pass(s, ATLAS_SLOT_CREDENTIAL, "signingCredential.trusted", "the certificate leads to a given root"));
    ATLAS_TRY(pass(s, ATLAS_SLOT_COUNT, "claimSignature.insideValidity", "the certificate was valid at the time"));
out:
    return rc;
}

/* ----------------------------------------------------------------------------------------------- pinned signer */

static bool pinned_as(const struct atlas_certificate *leaf, struct atlas_span pin)
{
    char hex[2 * ATLAS_DIGEST_MAX + 1];
    atlas_hex(atlas_digest_span(&leaf->spki_sha256), hex);
    struct atlas_span spki = atlas_span_str(hex);
    if (atlas_span_starts_with(pin, ATLAS_LIT("sha256:"))) {
        return atlas_span_equal(atlas_span_sub(pin, 7, pin.n - 7), spki);
    }
    return atlas_span_equal(pin, spki) || atlas_span_equal(pin, atlas_span_str(leaf->common_name));
}

static int check_pin(const struct signer *s)
{
    if (s->v->policy.n_signers == 0) {
        atlas_slot_set(node_of(s), ATLAS_SLOT_SIGNER, ATLAS_NOT_REQUIRED);
        return ATLAS_OK;
    }
    for (size_t i = 0; i < s->v->policy.n_signers; i++) {
        if (pinned_as(&s->leaf, s->v->policy.signers[i])) {
            return pass(s, ATLAS_SLOT_SIGNER, "org.atlasml.signer.accepted", "one of the pinned signers");
        }
    }
    return atlas_report(s->v, s->n, ATLAS_SLOT_SIGNER, "org.atlasml.signer.refused", ATLAS_FAILED, ATLAS_UNTRUSTED,
                        atlas_buf_span(&s->where), "signed by \"%s\", who is not one of the pinned signers",
                        s->leaf.common_name);
}

/* ------------------------------------------------------------------------------------------------------------- */

int atlas_check_signature(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    struct signer s = {.v = v, .n = n, .where = ATLAS_BUF_INIT};
    bool good = false;
    int rc;
    v->nodes[n].signed_at = v->policy.now;
    if (!v->nodes[n].has_claim) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_node_uri(&v->nodes[n], ATLAS_C2PA_TARGET_SIGNATURE, ATLAS_SPAN_NONE, &s.where));
    ATLAS_TRY(check_cose(&s, &good));
    if (good) {
        ATLAS_TRY(check_timestamp(&s));
        ATLAS_TRY(check_credential(&s));
        ATLAS_TRY(check_pin(&s));
    }
out:
    atlas_buf_release(&s.where);
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}
