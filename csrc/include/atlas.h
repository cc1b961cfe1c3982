/*
 * atlas.h - the C manual of Atlas: one header per stage, in flow order. Include this one.
 *
 *     measure  ->  claim  ->  sign  ->  attest  ->  log  ->  verify
 *     bytes to     what was   COSE over  evidence    inclusion   artifact + manifests -> verdict
 *     digests      done       the claim  bound to    in a tlog
 *                                        the claim
 *
 * Conventions
 * - Functions return ATLAS_OK (0) or a negative enum atlas_err. Arguments: object, inputs, ret_ outputs, error.
 *   A ret_ argument is written only on success. The error argument may be NULL; the first error wins.
 * - struct atlas_span borrows bytes; parsed views are structs of spans, own nothing and are valid while the bytes
 *   they were read from live. Owners (atlas_buf, atlas_measurer, atlas_key, atlas_verifier) have release or free.
 * - Nothing is global or thread-local. An object may be used by one thread at a time.
 */
#ifndef ATLAS_H
#define ATLAS_H

#include "base/types.h"
#include "stage/measure.h"
#include "stage/read.h"
#include "stage/tensor.h"
#include "stage/claim.h"
#include "stage/sign.h"
#include "stage/attest.h"
#include "stage/log.h"
#include "stage/verify.h"

#endif
