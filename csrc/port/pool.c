#include "port/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* So many threads that wait for a disk keep it busy, however few the cores are. */
#define DISK_DEPTH 32u

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

/* What a thread may have open at a time, and some of it is others'. */
#define DESCRIPTORS 8

unsigned atlas_pool_depth(unsigned wanted)
{
    unsigned threads = atlas_pool_threads(wanted);
    struct rlimit limit;
    if (wanted != 0 || threads >= DISK_DEPTH) {
        return threads;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / DESCRIPTORS < DISK_DEPTH) {
        unsigned depth = (unsigned)limit.rlim_cur / DESCRIPTORS;
        return depth > threads ? depth : threads;
    }
    return DISK_DEPTH;
}

/* --------------------------------------------------------------------------------------------------- run */

struct worker {
    struct atlas_pool *pool;
    unsigned number;
    pthread_t thread;
};

struct atlas_pool {
    void (*body)(void *context, unsigned worker, struct atlas_pool *pool);
    void *context;
    bool is_alone; /* it stays the only thread: the lock is not used */
    pthread_mutex_t lock; /* of what follows */
    unsigned depth;
    unsigned started;     /* with the caller */
    struct worker workers[ATLAS_MAX_THREADS];
};

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    w->pool->body(w->pool->context, w->number, w->pool);
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

/* Start threads until so many run, as far as they can be started. */
static void start(struct atlas_pool *pool, unsigned threads)
{
    sigset_t mask;
    sigset_t before;
    worker_mask(&mask);
    bool masked = pthread_sigmask(SIG_SETMASK, &mask, &before) == 0;
    while (pool->started < threads) {
        struct worker *w = &pool->workers[pool->started];
        *w = (struct worker){.pool = pool, .number = pool->started};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            pool->depth = pool->started; /* there is no room for more */
            break;
        }
        pool->started++;
    }
    if (masked) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

void atlas_pool_more(struct atlas_pool *pool)
{
    if (pool->is_alone) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    if (pool->started < pool->depth) {
        start(pool, pool->started + 1);
    }
    pthread_mutex_unlock(&pool->lock);
}

static unsigned count_started(struct atlas_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    unsigned n = pool->started;
    pthread_mutex_unlock(&pool->lock);
    return n;
}

void atlas_pool_run_deep(unsigned threads, unsigned depth,
                         void (*body)(void *context, unsigned worker, struct atlas_pool *pool), void *context)
{
    struct atlas_pool pool = {.body = body, .context = context, .started = 1};
    threads = atlas_pool_threads(threads != 0 ? threads : 1);
    pool.depth = depth > threads ? atlas_pool_threads(depth) : threads;
    if (pool.depth == 1 || pthread_mutex_init(&pool.lock, NULL) != 0) {
        pool.is_alone = true;
        body(context, 0, &pool);
        return;
    }
    if (threads > 1) {
        pthread_mutex_lock(&pool.lock);
        start(&pool, threads);
        pthread_mutex_unlock(&pool.lock);
    }
    body(context, 0, &pool);
    /* Only one that runs starts another, with a higher number: when all are joined there are no more. */
    for (unsigned i = 1; i < count_started(&pool); i++) {
        pthread_join(pool.workers[i].thread, NULL);
    }
    pthread_mutex_destroy(&pool.lock);
}

struct plain {
    void (*body)(void *context, unsigned worker);
    void *context;
};

static void plain_body(void *context, unsigned worker, struct atlas_pool *pool)
{
    const struct plain *p = context;
    (void)pool;
    p->body(p->context, worker);
}

void atlas_pool_run(unsigned threads, void (*body)(void *context, unsigned worker), void *context)
{
    struct plain plain = {body, context};
    atlas_pool_run_deep(threads, threads, plain_body, &plain);
}

uint64_t atlas_pool_sleeps(void)
{
    struct rusage used;
    return getrusage(RUSAGE_THREAD, &used) == 0 ? (uint64_t)used.ru_nvcsw : 0;
}

/* --------------------------------------------------------------------------------------------------- for */

struct loop {
    atlas_pool_item item;
    void *context;
    uint64_t n;
    bool deep;
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

static void loop_body(void *context, unsigned worker, struct atlas_pool *pool)
{
    struct loop *l = context;
    uint64_t slept = l->deep ? atlas_pool_sleeps() : 0;
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
        if (l->deep) {
            uint64_t before = slept;
            slept = atlas_pool_sleeps();
            if (slept != before) {
                atlas_pool_more(pool);
            }
        }
    }
}

int atlas_pool_for_deep(unsigned threads, unsigned depth, uint64_t n, atlas_pool_item item, void *context,
                        struct atlas_error *error)
{
    struct loop l = {.item = item, .context = context, .n = n, .deep = depth > threads, .rc = ATLAS_OK,
                     .failure = ATLAS_ERROR_INIT};
    atomic_init(&l.next, 0);
    atomic_init(&l.stop, false);
    if (pthread_mutex_init(&l.lock, NULL) != 0) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "threads", "out of memory");
    }
    atlas_pool_run_deep(n < threads ? (unsigned)n : threads, n < depth ? (unsigned)n : depth, loop_body, &l);
    pthread_mutex_destroy(&l.lock);
    if (l.rc < 0 && error != NULL && error->code == ATLAS_OK) {
        *error = l.failure;
    }
    return l.rc;
}

int atlas_pool_for(unsigned threads, uint64_t n, atlas_pool_item item, void *context, struct atlas_error *error)
{
    return atlas_pool_for_deep(threads, threads, n, item, context, error);
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
