/*
 * argv.h - whose words stand in argv: the administrator's or the client's
 *
 * What:      tells the words of a query string from those of a command line, a
 *            #! line's options from other words, and splits text into words.
 * Owner:     words own their memory; everything else is borrowed.
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

/* Splits at blanks; quotes and backslash as in a shell, nothing else of it.
 * -EINVAL: a quote is not closed, or a backslash ends the text. */
CHECK_RESULT int argv_split(const char *text, struct argv_words *ret_words);
void argv_words_fini(struct argv_words *w);

/* True where script is a file whose #! line hands over word as its argument:
 * then the kernel has made argv, [interpreter, word, script, ...]. *ret_is_cut:
 * word is only the beginning of what the line says. */
bool argv_is_shebang(const char *word, const char *script, bool *ret_is_cut);

/* How many words of argv, argv[0] included, may be believed in a CGI request;
 * what follows them may come from the client. At least 1. *ret_in_doubt: it may
 * also be the administrator's; unless APP is among those believed, the request
 * must be refused. */
int argv_trusted(int argc, char **argv, bool *ret_in_doubt);

#endif
