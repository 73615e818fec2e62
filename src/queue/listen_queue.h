/*
 * listen_queue.h - how many connections wait to be accepted
 *
 * What:      the kernel's queue of the listening sockets, as php-fpm counts it:
 *            TCP_INFO for TCP, sock_diag(7) for unix sockets.
 * Owner:     the caller.
 * Threads:   any.                                                GIL: not used.
 * Errors:    is_known is false.
 * Blocks:    never; a few system calls for each socket.
 */
#ifndef QUEUE_LISTEN_QUEUE_H
#define QUEUE_LISTEN_QUEUE_H

#include "base/compiler.h"
#include "net/listener.h"

#include <stdbool.h>
#include <stddef.h>

struct listen_queue {
    bool is_known; /* false where the kernel does not say it of one socket */
    unsigned waiting;
    unsigned length; /* how many may wait: --backlog, and the kernel's limit */
};

/* The sum over these sockets. */
CHECK_RESULT struct listen_queue
listen_queue_look(const struct listener *listeners, size_t n);

#endif
