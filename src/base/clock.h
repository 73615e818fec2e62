/*
 * clock.h - the monotonic clock, and the time of day for logs
 *
 * What:      monotonic time for deadlines and durations; the wall clock only to be
 *            written down.
 * Threads:   any; clock_utc() also in a forked child, since it takes no lock (the
 *            C library's gmtime_r() does).                        GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Exact to the millisecond. */
int64_t clock_ms(void);

/* The same clock in microseconds. */
int64_t clock_us(void);

/* A few milliseconds coarse, but without a system call or counter read. */
int64_t clock_coarse_ms(void);

/* A moment as the calendar has it, UTC. */
struct clock_utc {
    int year;
    unsigned month, day; /* from 1 */
    unsigned hour, minute, second, ms;
};

struct clock_utc clock_utc(void);

/* The same of a time in ms since 1970, which is not negative. */
struct clock_utc clock_utc_of(int64_t ms);

/* "2026-11-26T07:31:02.123Z" (RFC 3339). */
#define CLOCK_STAMP_SIZE 32
void clock_stamp(char to[CLOCK_STAMP_SIZE]);

/* "26/Nov/2026:07:31:02 +0000" (web servers' Common Log Format). */
void clock_common(char to[CLOCK_STAMP_SIZE]);

#endif
