/*
 * tensor.h - the digests of tensors: SHA-256 over the elements in row-major order, little-endian, whatever the layout
 * in memory or in a checkpoint is (docs/manifest.md, "Tensor table").
 */
#ifndef ATLAS_STAGE_TENSOR_H
#define ATLAS_STAGE_TENSOR_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_TENSOR_DIMS 64 /* torch's own limit */
#define ATLAS_MAX_ELEMENT_BYTES 16
#define ATLAS_MAX_STRIDED_BYTES ((uint64_t)4 << 30) /* of a file, that are held to bring one tensor into order */

/* Where one tensor lies: in memory, or in the open file. */
struct atlas_tensor {
    struct atlas_span memory; /* p == NULL: the file */
    uint64_t offset;          /* of its first element */
    unsigned element;         /* bytes of an element */
    unsigned turned;          /* bytes that are turned round: element, half of it for complex numbers, or 1 for none */
    unsigned dims;
    const uint64_t *shape;
    const uint64_t *stride; /* in elements */
};

struct atlas_tensor_file {
    int fd;
    uint64_t size;
    const char *where; /* names the file in errors */
};

/* Append the SHA-256 of every tensor, in order. Contiguous ones are read piece by piece; of one that is not, the file's
 * extent is held. ATLAS_E_ARG: elements outside its memory or file; ATLAS_E_CHANGED: the file ended before its size;
 * ATLAS_E_LIMIT: a strided tensor beyond ATLAS_MAX_STRIDED_BYTES. */
int atlas_tensor_digests(const struct atlas_tensor *tensors, size_t n, const struct atlas_tensor_file *file,
                         unsigned threads, struct atlas_buf *ret_digests, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
