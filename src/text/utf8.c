/*
 * utf8.c - finds the characters of UTF-8 text
 */
#include "text/utf8.h"

#include <assert.h>
#include <stdint.h>

size_t
utf8_char(const char *s, size_t n)
{
    unsigned char c = (unsigned char)s[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    assert(n > 0);
    if (c > 0xf4 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    unsigned char d = len > 2 ? (unsigned char)s[1] : 0;
    /* The second byte shows overlong forms, surrogates and > U+10FFFF. */
    if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) ||
        (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f)) {
        return 0;
    }
    return len;
}

size_t
utf8_whole(const char *s, size_t n)
{
    size_t tail = 0; /* continuation bytes at the end */

    while (tail < 3 && tail < n &&
           ((unsigned char)s[n - 1 - tail] & 0xc0) == 0x80) {
        tail++;
    }
    if (tail == n) {
        return n;
    }
    unsigned char lead = (unsigned char)s[n - 1 - tail];
    size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    return wanted > tail ? n - 1 - tail : n;
}
