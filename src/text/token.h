/*
 * token.h - the names of HTTP: methods and headers
 *
 * What:      checks that a name consists of the characters of a token.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 * Standards: RFC 9110, 5.6.2.
 */
#ifndef TEXT_TOKEN_H
#define TEXT_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

/* True for one or more characters of a token. */
bool token_is_valid(const char *s, size_t n);

#endif
