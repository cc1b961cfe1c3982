#include "port/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

unsigned atlas_pool_threads(unsigned wanted)
{
    if (wanted == 0) {
        cpu_set_t set;
        /* Fails on machines with more CPUs than the set holds: those have the maximum anyway. */
        wanted = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : ATLAS_MAX_THREADS;
    }
    if (wanted < 1) {
        return 1;
    }
    return wanted < ATLAS_MAX_THREADS ? wanted : ATLAS_MAX_THREADS;
}

/* --------------------------------------------------------------------------------------------------- run */

struct worker {
    void (*body)(void *context, unsigned worker);
    void *context;
    unsigned number;
    pthread_t thread;
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    w->body(w->context, w->number);
    return NULL;
}

/* All but those that say this thread itself went wrong: they must reach the process' crash handler. */
static void worker_mask(sigset_t *ret_mask)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(ret_mask);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        sigdelset(ret_mask, own[i]);
    }
}

void atlas_pool_run(unsigned threads, void (*body)(void *context, unsigned worker), void *context)
{
    struct worker workers[ATLAS_MAX_THREADS];
    unsigned started = 1; /* the caller */
    sigset_t mask;
    sigset_t before;
    threads = atlas_pool_threads(threads != 0 ? threads : 1);
    if (threads > 1) {
        worker_mask(&mask);
        bool masked = pthread_sigmask(SIG_SETMASK, &mask, &before) == 0;
        for (; started < threads; started++) {
            struct worker *w = &workers[started];
            *w = (struct worker){.body = body, .context = context, .number = started};
            if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
                break;
            }
        }
        if (masked) {
            pthread_sigmask(SIG_SETMASK, &before, NULL);
        }
    }
    body(context, 0);
    for (unsigned i = 1; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
    }
}

/* --------------------------------------------------------------------------------------------------- for */

struct loop {
    atlas_pool_item item;
    void *context;
    uint64_t n;
    atomic_uint_fast64_t next;
    atomic_bool stop;
    pthread_mutex_t lock; /* of what follows */
    int rc;
    uint64_t failed_at;
    struct atlas_error failure;
};

static void loop_fail(struct loop *l, uint64_t i, int rc, const struct atlas_error *failure)
{
    pthread_mutex_lock(&l->lock);
    if (l->rc == ATLAS_OK || i < l->failed_at) {
        l->rc = rc;
        l->failed_at = i;
        l->failure = *failure;
    }
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->stop, true);
}

static void loop_body(void *context, unsigned worker)
{
    struct loop *l = context;
    while (!atomic_load(&l->stop)) {
        /* Items are handed out in order: when one fails, all before it were started and will report. */
        uint64_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->n) {
            return;
        }
        struct atlas_error failure = ATLAS_ERROR_INIT;
        int rc = l->item(l->context, worker, i, &failure);
        if (rc < 0) {
            loop_fail(l, i, rc, &failure);
        }
    }
}

int atlas_pool_for(unsigned threads, uint64_t n, atlas_pool_item item, void *context, struct atlas_error *error)
{
    struct loop l = {.item = item, .context = context, .n = n, .rc = ATLAS_OK, .failure = ATLAS_ERROR_INIT};
    atomic_init(&l.next, 0);
    atomic_init(&l.stop, false);
    if (pthread_mutex_init(&l.lock, NULL) != 0) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "threads", "out of memory");
    }
    atlas_pool_run(n < threads ? (unsigned)n : threads, loop_body, &l);
    pthread_mutex_destroy(&l.lock);
    if (l.rc < 0 && error != NULL && error->code == ATLAS_OK) {
        *error = l.failure;
    }
    return l.rc;
}

/* ----------------------------------------------------------------------------------------------- monitor */

struct atlas_monitor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

int atlas_monitor_new(struct atlas_monitor **ret_monitor, struct atlas_error *error)
{
    struct atlas_monitor *m = malloc(sizeof *m);
    if (m == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "threads", "out of memory");
    }
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return atlas_error_set(error, ATLAS_E_NOMEM, "threads", "out of memory");
    }
    if (pthread_cond_init(&m->changed, NULL) != 0) {
        pthread_mutex_destroy(&m->lock);
        free(m);
        return atlas_error_set(error, ATLAS_E_NOMEM, "threads", "out of memory");
    }
    *ret_monitor = m;
    return ATLAS_OK;
}

void atlas_monitor_free(struct atlas_monitor *m)
{
    if (m != NULL) {
        pthread_cond_destroy(&m->changed);
        pthread_mutex_destroy(&m->lock);
        free(m);
    }
}

void atlas_monitor_enter(struct atlas_monitor *m)
{
    pthread_mutex_lock(&m->lock);
}

void atlas_monitor_leave(struct atlas_monitor *m)
{
    pthread_mutex_unlock(&m->lock);
}

void atlas_monitor_wait(struct atlas_monitor *m)
{
    pthread_cond_wait(&m->changed, &m->lock);
}

void atlas_monitor_wake(struct atlas_monitor *m)
{
    pthread_cond_broadcast(&m->changed);
}

/* -------------------------------------------------------------------------------------------------- fork */

/* Process-wide as fork itself is. Readers are those who hold; the forking thread is the writer. glibc prefers readers,
 * so holding again never waits. */
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t gate_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_rwlock_wrlock(&gate);
}

static void after_fork(void)
{
    pthread_rwlock_unlock(&gate);
}

/* The lock remembers its owner by a thread id that the child no longer has. */
static void in_child(void)
{
    gate = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
}

static void set_gate(void)
{
    pthread_atfork(before_fork, after_fork, in_child);
}

void atlas_fork_hold(void)
{
    pthread_once(&gate_once, set_gate);
    pthread_rwlock_rdlock(&gate);
}

void atlas_fork_allow(void)
{
    pthread_rwlock_unlock(&gate);
}

/* ------------------------------------------------------------------------------------- clock and process */

uint64_t atlas_pool_clock(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t atlas_pool_process(void)
{
    return getpid();
}
