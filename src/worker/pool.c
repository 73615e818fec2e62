#include "worker/pool.h"

#include "net/conn.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/memory.h"
#include "process/forked_child.h"
#include "process/service_log.h"
#include "process/signals.h"
#include "python/gil_state.h"
#include "status/notify.h"
#include "transport/fcgi.h"
#include "worker/conn_passing.h"
#include "worker/request_threads.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    START_LOG_MS = 1000, /* at most: requests wait for this thread, too */
    FDS_FEW = 1024
};

/* In a child that the application forks. */
static void
in_child(void *arg)
{
    struct pool *p = arg;

    worker_conns_close_in_child(&p->conns);
    control_close_in_child(p->s.control);
    fd_close(&p->s.master_wake_fd);
    fd_close(&p->s.imports_fd);
    notify_forget();
    memory_close(&p->memory);
    cpu_limit_restore(&p->cpu);
}

/* The workers of one master must not all reach the limit at once. */
static uint64_t
request_limit(const struct config *c)
{
    uint64_t r = 0;

    if (c->max_requests == 0) {
        return 0;
    }
    if (c->max_requests_jitter > 0 &&
        getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r) {
        r = (uint64_t)getpid() * 2654435761u;
    }
    return c->max_requests + r % (c->max_requests_jitter + 1u);
}

static void
share_gil_state(const struct worker_setup *s)
{
    struct score_worker *w = &s->board->workers[s->worker];
    const struct gil_share share = {.is_on = &w->gil,
                                    .logged = &s->board->gil_logged,
                                    .generation = atomic_load(&w->generation)};

    gil_state_share(&share);
}

static int
prepare(struct pool *p)
{
    const struct config *c = p->s.config;
    int e = worker_conns_open(&p->conns, &p->s);

    if (e == 0) {
        e = conn_passing_begin(&p->conns);
    }
    if (e == 0) {
        e = request_threads_new(p);
    }
    if (e == 0) {
        e = signals_open(false);
    }
    if (e == 0) {
        p->watchdog = watchdog_new(c, p->s.board, p->s.worker, true);
        e = p->watchdog == NULL ? -ENOMEM : 0;
    }
    if (e == 0 && c->queue_timeout_ms > 0) {
        p->queue_time = queue_time_new(c->queue_timeout_ms);
        e = p->queue_time == NULL ? -ENOMEM : 0;
    }
    if (e == 0) {
        e = forked_child_watch(in_child, p);
    }
    if (e < 0) {
        return e;
    }
    p->limits = (struct fcgi_limits){
        .head = c->limit_head,
        .vars = c->limit_vars,
        .max_conns = (unsigned)conn_table_max(p->conns.table),
        .max_reqs = c->threads * (c->processes > 0 ? c->processes : 1)};
    p->request_limit = request_limit(c);
    return 0;
}

int
pool_open(const struct worker_setup *setup, struct pool **ret_pool)
{
    static struct pool pool; /* threads outlive their caller */
    int e;

    pool.s = *setup;
    share_gil_state(setup);
    if ((e = memory_open(&pool.memory, setup->config->max_memory,
                         setup->config->is_warm)) != 0) {
        return e;
    }
    e = prepare(&pool);
    if (e < 0) {
        log_error("setting up the request threads: %s", strerror(-e));
        return EX_OSERR;
    }
    *ret_pool = &pool;
    return 0;
}

/* The number of the descriptor with which half of those are open that an
 * application would have in CGI. select() can only use the first 1024. */
static int
half_of_descriptors(const struct pool *p)
{
    int max = (int)conn_table_max(p->conns.table);
    int first = fd_open_null();
    int used = first;

    fd_close(&first);
    max = max < FDS_FEW ? max : FDS_FEW;
    return used < 0 || used > max ? 0 : used + (max - used) / 2;
}

/* Tells the master that the application has been loaded, or could not be. */
static void
report(struct pool *p, bool loaded)
{
    const uint64_t one = 1;

    atomic_store(&p->s.board->workers[p->s.worker].state,
                 loaded ? SCORE_READY : SCORE_BROKEN);
    atomic_store(&p->broken, !loaded);
    if (p->s.master_wake_fd >= 0 &&
        write(p->s.master_wake_fd, &one, sizeof one) < 0) {
        /* Full: it will wake up anyhow. */
    }
}

int
pool_run(struct pool *p, bool loaded)
{
    assert(!atomic_load(&p->started));
    memory_check_limit(&p->memory);
    /* Now: the application may have lowered them. */
    if (p->s.config->is_warm) {
        cpu_limit_open(&p->cpu, p->s.config->threads);
        p->fd_limit = half_of_descriptors(p);
    }
    if (p->s.master_wake_fd < 0) {
        log_set_patience(START_LOG_MS);
        service_log_started(p->s.config, p->s.listeners, p->s.nlisteners);
        log_set_patience(-1);
    }
    int e = request_threads_start(p);
    if (e < 0) {
        log_error("starting the request threads: %s", strerror(-e));
        return EX_OSERR; /* the threads that run end with the process */
    }
    report(p, loaded);
    atomic_store(&p->started, true);
    if (notify_is_on()) {
        signals_wake(); /* so that the control thread tells systemd at once */
    }
    request_threads_run_main(p);
    return 0;
}

void
pool_end(struct pool *p)
{
    if (request_threads_join(p)) {
        memory_close(&p->memory);
        worker_conns_close(&p->conns);
        request_threads_free(p);
    }
}
