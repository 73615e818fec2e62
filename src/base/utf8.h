/*
 * utf8.h - is this text, and where does its next character end
 *
 * What:      UTF-8 as RFC 3629 has it: no overlong forms, no surrogates.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at s, of which n > 0 are there: 1 to 4, or 0 where
 * that is not UTF-8. */
size_t utf8_char(const char *s, size_t n);

/* The length of the longest part of s that ends between two characters: n, or up
 * to 3 less. Where the end is not UTF-8 at all it is n. */
size_t utf8_whole(const char *s, size_t n);

#endif
