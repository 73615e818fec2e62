/*
 * test_clock.c - base/clock: the calendar, compared with the C library's
 */
#include "unit.h"

#include "base/clock.h"
#include "base/compiler.h"

#include <stdbool.h>
#include <time.h>

static void
expect_same(int64_t ms)
{
    struct clock_utc t = clock_utc_of(ms);
    time_t s = (time_t)(ms / 1000);
    struct tm want;
    assert_non_null(gmtime_r(&s, &want));
    assert_int_equal(t.year, want.tm_year + 1900);
    assert_int_equal(t.month, want.tm_mon + 1);
    assert_int_equal(t.day, want.tm_mday);
    assert_int_equal(t.hour, want.tm_hour);
    assert_int_equal(t.minute, want.tm_min);
    assert_int_equal(t.second, want.tm_sec);
    assert_int_equal(t.ms, ms % 1000);
}

static void
test_every_day_of_centuries(void **state UNUSED)
{
    const int64_t day = 86400000;
    for (int64_t d = 0; d < 250000; d++) { /* to 2654 */
        expect_same(d * day);
        expect_same(d * day + day - 1);
    }
}

static void
test_moments_of_a_day(void **state UNUSED)
{
    for (int64_t ms = 0; ms < 86400000; ms += 7919) {
        expect_same(1779805862123 + ms);
    }
}

static void
expect_now(bool common)
{
    char got[CLOCK_STAMP_SIZE], want[CLOCK_STAMP_SIZE];
    const char *behind = common ? "+0000" : "dddZ";
    time_t before, after;
    do { /* within one second */
        before = time(NULL);
        if (common) {
            clock_common(got);
        }
        else {
            clock_stamp(got);
        }
        after = time(NULL);
    } while (before != after);
    struct tm t;
    assert_non_null(gmtime_r(&before, &t));
    size_t n = common ? strftime(want, sizeof(want), "%d/%b/%Y:%H:%M:%S ", &t)
                      : strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.", &t);
    assert_memory_equal(got, want, n);
    for (size_t i = 0; i <= strlen(behind); i++) { /* "d" is any digit */
        assert_true(behind[i] == 'd' ? got[n + i] >= '0' && got[n + i] <= '9'
                                     : got[n + i] == behind[i]);
    }
}

static void
test_stamps_are_now(void **state UNUSED)
{
    expect_now(false);
    expect_now(true);
}

static void
test_microseconds_are_of_the_same_clock(void **state UNUSED)
{
    int64_t a = clock_ms(), b = clock_us(), c = clock_ms();
    assert_true(a * 1000 <= b && b <= (c + 1) * 1000);
}

static void
test_due_once(void **state UNUSED)
{
    _Atomic(int64_t) due = 0;

    assert_true(clock_is_due(&due, 3600000));
    assert_false(clock_is_due(&due, 3600000));
    atomic_store(&due, clock_ms());
    assert_true(clock_is_due(&due, 0));
    assert_true(clock_is_due(&due, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_day_of_centuries),
        cmocka_unit_test(test_moments_of_a_day),
        cmocka_unit_test(test_stamps_are_now),
        cmocka_unit_test(test_microseconds_are_of_the_same_clock),
        cmocka_unit_test(test_due_once),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
