#include "stage/note.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/ecdsa.h"

static const char where[] = "key";

#define ED25519_BYTES 32
#define TIME_BYTES 8
#define P256_HALF 32

/* RFC 8410, 4 and 7: everything before the key itself. */
static const uint8_t spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const uint8_t pkcs8_prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

static int bad(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_NOTE, where, "%s", text);
}

/* ------------------------------------------------------------------------------------------------- public keys */

static bool is_kind(int kind)
{
    return kind == ATLAS_NOTE_ED25519 || kind == ATLAS_NOTE_ECDSA || kind == ATLAS_NOTE_COSIGNATURE;
}

static int64_t cose_of(enum atlas_note_kind kind)
{
    return kind == ATLAS_NOTE_ECDSA ? ATLAS_COSE_ES256 : ATLAS_COSE_EDDSA;
}

/* What follows the type in a key's text: the key itself for Ed25519, the SubjectPublicKeyInfo for ECDSA. */
static struct atlas_span encoded_key(const struct atlas_note_key *key)
{
    struct atlas_span spki = atlas_span_of(key->spki, key->n_spki);
    size_t skip = key->kind == ATLAS_NOTE_ECDSA ? 0 : sizeof spki_prefix;
    return atlas_span_sub(spki, skip, spki.n - skip);
}

static int set_id(struct atlas_note_key *key, struct atlas_error *error)
{
    struct atlas_digest digest;
    struct atlas_buf text = ATLAS_BUF_INIT;
    if (key->kind != ATLAS_NOTE_ECDSA) {
        atlas_buf_append(&text, atlas_note_key_name(key));
        atlas_buf_append_u8(&text, '\n');
        atlas_buf_append_u8(&text, (uint8_t)key->kind);
    }
    atlas_buf_append(&text, encoded_key(key));
    int rc = atlas_buf_check(&text, error);
    if (rc >= 0) {
        rc = atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&text), &digest, error);
    }
    if (rc >= 0) {
        memcpy(key->id, digest.b, sizeof key->id);
    }
    atlas_buf_release(&text);
    return rc;
}

int atlas_note_key_make(struct atlas_span name, enum atlas_note_kind kind, struct atlas_span spki,
                        struct atlas_note_key *ret_key, struct atlas_error *error)
{
    struct atlas_note_key key = {.kind = kind, .n_name = name.n, .n_spki = spki.n};
    if (!is_kind((int)kind)) {
        return bad(error, "a type of key other than 1, 2 and 4");
    }
    if (!atlas_note_name_check(name)) {
        return bad(error, "a key's name is not empty and has neither spaces nor '+'");
    }
    if (spki.n > sizeof key.spki) {
        return bad(error, "a key of this type is shorter");
    }
    memcpy(key.name, name.p, name.n);
    memcpy(key.spki, spki.p, spki.n);
    int rc = atlas_signature_alg_check(cose_of(kind), spki, error);
    if (rc >= 0) {
        rc = set_id(&key, error);
    }
    if (rc >= 0) {
        *ret_key = key;
    }
    return rc;
}

static int make_ed25519(struct atlas_span name, enum atlas_note_kind kind, struct atlas_span public_key,
                        struct atlas_note_key *ret_key, struct atlas_error *error)
{
    uint8_t spki[sizeof spki_prefix + ED25519_BYTES];
    if (public_key.n != ED25519_BYTES) {
        return bad(error, "an Ed25519 key has 32 bytes");
    }
    memcpy(spki, spki_prefix, sizeof spki_prefix);
    memcpy(spki + sizeof spki_prefix, public_key.p, ED25519_BYTES);
    return atlas_note_key_make(name, kind, atlas_span_of(spki, sizeof spki), ret_key, error);
}

int atlas_note_key_parse(struct atlas_span text, struct atlas_note_key *ret_key, struct atlas_error *error)
{
    struct atlas_note_key_text parts;
    struct atlas_note_key key;
    int rc = atlas_note_key_read(text, false, &parts, error);
    if (rc < 0) {
        return rc;
    }
    int kind = parts.key[0];
    struct atlas_span encoded = atlas_span_of(parts.key + 1, parts.n_key - 1);
    if (!is_kind(kind)) {
        return bad(error, "a type of key other than 1, 2 and 4");
    }
    rc = kind == ATLAS_NOTE_ECDSA
             ? atlas_note_key_make(parts.name, ATLAS_NOTE_ECDSA, encoded, &key, error)
             : make_ed25519(parts.name, (enum atlas_note_kind)kind, encoded, &key, error);
    if (rc < 0) {
        return rc;
    }
    if (memcmp(key.id, parts.id, sizeof key.id) != 0) {
        return bad(error, "the key is damaged: name, number and key do not belong together");
    }
    *ret_key = key;
    return ATLAS_OK;
}

void atlas_note_key_format(const struct atlas_note_key *key, struct atlas_buf *ret_text)
{
    uint8_t bytes[1 + sizeof key->spki];
    struct atlas_span encoded = encoded_key(key);
    bytes[0] = (uint8_t)key->kind;
    memcpy(bytes + 1, encoded.p, encoded.n);
    atlas_note_key_write(false, atlas_note_key_name(key), key->id, atlas_span_of(bytes, 1 + encoded.n), ret_text);
}

/* -------------------------------------------------------------------------------------------------- signatures */

bool atlas_note_key_named(const struct atlas_note_key *key, const struct atlas_note_signature *signature)
{
    return atlas_span_equal(atlas_note_key_name(key), signature->name) &&
           memcmp(key->id, signature->blob, sizeof key->id) == 0;
}

/* tlog-cosignature: what a witness signs. */
static void cosigned(uint64_t time, struct atlas_span text, struct atlas_buf *out)
{
    atlas_buf_append(out, ATLAS_LIT("cosignature/v1\ntime "));
    atlas_line_write_number(time, out);
    atlas_buf_append_u8(out, '\n');
    atlas_buf_append(out, text);
}

static int verify_cosignature(const struct atlas_note_key *key, struct atlas_span text, struct atlas_span blob,
                              uint64_t *ret_time, struct atlas_error *error)
{
    struct atlas_buf message = ATLAS_BUF_INIT;
    uint64_t time;
    if (!atlas_span_take_be64(&blob, &time) || time > INT64_MAX) {
        return atlas_error_set(error, ATLAS_E_SIGNATURE, "signature", "a cosignature without a time");
    }
    cosigned(time, text, &message);
    int rc = atlas_buf_check(&message, error);
    if (rc >= 0) {
        rc = atlas_signature_verify(ATLAS_COSE_EDDSA, atlas_span_of(key->spki, key->n_spki), atlas_buf_span(&message),
                                    blob, error);
    }
    if (rc >= 0) {
        *ret_time = time;
    }
    atlas_buf_release(&message);
    return rc;
}

static int verify_ecdsa(const struct atlas_note_key *key, struct atlas_span text, struct atlas_span blob,
                        struct atlas_error *error)
{
    struct atlas_buf raw = ATLAS_BUF_INIT;
    int rc = atlas_ecdsa_from_der(blob, P256_HALF, &raw)
                 ? atlas_buf_check(&raw, error)
                 : atlas_error_set(error, ATLAS_E_SIGNATURE, "signature", "not a pair of numbers in DER");
    if (rc >= 0) {
        rc = atlas_signature_verify(ATLAS_COSE_ES256, atlas_span_of(key->spki, key->n_spki), text,
                                    atlas_buf_span(&raw), error);
    }
    atlas_buf_release(&raw);
    return rc;
}

int atlas_note_verify(const struct atlas_note_key *key, struct atlas_span text,
                      const struct atlas_note_signature *signature, uint64_t *ret_time, struct atlas_error *error)
{
    uint64_t time = 0;
    struct atlas_span blob = atlas_span_of(signature->blob + ATLAS_NOTE_ID, signature->n_blob - ATLAS_NOTE_ID);
    int rc;
    if (!atlas_note_key_named(key, signature)) {
        return atlas_error_set(error, ATLAS_E_SIGNATURE, "signature", "of another key");
    }
    if (key->kind == ATLAS_NOTE_COSIGNATURE) {
        rc = verify_cosignature(key, text, blob, &time, error);
    } else if (key->kind == ATLAS_NOTE_ECDSA) {
        rc = verify_ecdsa(key, text, blob, error);
    } else {
        rc = atlas_signature_verify(ATLAS_COSE_EDDSA, atlas_span_of(key->spki, key->n_spki), text, blob, error);
    }
    if (rc >= 0) {
        *ret_time = time;
    }
    return rc;
}

/* Two keys may share a name and a number (four bytes): the line then must hold under one of them. */
static int judge_line(struct atlas_span text, const struct atlas_note_signature *signature,
                      const struct atlas_note_key *keys, size_t n_keys, bool *ret_signed, struct atlas_error *error)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    bool known = false;
    for (size_t i = 0; i < n_keys; i++) {
        uint64_t time = 0;
        if (!atlas_note_key_named(&keys[i], signature)) {
            continue;
        }
        known = true;
        int rc = atlas_note_verify(&keys[i], text, signature, &time, &why);
        if (rc >= 0) {
            ret_signed[i] = ret_signed[i] || keys[i].kind != ATLAS_NOTE_COSIGNATURE || time != 0;
            return ATLAS_OK;
        }
        if (rc != ATLAS_E_SIGNATURE) {
            return atlas_error_set(error, rc, "signature", "%s", why.text);
        }
    }
    if (known) {
        int n = (int)(signature->name.n < 100 ? signature->name.n : 100);
        return atlas_error_set(error, ATLAS_E_SIGNATURE, "signature", "the line of %.*s does not hold", n,
                               (const char *)signature->name.p);
    }
    return ATLAS_OK;
}

int atlas_note_open(struct atlas_span bytes, const struct atlas_note_key *keys, size_t n_keys, bool *ret_signed,
                    struct atlas_note *ret_note, struct atlas_error *error)
{
    struct atlas_note note;
    struct atlas_note_signature signature;
    for (size_t i = 0; i < n_keys; i++) {
        ret_signed[i] = false;
    }
    int rc = atlas_note_read(bytes, &note, error);
    if (rc < 0) {
        return rc;
    }
    struct atlas_span lines = note.lines;
    while (rc >= 0 && atlas_note_next(&lines, &signature)) {
        rc = judge_line(note.text, &signature, keys, n_keys, ret_signed, error);
    }
    for (size_t i = 0; rc < 0 && i < n_keys; i++) {
        ret_signed[i] = false;
    }
    if (rc >= 0) {
        *ret_note = note;
    }
    return rc;
}

/* ----------------------------------------------------------------------------------------------------- signing */

struct atlas_note_signer {
    struct atlas_note_key key;
    struct atlas_key *secret;
};

/* A private key goes from its text to OpenSSL as PKCS#8; the copies are wiped. */
static void wipe(void *p, size_t n)
{
    volatile uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = 0;
    }
}

static int read_seed(const uint8_t *seed, struct atlas_key **ret_key, struct atlas_error *error)
{
    struct atlas_buf pem = ATLAS_BUF_INIT;
    uint8_t der[sizeof pkcs8_prefix + ED25519_BYTES];
    memcpy(der, pkcs8_prefix, sizeof pkcs8_prefix);
    memcpy(der + sizeof pkcs8_prefix, seed, ED25519_BYTES);
    atlas_buf_append(&pem, ATLAS_LIT("-----BEGIN PRIVATE KEY-----\n"));
    atlas_base64_encode(atlas_span_of(der, sizeof der), &pem); /* 64 characters: one line */
    atlas_buf_append(&pem, ATLAS_LIT("\n-----END PRIVATE KEY-----\n"));
    int rc = atlas_buf_check(&pem, error);
    if (rc >= 0) {
        rc = atlas_key_new(atlas_buf_span(&pem), ATLAS_SPAN_NONE, ret_key, error);
    }
    wipe(der, sizeof der);
    wipe(pem.p, pem.n);
    atlas_buf_release(&pem);
    return rc;
}

static int signer_from(const struct atlas_note_key_text *parts, struct atlas_note_signer *signer,
                       struct atlas_error *error)
{
    struct atlas_buf spki = ATLAS_BUF_INIT;
    int rc = parts->key[0] == ATLAS_NOTE_ED25519 && parts->n_key == 1 + ED25519_BYTES
                 ? read_seed(parts->key + 1, &signer->secret, error)
                 : bad(error, "not an Ed25519 private key");
    if (rc >= 0) {
        rc = atlas_key_spki(signer->secret, &spki, error);
    }
    if (rc >= 0) {
        rc = atlas_note_key_make(parts->name, ATLAS_NOTE_ED25519, atlas_buf_span(&spki), &signer->key, error);
    }
    if (rc >= 0 && memcmp(signer->key.id, parts->id, sizeof parts->id) != 0) {
        rc = bad(error, "the private key is damaged: name, number and key do not belong together");
    }
    atlas_buf_release(&spki);
    return rc;
}

int atlas_note_signer_new(struct atlas_span text, struct atlas_note_signer **ret_signer, struct atlas_error *error)
{
    struct atlas_note_key_text parts;
    int rc = atlas_note_key_read(text, true, &parts, error);
    if (rc < 0) {
        return rc;
    }
    struct atlas_note_signer *signer = calloc(1, sizeof *signer);
    rc = signer != NULL ? signer_from(&parts, signer, error)
                        : atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    wipe(&parts, sizeof parts);
    if (rc < 0) {
        atlas_note_signer_free(signer);
        return rc;
    }
    *ret_signer = signer;
    return ATLAS_OK;
}

void atlas_note_signer_free(struct atlas_note_signer *signer)
{
    if (signer != NULL) {
        atlas_key_free(signer->secret);
        free(signer);
    }
}

const struct atlas_note_key *atlas_note_signer_key(const struct atlas_note_signer *signer)
{
    return &signer->key;
}

int atlas_note_sign(const struct atlas_note_signer *signer, struct atlas_span text, struct atlas_buf *ret_line,
                    struct atlas_error *error)
{
    struct atlas_buf blob = ATLAS_BUF_INIT;
    atlas_buf_append(&blob, atlas_span_of(signer->key.id, sizeof signer->key.id));
    int rc = atlas_key_sign(signer->secret, ATLAS_COSE_EDDSA, text, &blob, error);
    if (rc >= 0) {
        rc = atlas_buf_check(&blob, error);
    }
    if (rc >= 0) {
        atlas_note_write_line(atlas_note_key_name(&signer->key), atlas_buf_span(&blob), ret_line);
        rc = atlas_buf_check(ret_line, error);
    }
    atlas_buf_release(&blob);
    return rc;
}

int atlas_note_keygen(struct atlas_span name, struct atlas_buf *ret_text, struct atlas_error *error)
{
    uint8_t key[1 + ED25519_BYTES] = {ATLAS_NOTE_ED25519};
    struct atlas_key *secret = NULL;
    struct atlas_note_key public_key;
    struct atlas_buf spki = ATLAS_BUF_INIT;
    int rc = atlas_crypto_random(key + 1, ED25519_BYTES, error);
    if (rc >= 0) {
        rc = read_seed(key + 1, &secret, error);
    }
    if (rc >= 0) {
        rc = atlas_key_spki(secret, &spki, error);
    }
    if (rc >= 0) {
        rc = atlas_note_key_make(name, ATLAS_NOTE_ED25519, atlas_buf_span(&spki), &public_key, error);
    }
    if (rc >= 0) {
        atlas_note_key_write(true, name, public_key.id, atlas_span_of(key, sizeof key), ret_text);
        rc = atlas_buf_check(ret_text, error);
    }
    wipe(key, sizeof key);
    atlas_key_free(secret);
    atlas_buf_release(&spki);
    return rc;
}
