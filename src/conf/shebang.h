/*
 * shebang.h - the #! line of a script
 *
 * What:      reads the line of the file; the kernel may read it in another way.
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
    /* The length to which Linux cuts the line: since 5.1, and before. */
    SHEBANG_KERNEL = 255,
    SHEBANG_OLD_KERNEL = 127,
};

/* What comes before the line. The kernel finds it only at the start of the
 * file. */
enum shebang_before {
    SHEBANG_IS_FIRST,
    SHEBANG_AFTER_MARK, /* a byte order mark */
    SHEBANG_AFTER_BLANKS
};

/* Reads the line, without its newline and cut to size. False where the file
 * does not start with one. */
CHECK_RESULT bool shebang_read(const char *path, char *to, size_t size,
                               enum shebang_before *ret_before);

/* Divides the line as the kernel does: into the program and the rest, in which
 * blanks at the end stay. */
void shebang_divide(const char *line, const char **ret_program,
                    size_t *ret_program_len, const char **ret_rest);

#endif
