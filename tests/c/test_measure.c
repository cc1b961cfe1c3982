/* test_measure.c - measuring from C: known answers, threads, streams, a directory, cancelling. The rest, and the races:
 * tests/unit/test_measure*.py. */
#include "base/buf.h"
#include "folder.h"
#include "stage/measure_scan.h"
#include "test.h"

#define MAX_SIZE (3 * ATLAS_CHUNK_SIZE + 5)

/* content(n): bytes 0..250 over and over; the digests were computed by another program. */
static const struct {
    size_t size;
    const char *flat; /* the first half */
    const char *tree;
} known[] = {
    {0, "e3b0c44298fc1c149afbf4c8996fb924", "e3b0c44298fc1c149afbf4c8996fb924"},
    {1, "6e340b9cffb37a989ca544e6bb780a2c", "d9de27625445003d8a9739a851e3ff8d"},
    {ATLAS_CHUNK_SIZE - 1, "8b55c6a2d3444092a316985030e00c1e", "83a7339a9051a3e697909eb99fcd1585"},
    {ATLAS_CHUNK_SIZE, "631b84027d6b9e52b539c4e8373622d2", "35b5427128054552a08aa95463b9992a"},
    {ATLAS_CHUNK_SIZE + 1, "5769f52bc3eef28afa39c6fc68cadb7d", "2f397518661ba7bc656e0298ab26a5e8"},
    {MAX_SIZE, "b01669d77761c4dfdfc8fb927821087b", "1430ec8b341108a49bef88f710409018"},
};

#define N_KNOWN (sizeof known / sizeof known[0])

static const uint8_t *content(void)
{
    static uint8_t bytes[MAX_SIZE];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i % 251);
    }
    return bytes;
}

static bool begins(const struct atlas_digest *digest, const char *hex)
{
    char text[2 * ATLAS_DIGEST_MAX + 1];
    atlas_hex(atlas_digest_span(digest), text);
    return strncmp(text, hex, strlen(hex)) == 0;
}

static bool is_known(const struct atlas_measurement *m, size_t k)
{
    return m->kind == ATLAS_KIND_FILE && m->size == known[k].size && m->files == 1 && begins(&m->flat, known[k].flat) &&
           begins(&m->tree, known[k].tree) && m->oms.alg == ATLAS_SHA256;
}

static struct atlas_measure_options options_of(unsigned threads)
{
    return (struct atlas_measure_options){.alg = ATLAS_SHA256, .threads = threads, .flat = true, .tree = true};
}

TEST(files_have_the_known_digests_for_every_number_of_threads)
{
    struct folder f;
    CHECK(folder_make(&f));
    for (size_t k = 0; k < N_KNOWN; k++) {
        CHECK(folder_write(&f, "file", content(), known[k].size));
        for (unsigned threads = 0; threads <= 8; threads++) {
            struct atlas_measure_options options = options_of(threads);
            struct atlas_measurement m;
            CHECK_OK(atlas_measure_file(in(&f, "file"), &options, &m, NULL));
            CHECK(is_known(&m, k));
        }
    }
    folder_remove(&f);
}

TEST(streams_have_the_known_digests_in_pieces_of_any_size)
{
    static const size_t pieces[] = {4096, 1000003, ATLAS_CHUNK_SIZE, MAX_SIZE};
    for (size_t k = 0; k < N_KNOWN; k++) {
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            struct atlas_measure_options options = options_of((unsigned)i + 1);
            struct atlas_span rest = atlas_span_of(content(), known[k].size);
            struct atlas_measurer *s = NULL;
            struct atlas_measurement m;
            struct atlas_span piece;
            CHECK_OK(atlas_measurer_new(&options, &s, NULL));
            while (atlas_span_take(&rest, rest.n < pieces[i] ? rest.n : pieces[i], &piece) && piece.n != 0) {
                CHECK_OK(atlas_measurer_update(s, piece, NULL));
            }
            CHECK_OK(atlas_measurer_finish(s, &m, NULL));
            CHECK(is_known(&m, k));
            CHECK_ERR(atlas_measurer_finish(s, &m, NULL), ATLAS_E_ARG);
            CHECK_ERR(atlas_measurer_update(s, ATLAS_LIT("x"), NULL), ATLAS_E_ARG);
            atlas_measurer_free(s);
        }
    }
    atlas_measurer_free(NULL);
}

TEST(chunk_digests_lead_to_the_tree)
{
    for (size_t k = 0; k < N_KNOWN; k++) {
        struct atlas_buf digests = ATLAS_BUF_INIT;
        struct atlas_digest root;
        CHECK_OK(atlas_chunk_digests(ATLAS_SHA256, 2, atlas_span_of(content(), known[k].size), &digests, NULL));
        CHECK(digests.n == 32 * ((known[k].size + ATLAS_CHUNK_SIZE - 1) / ATLAS_CHUNK_SIZE));
        CHECK_OK(atlas_tree_root(ATLAS_SHA256, atlas_buf_span(&digests), &root, NULL));
        CHECK(begins(&root, known[k].tree));
        CHECK_ERR(atlas_tree_root(ATLAS_SHA256, ATLAS_LIT("no digest"), &root, NULL), ATLAS_E_ARG);
        atlas_buf_release(&digests);
    }
}

TEST(a_directory_is_its_index)
{
    static const char lines[] = "atlas-index 1 sha256\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 "
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 a%20b\n"
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb "
        "a23bd5b06da9048238a65b3f1d9d0b9e15fae3dde262688e6489aa4c763d1820 1 sub/file\n";
    const struct atlas_span ignore = ATLAS_LIT("skip");
    struct folder f;
    struct atlas_measure_options options = options_of(2);
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    CHECK(folder_make(&f) && mkdir(in(&f, "sub"), 0700) == 0 && mkdir(in(&f, "sub/skip"), 0700) == 0);
    CHECK(folder_write(&f, "a b", "", 0) && folder_write(&f, "sub/file", "a", 1));
    CHECK(folder_write(&f, "sub/skip/x", "x", 1) && folder_write(&f, "sub/file.c2pa", "x", 1));
    CHECK_OK(atlas_measure_directory(f.path, &options, &ignore, 1, &index, &links, &m, NULL));
    CHECK(m.kind == ATLAS_KIND_DIRECTORY && m.files == 2 && m.size == 1 && links.n == 0);
    CHECK_SPAN(atlas_buf_span(&index), ATLAS_LIT(lines));
    CHECK(symlink("a b", in(&f, "link")) == 0);
    atlas_buf_clear(&index);
    CHECK_OK(atlas_measure_directory(f.path, &options, &ignore, 1, &index, &links, &m, NULL));
    CHECK(m.files == 3);
    CHECK_SPAN(atlas_buf_span(&links), ATLAS_LIT("link\0a%20b\0"));
    atlas_buf_release(&index);
    atlas_buf_release(&links);
    folder_remove(&f);
}

TEST(nothing_is_returned_when_it_fails)
{
    static const uint8_t untouched[sizeof(struct atlas_measurement)];
    struct folder f;
    struct atlas_measure_options options = options_of(2);
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    memset(&m, 0, sizeof m);
    CHECK(folder_make(&f) && folder_write(&f, "file", "x", 1) && symlink("/etc", in(&f, "link")) == 0);
    CHECK_ERR(atlas_measure_directory(f.path, &options, NULL, 0, &index, &links, &m, NULL), ATLAS_E_REFUSED);
    CHECK_ERR(atlas_measure_file(f.path, &options, &m, NULL), ATLAS_E_REFUSED);
    CHECK_ERR(atlas_measure_fd(-1, &options, &m, NULL), ATLAS_E_IO);
    options.alg = 9;
    CHECK_ERR(atlas_measure_file(in(&f, "file"), &options, &m, NULL), ATLAS_E_ARG);
    CHECK(index.n == 0 && links.n == 0 && memcmp(&m, untouched, sizeof m) == 0);
    folder_remove(&f);
}

struct calls {
    unsigned n;
    unsigned stop_at;
    uint64_t last;
};

static int note(void *context, uint64_t done, uint64_t total)
{
    struct calls *c = context;
    c->n++;
    c->last = done;
    return c->n == c->stop_at || (total != 0 && done > total);
}

TEST(every_call_of_the_callback_can_cancel)
{
    struct folder f;
    struct calls all = {0};
    struct atlas_measure_options options = options_of(1);
    struct atlas_measurement m;
    CHECK(folder_make(&f) && folder_write(&f, "file", content(), MAX_SIZE));
    options.progress = (struct atlas_progress){note, &all};
    CHECK_OK(atlas_measure_file(in(&f, "file"), &options, &m, NULL));
    CHECK(all.n >= 3 && all.last == MAX_SIZE); /* the beginning, a first part, the end */
    for (unsigned i = 1; i <= 3; i++) {
        struct calls some = {.stop_at = i};
        options.progress.context = &some;
        CHECK_ERR(atlas_measure_file(in(&f, "file"), &options, &m, NULL), ATLAS_E_CANCELLED);
        CHECK(some.n == i);
    }
    folder_remove(&f);
}

TEST(a_measurer_that_was_cancelled_is_spent)
{
    struct calls some = {.stop_at = 1};
    struct atlas_measure_options options = options_of(1);
    struct atlas_measurer *s = NULL;
    struct atlas_measurement m;
    options.progress = (struct atlas_progress){note, &some};
    CHECK_OK(atlas_measurer_new(&options, &s, NULL));
    CHECK_OK(atlas_measurer_update(s, atlas_span_of(content(), 100), NULL));
    CHECK_ERR(atlas_measurer_update(s, atlas_span_of(content(), MAX_SIZE), NULL), ATLAS_E_CANCELLED);
    CHECK_ERR(atlas_measurer_update(s, ATLAS_LIT("more"), NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_measurer_finish(s, &m, NULL), ATLAS_E_ARG);
    atlas_measurer_free(s);
}

TEST(small_files_side_by_side_have_the_digests_that_they_have_alone)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 110000, ATLAS_CHUNK_SIZE - 1, ATLAS_CHUNK_SIZE};
    static const int algs[] = {ATLAS_SHA256, ATLAS_SHA384, ATLAS_SHA512};
    static struct atlas_measurement together[ATLAS_SMALL_MAX];
    struct atlas_span files[ATLAS_SMALL_MAX];
    for (size_t a = 0; a < sizeof algs / sizeof algs[0]; a++) {
        struct atlas_small *small = NULL;
        CHECK_OK(atlas_small_new(algs[a], &small, NULL));
        for (size_t n = 0; n <= ATLAS_SMALL_MAX; n = 2 * n + 1) {
            for (size_t i = 0; i < n; i++) {
                files[i] = atlas_span_of(content() + i, sizes[(i + n) % (sizeof sizes / sizeof sizes[0])]);
            }
            CHECK_OK(atlas_small_digest(small, files, n, together, NULL));
            for (size_t i = 0; i < n; i++) {
                struct atlas_measure_options options = {.alg = algs[a], .threads = 1, .flat = true, .tree = true};
                struct atlas_measurer *s = NULL;
                struct atlas_measurement alone;
                CHECK_OK(atlas_measurer_new(&options, &s, NULL));
                CHECK_OK(atlas_measurer_update(s, files[i], NULL));
                CHECK_OK(atlas_measurer_finish(s, &alone, NULL));
                atlas_measurer_free(s);
                CHECK(together[i].size == files[i].n && atlas_digest_equal(&together[i].flat, &alone.flat) &&
                      atlas_digest_equal(&together[i].tree, &alone.tree));
            }
        }
        CHECK_ERR(atlas_small_digest(small, files, ATLAS_SMALL_MAX + 1, together, NULL), ATLAS_E_ARG);
        atlas_small_free(small);
    }
}
