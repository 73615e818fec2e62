/*
 * queue_time.h - how long a request has waited for a thread (--queue-timeout)
 *
 * What:      the time for which what a request thread is about to serve has
 *            certainly waited: never more than it did. The kernel keeps no time
 *            for a queue, so this comes from two places.
 *            TCP: since the last byte came (TCP_INFO), by when the whole head
 *            had come; but not before the last request on the same connection
 *            had been served.
 *            Unix sockets: since a look at which it had been sent already, if
 *            nothing has been sent since. The control thread looks in every
 *            round, a few times in each timeout, at the connections that wait
 *            to be accepted and at parked ones. A client is known by the inode
 *            number of its socket. (Its place in the queue would not do: other
 *            threads, and other programs at the same socket, accept, too.)
 * Owner:     the pool.
 * Lifetime:  queue_time_new() to the end of the process.
 * Threads:   queue_time_look(): the control thread. The others: request threads.
 * GIL:       not used.
 * Errors:    where the kernel says nothing, the wait is 0.
 * Blocks:    never.
 */
#ifndef QUEUE_QUEUE_TIME_H
#define QUEUE_QUEUE_TIME_H

#include "base/compiler.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/poller.h"

#include <stddef.h>
#include <stdint.h>

struct queue_time;

/* NULL: no memory. */
CHECK_RESULT struct queue_time *queue_time_new(int64_t limit_ms);

/* Warns of sockets whose queue the kernel does not show. At the start. */
void queue_time_check(const struct listener *listeners, size_t n);

/* Looks at what waits now, where it is time to. */
void queue_time_look(struct queue_time *q, const struct poller *poller,
                     const struct listener *listeners, size_t n,
                     struct conn_table *table);

/* For a connection that has just been accepted, before it is read: since when
 * (clock_ms()) it waits at the least; 0 = not known, or for less than the
 * limit. Makes system calls only where one has waited for longer than that. */
CHECK_RESULT int64_t queue_time_accepted(struct queue_time *q, int fd);

/* The same for a parked connection that the poller has returned. */
CHECK_RESULT int64_t queue_time_taken(const struct conn *c, int fd);

/* When the head of its request is complete: for how many ms it has waited.
 * since_ms: as one of the above returned it. served_ms: of the connection. */
CHECK_RESULT int64_t queue_time_waited(int fd, int64_t since_ms,
                                       int64_t served_ms);

#endif
