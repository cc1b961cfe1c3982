/* test_cache.c - the table of the digest cache from C: what goes in comes out, and nothing else. More cases, and the
 * attacks: tests/unit/test_cache.py. */
#include "port/crypto/crypto.h"
#include "stage/cache.h"
#include "test.h"

static const uint8_t key[ATLAS_CACHE_KEY_SIZE] = {1};
static const struct atlas_volume volume = {.is_trusted = true, .id = 7};

static struct atlas_cache *open_cache(struct atlas_span saved, enum atlas_cache_state expected)
{
    struct atlas_cache *c = NULL;
    enum atlas_cache_state state;
    int rc = atlas_cache_new(ATLAS_SHA384, atlas_span_of(key, sizeof key), ATLAS_LIT("boot"), saved, &c, &state, NULL);
    if (rc == ATLAS_OK && state != expected) {
        atlas_cache_free(c);
        return NULL;
    }
    return c;
}

static struct atlas_file_id file_of(uint64_t inode)
{
    return (struct atlas_file_id){.type = ATLAS_FILE_REGULAR, .device = 1, .inode = inode, .size = inode * 3,
                                  .mtime_s = 5, .ctime_s = 6, .ctime_ns = 7, .btime_s = 4};
}

static struct atlas_cache_hit hit_of(uint64_t inode)
{
    struct atlas_cache_hit hit = {0};
    if (atlas_crypto_digest(ATLAS_SHA384, atlas_span_of(&inode, sizeof inode), &hit.flat, NULL) == ATLAS_OK) {
        hit.tree = hit.flat;
        hit.tree.b[0] ^= 0xFF;
    }
    return hit;
}

static bool knows(const struct atlas_cache *c, const struct atlas_file_id *id, uint64_t inode)
{
    struct atlas_cache_hit expected = hit_of(inode);
    struct atlas_cache_hit hit = {0};
    return atlas_cache_get(c, &volume, id, true, true, &hit) && atlas_digest_equal(&hit.flat, &expected.flat) &&
           atlas_digest_equal(&hit.tree, &expected.tree);
}

static bool put(struct atlas_cache *c, const struct atlas_file_id *id, uint64_t inode)
{
    struct atlas_cache_hit hit = hit_of(inode);
    return atlas_cache_put(c, &volume, id, &hit, NULL) == ATLAS_OK;
}

#define MANY 20000

TEST(many_files_come_out_as_they_went_in_and_after_saving_too)
{
    struct atlas_buf saved = ATLAS_BUF_INIT;
    struct atlas_cache *c = open_cache(ATLAS_SPAN_NONE, ATLAS_CACHE_EMPTY);
    CHECK(c != NULL);
    for (uint64_t i = 1; i <= MANY; i++) {
        struct atlas_file_id id = file_of(i);
        CHECK(put(c, &id, i) && put(c, &id, i));
    }
    CHECK(atlas_cache_count(c) == MANY && atlas_cache_is_changed(c));
    CHECK_OK(atlas_cache_save(c, &saved, NULL));
    atlas_cache_free(c);
    c = open_cache(atlas_buf_span(&saved), ATLAS_CACHE_SOUND);
    CHECK(c != NULL && atlas_cache_count(c) == MANY && !atlas_cache_is_changed(c));
    for (uint64_t i = 1; i <= MANY + 100; i++) {
        struct atlas_file_id id = file_of(i);
        CHECK(knows(c, &id, i) == (i <= MANY));
    }
    atlas_cache_free(c);
    atlas_buf_release(&saved);
}

TEST(every_field_of_the_version_counts)
{
    struct atlas_cache *c = open_cache(ATLAS_SPAN_NONE, ATLAS_CACHE_EMPTY);
    struct atlas_file_id id = file_of(3);
    struct atlas_cache_hit hit;
    CHECK(c != NULL && put(c, &id, 3) && knows(c, &id, 3));
    struct atlas_file_id others[] = {id, id, id, id, id, id, id, id, id, id};
    others[0].device++;
    others[1].inode++;
    others[2].size++;
    others[3].mtime_s++;
    others[4].mtime_ns++;
    others[5].ctime_s++;
    others[6].ctime_ns++;
    others[7].btime_s++;
    others[8].btime_ns++;
    others[9].type = ATLAS_FILE_DIRECTORY;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        CHECK(!atlas_cache_get(c, &volume, &others[i], false, false, &hit));
    }
    struct atlas_volume elsewhere = {.is_trusted = true, .id = 8};
    struct atlas_volume doubtful = {.is_trusted = false, .id = 7};
    CHECK(!atlas_cache_get(c, &elsewhere, &id, false, false, &hit));
    CHECK(!atlas_cache_get(c, &doubtful, &id, false, false, &hit));
    atlas_cache_free(c);
}

TEST(a_newer_version_takes_the_place_of_the_older_and_a_merge_brings_back_none)
{
    struct atlas_buf saved = ATLAS_BUF_INIT;
    struct atlas_cache *c = open_cache(ATLAS_SPAN_NONE, ATLAS_CACHE_EMPTY);
    struct atlas_file_id old = file_of(3);
    struct atlas_file_id new = file_of(3);
    struct atlas_file_id other = file_of(4);
    new.ctime_s++;
    CHECK(c != NULL && put(c, &old, 3) && put(c, &other, 4));
    CHECK_OK(atlas_cache_save(c, &saved, NULL));
    atlas_cache_free(c);
    c = open_cache(ATLAS_SPAN_NONE, ATLAS_CACHE_EMPTY);
    CHECK(c != NULL && put(c, &new, 5));
    CHECK_OK(atlas_cache_merge(c, atlas_buf_span(&saved), NULL));
    CHECK(atlas_cache_count(c) == 2 && knows(c, &new, 5) && !knows(c, &old, 3) && knows(c, &other, 4));
    atlas_cache_forget(c);
    CHECK(atlas_cache_count(c) == 0 && !knows(c, &new, 5) && !knows(c, &other, 4));
    atlas_cache_free(c);
    atlas_buf_release(&saved);
}
