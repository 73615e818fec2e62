/*
 * value.h - the values of options: one setter for each kind
 *
 * What:      checks the text of a value and stores it in a field of the config.
 * Owner:     strings are copied; config_fini() frees them.
 * Threads:   start only.                                         GIL: not used.
 * Errors:    0, -EINVAL (not allowed, the field is as before; of a list, what
 *            came before the wrong word stays), -ENOMEM; logs nothing.
 * Blocks:    never.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct option_row;

/* Puts value (NULL for an option that takes none) into field. */
typedef int (*value_fn)(const struct option_row *row, void *field,
                        const char *value);

struct option_row {
    const char *name; /* NULL: a heading of --help */
    const char *arg;  /* what --help calls the value; NULL: takes none */
    const char *default_value;
    const char *help;
    const char *expected; /* ends the sentence "expected ..." */
    value_fn set;
    size_t field;      /* offset in struct config */
    uint64_t min, max; /* of numbers; max alone: the mode bits, the action */
    char letter;       /* '\0' = none */
};

/* Frees what *field holds and puts a copy of n bytes of value there. */
CHECK_RESULT int value_copy(const char **field, const char *value, size_t n);
void value_drop(const char **field);

/* The name says what the field is; several are kinds of text. */
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
int value_mode(const struct option_row *row, void *field, const char *value);
int value_processes(const struct option_row *row, void *field,
                    const char *value);
int value_reload(const struct option_row *row, void *field, const char *value);
int value_errors_to(const struct option_row *row, void *field,
                    const char *value);
int value_log_format(const struct option_row *row, void *field,
                     const char *value);
int value_log_level(const struct option_row *row, void *field,
                    const char *value);
int value_true(const struct option_row *row, void *field, const char *value);
int value_action(const struct option_row *row, void *field, const char *value);

/* For a row whose field is the whole config: row->max is the action, value its
 * address. */
int value_ask(const struct option_row *row, void *field, const char *value);

/* For the same: HEADER[:[URLPREFIX=]DIR]. */
int value_x_sendfile(const struct option_row *row, void *field,
                     const char *value);

/* These add to a config_list: one word, words with commas, NAME=VALUE. */
int value_word(const struct option_row *row, void *field, const char *value);
int value_commas(const struct option_row *row, void *field, const char *value);
int value_assignment(const struct option_row *row, void *field,
                     const char *value);

#endif
