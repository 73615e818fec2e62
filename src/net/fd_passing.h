/*
 * fd_passing.h - open connections on their way from one process to another
 *
 * What:      a pair of sockets that carries descriptors. All workers of a master
 *            hold both ends: one that leaves sends its idle connections, a busy one
 *            those on which a request waits; whoever is woken receives.
 * Owner:     the master makes it; every worker inherits it.
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

/* kept: the connection has carried a request. The caller closes its own fd.
 * -EAGAIN: too many are on their way. */
CHECK_RESULT int fd_passing_send(const struct fd_passing *m, int fd, bool kept);

bool fd_passing_has_room(const struct fd_passing *m);

/* Somebody else is woken: whoever has been cannot receive what is there. */
void fd_passing_wake_another(const struct fd_passing *m);

/* A descriptor, CLOEXEC; -EAGAIN where there is none. -EMFILE: one is lost, as
 * the process had no number for it (fd_reserve.h). */
CHECK_RESULT int fd_passing_receive(const struct fd_passing *m, bool *ret_kept);

#endif
