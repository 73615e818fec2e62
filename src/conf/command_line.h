/*
 * command_line.h - words of the command line, as a table of options reads them
 *
 * What:      fills the config from the words of WSGI_CGI_OPTIONS, of a #! line
 *            and of argv. The table is in conf/options.c.
 * Owner:     the caller owns table and config.
 * Threads:   start only.                                         GIL: not used.
 * Errors:    a sysexits code, after one log line with the value and what was
 *            expected.
 * Blocks:    on the file system, for --x-sendfile and #! lines.
 */
#ifndef CONF_COMMAND_LINE_H
#define CONF_COMMAND_LINE_H

#include "base/compiler.h"
#include "conf/config.h"
#include "conf/value.h"

#include <stddef.h>

struct command_line {
    const struct option_row *rows; /* a row without a name is a heading */
    size_t nrows;
    struct config *config;
};

/* Sets the default of each option that has one. */
CHECK_RESULT int command_line_defaults(const struct command_line *l);

/* Parses a text in which only options are allowed. where is the start of its
 * error messages. */
CHECK_RESULT int command_line_text(const struct command_line *l,
                                   const char *text, const char *where);

/* Parses argv after argv[0]: options, then APP or what the action needs. The
 * options of a #! line are one word, which is split. Nothing is parsed after
 * --help or --version. */
CHECK_RESULT int command_line_argv(const struct command_line *l, int argc,
                                   char **argv);

#endif
