/*
 * conn.h - accepted connections: who owns each one, and until when
 *
 * What:      a table indexed by descriptor. States FREE -> BUSY (one request
 *            thread owns it) -> ARMING (on its way into epoll) -> PARKED (nobody's)
 *            -> BUSY ... -> FREE. The sweeper shuts down what is parked past its
 *            deadline; the thread that is woken by that closes it, so only owners
 *            ever close.
 * Owner:     the process; an entry belongs to the thread that made it BUSY. While
 *            it is ARMING that thread still uses the descriptor: whom the poller
 *            wakes may take the entry, but nobody else may touch it.
 * Lifetime:  entries are never freed, only reused: a stale event finds another
 *            generation.
 * Threads:   any; conn_sweep() in one thread only.               GIL: not used.
 * Errors:    0 or -errno; logs nothing.
 * Blocks:    never (conn_take() may spin while the sweeper holds an entry).
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conn_state { CONN_FREE, CONN_BUSY, CONN_ARMING, CONN_PARKED, CONN_SWEPT };

/* Generations have the bits that the state leaves of a word; a poller token has
 * room for them. */
#define CONN_GENERATION 0x1fffffffu

/* The first member of a protocol's own entry. */
struct conn {
    /* Generation and state: in one word, so that who finds the generation of its
     * event has taken that very connection. */
    _Atomic uint32_t word;
    atomic_llong deadline_ms; /* of clock_ms(), while PARKED; 0 = none */
    atomic_bool kept;         /* has carried a request */
    atomic_bool lingering;    /* answered; the rest of the input is read away */
    atomic_bool swept;        /* shut down by the sweeper: only close it */
    bool in_poller;           /* epoll knows the descriptor */
    bool has_input; /* PARKED: bytes wait for a thread, outside the socket */
    bool has_send_timeout; /* SO_SNDTIMEO is set */
};

struct conn_table;

/* A table of max entries of entry_size bytes (struct conn first), all zero at
 * first; memory is touched only where descriptors are used. NULL: no memory. */
CHECK_RESULT struct conn_table *conn_table_new(size_t max, size_t entry_size);
void conn_table_free(struct conn_table **t);

/* How many connections are open. */
size_t conn_table_open(const struct conn_table *t);

/* How many descriptors fit. */
size_t conn_table_max(const struct conn_table *t);

/* The entry of a descriptor just accepted, BUSY and ours; NULL when the number
 * is beyond the table. */
CHECK_RESULT struct conn *conn_open(struct conn_table *t, int fd);

int conn_fd(const struct conn_table *t, const struct conn *c);

/* From a poller token: the entry made BUSY and ours, or NULL when it is not
 * parked any more. */
CHECK_RESULT struct conn *conn_take(struct conn_table *t, int fd,
                                    uint32_t generation);

/* Gives it up to whom the poller wakes: it is to be armed with the generation
 * returned, which is another one each time. Until conn_armed() or conn_unpark()
 * the descriptor stays open, unless it has been taken by then. */
CHECK_RESULT uint32_t conn_park(struct conn *c, int64_t deadline_ms);

/* The poller has it: from now on also the sweeper. Whoever was woken at once may
 * have taken it, and parked it again. */
void conn_armed(struct conn *c, uint32_t generation);

/* The poller has refused it: ours again. */
void conn_unpark(struct conn *c);

/* Offers each parked connection to give(); true: it is somebody else's, and closed
 * here; false: it stays as it is. Only in the thread of conn_sweep(). */
void conn_give(struct conn_table *t,
               bool (*give)(void *arg, struct conn *c, int fd), void *arg);

/* Closes the descriptor of an entry that is ours. */
void conn_close(struct conn_table *t, struct conn *c);

/* In a forked child: closes every descriptor of the table. */
void conn_close_all(struct conn_table *t);

enum conn_sweep {
    SWEEP_OVERDUE, /* whose deadline has passed at now_ms */
    SWEEP_KEPT,    /* also those that have carried a request */
    SWEEP_ALL      /* but those that linger, which only their deadline ends */
};

/* Shuts down parked connections. Not where bytes have arrived: whoever is woken
 * by them takes it, and sets a new deadline. */
void conn_sweep(struct conn_table *t, int64_t now_ms, enum conn_sweep which);

#endif
