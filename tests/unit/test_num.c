/*
 * test_num.c - text/num: whole strings only, exact limits, result untouched
 *              on failure
 */
#include "unit.h"

#include "text/num.h"

#include <errno.h>

#define UNTOUCHED 4711

static void
test_digits(void **state UNUSED)
{
    static const struct {
        const char *text;
        uint64_t max;
        int result;
        uint64_t value;
    } cases[] = {
        {"0", 10, 0, 0},
        {"9", 10, 0, 9},
        {"10", 10, 0, 10},
        {"11", 10, -ERANGE, 0},
        {"0000000000000000000000000010", 10, 0, 10},
        {"0", 0, 0, 0},
        {"1", 0, -ERANGE, 0},
        {"9", 8, -ERANGE, 0},
        {"65535", 65535, 0, 65535},
        {"65536", 65535, -ERANGE, 0},
        {"18446744073709551614", UINT64_MAX, 0, UINT64_MAX - 1},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
        {"99999999999999999999", UINT64_MAX, -ERANGE, 0},
        {"9223372036854775808", INT64_MAX, -ERANGE, 0},
        {"", 10, -EINVAL, 0},
        {" 5", 10, -EINVAL, 0},
        {"5 ", 10, -EINVAL, 0},
        {"+5", 10, -EINVAL, 0},
        {"-1", 10, -EINVAL, 0},
        {"5abc", 10, -EINVAL, 0},
        {"0x5", 10, -EINVAL, 0},
        {"5.0", 10, -EINVAL, 0},
        {"99999999999999999999x", 10, -EINVAL, 0},
        {"\xd9\xa5", 10, -EINVAL, 0}, /* a digit, but not of ASCII */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t value = UNTOUCHED;
        int r = num_parse(cases[i].text, strlen(cases[i].text), cases[i].max,
                          &value);
        if (r != cases[i].result) {
            fail_msg("\"%s\": %d", cases[i].text, r);
        }
        assert_int_equal(value, r == 0 ? cases[i].value : UNTOUCHED);
    }
}

static void
test_digits_end_at_n(void **state UNUSED)
{
    uint64_t value = UNTOUCHED;
    assert_int_equal(num_parse("123x", 3, 1000, &value), 0);
    assert_int_equal(value, 123);
    assert_int_equal(num_parse("1\0002", 3, 1000, &value), -EINVAL);
    assert_int_equal(num_parse("123", 0, 1000, &value), -EINVAL);
}

static void
test_sizes(void **state UNUSED)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"1k", 0, 1024},
        {"3m", 0, 3u << 20},
        {"2g", 0, UINT64_C(2) << 30},
        {"18014398509481983k", 0, UINT64_C(18014398509481983) << 10},
        {"18014398509481984k", -ERANGE, 0},
        {"17592186044415m", 0, UINT64_C(17592186044415) << 20},
        {"17592186044416m", -ERANGE, 0},
        {"17179869183g", 0, UINT64_C(17179869183) << 30},
        {"17179869184g", -ERANGE, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"k", -EINVAL, 0},
        {"1K", 0, 1024},
        {"3M", 0, 3u << 20},
        {"2G", 0, UINT64_C(2) << 30},
        {"17179869184G", -ERANGE, 0},
        {"1Kb", -EINVAL, 0},
        {"1KB", -EINVAL, 0},
        {"1KiB", -EINVAL, 0},
        {"1T", -EINVAL, 0},
        {"1kb", -EINVAL, 0},
        {"1 k", -EINVAL, 0},
        {"1t", -EINVAL, 0},
        {"-1k", -EINVAL, 0},
        {"1.5m", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t bytes = UNTOUCHED;
        int r = num_parse_size(cases[i].text, &bytes);
        if (r != cases[i].result) {
            fail_msg("\"%s\": %d", cases[i].text, r);
        }
        assert_int_equal(bytes, r == 0 ? cases[i].bytes : UNTOUCHED);
    }
}

static void
test_times(void **state UNUSED)
{
    static const struct {
        const char *text;
        int result;
        int64_t ms;
    } cases[] = {
        {"0", 0, 0},
        {"10", 0, 10000},
        {"10s", 0, 10000},
        {"10ms", 0, 10},
        {"10m", 0, 600000},
        {"9223372036854775807ms", 0, INT64_MAX},
        {"9223372036854775808ms", -ERANGE, 0},
        {"9223372036854775s", 0, INT64_C(9223372036854775000)},
        {"9223372036854776s", -ERANGE, 0},
        {"9223372036854776", -ERANGE, 0},
        {"153722867280912m", 0, INT64_C(9223372036854720000)},
        {"153722867280913m", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"ms", -EINVAL, 0},
        {"1h", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1.5s", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1sm", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t ms = UNTOUCHED;
        int r = num_parse_time(cases[i].text, &ms);
        if (r != cases[i].result) {
            fail_msg("\"%s\": %d", cases[i].text, r);
        }
        assert_int_equal(ms, r == 0 ? cases[i].ms : UNTOUCHED);
    }
}

static void
test_text(void **state UNUSED)
{
    static const uint64_t values[] = {
        0, 1, 9, 10, 99, 100, 1234567890, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char room[NUM_TEXT_SIZE], want[NUM_TEXT_SIZE];
        size_t n;
        const char *text = num_text(values[i], room, &n);
        (void)snprintf(want, sizeof(want), "%llu",
                       (unsigned long long)values[i]);
        assert_string_equal(text, want);
        assert_int_equal(n, strlen(want));
    }
}

static void
test_sizes_as_text(void **state UNUSED)
{
    static const struct {
        uint64_t bytes;
        const char *want;
    } cases[] = {{0, "0 bytes"},
                 {1023, "1023 bytes"},
                 {1024, "1 KiB"},
                 {1025, "1025 bytes"},
                 {1536, "1536 bytes"},
                 {300 << 10, "300 KiB"},
                 {1 << 20, "1 MiB"},
                 {(1 << 20) + 1024, "1025 KiB"},
                 {(uint64_t)5 << 30, "5 GiB"},
                 {(uint64_t)5 << 40, "5120 GiB"},
                 {UINT64_MAX, "18446744073709551615 bytes"}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[NUM_SIZE_TEXT_SIZE];
        num_size_text(cases[i].bytes, text);
        assert_string_equal(text, cases[i].want);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_digits_end_at_n),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_sizes_as_text),
    };
    return cmocka_run_group_tests_name("num", tests, NULL, NULL);
}
