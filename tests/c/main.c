#include "test.h"

struct test *test_list;
bool test_failed;

int main(int argc, char **argv)
{
    unsigned run = 0;
    unsigned failed = 0;
    for (const struct test *t = test_list; t != NULL; t = t->next) {
        if (argc > 1 && strstr(t->name, argv[1]) == NULL) {
            continue;
        }
        test_failed = false;
        t->run();
        run++;
        failed += test_failed;
        if (test_failed) {
            printf("not ok %s\n", t->name);
        }
    }
    printf("%u tests, %u failed\n", run, failed);
    return run == 0 || failed != 0;
}
