#include "format/ccel.h"

#include "base/le.h"

static const char where[] = "event log";

static int bad(const struct atlas_ccel *log, const char *text)
{
    return atlas_error_at(log->error, ATLAS_E_EVIDENCE, log->whole.n - log->rest.n, where, "%s", text);
}

/* TCG_PCR_EVENT: register, type, a SHA-1 place, size, data. */
static int take_header(struct atlas_ccel *log, struct atlas_span *ret_data)
{
    uint32_t mr;
    uint32_t type;
    uint32_t size;
    struct atlas_span sha1;
    if (!atlas_span_take_le32(&log->rest, &mr) || !atlas_span_take_le32(&log->rest, &type) ||
        !atlas_span_take(&log->rest, 20, &sha1) || !atlas_span_take_le32(&log->rest, &size) ||
        !atlas_span_take(&log->rest, size, ret_data)) {
        return bad(log, "the header event is cut off");
    }
    if (type != ATLAS_EV_NO_ACTION || !atlas_span_all(sha1, 0)) {
        return bad(log, "the first event is no header");
    }
    return ATLAS_OK;
}

/* TCG_EfiSpecIdEvent: signature, platform class, versions, then the algorithms with their digest sizes. */
static int read_algorithms(struct atlas_ccel *log, struct atlas_span data)
{
    struct atlas_span signature;
    struct atlas_span versions;
    uint32_t n;
    if (!atlas_span_take(&data, 16, &signature) || !atlas_span_equal(signature, ATLAS_LIT("Spec ID Event03\0")) ||
        !atlas_span_take(&data, 8, &versions) || !atlas_span_take_le32(&data, &n)) {
        return bad(log, "the header event is not \"Spec ID Event03\"");
    }
    if (n == 0 || n > ATLAS_MAX_CCEL_ALGORITHMS) {
        return bad(log, "no algorithms, or too many");
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!atlas_span_take_le16(&data, &log->algorithms[i].id) ||
            !atlas_span_take_le16(&data, &log->algorithms[i].size)) {
            return bad(log, "the list of algorithms is cut off");
        }
        if (log->algorithms[i].size == 0 || log->algorithms[i].size > 64 ||
            (log->algorithms[i].id == ATLAS_TPM_ALG_SHA256 && log->algorithms[i].size != 32) ||
            (log->algorithms[i].id == ATLAS_TPM_ALG_SHA384 && log->algorithms[i].size != 48)) {
            return bad(log, "an algorithm with an impossible digest size");
        }
    }
    log->n_algorithms = n;
    return ATLAS_OK;
}

int atlas_ccel_init(struct atlas_ccel *log, struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_span data;
    *log = (struct atlas_ccel){.whole = bytes, .rest = bytes, .error = error};
    if (bytes.n > ATLAS_MAX_CCEL_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "an event log of %zu bytes", bytes.n);
    }
    int rc = take_header(log, &data);
    return rc < 0 ? rc : read_algorithms(log, data);
}

static uint16_t size_of(const struct atlas_ccel *log, uint16_t algorithm)
{
    for (size_t i = 0; i < log->n_algorithms; i++) {
        if (log->algorithms[i].id == algorithm) {
            return log->algorithms[i].size;
        }
    }
    return 0;
}

/* false: there is one already. Algorithms that nobody asks for are passed over. */
static bool keep_digest(struct atlas_ccel_event *event, uint16_t algorithm, struct atlas_span digest)
{
    if (algorithm != ATLAS_TPM_ALG_SHA256 && algorithm != ATLAS_TPM_ALG_SHA384) {
        return true;
    }
    struct atlas_span *place = algorithm == ATLAS_TPM_ALG_SHA256 ? &event->sha256 : &event->sha384;
    bool first = place->p == NULL;
    *place = digest;
    return first;
}

static int take_digests(struct atlas_ccel *log, uint32_t n, struct atlas_ccel_event *event)
{
    if (n > log->n_algorithms) {
        return bad(log, "more digests than algorithms");
    }
    for (uint32_t i = 0; i < n; i++) {
        uint16_t algorithm;
        struct atlas_span digest;
        if (!atlas_span_take_le16(&log->rest, &algorithm)) {
            return bad(log, "an event is cut off");
        }
        uint16_t size = size_of(log, algorithm);
        if (size == 0 || !atlas_span_take(&log->rest, size, &digest)) {
            return bad(log,
                       size == 0 ? "a digest of an algorithm that the header does not name" : "an event is cut off");
        }
        if (!keep_digest(event, algorithm, digest)) {
            return bad(log, "an event with two digests of one algorithm");
        }
    }
    return ATLAS_OK;
}

/* The log area is larger than the log: what follows is 0xFF or 0x00. */
static bool at_padding(const struct atlas_ccel *log)
{
    if (log->rest.n == 0) {
        return true;
    }
    uint8_t first = log->rest.p[0];
    struct atlas_span head = atlas_span_sub(log->rest, 0, log->rest.n < 16 ? log->rest.n : 16);
    return (first == 0x00 || first == 0xff) && atlas_span_all(head, first);
}

int atlas_ccel_next(struct atlas_ccel *log, struct atlas_ccel_event *ret_event, bool *ret_more)
{
    struct atlas_ccel_event event = {.mr = 0};
    uint32_t n;
    uint32_t size;
    if (at_padding(log)) {
        if (log->rest.n != 0 && !atlas_span_all(log->rest, log->rest.p[0])) {
            return bad(log, "something between the padding");
        }
        *ret_more = false;
        return ATLAS_OK;
    }
    if (!atlas_span_take_le32(&log->rest, &event.mr) || !atlas_span_take_le32(&log->rest, &event.type) ||
        !atlas_span_take_le32(&log->rest, &n)) {
        return bad(log, "an event is cut off");
    }
    int rc = take_digests(log, n, &event);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_span_take_le32(&log->rest, &size) || !atlas_span_take(&log->rest, size, &event.data)) {
        return bad(log, "the data of an event is cut off");
    }
    *ret_event = event;
    *ret_more = true;
    return ATLAS_OK;
}
