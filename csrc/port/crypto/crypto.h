/*
 * crypto.h - everything Atlas asks of OpenSSL 3, and the only way to ask it. No OpenSSL type crosses this header.
 *
 *     digests and random   keys and signatures   certificates   trust   timestamps   OCSP   key generation
 *
 * - A function that fails leaves its ret_ arguments untouched. OpenSSL's error queue is left empty in any case.
 * - The code says which sentence is meant (see atlas.h): ATLAS_E_X509 the bytes are not the format, ATLAS_E_ALGORITHM /
 *   _SIGNATURE / _CREDENTIAL / _CHAIN / _EXPIRED / _REVOKED checked and false, ATLAS_E_NOMEM / _CRYPTO could not check.
 * - Times are seconds since 1970-01-01T00:00:00Z and are always given: nothing here reads a clock, but key generation.
 * - Nothing here prompts, opens a file or uses the network.
 */
#ifndef ATLAS_PORT_CRYPTO_H
#define ATLAS_PORT_CRYPTO_H

#include "base/alg.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

/* ---------------------------------------------------------------------------------- digests and random */

/* The digest of one piece of memory; alg is an enum atlas_alg. */
int atlas_crypto_digest(int alg, struct atlas_span bytes, struct atlas_digest *ret_digest,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* A digest of bytes that come in pieces. One hasher serves any number of messages: final or reset starts the next one
 * without a new lookup of the algorithm, which is what makes many small digests cheap. */
struct atlas_hasher {
    void *context;
    int alg;
};

#define ATLAS_HASHER_INIT ((struct atlas_hasher){NULL, ATLAS_ALG_NONE})

int atlas_hasher_init(struct atlas_hasher *h, int alg, struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_hasher_update(struct atlas_hasher *h, struct atlas_span bytes, struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_hasher_final(struct atlas_hasher *h, struct atlas_digest *ret_digest,
                       struct atlas_error *error) ATLAS_MUST_CHECK; /* and starts the next message */
int atlas_hasher_reset(struct atlas_hasher *h, struct atlas_error *error) ATLAS_MUST_CHECK;
/* The digest of what was given so far; the message goes on. */
int atlas_hasher_peek(const struct atlas_hasher *h, struct atlas_digest *ret_digest,
                      struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_hasher_release(struct atlas_hasher *h); /* also for a hasher that was only ATLAS_HASHER_INIT */

/* HMAC-SHA-256 (RFC 2104). */
int atlas_crypto_hmac(struct atlas_span key, struct atlas_span message, struct atlas_digest *ret_mac,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

/* n unpredictable bytes from OpenSSL's generator, which reseeds itself after fork. */
int atlas_crypto_random(uint8_t *ret_bytes, size_t n, struct atlas_error *error) ATLAS_MUST_CHECK;

/* --------------------------------------------------------------------------------- keys and signatures */

#define ATLAS_RSA_MIN_BITS 2048
#define ATLAS_RSA_MAX_BITS 8192
#define ATLAS_SIGNATURE_MAX (ATLAS_RSA_MAX_BITS / 8)

/* Verify one signature, in the form COSE has it: raw r || s of exactly twice the curve's size for ECDSA, 64 bytes for
 * Ed25519, the modulus' size for RSA. `spki` is a DER SubjectPublicKeyInfo (atlas_certificate.spki).
 * ATLAS_E_ALGORITHM: not allowed, or does not fit the type, curve or size of the key. ATLAS_E_CREDENTIAL: a key that is
 * never acceptable (explicit curve parameters, small-order or non-canonical Ed25519 point). ATLAS_E_X509: no key at
 * all. ATLAS_E_SIGNATURE: checked and false. */
int atlas_signature_verify(int64_t cose_alg, struct atlas_span spki, struct atlas_span tbs, struct atlas_span signature,
                           struct atlas_error *error) ATLAS_MUST_CHECK;

/* The first half of that alone: may a key with this SubjectPublicKeyInfo sign with this algorithm? */
int atlas_signature_alg_check(int64_t cose_alg, struct atlas_span spki, struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_key; /* a private key; owner */

/* Read the first private key of a PEM text: PKCS#8, encrypted PKCS#8, traditional EC and RSA. password.p == NULL: none.
 * ATLAS_E_KEY: no private key in it, a password is needed, or it is wrong; the text says which. */
int atlas_key_new(struct atlas_span pem, struct atlas_span password, struct atlas_key **ret_key,
                  struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_key_free(struct atlas_key *key);

/* The algorithm this key signs with unless told otherwise: by its curve; PS256 for RSA. */
enum atlas_cose_alg atlas_key_alg(const struct atlas_key *key);

/* Append the signature of tbs in COSE's form. */
int atlas_key_sign(const struct atlas_key *key, int64_t cose_alg, struct atlas_span tbs,
                   struct atlas_buf *ret_signature, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the DER SubjectPublicKeyInfo. */
int atlas_key_spki(const struct atlas_key *key, struct atlas_buf *ret_spki, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is this the key of that certificate? ATLAS_E_KEY when it is not. */
int atlas_key_match(const struct atlas_key *key, struct atlas_span certificate,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* ---------------------------------------------------------------------------------------- certificates */

#define ATLAS_NAME_MAX 1024 /* a longer name is refused, never cut: names are compared with what the user pinned */

/* A view of one DER certificate. Text is UTF-8; control and bidirectional-override characters, and backslash itself,
 * stand as \XX (two hexadecimal digits per byte). A view is no judgement: check profile and chain. */
struct atlas_certificate {
    char common_name[ATLAS_NAME_MAX]; /* the subject's only CN; the whole subject where there is none or several */
    char subject[ATLAS_NAME_MAX];     /* RFC 2253, most specific part first: "CN=Alice,O=Example" */
    char issuer[ATLAS_NAME_MAX];
    char serial[2 * 20 + 4]; /* lower-case hexadecimal; a leading '-' if negative */
    struct atlas_span spki;  /* SubjectPublicKeyInfo, borrowed from the certificate */
    struct atlas_digest spki_sha256;
    enum atlas_cose_alg alg; /* what its key signs with unless told otherwise; ATLAS_COSE_NONE: nothing of ours */
    int64_t not_before;
    int64_t not_after; /* valid before this second */
    bool self_issued;  /* subject and issuer are the same name */
};

/* ATLAS_E_X509: not one whole DER certificate and nothing else. */
int atlas_certificate_read(struct atlas_span der, struct atlas_certificate *ret_certificate,
                           struct atlas_error *error) ATLAS_MUST_CHECK;

enum atlas_purpose {
    ATLAS_PURPOSE_CLAIM = 1, /* signs claims: EKU claimSigning, emailProtection or documentSigning */
    ATLAS_PURPOSE_TSA = 2,   /* EKU timeStamping, critical, and nothing else */
    ATLAS_PURPOSE_OCSP = 3,  /* EKU OCSPSigning */
};

/* The certificate profile of C2PA 2.x, 14.5.1, for an end-entity certificate, whoever issued it:
 * v3; no unique identifiers; signature algorithm and key of the allow-lists; not self-signed; authority key identifier;
 * basicConstraints absent or CA:FALSE; keyUsage with digitalSignature and without keyCertSign; the purpose's EKU, no
 * anyExtendedKeyUsage, and timeStamping and OCSPSigning never together with anything else; no critical extension that
 * is not one of these. ATLAS_E_CREDENTIAL otherwise. */
int atlas_certificate_profile_check(struct atlas_span der, enum atlas_purpose purpose,
                                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for a whole x5chain without any trust: the leaf's profile, and chain[i + 1] certifies chain[i] (RFC 9360, 2:
 * an ordered chain; an unrelated, repeated or misplaced certificate is refused). */
int atlas_certificate_chain_check(const struct atlas_span *chain, size_t n, enum atlas_purpose purpose,
                                  struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the DER certificates of a PEM text, one after the other. ATLAS_E_X509: none, or one that is damaged. Blocks of
 * another kind (a private key in a chain file) are refused as well. */
int atlas_certificate_read_pem(struct atlas_span pem, struct atlas_buf *ret_ders,
                               struct atlas_error *error) ATLAS_MUST_CHECK;

/* Cut the next certificate off such bytes; false at the end. */
bool atlas_certificate_next(struct atlas_span *rest, struct atlas_span *ret_der);

/* Append one DER certificate as PEM. */
int atlas_certificate_write_pem(struct atlas_span der, struct atlas_buf *ret_pem,
                                struct atlas_error *error) ATLAS_MUST_CHECK;

/* ----------------------------------------------------------------------------------------------- trust */

struct atlas_trust; /* what the verifier was given: anchors, TSA anchors, CRLs; owner. Empty: trusts nothing. */

int atlas_trust_new(struct atlas_trust **ret_trust, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_trust_free(struct atlas_trust *trust);

/* Add every certificate of a PEM bundle. An anchor must be a CA certificate; it need not be self-signed: a subordinate
 * CA given as anchor ends the path there. */
int atlas_trust_add_anchors(struct atlas_trust *trust, struct atlas_span pem,
                            struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_trust_add_tsa_anchors(struct atlas_trust *trust, struct atlas_span pem,
                                struct atlas_error *error) ATLAS_MUST_CHECK;

/* Add CRLs: a PEM text with any number of them, or one in DER. */
int atlas_trust_add_crls(struct atlas_trust *trust, struct atlas_span bytes,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

size_t atlas_trust_anchors(const struct atlas_trust *trust);     /* how many */
size_t atlas_trust_tsa_anchors(const struct atlas_trust *trust); /* how many */

/* What the given CRLs say about a path. A zeroed one says "nothing was checked". */
struct atlas_revocation {
    bool leaf_covered;    /* a CRL of the leaf's issuer, signed by it and current now, was looked at */
    bool issuers_covered; /* the same for every other certificate below the anchor (true when there is none) */
    bool stale;           /* a CRL that would have spoken was not used because it is not current now */
    bool revoked_later;   /* some certificate was revoked, but only after `time` */
    int64_t revoked_at;   /* when: the earlier of revocation and invalidity date; 0 without revoked_later */
};

struct atlas_chain {
    struct atlas_revocation revocation;
    size_t length;                     /* certificates in the path, the anchor included; at least 2 */
    struct atlas_digest anchor_sha256; /* SHA-256 of the anchor's DER */
};

/* Does this x5chain lead to an anchor? `time` is when it signed (a trusted timestamp; without one `now`); `now` is when
 * the check happens and says which CRLs are current.
 *
 * - atlas_certificate_chain_check holds (ATLAS_E_CREDENTIAL). A root at the end of the chain is tolerated.
 * - A path of at least two certificates ends at an anchor (TSA anchors for ATLAS_PURPOSE_TSA), under RFC 5280 checked
 *   strictly: basicConstraints, pathLen, keyCertSign, name and policy constraints, key identifiers, unknown critical
 *   extensions; allow-listed keys and signature algorithms; an EKU on a CA restricts what it may issue (ATLAS_E_CHAIN).
 *   An anchor that is itself the leaf does not count.
 * - All of it is valid at `time`, anchor included (ATLAS_E_EXPIRED, also for "not yet valid").
 * - No certificate below the anchor was revoked at or before `time` (ATLAS_E_REVOKED). A revocation after `time` is
 *   reported, not refused; without a trusted timestamp time == now and every revocation counts. A revocation that a
 *   stale CRL reports counts; its silence does not. */
int atlas_trust_chain_check(const struct atlas_trust *trust, const struct atlas_span *chain, size_t n,
                            enum atlas_purpose purpose, int64_t time, int64_t now, struct atlas_chain *ret_chain,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* ------------------------------------------------------------------------------------------ timestamps */

#define ATLAS_CLOCK_SKEW 300                  /* seconds that somebody else's clock may be ahead of ours */
#define ATLAS_MAX_TIMESTAMP_BYTES (64u << 10) /* one RFC 3161 token or response */

struct atlas_timestamp {
    int64_t gen_time;
    bool trusted;                   /* the authority chains to a TSA anchor; only then is gen_time the signing time */
    char authority[ATLAS_NAME_MAX]; /* common name of the authority's certificate */
    struct atlas_revocation revocation; /* of the authority's path; zeroed unless trusted */
};

/* Check an RFC 3161 TimeStampToken over `message` (for C2PA: the CounterSignature structure of the COSE signature).
 * ATLAS_OK: the token is about this message, well signed by a certificate that meets the TSA profile and was valid at
 * gen_time; look at `trusted`. Otherwise
 *   ATLAS_E_X509        malformed                                       timeStamp.malformed
 *   ATLAS_E_DIGEST      about something else                            timeStamp.mismatch
 *   ATLAS_E_SIGNATURE   signature or signing-certificate attribute false  timeStamp.mismatch
 *   ATLAS_E_ALGORITHM   weak or unknown algorithm                       timeStamp.credentialInvalid
 *   ATLAS_E_CREDENTIAL  TSA certificate outside the profile             timeStamp.credentialInvalid
 *   ATLAS_E_EXPIRED     TSA path not valid at gen_time, or gen_time more than the skew after now
 *                                                                       timeStamp.outsideValidity
 *   ATLAS_E_REVOKED     TSA path revoked at gen_time                    timeStamp.untrusted
 * An authority that chains to no TSA anchor is ATLAS_OK with trusted == false (timeStamp.untrusted).
 * trust may be NULL. */
int atlas_timestamp_check(const struct atlas_trust *trust, struct atlas_span token, struct atlas_span message,
                          int64_t now, struct atlas_timestamp *ret_timestamp,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append a DER TimeStampReq for message: SHA-256, a fresh nonce, certReq. */
int atlas_timestamp_request(struct atlas_span message, struct atlas_buf *ret_request,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* The token inside a TimeStampResp, borrowed from it, after checking that it answers that request: granted, same nonce,
 * same imprint, certificate included, well signed. ATLAS_E_REFUSED: the authority said no, with its words. */
int atlas_timestamp_response_token(struct atlas_span request, struct atlas_span response, struct atlas_span *ret_token,
                                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* ------------------------------------------------------------------------------------------------ OCSP */

#define ATLAS_MAX_OCSP_BYTES (64u << 10) /* one response */

enum atlas_ocsp_status { ATLAS_OCSP_UNKNOWN = 0, ATLAS_OCSP_GOOD = 1, ATLAS_OCSP_REVOKED_LATER = 2 };

struct atlas_ocsp {
    enum atlas_ocsp_status status; /* UNKNOWN: the responder does not know this certificate */
    int64_t this_update;
    int64_t next_update;
    int64_t revoked_at; /* with ATLAS_OCSP_REVOKED_LATER */
};

/* What does this DER OCSPResponse say about the leaf of the chain? The chain must lead to an anchor as in
 * atlas_trust_chain_check (same codes); the responder is the leaf's issuer or a certificate that the issuer gave
 * OCSPSigning. The response must have been valid at `time` or made since (this_update not after now, next_update not
 * before time).
 *   ATLAS_E_REVOKED     revoked at or before time
 *   ATLAS_E_X509        malformed, or the responder refused to answer
 *   ATLAS_E_NOT_FOUND   not about this certificate
 *   ATLAS_E_SIGNATURE, ATLAS_E_ALGORITHM, ATLAS_E_CREDENTIAL   not signed by one who may
 *   ATLAS_E_EXPIRED     outdated, from the future, or without next_update
 * Only ATLAS_OK with ATLAS_OCSP_GOOD or _REVOKED_LATER, and ATLAS_E_REVOKED, are statements; the rest is no data. */
int atlas_ocsp_check(const struct atlas_trust *trust, struct atlas_span response, const struct atlas_span *chain,
                     size_t n, int64_t time, int64_t now, struct atlas_ocsp *ret_ocsp,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* -------------------------------------------------------------------------------------- key generation */

struct atlas_keygen {
    struct atlas_buf root_pem;     /* the development CA: the trust anchor to hand out */
    struct atlas_buf root_key_pem; /* its key: needed only to issue another leaf */
    struct atlas_buf chain_pem;    /* the leaf */
    struct atlas_buf key_pem;      /* its key, PKCS#8, not encrypted */
};

/* Make a development CA and one leaf for `name` (1 to 64 characters of UTF-8, no control characters) with a fresh key
 * for that algorithm. Both say "development CA" in their names. Release the result in any case. */
int atlas_keygen(struct atlas_span name, int64_t cose_alg, unsigned years, struct atlas_keygen *ret_keygen,
                 struct atlas_error *error) ATLAS_MUST_CHECK;
/* The same for a key that lives elsewhere, in a TPM for example: key_pem stays empty. */
int atlas_keygen_for(struct atlas_span name, struct atlas_span spki, unsigned years, struct atlas_keygen *ret_keygen,
                     struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_keygen_release(struct atlas_keygen *keygen); /* wipes the keys */

/* A certificate request for a P-256 key that lives elsewhere: append what it has to sign with ES256; then, with that
 * signature (r || s), the request as PEM. ATLAS_E_SIGNATURE: it is not of these bytes by this key. */
int atlas_csr_prepare(struct atlas_span name, struct atlas_span spki, struct atlas_buf *ret_tbs,
                      struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_csr_finish(struct atlas_span tbs, struct atlas_span signature, struct atlas_buf *ret_pem,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
