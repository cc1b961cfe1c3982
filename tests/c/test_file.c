/* test_file.c - the file system as file.h shows it: what is opened, what is refused, what is read. */
#include "folder.h"
#include "port/file.h"
#include "test.h"

static const char where[] = "test";

TEST(a_file_is_read_at_any_place_and_keeps_its_position)
{
    struct folder f;
    uint8_t bytes[16] = {0};
    size_t n = 99;
    int fd = ATLAS_FILE_CLOSED;
    CHECK(folder_make(&f) && folder_write(&f, "file", "0123456789", 10));
    CHECK_OK(atlas_file_open(ATLAS_FILE_CWD, in(&f, "file"), true, where, &fd, NULL));
    CHECK(lseek(fd, 3, SEEK_SET) == 3);
    CHECK_OK(atlas_file_read(fd, 8, bytes, sizeof bytes, where, &n, NULL));
    CHECK(n == 2 && memcmp(bytes, "89", 2) == 0);
    CHECK_OK(atlas_file_read(fd, 10, bytes, sizeof bytes, where, &n, NULL));
    CHECK(n == 0);
    CHECK_OK(atlas_file_read(fd, 1, bytes, 4, where, &n, NULL));
    CHECK(n == 4 && memcmp(bytes, "1234", 4) == 0);
    CHECK_ERR(atlas_file_read(fd, UINT64_MAX, bytes, 1, where, &n, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_file_read(fd, INT64_MAX, bytes, 1, where, &n, NULL), ATLAS_E_ARG);
    CHECK(lseek(fd, 0, SEEK_CUR) == 3);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    atlas_file_close(&fd);
    CHECK(fd == ATLAS_FILE_CLOSED);
    atlas_file_close(&fd);
    folder_remove(&f);
}

TEST(only_regular_files_are_opened)
{
    struct folder f;
    int fd = ATLAS_FILE_CLOSED;
    CHECK(folder_make(&f) && folder_write(&f, "file", "x", 1));
    CHECK(symlink("file", in(&f, "link")) == 0 && mkfifo(in(&f, "fifo"), 0600) == 0);
    CHECK_ERR(atlas_file_open(ATLAS_FILE_CWD, in(&f, "link"), false, where, &fd, NULL), ATLAS_E_REFUSED);
    CHECK_ERR(atlas_file_open(ATLAS_FILE_CWD, in(&f, "fifo"), true, where, &fd, NULL), ATLAS_E_REFUSED);
    CHECK_ERR(atlas_file_open(ATLAS_FILE_CWD, f.path, true, where, &fd, NULL), ATLAS_E_REFUSED);
    CHECK_ERR(atlas_file_open(ATLAS_FILE_CWD, "/dev/null", true, where, &fd, NULL), ATLAS_E_REFUSED);
    CHECK_ERR(atlas_file_open(ATLAS_FILE_CWD, in(&f, "none"), true, where, &fd, NULL), ATLAS_E_NOT_FOUND);
    CHECK_ERR(atlas_file_open(ATLAS_FILE_CWD, in(&f, "file/x"), true, where, &fd, NULL), ATLAS_E_NOT_FOUND);
    CHECK(fd == ATLAS_FILE_CLOSED);
    CHECK_OK(atlas_file_open(ATLAS_FILE_CWD, in(&f, "link"), true, where, &fd, NULL));
    atlas_file_close(&fd);
    folder_remove(&f);
}

TEST(a_walk_down_never_follows_a_link_or_climbs)
{
    struct folder f;
    int root = ATLAS_FILE_CLOSED;
    int fd = ATLAS_FILE_CLOSED;
    CHECK(folder_make(&f) && mkdir(in(&f, "a"), 0700) == 0 && mkdir(in(&f, "a/b"), 0700) == 0);
    CHECK(symlink("a", in(&f, "link")) == 0 && folder_write(&f, "a/file", "x", 1));
    CHECK_OK(atlas_file_open_directory(ATLAS_FILE_CWD, f.path, true, where, &root, NULL));
    CHECK_OK(atlas_file_open_beneath(root, "a/b", where, &fd, NULL));
    atlas_file_close(&fd);
    CHECK_OK(atlas_file_open_beneath(root, "", where, &fd, NULL));
    atlas_file_close(&fd);
    CHECK(atlas_file_open_beneath(root, "link", where, &fd, NULL) < 0);
    CHECK(atlas_file_open_beneath(root, "link/b", where, &fd, NULL) < 0);
    CHECK(atlas_file_open_beneath(root, "a/file", where, &fd, NULL) < 0);
    CHECK_ERR(atlas_file_open_beneath(root, "a/none", where, &fd, NULL), ATLAS_E_NOT_FOUND);
    CHECK_ERR(atlas_file_open_beneath(root, "..", where, &fd, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_file_open_beneath(root, "a/../a", where, &fd, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_file_open_beneath(root, "a/./b", where, &fd, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_file_open_beneath(root, "/tmp", where, &fd, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_file_open_beneath(root, "a//b", where, &fd, NULL), ATLAS_E_ARG);
    CHECK(fd == ATLAS_FILE_CLOSED);
    atlas_file_close(&root);
    folder_remove(&f);
}

TEST(another_version_of_a_file_has_another_id)
{
    struct folder f;
    struct atlas_file_id before;
    struct atlas_file_id after;
    int fd = ATLAS_FILE_CLOSED;
    CHECK(folder_make(&f) && folder_write(&f, "file", "one", 3));
    CHECK_OK(atlas_file_open(ATLAS_FILE_CWD, in(&f, "file"), true, where, &fd, NULL));
    for (int round = 0; round < 50; round++) {
        CHECK_OK(atlas_file_settle(fd, where, &before, NULL));
        CHECK_OK(atlas_file_stat_fd(fd, where, &after, NULL));
        CHECK(atlas_file_id_equal(&before, &after));
        CHECK(folder_write(&f, "file", round % 2 == 0 ? "two" : "one", 3));
        CHECK_OK(atlas_file_stat(ATLAS_FILE_CWD, in(&f, "file"), true, where, &after, NULL));
        CHECK(!atlas_file_id_equal(&before, &after)); /* even within one tick of the clock */
        CHECK(atlas_file_is_same(&before, &after));
    }
    atlas_file_close(&fd);
    folder_remove(&f);
}

TEST(names_are_listed_whole_and_limited)
{
    struct folder f;
    struct atlas_buf names = ATLAS_BUF_INIT;
    size_t n = 0;
    int fd = ATLAS_FILE_CLOSED;
    CHECK(folder_make(&f) && folder_write(&f, "a", "", 0) && folder_write(&f, ".hidden", "", 0));
    CHECK(folder_write(&f, "new\nline", "", 0));
    CHECK_OK(atlas_file_open_directory(ATLAS_FILE_CWD, f.path, true, where, &fd, NULL));
    for (int twice = 0; twice < 2; twice++) {
        atlas_buf_clear(&names);
        CHECK_OK(atlas_file_list(fd, where, 3, &names, &n, NULL));
        CHECK(n == 3 && names.n == 2 + 8 + 9);
    }
    CHECK_ERR(atlas_file_list(fd, where, 2, &names, &n, NULL), ATLAS_E_LIMIT);
    atlas_file_close(&fd);
    atlas_buf_release(&names);
    folder_remove(&f);
}

TEST(links_are_read_and_only_links)
{
    struct folder f;
    struct atlas_buf target = ATLAS_BUF_INIT;
    struct atlas_file_id id;
    CHECK(folder_make(&f) && folder_write(&f, "file", "", 0) && symlink("a/target", in(&f, "link")) == 0);
    CHECK_OK(atlas_file_read_link(ATLAS_FILE_CWD, in(&f, "link"), where, &target, NULL));
    CHECK_SPAN(atlas_buf_span(&target), ATLAS_LIT("a/target"));
    CHECK_ERR(atlas_file_read_link(ATLAS_FILE_CWD, in(&f, "file"), where, &target, NULL), ATLAS_E_CHANGED);
    CHECK_ERR(atlas_file_read_link(ATLAS_FILE_CWD, in(&f, "none"), where, &target, NULL), ATLAS_E_NOT_FOUND);
    CHECK_OK(atlas_file_stat(ATLAS_FILE_CWD, in(&f, "link"), false, where, &id, NULL));
    CHECK(id.type == ATLAS_FILE_LINK);
    CHECK_ERR(atlas_file_stat(ATLAS_FILE_CWD, in(&f, "link"), true, where, &id, NULL), ATLAS_E_NOT_FOUND);
    atlas_buf_release(&target);
    folder_remove(&f);
}
