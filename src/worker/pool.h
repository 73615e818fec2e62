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

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct request_thread;

/* What the threads of the process share. A member that is not atomic is set before
 * the request threads start and only read after that, or its type says which
 * thread may do what. */
struct pool {
    struct worker_setup s;
    struct worker_conns conns;
    struct fcgi_limits limits;
    struct request_thread *threads; /* request_threads.c */
    struct watchdog *watchdog;
    uint64_t request_limit; /* --max-requests with jitter, 0 = none */
    struct memory memory;   /* --max-memory */
    /* Requests may be running. The main thread sets it. */
    atomic_bool started;
    /* The application has not been loaded. The main thread sets it, a request
     * thread clears it. */
    atomic_bool broken;
    /* A limit has been reached: a new process has to take over. Request threads
     * set it. */
    atomic_bool needs_recycle;
    /* Request threads. The main thread counts them up, each counts itself down. */
    atomic_uint running;
    /* Of them, those in requests that nothing can end. graceful_stop.c, in the
     * control thread. */
    atomic_uint lost;
    /* graceful_stop.c, in the control thread. */
    _Atomic(enum fcgi_stop) stop;
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

#endif
