/*
 * value.h - the values of options: a setter for each kind
 *
 * What:      checks the text of a value and stores it in a field of the config.
 * Owner:     strings are copied; config_fini() frees them.
 * Threads:   start only.                                         GIL: not used.
 * Errors:    0, -EINVAL (not allowed: the field keeps its value, and a list the
 *            words before the wrong one), -ENOMEM; logs nothing.
 * Blocks:    value_x_sendfile() on the file system; else never.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct option_row;

/* Stores value in field; value is NULL for an option that takes none. */
typedef int (*value_fn)(const struct option_row *row, void *field,
                        const char *value);

struct option_row {
    const char *name; /* NULL: a heading of --help */
    const char *arg;  /* the name of its value in --help; NULL: takes none */
    const char *default_value; /* as on the command line; NULL = none */
    const char *help;
    const char *expected;       /* the end of "invalid value: expected ..." */
    const char *const *choices; /* of value_choice(): words by enum value */
    value_fn set;
    size_t field;      /* offset in struct config */
    uint64_t min, max; /* of numbers; max alone: the mode bits, the action, the
                        * last of choices */
    char letter;       /* '\0' = none */
    /* Of an option of client commands: the actions (1 << ACTION_...) that use
     * it, their options, and what to use while serving. 0 and NULL: any. */
    unsigned only_for;
    const char *only_with, *instead;
};

/* Frees *field and stores a copy of n bytes of value there. */
CHECK_RESULT int value_copy(const char **field, const char *value, size_t n);
void value_drop(const char **field);

/* The name says what the value is. */
int value_string(const struct option_row *row, void *field, const char *value);
int value_mount(const struct option_row *row, void *field, const char *value);
int value_path(const struct option_row *row, void *field, const char *value);
int value_owner(const struct option_row *row, void *field, const char *value);
int value_unsigned(const struct option_row *row, void *field,
                   const char *value);
int value_int(const struct option_row *row, void *field, const char *value);
int value_size(const struct option_row *row, void *field, const char *value);
int value_time(const struct option_row *row, void *field, const char *value);
int value_file_mode(const struct option_row *row, void *field,
                    const char *value);
int value_umask(const struct option_row *row, void *field, const char *value);
/* One of row->choices, for a field of an enum type; a choice may be NULL. */
int value_choice(const struct option_row *row, void *field, const char *value);
int value_log_level(const struct option_row *row, void *field,
                    const char *value);
int value_true(const struct option_row *row, void *field, const char *value);
int value_action(const struct option_row *row, void *field, const char *value);

/* For a row whose field is the whole config: row->max is the action, and value
 * is the address of a backend. */
int value_client_action(const struct option_row *row, void *field,
                        const char *value);

/* For a row whose field is the whole config: N, MIN-MAX or auto. */
int value_processes(const struct option_row *row, void *field,
                    const char *value);

/* For a row whose field is the whole config: N or auto. */
int value_threads(const struct option_row *row, void *field, const char *value);

/* For a row whose field is the whole config: HEADER[:[URLPREFIX=]DIR]. */
int value_x_sendfile(const struct option_row *row, void *field,
                     const char *value);

/* These add to a config_list: one word, words separated by commas,
 * NAME=VALUE.  */
int value_word(const struct option_row *row, void *field, const char *value);
int value_commas(const struct option_row *row, void *field, const char *value);
int value_assignment(const struct option_row *row, void *field,
                     const char *value);
/* The same, except variables that this program has read by then. */
int value_variable(const struct option_row *row, void *field,
                   const char *value);

#endif
