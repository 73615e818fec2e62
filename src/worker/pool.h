/*
 * pool.h - the request threads of one process
 *
 * What:      runs FastCGI on a set of listeners until asked to stop or restart.
 *            The calling thread is a request thread; --threads N adds N - 1. The
 *            control thread thread (control_thread.h) owns signals and deadlines.
 * Owner:     main(); one a process, or one a worker.
 * Lifetime:  pool_open() to the end of the process.
 * Threads:   as said.           GIL: not held by the caller.
 * Errors:    a sysexits code after a log line.
 * Blocks:    pool_run(): until asked to stop.
 */
#ifndef WORKER_POOL_H
#define WORKER_POOL_H

#include "base/compiler.h"
#include "net/conn.h"
#include "os/memory.h"
#include "transport/fcgi.h"
#include "worker/watchdog.h"
#include "worker/worker_conns.h"
#include "worker/worker_setup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct request_thread;

struct pool {
    struct worker_setup s;
    struct worker_conns conns;
    struct fcgi_limits limits;
    struct request_thread *threads;
    struct watchdog watchdog; /* the control thread's */
    pthread_t control_thread;
    uint64_t request_limit; /* --max-requests with jitter, 0 = none */
    struct memory memory;   /* --max-memory */
    int64_t end_ms;      /* when stopping: --graceful-timeout passes; else 0 */
    int64_t finish_ms;   /* when stopping: idle connections end then */
    int64_t share_ms;    /* since when all workers stop; 0 = they do not */
    atomic_bool started; /* requests may be running */
    _Atomic(enum fcgi_stop) stop;
    atomic_bool restart; /* ... because the program is to start again */
    atomic_bool broken;  /* the application has not been loaded */
    atomic_bool
        needs_recycle;   /* a limit has been reached: time for a new process */
    atomic_uint running; /* request threads */
    atomic_uint lost;    /* of them, in requests that nothing can end */
    pthread_mutex_t
        end_lock; /* the main thread, the control thread or the guard: */
    bool closed;  /* one of them ends the process */
};

/* At a stop: the connections have ended, but those of lost threads, which keep
 * theirs. */
static inline bool
pool_has_finished(const struct pool *p)
{
    return conn_table_open(p->conns.table) <= atomic_load(&p->lost);
}

/* The listeners are watched. 0 or EX_OSERR. */
CHECK_RESULT int pool_open(const struct worker_setup *setup,
                           struct pool **ret_pool);

/* Python has been started and the application loaded (or, loaded false, answers
 * with error pages). Returns 0 when the calling thread has no request left to
 * serve and the control thread has asked all to leave. */
CHECK_RESULT int pool_run(struct pool *p, bool loaded);

/* After pool_run(), when the control thread has ended: waits for the other
 * request threads. Those in requests that nothing can end are left behind. */
void pool_end(struct pool *p);

/* Executes the program again, on the sockets that are here. Any thread. Returns
 * only if it cannot: -errno; -EBADF after pool_close(). */
CHECK_RESULT int pool_restart(struct pool *p);

/* Removes the sockets and the pid file that were made here. Any thread; the second
 * one only waits for the first. */
void pool_close(struct pool *p);

/* -- for the control thread --------------------------------------------------------- */

/* Nothing new is accepted or begun from here on. */
void pool_stop(struct pool *p);

/* After pool_stop(), again and again: ends idle connections and, when all have
 * ended, tells the request threads to leave. */
void pool_finish(struct pool *p);

/* At the end lost threads are not waited for; pool_finish() gets this first. */
void pool_abandon_lost(struct pool *p);

#endif
