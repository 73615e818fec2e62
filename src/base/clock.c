/*
 * clock.c - the monotonic clock, and the time of day for logs
 */
#include "base/clock.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

static struct timespec
read_clock(clockid_t id)
{
    struct timespec t;
    int r = clock_gettime(id, &t);

    assert(r == 0); /* Linux has all clocks that are asked for here */
    (void)r;
    return t;
}

static int64_t
to_ms(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t
clock_ms(void)
{
    return to_ms(read_clock(CLOCK_MONOTONIC));
}

int64_t
clock_us(void)
{
    struct timespec t = read_clock(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
clock_coarse_ms(void)
{
    return to_ms(read_clock(CLOCK_MONOTONIC_COARSE));
}

bool
clock_is_due(_Atomic(int64_t) *due_ms, int64_t every_ms)
{
    int64_t now = clock_ms();
    int64_t due = atomic_load_explicit(due_ms, memory_order_relaxed);

    return now >= due &&
           atomic_compare_exchange_strong(due_ms, &due, now + every_ms);
}

/* The years start in March here: a leap day is then the last day of a year, and
 * the months follow one rule, 153 days for each five of them. */
struct clock_utc
clock_utc_of(int64_t ms)
{
    enum {
        ERA_DAYS = 146097,
        DAYS_TO_1970 = 719468
    }; /* 400 years; 0000-03-01 */
    int64_t days = ms / 86400000 + DAYS_TO_1970;
    unsigned of_day = (unsigned)(ms % 86400000);
    assert(ms >= 0);
    unsigned d = (unsigned)(days % ERA_DAYS);
    unsigned year = (d - d / 1460 + d / 36524 - d / 146096) / 365;

    d -= year * 365 + year / 4 - year / 100;
    unsigned m = (5 * d + 2) / 153; /* 0 = March */
    assert(d < 366 && m < 12);
    return (struct clock_utc){
        .year = (int)(days / ERA_DAYS * 400) + (int)year + (m >= 10),
        .month = m < 10 ? m + 3 : m - 9,
        .day = d - (153 * m + 2) / 5 + 1,
        .hour = of_day / 3600000,
        .minute = of_day / 60000 % 60,
        .second = of_day / 1000 % 60,
        .ms = of_day % 1000,
    };
}

struct clock_utc
clock_utc(void)
{
    int64_t ms = to_ms(read_clock(CLOCK_REALTIME));

    return clock_utc_of(ms > 0 ? ms : 0);
}

/* Writes that number of digits and returns their end. Not with stdio, since the
 * access log needs a time for each request. */
static char *
put(char *to, unsigned value, unsigned digits)
{
    for (char *p = to + digits; p > to; value /= 10) {
        *--p = (char)('0' + value % 10);
    }
    assert(value == 0);
    return to + digits;
}

static char *
put_day_time(char *to, const struct clock_utc *t)
{
    to = put(to, t->hour, 2);
    *to++ = ':';
    to = put(to, t->minute, 2);
    *to++ = ':';
    return put(to, t->second, 2);
}

void
clock_stamp(char to[CLOCK_STAMP_SIZE])
{
    struct clock_utc t = clock_utc();

    to = put(to, (unsigned)t.year, 4);
    *to++ = '-';
    to = put(to, t.month, 2);
    *to++ = '-';
    to = put(to, t.day, 2);
    *to++ = 'T';
    to = put_day_time(to, &t);
    *to++ = '.';
    to = put(to, t.ms, 3);
    memcpy(to, "Z", 2);
}

void
clock_common(char to[CLOCK_STAMP_SIZE])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct clock_utc t = clock_utc();
    const size_t month = (size_t)3 * (t.month - 1);

    to = put(to, t.day, 2);
    *to++ = '/';
    memcpy(to, months + month, 3);
    to[3] = '/';
    to = put(to + 4, (unsigned)t.year, 4);
    *to++ = ':';
    memcpy(put_day_time(to, &t), " +0000", sizeof " +0000");
}
