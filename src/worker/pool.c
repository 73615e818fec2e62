#include "worker/pool.h"

#include "base/clock.h"
#include "gateway/access_log.h"
#include "net/conn.h"
#include "net/poller.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/memory.h"
#include "process/forked_child.h"
#include "process/pid_file.h"
#include "process/signals.h"
#include "reload/restart.h"
#include "status/notify.h"
#include "transport/fcgi.h"
#include "worker/conn_passing.h"
#include "worker/request_threads.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    /* At a stop: for the workers to empty the queues together. */
    SHARE_UNIX_MS = 2000,
    SHARE_TCP_MS = 200 /* there, more may come all the time */
};

/* -- the end ------------------------------------------------------------------------ */

/* False where nothing waits to be accepted, another worker has closed it already,
 * or it has been long enough. */
static bool
is_shared(const struct pool *p, const struct listener *l, int64_t now)
{
    struct pollfd f = {.fd = l->fd, .events = POLLIN};
    int64_t limit = l->is_tcp ? SHARE_TCP_MS : SHARE_UNIX_MS;

    if (limit > p->s.config->graceful_timeout_ms / 2) {
        limit = p->s.config->graceful_timeout_ms / 2;
    }
    return now < p->share_ms + limit && poll(&f, 1, 0) > 0 &&
           (f.revents & POLLHUP) == 0;
}

/* Workers that stop together: each takes from the queues what it has threads
 * for, as ever, so that nobody waits behind a long request of one while another
 * has nothing to do. */
static void
share_queues(struct pool *p, int64_t now)
{
    bool is_over = true;

    for (size_t i = 0; i < p->s.nlisteners; i++) {
        struct listener *l = &p->s.listeners[i];
        if (l->is_adopted) {
            continue;
        }
        if (is_shared(p, l, now)) {
            is_over = false;
        }
        else {
            worker_conns_shut_listener(&p->conns, l);
        }
    }
    if (is_over) {
        p->share_ms = 0;
        p->finish_ms = now + WORKER_CONNS_FIRST_BYTE_MS;
    }
}

/* All workers stop: nobody is left to take over. */
static void
stop_last(struct pool *p)
{
    bool has_master = p->s.master_wake_fd >= 0;

    atomic_store(&p->stop, FCGI_STOP);
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        struct listener *l = &p->s.listeners[i];
        if (l->is_adopted) {
            worker_conns_leave_listener(&p->conns, l);
        }
        else if (!has_master) {
            listener_unlink(l); /* else the master has done so */
            worker_conns_shut_listener(&p->conns, l);
        }
    }
    if (has_master) {
        p->share_ms = clock_ms();
    }
}

void
pool_stop(struct pool *p)
{
    bool has_master = p->s.master_wake_fd >= 0;

    p->finish_ms = clock_ms() + WORKER_CONNS_FIRST_BYTE_MS;
    if (!atomic_load(&p->restart) &&
        (!has_master || atomic_load(&p->s.board->stopping))) {
        stop_last(p);
        return;
    }
    atomic_store(&p->stop, FCGI_LEAVE);
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        worker_conns_leave_listener(&p->conns, &p->s.listeners[i]);
    }
    conn_passing_end(&p->conns);
    conn_passing_receive_all(&p->conns, worker_conns_idle_threads(&p->conns));
}

/* Connections find another process, or their end. */
static void
finish_conns(struct pool *p, int64_t now)
{
    if (atomic_load(&p->stop) == FCGI_LEAVE &&
        (atomic_load(&p->s.board->stopping) ||
         (now >= p->finish_ms && !fd_passing_has_room(p->s.fd_passing)))) {
        atomic_store(&p->stop, FCGI_STOP); /* nobody takes them */
    }
    if (atomic_load(&p->stop) == FCGI_LEAVE) {
        conn_passing_send_idle(&p->conns);
        conn_sweep(p->conns.table, now, SWEEP_OVERDUE);
        return;
    }
    conn_passing_receive_all(&p->conns,
                             (unsigned)conn_table_max(p->conns.table));
    /* Who has had an answer connects elsewhere; who has just connected gets a
     * moment to say what it wants. */
    conn_sweep(p->conns.table, now,
               now < p->finish_ms ? SWEEP_KEPT : SWEEP_ALL);
}

void
pool_finish(struct pool *p)
{
    int64_t now = clock_ms();

    if (p->share_ms != 0) {
        share_queues(p, now);
    }
    finish_conns(p, now);
    if (p->share_ms == 0 && pool_has_finished(p)) {
        poller_wake_all(&p->conns.poller);
    }
}

void
pool_abandon_lost(struct pool *p)
{
    for (unsigned i = 0; i < p->s.config->threads; i++) {
        if (watchdog_is_lost(&p->watchdog, i)) {
            request_threads_abandon(p, i);
        }
    }
    atomic_store(&p->lost, p->watchdog.lost);
}

/* -- all of it ------------------------------------------------------------------- */

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
}

/* The workers of one master must not all wear out at once. */
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
        e = watchdog_init(&p->watchdog, c, p->s.board, p->s.worker);
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
    static struct pool pool = {
        .end_lock =
            PTHREAD_MUTEX_INITIALIZER}; /* one a process: threads outlive their caller */
    int e;

    pool.s = *setup;
    if ((e = memory_open(&pool.memory, setup->config->max_memory)) != 0) {
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

/* The master wants to know when the application has been loaded. */
static void
report(struct pool *p, bool loaded)
{
    const uint64_t one = 1;

    atomic_store(&p->s.board->workers[p->s.worker].state,
                 loaded ? SCORE_READY : SCORE_BROKEN);
    atomic_store(&p->broken, !loaded);
    if (p->s.master_wake_fd >= 0 &&
        write(p->s.master_wake_fd, &one, sizeof one) < 0) {
        /* Full: it will look. */
    }
}

int
pool_run(struct pool *p, bool loaded)
{
    memory_check_limit(&p->memory);
    int e = request_threads_start(p);
    if (e < 0) {
        log_error("starting the request threads: %s", strerror(-e));
        return EX_OSERR; /* the threads that run end with the process */
    }
    report(p, loaded);
    atomic_store(&p->started, true);
    if (notify_is_on()) {
        signals_wake(); /* the control thread tells it at once */
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

static int
execute_again(struct pool *p)
{
    struct restart_fds fds = {.control_fd = -1,
                              .notify_fd = notify_fd(),
                              .fd_passing = *p->s.fd_passing,
                              .access_fd = access_log_fd()};

    for (; fds.nlisteners < p->s.nlisteners; fds.nlisteners++) {
        const struct listener *l = &p->s.listeners[fds.nlisteners];
        fds.listeners[fds.nlisteners] = l->fd;
        fds.files[fds.nlisteners] = l->file;
    }
    if (p->s.control != NULL) {
        const struct listener *l = control_listener(p->s.control);
        fds.control_fd = l->fd;
        fds.files[RESTART_LISTENERS_MAX] = l->file;
    }
    return restart_exec(&fds);
}

int
pool_restart(struct pool *p)
{
    (void)pthread_mutex_lock(&p->end_lock);
    int e = p->closed ? -EBADF : execute_again(p);
    (void)pthread_mutex_unlock(&p->end_lock);
    return e;
}

static void
close_all(struct pool *p)
{
    /* The master's files are the master's to remove. */
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        listener_close(&p->s.listeners[i], p->s.master_wake_fd < 0);
    }
    control_close(&p->s.control);
    pid_file_remove();
}

void
pool_close(struct pool *p)
{
    /* Waited for: whoever returns from here ends the process. */
    (void)pthread_mutex_lock(&p->end_lock);
    if (!p->closed) {
        close_all(p);
        p->closed = true;
    }
    (void)pthread_mutex_unlock(&p->end_lock);
}
