/* test_pool.c - threads for one call: every item once, the same error for every number of threads. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port/pool.h"
#include "test.h"

#define ITEMS 2000

struct tally {
    atomic_uint seen[ITEMS];
    atomic_uint workers[ATLAS_MAX_THREADS];
    uint64_t fails[2]; /* items that fail */
};

static int count(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct tally *t = context;
    atomic_fetch_add(&t->seen[i], 1);
    atomic_fetch_add(&t->workers[worker], 1);
    for (size_t k = 0; k < 2; k++) {
        if (i + 1 == t->fails[k]) {
            return atlas_error_set(error, ATLAS_E_IO, "item", "%u", (unsigned)i);
        }
    }
    return ATLAS_OK;
}

TEST(every_item_is_done_exactly_once)
{
    static const uint64_t sizes[] = {0, 1, 2, 3, 63, ITEMS};
    static struct tally t;
    for (unsigned threads = 0; threads <= 8; threads++) {
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            memset(&t, 0, sizeof t);
            CHECK_OK(atlas_pool_for(threads, sizes[k], count, &t, NULL));
            for (size_t i = 0; i < ITEMS; i++) {
                CHECK(atomic_load(&t.seen[i]) == (i < sizes[k]));
            }
            for (unsigned w = threads > 1 ? threads : 1; w < ATLAS_MAX_THREADS; w++) {
                CHECK(atomic_load(&t.workers[w]) == 0);
            }
        }
    }
}

/* Under ThreadSanitizer one thread can be held up for as long as the others take for everything. */
static bool is_slow(void)
{
    return getenv("ATLAS_TEST_SLOW_MACHINE") != NULL;
}

TEST(the_error_is_the_one_of_the_lowest_item_that_fails)
{
    static struct tally t;
    for (unsigned threads = 1; threads <= 8; threads++) {
        for (int round = 0; round < 20; round++) {
            struct atlas_error error = ATLAS_ERROR_INIT;
            memset(&t, 0, sizeof t);
            t.fails[0] = 1 + 700;
            t.fails[1] = 1 + 701;
            CHECK_ERR(atlas_pool_for(threads, ITEMS, count, &t, &error), ATLAS_E_IO);
            CHECK(strcmp(error.text, "700") == 0);
            CHECK(atomic_load(&t.seen[ITEMS - 1]) == 0 || (threads > 1 && is_slow()));
        }
    }
}

TEST(an_error_that_is_already_there_stays)
{
    static struct tally t;
    struct atlas_error error = ATLAS_ERROR_INIT;
    atlas_error_set(&error, ATLAS_E_ARG, "first", "first");
    t.fails[0] = 1;
    CHECK_ERR(atlas_pool_for(2, 5, count, &t, &error), ATLAS_E_IO);
    CHECK(error.code == ATLAS_E_ARG);
}

static int wait_for_a_disk(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    usleep(500);
    return count(context, worker, i, error);
}

static unsigned workers_of(struct tally *t)
{
    unsigned n = 0;
    for (size_t i = 0; i < ATLAS_MAX_THREADS; i++) {
        n += atomic_load(&t->workers[i]) != 0;
    }
    return n;
}

TEST(items_that_wait_get_more_threads_and_others_do_not)
{
    static struct tally t;
    CHECK_OK(atlas_pool_for_deep(2, 8, ITEMS, count, &t, NULL));
    CHECK(workers_of(&t) <= 2 || is_slow());
    for (unsigned threads = 0; threads <= 3; threads++) {
        memset(&t, 0, sizeof t);
        CHECK_OK(atlas_pool_for_deep(threads, 8, 200, wait_for_a_disk, &t, NULL));
        CHECK(workers_of(&t) == 8);
        for (size_t i = 0; i < ITEMS; i++) {
            CHECK(atomic_load(&t.seen[i]) == (i < 200));
        }
    }
    memset(&t, 0, sizeof t);
    t.fails[0] = 1 + 100;
    CHECK_ERR(atlas_pool_for_deep(1, 8, ITEMS, wait_for_a_disk, &t, NULL), ATLAS_E_IO);
    CHECK(atlas_pool_depth(3) == 3 && atlas_pool_depth(0) >= atlas_pool_threads(0));
}

static void note_worker(void *context, unsigned worker)
{
    atomic_uint *workers = context;
    atomic_fetch_add(&workers[worker], 1);
}

TEST(the_caller_is_worker_zero_and_the_number_of_threads_is_bounded)
{
    static atomic_uint workers[ATLAS_MAX_THREADS];
    atlas_pool_run(100000, note_worker, workers);
    CHECK(atomic_load(&workers[0]) == 1);
    for (size_t i = 0; i < ATLAS_MAX_THREADS; i++) {
        CHECK(atomic_load(&workers[i]) == 1);
    }
    CHECK(atlas_pool_threads(0) >= 1 && atlas_pool_threads(0) <= ATLAS_MAX_THREADS);
    CHECK(atlas_pool_threads(1) == 1 && atlas_pool_threads(1000) == ATLAS_MAX_THREADS);
}

static atomic_int signals_elsewhere;
static int64_t main_thread;

static void on_signal(int number)
{
    (void)number;
    if (gettid() != main_thread) {
        atomic_fetch_add(&signals_elsewhere, 1);
    }
}

static void wait_a_moment(void *context, unsigned worker)
{
    (void)context;
    if (worker == 1) {
        kill(getpid(), SIGUSR1);
    }
    for (volatile int i = 0; i < 1000000; i++) {
    }
}

TEST(signals_from_outside_are_handled_by_the_caller)
{
    struct sigaction action = {.sa_handler = on_signal};
    main_thread = gettid();
    sigaction(SIGUSR1, &action, NULL);
    for (int round = 0; round < 20; round++) {
        atlas_pool_run(4, wait_a_moment, NULL);
    }
    signal(SIGUSR1, SIG_DFL);
    CHECK(atomic_load(&signals_elsewhere) == 0);
}

TEST(a_forked_child_can_use_threads_too)
{
    static struct tally t;
    CHECK_OK(atlas_pool_for(4, ITEMS, count, &t, NULL));
    int64_t parent = atlas_pool_process();
    pid_t child = fork();
    if (child == 0) {
        bool good = atlas_pool_process() != parent && atlas_pool_for(4, ITEMS, count, &t, NULL) == ATLAS_OK;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(atlas_pool_process() == parent);
}

/* A baton that goes round: each thread waits for its turn. */
struct ring {
    struct atlas_monitor *monitor;
    unsigned turn;
    unsigned laps;
};

static void pass(void *context, unsigned worker)
{
    struct ring *r = context;
    for (unsigned lap = 0; lap < 200; lap++) {
        atlas_monitor_enter(r->monitor);
        while (r->turn != worker) {
            atlas_monitor_wait(r->monitor);
        }
        r->turn = (worker + 1) % 4;
        r->laps++;
        atlas_monitor_wake(r->monitor);
        atlas_monitor_leave(r->monitor);
    }
}

TEST(a_monitor_keeps_threads_in_order)
{
    struct ring r = {0};
    CHECK_OK(atlas_monitor_new(&r.monitor, NULL));
    atlas_pool_run(4, pass, &r);
    CHECK(r.laps == 800);
    atlas_monitor_free(r.monitor);
    atlas_monitor_free(NULL);
}

TEST(the_clock_goes_forward)
{
    uint64_t before = atlas_pool_clock();
    usleep(5000);
    uint64_t after = atlas_pool_clock();
    CHECK(after >= before + 4 && after < before + 60000);
}
