/* test_read.c - bytes and digests of one pass. The races: tests/attacks/test_attacks_on_loads.py. */
#include "folder.h"
#include "port/cbor.h"
#include "port/file.h"
#include "stage/measure.h"
#include "stage/read.h"
#include "test.h"

#define BYTES (3 * ATLAS_CHUNK_SIZE + 5)

TEST(bytes_that_are_read_have_the_digests_that_measuring_finds)
{
    static const size_t sizes[] = {0, 1, ATLAS_CHUNK_SIZE - 1, ATLAS_CHUNK_SIZE, ATLAS_CHUNK_SIZE + 1, BYTES};
    static uint8_t content[BYTES];
    static uint8_t got[BYTES];
    struct folder f;
    int fd = ATLAS_FILE_CLOSED;
    for (size_t i = 0; i < BYTES; i++) {
        content[i] = (uint8_t)(i * 2654435761u >> 11);
    }
    CHECK(folder_make(&f));
    CHECK(folder_write(&f, "file", content, BYTES));
    CHECK_OK(atlas_file_open(ATLAS_FILE_CWD, in(&f, "file"), true, "file", &fd, NULL));
    for (size_t i = 0; i < ATLAS_COUNT(sizes); i++) {
        struct atlas_buf digests = ATLAS_BUF_INIT;
        struct atlas_buf expected = ATLAS_BUF_INIT;
        uint64_t offset = BYTES - sizes[i];
        memset(got, 0, sizeof got);
        CHECK_OK(atlas_read_chunks(fd, offset, got, sizes[i], "file", 3, &digests, NULL));
        CHECK_OK(atlas_chunk_digests(ATLAS_SHA256, 1, atlas_span_of(content + offset, sizes[i]), &expected, NULL));
        CHECK(memcmp(got, content + offset, sizes[i]) == 0);
        CHECK(atlas_span_equal(atlas_buf_span(&digests), atlas_buf_span(&expected)));
        atlas_buf_release(&digests);
        atlas_buf_release(&expected);
    }
    atlas_file_close(&fd);
    folder_remove(&f);
}

TEST(a_file_that_is_shorter_than_was_asked_for_has_changed)
{
    static uint8_t got[BYTES];
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf digests = ATLAS_BUF_INIT;
    struct folder f;
    int fd = ATLAS_FILE_CLOSED;
    CHECK(folder_make(&f));
    CHECK(folder_write(&f, "file", got, ATLAS_CHUNK_SIZE + 7));
    CHECK_OK(atlas_file_open(ATLAS_FILE_CWD, in(&f, "file"), true, "file", &fd, NULL));
    CHECK_ERR(atlas_read_chunks(fd, 0, got, ATLAS_CHUNK_SIZE + 8, "name", 2, &digests, &error), ATLAS_E_CHANGED);
    CHECK(strcmp(error.where, "name") == 0);
    CHECK_ERR(atlas_read_chunks(fd, ATLAS_CHUNK_SIZE + 7, got, 1, "name", 2, &digests, NULL), ATLAS_E_CHANGED);
    CHECK(digests.n == 0);
    atlas_file_close(&fd);
    folder_remove(&f);
}
