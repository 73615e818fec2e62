/*
 * clock.h - the monotonic clock in milliseconds
 *
 * What:      time for deadlines; never wall-clock time.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Exact to the millisecond. */
int64_t clock_ms(void);

/* A few milliseconds coarse, but without a system call or counter read. */
int64_t clock_coarse_ms(void);

#endif
