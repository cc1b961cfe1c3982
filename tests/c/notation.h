/* notation.h - CBOR for tests, as one reads it: {'alg': 'sha256', 'pad': h'', 'hash': #32, 'n': [1, -2, true, null]}.
 * #n is a byte string of n bytes. Maps come out sorted. */
#ifndef ATLAS_TEST_NOTATION_H
#define ATLAS_TEST_NOTATION_H

#include "base/buf.h"

/* Append it; a mistake in the notation ends the program. */
void write_notation(struct atlas_buf *b, const char *notation);

#endif
