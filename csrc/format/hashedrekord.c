#include "format/hashedrekord.h"

#include "base/base64.h"
#include "port/json.h"

static const char where[] = "log entry";

static int bad(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_NOTE, where, "%s", text);
}

/* ------------------------------------------------------------------------------------------------------- names */

/* sigstore's PublicKeyDetails. Pure Ed25519 and RSA-PSS have names; that Rekor v2 refuses them is Rekor's rule. */
static const struct kind {
    int64_t cose;
    size_t size; /* of the signature; 0: any */
    int alg;
    const char *details;
} kinds[] = {
    {ATLAS_COSE_ES256, 0, ATLAS_SHA256, "PKIX_ECDSA_P256_SHA_256"},
    {ATLAS_COSE_ES384, 0, ATLAS_SHA384, "PKIX_ECDSA_P384_SHA_384"},
    {ATLAS_COSE_ES512, 0, ATLAS_SHA512, "PKIX_ECDSA_P521_SHA_512"},
    {ATLAS_COSE_EDDSA, 0, ATLAS_SHA512, "PKIX_ED25519"},
    {ATLAS_COSE_PS256, 256, ATLAS_SHA256, "PKIX_RSA_PSS_2048_SHA256"},
    {ATLAS_COSE_PS256, 384, ATLAS_SHA256, "PKIX_RSA_PSS_3072_SHA256"},
    {ATLAS_COSE_PS256, 512, ATLAS_SHA256, "PKIX_RSA_PSS_4096_SHA256"},
};

bool atlas_hashedrekord_kind(int64_t cose_alg, size_t signature_size, int *ret_alg, const char **ret_details)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].cose == cose_alg && (kinds[i].size == 0 || kinds[i].size == signature_size)) {
            *ret_alg = kinds[i].alg;
            *ret_details = kinds[i].details;
            return true;
        }
    }
    return false;
}

static const struct {
    int alg;
    const char *name;
} hashes[] = {{ATLAS_SHA256, "SHA2_256"}, {ATLAS_SHA384, "SHA2_384"}, {ATLAS_SHA512, "SHA2_512"}};

static struct atlas_span hash_name(int alg)
{
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        if (hashes[i].alg == alg) {
            return atlas_span_str(hashes[i].name);
        }
    }
    return ATLAS_SPAN_NONE;
}

static int hash_of(struct atlas_span name)
{
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        if (atlas_span_equal(name, atlas_span_str(hashes[i].name))) {
            return hashes[i].alg;
        }
    }
    return ATLAS_ALG_NONE;
}

/* ------------------------------------------------------------------------------------------------------- write */

/* RFC 8785 orders members by name; nothing here needs an escape, and there are no numbers. */
void atlas_hashedrekord_write(const struct atlas_hashedrekord *record, struct atlas_buf *ret_entry)
{
    atlas_buf_append(ret_entry, ATLAS_LIT("{\"apiVersion\":\"0.0.2\",\"kind\":\"hashedrekord\",\"spec\":{"
                                          "\"hashedRekordV002\":{\"data\":{\"algorithm\":\""));
    atlas_buf_append(ret_entry, hash_name(record->alg));
    atlas_buf_append(ret_entry, ATLAS_LIT("\",\"digest\":\""));
    atlas_base64_encode(record->digest, ret_entry);
    atlas_buf_append(ret_entry, ATLAS_LIT("\"},\"signature\":{\"content\":\""));
    atlas_base64_encode(record->signature, ret_entry);
    atlas_buf_append(ret_entry, ATLAS_LIT("\",\"verifier\":{\"keyDetails\":\""));
    atlas_buf_append(ret_entry, record->details);
    atlas_buf_append(ret_entry, record->certificate ? ATLAS_LIT("\",\"x509Certificate\":{\"rawBytes\":\"")
                                                    : ATLAS_LIT("\",\"publicKey\":{\"rawBytes\":\""));
    atlas_base64_encode(record->key, ret_entry);
    atlas_buf_append(ret_entry, ATLAS_LIT("\"}}}}}}"));
}

/* -------------------------------------------------------------------------------------------------------- read */

/* Places of what was decoded: the buffer may move while more is decoded. */
struct places {
    size_t digest, signature, key, details, end;
};

static const struct atlas_json *down(const struct atlas_json *value, const char *const *names)
{
    for (; *names != NULL; names++) {
        value = atlas_json_member(value, *names);
    }
    return value;
}

#define DOWN(value, ...) down(value, (const char *const[]){__VA_ARGS__, NULL})

static bool is_text(const struct atlas_json *value, const char *expected)
{
    struct atlas_span text;
    return atlas_json_text(value, &text) && atlas_span_equal(text, atlas_span_str(expected));
}

static bool decode(const struct atlas_json *value, struct atlas_buf *storage)
{
    struct atlas_span text;
    return atlas_json_text(value, &text) && text.n != 0 && atlas_base64_decode(text, storage);
}

static void place(const struct places *p, const struct atlas_buf *storage, struct atlas_hashedrekord *record)
{
    struct atlas_span all = atlas_buf_span(storage);
    record->digest = atlas_span_sub(all, p->digest, p->signature - p->digest);
    record->signature = atlas_span_sub(all, p->signature, p->key - p->signature);
    record->key = atlas_span_sub(all, p->key, p->details - p->key);
    record->details = atlas_span_sub(all, p->details, p->end - p->details);
}

static bool read_v2(const struct atlas_json *document, struct atlas_buf *storage, struct places *p,
                    struct atlas_hashedrekord *record)
{
    const struct atlas_json *v2 = DOWN(document, "spec", "hashedRekordV002");
    const struct atlas_json *verifier = DOWN(v2, "signature", "verifier");
    const struct atlas_json *certificate = DOWN(verifier, "x509Certificate", "rawBytes");
    struct atlas_span name;
    record->certificate = certificate != NULL;
    p->digest = storage->n;
    if (!atlas_json_text(DOWN(v2, "data", "algorithm"), &name) || !decode(DOWN(v2, "data", "digest"), storage)) {
        return false;
    }
    record->alg = hash_of(name);
    p->signature = storage->n;
    if (!decode(DOWN(v2, "signature", "content"), storage)) {
        return false;
    }
    p->key = storage->n;
    if (!decode(certificate != NULL ? certificate : DOWN(verifier, "publicKey", "rawBytes"), storage)) {
        return false;
    }
    p->details = storage->n;
    if (!atlas_json_text(DOWN(verifier, "keyDetails"), &name)) {
        return false;
    }
    atlas_buf_append(storage, name);
    p->end = storage->n;
    return true;
}

/* One form: what is written again from its parts must be the same bytes. */
static int check_canonical(struct atlas_span entry, const struct atlas_hashedrekord *record, struct atlas_error *error)
{
    struct atlas_buf again = ATLAS_BUF_INIT;
    atlas_hashedrekord_write(record, &again);
    int rc = atlas_buf_check(&again, error);
    if (rc >= 0 && !atlas_span_equal(atlas_buf_span(&again), entry)) {
        rc = bad(error, "not in its canonical form");
    }
    atlas_buf_release(&again);
    return rc;
}

/* PEM of one block, without OpenSSL: the lines between its two marks, decoded. Out of memory sticks to `storage`. */
static bool read_pem(struct atlas_span pem, const char *begin, struct atlas_buf *storage)
{
    struct atlas_span mark = atlas_span_str(begin);
    struct atlas_buf text = ATLAS_BUF_INIT;
    if (!atlas_span_starts_with(pem, mark)) {
        return false;
    }
    for (size_t i = mark.n; i < pem.n && pem.p[i] != '-'; i++) {
        if (pem.p[i] != '\n' && pem.p[i] != '\r') {
            atlas_buf_append_u8(&text, pem.p[i]);
        }
    }
    storage->failed = storage->failed || text.failed;
    bool good = text.n != 0 && atlas_base64_decode(atlas_buf_span(&text), storage);
    atlas_buf_release(&text);
    return good;
}

static bool read_v1(const struct atlas_json *document, struct atlas_buf *storage, struct places *p,
                    struct atlas_hashedrekord *record)
{
    const struct atlas_json *spec = DOWN(document, "spec");
    struct atlas_buf pem = ATLAS_BUF_INIT;
    struct atlas_span name;
    record->alg = atlas_json_text(DOWN(spec, "data", "hash", "algorithm"), &name) ? (int)atlas_alg_of(name)
                                                                               : ATLAS_ALG_NONE;
    size_t n = atlas_alg_size(record->alg);
    p->digest = storage->n;
    uint8_t *digest = n != 0 ? atlas_buf_extend(storage, n) : NULL;
    if (digest == NULL || !atlas_json_hex(DOWN(spec, "data", "hash", "value"), digest, n)) {
        return false;
    }
    p->signature = storage->n;
    if (!decode(DOWN(spec, "signature", "content"), storage)) {
        return false;
    }
    p->key = storage->n;
    bool good = decode(DOWN(spec, "signature", "publicKey", "content"), &pem);
    storage->failed = storage->failed || pem.failed;
    record->certificate = good && read_pem(atlas_buf_span(&pem), "-----BEGIN CERTIFICATE-----", storage);
    good = record->certificate || (good && read_pem(atlas_buf_span(&pem), "-----BEGIN PUBLIC KEY-----", storage));
    atlas_buf_release(&pem);
    p->details = p->end = storage->n;
    return good;
}

int atlas_hashedrekord_read(struct atlas_span entry, struct atlas_buf *storage, struct atlas_hashedrekord *ret_record,
                            struct atlas_error *error)
{
    struct atlas_json *document = NULL;
    struct atlas_hashedrekord record = {.alg = ATLAS_ALG_NONE};
    struct places p = {0};
    int rc;
    if (entry.n > ATLAS_MAX_LOG_BODY) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "%zu bytes", entry.n);
    }
    ATLAS_TRY(atlas_json_new(entry, where, &document, error));
    bool v2 = is_text(DOWN(document, "apiVersion"), "0.0.2");
    if (!is_text(DOWN(document, "kind"), "hashedrekord") || (!v2 && !is_text(DOWN(document, "apiVersion"), "0.0.1"))) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "another kind than hashedrekord 0.0.2 and 0.0.1"));
    }
    bool good = v2 ? read_v2(document, storage, &p, &record) : read_v1(document, storage, &p, &record);
    ATLAS_TRY(atlas_buf_check(storage, error));
    if (!good || record.alg == ATLAS_ALG_NONE) {
        ATLAS_TRY(bad(error, "digest, signature or key are missing or not what they must be"));
    }
    place(&p, storage, &record);
    if (record.digest.n != atlas_alg_size(record.alg)) {
        ATLAS_TRY(bad(error, "the digest has not the length of its algorithm"));
    }
    if (v2) {
        ATLAS_TRY(check_canonical(entry, &record, error));
    }
    *ret_record = record;
out:
    atlas_json_free(document);
    return rc;
}
