/* sample.h - honest inputs made by the library's own writers, and everything that its readers expose, as text. */
#ifndef ATLAS_TEST_SAMPLE_H
#define ATLAS_TEST_SAMPLE_H

#include "base/buf.h"
#include "base/error.h"

#define SAMPLE_PARENT "urn:c2pa:11111111-1111-4111-8111-111111111111"
#define SAMPLE_CHILD "urn:c2pa:22222222-2222-4222-8222-222222222222:atlas"

/* Each appends one input. The store holds two manifests, the second with the first as an ingredient, and an assertion
 * of every kind; hashes and signatures in it are patterns, not cryptography. Out of memory ends the program. */
void sample_cbor(struct atlas_buf *b);
void sample_cose(struct atlas_buf *b);
void sample_store(struct atlas_buf *b);

/* A superbox with one cbor box: hash.data of c2pa.md's known answer, with or without salt. */
void sample_known_answer(struct atlas_buf *b, bool salted);

/* What a reader makes of an input: its result and, when it succeeded, every value as text. Two inputs that read alike
 * have the same text. */
int dump_cbor(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error);
int dump_cose(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error);
int dump_jumbf(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error);
int dump_store(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error);

#endif
