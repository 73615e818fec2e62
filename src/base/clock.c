/*
 * clock.c - the monotonic clock in milliseconds
 */
#include "base/clock.h"

#include <time.h>

static int64_t
read_clock(clockid_t id)
{
    struct timespec t;
    /* Cannot fail with these clocks and a valid pointer. */
    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t
clock_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
clock_coarse_ms(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}
