#include "worker/worker.h"

#include "os/log.h"
#include "process/finalize_timeout.h"
#include "process/signals.h"
#include "python/interp.h"
#include "worker/control_thread.h"
#include "worker/graceful_stop.h"
#include "worker/pool.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct worker {
    struct pool *pool;
    struct graceful_stop stop; /* since the end of the control thread */
    bool is_joined;            /* it has ended */
};

int
worker_open(const struct worker_setup *setup, struct worker **ret)
{
    static struct worker worker; /* threads outlive the caller */
    int status = pool_open(setup, &worker.pool);

    if (status != 0) {
        return status;
    }
    int e = control_thread_start(worker.pool);
    if (e < 0) {
        log_error("starting the control thread: %s", strerror(-e));
        return EX_OSERR;
    }
    *ret = &worker;
    return 0;
}

/* Where threads are lost, the process ends here: LeakSanitizer must not report
 * what they still hold. */
static void
leave_lost_threads(const struct pool *p, int status)
{
    if (atomic_load(&p->lost) > 0) {
        (void)fflush(NULL);
        _exit(status);
    }
}

static void
leave_without_python(void *arg)
{
    const struct worker *w = arg;

    (void)graceful_stop_leave(&w->stop, w->pool);
}

int
worker_run(struct worker *w, bool loaded)
{
    struct pool *p = w->pool;

    assert(p != NULL);
    int status = pool_run(p, loaded);

    if (status != 0) {
        return status;
    }
    /* First: until its end it may send signals to the request threads. */
    control_thread_join(&w->stop);
    w->is_joined = true;
    pool_end(p);
    finalize_timeout_begin(graceful_stop_python_end_ms(&w->stop, p), EX_OK,
                           leave_without_python, w);
    interp_finish();
    finalize_timeout_end();
    status = graceful_stop_leave(&w->stop, p);
    leave_lost_threads(p, status);
    return status;
}

void
worker_close(struct worker *w)
{
    /* Where the start has failed, the control thread may be at a socket. */
    if (!w->is_joined) {
        atomic_store(&w->pool->gave_up, true);
        signals_wake();
        control_thread_join(&w->stop);
        w->is_joined = true;
    }
    graceful_stop_close(w->pool);
}
