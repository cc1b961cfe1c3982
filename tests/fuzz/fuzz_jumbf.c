/* fuzz_jumbf.c - boxes: no reader leaves the bytes; what the check accepts, the other readers accept. */
#include "format/jumbf.h"
#include "fuzz.h"
#include "sample.h"

static void read_children(const struct atlas_jumbf *superbox)
{
    struct atlas_span payload;
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(superbox->content, "fuzz", NULL);
    while (atlas_jumbf_more(&it)) {
        struct atlas_jumbf_box box;
        REQUIRE(atlas_jumbf_next_box(&it, &box) == ATLAS_OK);
    }
    REQUIRE(atlas_jumbf_content(superbox, ATLAS_JUMBF_CBOR, "fuzz", &payload, NULL) <= ATLAS_OK);
    if (atlas_jumbf_index_read(superbox->content, 100, true, "fuzz", &index, NULL) == ATLAS_OK) {
        for (size_t i = 0; i < index.n; i++) {
            const struct atlas_jumbf *box = atlas_jumbf_index_at(&index, i);
            REQUIRE(atlas_jumbf_index_find(&index, box->label) == box);
            REQUIRE(atlas_jumbf_label_check(box->label));
        }
    }
    atlas_jumbf_index_release(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_jumbf box = {0};
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_jumbf_check(bytes, "fuzz", &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(atlas_jumbf_read(bytes, "fuzz", &box, NULL) == ATLAS_OK);
        REQUIRE(box.box.n == size && box.payload.n >= size - 16);
        REQUIRE(dump_jumbf(bytes, &text, NULL) == ATLAS_OK);
        read_children(&box);
    }
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(bytes, "fuzz", NULL); /* unchecked */
    while (atlas_jumbf_more(&it)) {
        (void)(atlas_jumbf_next(&it, &box) == ATLAS_OK);
    }
    atlas_buf_release(&text);
    free_copy(bytes);
    return 0;
}
