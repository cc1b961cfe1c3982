/* test_tensor.c - tensors in every layout against a plain walk over their elements; limits; files. The rest:
 * tests/unit/test_tensor_table.py. */
#include "folder.h"
#include "port/crypto/crypto.h"
#include "port/cbor.h"
#include "port/file.h"
#include "stage/tensor.h"
#include "test.h"

#define BYTES ((size_t)3 << 20)

static const uint8_t *content(void)
{
    static uint8_t bytes[BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    return bytes;
}

/* Three dimensions, element by element. */
static bool is_plain(const uint8_t *digest, const uint8_t *p, const struct atlas_tensor *t)
{
    struct atlas_buf elements = ATLAS_BUF_INIT;
    struct atlas_digest expected = {0};
    for (uint64_t i = 0; i < t->shape[0]; i++) {
        for (uint64_t j = 0; j < t->shape[1]; j++) {
            for (uint64_t k = 0; k < t->shape[2]; k++) {
                uint64_t at = i * t->stride[0] + j * t->stride[1] + k * t->stride[2];
                const uint8_t *e = p + t->offset + t->element * at;
                for (unsigned b = 0; b < t->element; b++) {
                    unsigned half = b / t->turned * t->turned;
                    atlas_buf_append_u8(&elements, e[half + t->turned - 1 - (b - half)]);
                }
            }
        }
    }
    int rc = atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&elements), &expected, NULL);
    atlas_buf_release(&elements);
    return rc == ATLAS_OK && memcmp(expected.b, digest, 32) == 0;
}

static const struct {
    uint64_t offset;
    unsigned element;
    uint64_t shape[3];
    uint64_t stride[3];
} layouts[] = {
    {0, 4, {2, 3, 5}, {15, 5, 1}},      {8, 8, {5, 3, 2}, {1, 5, 15}},      {1, 1, {7, 1, 9}, {9, 99, 1}},
    {3, 2, {4, 1, 3}, {0, 0, 1}},       {0, 16, {3, 3, 3}, {1, 3, 9}},      {0, 4, {1, 1, 1}, {7, 7, 7}},
    {0, 4, {0, 3, 5}, {15, 5, 1}},      {0, 4, {300, 700, 1}, {1, 300, 1}}, {5, 2, {3, 1000, 400}, {400000, 400, 1}},
    {0, 1, {3, 1000, 1000}, {1000000, 1000, 1}}, {0, 2, {2, 600, 500}, {500, 1000, 1}},
};

static void check_layouts(const struct atlas_tensor_file *file, unsigned threads)
{
    struct atlas_tensor tensors[2 * ATLAS_COUNT(layouts)];
    struct atlas_buf digests = ATLAS_BUF_INIT;
    size_t n = 0;
    for (size_t i = 0; i < ATLAS_COUNT(layouts); i++) {
        struct atlas_tensor t = {.memory = file == NULL ? atlas_span_of(content(), BYTES) : ATLAS_SPAN_NONE,
                                 .offset = layouts[i].offset,
                                 .element = layouts[i].element,
                                 .turned = 1,
                                 .dims = 3,
                                 .shape = layouts[i].shape,
                                 .stride = layouts[i].stride};
        tensors[n++] = t;
        t.turned = t.element;
        tensors[n++] = t;
    }
    CHECK_OK(atlas_tensor_digests(tensors, n, file, threads, &digests, NULL));
    CHECK(digests.n == 32 * n);
    for (size_t i = 0; i < n && digests.n == 32 * n; i++) {
        CHECK(is_plain(digests.p + 32 * i, content(), &tensors[i]));
    }
    atlas_buf_release(&digests);
}

TEST(tensors_in_every_layout_have_the_digest_of_their_elements_in_order)
{
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        check_layouts(NULL, threads);
    }
}

TEST(tensors_of_a_file_have_the_same_digests)
{
    struct folder f;
    CHECK(folder_make(&f));
    CHECK(folder_write(&f, "file", content(), BYTES));
    int fd = ATLAS_FILE_CLOSED;
    CHECK_OK(atlas_file_open(ATLAS_FILE_CWD, in(&f, "file"), true, "file", &fd, NULL));
    struct atlas_tensor_file file = {.fd = fd, .size = BYTES, .where = "file"};
    check_layouts(&file, 3);
    static const uint64_t shape[] = {BYTES + 1};
    static const uint64_t one[] = {1};
    struct atlas_tensor beyond = {.element = 1, .turned = 1, .dims = 1, .shape = shape, .stride = one};
    struct atlas_buf digests = ATLAS_BUF_INIT;
    CHECK_ERR(atlas_tensor_digests(&beyond, 1, &file, 1, &digests, NULL), ATLAS_E_ARG);
    file.size = BYTES + 1; /* the file became shorter */
    CHECK_ERR(atlas_tensor_digests(&beyond, 1, &file, 1, &digests, NULL), ATLAS_E_CHANGED);
    CHECK(digests.n == 0);
    atlas_file_close(&fd);
    folder_remove(&f);
}

TEST(tensors_that_cannot_be_are_refused)
{
    static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX};
    static const uint64_t wide[] = {2, UINT64_MAX / 2};
    static const uint64_t two[] = {2, 2};
    static const uint64_t strides[] = {UINT64_MAX, UINT64_MAX};
    const struct atlas_tensor bad[] = {
        {.element = 4, .turned = 1, .dims = 2, .shape = huge, .stride = two},
        {.element = 4, .turned = 1, .dims = 2, .shape = wide, .stride = two},
        {.element = 4, .turned = 1, .dims = 2, .shape = two, .stride = strides},
        {.element = 4, .turned = 1, .dims = 2, .shape = two, .stride = two, .offset = UINT64_MAX},
        {.element = 4, .turned = 1, .dims = 2, .shape = two, .stride = two, .offset = BYTES - 16},
        {.element = 0, .turned = 1, .dims = 2, .shape = two, .stride = two},
        {.element = 3, .turned = 1, .dims = 2, .shape = two, .stride = two},
        {.element = 32, .turned = 1, .dims = 2, .shape = two, .stride = two},
        {.element = 4, .turned = 0, .dims = 2, .shape = two, .stride = two},
        {.element = 4, .turned = 8, .dims = 2, .shape = two, .stride = two},
        {.element = 4, .turned = 1, .dims = 65, .shape = two, .stride = two},
    };
    struct atlas_buf digests = ATLAS_BUF_INIT;
    for (size_t i = 0; i < ATLAS_COUNT(bad); i++) {
        struct atlas_tensor t = bad[i];
        t.memory = atlas_span_of(content(), BYTES);
        CHECK_ERR(atlas_tensor_digests(&t, 1, NULL, 1, &digests, NULL), ATLAS_E_ARG);
    }
    CHECK(digests.n == 0);
}
