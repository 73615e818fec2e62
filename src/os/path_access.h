/*
 * path_access.h - finds the part of a path that the user cannot access
 *
 * What:      finds the directory, file or symbolic link that is the reason for
 *            a "Permission denied" or "No such file".
 * Owner:     the caller has the memory.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno of the path; logs nothing.    Blocks: file system.
 */
#ifndef OS_PATH_ACCESS_H
#define OS_PATH_ACCESS_H

#include "base/compiler.h"

#include <stddef.h>
#include <sys/stat.h>

/* wanted is a mode of access(2) for the path itself: F_OK, R_OK, R_OK | X_OK.
 * On failure why is a clause like "/srv/app does not exist" or "user www (uid
 * 33) may not enter /srv/app". ret_st may be NULL. */
CHECK_RESULT int path_access(const char *path, int wanted, struct stat *ret_st,
                             char *why, size_t why_size);

/* Why a file could not be created at path, or opened for writing: err is
 * -errno of the attempt. The result is why, with a clause like "user www (uid
 * 33) may not create files in /run", or otherwise, where the path does not
 * explain the error. */
const char *path_write_reason(const char *path, int err, const char *otherwise,
                              char *why, size_t why_size);

#endif
