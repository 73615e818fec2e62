/*
 * path_access.h - which part of a path stops this user
 *
 * What:      turns "Permission denied" on a long path into the one folder that
 *            is missing or closed, symbolic links followed.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno of the path; logs nothing.    Blocks: file system.
 */
#ifndef OS_PATH_ACCESS_H
#define OS_PATH_ACCESS_H

#include "base/compiler.h"

#include <stddef.h>
#include <sys/stat.h>

/* What is wanted of the last part, of access(2): F_OK, R_OK, R_OK | X_OK. On
 * failure why becomes a clause such as "/srv/app does not exist" or "user www
 * (uid 33) may not enter /srv/app". ret_st may be NULL. */
CHECK_RESULT int path_access(const char *path, int wanted, struct stat *ret_st,
                             char *why, size_t why_size);

#endif
