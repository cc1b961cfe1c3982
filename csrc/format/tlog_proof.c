#include "format/tlog_proof.h"

#include "base/base64.h"

static const char where[] = "log proof";
#define MAGIC ATLAS_LIT("c2sp.org/tlog-proof@v1")

static int bad(struct atlas_error *error, size_t offset, const char *text)
{
    return atlas_error_at(error, ATLAS_E_NOTE, offset, where, "%s", text);
}

/* -------------------------------------------------------------------------------------------------- tlog-proof */

static int add_hash(struct atlas_tlog_proof *proof, struct atlas_span text, size_t offset, struct atlas_error *error)
{
    if (proof->n == ATLAS_MAX_PROOF_HASHES) {
        return atlas_error_at(error, ATLAS_E_LIMIT, offset, where, "more than %d hashes", ATLAS_MAX_PROOF_HASHES);
    }
    if (!atlas_base64_decode_exact(text, proof->hashes[proof->n], ATLAS_NOTE_ROOT)) {
        return bad(error, offset, "a line that is not 32 bytes in Base64");
    }
    proof->n++;
    return ATLAS_OK;
}

/* `extra` is a hint that nobody signed: its form is checked, its content is not used. */
static int skip_extra(struct atlas_span line, struct atlas_error *error)
{
    struct atlas_buf extra = ATLAS_BUF_INIT;
    struct atlas_span word;
    bool good = atlas_span_take(&line, sizeof "extra " - 1, &word) && atlas_base64_decode(line, &extra);
    int rc = good ? atlas_buf_check(&extra, error) : bad(error, 0, "the line `extra` is not in Base64");
    atlas_buf_release(&extra);
    return rc;
}

static int read_lines(struct atlas_span bytes, struct atlas_tlog_proof *proof, struct atlas_error *error)
{
    struct atlas_span rest = bytes;
    struct atlas_span line;
    struct atlas_span word;
    int rc = ATLAS_OK;
    if (!atlas_line_take(&rest, &line) || !atlas_span_equal(line, MAGIC)) {
        return bad(error, 0, "not c2sp.org/tlog-proof@v1");
    }
    bool good = atlas_line_take(&rest, &line);
    if (good && atlas_span_starts_with(line, ATLAS_LIT("extra "))) {
        ATLAS_TRY(skip_extra(line, error));
        good = atlas_line_take(&rest, &line);
    }
    if (!good || !atlas_span_starts_with(line, ATLAS_LIT("index ")) ||
        !atlas_span_take(&line, sizeof "index " - 1, &word) || !atlas_line_number(line, &proof->index)) {
        return bad(error, bytes.n - rest.n, "the line with the index is missing");
    }
    for (;;) {
        size_t at = bytes.n - rest.n;
        if (!atlas_line_take(&rest, &line)) {
            return bad(error, at, "the checkpoint is missing");
        }
        if (line.n == 0) {
            break;
        }
        ATLAS_TRY(add_hash(proof, line, at, error));
    }
    proof->checkpoint = rest;
    rc = rest.n != 0 ? ATLAS_OK : bad(error, bytes.n, "the checkpoint is missing");
out:
    return rc;
}

void atlas_tlog_proof_write(uint64_t index, struct atlas_span hashes, struct atlas_span checkpoint,
                            struct atlas_buf *ret_proof)
{
    struct atlas_span hash;
    atlas_buf_append(ret_proof, MAGIC);
    atlas_buf_append(ret_proof, ATLAS_LIT("\nindex "));
    atlas_line_write_number(index, ret_proof);
    atlas_buf_append_u8(ret_proof, '\n');
    while (atlas_span_take(&hashes, ATLAS_NOTE_ROOT, &hash)) {
        atlas_base64_encode(hash, ret_proof);
        atlas_buf_append_u8(ret_proof, '\n');
    }
    atlas_buf_append_u8(ret_proof, '\n');
    atlas_buf_append(ret_proof, checkpoint);
}

/* --------------------------------------------------------------------------------------- TransparencyLogEntry */

/* protojson writes 64-bit numbers as text and leaves zero out. */
static bool number_of(const struct atlas_json *object, const char *name, uint64_t *ret_v)
{
    const struct atlas_json *value = atlas_json_member(object, name);
    struct atlas_span text;
    *ret_v = 0;
    return value == NULL || (atlas_json_text(value, &text) && atlas_line_number(text, ret_v));
}

/* The entry itself, or the only one of a bundle. */
static const struct atlas_json *find_entry(const struct atlas_json *document)
{
    const struct atlas_json *material = atlas_json_member(document, "verificationMaterial");
    if (material == NULL) {
        return document;
    }
    const struct atlas_json *entries = atlas_json_member(material, "tlogEntries");
    return atlas_json_count(entries) == 1 ? atlas_json_at(entries, 0) : NULL;
}

/* treeSize and rootHash are not looked at: what is signed says them. logIndex of the inclusion proof counts: that of
 * the entry may run over several trees (Rekor v1). */
static int read_json(struct atlas_span bytes, struct atlas_tlog_proof *proof, struct atlas_error *error)
{
    struct atlas_span text;
    int rc;
    ATLAS_TRY(atlas_json_new(bytes, where, &proof->document, error));
    const struct atlas_json *entry = find_entry(proof->document);
    const struct atlas_json *inclusion = atlas_json_member(entry, "inclusionProof");
    const struct atlas_json *hashes = atlas_json_member(inclusion, "hashes");
    if (inclusion == NULL || !number_of(inclusion, "logIndex", &proof->index)) {
        return bad(error, 0, "no inclusion proof with an index (inclusionProof.logIndex)");
    }
    for (size_t i = 0; i < atlas_json_count(hashes); i++) {
        if (!atlas_json_text(atlas_json_at(hashes, i), &text)) {
            return bad(error, 0, "inclusionProof.hashes holds something else than texts");
        }
        ATLAS_TRY(add_hash(proof, text, 0, error));
    }
    if (!atlas_json_text(atlas_json_member(atlas_json_member(inclusion, "checkpoint"), "envelope"),
                         &proof->checkpoint)) {
        return bad(error, 0, "no checkpoint (inclusionProof.checkpoint.envelope): an older bundle without one");
    }
    if (!atlas_json_text(atlas_json_member(entry, "canonicalizedBody"), &text) || text.n == 0 ||
        !atlas_base64_decode(text, &proof->body)) {
        return bad(error, 0, "no entry (canonicalizedBody)");
    }
    rc = atlas_buf_check(&proof->body, error);
out:
    return rc;
}

int atlas_tlog_proof_read(struct atlas_span bytes, struct atlas_tlog_proof *ret_proof, struct atlas_error *error)
{
    if (bytes.n > ATLAS_MAX_PROOF_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "%zu bytes", bytes.n);
    }
    return bytes.n != 0 && bytes.p[0] == '{' ? read_json(bytes, ret_proof, error)
                                             : read_lines(bytes, ret_proof, error);
}

void atlas_tlog_proof_release(struct atlas_tlog_proof *proof)
{
    atlas_buf_release(&proof->body);
    atlas_json_free(proof->document);
    proof->document = NULL;
}
