/* attest_tpm_policy.c - what the relying party accepts of a TPM: keys, authorities, PCR values. */
#include <stdio.h>

#include "format/tpm_attest.h"
#include "stage/attest_parts.h"

static const char where[] = "policy.tpm";

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct key_view {
    struct atlas_json_hex spki;
    struct atlas_json_uint hardware;
};

static const struct atlas_json_field key_fields[] = {
    ATLAS_JSON_HEX(key_view, "spki_sha256", 32, spki),
    ATLAS_JSON_OPTIONAL(key_view, "hardware", BOOL, hardware),
};

struct authority_view {
    struct atlas_span certificate;
    struct atlas_json_uint hardware;
};

static const struct atlas_json_field authority_fields[] = {
    ATLAS_JSON_REQUIRED(authority_view, "certificate", TEXT, certificate),
    ATLAS_JSON_OPTIONAL(authority_view, "hardware", BOOL, hardware),
};

struct pcr_view {
    const struct atlas_json *sha256;
    const struct atlas_json *sha384;
    const struct atlas_json *sha512;
};

static const struct atlas_json_field pcr_fields[] = {
    ATLAS_JSON_OPTIONAL(pcr_view, "sha256", OBJECT, sha256),
    ATLAS_JSON_OPTIONAL(pcr_view, "sha384", OBJECT, sha384),
    ATLAS_JSON_OPTIONAL(pcr_view, "sha512", OBJECT, sha512),
};

struct tpm_view {
    const struct atlas_json *keys;
    const struct atlas_json *authorities;
    const struct atlas_json *pcrs;
    struct atlas_span revocation;
    struct atlas_json_uint require_log;
};

static const struct atlas_json_field tpm_fields[] = {
    ATLAS_JSON_OPTIONAL(tpm_view, "keys", ARRAY, keys),
    ATLAS_JSON_OPTIONAL(tpm_view, "authorities", ARRAY, authorities),
    ATLAS_JSON_OPTIONAL(tpm_view, "pcrs", OBJECT, pcrs),
    ATLAS_JSON_OPTIONAL(tpm_view, "unchecked_revocation", TEXT, revocation),
    ATLAS_JSON_OPTIONAL(tpm_view, "require_log", BOOL, require_log),
};

struct bank_view {
    const struct atlas_json *values[ATLAS_TPM_PCRS];
};

#define PCR(n) ATLAS_JSON_OPTIONAL(bank_view, #n, ARRAY, values[n])

static const struct atlas_json_field bank_fields[] = {
    PCR(0),  PCR(1),  PCR(2),  PCR(3),  PCR(4),  PCR(5),  PCR(6),  PCR(7),  PCR(8),  PCR(9),  PCR(10), PCR(11),
    PCR(12), PCR(13), PCR(14), PCR(15), PCR(16), PCR(17), PCR(18), PCR(19), PCR(20), PCR(21), PCR(22), PCR(23),
};

/* How many values it names. An empty list, or one with a value of another size, would name nothing and look as if it
 * did. */
static int read_bank(const struct atlas_json *object, size_t size, size_t *named, struct atlas_error *error)
{
    uint8_t bytes[64];
    struct bank_view view = {{NULL}};
    if (object == NULL) {
        return ATLAS_OK;
    }
    int rc = atlas_json_read(object, bank_fields, COUNT(bank_fields), true, "policy.tpm.pcrs", &view, error);
    for (size_t i = 0; rc >= 0 && i < ATLAS_TPM_PCRS; i++) {
        if (view.values[i] != NULL && atlas_json_count(view.values[i]) == 0) {
            return atlas_error_set(error, ATLAS_E_JSON, where, "PCR %zu: an empty list", i);
        }
        for (size_t j = 0; j < atlas_json_count(view.values[i]); j++, ++*named) {
            if (!atlas_json_hex(atlas_json_at(view.values[i], j), bytes, size)) {
                return atlas_error_set(error, ATLAS_E_JSON, where,
                                       "PCR %zu: something else than %zu bytes in hexadecimal", i, size);
            }
        }
    }
    return rc;
}

static int check_pcrs(const struct atlas_json *object, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    size_t named = 0;
    struct pcr_view view = {NULL, NULL, NULL};
    if (object == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_json_read(object, pcr_fields, COUNT(pcr_fields), true, "policy.tpm.pcrs", &view, error));
    ATLAS_TRY(read_bank(view.sha256, 32, &named, error));
    ATLAS_TRY(read_bank(view.sha384, 48, &named, error));
    ATLAS_TRY(read_bank(view.sha512, 64, &named, error));
    if (named == 0) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_JSON, where, "\"pcrs\" names no value"));
    }
out:
    return rc;
}

static int check_entries(const struct atlas_json *list, bool keys, struct atlas_error *error)
{
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        struct key_view key = {{0, {0}}, {false, 0}};
        struct authority_view authority = {ATLAS_SPAN_NONE, {false, 0}};
        const struct atlas_json *one = atlas_json_at(list, i);
        int rc = keys ? atlas_json_read(one, key_fields, COUNT(key_fields), true, "policy.tpm.keys", &key, error)
                      : atlas_json_read(one, authority_fields, COUNT(authority_fields), true,
                                        "policy.tpm.authorities", &authority, error);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

bool atlas_tpm_voucher_at(const struct atlas_json *list, size_t index, struct atlas_tpm_voucher *ret_voucher)
{
    struct atlas_tpm_voucher v = {{0}, ATLAS_SPAN_NONE, false};
    const struct atlas_json *one = index < atlas_json_count(list) ? atlas_json_at(list, index) : NULL;
    if (one == NULL) {
        return false;
    }
    struct key_view key = {{0, {0}}, {false, 0}};
    struct authority_view authority = {ATLAS_SPAN_NONE, {false, 0}};
    if (atlas_json_read(one, key_fields, COUNT(key_fields), true, where, &key, NULL) >= 0) {
        memcpy(v.spki_sha256, key.spki.b, sizeof v.spki_sha256);
        v.hardware = key.hardware.v != 0;
    } else if (atlas_json_read(one, authority_fields, COUNT(authority_fields), true, where, &authority, NULL) >= 0) {
        v.certificate = authority.certificate;
        v.hardware = authority.hardware.v != 0;
    }
    *ret_voucher = v;
    return true;
}

int atlas_tpm_policy_read(const struct atlas_json *object, struct atlas_tpm_policy *ret_policy,
                          struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct tpm_view v = {NULL, NULL, NULL, ATLAS_SPAN_NONE, {false, 0}};
    if (object == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_json_read(object, tpm_fields, COUNT(tpm_fields), true, where, &v, error));
    ATLAS_TRY(check_entries(v.keys, true, error));
    ATLAS_TRY(check_entries(v.authorities, false, error));
    ATLAS_TRY(check_pcrs(v.pcrs, error));
    ATLAS_TRY(atlas_rule_read(v.revocation, "unchecked_revocation", &ret_policy->revocation, error));
    ret_policy->keys = v.keys;
    ret_policy->authorities = v.authorities;
    ret_policy->pcrs = v.pcrs;
    ret_policy->require_log = v.require_log.v != 0;
out:
    return rc;
}
