/*
 * graceful_stop.h - how a process stops, and how it executes the program again
 *
 * What:      accepts nothing new, ends idle connections or sends them to other
 *            workers, serves what has been sent by then, and makes the request
 *            threads end. When --graceful-timeout passes, or at a second
 *            signal, the process ends all the same. Where all workers of a
 *            master stop, none is left to take over: they empty the queues of
 *            the sockets together first.
 * Owner:     struct graceful_stop: the control thread; after its end, the main
 *            thread.
 * Threads:   the owner; graceful_stop_leave() and graceful_stop_close(): any.
 * GIL:       not used.                                           Errors: logs.
 * Blocks:    graceful_stop_leave(), graceful_stop_close(): while another thread
 *            is in one of them. The rest never.
 */
#ifndef WORKER_GRACEFUL_STOP_H
#define WORKER_GRACEFUL_STOP_H

#include "base/compiler.h"
#include "worker/pool.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero at first. Times are clock_ms(). */
struct graceful_stop {
    bool restart;      /* the program is to be executed again after it */
    int64_t end_ms;    /* --graceful-timeout passes; 0 = not stopping */
    int64_t finish_ms; /* idle connections end */
    int64_t share_ms;  /* all workers began to stop; 0 = they do not, or the
                        * queues are empty */
};

/* Accepts and begins nothing new from here on. */
void graceful_stop_begin(struct graceful_stop *g, struct pool *p,
                         int64_t now_ms, bool restart);

/* A stop is for good, also for those who wait to connect: where a restart is
 * under way, a stop can begin in its place. */
void graceful_stop_cancel_restart(struct graceful_stop *g);

/* Threads in requests that nothing can end are not waited for. In every round,
 * before graceful_stop_go_on(). */
void graceful_stop_abandon_lost(struct pool *p);

/* In every round: ends idle connections and, when all have ended, makes the
 * request threads leave. */
void graceful_stop_go_on(struct graceful_stop *g, struct pool *p);

/* Ends the process without waiting for requests; why: for the log, or NULL. */
_Noreturn void graceful_stop_end_now(const struct graceful_stop *g,
                                     struct pool *p, const char *why);

/* When the requests have ended: until when the end of Python may take. What is
 * left of --graceful-timeout, and a moment in any case. */
int64_t graceful_stop_python_end_ms(const struct graceful_stop *g,
                                    const struct pool *p);

/* Removes the sockets and the pid file that were made here. The caller ends the
 * process after that. Again: only waits for the first. */
void graceful_stop_close(struct pool *p);

/* Before the process ends: executes the program again on the same sockets where
 * that was asked for and no forced stop has come since; else, and where it
 * fails, closes. EX_OK, or EX_OSERR where it has failed. */
int graceful_stop_leave(const struct graceful_stop *g, struct pool *p);

#endif
