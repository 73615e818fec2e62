/*
 * rebalance.h - no request waits for a busy process while another one is idle
 *
 * What:      with several processes, a kept connection belongs to one of them.
 *            So does a new connection whose request has not come with it. When
 *            a request arrives there while every thread of the process is busy,
 *            and another process has an idle one, the connection is passed on
 *            (conn_passing.h). The first process that has a thread takes it and
 *            serves it at once, so that it cannot go round. A connection on
 *            which a request has begun to arrive stays.
 * How:       the request threads do nothing for this. While requests come, the
 *            control thread looks every few ms; what waits for a thread at two
 *            looks is passed on, about 10 ms after it came. (Up to 100 ms where
 *            something else waits that can never be passed on.) When no request
 *            has ended for a while, the control thread sleeps until the poller
 *            has an event.
 *            Where no process is idle, the master may start one more
 *            (--processes MIN-MAX): it is woken, and sees on the scoreboard
 *            where requests wait.
 * Owner:     the control thread.
 * Threads:   its own.                                            GIL: not used.
 * Errors:    what cannot be passed on stays.                     Blocks: never.
 */
#ifndef WORKER_REBALANCE_H
#define WORKER_REBALANCE_H

#include "base/compiler.h"
#include "worker/pool.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero at first. */
struct rebalance {
    int64_t look_ms; /* clock_ms() of the next look; 0 = at the next event */
    bool waits;      /* at the last look something waited for a thread */
    int again_ms;    /* from that look to the next, in that case */
    uint64_t here, elsewhere; /* requests that had ended by then */
    int64_t changed_ms;       /* clock_ms(), when another one had ended here */
};

/* What to wait for, readable in poll's sense; -1 = nothing now. */
CHECK_RESULT int rebalance_fd(const struct rebalance *r, const struct pool *p);

/* How many ms to wait, at_most or less. */
CHECK_RESULT int rebalance_pause(const struct rebalance *r, int64_t now_ms,
                                 int at_most);

/* Looks, where it is time to. */
void rebalance_run(struct rebalance *r, struct pool *p, int64_t now_ms);

#endif
