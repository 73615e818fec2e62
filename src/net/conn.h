/*
 * conn.h - accepted connections: the owner and the deadline of each
 *
 * What:      a table indexed by descriptor. An entry is FREE, then BUSY (a
 *            request thread owns it), ARMING (this thread adds it to epoll),
 *            PARKED (no thread owns it), BUSY again, and so on until it is
 *            FREE. The sweeper shuts down connections that are PARKED after
 *            their deadline; the thread that this wakes closes them, so only
 *            owners close.
 * Owner:     the process; an entry belongs to the thread that made it BUSY.
 *            While it is ARMING, this thread still uses the descriptor. The
 *            thread that the poller wakes may take the entry, and no other one.
 * Lifetime:  entries are never freed, only used again, with a new generation:
 *            an old event has another one.
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

/* The bits of a word that the state does not use. A token of the poller has
 * room for them. */
#define CONN_GENERATION 0x1fffffffu

/* The first member of a protocol's own entry. */
struct conn {
    /* Generation and state in one word: a thread that finds the generation
     * of its event takes the connection of that event. Any thread may change
     * it. */
    _Atomic uint32_t word;
    atomic_llong deadline_ms; /* of clock_ms(), while PARKED; 0 = none */
    atomic_bool kept;         /* has carried a request */
    atomic_bool lingering;    /* answered; the rest of the input is read away */
    atomic_bool swept;        /* shut down by the sweeper: only close it */
    /* For queue/queue_time.c, which sets them while the entry is PARKED, in the
     * thread of conn_sweep(); the owner reads them. */
    int64_t seen_ms; /* clock_ms(), since when so many bytes have waited; 0 = it
                      * was not seen */
    int seen_bytes;
    /* For the same, the owner's: clock_ms() when the last thread that served it
     * had done so, 0 = none has. What came before waited for that thread. */
    int64_t served_ms;
    /* These belong to the owner. */
    bool in_poller;        /* epoll knows the descriptor */
    bool has_input;        /* PARKED: bytes wait outside of the socket */
    bool has_send_timeout; /* SO_SNDTIMEO is set */
};

struct conn_table;

/* A table of max entries of entry_size bytes, which start with a struct conn
 * and are zero at first. It uses memory only for descriptors that occur. NULL:
 * no memory. */
CHECK_RESULT struct conn_table *conn_table_new(size_t max, size_t entry_size);
void conn_table_free(struct conn_table **t);

/* The number of open connections. */
size_t conn_table_open(const struct conn_table *t);

/* The number of entries. */
size_t conn_table_max(const struct conn_table *t);

/* The entry for a descriptor from accept(), BUSY, which the caller owns; NULL
 * where the table is too small. */
CHECK_RESULT struct conn *conn_open(struct conn_table *t, int fd);

int conn_fd(const struct conn_table *t, const struct conn *c);

/* Takes the entry of an event: it is BUSY and the caller owns it. NULL where it
 * is no longer parked. */
CHECK_RESULT struct conn *conn_take(struct conn_table *t, int fd,
                                    uint32_t generation);

/* Prepares the entry for the poller, which must be armed with the generation
 * that is returned, a new one each time. Until conn_armed() or conn_unpark()
 * the descriptor stays open, unless a thread that the poller wakes has taken
 * the entry. */
CHECK_RESULT uint32_t conn_park(struct conn *c, int64_t deadline_ms);

/* To be called when the poller is armed: now the sweeper may take the entry as
 * well. A thread that was woken at once may have taken it already, and parked
 * it again. */
void conn_armed(struct conn *c, uint32_t generation);

/* To be called where arming failed: the entry is BUSY again, with the same
 * owner. */
void conn_unpark(struct conn *c);

/* Calls pass() for each parked connection, which no other thread takes
 * meanwhile. True: another process has it, and it is closed here; false: it
 * stays parked. Only in the thread of conn_sweep(). */
void conn_pass_parked(struct conn_table *t,
                      bool (*pass)(void *arg, struct conn *c, int fd),
                      void *arg);

/* Closes the descriptor of an entry; for its owner. */
void conn_close(struct conn_table *t, struct conn *c);

/* In a forked child: closes every descriptor of the table. */
void conn_close_all(struct conn_table *t);

enum conn_sweep {
    SWEEP_OVERDUE, /* those whose deadline is before now_ms */
    SWEEP_KEPT,    /* also those that have carried a request */
    SWEEP_ALL      /* all but those that linger until their deadline */
};

/* Shuts down parked connections, but not where bytes have arrived: these wake a
 * thread, which takes the entry and sets a new deadline. */
void conn_sweep(struct conn_table *t, int64_t now_ms, enum conn_sweep which);

#endif
