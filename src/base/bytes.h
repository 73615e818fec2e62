/*
 * bytes.h - short byte strings: loaded as words, and compared
 *
 * What:      memcmp() for equality, inline for short strings: a small request
 *            compares some hundred names and values of 5 to 30 bytes.
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

/* Loads size bytes, 4 or 8. */
ALWAYS_INLINE uint64_t
bytes_word(const char *from, size_t size)
{
    uint64_t w = 0;

    memcpy(&w, from, size);
    return w;
}

/* Compares words from both ends; they overlap unless n is a multiple of 4 or
 * 8.  */
ALWAYS_INLINE bool
bytes_equal(const char *a, const char *b, size_t n)
{
    if (n > 32) {
        return memcmp(a, b, n) == 0;
    }
    const char *a_end = a + n, *b_end = b + n;
    if (n > 16) {
        return bytes_word(a, 8) == bytes_word(b, 8) &&
               bytes_word(a + 8, 8) == bytes_word(b + 8, 8) &&
               bytes_word(a_end - 16, 8) == bytes_word(b_end - 16, 8) &&
               bytes_word(a_end - 8, 8) == bytes_word(b_end - 8, 8);
    }
    if (n >= 8) {
        return bytes_word(a, 8) == bytes_word(b, 8) &&
               bytes_word(a_end - 8, 8) == bytes_word(b_end - 8, 8);
    }
    if (n >= 4) {
        return bytes_word(a, 4) == bytes_word(b, 4) &&
               bytes_word(a_end - 4, 4) == bytes_word(b_end - 4, 4);
    }
    return n == 0 ||
           (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

#endif
