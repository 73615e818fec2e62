#include "worker/graceful_stop.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "gateway/access_log.h"
#include "net/conn.h"
#include "net/poller.h"
#include "os/log.h"
#include "process/logs.h"
#include "process/pid_file.h"
#include "process/service_log.h"
#include "process/signals.h"
#include "reload/restart.h"
#include "status/exit_idle.h"
#include "status/notify.h"
#include "status/running_requests.h"
#include "transport/fcgi.h"
#include "worker/conn_passing.h"
#include "worker/request_threads.h"
#include "worker/watchdog.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    /* For all workers to empty the queues together. */
    SHARE_UNIX_MS = 2000,
    SHARE_TCP_MS = 200,  /* more may arrive there all the time */
    PYTHON_END_MS = 500, /* at least, for the end of Python */
    RETIRE_MS = 1000     /* at least, for a worker that was idle */
};

/* -- time ------------------------------------------------------------------ */

static bool
is_retiring(const struct pool *p)
{
    return atomic_load(&p->s.board->workers[p->s.worker].retires) &&
           !atomic_load(&p->s.board->stopping);
}

static int64_t
time_limit(const struct pool *p)
{
    int64_t ms = p->s.config->graceful_timeout_ms;

    return is_retiring(p) && ms < RETIRE_MS ? RETIRE_MS : ms;
}

/* A worker that leaves because it was idle may have got a request at that
 * moment. Nobody has asked for its end: it has the time that it needs. */
static void
spare_requests(struct graceful_stop *g, const struct pool *p, int64_t now)
{
    if (is_retiring(p) &&
        worker_conns_idle_threads(&p->conns) < p->s.config->threads) {
        g->end_ms = now + time_limit(p);
    }
}

/* -- begin ----------------------------------------------------------------- */

/* All workers stop: none is left to take over. */
static void
begin_last(struct graceful_stop *g, struct pool *p)
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
        g->share_ms = clock_ms();
    }
}

void
graceful_stop_begin(struct graceful_stop *g, struct pool *p, int64_t now_ms,
                    bool restart)
{
    bool has_master = p->s.master_wake_fd >= 0;

    assert(g->end_ms == 0);
    assert(!restart || !has_master);
    g->restart = restart;
    g->end_ms = now_ms + time_limit(p);
    g->finish_ms = clock_ms() + WORKER_CONNS_FIRST_BYTE_MS;
    if (!restart && (!has_master || atomic_load(&p->s.board->stopping))) {
        if (!has_master) { /* else the master has said so, for all */
            running_requests_log_wait(p->s.board,
                                      p->s.config->graceful_timeout_ms);
        }
        begin_last(g, p);
        return;
    }
    atomic_store(&p->stop, FCGI_LEAVE);
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        worker_conns_leave_listener(&p->conns, &p->s.listeners[i]);
    }
    conn_passing_end(&p->conns);
    conn_passing_receive_all(&p->conns, worker_conns_idle_threads(&p->conns));
}

void
graceful_stop_cancel_restart(struct graceful_stop *g)
{
    if (g->restart) {
        g->restart = false;
        g->end_ms = 0;
    }
}

/* -- round by round -------------------------------------------------------- */

/* False where nothing waits to be accepted, another worker has shut the socket
 * down, or the time is over. */
static bool
is_shared(const struct graceful_stop *g, const struct pool *p,
          const struct listener *l, int64_t now)
{
    struct pollfd f = {.fd = l->fd, .events = POLLIN};
    int64_t limit = l->is_tcp ? SHARE_TCP_MS : SHARE_UNIX_MS;

    if (limit > p->s.config->graceful_timeout_ms / 2) {
        limit = p->s.config->graceful_timeout_ms / 2;
    }
    return now < g->share_ms + limit && poll(&f, 1, 0) > 0 &&
           (f.revents & POLLHUP) == 0;
}

/* Workers that stop together: each takes from the queues what it has threads
 * for, as before the stop. So nobody waits for a long request of one worker
 * while another is idle. */
static void
share_queues(struct graceful_stop *g, struct pool *p, int64_t now)
{
    bool is_over = true;

    for (size_t i = 0; i < p->s.nlisteners; i++) {
        struct listener *l = &p->s.listeners[i];
        if (l->is_adopted) {
            continue;
        }
        if (is_shared(g, p, l, now)) {
            is_over = false;
        }
        else {
            worker_conns_shut_listener(&p->conns, l);
        }
    }
    if (is_over) {
        g->share_ms = 0;
        g->finish_ms = now + WORKER_CONNS_FIRST_BYTE_MS;
    }
}

/* Connections go to another process, or end. */
static void
finish_conns(const struct graceful_stop *g, struct pool *p, int64_t now)
{
    if (atomic_load(&p->stop) == FCGI_LEAVE &&
        (atomic_load(&p->s.board->stopping) ||
         (now >= g->finish_ms && !fd_passing_has_room(p->s.fd_passing)))) {
        atomic_store(&p->stop, FCGI_STOP); /* nobody takes them */
    }
    if (atomic_load(&p->stop) == FCGI_LEAVE) {
        conn_passing_send_idle(&p->conns);
        conn_sweep(p->conns.table, now, SWEEP_OVERDUE);
        return;
    }
    conn_passing_receive_all(&p->conns,
                             (unsigned)conn_table_max(p->conns.table));
    /* A web server that has had a response on its connection can open another
     * one. A new connection gets a moment to send its request. */
    conn_sweep(p->conns.table, now,
               now < g->finish_ms ? SWEEP_KEPT : SWEEP_ALL);
}

void
graceful_stop_go_on(struct graceful_stop *g, struct pool *p)
{
    int64_t now = clock_ms();

    spare_requests(g, p, now);
    if (g->share_ms != 0) {
        share_queues(g, p, now);
    }
    finish_conns(g, p, now);
    if (g->share_ms == 0 && pool_has_finished(p)) {
        poller_wake_all(&p->conns.poller);
    }
}

void
graceful_stop_abandon_lost(struct pool *p)
{
    for (unsigned i = 0; i < p->s.config->threads; i++) {
        if (watchdog_is_lost(p->watchdog, i)) {
            request_threads_abandon(p, i);
        }
    }
    atomic_store(&p->lost, watchdog_lost(p->watchdog));
}

/* -- the end --------------------------------------------------------------- */

/* One of the main thread, the control thread and the thread of
 * finalize_timeout.c ends the process; the others may be about to. */
static struct {
    pthread_mutex_t lock;
    bool closed; /* under lock */
} end = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int
execute_again(struct pool *p)
{
    struct restart_fds fds = {.control_fd = -1,
                              .notify_fd = notify_fd(),
                              .fd_passing = *p->s.fd_passing,
                              .access_fd = access_log_fd(),
                              .slow_fd = logs_slow_fd()};

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

/* -errno; -EBADF after graceful_stop_close(). */
static int
execute_again_once(struct pool *p)
{
    (void)pthread_mutex_lock(&end.lock);
    int e = end.closed ? -EBADF : execute_again(p);
    (void)pthread_mutex_unlock(&end.lock);
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
    if (p->s.master_wake_fd < 0) {
        service_log_stopped(
            p->s.board, atomic_load(&p->exits_idle) ? EXIT_IDLE_REASON : NULL);
    }
}

void
graceful_stop_close(struct pool *p)
{
    /* Waited for: who returns from here ends the process. */
    (void)pthread_mutex_lock(&end.lock);
    if (!end.closed) {
        close_all(p);
        end.closed = true;
    }
    (void)pthread_mutex_unlock(&end.lock);
}

int
graceful_stop_leave(const struct graceful_stop *g, struct pool *p)
{
    int status = EX_OK;

    if (g->restart && signals_get().stop != STOP_NOW) {
        int e = execute_again_once(p);
        if (e != -EINTR) { /* a stop that came meanwhile is no failure */
            log_error("starting again: %s", strerror(-e));
            status = EX_OSERR;
        }
    }
    graceful_stop_close(p);
    return status;
}

/* True where threads are busy, and none of them with a request. */
static bool
is_only_work_after(const struct pool *p)
{
    bool is_after = false;

    for (unsigned i = 0; i < p->s.config->threads; i++) {
        const struct score_thread *t =
            scoreboard_thread(p->s.board, p->s.worker, i);
        if (atomic_load(&t->since_ms) != 0) {
            return false;
        }
        is_after = is_after || atomic_load(&t->after_ms) != 0;
    }
    return is_after;
}

/* A stop at once is asked for, so it is no warning; but a client may ask. */
static void
log_cut_off(struct pool *p)
{
    unsigned n = running_requests_count(p->s.board, p->s.worker);

    if (n > 0) {
        log_notice("%u request%s cut off: a stop at once was asked for", n,
                   n == 1 ? " is" : "s are");
        running_requests_log_cut_off(p->s.board, p->s.worker, LOG_LEVEL_NOTICE);
    }
}

/* ThreadSanitizer's _exit() reports threads that have ended and that nobody has
 * joined. Here that is no leak: a forced end waits for none. */
static _Noreturn void
end_process(int status)
{
#if HAS_TSAN
    (void)syscall(SYS_exit_group, status);
#endif
    _exit(status);
}

void
graceful_stop_end_now(const struct graceful_stop *g, struct pool *p,
                      const char *why)
{
    if (why == NULL) {
        log_cut_off(p);
    }
    if (why != NULL && is_only_work_after(p)) {
        log_warning("%s: work after a response is cut off", why);
    }
    else if (why != NULL && conn_table_open(p->conns.table) > 0) {
        log_warning("%s: requests that still run are cut off", why);
    }
    if (why != NULL) {
        running_requests_log_cut_off(p->s.board, p->s.worker,
                                     LOG_LEVEL_WARNING);
    }
    (void)graceful_stop_leave(g, p);
    end_process(EX_OK);
}

int64_t
graceful_stop_python_end_ms(const struct graceful_stop *g, const struct pool *p)
{
    int64_t now = clock_ms();

    if (g->end_ms == 0) { /* nobody has asked for the end */
        return now + p->s.config->graceful_timeout_ms;
    }
    return g->end_ms > now + PYTHON_END_MS ? g->end_ms : now + PYTHON_END_MS;
}
