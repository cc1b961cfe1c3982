/* test_oom.c - the formats without memory: every scenario is run with its first, second, ... allocation failing, until it
 * runs through. Each failure must say ATLAS_E_NOMEM, leak nothing (LeakSanitizer watches) and leave a retry working. The
 * linker sends every malloc, calloc and realloc of the library here (csrc/Makefile). */
#include "format/assertion.h"
#include "format/atlasml.h"
#include "format/cose.h"
#include "folder.h"
#include "format/hashedrekord.h"
#include "notation.h"
#include "sample.h"
#include "stage/measure.h"
#include "stage/merkle.h"
#include "stage/proof.h"
#include "stage/read.h"
#include "stage/tensor.h"
#include "test.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static size_t countdown; /* the allocation that fails; 0: none does */
static bool persistent;  /* and all after it */
static bool failed;      /* did one */

static bool fails(void)
{
    if (countdown == 0) {
        return false;
    }
    if (countdown > 1) {
        countdown--;
        return false;
    }
    countdown = persistent ? 1 : 0;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

/* ----------------------------------------------------------------------------------------------- scenarios */

static struct atlas_buf store;    /* the sample, made before memory runs out */
static struct atlas_buf unsorted; /* a map of 100 keys in no order */

static int read_store(struct atlas_error *error)
{
    struct atlas_buf text = ATLAS_BUF_INIT;
    int rc = dump_store(atlas_buf_span(&store), &text, error);
    rc = rc == ATLAS_OK ? atlas_buf_check(&text, error) : rc;
    atlas_buf_release(&text);
    return rc;
}

static int check_unsorted(struct atlas_error *error)
{
    return atlas_cbor_check(atlas_buf_span(&unsorted), "", error);
}

static int write_map(struct atlas_error *error)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    for (unsigned i = 0; i < 50; i++) {
        struct atlas_buf *entry = atlas_cbor_map_entry(&m);
        atlas_cbor_write_uint(entry, i);
        atlas_cbor_write_text(entry, ATLAS_LIT("some text that makes the buffer grow"));
    }
    int rc = atlas_cbor_map_write(&m, &b, error);
    atlas_cbor_map_release(&m);
    atlas_buf_release(&b);
    return rc;
}

static int write_cose(struct atlas_error *error)
{
    struct atlas_buf protected_ = ATLAS_BUF_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_span x = ATLAS_LIT("x");
    int rc = atlas_cose_write_protected(&protected_, ATLAS_COSE_ES256, &x, 1, error);
    if (rc == ATLAS_OK) {
        rc = atlas_cose_write(&b, atlas_buf_span(&protected_), x, x, &x, 1, error);
    }
    if (rc == ATLAS_OK) {
        atlas_cose_write_countersignature(&b, x, x);
        rc = atlas_buf_check(&b, error);
    }
    atlas_buf_release(&protected_);
    atlas_buf_release(&b);
    return rc;
}

static int write_assertions(struct atlas_error *error)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_span payload;
    struct atlas_span x = ATLAS_LIT("x");
    struct atlas_c2pa_status status = {x, x};
    struct atlas_c2pa_link link = {.url = ATLAS_LIT("self#jumbf=/c2pa/" SAMPLE_PARENT), .hash = x, .size = {true, 1}};
    struct atlas_c2pa_ingredient ingredient = {.relationship = ATLAS_C2PA_INPUT_TO, .has_data = true, .data = link,
                                               .has_active_manifest = true, .active_manifest = link};
    struct atlas_c2pa_action action = {.action = x, .redacted = x, .when = x};
    struct atlas_ml_input input = {.ingredient = x, .name = x, .role = x, .via = x, .alg = ATLAS_SHA256,
                                   .flat = {.alg = ATLAS_SHA256, .n = 32}};
    struct atlas_ml_measurement measurement = {.name = x, .alg = ATLAS_SHA256, .tree = {.alg = ATLAS_SHA256, .n = 32}};
    int rc;
    ATLAS_TRY(atlas_c2pa_validation_results_write(&b, &status, 1, &status, 1, error));
    ATLAS_TRY(atlas_c2pa_ingredient_write(&b, &ingredient, error));
    ATLAS_TRY(atlas_c2pa_action_write(&b, &action, error));
    ATLAS_TRY(atlas_c2pa_asset_type_write(&b, x, &x, 1, error));
    ATLAS_TRY(atlas_ml_inputs_write(&b, &input, 1, error));
    ATLAS_TRY(atlas_ml_measurement_write(&b, &measurement, error));
    ATLAS_TRY(atlas_c2pa_assertion_write(&b, x, ATLAS_SPAN_NONE, ATLAS_LIT("\xa0"), &payload, error));
out:
    atlas_buf_release(&b);
    return rc;
}

#define LOG_KEY "log.example/team+b3300333+AQSGiM18jpm0h8UoR5EWLmh/ssSazw6nyj7F9tShu9w1"
#define LOG_SECRET "PRIVATE+KEY+log.example/team+b3300333+Ac7fqHV+fydrpUNRLvww5TNh1ETsj0vuHuU6HtwpCZtS"
#define WITNESS_KEY "witness.example/w1+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k"
#define LOG_POLICY "log " LOG_KEY "\nwitness w " WITNESS_KEY "\ngroup g any w\nquorum none\n"
#define LOGGED ATLAS_LIT("an entry")

static struct atlas_buf proof; /* that LOGGED is the only entry of a log */

static int make_proof(void)
{
    struct atlas_checkpoint c = {.origin = ATLAS_LIT("log.example/team"), .size = 1};
    struct atlas_note_signer *signer = NULL;
    struct atlas_digest leaf;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_buf line = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_merkle_leaf(ATLAS_SHA256, LOGGED, &leaf, NULL));
    memcpy(c.root, leaf.b, sizeof c.root);
    atlas_checkpoint_write(&c, &text);
    ATLAS_TRY(atlas_note_signer_new(ATLAS_LIT(LOG_SECRET), &signer, NULL));
    ATLAS_TRY(atlas_note_sign(signer, atlas_buf_span(&text), &line, NULL));
    atlas_buf_append_u8(&text, '\n');
    atlas_buf_append(&text, atlas_buf_span(&line));
    atlas_tlog_proof_write(0, ATLAS_SPAN_NONE, atlas_buf_span(&text), &proof);
out:
    atlas_note_signer_free(signer);
    atlas_buf_release(&text);
    atlas_buf_release(&line);
    return rc;
}

static int check_proof(struct atlas_error *error)
{
    struct atlas_log_policy *policy = NULL;
    struct atlas_log_checker *checker = NULL;
    struct atlas_log_place place;
    int rc;
    ATLAS_TRY(atlas_log_policy_new(ATLAS_LIT(LOG_POLICY), &policy, error));
    ATLAS_TRY(atlas_log_checker_new(policy, &checker, error));
    ATLAS_TRY(atlas_log_checker_entry(checker, LOGGED, atlas_buf_span(&proof), &place, error));
out:
    atlas_log_checker_free(checker);
    atlas_log_policy_free(policy);
    return rc;
}

/* A key and a signature of nothing in particular: only read. The PEM is one of three zero bytes. */
#define ENTRY_V1                                                                                                   \
    "{\"apiVersion\":\"0.0.1\",\"kind\":\"hashedrekord\",\"spec\":{\"data\":{\"hash\":{\"algorithm\":\"sha256\",\"value\":" \
    "\"00000000000000000000000000000000000000000000000000000000000000aa\"}},\"signature\":{\"content\":\"AAAA\",\"" \
    "publicKey\":{\"content\":\"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KQUFBQQotLS0tLUVORCBQVUJMSUMgS0VZLS0tLS0K\"}}}}"

static int read_entries(struct atlas_error *error)
{
    struct atlas_buf entry = ATLAS_BUF_INIT;
    struct atlas_buf storage = ATLAS_BUF_INIT;
    struct atlas_hashedrekord record = {.alg = ATLAS_SHA256,
                                        .digest = ATLAS_LIT("0123456789abcdef0123456789abcdef"),
                                        .signature = ATLAS_LIT("signature"),
                                        .key = ATLAS_LIT("key"),
                                        .details = ATLAS_LIT("PKIX_ECDSA_P256_SHA_256")};
    int rc;
    atlas_hashedrekord_write(&record, &entry);
    ATLAS_TRY(atlas_buf_check(&entry, error));
    ATLAS_TRY(atlas_hashedrekord_read(atlas_buf_span(&entry), &storage, &record, error));
    atlas_buf_clear(&storage);
    ATLAS_TRY(atlas_hashedrekord_read(ATLAS_LIT(ENTRY_V1), &storage, &record, error));
out:
    atlas_buf_release(&entry);
    atlas_buf_release(&storage);
    return rc;
}

/* On one thread: counting allocations of several at a time would mean nothing. */
static struct folder folder; /* one file of three chunks, some small ones, a link */
#define LARGE ((size_t)(2 << 20) + 5)

static struct atlas_buf results[2]; /* of the first run, with memory */

/* The same as the first time? Names in errors may be shorter without memory; nothing else may differ. */
static int settle(struct atlas_buf *first, struct atlas_buf *again, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_buf_check(again, error));
    if (first->n == 0) {
        atlas_buf_take(first, again);
    } else if (!atlas_span_equal(atlas_buf_span(first), atlas_buf_span(again))) {
        rc = ATLAS_E_INTERNAL;
    }
out:
    return rc;
}

static int measure_files(struct atlas_error *error)
{
    static const struct atlas_blocks first = {.first = 0, .end = 2};
    struct atlas_measure_options options = {.alg = ATLAS_SHA384, .threads = 1, .flat = true, .tree = true};
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_buf record = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    int rc;
    ATLAS_TRY(atlas_measure_file(in(&folder, "large"), &options, &m, error));
    options.flat = false;
    ATLAS_TRY(atlas_measure_file(in(&folder, "large"), &options, &m, error));
    ATLAS_TRY(atlas_measure_directory(folder.path, &options, NULL, 0, &index, &links, &m, error));
    ATLAS_TRY(atlas_measure_part(in(&folder, "large"), &options, &first, NULL, 0, &record, error));
    ATLAS_TRY(atlas_measure_part(folder.path, &options, &first, NULL, 0, &record, error));
    atlas_buf_append(&record, atlas_buf_span(&index));
    atlas_buf_append(&record, atlas_buf_span(&links));
    atlas_buf_append(&record, atlas_digest_span(&m.tree));
    ATLAS_TRY(settle(&results[0], &record, error));
out:
    atlas_buf_release(&index);
    atlas_buf_release(&links);
    atlas_buf_release(&record);
    return rc;
}

static int read_tensors(struct atlas_error *error)
{
    static const uint64_t shape[] = {3, 4};
    static const uint64_t turned[] = {1, 3};
    static const uint64_t straight[] = {4, 1};
    static uint8_t bytes[LARGE];
    struct atlas_tensor tensors[] = {
        {.element = 2, .turned = 1, .dims = 2, .shape = shape, .stride = turned},
        {.element = 2, .turned = 2, .dims = 2, .shape = shape, .stride = straight},
    };
    struct atlas_tensor_file file = {.fd = open(in(&folder, "large"), O_RDONLY | O_CLOEXEC), .size = LARGE, .where = ""};
    struct atlas_buf digests = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_tensor_digests(tensors, 2, &file, 1, &digests, error));
    ATLAS_TRY(atlas_read_chunks(file.fd, 0, bytes, LARGE, "", 1, &digests, error));
    ATLAS_TRY(settle(&results[1], &digests, error));
out:
    close(file.fd);
    atlas_buf_release(&digests);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- tests */

typedef int (*scenario_fn)(struct atlas_error *error);

/* The number of allocations that the scenario makes; 0 when some failure was not reported as one. tolerates: it may do
 * without, and looks itself whether its results are right. */
static size_t exhaust(scenario_fn scenario, bool all_after_it, bool tolerates)
{
    for (size_t n = 1; n < 100000; n++) {
        struct atlas_error error = ATLAS_ERROR_INIT;
        countdown = n;
        persistent = all_after_it;
        failed = false;
        int rc = scenario(&error);
        countdown = 0;
        if (rc == ATLAS_OK && failed && tolerates) {
            continue;
        }
        if (rc == ATLAS_OK) {
            return failed ? 0 : n;
        }
        if (rc != ATLAS_E_NOMEM || error.code != ATLAS_E_NOMEM || scenario(NULL) != ATLAS_OK) {
            return 0;
        }
    }
    return 0;
}

TEST(every_failed_allocation_of_measuring_is_reported)
{
    uint8_t *bytes = calloc(1, LARGE);
    CHECK(bytes != NULL && folder_make(&folder) && folder_write(&folder, "large", bytes, LARGE));
    CHECK(folder_write(&folder, "a", "a", 1) && folder_write(&folder, "b", "b", 1));
    CHECK(mkdir(in(&folder, "sub"), 0700) == 0 && folder_write(&folder, "sub/empty", "", 0));
    CHECK(symlink("a", in(&folder, "link")) == 0);
    free(bytes);
    CHECK_OK(measure_files(NULL));
    CHECK_OK(read_tensors(NULL));
    size_t once = exhaust(measure_files, false, true);
    size_t always = exhaust(measure_files, true, true);
    CHECK(once > 50 && always > 50);
    CHECK(exhaust(read_tensors, false, true) > 5 && exhaust(read_tensors, true, true) > 5);
    atlas_buf_release(&results[0]);
    atlas_buf_release(&results[1]);
    folder_remove(&folder);
}

TEST(every_failed_allocation_of_the_formats_is_reported)
{
    static const scenario_fn scenarios[] = {read_store,       check_unsorted, write_map,   write_cose,
                                            write_assertions, check_proof,    read_entries};
    CHECK_OK(make_proof());
    sample_store(&store);
    atlas_buf_append(&unsorted, ATLAS_LIT("\xb8\x64"));
    for (unsigned i = 0; i < 100; i++) {
        atlas_cbor_write_uint(&unsorted, 100 - i);
        atlas_cbor_write_null(&unsorted);
    }
    size_t points = 0;
    bool good = true;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        size_t once = exhaust(scenarios[i], false, false);
        size_t always = exhaust(scenarios[i], true, false);
        if (once < 2 || always < 2) {
            printf("    scenario %zu: %zu and %zu\n", i, once, always);
            good = false;
        }
        points += once + always;
    }
    atlas_buf_release(&store);
    atlas_buf_release(&unsorted);
    atlas_buf_release(&proof);
    printf("    %zu points of failure\n", points);
    CHECK(good);
}
