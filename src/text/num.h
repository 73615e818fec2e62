/*
 * num.h - parses numbers, sizes and times strictly; writes numbers
 *
 * What:      parsers that take the whole string: no blanks, no sign, nothing
 *            after the number. And digits without stdio, for each request.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0, -EINVAL (not a number), -ERANGE (too large); the result is
 *            written only on success; logs nothing.              Blocks: never.
 */
#ifndef TEXT_NUM_H
#define TEXT_NUM_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* Decimal digits only, at most max. */
CHECK_RESULT int num_parse(const char *s, size_t n, uint64_t max,
                           uint64_t *ret_value);

/* A size in bytes: digits, then nothing or one of K M G (powers of 1024),
 * in either case. */
CHECK_RESULT int num_parse_size(const char *s, uint64_t *ret_bytes);

/* A time: digits, then ms, s or m; without a unit it is in seconds. */
CHECK_RESULT int num_parse_time(const char *s, int64_t *ret_ms);

/* A size for people, in the largest unit that has no fraction: "10 MiB", "1500
 * bytes". */
#define NUM_SIZE_TEXT_SIZE 32
void num_size_text(uint64_t bytes, char to[NUM_SIZE_TEXT_SIZE]);

/* Writes value into to, with a NUL. Returns its first digit, which need not be
 * at the start of to; *ret_n is the number of digits. */
#define NUM_TEXT_SIZE 24
const char *num_text(uint64_t value, char to[NUM_TEXT_SIZE], size_t *ret_n);

#endif
