/* types.h - what every layer shares: bytes, errors, digests, limits. include/atlas.h is the way in for users. */
#ifndef ATLAS_BASE_TYPES_H
#define ATLAS_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------------------------------------ bytes */

struct atlas_span {
    const uint8_t *p;
    size_t n;
};

/* ----------------------------------------------------------------------------------------------- errors */

/* Class = -code / 100. Three sentences that are never confused:
 * 3xx "could not parse", 4xx "checked and false", 2xx and 9xx "could not check". */
enum atlas_err {
    ATLAS_OK = 0,
    /* 1xx: the caller broke the contract */
    ATLAS_E_ARG = -100,
    ATLAS_E_BUSY = -101,
    /* 2xx: the machine refused */
    ATLAS_E_NOMEM = -200,
    ATLAS_E_IO = -201,
    ATLAS_E_NOT_FOUND = -202,
    ATLAS_E_UNSUPPORTED = -203,
    ATLAS_E_CHANGED = -204,  /* a file changed while it was read */
    ATLAS_E_CANCELLED = -205, /* the progress callback asked to stop */
    ATLAS_E_REFUSED = -206,  /* a file type or link that is never measured */
    ATLAS_E_VOLUME = -207,   /* a file system that cannot keep a log's promise */
    ATLAS_E_LOCKED = -208,   /* another process holds a lock */
    ATLAS_E_BROKEN = -209,   /* an earlier write to a log failed: nobody knows what is on the disk */
    /* 3xx: the bytes are not the format; LIMIT: beyond a stated limit */
    ATLAS_E_LIMIT = -300,
    ATLAS_E_CBOR = -301,
    ATLAS_E_JUMBF = -302,
    ATLAS_E_COSE = -303,
    ATLAS_E_C2PA = -304,
    ATLAS_E_UTF8 = -305,
    ATLAS_E_JSON = -306,
    ATLAS_E_X509 = -307,
    ATLAS_E_KEY = -308, /* a key file that cannot be read, or a wrong password */
    ATLAS_E_INDEX = -309, /* the index of a directory */
    ATLAS_E_PART = -310, /* the record of a part, or parts that do not belong together */
    ATLAS_E_LOG = -311, /* a log's own files: its state, a stage, a folder that is no log */
    ATLAS_E_NOTE = -312, /* a signed note, checkpoint, policy, entry or proof of a transparency log */
    ATLAS_E_EVIDENCE = -320, /* hardware evidence: a quote, a report, an event log */
    /* 4xx: well formed, checked and false */
    ATLAS_E_DIGEST = -400,
    ATLAS_E_SIGNATURE = -401,
    ATLAS_E_CREDENTIAL = -402, /* certificate profile */
    ATLAS_E_CHAIN = -403,      /* no path to a given anchor */
    ATLAS_E_EXPIRED = -404,
    ATLAS_E_REVOKED = -405,
    ATLAS_E_ALGORITHM = -406, /* not allowed, or does not fit the key */
    ATLAS_E_MISMATCH = -420,  /* evidence: a field is not what the vendor, the binding or the policy says */
    ATLAS_E_TCB = -421,       /* evidence: the platform's TCB is not accepted */
    ATLAS_E_TILE = -430,        /* log: a tile or an entry is not what the signed head vouches for, or is missing */
    ATLAS_E_FORKED = -431,      /* log: two histories */
    ATLAS_E_ROLLED_BACK = -432, /* log: fewer entries than it had before */
    ATLAS_E_UNKNOWN_LOG = -433, /* log: one that the policy does not name, or without its quorum of witnesses */
    /* 9xx: our bug, or the crypto library's */
    ATLAS_E_INTERNAL = -900,
    ATLAS_E_CRYPTO = -901,
};

struct atlas_error {
    int code;       /* enum atlas_err; 0 while nothing went wrong */
    size_t offset;  /* byte position in the input; (size_t)-1 where none applies */
    char where[80]; /* path of the field, e.g. "claim.created_assertions[3].hash", or the file */
    char text[240]; /* one sentence: what is wrong */
};

/* ---------------------------------------------------------------------------------------------- digests */

/* C2PA 2.x, 13.1: the three hash algorithms of the profile. */
enum atlas_alg { ATLAS_ALG_NONE = 0, ATLAS_SHA256 = 1, ATLAS_SHA384 = 2, ATLAS_SHA512 = 3 };

#define ATLAS_DIGEST_MAX 64

struct atlas_digest {
    uint8_t alg; /* enum atlas_alg; ATLAS_ALG_NONE: absent */
    uint8_t n;   /* 32, 48 or 64; 0: absent */
    uint8_t b[ATLAS_DIGEST_MAX];
};

/* ----------------------------------------------------------------------------------------------- limits */

#define ATLAS_MAX_CBOR_DEPTH 32
#define ATLAS_MAX_CBOR_ITEMS 1000000
#define ATLAS_MAX_JUMBF_DEPTH 8
#define ATLAS_MAX_STORE_BYTES (64u << 20)  /* one manifest store */
#define ATLAS_MAX_ASSERTIONS 4096          /* of one manifest */
#define ATLAS_MAX_INGREDIENTS 1024         /* of one manifest */
#define ATLAS_MAX_CERTIFICATES 16          /* in one x5chain */
#define ATLAS_MAX_CHAIN_DEPTH 128          /* embedded ancestors, one below the other */
#define ATLAS_MAX_NODES 65536              /* manifests in one verification */
#define ATLAS_MAX_EDGES (1u << 20)        /* ingredients in one verification */
#define ATLAS_MAX_TOTAL_BYTES (512u << 20) /* manifest bytes in one verification */
#define ATLAS_MAX_REDACTIONS 1024          /* in one verification */
#define ATLAS_MAX_FILES 10000000           /* entries below one directory */
#define ATLAS_MAX_IGNORE 1024              /* entries of an ignore list */
#define ATLAS_MAX_PATH_BYTES 4095          /* of a path below a directory */
#define ATLAS_MAX_PATH_DEPTH 128           /* components of such a path */
#define ATLAS_MAX_LINK_HOPS 40             /* links in the way of one link; the kernel's own limit */
#define ATLAS_MAX_LINK_NESTING 8           /* linked directories one below the other */
#define ATLAS_MAX_LINKED_DIRECTORIES 65536 /* visited through links */

#endif
