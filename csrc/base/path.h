/*
 * path.h - relative paths as text: percent-encoded, one line, printable ASCII (docs/manifest.md, "Digests").
 *
 * Every byte outside 0x21..0x7E and '%' itself is written as % and two upper-case hexadecimal digits. A path has
 * exactly one encoded form; the order of paths is the order of the bytes that they stand for.
 */
#ifndef ATLAS_BASE_PATH_H
#define ATLAS_BASE_PATH_H

#include "base/buf.h"

void atlas_path_encode(struct atlas_span raw, struct atlas_buf *ret_encoded);

/* The bytes that a well-formed encoded path stands for. */
void atlas_path_decode(struct atlas_span encoded, struct atlas_buf *ret_raw);

/* Bytewise order of what two well-formed encoded paths stand for. */
int atlas_path_compare(struct atlas_span a, struct atlas_span b);

/* The one encoded form of a relative path: no empty, "." or ".." component, no leading or trailing '/', no NUL, nothing
 * encoded that need not be. */
bool atlas_path_check(struct atlas_span encoded);

/* The same of a path that is not encoded. */
bool atlas_path_check_raw(struct atlas_span raw);

/* How many components a path has. */
unsigned atlas_path_depth(const char *path);

/* Name a path in an error: its last bytes where it is too long for struct atlas_error. encode: it comes from somebody
 * else's directory and may hold anything. */
void atlas_path_where(const char *path, bool encode, char *out, size_t n);

#endif
