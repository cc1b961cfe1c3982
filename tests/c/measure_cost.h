/* measure_cost.h - how much processor time and memory a piece of a test took. */
#ifndef ATLAS_TEST_MEASURE_COST_H
#define ATLAS_TEST_MEASURE_COST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct cost {
    clock_t started;
    long peak_kib;
};

static inline long peak_memory_kib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0;
}

static inline struct cost cost_start(void)
{
    return (struct cost){clock(), peak_memory_kib()};
}

/* Bounds are for a plain build; instrumented ones (sanitizers, valgrind) are given more, and say so. */
static inline bool cost_is_below(const struct cost *cost, double seconds, size_t bytes)
{
    double factor = getenv("ATLAS_TEST_SLOW_MACHINE") != NULL ? 100 : 1;
#if defined(__SANITIZE_ADDRESS__)
    factor *= 10;
#endif
    double used = (double)(clock() - cost->started) / CLOCKS_PER_SEC;
    double grown = (double)(peak_memory_kib() - cost->peak_kib) * 1024;
    if (used > seconds * factor || grown > (double)bytes * factor) {
        printf("    took %.2f s and %.0f MiB\n", used, grown / (1 << 20));
        return false;
    }
    return true;
}

#endif
