/*
 * pool.h - what the request threads of one process share
 *
 * What:      the connections, the limits, and the flags by which the threads of
 *            the process tell each other what to do. The threads themselves are
 *            request_threads.h; control_thread.h controls them.
 * Owner:     worker.c; one a process.
 * Lifetime:  pool_open() to the end of the process: threads in requests that
 *            nothing can end still use it.
 * Threads:   pool_open(), pool_run(), pool_end(): the main thread.
 * GIL:       not held by the caller.
 * Errors:    a sysexits code after a log line.
 * Blocks:    pool_run(), pool_end(): until threads have ended.
 */
#ifndef WORKER_POOL_H
#define WORKER_POOL_H

#include "base/compiler.h"
#include "base/cpu_limit.h"
#include "net/conn.h"
#include "os/memory.h"
#include "queue/queue_time.h"
#include "transport/fcgi.h"
#include "worker/watchdog.h"
#include "worker/worker_conns.h"
#include "worker/worker_setup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct request_thread;

/* What the threads of the process share. A member that is not atomic is set
 * before the request threads start and only read after that, or its type says
 * which thread may do what. */
struct pool {
    struct worker_setup s;
    struct worker_conns conns;
    struct fcgi_limits limits;
    struct request_thread *threads; /* request_threads.c */
    struct watchdog *watchdog;
    struct queue_time *queue_time; /* --queue-timeout; NULL = without it */
    uint64_t request_limit;        /* --max-requests with jitter, 0 = none */
    struct memory memory;          /* --max-memory, RLIMIT_AS, _DATA */
    struct cpu_limit cpu;          /* of a warm instance, or all 0 */
    /* Of a warm instance: where a descriptor of such a number is open, the
     * application keeps too many open; else 0. */
    int fd_limit;
    /* Requests may be running. The main thread sets it. */
    atomic_bool started;
    /* It does not start: the control thread has to end. The main thread sets
     * it. */
    atomic_bool gave_up;
    /* The application has not been loaded. The main thread sets it, a request
     * thread clears it. */
    atomic_bool broken;
    /* A limit has been reached: a new process has to take over. Request threads
     * set it. */
    atomic_bool needs_recycle;
    /* Request threads. The main thread counts them up, each counts itself
     * down. */
    atomic_uint running;
    /* Of them, those in requests that nothing can end. graceful_stop.c, in the
     * control thread. */
    atomic_uint lost;
    /* graceful_stop.c, in the control thread. */
    _Atomic(enum fcgi_stop) stop;
    /* --exit-idle ends the process. The control thread sets it. */
    atomic_bool exits_idle;
};

/* At a stop: all connections have ended but those of lost threads. */
static inline bool
pool_has_finished(const struct pool *p)
{
    return conn_table_open(p->conns.table) <= atomic_load(&p->lost);
}

/* From here on the listeners are watched and the signal handlers are set, but
 * nothing is accepted before pool_run(). 0 or EX_OSERR. */
CHECK_RESULT int pool_open(const struct worker_setup *setup,
                           struct pool **ret_pool);

/* Python runs and the application has been loaded; where loaded is false it
 * could not be, and requests are answered with error pages. Returns 0 when the
 * control thread has asked all to leave and the main thread has no request
 * left. */
CHECK_RESULT int pool_run(struct pool *p, bool loaded);

/* After pool_run(), when the control thread has ended: waits for the other
 * request threads. Those in requests that nothing can end are left behind. */
void pool_end(struct pool *p);

#endif
