/*
 * note.h - signed notes (c2sp.org/signed-note) and the text of a log's checkpoint (c2sp.org/tlog-checkpoint) as text:
 * where things stand, and writing them. Whose signatures they are: stage/note.h.
 *
 * A note is a text that ends in a newline, an empty line, and signature lines. Everything that is accepted has exactly
 * one form: a note that is written again from its parts is the same bytes.
 */
#ifndef ATLAS_FORMAT_NOTE_H
#define ATLAS_FORMAT_NOTE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_NOTE_BYTES (64u << 10)
#define ATLAS_MAX_NOTE_SIGNATURES 64
#define ATLAS_MAX_NOTE_NAME 255           /* bytes of the name of a key */
#define ATLAS_MAX_NOTE_BLOB (4u << 10)    /* bytes of a signature, the key's number included */
#define ATLAS_NOTE_ID 4                   /* bytes of the number of a key */
#define ATLAS_NOTE_ROOT 32

struct atlas_note {
    struct atlas_span text;  /* what is signed, its last newline included */
    struct atlas_span lines; /* the signature lines, newlines included */
};

/* ATLAS_E_NOTE: not the format. ATLAS_E_LIMIT: longer, or with more signatures, than the limits. Every signature line
 * is well formed. */
int atlas_note_read(struct atlas_span bytes, struct atlas_note *ret_note, struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_note_signature {
    struct atlas_span name;
    uint8_t blob[ATLAS_MAX_NOTE_BLOB]; /* the key's number, then what its kind of key makes */
    size_t n_blob;
};

/* Cut the next signature line off note.lines; false at the end. */
bool atlas_note_next(struct atlas_span *lines, struct atlas_note_signature *ret_signature);

/* Append a signature line. */
void atlas_note_write_line(struct atlas_span name, struct atlas_span blob, struct atlas_buf *ret_line);

/* Is this the name of a key: UTF-8, neither empty nor too long, without spaces, control characters and '+'? */
bool atlas_note_name_check(struct atlas_span name);

/* A key as text: NAME+HEX+BASE64, or PRIVATE+KEY+NAME+HEX+BASE64. */
struct atlas_note_key_text {
    struct atlas_span name;
    uint8_t id[ATLAS_NOTE_ID];
    uint8_t key[256]; /* its type, then the key */
    size_t n_key;
};

/* ATLAS_E_NOTE. Whether the number is that of the key: stage/note.h. */
int atlas_note_key_read(struct atlas_span text, bool secret, struct atlas_note_key_text *ret_key,
                        struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_note_key_write(bool secret, struct atlas_span name, const uint8_t id[ATLAS_NOTE_ID], struct atlas_span key,
                          struct atlas_buf *ret_text);

/* ------------------------------------------------------------------------------------------------ checkpoints */

struct atlas_checkpoint {
    struct atlas_span origin;
    uint64_t size; /* below 2^63 */
    uint8_t root[ATLAS_NOTE_ROOT];
    struct atlas_span extensions; /* more lines, newlines included */
};

int atlas_checkpoint_read(struct atlas_span text, struct atlas_checkpoint *ret_checkpoint,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the text; extensions are left out. */
void atlas_checkpoint_write(const struct atlas_checkpoint *checkpoint, struct atlas_buf *ret_text);

/* --------------------------------------------------------------------------------------- lines, for their readers */

/* Cut a line off the front of *s, without its newline; false when there is no newline. */
bool atlas_line_take(struct atlas_span *s, struct atlas_span *ret_line);

/* A decimal number below 2^63 in its one form. */
bool atlas_line_number(struct atlas_span text, uint64_t *ret_v);

void atlas_line_write_number(uint64_t v, struct atlas_buf *ret_text);

#endif
