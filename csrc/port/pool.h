/*
 * pool.h - threads that live for one call. All of <pthread.h> and the clock are here.
 *
 * No thread survives the call that started it, so a fork between calls finds nothing to break. A thread that cannot be
 * started is done without: the caller always works too. Workers block signals from outside; handlers run where they did
 * before.
 */
#ifndef ATLAS_PORT_POOL_H
#define ATLAS_PORT_POOL_H

#include "base/error.h"

#define ATLAS_MAX_THREADS 64

/* How many threads to use: `wanted`, or one per CPU that this process may run on for 0; never above the maximum. */
unsigned atlas_pool_threads(unsigned wanted);

/* How many threads to use at most when they wait for a disk: as many as keep it busy, however few the cores are, unless
 * the number was given. */
unsigned atlas_pool_depth(unsigned wanted);

/* Run body(context, worker) once on the caller, as worker 0, and on up to threads - 1 more; returns when all are
 * done. */
void atlas_pool_run(unsigned threads, void (*body)(void *context, unsigned worker), void *context);

/* The same, and then up to `depth` in all, one for each atlas_pool_more() that a body calls. */
struct atlas_pool;
void atlas_pool_run_deep(unsigned threads, unsigned depth,
                         void (*body)(void *context, unsigned worker, struct atlas_pool *pool), void *context);
void atlas_pool_more(struct atlas_pool *pool);

/* How often this thread had to wait so far: for a disk, for a lock. */
uint64_t atlas_pool_sleeps(void);

/* Call item(context, worker, i, error) for every i below n, in any order, on up to `threads` threads. After the first
 * failure no further item is started; the error returned is the one of the lowest failing i, so it does not depend on
 * the number of threads. */
typedef int (*atlas_pool_item)(void *context, unsigned worker, uint64_t i, struct atlas_error *error);
int atlas_pool_for(unsigned threads, uint64_t n, atlas_pool_item item, void *context,
                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for items that may wait for a disk: as often as one did, another thread starts, up to `depth`. While nothing
 * waits, more threads than cores would only be in each other's way. */
int atlas_pool_for_deep(unsigned threads, unsigned depth, uint64_t n, atlas_pool_item item, void *context,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* A mutex and its condition. */
struct atlas_monitor;

int atlas_monitor_new(struct atlas_monitor **ret_monitor, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_monitor_free(struct atlas_monitor *m);
void atlas_monitor_enter(struct atlas_monitor *m);
void atlas_monitor_leave(struct atlas_monitor *m);
void atlas_monitor_wait(struct atlas_monitor *m);   /* inside: sleep until somebody wakes */
void atlas_monitor_wake(struct atlas_monitor *m);   /* inside: wake all */

/* libcrypto keeps locks of its own and has no way to make them safe for a fork: a child that is forked while another
 * thread holds one waits for it for ever. Between hold and allow no fork happens: it waits. Holding again is allowed;
 * keep it short, and call nothing that waits for the thread that may be forking (under Python: for the GIL). */
void atlas_fork_hold(void);
void atlas_fork_allow(void);

/* Milliseconds of a clock that never goes back. */
uint64_t atlas_pool_clock(void);

/* Which process this is: tells a forked child from its parent. */
int64_t atlas_pool_process(void);

#endif
