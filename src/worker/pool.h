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
#include "conf/config.h"
#include "doctor/doctor.h"
#include "net/acl.h"
#include "net/conn.h"
#include "net/fd_passing.h"
#include "net/fd_reserve.h"
#include "net/listener.h"
#include "net/poller.h"
#include "os/memory.h"
#include "status/control.h"
#include "status/scoreboard.h"
#include "transport/fcgi.h"
#include "worker/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct thread; /* a request thread */

/* What the process that forked this one has done already (--preload). */
enum pool_preload {
    PRELOAD_NONE,   /* nothing */
    PRELOAD_LOADED, /* Python runs, the application is loaded */
    PRELOAD_BROKEN  /* Python runs, the application could not be loaded */
};

/* What a process gets from whoever made it; borrowed for its life. */
struct pool_setup {
    const struct config *config;
    struct listener *listeners;
    size_t nlisteners;
    const struct acl *allow;
    struct scoreboard *board;
    unsigned worker;    /* our slot on the board */
    int master_wake_fd; /* wakes the master; -1 = there is none */
    int imports_fd;     /* --reload=modules: where the master hears of files */
    struct fd_passing
        *fd_passing; /* between the workers of a master, or from one run
                              * of the program to the next on the same pid */
    enum pool_preload preload;
    bool restarted;          /* clients have waited for this program to start */
    struct control *control; /* to be served here, or NULL */
    const struct doctor_facts
        *doctor; /* --doctor: there is no Python; or NULL */
};

struct pool {
    struct pool_setup s;
    struct poller poller;
    struct conn_table *conns;
    struct fcgi_limits limits;
    struct thread *threads;
    struct watchdog watchdog; /* the control thread's */
    pthread_t control_thread;
    uint64_t request_limit;       /* --max-requests with jitter, 0 = none */
    struct memory memory;         /* --max-memory */
    pthread_mutex_t receive_lock; /* of spare, and who is woken for migrants */
    struct fd_reserve fd_reserve; /* without it they are not received */
    int64_t end_ms;      /* when stopping: --graceful-timeout passes; else 0 */
    int64_t finish_ms;   /* when stopping: idle connections end then */
    int64_t share_ms;    /* since when all workers stop; 0 = they do not */
    atomic_bool started; /* requests may be running */
    _Atomic(enum fcgi_stop) stop;
    atomic_bool restart; /* ... because the program is to start again */
    atomic_bool broken;  /* the application has not been loaded */
    atomic_bool
        needs_recycle;   /* a limit has been reached: time for a new process */
    atomic_bool paused;  /* out of descriptors: listeners are not polled */
    atomic_uint running; /* request threads */
    atomic_uint lost;    /* of them, in requests that nothing can end */
    pthread_mutex_t
        end_lock; /* the main thread, the control thread or the guard: */
    bool closed;  /* one of them ends the process */
};

/* The listeners are watched. 0 or EX_OSERR. */
CHECK_RESULT int pool_open(const struct pool_setup *setup,
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

/* No thread could begin a request now. */
bool pool_is_busy(const struct pool *p);

/* Connections on which something has arrived that nobody has looked at go to
 * whichever process has a thread for them first; the others stay as they are.
 * False: there are only such as stay. */
bool pool_pass_on(struct pool *p);

/* Nothing new is accepted or begun from here on. */
void pool_stop(struct pool *p);

/* After pool_stop(), again and again: ends idle connections and, when all have
 * ended, tells the request threads to leave. */
void pool_finish(struct pool *p);

/* At the end lost threads are not waited for; pool_finish() gets this first. */
void pool_abandon_lost(struct pool *p);

/* Waits for the other threads than the main one. False where some were left
 * behind, which may still use what the pool has. By the main thread, or for it
 * where that is lost. */
bool pool_join(struct pool *p);

/* Watches again what was paused for want of descriptors. */
void pool_resume(struct pool *p);

#endif
