/*
 * warm_connect.h - connections to instances
 *
 * What:      connects to a socket in the folder, and checks that the other side
 *            is a process of this user; sends signals to the process that
 *            listens.
 * Owner:     the caller owns the descriptor.
 * Threads:   one.                                                GIL: not used.
 * Errors:    -errno; logs nothing.
 * Blocks:    warm_connect() up to WARM_CONNECT_MS where the queue is full.
 */
#ifndef WARM_WARM_CONNECT_H
#define WARM_WARM_CONNECT_H

#include "base/compiler.h"
#include "warm/warm_folder.h"
#include "warm/warm_name.h"

#include <stdbool.h>
#include <sys/types.h>

enum { WARM_CONNECT_MS = 250 };

/* A descriptor. -ENOENT and -ECONNREFUSED: nobody listens. -EPERM: somebody
 * else does. -EAGAIN: the queue is full. */
CHECK_RESULT int warm_connect(const struct warm_folder *f,
                              const struct warm_name *n, const char *end);

/* To any of its sockets, to learn its process or to send a signal. The control
 * socket is better: a connection to the other one may start a worker. */
CHECK_RESULT int warm_connect_any(const struct warm_folder *f,
                                  const struct warm_name *n);

/* True for the first two. */
bool warm_connect_is_nobody(int err);

/* The process that called listen() last, for a connection that began after
 * that; -errno. */
CHECK_RESULT pid_t warm_connect_pid(int fd);

/* The same as a descriptor that pidfd_open() gives, unless the process has ended
 * (-ESRCH). -ENOSYS: Linux before 5.3. */
CHECK_RESULT int warm_connect_process(int fd, pid_t pid);

/* Sends a signal to that process, unless it has ended. 0 or -errno. */
CHECK_RESULT int warm_connect_kill(int fd, int number);

#endif
