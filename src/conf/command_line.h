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

enum { COMMAND_LINE_ASKING_MAX = 8 /* options with only_for */ };

struct command_line {
    const struct option_row *rows; /* a row without a name is a heading */
    size_t nrows;
    struct config *config;
    /* Options with only_for that were given, and the where of each. */
    const struct option_row *asking[COMMAND_LINE_ASKING_MAX];
    const char *asking_where[COMMAND_LINE_ASKING_MAX];
    size_t nasking;
};

/* Sets the default of each option that has one. */
CHECK_RESULT int command_line_defaults(const struct command_line *l);

/* Parses a text in which only options are allowed. where is the start of its
 * error messages, and must stay. */
CHECK_RESULT int command_line_text(struct command_line *l, const char *text,
                                   const char *where);

/* Parses argv after argv[0]: options, then APP or what the action needs. The
 * options of a #! line are one word, which is split. Nothing is parsed after
 * --help or --version. */
CHECK_RESULT int command_line_argv(struct command_line *l, int argc,
                                   char **argv);

/* To be called at the end, when the action is known: refuses an option that
 * this action does not use. */
CHECK_RESULT int command_line_check(const struct command_line *l);

#endif
