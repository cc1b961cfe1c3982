/* fuzz_note.c - signed notes, checkpoints and keys: what is read and written again is the same bytes. */
#include "base/base64.h"
#include "base/ecdsa.h"
#include "fuzz.h"
#include "stage/note.h"

static void read_note(struct atlas_span input)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_note note;
    struct atlas_note_signature signature;
    int rc = atlas_note_read(input, &note, &error);
    REQUIRE(rc == error.code && (rc == ATLAS_OK || rc == ATLAS_E_NOTE || rc == ATLAS_E_LIMIT));
    if (rc == ATLAS_OK) {
        atlas_buf_append(&again, note.text);
        atlas_buf_append_u8(&again, '\n');
        while (atlas_note_next(&note.lines, &signature)) {
            atlas_note_write_line(signature.name, atlas_span_of(signature.blob, signature.n_blob), &again);
        }
        REQUIRE(note.lines.n == 0 && atlas_span_equal(atlas_buf_span(&again), input));
    }
    atlas_buf_release(&again);
}

static void read_checkpoint(struct atlas_span input)
{
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_checkpoint c;
    if (atlas_checkpoint_read(input, &c, NULL) == ATLAS_OK) {
        atlas_checkpoint_write(&c, &again);
        atlas_buf_append(&again, c.extensions);
        REQUIRE(atlas_span_equal(atlas_buf_span(&again), input));
    }
    atlas_buf_release(&again);
}

static void read_key(struct atlas_span input, bool secret)
{
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_note_key_text key;
    struct atlas_note_key parsed;
    if (atlas_note_key_read(input, secret, &key, NULL) == ATLAS_OK) {
        atlas_note_key_write(secret, key.name, key.id, atlas_span_of(key.key, key.n_key), &again);
        REQUIRE(atlas_span_equal(atlas_buf_span(&again), input));
    }
    if (!secret && atlas_note_key_parse(input, &parsed, NULL) == ATLAS_OK) {
        atlas_buf_clear(&again);
        atlas_note_key_format(&parsed, &again);
        REQUIRE(atlas_span_equal(atlas_buf_span(&again), input));
    }
    atlas_buf_release(&again);
}

static void read_encodings(struct atlas_span input)
{
    struct atlas_buf there = ATLAS_BUF_INIT;
    struct atlas_buf back = ATLAS_BUF_INIT;
    if (atlas_base64_decode(input, &there)) {
        atlas_base64_encode(atlas_buf_span(&there), &back);
        REQUIRE(atlas_span_equal(atlas_buf_span(&back), input));
    }
    atlas_buf_clear(&there);
    atlas_buf_clear(&back);
    if (atlas_ecdsa_from_der(input, 32, &there)) {
        REQUIRE(there.n == 64 && atlas_ecdsa_to_der(atlas_buf_span(&there), &back));
        REQUIRE(atlas_span_equal(atlas_buf_span(&back), input));
    }
    atlas_buf_release(&there);
    atlas_buf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_span input = own_copy(data, size);
    read_note(input);
    read_checkpoint(input);
    read_key(input, false);
    read_key(input, true);
    read_encodings(input);
    free_copy(input);
    return 0;
}
