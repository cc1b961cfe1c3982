/* fuzz_log.c - what a log's user is handed: proofs in both forms, entries, policies. Nothing that was not signed under
 * the policy is ever accepted; an entry that is read and written again is the same bytes. */
#include "format/hashedrekord.h"
#include "fuzz.h"
#include "stage/proof.h"

#define POLICY                                                                             \
    "log log.example/team+b3300333+AQSGiM18jpm0h8UoR5EWLmh/ssSazw6nyj7F9tShu9w1\n"         \
    "witness w witness.example/w1+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k\n" \
    "quorum w\n"

static void read_proof(struct atlas_span input)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tlog_proof proof = ATLAS_TLOG_PROOF_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    int rc = atlas_tlog_proof_read(input, &proof, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK && proof.document == NULL) {
        atlas_tlog_proof_write(proof.index, atlas_span_of(proof.hashes, proof.n * ATLAS_NOTE_ROOT), proof.checkpoint,
                               &again);
        REQUIRE(again.n <= input.n); /* shorter by the line `extra` */
    }
    atlas_buf_release(&again);
    atlas_tlog_proof_release(&proof);
}

static void read_entry(struct atlas_span input)
{
    struct atlas_buf storage = ATLAS_BUF_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_hashedrekord record;
    if (atlas_hashedrekord_read(input, &storage, &record, NULL) == ATLAS_OK && record.details.n != 0) {
        atlas_hashedrekord_write(&record, &again);
        REQUIRE(atlas_span_equal(atlas_buf_span(&again), input));
    }
    atlas_buf_release(&storage);
    atlas_buf_release(&again);
}

static void read_policy(struct atlas_span input)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_log_policy *policy = NULL;
    int rc = atlas_log_policy_new(input, &policy, &error);
    REQUIRE(rc == error.code && (rc == ATLAS_OK) == (policy != NULL));
    atlas_log_policy_free(policy);
}

static void check(struct atlas_span input)
{
    struct atlas_log_policy *policy = NULL;
    struct atlas_log_checker *checker = NULL;
    struct atlas_log_place place;
    REQUIRE(atlas_log_policy_new(ATLAS_LIT(POLICY), &policy, NULL) == ATLAS_OK);
    REQUIRE(atlas_log_checker_new(policy, &checker, NULL) == ATLAS_OK);
    REQUIRE(atlas_log_checker_entry(checker, ATLAS_LIT("an entry that was never logged"), input, &place, NULL) < 0);
    atlas_log_checker_free(checker);
    atlas_log_policy_free(policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_span input = own_copy(data, size);
    read_proof(input);
    read_entry(input);
    read_policy(input);
    check(input);
    free_copy(input);
    return 0;
}
