/*
 * poller.h - the epoll of all request threads
 *
 * What:      waits for listeners, which processes may share, for parked
 *            connections (one event, then they must be armed again), and for
 *            poller_wake_all().
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
    POLLER_NEW = 1 << 0,    /* epoll does not know the descriptor yet */
    POLLER_AT_ONCE = 1 << 1 /* wake when it is writable as well: at once */
};

/* Wakes one thread, once, when the connection is readable or closed. how has
 * the bits of enum poller_arm. */
CHECK_RESULT int poller_arm(struct poller *p, int fd, uint32_t generation,
                            unsigned how);

/* For a connection that another process uses now. Since it stays open there,
 * close() does not remove it from epoll. */
void poller_disarm(struct poller *p, int fd);

/* From now on every poller_wait() returns POLLER_WAKE. Async-signal-safe. */
void poller_wake_all(struct poller *p);

/* True where poller_wait() would return an event at once. */
bool poller_has_events(const struct poller *p);

/* Takes up to max events without waiting and returns their number. Listeners
 * and the wake-up are level-triggered: other threads get these events, too. */
CHECK_RESULT size_t poller_take(struct poller *p, struct poller_event *ret,
                                size_t max);

/* Waits for the next event, timeout_ms at most (-1: forever). POLLER_NOTHING
 * after a timeout or signal. */
CHECK_RESULT int poller_wait(struct poller *p, int timeout_ms,
                             struct poller_event *ret);

#endif
