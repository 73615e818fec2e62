/*
 * other_programs.h - options of other programs, and what they are called here
 *
 * What:      a table for people who come from php-cgi, php-fpm, spawn-fcgi,
 *            gunicorn, uWSGI, mod_wsgi, Passenger and others.
 * Owner:     static, constant.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none.                                               Blocks: never.
 */
#ifndef CONF_OTHER_PROGRAMS_H
#define CONF_OTHER_PROGRAMS_H

#include <stddef.h>

struct other_program_row {
    /* Separated by blanks: "workers", or "-w" for a letter. In small letters,
     * with "-" in place of "_" and ".". None of them is an option of ours. */
    const char *names;
    const char *use; /* the end of "unknown option: ..." */
};

/* All rows. */
const struct other_program_row *other_programs(size_t *ret_n);

/* What to use instead of name; NULL: it is in no row. */
const char *other_programs_find(const char *name);

#endif
