#include "worker/worker.h"

#include "os/log.h"
#include "process/signals.h"
#include "python/interp.h"
#include "worker/control_thread.h"
#include "worker/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct worker {
    struct pool *pool;
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

/* Threads in requests that nothing can end are left behind: the process ends
 * without a look at what they still hold, which is no leak. */
static void
leave_lost_threads(const struct pool *p, int status)
{
    if (atomic_load(&p->lost) > 0) {
        (void)fflush(NULL);
        _exit(status);
    }
}

int
worker_run(struct worker *w, bool loaded)
{
    struct pool *p = w->pool;
    int status = pool_run(p, loaded);

    if (status != 0) {
        return status;
    }
    /* First: until its end it may send signals to the request threads. */
    control_thread_join(p);
    pool_end(p);
    control_thread_guard_end(control_thread_end_ms(p), p, EX_OK);
    interp_finish();
    control_thread_guard_over();
    if (atomic_load(&p->restart) && signals_get().stop != STOP_NOW) {
        int e = pool_restart(p);
        if (e != -EINTR) {
            log_error("starting again: %s", strerror(-e));
            status = EX_OSERR;
        }
    }
    pool_close(p);
    leave_lost_threads(p, status);
    return status;
}

void
worker_close(struct worker *w)
{
    pool_close(w->pool);
}
