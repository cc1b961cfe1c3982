/*
 * lanes.h - SHA-2 over several messages at a time: what hashes large amounts of bytes.
 *
 * One message keeps a core busy for half of its time or less: each round waits for the one before it. Given several
 * messages (chunks of one file, or many files), feed() runs them side by side: two with the SHA extensions, sixteen or
 * eight with AVX-512, one after the other with OpenSSL. Which it is was chosen when the process first asked: what the
 * processor has, what gave OpenSSL's answers in a test, what was faster when it was tried. The digests are the same.
 */
#ifndef ATLAS_PORT_LANES_H
#define ATLAS_PORT_LANES_H

#include "base/error.h"
#include "port/crypto/crypto.h"

struct atlas_kernel;

/* A kernel, and from how many messages on its widest function is worth while; NULL: OpenSSL. */
struct atlas_kernel_use {
    const struct atlas_kernel *kernel;
    unsigned wide_from;
};

/* One message, piece by piece, and after it the next one. Owner. For one thread at a time. */
struct atlas_stream {
    int alg;
    struct atlas_kernel_use use;
    uint64_t size; /* bytes so far */
    union {
        uint32_t narrow[8];
        uint64_t broad[8];
    } state;
    uint8_t tail[128]; /* the bytes of an unfinished block */
    struct atlas_hasher hasher; /* when OpenSSL does it */
};

#define ATLAS_STREAM_INIT ((struct atlas_stream){.hasher = {NULL, ATLAS_ALG_NONE}})

/* For so few messages at a time OpenSSL is better than wide lanes are, and much better than their plain C. */
#define ATLAS_LANES_FEW 2u

/* alone: mostly fed with ATLAS_LANES_FEW or fewer. ATLAS_E_ARG, ATLAS_E_UNSUPPORTED: ATLAS_KERNEL says something that
 * is not to be had. */
int atlas_stream_init(struct atlas_stream *s, int alg, bool alone, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_stream_release(struct atlas_stream *s); /* also for one that was only ATLAS_STREAM_INIT, or all zeroes */

/* The next bytes of a message. */
struct atlas_feed {
    struct atlas_stream *stream;
    struct atlas_span bytes;
    struct atlas_digest *ret_digest; /* NULL: the message goes on. Else it ends, and the stream begins the next one. */
};

/* Feed streams of one algorithm, each of them once. After an error they are good for nothing. */
int atlas_streams_feed(const struct atlas_feed *feeds, size_t n, struct atlas_error *error) ATLAS_MUST_CHECK;

/* How many messages should be fed together. */
#define ATLAS_LANES_MAX 16u
int atlas_lanes_width(int alg, unsigned *ret_width, struct atlas_error *error) ATLAS_MUST_CHECK;

/* What was chosen, for people. */
struct atlas_lanes_report {
    const char *sha256; /* name of the kernel */
    const char *sha512; /* of SHA-384 and SHA-512 */
    unsigned sha256_lanes;
    unsigned sha512_lanes;
    const char *failed; /* a kernel that gave wrong answers and is not used; NULL: none */
};
int atlas_lanes_look(struct atlas_lanes_report *ret_report, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
