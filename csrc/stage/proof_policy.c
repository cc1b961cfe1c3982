/* proof_policy.c - the text of a policy, and a checkpoint held against it. */
#include <stdlib.h>

#include "stage/proof.h"

static const char where[] = "log policy";

#define MAX_MEMBERS (2 * (size_t)ATLAS_MAX_LOG_KEYS)

/* A witness or a group: what members of groups and the quorum may name. Witnesses refer to their key. */
struct name {
    struct atlas_span name;
    bool is_member; /* of a group already */
    bool is_group;
    uint16_t key;       /* witness: its number among the witnesses */
    uint16_t threshold; /* group */
    uint16_t first;     /* group: its members in policy.members */
    uint16_t n;
};

struct atlas_log_policy {
    struct atlas_buf text;        /* names point into it */
    struct atlas_note_key *keys;  /* logs, then witnesses */
    size_t n_logs;
    size_t n_witnesses;
    struct name names[2 * ATLAS_MAX_LOG_KEYS]; /* in the order of the text: groups come after their members */
    size_t n_names;
    uint16_t members[MAX_MEMBERS];
    size_t n_members;
    bool complete; /* there was a quorum line */
    bool has_quorum;
    uint16_t quorum;
};

/* While it is read: logs and witnesses apart, since their lines may be mixed. */
struct reader {
    struct atlas_log_policy *policy;
    struct atlas_note_key *logs;
    struct atlas_note_key *witnesses;
    size_t line;
    struct atlas_error *error;
};

static int bad(const struct reader *r, const char *text)
{
    return atlas_error_set(r->error, ATLAS_E_NOTE, where, "line %zu: %s", r->line, text);
}

/* ------------------------------------------------------------------------------------------------------- words */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* The next word of a line; false at its end. */
static bool take_word(struct atlas_span *line, struct atlas_span *ret_word)
{
    struct atlas_span skipped;
    size_t n = 0;
    while (n < line->n && is_blank(line->p[n])) {
        n++;
    }
    (void)atlas_span_take(line, n, &skipped);
    for (n = 0; n < line->n && !is_blank(line->p[n]);) {
        n++;
    }
    return n != 0 && atlas_span_take(line, n, ret_word);
}

static const struct name *find_name(const struct atlas_log_policy *p, struct atlas_span name, uint16_t *ret_i)
{
    for (size_t i = 0; i < p->n_names; i++) {
        if (atlas_span_equal(p->names[i].name, name)) {
            *ret_i = (uint16_t)i;
            return &p->names[i];
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------- lines */

static bool same_key(const struct atlas_note_key *a, const struct atlas_note_key *b)
{
    return atlas_span_equal(atlas_span_of(a->spki, a->n_spki), atlas_span_of(b->spki, b->n_spki));
}

/* One key may stand for one voice only, whatever it is called. */
static int read_key(const struct reader *r, struct atlas_span text, bool witness, struct atlas_note_key *ret_key)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    const struct atlas_log_policy *p = r->policy;
    if (atlas_note_key_parse(text, ret_key, &why) < 0) {
        return why.code == ATLAS_E_NOMEM ? atlas_error_set(r->error, why.code, where, "out of memory")
                                         : bad(r, why.text);
    }
    if ((ret_key->kind == ATLAS_NOTE_COSIGNATURE) != witness) {
        return bad(r, "a key of the wrong type: logs have 1 or 2, witnesses 4");
    }
    for (size_t i = 0; i < p->n_logs + p->n_witnesses; i++) {
        if (same_key(i < p->n_logs ? &r->logs[i] : &r->witnesses[i - p->n_logs], ret_key)) {
            return bad(r, "the same key twice");
        }
    }
    return ATLAS_OK;
}

/* log VKEY [URL] */
static int read_log(struct reader *r, const struct atlas_span *words, size_t n)
{
    if (n != 1 && n != 2) {
        return bad(r, "log VKEY [URL]");
    }
    if (r->policy->n_logs == ATLAS_MAX_LOG_KEYS) {
        return bad(r, "more than 256 logs");
    }
    int rc = read_key(r, words[0], false, &r->logs[r->policy->n_logs]);
    r->policy->n_logs += rc >= 0 ? 1 : 0;
    return rc;
}

static int add_name(struct reader *r, struct atlas_span name, struct name **ret_name)
{
    struct atlas_log_policy *p = r->policy;
    uint16_t i;
    if (atlas_span_equal(name, ATLAS_LIT("none")) || find_name(p, name, &i) != NULL) {
        return bad(r, "this name is taken");
    }
    if (p->n_names == sizeof p->names / sizeof p->names[0]) {
        return bad(r, "too many witnesses and groups");
    }
    *ret_name = &p->names[p->n_names];
    **ret_name = (struct name){.name = name};
    return ATLAS_OK;
}

/* witness NAME VKEY [URL] */
static int read_witness(struct reader *r, const struct atlas_span *words, size_t n)
{
    struct atlas_log_policy *p = r->policy;
    struct name *name = NULL;
    int rc;
    if (n != 2 && n != 3) {
        return bad(r, "witness NAME VKEY [URL]");
    }
    if (p->n_witnesses == ATLAS_MAX_LOG_KEYS) {
        return bad(r, "more than 256 witnesses");
    }
    ATLAS_TRY(add_name(r, words[0], &name));
    ATLAS_TRY(read_key(r, words[1], true, &r->witnesses[p->n_witnesses]));
    name->key = (uint16_t)p->n_witnesses++;
    p->n_names++;
out:
    return rc;
}

static size_t threshold_of(struct atlas_span rule, size_t members)
{
    uint64_t v;
    if (atlas_span_equal(rule, ATLAS_LIT("all"))) {
        return members;
    }
    if (atlas_span_equal(rule, ATLAS_LIT("any"))) {
        return 1;
    }
    return atlas_line_number(rule, &v) && v <= members ? (size_t)v : 0;
}

/* group NAME all|any|NUMBER MEMBER... */
static int read_group(struct reader *r, const struct atlas_span *words, size_t n)
{
    struct atlas_log_policy *p = r->policy;
    struct name *group = NULL;
    uint16_t i;
    int rc;
    if (n < 3) {
        return bad(r, "group NAME all|any|NUMBER MEMBER...");
    }
    ATLAS_TRY(add_name(r, words[0], &group));
    group->is_group = true;
    group->first = (uint16_t)p->n_members;
    group->threshold = (uint16_t)threshold_of(words[1], n - 2);
    if (group->threshold == 0) {
        return bad(r, "a group asks for at least one and at most all of its members");
    }
    for (size_t k = 2; k < n; k++) {
        if (find_name(p, words[k], &i) == NULL) {
            return bad(r, "a member that is not defined before");
        }
        if (p->names[i].is_member || p->n_members == MAX_MEMBERS) {
            return bad(r, "a member that is in a group already");
        }
        p->names[i].is_member = true;
        p->members[p->n_members++] = i;
    }
    group->n = (uint16_t)(n - 2);
    p->n_names++;
out:
    return rc;
}

/* quorum NAME|none */
static int read_quorum(struct reader *r, const struct atlas_span *words, size_t n)
{
    struct atlas_log_policy *p = r->policy;
    if (n != 1 || p->complete) {
        return bad(r, "one quorum, of one name or none");
    }
    p->complete = true;
    if (atlas_span_equal(words[0], ATLAS_LIT("none"))) {
        return ATLAS_OK;
    }
    p->has_quorum = true;
    return find_name(p, words[0], &p->quorum) != NULL ? ATLAS_OK : bad(r, "a quorum that is not defined before");
}

static int read_line(struct reader *r, struct atlas_span line)
{
    static const struct {
        const char *word;
        int (*read)(struct reader *r, const struct atlas_span *words, size_t n);
    } kinds[] = {{"log", read_log}, {"witness", read_witness}, {"group", read_group}, {"quorum", read_quorum}};
    struct atlas_span words[2 + 2 * ATLAS_MAX_LOG_KEYS];
    struct atlas_span first;
    size_t n = 0;
    if (!take_word(&line, &first) || first.p[0] == '#') {
        return ATLAS_OK;
    }
    while (n < sizeof words / sizeof words[0] && take_word(&line, &words[n])) {
        n++;
    }
    if (take_word(&line, &words[0])) {
        return bad(r, "too many words");
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (atlas_span_equal(first, atlas_span_str(kinds[i].word))) {
            return kinds[i].read(r, words, n);
        }
    }
    return bad(r, "it begins with none of log, witness, group and quorum");
}

static int read_text(struct reader *r)
{
    struct atlas_span rest = atlas_buf_span(&r->policy->text); /* ends in a newline */
    struct atlas_span line;
    while (atlas_line_take(&rest, &line)) {
        r->line++;
        int rc = r->line > ATLAS_MAX_LOG_POLICY_LINES ? bad(r, "too many lines") : read_line(r, line);
        if (rc < 0) {
            return rc;
        }
    }
    return r->policy->complete ? ATLAS_OK
                               : atlas_error_set(r->error, ATLAS_E_NOTE, where,
                                                 "there is no quorum line (`quorum none` asks for no witnesses)");
}

/* ------------------------------------------------------------------------------------------------------ policy */

static int join_keys(struct reader *r)
{
    struct atlas_log_policy *p = r->policy;
    p->keys = calloc(p->n_logs + p->n_witnesses + 1, sizeof *p->keys);
    if (p->keys == NULL) {
        return atlas_error_set(r->error, ATLAS_E_NOMEM, where, "out of memory");
    }
    memcpy(p->keys, r->logs, p->n_logs * sizeof *p->keys);
    memcpy(p->keys + p->n_logs, r->witnesses, p->n_witnesses * sizeof *p->keys);
    return ATLAS_OK;
}

int atlas_log_policy_new(struct atlas_span text, struct atlas_log_policy **ret_policy, struct atlas_error *error)
{
    struct reader r = {.policy = calloc(1, sizeof *r.policy),
                       .logs = calloc(ATLAS_MAX_LOG_KEYS, sizeof *r.logs),
                       .witnesses = calloc(ATLAS_MAX_LOG_KEYS, sizeof *r.witnesses),
                       .error = error};
    int rc = ATLAS_OK;
    if (r.policy == NULL || r.logs == NULL || r.witnesses == NULL) {
        (void)atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
        rc = ATLAS_E_NOMEM;
        goto out;
    }
    if (text.n > ATLAS_MAX_LOG_POLICY_BYTES) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_LIMIT, where, "%zu bytes", text.n));
    }
    atlas_buf_append(&r.policy->text, text);
    atlas_buf_append_u8(&r.policy->text, '\n');
    ATLAS_TRY(atlas_buf_check(&r.policy->text, error));
    ATLAS_TRY(read_text(&r));
    ATLAS_TRY(join_keys(&r));
    *ret_policy = r.policy;
    r.policy = NULL;
out:
    atlas_log_policy_free(r.policy);
    free(r.logs);
    free(r.witnesses);
    return rc;
}

void atlas_log_policy_free(struct atlas_log_policy *policy)
{
    if (policy != NULL) {
        atlas_buf_release(&policy->text);
        free(policy->keys);
        free(policy);
    }
}

/* ------------------------------------------------------------------------------------------------- checkpoints */

/* tlog-checkpoint: the key's name is the origin. Rekor v1 adds " - " and the number of the tree. */
static bool is_origin_of(struct atlas_span origin, const struct atlas_note_key *key)
{
    struct atlas_span name = atlas_note_key_name(key);
    struct atlas_span rest = origin;
    struct atlas_span head;
    if (atlas_span_equal(origin, name)) {
        return true;
    }
    return key->kind == ATLAS_NOTE_ECDSA && atlas_span_starts_with(origin, name) &&
           atlas_span_take(&rest, name.n, &head) && atlas_span_starts_with(rest, ATLAS_LIT(" - "));
}

static bool is_logged(const struct atlas_log_policy *p, const bool *is_signed, struct atlas_span origin)
{
    for (size_t i = 0; i < p->n_logs; i++) {
        if (is_signed[i] && is_origin_of(origin, &p->keys[i])) {
            return true;
        }
    }
    return false;
}

/* Groups come after their members, so one pass settles all of them. */
static bool has_quorum(const struct atlas_log_policy *p, const bool *is_signed)
{
    bool holds[2 * ATLAS_MAX_LOG_KEYS];
    if (!p->has_quorum) {
        return true;
    }
    for (size_t i = 0; i < p->n_names; i++) {
        const struct name *name = &p->names[i];
        size_t votes = 0;
        for (size_t k = 0; k < name->n; k++) {
            votes += holds[p->members[name->first + k]] ? 1 : 0;
        }
        holds[i] = name->is_group ? votes >= name->threshold : is_signed[p->n_logs + name->key];
    }
    return holds[p->quorum];
}

static void set_head(const struct atlas_checkpoint *c, struct atlas_log_head *head)
{
    memcpy(head->origin, c->origin.p, c->origin.n); /* as long as a name at most: note.h */
    head->n_origin = c->origin.n;
    head->size = c->size;
    memcpy(head->root, c->root, sizeof head->root);
}

int atlas_log_policy_open(const struct atlas_log_policy *policy, struct atlas_span note,
                          struct atlas_log_head *ret_head, struct atlas_error *error)
{
    struct atlas_log_head head = {.witnesses = 0};
    struct atlas_checkpoint c;
    struct atlas_note n;
    bool is_signed[2 * ATLAS_MAX_LOG_KEYS];
    int rc;
    ATLAS_TRY(atlas_note_open(note, policy->keys, policy->n_logs + policy->n_witnesses, is_signed, &n, error));
    ATLAS_TRY(atlas_checkpoint_read(n.text, &c, error));
    if (!is_logged(policy, is_signed, c.origin)) {
        int shown = (int)(c.origin.n < 100 ? c.origin.n : 100);
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_UNKNOWN_LOG, "checkpoint", "no log of the policy signed as %.*s",
                                  shown, (const char *)c.origin.p));
    }
    for (size_t i = 0; i < policy->n_witnesses; i++) {
        head.witnesses += is_signed[policy->n_logs + i] ? 1 : 0;
    }
    if (!has_quorum(policy, is_signed)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_UNKNOWN_LOG, "checkpoint",
                                  "the quorum is not reached: %zu of %zu witnesses cosigned", head.witnesses,
                                  policy->n_witnesses));
    }
    set_head(&c, &head);
    *ret_head = head;
out:
    return rc;
}
