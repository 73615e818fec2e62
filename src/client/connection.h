/*
 * connection.h - the backend that is asked: a connection with a deadline
 *
 * What:      connects, sends and receives; every wait ends at the deadline.
 * Owner:     a client_*() function.
 * Threads:   one.                                                GIL: not used.
 * Errors:    0 or -errno; connection_strerror() makes a sentence of it.
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
    const char *address; /* as the command line has it */
    int fd;
    int64_t timeout_ms;
    int64_t deadline_ms;
    bool renews; /* every byte that is moved starts timeout_ms again */
};

void connection_init(struct connection *p, const char *option,
                     const char *address, int64_t timeout_ms, bool renews);
void connection_close(struct connection *p);

/* 0; EX_USAGE or EX_UNAVAILABLE after a log line. */
CHECK_RESULT int connection_connect(struct connection *p);

/* Waits for POLLIN or POLLOUT; the revents, -ETIMEDOUT or -errno. */
CHECK_RESULT int connection_wait(const struct connection *p, short events);

/* After connection_receive(), when the bytes have been dealt with, however long that
 * took: a time that renews begins again now. */
void connection_renew(struct connection *p);

/* Without waiting: bytes moved, 0 for the end (receive), -EAGAIN or -errno. */
CHECK_RESULT ssize_t connection_send(struct connection *p, const void *bytes,
                                     size_t n);
CHECK_RESULT ssize_t connection_receive(const struct connection *p, void *to,
                                        size_t size);

/* One log line, EX_UNAVAILABLE. err is what another function returned. */
CHECK_RESULT int connection_failed(const struct connection *p, int err);

#endif
