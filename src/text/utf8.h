/*
 * utf8.h - finds the characters of UTF-8 text
 *
 * What:      strict UTF-8: no overlong forms, no surrogates.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 * Standards: RFC 3629.
 */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stddef.h>

/* The length of the character at s, 1 to 4, or 0 where the n > 0 bytes do not
 * start with one. */
size_t utf8_char(const char *s, size_t n);

/* The length of s without an incomplete character at its end: n, or up to 3
 * less. Where the end is not UTF-8 at all it is n. */
size_t utf8_whole(const char *s, size_t n);

#endif
