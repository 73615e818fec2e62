/*
 * fd_passing.h - passes open connections from one process to another
 *
 * What:      a pair of sockets for descriptors. All workers of a master have
 *            both ends: a worker that stops sends its idle connections, a busy
 *            one those on which a request waits, and a worker that is woken
 *            receives them.
 * Owner:     the master creates it; every worker inherits it.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno; logs nothing.                          Blocks: never.
 */
#ifndef NET_FD_PASSING_H
#define NET_FD_PASSING_H

#include "base/compiler.h"

#include <stdbool.h>

struct fd_passing {
    int send_fd, receive_fd; /* -1 = none */
};

CHECK_RESULT int fd_passing_open(struct fd_passing *m);
void fd_passing_close(struct fd_passing *m);

/* kept: the connection has carried a request. The caller still closes fd.
 * -EAGAIN: too many messages are waiting. */
CHECK_RESULT int fd_passing_send(const struct fd_passing *m, int fd, bool kept);

bool fd_passing_has_room(const struct fd_passing *m);

/* Wakes another process, where the caller was woken and cannot receive. */
void fd_passing_wake_another(const struct fd_passing *m);

/* A descriptor, CLOEXEC; -EAGAIN: none is waiting. -EMFILE: one was lost
 * because the process had no number for it (see fd_reserve.h). */
CHECK_RESULT int fd_passing_receive(const struct fd_passing *m, bool *ret_kept);

#endif
