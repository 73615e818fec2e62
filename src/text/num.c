/*
 * num.c - parses numbers, sizes and times strictly; writes numbers
 */
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static size_t
count_digits(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] >= '0' && s[i] <= '9') {
        i++;
    }
    return i;
}

int
num_parse(const char *s, size_t n, uint64_t max, uint64_t *ret_value)
{
    /* Form first: "99...9x" is not a number, rather than too large. */
    if (n == 0 || count_digits(s, n) != n) {
        return -EINVAL;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(s[i] - '0');
        if (value > max / 10 || digit > max || value * 10 > max - digit) {
            return -ERANGE;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return 0;
}

int
num_parse_size(const char *s, uint64_t *ret_bytes)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"", 0}, {"K", 10}, {"M", 20}, {"G", 30}};

    size_t digits = count_digits(s, strlen(s));
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcasecmp(s + digits, units[i].suffix) != 0) {
            continue;
        }
        uint64_t value;
        int r = num_parse(s, digits, UINT64_MAX >> units[i].shift, &value);
        if (r == 0) {
            *ret_bytes = value << units[i].shift;
        }
        return r;
    }
    return -EINVAL;
}

int
num_parse_time(const char *s, int64_t *ret_ms)
{
    static const struct {
        const char *suffix;
        int64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}};

    size_t digits = count_digits(s, strlen(s));
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(s + digits, units[i].suffix) != 0) {
            continue;
        }
        uint64_t value;
        uint64_t max = (uint64_t)(INT64_MAX / units[i].ms);
        int r = num_parse(s, digits, max, &value);
        if (r == 0) {
            *ret_ms = (int64_t)value * units[i].ms;
        }
        return r;
    }
    return -EINVAL;
}

void
num_size_text(uint64_t bytes, char to[NUM_SIZE_TEXT_SIZE])
{
    static const char *const units[] = {" bytes", " KiB", " MiB", " GiB"};
    size_t i = 0;

    while (i + 1 < ARRAY_SIZE(units) && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    (void)snprintf(to, NUM_SIZE_TEXT_SIZE, "%" PRIu64 "%s", bytes, units[i]);
}

const char *
num_text(uint64_t value, char to[NUM_TEXT_SIZE], size_t *ret_n)
{
    char *end = &to[NUM_TEXT_SIZE - 1], *p = end;

    *p = '\0';
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    assert(p >= to);
    *ret_n = (size_t)(end - p);
    return p;
}
