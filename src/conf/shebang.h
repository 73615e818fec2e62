/*
 * shebang.h - the #! line of a script
 *
 * What:      reads it as it stands in the file, which need not be how the
 *            kernel reads it.
 * Owner:     the caller.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a file that cannot be read has no such line.
 * Blocks:    file system.
 */
#ifndef CONF_SHEBANG_H
#define CONF_SHEBANG_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    /* How many bytes of a file Linux reads to find the line, less one: what
     * does not fit is cut off. 127 before Linux 5.1. */
    SHEBANG_KERNEL = 255,
    SHEBANG_OLD_KERNEL = 127,
};

/* What stands in front of it, so that the kernel does not see it. */
enum shebang_before {
    SHEBANG_IS_FIRST,
    SHEBANG_AFTER_MARK, /* a byte order mark */
    SHEBANG_AFTER_BLANKS
};

/* The line without its newline, or as much as there is room for. False where
 * the file does not begin like that. */
CHECK_RESULT bool shebang_read(const char *path, char *to, size_t size,
                               enum shebang_before *ret_before);

/* Its two words, as the kernel divides it: the program, and all the rest.
 * Blanks at the end stay. */
void shebang_divide(const char *line, const char **ret_program,
                    size_t *ret_program_len, const char **ret_rest);

#endif
