/*
 * suggest.h - what was probably meant by an unknown option
 *
 * What:      finds the options that a name is a misspelling or a part of, and
 *            those that replace an option of another program.
 * Owner:     the caller.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: there may be nothing to suggest.              Blocks: never.
 */
#ifndef CONF_SUGGEST_H
#define CONF_SUGGEST_H

#include "conf/value.h"

#include <stddef.h>

enum { SUGGEST_SIZE = 256 };

/* Writes "use --processes" or "did you mean --threads?" into to, for a word
 * that starts with "-" and may contain "=" and a value; "" if nothing is near. */
void suggest_option(const struct option_row *rows, size_t nrows,
                    const char *word, char to[SUGGEST_SIZE]);

#endif
