/*
 * path_absolute.h - the absolute form of a path
 *
 * What:      puts the current directory before a relative path. It does not
 *            follow links and does not touch "..".
 * Owner:     the caller has the memory.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0, -ENAMETOOLONG, or -errno of getcwd(); logs nothing.
 * Blocks:    file system.
 */
#ifndef OS_PATH_ABSOLUTE_H
#define OS_PATH_ABSOLUTE_H

#include "base/compiler.h"

#include <stddef.h>

/* Leading "./" are left out; slashes at the end stay, since they mean that the
 * path must be a directory. */
CHECK_RESULT int path_absolute(const char *path, char *to, size_t size);

/* The same without slashes at the end. */
CHECK_RESULT int path_absolute_trimmed(const char *path, char *to, size_t size);

#endif
