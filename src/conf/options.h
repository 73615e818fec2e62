/*
 * options.h - the option table: command line, --help, WSGI_CGI_OPTIONS
 *
 * What:      one table of options is the source of the parser, of --help and of
 *            the test that compares both with the man page.
 * Owner:     the caller owns the config.
 * Threads:   start only.                                         GIL: not used.
 * Errors:    a sysexits code, after one log line with the value and what was
 *            expected.
 * Blocks:    on the file system, for --x-sendfile and #! lines.
 * Standards: RFC 3875, 4.4 (words of argv that come from the query string).
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include "base/compiler.h"
#include "conf/config.h"
#include "conf/suggest.h"

#include <stdio.h>

/* Fills ret_config with the defaults, then with WSGI_CGI_OPTIONS (split at
 * blanks; quotes and backslashes work as in a shell), then with argv up to APP.
 * The options of a #! line are the first word of argv: Linux passes them as one
 * word, which is split in the same way.
 *
 * request_in_env: a CGI request is in the environment, so words of argv may be
 * from the query string. conf/argv.h says which ones are accepted.
 *
 * 0, or an exit code of <sysexits.h> after one log line. */
CHECK_RESULT int options_parse(int argc, char **argv, bool request_in_env,
                               struct config *ret_config);

/* What was probably meant by a word that starts with "-" (conf/suggest.h); ""
 * for an option of the table. */
void options_suggest(const char *word, char to[SUGGEST_SIZE]);

/* Writes the text of --help. */
void options_help(FILE *to);

#endif
