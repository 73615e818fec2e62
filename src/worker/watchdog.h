/*
 * watchdog.h - requests that are slow or overdue, and what is done about them
 *
 * What:      looks at the requests of one process. --slow: one dump of the
 *            request's stack. --request-timeout: a dump of all stacks, then
 *            RequestTimeout is raised inside the request, repeatedly until the
 *            application notices. When the request still runs GRACE_MS later,
 *            its client gets a response and the request counts as lost: the
 *            process should end.
 * Owner:     the caller of watchdog_run(): the control thread, or
 *            cgi_timeout.c.
 * Lifetime:  watchdog_new() to the end of the process.
 * Threads:   watchdog_enter(), watchdog_begin(): the thread of the request. The
 *            rest: one thread.
 * GIL:       not held.        Errors: logs.
 * Blocks:    watchdog_run(): where a C extension keeps the GIL, a moment for
 *            each thread whose stack is wanted.
 */
#ifndef WORKER_WATCHDOG_H
#define WORKER_WATCHDOG_H

#include "base/compiler.h"
#include "conf/config.h"
#include "gateway/request.h"
#include "status/scoreboard.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watchdog;

/* For the threads of a worker, as many as the board has. is_replaced: a new
 * process takes the place of one that has to go. NULL: no memory. */
CHECK_RESULT struct watchdog *watchdog_new(const struct config *config,
                                           struct scoreboard *board,
                                           unsigned worker, bool is_replaced);

/* The calling thread has this number. Before its first request. */
void watchdog_enter(struct watchdog *w, unsigned thread);

/* A request begins; serial is score_begin()'s. */
void watchdog_begin(struct watchdog *w, unsigned thread, uint64_t serial,
                    struct request *q);

/* All stacks to the log, soon. why: for the line above them, static. */
void watchdog_dump(struct watchdog *w, const char *why);

/* Does what is due at now_ms. Returns in how many ms to call it again, 1 or
 * more. */
CHECK_RESULT int watchdog_run(struct watchdog *w, int64_t now_ms);

/* True where the thread's request is lost. */
CHECK_RESULT bool watchdog_is_lost(const struct watchdog *w, unsigned thread);

/* How many threads have such a request now, and how many requests were lost
 * since the start. */
CHECK_RESULT unsigned watchdog_lost(const struct watchdog *w);
CHECK_RESULT unsigned watchdog_lost_ever(const struct watchdog *w);

#endif
