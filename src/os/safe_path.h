/*
 * safe_path.h - opens files for root in directories of other users
 *
 * What:      a path as an open directory and a name in it. Where root opens a
 *            file in the directory of another user, that user must not choose
 *            the file that root writes to, by a symbolic link or a hard link.
 *            Symbolic links are followed only where nobody but root can have
 *            made them. In a shared sticky directory like /tmp, files that
 *            another user created first are refused. For other users than root
 *            this is just open(). Only the kernel can refuse a hard link that
 *            exists for a moment (fs.protected_hardlinks, 1 on most systems).
 * Owner:     the caller owns the struct; safe_path_close() is not needed after
 *            a failure.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno, for safe_path_strerror(); only
 *            safe_path_log_left() logs.
 * Blocks:    on the file system.
 */
#ifndef OS_SAFE_PATH_H
#define OS_SAFE_PATH_H

#include "base/compiler.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct safe_path {
    int folder_fd; /* AT_FDCWD: name is the whole path */
    char name[PATH_MAX];
    int nofollow;           /* O_NOFOLLOW or 0, for safe_path_open() */
    bool is_exposed;        /* others than root may have created the file */
    bool is_folder_exposed; /* ... or a directory of the path */
    bool is_sticky;         /* one of these is in a directory like /tmp */
    bool is_linked;         /* the last name of the path was a link */
    bool is_descriptor;     /* like /dev/stdout: another file at another time */
    uid_t owners[4];        /* users that may own the file */
};

/* user may own the file as well as root: he is going to get it anyway. A
 * relative path starts at the current directory. */
CHECK_RESULT int safe_path_find(struct safe_path *ret, const char *path,
                                uid_t user);

/* open(): a descriptor or -errno. -EXDEV: a symbolic link that others may have
 * made. -EMLINK: the same with a hard link. -EUSERS: a file or FIFO that
 * another user created in a shared sticky directory. */
CHECK_RESULT int safe_path_open(const struct safe_path *p, int flags,
                                mode_t mode);

void safe_path_close(struct safe_path *p);

/* chdir() for root, which follows no link that others may have made. */
CHECK_RESULT int safe_path_enter(const char *path);

/* strerror(), with the meanings of these three errors. */
const char *safe_path_strerror(int err);

/* Logs that a file stays behind at the end, such as "the socket file". why: of
 * err, which is -errno. */
void safe_path_log_left(const char *what, const char *path, int err,
                        const char *why);

/* The start has failed, and the log says why: safe_path_log_left() must not be
 * the last word. */
void safe_path_hide_left(void);

#endif
