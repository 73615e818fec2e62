/*
 * worker_conns.h - the listeners and the connections of one process
 *
 * What:      accepts connections and parks them in the poller until something
 *            arrives. Pauses the listeners while no descriptor is free.
 * Owner:     the pool.
 * Lifetime:  worker_conns_open() to worker_conns_close().
 * Threads:   any, unless a function says otherwise.              GIL: not used.
 * Errors:    0 or -errno; a connection that cannot be kept is closed.
 * Blocks:    never.
 */
#ifndef WORKER_WORKER_CONNS_H
#define WORKER_WORKER_CONNS_H

#include "base/compiler.h"
#include "net/conn.h"
#include "net/fd_reserve.h"
#include "net/listener.h"
#include "net/poller.h"
#include "worker/worker_setup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    /* At a stop: for a new connection to send something. */
    WORKER_CONNS_FIRST_BYTE_MS = 300
};

struct worker_conns {
    /* Set by worker_conns_open(), and only read after that. */
    const struct worker_setup *setup;
    struct poller poller;     /* two descriptors: the kernel's epoll */
    struct conn_table *table; /* entries and counts are atomic */
    /* Out of descriptors: the listeners are not watched. The request threads
     * set it, the control thread clears it. */
    atomic_bool paused;
    /* clock_ms() until when they are not watched for another reason; 0 = they
     * are. The same threads. */
    _Atomic(int64_t) rest_end_ms;
    /* conn_passing.c only: guards fd_reserve, and scoreboard "full" of ours. */
    pthread_mutex_t receive_lock;
    struct fd_reserve fd_reserve; /* no connection is received without it */
};

/* Watches the listeners. At the start. */
CHECK_RESULT int worker_conns_open(struct worker_conns *c,
                                   const struct worker_setup *setup);

/* When all threads that use it have ended. */
void worker_conns_close(struct worker_conns *c);

/* In a child that the application has forked: closes the descriptors.
 * Async-signal-safe. */
void worker_conns_close_in_child(struct worker_conns *c);

/* A connection that waits at a listener and its descriptor, BUSY and ours; NULL
 * where there is none that we can or may take. */
CHECK_RESULT struct conn *worker_conns_accept(struct worker_conns *c,
                                              int listen_fd, int *ret_fd);

/* Gives up a connection that is ours until something arrives or the deadline
 * passes; how: enum poller_arm, POLLER_AT_ONCE or 0. */
void worker_conns_park(struct worker_conns *c, struct conn *conn, int fd,
                       int64_t deadline_ms, unsigned how);

/* Closes a connection that is ours. */
void worker_conns_end(struct worker_conns *c, struct conn *conn);

/* How many threads have neither a request nor work after one. */
unsigned worker_conns_idle_threads(const struct worker_conns *c);

/* Nothing is accepted until another process takes over, or has had enough time
 * to do so and did not. */
void worker_conns_rest(struct worker_conns *c);

/* -- for the control thread ------------------------------------------------ */

/* Watches the listeners again that were paused. */
void worker_conns_resume(struct worker_conns *c);

/* Accepts no more on a socket that others go on with. */
void worker_conns_leave_listener(struct worker_conns *c,
                                 const struct listener *l);

/* Accepts what waits at a socket of ours; nobody can connect to it after
 * that. */
void worker_conns_shut_listener(struct worker_conns *c, struct listener *l);

/* True where a connection waits at a socket of ours. */
bool worker_conns_somebody_waits(const struct worker_conns *c);

#endif
