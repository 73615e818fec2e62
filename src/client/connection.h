/*
 * connection.h - a connection to a backend, with a deadline
 *
 * What:      connects, sends and receives. Every wait ends at the deadline.
 * Owner:     a client_*() function.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno; connection_failed() logs it.
 * Blocks:    until the deadline.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct connection {
    const char *option;  /* "--ping", for the log */
    const char *address; /* as on the command line */
    int fd;
    int64_t timeout_ms;
    int64_t deadline_ms;
    bool renews; /* each transfer starts timeout_ms again */
};

void connection_init(struct connection *p, const char *option,
                     const char *address, int64_t timeout_ms, bool renews);
void connection_close(struct connection *p);

/* 0; EX_USAGE or EX_UNAVAILABLE after a log line. */
CHECK_RESULT int connection_connect(struct connection *p);

/* Waits for POLLIN or POLLOUT. Returns the revents, -ETIMEDOUT or -errno. */
CHECK_RESULT int connection_wait(const struct connection *p, short events);

/* Starts timeout_ms again, if renews is set. To be called when the received
 * bytes have been used, which may take time. */
void connection_renew(struct connection *p);

/* These do not wait. They return the number of bytes, -EAGAIN or -errno;
 * connection_receive() returns 0 at the end. */
CHECK_RESULT ssize_t connection_send(struct connection *p, const void *bytes,
                                     size_t n);
CHECK_RESULT ssize_t connection_receive(const struct connection *p, void *to,
                                        size_t size);

/* Logs err, which another function has returned. connection_failed() returns
 * EX_UNAVAILABLE. */
void connection_log(const struct connection *p, int err);
CHECK_RESULT int connection_failed(const struct connection *p, int err);

#endif
