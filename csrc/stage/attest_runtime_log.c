/* attest_runtime_log.c - a log of lines that a measurement register explains.
 *
 *     INIT/sha384 <96 hexadecimal digits>      what the register held before the first line
 *     <line>                                   register := SHA-384(register || SHA-384(line without its end))
 */
#include "port/crypto/crypto.h"
#include "stage/attest.h"

static const char where[] = "run-time log";

/* Cut one line off the front, without its end. */
static int take_line(struct atlas_span *log, struct atlas_span *ret_line, struct atlas_error *error)
{
    struct atlas_span newline;
    const uint8_t *end = log->n != 0 ? memchr(log->p, '\n', log->n) : NULL;
    if (end == NULL) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, where, "the last line has no end");
    }
    if ((size_t)(end - log->p) > ATLAS_MAX_RUNTIME_LINE) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "a line is longer than %d bytes", ATLAS_MAX_RUNTIME_LINE);
    }
    (void)atlas_span_take(log, (size_t)(end - log->p), ret_line);
    (void)atlas_span_take(log, 1, &newline);
    return ATLAS_OK;
}

/* The value of a lower-case digit; 16 for anything else. */
static uint8_t digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return (uint8_t)(c - '0');
    }
    return c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10) : 16;
}

static int read_start(struct atlas_span line, uint8_t ret_value[48], struct atlas_error *error)
{
    const struct atlas_span prefix = ATLAS_LIT("INIT/sha384 ");
    bool good = line.n == prefix.n + 96 && atlas_span_starts_with(line, prefix);
    for (size_t i = 0; good && i < 48; i++) {
        uint8_t high = digit_of(line.p[prefix.n + 2 * i]);
        uint8_t low = digit_of(line.p[prefix.n + 2 * i + 1]);
        good = high < 16 && low < 16;
        ret_value[i] = (uint8_t)(high << 4 | low);
    }
    return good ? ATLAS_OK
                : atlas_error_at(error, ATLAS_E_EVIDENCE, 0, where, "does not begin with \"INIT/sha384\" and a value");
}

static int extend(struct atlas_hasher *hasher, struct atlas_span line, uint8_t value[48], struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_digest digest;
    ATLAS_TRY(atlas_hasher_update(hasher, line, error));
    ATLAS_TRY(atlas_hasher_final(hasher, &digest, error));
    ATLAS_TRY(atlas_hasher_update(hasher, atlas_span_of(value, 48), error));
    ATLAS_TRY(atlas_hasher_update(hasher, atlas_digest_span(&digest), error));
    ATLAS_TRY(atlas_hasher_final(hasher, &digest, error));
    memcpy(value, digest.b, 48);
out:
    return rc;
}

/* A line is shown to people: nothing in it may hide, or look like two lines. */
static int check_line(struct atlas_span log, struct atlas_span line, struct atlas_error *error)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] < 0x20 || line.p[i] > 0x7e) {
            return atlas_error_at(error, ATLAS_E_EVIDENCE, atlas_span_offset(log, line) + i, where,
                                  "a line holds a byte that is no printable ASCII");
        }
    }
    return line.n != 0 ? ATLAS_OK
                       : atlas_error_at(error, ATLAS_E_EVIDENCE, atlas_span_offset(log, line), where, "an empty line");
}

int atlas_runtime_log_replay(struct atlas_span log, struct atlas_runtime_log *ret_replay, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_runtime_log replay = {.lines = 0};
    struct atlas_hasher hasher = ATLAS_HASHER_INIT;
    struct atlas_span rest = log;
    struct atlas_span line = ATLAS_SPAN_NONE;
    if (log.n > ATLAS_MAX_RUNTIME_LOG_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "longer than %u bytes", ATLAS_MAX_RUNTIME_LOG_BYTES);
    }
    ATLAS_TRY(atlas_hasher_init(&hasher, ATLAS_SHA384, error));
    ATLAS_TRY(take_line(&rest, &line, error));
    ATLAS_TRY(read_start(line, replay.start, error));
    memcpy(replay.value, replay.start, sizeof replay.value);
    while (rest.n != 0) {
        ATLAS_TRY(take_line(&rest, &line, error));
        ATLAS_TRY(check_line(log, line, error));
        ATLAS_TRY(extend(&hasher, line, replay.value, error));
        replay.lines++;
    }
    *ret_replay = replay;
out:
    atlas_hasher_release(&hasher);
    return rc;
}
