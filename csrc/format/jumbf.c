#include "format/jumbf.h"

#include <stdlib.h>

#include "base/utf8.h"

/* ISO/IEC 19566-5, A.3: bits of the toggles byte. C2PA wants the first two set and knows the last; the identifier and
 * the SHA-256 between them are refused. */
enum { TOGGLE_REQUESTABLE = 0x01, TOGGLE_LABEL = 0x02, TOGGLE_PRIVATE = 0x10 };

#define UUID_BYTES 16
#define HEADER_BYTES 8
#define LONG_HEADER_BYTES 16

/* A four-character type as UUID: the characters, then these bytes (ISO/IEC 19566-5, B.1). */
static const uint8_t uuid_tail[UUID_BYTES - 4] = {0x00, 0x11, 0x00, 0x10, 0x80, 0x00,
                                                  0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71};

static const uint8_t embedded_file[UUID_BYTES] = {0x40, 0xCB, 0x0C, 0x32, 0xBB, 0x8A, 0x48, 0x9D,
                                                  0xA7, 0x0B, 0x2A, 0xD6, 0xF4, 0x7F, 0x43, 0x69};

/* ------------------------------------------------------------------------------------------------- boxes */

/* Cut the box at the front off. The reason why not, or NULL. */
static const char *take_box(struct atlas_span *boxes, struct atlas_jumbf_box *ret_box)
{
    struct atlas_span rest = *boxes;
    uint32_t length32;
    uint32_t type;
    if (!atlas_span_take_be32(&rest, &length32) || !atlas_span_take_be32(&rest, &type)) {
        return "the data end inside the header of a box";
    }
    uint64_t length = length32;
    uint64_t header = HEADER_BYTES;
    if (length32 == 1) {
        if (!atlas_span_take_be64(&rest, &length)) {
            return "the data end inside the header of a box";
        }
        header = LONG_HEADER_BYTES;
    }
    if (length32 == 0) {
        return "a box without a length";
    }
    if (length < header) {
        return "a box that is shorter than its header";
    }
    if (length - header > rest.n) {
        return "a box that is longer than what it lies in";
    }
    struct atlas_jumbf_box box = {.type = type};
    (void)atlas_span_take(boxes, (size_t)length, &box.box);
    box.payload = atlas_span_sub(box.box, (size_t)header, (size_t)(length - header));
    *ret_box = box;
    return NULL;
}

struct atlas_jumbf_iter atlas_jumbf_iterate(struct atlas_span boxes, const char *where, struct atlas_error *error)
{
    return (struct atlas_jumbf_iter){.whole = boxes, .rest = boxes, .where = where, .error = error};
}

static int refuse(struct atlas_jumbf_iter *it, int code, const char *text)
{
    size_t offset = it->whole.n - it->rest.n;
    it->rest.n = 0;
    return atlas_error_at(it->error, code, offset, it->where, "%s", text);
}

int atlas_jumbf_next_box(struct atlas_jumbf_iter *it, struct atlas_jumbf_box *ret_box)
{
    const char *why = take_box(&it->rest, ret_box);
    return why != NULL ? refuse(it, ATLAS_E_JUMBF, why) : ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------- superboxes */

bool atlas_jumbf_label_check(struct atlas_span label)
{
    if (label.n == 0 || !atlas_utf8_check(label)) {
        return false;
    }
    for (size_t i = 0; i < label.n; i++) {
        uint8_t c = label.p[i];
        bool c1 = c == 0xC2 && label.p[i + 1] < 0xA0; /* U+0080..U+009F; UTF-8 was checked, a second byte is there */
        if (c < 0x20 || c == 0x7F || c1 || c == '/' || c == ';' || c == '?' || c == '#') {
            return false;
        }
    }
    return true;
}

static uint32_t kind_of(struct atlas_span uuid)
{
    struct atlas_span rest = uuid;
    uint32_t kind;
    if (atlas_span_equal(uuid, atlas_span_of(embedded_file, sizeof embedded_file))) {
        return ATLAS_JUMBF_EMBEDDED_FILE;
    }
    (void)atlas_span_take_be32(&rest, &kind);
    return atlas_span_equal(rest, atlas_span_of(uuid_tail, sizeof uuid_tail)) ? kind : 0;
}

/* The private field of a description: C2PA 2.2, 8.4.2.3 puts one salt box there. */
static const char *read_salt(struct atlas_span field, struct atlas_span *ret_salt)
{
    struct atlas_jumbf_box box = {0};
    const char *why = take_box(&field, &box);
    if (why != NULL) {
        return why;
    }
    if (field.n != 0 || box.type != ATLAS_JUMBF_SALT) {
        return "the private field of a description is not one salt box";
    }
    if (box.payload.n != 16 && box.payload.n != ATLAS_JUMBF_SALT_BYTES) {
        return "a salt of neither 16 nor 32 bytes";
    }
    *ret_salt = box.payload;
    return NULL;
}

static const char *read_description(struct atlas_span description, struct atlas_jumbf *ret)
{
    struct atlas_span uuid;
    uint8_t toggles;
    if (!atlas_span_take(&description, UUID_BYTES, &uuid) || !atlas_span_take_u8(&description, &toggles)) {
        return "a description that is too short";
    }
    ret->kind = kind_of(uuid);
    if ((toggles & ~TOGGLE_PRIVATE) != (TOGGLE_REQUESTABLE | TOGGLE_LABEL)) {
        return "a description whose toggles are outside the profile";
    }
    const uint8_t *nul = description.n != 0 ? memchr(description.p, 0, description.n) : NULL;
    if (nul == NULL) {
        return "a label without an end";
    }
    struct atlas_span terminator;
    (void)atlas_span_take(&description, atlas_span_offset(description, (struct atlas_span){nul, 1}), &ret->label);
    (void)atlas_span_take(&description, 1, &terminator);
    if (!atlas_jumbf_label_check(ret->label)) {
        return "a label that no label may be";
    }
    if ((toggles & TOGGLE_PRIVATE) != 0) {
        return read_salt(description, &ret->salt);
    }
    return description.n != 0 ? "bytes behind a label" : NULL;
}

/* The superbox inside a box that was cut out. */
static const char *open_superbox(const struct atlas_jumbf_box *box, struct atlas_jumbf *ret_superbox)
{
    struct atlas_jumbf superbox = {.box = box->box, .payload = box->payload, .content = box->payload};
    struct atlas_jumbf_box description = {0};
    if (box->type != ATLAS_JUMBF_SUPERBOX) {
        return "a box that is no superbox";
    }
    const char *why = take_box(&superbox.content, &description);
    if (why == NULL && description.type != ATLAS_JUMBF_DESCRIPTION) {
        why = "a superbox that does not begin with its description";
    }
    if (why == NULL) {
        why = read_description(description.payload, &superbox);
    }
    if (why == NULL) {
        *ret_superbox = superbox;
    }
    return why;
}

int atlas_jumbf_next(struct atlas_jumbf_iter *it, struct atlas_jumbf *ret_superbox)
{
    struct atlas_jumbf_box box = {0};
    struct atlas_jumbf_iter before = *it;
    int rc = atlas_jumbf_next_box(it, &box);
    if (rc < 0) {
        return rc;
    }
    const char *why = open_superbox(&box, ret_superbox);
    if (why != NULL) {
        *it = before; /* report the place where the box begins */
        return refuse(it, ATLAS_E_JUMBF, why);
    }
    return ATLAS_OK;
}

int atlas_jumbf_read(struct atlas_span bytes, const char *where, struct atlas_jumbf *ret_superbox,
                     struct atlas_error *error)
{
    struct atlas_jumbf superbox;
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(bytes, where, error);
    int rc = atlas_jumbf_next(&it, &superbox);
    if (rc == ATLAS_OK && it.rest.n != 0) {
        rc = refuse(&it, ATLAS_E_JUMBF, "bytes behind the last box");
    }
    if (rc == ATLAS_OK) {
        *ret_superbox = superbox;
    }
    return rc;
}

int atlas_jumbf_content(const struct atlas_jumbf *superbox, uint32_t type, const char *where,
                        struct atlas_span *ret_payload, struct atlas_error *error)
{
    struct atlas_jumbf_box box = {0};
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(superbox->content, where, error);
    int rc = atlas_jumbf_next_box(&it, &box);
    if (rc == ATLAS_OK && (box.type != type || it.rest.n != 0)) {
        rc = refuse(&it, ATLAS_E_JUMBF, "must hold exactly one content box, of the type that its description says");
    }
    if (rc == ATLAS_OK) {
        *ret_payload = box.payload;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------- the whole tree */

/* The walk needs no stack of positions: boxes are visited in document order, and a superbox ends where its last box
 * ends. What it keeps per level is how many bytes are left there. */
struct tree_walk {
    struct atlas_jumbf_iter it; /* its rest runs through the bytes of all levels */
    size_t left[ATLAS_MAX_JUMBF_DEPTH + 1];
    unsigned depth;
};

static int enter_superbox(struct tree_walk *w, const struct atlas_jumbf_box *box)
{
    struct atlas_jumbf superbox;
    const char *why = open_superbox(box, &superbox);
    if (why != NULL) {
        return refuse(&w->it, ATLAS_E_JUMBF, why);
    }
    if (w->depth == ATLAS_MAX_JUMBF_DEPTH) {
        return refuse(&w->it, ATLAS_E_LIMIT, "a superbox that is nested too deeply");
    }
    struct atlas_span head;
    size_t head_bytes = box->box.n - superbox.content.n;
    (void)atlas_span_take(&w->it.rest, head_bytes, &head);
    w->left[w->depth] -= box->box.n;
    w->depth++;
    w->left[w->depth] = superbox.content.n;
    return ATLAS_OK;
}

static int visit_box(struct tree_walk *w)
{
    struct atlas_jumbf_box box = {0};
    struct atlas_span level = atlas_span_sub(w->it.rest, 0, w->left[w->depth]);
    const char *why = take_box(&level, &box);
    if (why != NULL) {
        return refuse(&w->it, ATLAS_E_JUMBF, why);
    }
    if (box.type == ATLAS_JUMBF_SUPERBOX) {
        return enter_superbox(w, &box);
    }
    struct atlas_span skipped;
    (void)atlas_span_take(&w->it.rest, box.box.n, &skipped);
    w->left[w->depth] -= box.box.n;
    return ATLAS_OK;
}

int atlas_jumbf_check(struct atlas_span bytes, const char *where, struct atlas_error *error)
{
    struct atlas_jumbf outer;
    int rc = atlas_jumbf_read(bytes, where, &outer, error);
    struct tree_walk w = {.it = atlas_jumbf_iterate(bytes, where, error), .left = {bytes.n}};
    while (rc == ATLAS_OK) {
        while (w.depth != 0 && w.left[w.depth] == 0) {
            w.depth--;
        }
        if (w.left[w.depth] == 0) {
            return ATLAS_OK;
        }
        rc = visit_box(&w);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------- index */

static struct atlas_jumbf *entries(const struct atlas_jumbf_index *index)
{
    return (struct atlas_jumbf *)(void *)index->boxes.p;
}

/* By label, then by position: the first of twins comes first. */
static int compare(const void *a, const void *b)
{
    const struct atlas_jumbf *left = a;
    const struct atlas_jumbf *right = b;
    int order = atlas_span_compare(left->label, right->label);
    return order != 0 ? order : (left->box.p > right->box.p) - (left->box.p < right->box.p);
}

static int collect(struct atlas_jumbf_index *index, struct atlas_jumbf_iter *it, size_t max)
{
    while (atlas_jumbf_more(it)) {
        struct atlas_jumbf superbox;
        int rc = atlas_jumbf_next(it, &superbox);
        if (rc < 0) {
            return rc;
        }
        if (index->n == max) {
            return refuse(it, ATLAS_E_LIMIT, "too many boxes");
        }
        atlas_buf_append(&index->boxes, atlas_span_of(&superbox, sizeof superbox));
        index->n++;
    }
    return atlas_buf_check(&index->boxes, it->error);
}

/* Drop twins that are equal byte for byte, if they may be there at all. */
static int drop_twins(struct atlas_jumbf_index *index, bool twins, struct atlas_jumbf_iter *it)
{
    struct atlas_jumbf *boxes = entries(index);
    size_t kept = 0;
    for (size_t i = 0; i < index->n; i++) {
        if (kept != 0 && atlas_span_equal(boxes[kept - 1].label, boxes[i].label)) {
            if (!twins || !atlas_span_equal(boxes[kept - 1].box, boxes[i].box)) {
                it->rest.n = it->whole.n - atlas_span_offset(it->whole, boxes[i].box);
                return refuse(it, ATLAS_E_JUMBF, "two boxes of one label");
            }
            continue;
        }
        boxes[kept] = boxes[i];
        kept++;
    }
    index->n = kept;
    return ATLAS_OK;
}

int atlas_jumbf_index_read(struct atlas_span boxes, size_t max, bool twins, const char *where,
                           struct atlas_jumbf_index *ret_index, struct atlas_error *error)
{
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(boxes, where, error);
    int rc = collect(&index, &it, max);
    if (rc == ATLAS_OK && index.n != 0) {
        qsort(index.boxes.p, index.n, sizeof(struct atlas_jumbf), compare);
        rc = drop_twins(&index, twins, &it);
    }
    if (rc < 0) {
        atlas_jumbf_index_release(&index);
        return rc;
    }
    *ret_index = index;
    return ATLAS_OK;
}

void atlas_jumbf_index_release(struct atlas_jumbf_index *index)
{
    atlas_buf_release(&index->boxes);
    index->n = 0;
}

const struct atlas_jumbf *atlas_jumbf_index_at(const struct atlas_jumbf_index *index, size_t i)
{
    return i < index->n ? &entries(index)[i] : NULL;
}

const struct atlas_jumbf *atlas_jumbf_index_find(const struct atlas_jumbf_index *index, struct atlas_span label)
{
    size_t low = 0;
    size_t high = index->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = atlas_span_compare(label, entries(index)[middle].label);
        if (order == 0) {
            return &entries(index)[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* ----------------------------------------------------------------------------------------------- writing */

static void write_description(struct atlas_buf *b, uint32_t kind, struct atlas_span label, struct atlas_span salt)
{
    size_t mark = b->n;
    atlas_buf_append_be32(b, 0);
    atlas_buf_append_be32(b, ATLAS_JUMBF_DESCRIPTION);
    if (kind == ATLAS_JUMBF_EMBEDDED_FILE) {
        atlas_buf_append(b, atlas_span_of(embedded_file, sizeof embedded_file));
    } else {
        atlas_buf_append_be32(b, kind);
        atlas_buf_append(b, atlas_span_of(uuid_tail, sizeof uuid_tail));
    }
    atlas_buf_append_u8(b, (uint8_t)(TOGGLE_REQUESTABLE | TOGGLE_LABEL | (salt.p != NULL ? TOGGLE_PRIVATE : 0)));
    atlas_buf_append(b, label);
    atlas_buf_append_u8(b, 0);
    if (salt.p != NULL) {
        atlas_buf_append_be32(b, (uint32_t)(HEADER_BYTES + salt.n));
        atlas_buf_append_be32(b, ATLAS_JUMBF_SALT);
        atlas_buf_append(b, salt);
    }
    atlas_buf_set_be32(b, mark, (uint32_t)(b->n - mark));
}

size_t atlas_jumbf_open(struct atlas_buf *b, uint32_t kind, struct atlas_span label, struct atlas_span salt)
{
    size_t mark = b->n;
    atlas_buf_append_be32(b, 0);
    atlas_buf_append_be32(b, ATLAS_JUMBF_SUPERBOX);
    write_description(b, kind, label, salt);
    return mark;
}

int atlas_jumbf_close(struct atlas_buf *b, size_t mark, struct atlas_error *error)
{
    if (b->n - mark > ATLAS_MAX_STORE_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "", "a box that is too long");
    }
    atlas_buf_set_be32(b, mark, (uint32_t)(b->n - mark));
    int rc = atlas_buf_check(b, error);
    if (rc < 0) {
        return rc;
    }
    struct atlas_jumbf_box box = {0};
    struct atlas_jumbf superbox;
    struct atlas_span written = atlas_span_sub(atlas_buf_span(b), mark, b->n - mark);
    const char *why = take_box(&written, &box);
    why = why == NULL ? open_superbox(&box, &superbox) : why;
    return why == NULL ? ATLAS_OK : atlas_error_set(error, ATLAS_E_ARG, "", "%s", why);
}

int atlas_jumbf_write_box(struct atlas_buf *b, uint32_t type, struct atlas_span payload, struct atlas_error *error)
{
    if (payload.n > ATLAS_MAX_STORE_BYTES - HEADER_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "", "a box that is too long");
    }
    atlas_buf_append_be32(b, (uint32_t)(HEADER_BYTES + payload.n));
    atlas_buf_append_be32(b, type);
    atlas_buf_append(b, payload);
    return atlas_buf_check(b, error);
}

struct atlas_span atlas_jumbf_written(const struct atlas_buf *b, size_t mark)
{
    struct atlas_jumbf_box box = {0};
    struct atlas_span written = mark <= b->n ? atlas_span_sub(atlas_buf_span(b), mark, b->n - mark) : ATLAS_SPAN_NONE;
    return take_box(&written, &box) == NULL ? box.payload : ATLAS_SPAN_NONE;
}
