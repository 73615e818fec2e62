/*
 * conn_passing.h - connections from and to the other workers of the master
 *
 * What:      a worker that leaves sends its idle connections to the others, so
 *            that the web server that keeps them notices nothing. A busy worker
 *            sends those on which a request waits (rebalance.h). Any worker
 *            that has a thread for one receives it. The channel is
 *            net/fd_passing.h.
 * Owner:     struct worker_conns.
 * Threads:   conn_passing_receive(), conn_passing_send(): any; the rest: at the
 *            start, or the control thread.                       GIL: not used.
 * Errors:    what cannot be sent stays; a connection that is lost is logged.
 * Blocks:    never.
 */
#ifndef WORKER_CONN_PASSING_H
#define WORKER_CONN_PASSING_H

#include "base/compiler.h"
#include "net/conn.h"
#include "worker/worker_conns.h"

#include <stdbool.h>

/* Receives connections from now on, where there are descriptors for it. Again:
 * only where it could not before. 0 or -errno. */
CHECK_RESULT int conn_passing_begin(struct worker_conns *c);

/* Tries again what was not possible for want of descriptors. */
void conn_passing_resume(struct worker_conns *c);

/* Receives no more. */
void conn_passing_end(struct worker_conns *c);

/* A connection that another worker has sent, and its descriptor: BUSY and ours.
 * NULL: there is none (*ret_fd < 0), or it is lost. */
CHECK_RESULT struct conn *conn_passing_receive(struct worker_conns *c,
                                               int *ret_fd);

/* Receives and parks what has been sent, max of them at most. */
void conn_passing_receive_all(struct worker_conns *c, unsigned max);

/* True where another worker goes on with this connection, which is ours; it is
 * only to be closed here. */
CHECK_RESULT bool conn_passing_send(struct worker_conns *c, struct conn *conn,
                                    int fd);

/* Sends the parked connections that can be sent. */
void conn_passing_send_idle(struct worker_conns *c);

/* Sends the connections on which something has arrived that no thread has
 * looked at; any process that has a thread takes them, this one too. False:
 * none of them can be sent. */
bool conn_passing_send_waiting(struct worker_conns *c);

#endif
