/*
 * fd.h - file descriptors: closing, duplicating, sanity at start
 *
 * What:      small wrappers that keep the CLOEXEC and "-1 is none" rules.
 * Threads:   any, except fd_sanitize() (start only).             GIL: not used.
 * Errors:    0 or -errno; logs nothing.
 * Blocks:    never, but for fd_make_temporary(): on the file system.
 */
#ifndef OS_FD_H
#define OS_FD_H

#include "base/compiler.h"

#include <stdbool.h>

/* Closes *fd unless it is -1 and sets it to -1. Usable with CLEANUP(). */
void fd_close(int *fd);

/* /dev/null, CLOEXEC, for reading and writing; < 0 is -errno. Where there is none,
 * what is at its end for who reads, and fails (EBADF) for who writes. */
CHECK_RESULT int fd_open_null(void);

/* The same on each of 0, 1, 2 that is closed, so that no file opened later can
 * land there. Sets bit n of *ret_was_closed for each such n. */
CHECK_RESULT int fd_sanitize(unsigned *ret_was_closed);

/* Makes a file in the folder, for reading and writing by us alone. name ends in
 * "XXXXXX", which becomes what no file had. CLOEXEC; < 0 is -errno. */
CHECK_RESULT int fd_make_temporary(int folder_fd, char *name);

/* A CLOEXEC duplicate of fd numbered 3 or above; < 0 is -errno. */
CHECK_RESULT int fd_dup_high(int fd);

/* Points target (0, 1 or 2) at what fd refers to; target is inherited. */
CHECK_RESULT int fd_redirect(int fd, int target);

/* True where both descriptors are open and name the same file or pipe. */
bool fd_same(int a, int b);

/* True where fd is a listening socket (SO_ACCEPTCONN). */
bool fd_is_listening(int fd);

/* Sets O_NONBLOCK on the open file description. */
CHECK_RESULT int fd_set_nonblock(int fd);

#endif
