/*
 * options.h - the option table: command line, --help, WSGI_CGI_OPTIONS
 *
 * What:      ONE table of options feeds the parser, --help and the test that
 *            compares it with the man page.
 * Owner:     the caller owns the config.
 * Threads:   start only.                                         GIL: not used.
 * Errors:    a sysexits code; the one line that says what was read and what was
 *            expected has been written to stderr.                 Blocks: never.
 * Standards: RFC 3875, 4.4 (words of argv that come from the query string).
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include "base/compiler.h"
#include "conf/config.h"

#include <stdio.h>

/* Fills ret_config with the defaults, then with WSGI_CGI_OPTIONS (split at
 * blanks; quotes and backslash as in a shell), then with argv up to APP. A first
 * word of argv that starts with "-" and holds blanks is a #! line's options:
 * Linux hands them over as one word, which is split the same way.
 *
 * With request_in_env (a CGI request is in the environment) the words of argv may
 * be the query string's: conf/argv.h says which of them are believed.
 *
 * 0, or an exit code of <sysexits.h> after one line on stderr. */
CHECK_RESULT int options_parse(int argc, char **argv, bool request_in_env,
                               struct config *ret_config);

/* The --help text, made from the table. */
void options_help(FILE *to);

#endif
