/*
 * fd.h - closes, duplicates and checks file descriptors
 *
 * What:      small wrappers: every descriptor is CLOEXEC, and -1 is none.
 * Threads:   any, except fd_sanitize() (start only).             GIL: not used.
 * Errors:    0 or -errno; logs nothing.
 * Blocks:    fd_make_temporary() on the file system; else never.
 */
#ifndef OS_FD_H
#define OS_FD_H

#include "base/compiler.h"

#include <stdbool.h>

/* Closes *fd unless it is -1 and sets it to -1. Usable with CLEANUP(). */
void fd_close(int *fd);

/* Opens /dev/null for reading and writing, CLOEXEC; < 0 is -errno. Where it
 * does not exist, the descriptor is at its end, and a write to it fails with
 * EBADF. */
CHECK_RESULT int fd_open_null(void);

/* Opens the same on each of 0, 1 and 2 that is closed, so that no file gets
 * such a number later. Sets bit n of *ret_was_closed for each of these. */
CHECK_RESULT int fd_sanitize(unsigned *ret_was_closed);

/* Creates a file in a directory, with mode 0600, and opens it for reading and
 * writing, CLOEXEC; < 0 is -errno. The "XXXXXX" at the end of name becomes a
 * new name. */
CHECK_RESULT int fd_make_temporary(int directory_fd, char *name);

/* Returns a duplicate of fd, 3 or above, CLOEXEC; < 0 is -errno. */
CHECK_RESULT int fd_dup_high(int fd);

/* Makes target (0, 1 or 2) a duplicate of fd, without CLOEXEC. */
CHECK_RESULT int fd_redirect(int fd, int target);

/* True where both descriptors are open and refer to the same file or pipe. */
bool fd_same(int a, int b);

/* True where fd is a listening socket (SO_ACCEPTCONN). */
bool fd_is_listening(int fd);

/* Sets O_NONBLOCK on the open file description. */
CHECK_RESULT int fd_set_nonblock(int fd);

#endif
