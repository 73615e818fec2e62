/*
 * url.h - percent-encoding, and the prefix that Apache puts before a file name
 *
 * What:      decodes "%41"; finds the path in "proxy:fcgi://host:port/path".
 * Owner:     the caller has the memory.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a "%" that two hexadecimal digits do not follow stands for
 *            itself.                                             Blocks: never.
 * Standards: RFC 3986, 2.1.
 */
#ifndef TEXT_URL_H
#define TEXT_URL_H

#include "base/compiler.h"

#include <stddef.h>

/* The number that two hexadecimal digits stand for; -1 where one is none. */
int url_hex_pair(char high, char low);

/* The byte that "%41" stands for, if the n bytes at s start with one; else
 * -1. */
ALWAYS_INLINE int
url_coded_byte(const char *s, size_t n)
{
    return n < 3 || s[0] != '%' ? -1 : url_hex_pair(s[1], s[2]);
}

/* Decodes the n bytes at s in place and returns how many are left. The result
 * may contain NUL bytes, from "%00". */
CHECK_RESULT size_t url_decode(char *s, size_t n);

/* Apache's mod_proxy_fcgi sends a file name as "proxy:fcgi://host:port/path";
 * some versions name the balancer ("proxy:balancer://name/path") or the socket
 * ("proxy:unix:/path|fcgi://host/path"). Returns the length of all that comes
 * before the path; 0 where s does not start with "proxy:". */
size_t url_proxy_prefix(const char *s, size_t n);

#endif
