/* test_note.c - signed notes, their keys, checkpoints, and the two encodings below them. The note was signed by
 * another hand (tests/forge/tlog.py); hostile ones: tests/unit/test_log_note.py and the fuzz target. */
#include "base/base64.h"
#include "base/ecdsa.h"
#include "stage/note.h"
#include "test.h"

#define TEXT "log.example/team\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
#define LOG_LINE                                                                                                 \
    "\xE2\x80\x94 log.example/team szADMzk3WvGkQx7ABfqG2Mf8Scy0DxZHC9O5ojdYyAj+3KFsK2rCfnpNBLwqsJwVhZy4uLXLkufDI" \
    "qGljWx7v3JJkwg=\n"
#define WITNESS_LINE                                                                                              \
    "\xE2\x80\x94 witness.example/w1 1+wyZwAAAABlU/EAWMaI4jo9Z7cMfKNpsMQoUjkD/zY1D5o83Hq0ZOArU6Wuo5nEWRTe/qK9A4N7Z" \
    "GumLut71noNubTu2fhBoP/eBQ==\n"
#define ECDSA_LINE                                                                                             \
    "\xE2\x80\x94 rekor.example +VcKJDBFAiEA1RyorGyorM15bFlAlFNWNzzqMdPwMz+UH+Gy4ctrF/0CIAqDqmFk3yxubLyruAcTQ7nB" \
    "jbJGk3oZVBIbTsgQhywH\n"
#define NOTE TEXT "\n" LOG_LINE WITNESS_LINE ECDSA_LINE

#define LOG_KEY "log.example/team+b3300333+AQSGiM18jpm0h8UoR5EWLmh/ssSazw6nyj7F9tShu9w1"
#define LOG_SECRET "PRIVATE+KEY+log.example/team+b3300333+Ac7fqHV+fydrpUNRLvww5TNh1ETsj0vuHuU6HtwpCZtS"
#define WITNESS_KEY "witness.example/w1+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k"
#define ECDSA_KEY                                                                                            \
    "rekor.example+f9570a24+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCbvzr0O6eNKZpGH4Ys6kSKy9zOUW2Scyfn5Ien52tgSkCOL" \
    "3pzHuzMNFQxncE3SWucFUgV0S28xv0BwdFhy0OY="

static bool parse_keys(struct atlas_note_key keys[3])
{
    return atlas_note_key_parse(ATLAS_LIT(LOG_KEY), &keys[0], NULL) == ATLAS_OK &&
           atlas_note_key_parse(ATLAS_LIT(WITNESS_KEY), &keys[1], NULL) == ATLAS_OK &&
           atlas_note_key_parse(ATLAS_LIT(ECDSA_KEY), &keys[2], NULL) == ATLAS_OK;
}

TEST(a_note_opens_under_all_three_kinds_of_keys)
{
    struct atlas_note_key keys[3];
    bool is_signed[3];
    struct atlas_note note;
    struct atlas_checkpoint c;
    CHECK(parse_keys(keys));
    CHECK_OK(atlas_note_open(ATLAS_LIT(NOTE), keys, 3, is_signed, &note, NULL));
    CHECK(is_signed[0] && is_signed[1] && is_signed[2]);
    CHECK_SPAN(note.text, ATLAS_LIT(TEXT));
    CHECK_OK(atlas_checkpoint_read(note.text, &c, NULL));
    CHECK(c.size == 7 && c.root[0] == 0 && c.root[31] == 31 && c.extensions.n == 0);
    CHECK_SPAN(c.origin, ATLAS_LIT("log.example/team"));
    CHECK_OK(atlas_note_open(ATLAS_LIT(TEXT "\n" ECDSA_LINE), keys, 3, is_signed, &note, NULL));
    CHECK(!is_signed[0] && !is_signed[1] && is_signed[2]);
}

TEST(a_cosignature_says_its_time)
{
    struct atlas_note_key keys[3];
    struct atlas_note note;
    struct atlas_note_signature signature;
    uint64_t time = 1;
    CHECK(parse_keys(keys));
    CHECK_OK(atlas_note_read(ATLAS_LIT(NOTE), &note, NULL));
    CHECK(atlas_note_next(&note.lines, &signature));
    CHECK_OK(atlas_note_verify(&keys[0], note.text, &signature, &time, NULL));
    CHECK(time == 0);
    CHECK_ERR(atlas_note_verify(&keys[1], note.text, &signature, &time, NULL), ATLAS_E_SIGNATURE);
    CHECK(atlas_note_next(&note.lines, &signature));
    CHECK_OK(atlas_note_verify(&keys[1], note.text, &signature, &time, NULL));
    CHECK(time == 1700000000);
}

TEST(every_truncation_and_every_flipped_bit_is_found)
{
    struct atlas_note_key keys[3];
    bool is_signed[3];
    struct atlas_note note;
    uint8_t bytes[sizeof NOTE];
    size_t n = sizeof NOTE - 1;
    CHECK(parse_keys(keys));
    for (size_t cut = 0; cut < n; cut++) {
        int rc = atlas_note_open(atlas_span_of(NOTE, cut), keys, 3, is_signed, &note, NULL);
        CHECK(rc < 0 || (atlas_span_equal(note.text, ATLAS_LIT(TEXT)) && !is_signed[2]));
    }
    for (size_t bit = 0; bit < 8 * n; bit++) {
        memcpy(bytes, NOTE, n);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (atlas_note_open(atlas_span_of(bytes, n), keys, 3, is_signed, &note, NULL) == ATLAS_OK) {
            CHECK_SPAN(note.text, ATLAS_LIT(TEXT)); /* then it is a name or number of one line, now of a stranger */
            CHECK(is_signed[0] + is_signed[1] + is_signed[2] == 2);
        }
    }
}

TEST(a_line_of_a_known_key_that_does_not_hold_makes_the_note_worthless)
{
    struct atlas_note_key keys[3];
    bool is_signed[3];
    struct atlas_note note;
    CHECK(parse_keys(keys));
    CHECK_ERR(atlas_note_open(ATLAS_LIT("another text\n\n" LOG_LINE), keys, 3, is_signed, &note, NULL),
              ATLAS_E_SIGNATURE);
    CHECK(!is_signed[0]);
    CHECK_OK(atlas_note_open(ATLAS_LIT("another text\n\n" LOG_LINE), keys + 1, 2, is_signed, &note, NULL));
    CHECK(!is_signed[0] && !is_signed[1]);
}

TEST(what_is_no_note_is_refused)
{
    static const char *const bad[] = {
        "", "\n", "\n\n", TEXT, TEXT "\n", TEXT "\nwords\n", TEXT "\n" LOG_LINE "\n", TEXT "\n\xE2\x80\x94 a b c\n",
        TEXT "\n\xE2\x80\x94 a AAAA\n", TEXT "\n\xE2\x80\x94 a+b AAAAAAAA\n", TEXT "\n- a AAAAAAAA\n",
        TEXT "\n\xE2\x80\x94 a AAAAAAA\n", TEXT "\n\xE2\x80\x94  AAAAAAAA\n", "\r\n\n\xE2\x80\x94 a AAAAAAAA\n",
        "\xFF\n\n\xE2\x80\x94 a AAAAAAAA\n", TEXT "\n\xE2\x80\x94 \xC2\xA0 AAAAAAAA\n", TEXT "\n\xE2\x80\x94 a AAAAAAA9=\n",
        TEXT "\n\xE2\x80\x94 a AAAAAAB=\n",
    };
    struct atlas_note note;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_ERR(atlas_note_read(atlas_span_str(bad[i]), &note, NULL), ATLAS_E_NOTE);
    }
    CHECK_OK(atlas_note_read(ATLAS_LIT("a text\n\nwith an empty line\n\n\xE2\x80\x94 a AAAAAAA=\n"), &note, NULL));
    CHECK_SPAN(note.text, ATLAS_LIT("a text\n\nwith an empty line\n"));
}

TEST(a_note_has_limits)
{
    struct atlas_buf bytes = ATLAS_BUF_INIT;
    struct atlas_note note;
    atlas_buf_append(&bytes, ATLAS_LIT(TEXT "\n"));
    for (int i = 0; i < ATLAS_MAX_NOTE_SIGNATURES; i++) {
        atlas_buf_append(&bytes, ATLAS_LIT(LOG_LINE));
    }
    CHECK_OK(atlas_note_read(atlas_buf_span(&bytes), &note, NULL));
    atlas_buf_append(&bytes, ATLAS_LIT(LOG_LINE));
    CHECK_ERR(atlas_note_read(atlas_buf_span(&bytes), &note, NULL), ATLAS_E_LIMIT);
    memset(atlas_buf_extend(&bytes, ATLAS_MAX_NOTE_BYTES), 'a', ATLAS_MAX_NOTE_BYTES);
    CHECK_ERR(atlas_note_read(atlas_buf_span(&bytes), &note, NULL), ATLAS_E_LIMIT);
    atlas_buf_release(&bytes);
}

/* ------------------------------------------------------------------------------------------------------- keys */

TEST(keys_are_written_as_they_were_read)
{
    static const char *const texts[] = {LOG_KEY, WITNESS_KEY, ECDSA_KEY};
    struct atlas_note_key keys[3];
    CHECK(parse_keys(keys));
    for (size_t i = 0; i < 3; i++) {
        struct atlas_buf text = ATLAS_BUF_INIT;
        atlas_note_key_format(&keys[i], &text);
        CHECK_SPAN(atlas_buf_span(&text), atlas_span_str(texts[i]));
        atlas_buf_release(&text);
    }
}

TEST(every_truncation_and_every_flipped_bit_of_a_key_is_found)
{
    struct atlas_note_key key;
    uint8_t bytes[sizeof LOG_KEY];
    size_t n = sizeof LOG_KEY - 1;
    for (size_t cut = 0; cut < n; cut++) {
        CHECK(atlas_note_key_parse(atlas_span_of(LOG_KEY, cut), &key, NULL) < 0);
    }
    for (size_t bit = 0; bit < 8 * n; bit++) {
        memcpy(bytes, LOG_KEY, n);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(atlas_note_key_parse(atlas_span_of(bytes, n), &key, NULL) < 0);
    }
    CHECK_ERR(atlas_note_key_parse(ATLAS_LIT("a+00000000+AAAA"), &key, NULL), ATLAS_E_NOTE);
    CHECK_ERR(atlas_note_key_parse(ATLAS_LIT(LOG_SECRET), &key, NULL), ATLAS_E_NOTE);
    /* the point of order one: every signature would hold */
    CHECK_ERR(atlas_note_key_parse(ATLAS_LIT("a+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), &key, NULL),
              ATLAS_E_CREDENTIAL);
}

TEST(a_private_key_signs_what_its_key_verifies)
{
    struct atlas_note_signer *signer = NULL;
    struct atlas_buf line = ATLAS_BUF_INIT;
    CHECK_OK(atlas_note_signer_new(ATLAS_LIT(LOG_SECRET), &signer, NULL));
    CHECK_OK(atlas_note_sign(signer, ATLAS_LIT(TEXT), &line, NULL));
    CHECK_SPAN(atlas_buf_span(&line), ATLAS_LIT(LOG_LINE)); /* Ed25519 has one signature of a text */
    atlas_buf_release(&line);
    atlas_note_signer_free(signer);
    CHECK_ERR(atlas_note_signer_new(ATLAS_LIT(LOG_KEY), &signer, NULL), ATLAS_E_NOTE);
    CHECK_ERR(atlas_note_signer_new(
                  ATLAS_LIT("PRIVATE+KEY+log.example/tean+b3300333+Ac7fqHV+fydrpUNRLvww5TNh1ETsj0vuHuU6HtwpCZtS"),
                  &signer, NULL),
              ATLAS_E_NOTE);
}

TEST(a_new_key_can_be_used)
{
    struct atlas_note_signer *signer = NULL;
    struct atlas_buf text = ATLAS_BUF_INIT;
    CHECK_OK(atlas_note_keygen(ATLAS_LIT("log.example"), &text, NULL));
    CHECK_OK(atlas_note_signer_new(atlas_buf_span(&text), &signer, NULL));
    CHECK_SPAN(atlas_note_key_name(atlas_note_signer_key(signer)), ATLAS_LIT("log.example"));
    atlas_note_signer_free(signer);
    CHECK_ERR(atlas_note_keygen(ATLAS_LIT("with space"), &text, NULL), ATLAS_E_NOTE);
    atlas_buf_release(&text);
}

/* ------------------------------------------------------------------------------------------------ checkpoints */

#define ROOT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

TEST(a_checkpoint_is_written_as_it_was_read)
{
    struct atlas_checkpoint c;
    struct atlas_buf text = ATLAS_BUF_INIT;
    CHECK_OK(atlas_checkpoint_read(ATLAS_LIT(TEXT), &c, NULL));
    atlas_checkpoint_write(&c, &text);
    CHECK_SPAN(atlas_buf_span(&text), ATLAS_LIT(TEXT));
    atlas_buf_release(&text);
    CHECK_OK(atlas_checkpoint_read(ATLAS_LIT("o\n9223372036854775807\n" ROOT "more\nlines\n"), &c, NULL));
    CHECK(c.size == INT64_MAX);
    CHECK_SPAN(c.extensions, ATLAS_LIT("more\nlines\n"));
}

TEST(what_is_no_checkpoint_is_refused)
{
    static const char *const bad[] = {
        "", "o\n", "o\n7\n", "\n7\n" ROOT, "o\n07\n" ROOT, "o\n-1\n" ROOT, "o\n\n" ROOT, "o\n9223372036854775808\n" ROOT,
        "o\n99999999999999999999\n" ROOT, "o\n7\n!\n", "o\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
        "o\n7\n" ROOT "\n", "o\n7\n" ROOT "x", "o\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n", "o\n7 \n" ROOT,
    };
    struct atlas_checkpoint c;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_ERR(atlas_checkpoint_read(atlas_span_str(bad[i]), &c, NULL), ATLAS_E_NOTE);
    }
}

/* -------------------------------------------------------------------------------------------------- encodings */

TEST(base64_has_one_form)
{
    static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "+/8="}};
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "=", "====", "Z===", "Zm 9", "Zm9-",
                                      "Zm9v\n", "Z=g="};
    struct atlas_buf b = ATLAS_BUF_INIT;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        atlas_buf_clear(&b);
        atlas_base64_encode(atlas_span_str(pairs[i][0]), &b);
        CHECK_SPAN(atlas_buf_span(&b), atlas_span_str(pairs[i][1]));
        atlas_buf_clear(&b);
        CHECK(atlas_base64_decode(atlas_span_str(pairs[i][1]), &b));
        CHECK_SPAN(atlas_buf_span(&b), atlas_span_str(pairs[i][0]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t before = b.n;
        CHECK(!atlas_base64_decode(atlas_span_str(bad[i]), &b) && b.n == before);
    }
    atlas_buf_release(&b);
}

TEST(an_ecdsa_signature_has_one_der)
{
    struct atlas_buf der = ATLAS_BUF_INIT;
    struct atlas_buf raw = ATLAS_BUF_INIT;
    uint8_t bytes[132];
    for (unsigned fill = 0; fill < 256; fill += 51) {
        for (size_t half = 1; half <= 66; half++) {
            memset(bytes, (int)fill, 2 * half);
            bytes[0] = half % 3 == 0 ? 0 : bytes[0];
            atlas_buf_clear(&der);
            atlas_buf_clear(&raw);
            CHECK(atlas_ecdsa_to_der(atlas_span_of(bytes, 2 * half), &der));
            CHECK(atlas_ecdsa_from_der(atlas_buf_span(&der), half, &raw));
            CHECK_SPAN(atlas_buf_span(&raw), atlas_span_of(bytes, 2 * half));
        }
    }
    atlas_buf_release(&der);
    atlas_buf_release(&raw);
}

TEST(another_encoding_of_an_ecdsa_signature_is_refused)
{
    static const struct {
        size_t n;
        const char *bytes;
    } bad[] = {
        {0, ""}, {8, "\x30\x06\x02\x01\x01\x02\x01\x81"}, {9, "\x30\x07\x02\x02\x00\x01\x02\x01\x01"},
        {9, "\x30\x06\x02\x01\x01\x02\x01\x01\x00"}, {9, "\x30\x81\x06\x02\x01\x01\x02\x01\x01"},
        {7, "\x30\x05\x02\x01\x01\x02\x01"}, {5, "\x30\x03\x02\x01\x01"}, {7, "\x30\x05\x02\x00\x02\x01\x01"},
        {9, "\x30\x07\x02\x02\x01\x01\x02\x01\x01"},
    };
    struct atlas_buf raw = ATLAS_BUF_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!atlas_ecdsa_from_der(atlas_span_of(bad[i].bytes, bad[i].n), 1, &raw));
    }
    CHECK(atlas_ecdsa_from_der(atlas_span_of("\x30\x06\x02\x01\x01\x02\x01\x01", 8), 1, &raw));
    CHECK(!atlas_ecdsa_to_der(atlas_span_of("abc", 3), &raw));
    atlas_buf_release(&raw);
}
