/*
 * test.h - the whole test harness. One binary per test_*.c:
 *
 *     TEST(cursor_refuses_trailing_bytes) { CHECK(...); CHECK_ERR(rc, ATLAS_E_CBOR); }
 *
 * A failed check prints its place and ends the test, not the binary. Exit status: 0 all passed, 1 some failed, 77 the
 * vectors are not there. An argument runs only the tests whose name contains it.
 */
#ifndef ATLAS_TEST_H
#define ATLAS_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

extern struct test *test_list;
extern bool test_failed;

#define TEST(name)                                                      \
    static void name(void);                                             \
    __attribute__((constructor)) static void register_##name(void)      \
    {                                                                   \
        static struct test self = {#name, name, NULL};                  \
        self.next = test_list;                                          \
        test_list = &self;                                              \
    }                                                                   \
    static void name(void)

#define TEST_FAIL(...)                                \
    do {                                              \
        printf("    %s:%d: ", __FILE__, __LINE__);    \
        printf(__VA_ARGS__);                          \
        putchar('\n');                                \
        test_failed = true;                           \
        return;                                       \
    } while (0)

#define CHECK(condition)                       \
    do {                                       \
        if (!(condition)) {                    \
            TEST_FAIL("not so: %s", #condition); \
        }                                      \
    } while (0)

#define CHECK_ERR(expression, code)                                                                     \
    do {                                                                                                \
        int check_rc = (expression);                                                                    \
        if (check_rc != (code)) {                                                                       \
            TEST_FAIL("%s is %s, not %s", #expression, atlas_err_name(check_rc), atlas_err_name(code)); \
        }                                                                                               \
    } while (0)

#define CHECK_OK(expression) CHECK_ERR(expression, ATLAS_OK)
#define CHECK_SPAN(a, b) CHECK(atlas_span_equal(a, b))

#endif
