/*
 * clock.h - the monotonic clock, and the time of day for logs
 *
 * What:      monotonic time for deadlines and durations; the time of day only
 *            for what is written into a log.
 * Threads:   any. clock_utc() takes no lock, unlike gmtime_r(): a forked child
 *            may call it.                                        GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The monotonic clock, in milliseconds. */
int64_t clock_ms(void);

/* The same clock in microseconds. */
int64_t clock_us(void);

/* The same clock, up to 10 ms behind, but cheap: it reads no counter. */
int64_t clock_coarse_ms(void);

/* True at most once in every_ms, whichever thread asks: for log lines that
 * clients could repeat. *due_ms is 0 at first. */
bool clock_is_due(_Atomic(int64_t) *due_ms, int64_t every_ms);

/* A date and time of day, in UTC. */
struct clock_utc {
    int year;
    unsigned month, day; /* from 1 */
    unsigned hour, minute, second, ms;
};

struct clock_utc clock_utc(void);

/* The same for a number of ms since 1970, which must not be negative. */
struct clock_utc clock_utc_of(int64_t ms);

/* "2026-11-26T07:31:02.123Z" (RFC 3339). */
#define CLOCK_STAMP_SIZE 32
void clock_stamp(char to[CLOCK_STAMP_SIZE]);

/* "26/Nov/2026:07:31:02 +0000" (web servers' Common Log Format). */
void clock_common(char to[CLOCK_STAMP_SIZE]);

#endif
