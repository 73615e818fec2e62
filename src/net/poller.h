/*
 * poller.h - one epoll for all request threads of the process
 *
 * What:      listeners (every waiting process may take a connection), parked
 *            connections (one event, then disarmed) and a wake-up for all.
 * Owner:     the process.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0 or -errno; logs nothing.
 * Blocks:    poller_wait() only.
 */
#ifndef NET_POLLER_H
#define NET_POLLER_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum poller_kind { POLLER_NOTHING, POLLER_LISTENER, POLLER_CONN, POLLER_WAKE };

enum { POLLER_TAKE_MAX = 64 };

struct poller_event {
    enum poller_kind kind;
    int fd;
    uint32_t generation; /* of a connection */
};

struct poller {
    int epoll_fd;
    int wake_fd;
};

CHECK_RESULT int poller_open(struct poller *p);
void poller_close(struct poller *p);

CHECK_RESULT int poller_add_listener(struct poller *p, int fd);
void poller_remove_listener(struct poller *p, int fd);

enum poller_arm {
    POLLER_NEW = 1 << 0,    /* the poller has not seen the descriptor yet */
    POLLER_AT_ONCE = 1 << 1 /* also when it is writable: mostly now */
};

/* Wakes one thread once when the connection is readable or gone; how is of enum
 * poller_arm. */
CHECK_RESULT int poller_arm(struct poller *p, int fd, uint32_t generation,
                            unsigned how);

/* For a connection that another process goes on with: its description stays open
 * there, so that close() alone would not end our interest. */
void poller_disarm(struct poller *p, int fd);

/* Every poller_wait() from now on returns POLLER_WAKE. Async-signal-safe. */
void poller_wake_all(struct poller *p);

/* True where poller_wait() would return an event at once. */
bool poller_has_events(const struct poller *p);

/* The events that are there, at most max: how many. What is level-triggered
 * (listeners, the wake-up) stays, for whoever waits. */
CHECK_RESULT size_t poller_take(struct poller *p, struct poller_event *ret,
                                size_t max);

/* The next event, at most timeout_ms away (-1 = any time). POLLER_NOTHING on
 * time-out or signal. */
CHECK_RESULT int poller_wait(struct poller *p, int timeout_ms,
                             struct poller_event *ret);

#endif
