/*
 * verify.h - artifact + manifests + trust -> verdict. Trust logic only: no I/O.
 *
 * The verifier never opens a file. It says what it needs, the caller looks for it and hands it in:
 *
 *     atlas_verifier_open(v, sidecar)
 *     while (atlas_verifier_next(v, &need), need.kind != ATLAS_NEED_NOTHING)
 *         ATLAS_NEED_MANIFEST:  atlas_verifier_manifest(v, bytes), or _absent(v, why)
 *         ATLAS_NEED_PROOF:     atlas_verifier_proofs(v, proofs, n), or _absent / _unreadable(v, why)
 *         ATLAS_NEED_ARTIFACT:  atlas_verifier_measured(v, m, ...), or _absent / _refused / _unreadable(v, why)
 *     atlas_verifier_finish(v)  -> atlas_verifier_verdict(v)
 *
 * Whatever is handed in is checked: a manifest against the digest that refers to it, a measurement against the hard
 * binding and the tree. Order and status codes: C2PA 2.2, 15; what is stricter than C2PA: docs/verify.md.
 *
 * Three phases. Discover: parse every manifest that can be reached, once, keyed by content; cycles and limits end here.
 * Check: signature, credential, assertions and ingredients of every node. Bind: compare bytes. The walk is iterative
 * and linear in the bytes of the manifests.
 *
 * A verdict is computed from the slots of every node: a slot that is required and still zero ("not run") is a failure.
 */
#ifndef ATLAS_STAGE_VERIFY_H
#define ATLAS_STAGE_VERIFY_H

#include "base/error.h"
#include "port/crypto/crypto.h"
#include "stage/attest.h"
#include "stage/measure.h"
#include "stage/proof.h"

/* The answers, each worse than the one before; the worst check decides. Zero is no answer. */
enum atlas_answer {
    ATLAS_NOTHING_CHECKED = 0,
    ATLAS_VALID,
    ATLAS_INCOMPLETE,  /* something required is missing */
    ATLAS_UNTRUSTED,   /* well formed, but signer, time or policy does not accept it */
    ATLAS_UNCHECKABLE, /* I/O error, out of memory */
    ATLAS_LIMIT,       /* beyond a limit of atlas.h */
    ATLAS_MALFORMED,   /* not a manifest of the profile */
    ATLAS_INVALID,     /* proof of tampering, or of a false statement */
};

enum atlas_status {
    ATLAS_NOT_RUN = 0,
    ATLAS_PASSED,
    ATLAS_FAILED,
    ATLAS_NOT_REQUIRED,
    ATLAS_NOTE, /* informational: never a failure, never a success */
};

/* What every node must have passed. */
enum atlas_slot {
    ATLAS_SLOT_FORM,        /* one claim, one signature, one assertion store; parses under the profile */
    ATLAS_SLOT_SIGNATURE,   /* COSE signature over the claim */
    ATLAS_SLOT_CREDENTIAL,  /* certificate profile, chain to an anchor, validity and revocation at the time */
    ATLAS_SLOT_SIGNER,      /* pinned signer */
    ATLAS_SLOT_RULES,       /* one hard binding, actions, type of manifest */
    ATLAS_SLOT_ASSERTIONS,  /* every assertion hash, nothing undeclared, redactions allowed */
    ATLAS_SLOT_INGREDIENTS, /* every ingredient leads to the manifest that was referred to */
    ATLAS_SLOT_INPUTS,      /* the bytes read are the bytes that the ingredient's manifest is bound to */
    ATLAS_SLOT_BINDING,     /* hard binding against the artifact */
    ATLAS_SLOT_TREE,        /* tree digest, kind and size against the artifact */
    ATLAS_SLOT_EVIDENCE,    /* hardware evidence: bound to this manifest; what the policy demands of it */
    ATLAS_SLOT_LOG,         /* proven to be in a log, where the policy names logs */
    ATLAS_SLOT_COUNT,
};

/* Hardware evidence that a manifest must carry, and that must hold under the appraisal policy. */
enum atlas_evidence_mode {
    ATLAS_EVIDENCE_NONE = 0,
    ATLAS_EVIDENCE_SESSION,  /* the signing key and the run were bound to the hardware */
    ATLAS_EVIDENCE_ARTIFACT, /* this very claim was */
};

struct atlas_evidence_rule {
    struct atlas_span step; /* path of a pipeline step; p == NULL: every manifest */
    enum atlas_evidence_mode mode;
};

struct atlas_verify_policy {
    const struct atlas_trust *trust;        /* anchors, TSA anchors, CRLs */
    int64_t now;                            /* Unix seconds; what "now" means when there is no trusted timestamp */
    bool tree_only;                         /* the tree stands in for the hard binding */
    bool require_artifacts;                 /* every ancestor's bytes must be there */
    bool require_revocation;                /* revocation data must cover every signer */
    bool refuse_unknown;                    /* inputs of unknown provenance are UNTRUSTED */
    const struct atlas_span *signers;       /* names (CN) or SHA-256 of SPKI in hex; none: any under the anchors */
    size_t n_signers;
    const struct atlas_span *redactable;    /* labels whose redaction is accepted although it is refused by default */
    size_t n_redactable;
    const struct atlas_evidence_rule *evidence; /* a rule for a step that no manifest names is INCOMPLETE */
    size_t n_evidence;
    struct atlas_span appraisal;         /* JSON (stage/attest.h); p == NULL: the defaults, which name no software */
    struct atlas_span evidence_anchor;   /* PEM of a root instead of the vendors'; such evidence never holds */
    const struct atlas_span *collateral; /* instead of what manifests carry; none: what they carry */
    size_t n_collateral;
};

struct atlas_check {
    const char *code; /* C2PA status code where there is one */
    enum atlas_status status;
    enum atlas_answer answer; /* what a failure makes of the verdict; ATLAS_VALID otherwise */
    uint32_t node;
    struct atlas_span where; /* JUMBF URI or field */
    struct atlas_span text;
};

/* What was proven about the hardware behind one manifest. */
struct atlas_evidence_view {
    enum atlas_evidence_mode mode; /* NONE: the manifest carries no evidence, and nothing below means anything */
    struct atlas_span type;        /* "org.atlasml.tdx" */
    bool bound;                    /* to this manifest, and to its signer's key */
    bool holds;                    /* all three results, under the vendor's own root */
    const struct atlas_attest *result; /* three results; NULL when it could not be verified at all */
    struct atlas_span why;         /* when it does not hold: one sentence */
};

enum atlas_bytes_state { ATLAS_BYTES_NOT_MEASURED = 0, ATLAS_BYTES_MEASURED, ATLAS_BYTES_DIFFERENT };

#define ATLAS_NO_NODE UINT32_MAX

/* One ingredient as its signer recorded it. */
struct atlas_edge {
    struct atlas_span label; /* of the ingredient assertion */
    struct atlas_span name;
    struct atlas_span kind;
    struct atlas_span role;
    struct atlas_span relation;
    struct atlas_span relationship;
    uint32_t node; /* ATLAS_NO_NODE: unknown provenance, or missing */
    bool unknown;  /* the signer knew of no manifest */
    struct atlas_digest flat;
    struct atlas_digest tree;
    uint64_t size;
};

struct atlas_node_view {
    struct atlas_span urn;
    struct atlas_span box; /* the manifest superbox */
    struct atlas_span name;
    struct atlas_span kind; /* "file" or "directory" */
    uint64_t size;
    struct atlas_digest flat;
    struct atlas_digest tree;
    struct atlas_span leaf; /* DER of the signer's certificate; empty when there is none */
    int64_t signed_at;
    bool timestamped;
    enum atlas_bytes_state bytes;
    enum atlas_answer answer;
    uint64_t gaps;
    struct atlas_span step; /* path of the pipeline step; p == NULL: none is named */
    const struct atlas_evidence_view *evidence; /* NULL: the manifest carries none */
    const struct atlas_edge *edges;
    size_t n_edges;
};

struct atlas_verdict {
    enum atlas_answer answer;
    const struct atlas_check *checks;
    size_t n_checks;
    size_t n_nodes;
};

enum atlas_need_kind { ATLAS_NEED_NOTHING = 0, ATLAS_NEED_MANIFEST, ATLAS_NEED_ARTIFACT, ATLAS_NEED_PROOF };

/* What the verifier asks for next; its spans are valid until the next call. */
struct atlas_need {
    enum atlas_need_kind kind;
    uint32_t node;              /* artifact, proof: of which node; manifest: whose ingredient */
    struct atlas_span name;     /* logical name */
    struct atlas_digest digest; /* manifest: of the whole sidecar; proof: the log's leaf hash */
    uint64_t size;              /* manifest: of the sidecar, 0 when not recorded */
    struct atlas_span urn;
    bool subject;               /* artifact: the one under verification, not an ancestor */
    bool directory;
    int alg;                    /* enum atlas_alg to measure with */
    struct atlas_digest flat_expected; /* what the hard binding says, for messages */
    bool flat;                  /* measure the flat digest, the tree, or both */
    bool tree;
    struct atlas_span ignore;   /* directory: encoded CBOR array of text, as signed */
    struct atlas_digest tensors; /* root of the tensor table as signed; absent: none, or not looked at (tree only) */
    struct atlas_digest table;   /* SHA-256 of that table */
};

struct atlas_verifier;

/* The policy is copied; the trust object must outlive the verifier. */
int atlas_verifier_new(const struct atlas_verify_policy *policy, struct atlas_verifier **ret_v,
                       struct atlas_error *error);
void atlas_verifier_free(struct atlas_verifier *v);

/* The logs and witnesses of a c2sp.org/tlog-policy: from now on proofs are asked for, of every signature that holds. A
 * missing one is a note, or with `require` INCOMPLETE. heads: checkpoints that are remembered. Before anything is
 * opened. ATLAS_E_NOTE: not a policy. */
int atlas_verifier_trust_logs(struct atlas_verifier *v, struct atlas_span policy, bool require,
                              const struct atlas_span *heads, size_t n_heads, struct atlas_error *error);

/* The artifact's own manifest store (copied). Only ATLAS_E_NOMEM and misuse are errors: a store that cannot be parsed
 * is a verdict. */
int atlas_verifier_open(struct atlas_verifier *v, struct atlas_span store, struct atlas_error *error);

int atlas_verifier_next(struct atlas_verifier *v, struct atlas_need *ret_need, struct atlas_error *error);

/* Answers to the last need; one of them before the next call of atlas_verifier_next. `why` is kept for the verdict. */
int atlas_verifier_manifest(struct atlas_verifier *v, struct atlas_span store, struct atlas_error *error);
/* All proofs that were found for the entry asked for; at least one. */
int atlas_verifier_proofs(struct atlas_verifier *v, const struct atlas_span *proofs, size_t n,
                          struct atlas_error *error);
int atlas_verifier_measured(struct atlas_verifier *v, const struct atlas_measurement *m, struct atlas_span detail,
                            struct atlas_error *error);
/* Before the answer about an artifact: the root of its tensor table. from_file: made of the artifact's own bytes, else
 * of the table that the manifest names by hash. root == NULL: there is none; why says so. */
int atlas_verifier_tensors(struct atlas_verifier *v, const struct atlas_digest *root, bool from_file,
                           struct atlas_span why, struct atlas_error *error);

int atlas_verifier_absent(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error);
int atlas_verifier_refused(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error);
int atlas_verifier_unreadable(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error);

/* Ends the verification; needs that were not answered stay "not run". Borrowed from v. */
int atlas_verifier_finish(struct atlas_verifier *v, struct atlas_verdict *ret_verdict, struct atlas_error *error);
int atlas_verifier_node(const struct atlas_verifier *v, uint32_t node, struct atlas_node_view *ret_view,
                        struct atlas_error *error);

/* Where its signature is logged; NULL: nothing proves it. */
const struct atlas_log_place *atlas_verifier_logged(const struct atlas_verifier *v, uint32_t node);

const char *atlas_answer_name(enum atlas_answer answer);
const char *atlas_status_name(enum atlas_status status);

#endif
