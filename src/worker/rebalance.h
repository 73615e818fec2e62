/*
 * rebalance.h - no request waits behind a busy process while another is idle
 *
 * What:      with several processes, a kept connection belongs to one of them, and
 *            so does a new one whose request has not come with it. When a request
 *            arrives there while every thread of the process is busy, and another
 *            process has an idle one, the connection is passed on (net/fd_passing.h):
 *            whoever has a thread first takes it and serves it at once, so that it
 *            cannot go round. Not one on which a request has begun to arrive.
 * How:       request threads do nothing for this: the control thread looks now and then
 *            while requests come, and what waits for a thread at two looks is
 *            passed on, some 10 ms after it came (up to 100 where something else
 *            waits that can never be passed on). When no request has ended for a
 *            while it sleeps until there is an event in the poller.
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
    bool waits;      /* at the last one something waited for a thread */
    int again_ms;    /* from it to the next, in that case */
    uint64_t here, elsewhere; /* requests that had ended by then */
    int64_t changed_ms;       /* when another one had ended here */
};

/* What to wait for, readable in poll's sense; -1 = nothing now. */
CHECK_RESULT int rebalance_fd(const struct rebalance *r, const struct pool *p);

/* How long to wait, at most at_most. */
CHECK_RESULT int rebalance_pause(const struct rebalance *r, int64_t now_ms,
                                 int at_most);

/* Looks, where it is time to. */
void rebalance_run(struct rebalance *r, struct pool *p, int64_t now_ms);

#endif
