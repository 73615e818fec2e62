/*
 * argv.h - separates the words of the command line from those of a client
 *
 * What:      finds the words of a query string at the end of argv, and the
 *            options of a #! line at its start; splits text into words.
 * Owner:     a struct argv_words has its own memory; other pointers belong to
 *            the caller.
 * Threads:   start only (reads the environment).                 GIL: not used.
 * Errors:    0 or -errno; logs nothing.                 Blocks: file system.
 * Standards: RFC 3875, 4.4.
 */
#ifndef CONF_ARGV_H
#define CONF_ARGV_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

struct argv_words {
    char **v;
    size_t n;
    char *text; /* what v points into */
};

/* Splits at blanks. Quotes and backslashes work as in a shell, nothing else
 * does. -EINVAL: a quote is not closed, or a backslash ends the text. */
CHECK_RESULT int argv_split(const char *text, struct argv_words *ret_words);
void argv_words_fini(struct argv_words *w);

/* True for a word that can be options: it starts with "-", or with a quote or
 * backslash, which a #! line may put before it. */
bool argv_may_be_options(const char *word);

/* True where script is a file whose #! line has word as its argument: the
 * kernel has then made argv, [interpreter, word, script, ...]. *ret_is_cut:
 * word is only the start of the argument. */
bool argv_is_shebang(const char *word, const char *script, bool *ret_is_cut);

/* The number of words of argv, argv[0] included and so at least 1, that are not
 * from the client of a CGI request. *ret_in_doubt: the words that follow may be
 * from the command line as well; the request must be refused unless APP comes
 * before them. */
int argv_trusted(int argc, char **argv, bool *ret_in_doubt);

#endif
