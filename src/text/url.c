/*
 * url.c - percent-encoding, and the prefix that Apache puts before a file name
 */
#include "text/url.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
url_hex_pair(char high, char low)
{
    int h = hex_digit(high), l = hex_digit(low);

    return h < 0 || l < 0 ? -1 : h * 16 + l;
}

size_t
url_decode(char *s, size_t n)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        int c = url_coded_byte(s + i, n - i);
        assert(len <= i); /* so that no byte is overwritten before it is read */
        if (c < 0) {
            s[len++] = s[i];
        }
        else {
            s[len++] = (char)(unsigned char)c;
            i += 2;
        }
    }
    return len;
}

/* Moves *at past prefix; false where it does not come next. */
static bool
skip(const char *s, size_t n, size_t *at, const char *prefix)
{
    size_t len = strlen(prefix);

    if (n - *at < len || memcmp(s + *at, prefix, len) != 0) {
        return false;
    }
    *at += len;
    return true;
}

/* The index of the first c at or after at, or n. */
static size_t
find(const char *s, size_t n, size_t at, char c)
{
    const char *p = at < n ? memchr(s + at, c, n - at) : NULL;

    return p == NULL ? n : (size_t)(p - s);
}

size_t
url_proxy_prefix(const char *s, size_t n)
{
    size_t at = 0;

    if (n == 0 || !skip(s, n, &at, "proxy:")) {
        return 0;
    }
    if (skip(s, n, &at, "unix:")) {
        at = find(s, n, at, '|');
        (void)skip(s, n, &at, "|");
    }
    if (skip(s, n, &at, "fcgi://") || skip(s, n, &at, "balancer://")) {
        at = find(s, n, at, '/');
    }
    assert(at > 0 && at <= n);
    return at;
}
