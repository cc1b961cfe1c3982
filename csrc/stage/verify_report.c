/* verify_report.c - checks, slots, the answer. The answer is made in one place, from what was recorded. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "stage/verify_parts.h"

bool atlas_grow(void **p, size_t *cap, size_t n, size_t element)
{
    if (n < *cap) {
        return true;
    }
    size_t more = *cap == 0 ? 16 : *cap * 2;
    if (more > SIZE_MAX / element) {
        return false;
    }
    void *grown = realloc(*p, more * element);
    if (grown == NULL) {
        return false;
    }
    *p = grown;
    *cap = more;
    return true;
}

static struct atlas_kept keep(struct atlas_verifier *v, struct atlas_span s)
{
    struct atlas_kept kept = {.at = v->text.n, .n = s.n};
    atlas_buf_append(&v->text, s);
    return kept;
}

void atlas_slot_set(struct atlas_node *node, enum atlas_slot slot, enum atlas_status status)
{
    if (node->slots[slot] != ATLAS_FAILED) {
        node->slots[slot] = status;
    }
}

static void settle_slot(struct atlas_node *node, enum atlas_slot slot, enum atlas_status status,
                        enum atlas_answer answer)
{
    if (status == ATLAS_FAILED && answer > node->answer) {
        node->answer = answer;
    }
    if (slot != ATLAS_SLOT_COUNT && (status == ATLAS_FAILED || status == ATLAS_PASSED)) {
        atlas_slot_set(node, slot, status);
    }
}

int atlas_report(struct atlas_verifier *v, uint32_t node, enum atlas_slot slot, const char *code,
                 enum atlas_status status, enum atlas_answer answer, struct atlas_span where, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || !atlas_grow((void **)&v->kept, &v->cap_kept, v->n_kept, sizeof *v->kept)) {
        return ATLAS_E_NOMEM;
    }
    size_t length = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    v->kept[v->n_kept++] = (struct atlas_kept_check){
        .code = code,
        .status = status,
        .answer = status == ATLAS_FAILED ? answer : ATLAS_VALID,
        .node = node,
        .where = keep(v, where),
        .text = keep(v, atlas_span_of(text, length)),
    };
    settle_slot(&v->nodes[node], slot, status, answer);
    return v->text.failed ? ATLAS_E_NOMEM : ATLAS_OK;
}

enum atlas_answer atlas_answer_of(int code, enum atlas_answer otherwise)
{
    if (code == ATLAS_E_LIMIT) {
        return ATLAS_LIMIT;
    }
    if (code == ATLAS_E_UNSUPPORTED || -code / 100 == 3) {
        return ATLAS_MALFORMED;
    }
    if (-code / 100 == 2 || -code / 100 == 9 || -code / 100 == 1) {
        return ATLAS_UNCHECKABLE;
    }
    return otherwise;
}

int atlas_report_error(struct atlas_verifier *v, uint32_t node, enum atlas_slot slot, const char *code,
                       enum atlas_answer answer, struct atlas_span where, const struct atlas_error *error)
{
    if (error->code == ATLAS_E_NOMEM) {
        return ATLAS_E_NOMEM;
    }
    enum atlas_answer by_class = atlas_answer_of(error->code, answer);
    if (error->offset != ATLAS_NO_OFFSET) {
        return atlas_report(v, node, slot, code, ATLAS_FAILED, by_class, where, "%s%s%s (byte %zu)", error->where,
                            error->where[0] != '\0' ? ": " : "", error->text, error->offset);
    }
    return atlas_report(v, node, slot, code, ATLAS_FAILED, by_class, where, "%s%s%s", error->where,
                        error->where[0] != '\0' ? ": " : "", error->text);
}

int atlas_node_uri(const struct atlas_node *node, enum atlas_c2pa_target target, struct atlas_span label,
                   struct atlas_buf *ret_uri)
{
    atlas_buf_clear(ret_uri);
    atlas_c2pa_ref_write(ret_uri, target, node->box.label, label);
    return ret_uri->failed ? ATLAS_E_NOMEM : ATLAS_OK;
}

/* ---------------------------------------------------------------------------------------------------- verdict */

static const char *const slot_names[ATLAS_SLOT_COUNT] = {
    "form", "signature", "credential", "signer", "rules", "assertions", "ingredients", "inputs", "binding", "tree",
    "evidence",
    "log",
};

/* A required slot that is still zero is a failure: no check that was skipped counts as passed. */
static int report_not_run(struct atlas_verifier *v, uint32_t n)
{
    struct atlas_node *node = &v->nodes[n];
    char names[160] = "";
    size_t length = 0;
    for (size_t i = 0; i < ATLAS_SLOT_COUNT; i++) {
        if (node->slots[i] == ATLAS_NOT_RUN && length < sizeof names - 16) {
            length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", length != 0 ? ", " : "",
                                       slot_names[i]);
        }
    }
    if (length == 0) {
        return ATLAS_OK;
    }
    enum atlas_answer answer = node->answer > ATLAS_VALID ? node->answer : ATLAS_INCOMPLETE;
    int rc = atlas_report(v, n, ATLAS_SLOT_COUNT, "general.error", ATLAS_NOT_RUN, answer, node->box.label,
                          "not run: %s", names);
    if (rc == ATLAS_OK) {
        v->kept[v->n_kept - 1].answer = answer;
        node->answer = answer;
    }
    return rc;
}

static enum atlas_answer worst(const struct atlas_verifier *v)
{
    enum atlas_answer answer = v->n_nodes != 0 ? ATLAS_VALID : ATLAS_NOTHING_CHECKED;
    for (size_t i = 0; i < v->n_nodes; i++) {
        if (v->nodes[i].answer > answer) {
            answer = v->nodes[i].answer;
        }
    }
    return answer;
}

static struct atlas_span kept_span(const struct atlas_verifier *v, struct atlas_kept kept)
{
    return atlas_span_sub(atlas_buf_span(&v->text), kept.at, kept.n);
}

static int publish(struct atlas_verifier *v, struct atlas_error *error)
{
    v->checks = calloc(v->n_kept + 1, sizeof *v->checks);
    v->public_edges = calloc(v->n_edges + 1, sizeof *v->public_edges);
    if (v->checks == NULL || v->public_edges == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < v->n_kept; i++) {
        const struct atlas_kept_check *kept = &v->kept[i];
        v->checks[i] = (struct atlas_check){.code = kept->code,
                                            .status = kept->status,
                                            .answer = kept->answer,
                                            .node = kept->node,
                                            .where = kept_span(v, kept->where),
                                            .text = kept_span(v, kept->text)};
    }
    for (size_t i = 0; i < v->n_edges; i++) {
        v->public_edges[i] = v->edges[i].view;
    }
    return ATLAS_OK;
}

int atlas_verdict_make(struct atlas_verifier *v, struct atlas_verdict *ret_verdict, struct atlas_error *error)
{
    int rc;
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        ATLAS_TRY(report_not_run(v, i));
        if (v->nodes[i].answer == ATLAS_NOTHING_CHECKED) {
            v->nodes[i].answer = ATLAS_VALID; /* every slot passed or is not required: report_not_run found none open */
        }
    }
    ATLAS_TRY(publish(v, error));
    *ret_verdict = (struct atlas_verdict){
        .answer = worst(v), .checks = v->checks, .n_checks = v->n_kept, .n_nodes = v->n_nodes};
out:
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

const char *atlas_answer_name(enum atlas_answer answer)
{
    switch (answer) {
    case ATLAS_VALID:
        return "VALID";
    case ATLAS_INCOMPLETE:
        return "INCOMPLETE";
    case ATLAS_UNTRUSTED:
        return "UNTRUSTED";
    case ATLAS_LIMIT:
        return "LIMIT";
    case ATLAS_MALFORMED:
        return "MALFORMED";
    case ATLAS_INVALID:
        return "INVALID";
    case ATLAS_NOTHING_CHECKED:
    case ATLAS_UNCHECKABLE:
        break;
    }
    return "ERROR";
}

const char *atlas_status_name(enum atlas_status status)
{
    switch (status) {
    case ATLAS_PASSED:
        return "passed";
    case ATLAS_FAILED:
        return "failed";
    case ATLAS_NOT_REQUIRED:
        return "not required";
    case ATLAS_NOTE:
        return "note";
    case ATLAS_NOT_RUN:
        break;
    }
    return "not run";
}
