/*
 * bytes.h - comparing a few bytes
 *
 * What:      memcmp() for equality, without a call where there are few: a small
 *            request compares some hundred names and values of 5 to 30 bytes.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

ALWAYS_INLINE bool
bytes_differ_8(const char *a, const char *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x != y;
}

ALWAYS_INLINE bool
bytes_differ_4(const char *a, const char *b)
{
    uint32_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x != y;
}

/* Words from both ends, which overlap where the bytes are no whole number. */
ALWAYS_INLINE bool
bytes_equal(const char *a, const char *b, size_t n)
{
    if (n > 32) {
        return memcmp(a, b, n) == 0;
    }
    if (n > 16) {
        return !bytes_differ_8(a, b) && !bytes_differ_8(a + 8, b + 8) &&
               !bytes_differ_8(a + n - 16, b + n - 16) &&
               !bytes_differ_8(a + n - 8, b + n - 8);
    }
    if (n >= 8) {
        return !bytes_differ_8(a, b) && !bytes_differ_8(a + n - 8, b + n - 8);
    }
    if (n >= 4) {
        return !bytes_differ_4(a, b) && !bytes_differ_4(a + n - 4, b + n - 4);
    }
    return n == 0 ||
           (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

#endif
