#include "worker/request_threads.h"

#include "app/loader.h"
#include "base/clock.h"
#include "gateway/response.h"
#include "gateway/transport.h"
#include "net/conn.h"
#include "net/poller.h"
#include "os/log.h"
#include "os/memory.h"
#include "process/forked_child.h"
#include "process/signals.h"
#include "status/status.h"
#include "transport/fcgi.h"
#include "worker/conn_passing.h"
#include "worker/watchdog.h"
#include "wsgi/handler.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    THREAD_STACK = 8 << 20, /* Python recurses on it */
    LEAVE_WAIT_MS = 5,      /* at a stop, for what the others still serve */
    ABORT_FROM_MS = 1000,   /* see note_abort() */
    FDS_LOOK = 8,           /* numbers of descriptors */
    QUEUE_LOG_MS = 60000    /* between two lines about --queue-timeout */
};

struct request_thread {
    /* Set by request_threads_start(). */
    struct pool *pool;
    pthread_t id;
    bool is_main;
    struct score_thread *score;
    /* The thread's own. */
    struct wsgi_thread *wsgi;
    struct fcgi_worker *worker;
    struct request *after; /* has work left for when its connection is free */
    /* --queue-timeout, for the connection that is served: */
    int fd;
    int64_t waits_since_ms; /* as queue/queue_time.h has it */
    int64_t served_ms;      /* of the connection */
    bool may_be_late;       /* its first request has not begun yet */
    /* Nobody waits for its end: graceful_stop.c, in the control thread. */
    atomic_bool abandoned;
};

/* A limit has been reached: a new process has to take the place of this one.
 * True for the first thread that says so. */
static bool
need_recycle(struct pool *p)
{
    bool first = !atomic_exchange(&p->needs_recycle, true);

    if (first) {
        signals_wake();
    }
    return first;
}

static void
check_count(struct pool *p)
{
    const struct score_worker *w = &p->s.board->workers[p->s.worker];

    if (atomic_load_explicit(&w->requests, memory_order_relaxed) >=
            p->request_limit &&
        need_recycle(p)) {
        log_notice("%" PRIu64 " requests are --max-requests%s: a new process "
                   "takes over",
                   p->request_limit,
                   p->request_limit > p->s.config->max_requests
                       ? " with its jitter"
                       : "");
    }
}

/* Another request might not have what it would have in CGI. It may have to wait
 * for the start of the new process, as in CGI. */
static bool
need_recycle_now(struct pool *p)
{
    bool first = need_recycle(p);

    if (first) {
        worker_conns_rest(&p->conns);
    }
    return first;
}

static void
check_memory(struct pool *p)
{
    struct memory_excess x;

    if (memory_exceeds(&p->memory, &x) &&
        (x.is_rlimit ? need_recycle_now(p) : need_recycle(p))) {
        log_notice("%" PRIu64 " KiB of memory are more than %s (%" PRIu64
                   " KiB): a new process takes over",
                   x.kib, x.limit, x.limit_kib);
    }
}

/* Where a number is in use, all below it were when it was given. One of those
 * that the application keeps may be missing, so some are looked at. */
static void
check_descriptors(struct pool *p)
{
    struct pollfd f[FDS_LOOK];

    if (p->fd_limit == 0) {
        return;
    }
    for (int i = 0; i < FDS_LOOK; i++) {
        f[i] = (struct pollfd){.fd = p->fd_limit + i};
    }
    if (poll(f, FDS_LOOK, 0) < 0) {
        return;
    }
    for (int i = 0; i < FDS_LOOK; i++) {
        if (f[i].revents != POLLNVAL && need_recycle_now(p)) {
            log_notice("%d descriptors are open, half of what there may be "
                       "(RLIMIT_NOFILE): a new process takes over",
                       p->fd_limit);
        }
    }
}

/* Before a request, and when all of one is done. */
static void
check_cpu(struct pool *p)
{
    if (cpu_limit_is_set(&p->cpu) && cpu_limit_renew(&p->cpu) &&
        (p->cpu.is_tight ? need_recycle_now(p) : need_recycle(p))) {
        log_notice("RLIMIT_CPU: the requests of this process have used much of "
                   "its time: a new process takes over");
    }
}

/* A request has tried to load the application again. Where that worked, the
 * process serves it from now on. */
static void
check_loaded(struct pool *p)
{
    enum score_state broken = SCORE_BROKEN;
    bool was = true;

    if (loader_is_loaded() &&
        atomic_compare_exchange_strong(&p->broken, &was, false)) {
        (void)atomic_compare_exchange_strong(
            &p->s.board->workers[p->s.worker].state, &broken, SCORE_READY);
    }
}

/* An application that writes nothing for a while does not notice an
 * FCGI_ABORT_REQUEST, which is what a web server such as HAProxy sends when its
 * client leaves. To look for one would cost each request two system calls, so
 * that is done only after those for which a client may well give up. */
static void
note_abort(const struct request_thread *t, struct request *q, int64_t now_ms)
{
    int64_t since =
        atomic_load_explicit(&t->score->since_ms, memory_order_relaxed);

    if (q->result == REQUEST_SERVED && now_ms - since >= ABORT_FROM_MS &&
        q->transport->was_aborted(q)) {
        request_note_result(q, REQUEST_CLIENT_GONE);
    }
}

/* The first request of the connection after it was taken from the queue: what
 * follows on it has waited for this one, and not for a thread. */
static int64_t
time_in_queue(struct request_thread *t)
{
    bool may_be_late = t->may_be_late;

    t->may_be_late = false;
    return may_be_late
               ? queue_time_waited(t->fd, t->waits_since_ms, t->served_ms)
               : 0;
}

/* True where the request has waited longer than --queue-timeout, and has got
 * its answer. */
static bool
refuse_late(struct request_thread *t, struct request *q)
{
    struct scoreboard *b = t->pool->s.board;
    int64_t limit = q->config->queue_timeout_ms, waited = time_in_queue(t);

    if (limit == 0 || waited <= limit) {
        return false;
    }
    score_queue_timeout(b, t->pool->s.worker);
    if (clock_is_due(&b->queue_log_due_ms, QUEUE_LOG_MS)) {
        log_warning("503: a request has waited for a thread longer than "
                    "--queue-timeout (%" PRId64 ".%03d s): the status page "
                    "counts them; this line comes at most once a minute",
                    waited / 1000, (int)(waited % 1000));
    }
    response_unavailable(q, "The server is busy. Please try again later.",
                         (limit + 999) / 1000);
    return true;
}

static void
run_request(void *arg, struct request *q)
{
    struct request_thread *t = arg;
    struct pool *p = t->pool;
    unsigned number = (unsigned)(t - p->threads);
    uint64_t serial = score_begin(p->s.board, t->score, q);

    check_cpu(p);
    watchdog_begin(p->watchdog, number, serial, q);
    if (status_is_wanted(p->s.config, q)) {
        const struct status_source from = worker_setup_status(&p->s);
        status_answer(&from, q);
    }
    else if (p->queue_time != NULL && refuse_late(t, q)) {
        /* It is answered. */
    }
    else if (p->s.doctor != NULL) {
        doctor_answer(p->s.doctor, q);
    }
    else {
        handler_run(t->wsgi, q);
    }
    if (forked_child_is()) {
        /* A child that the application forked came back instead of calling
         * os._exit(). The request is its parent's. */
        _exit(q->exit_status);
    }
    int64_t now_ms = clock_coarse_ms();
    note_abort(t, q, now_ms);
    score_end(p->s.board, p->s.worker, t->score, q, now_ms);
    t->after = q->has_after ? q : NULL;
    if (atomic_load_explicit(&p->broken, memory_order_relaxed)) {
        check_loaded(p);
    }
    if (p->request_limit > 0) {
        check_count(p);
    }
    if (p->memory.fd >= 0) {
        check_memory(p);
    }
}

/* What the application left to be done when the client has its response. By now
 * the connection is closed, or belongs to another thread. */
static void
run_after(struct request_thread *t)
{
    struct request *q = t->after;

    if (q == NULL) {
        return;
    }
    assert(q->has_after);
    t->after = NULL;
    score_after_begin(t->pool->s.board, t->score);
    request_set_running(q);
    handler_after(t->wsgi, q);
    if (forked_child_is()) {
        _exit(q->exit_status);
    }
    request_set_running(NULL);
    score_after_end(t->pool->s.board, t->score);
}

/* -- connections ----------------------------------------------------------- */

/* Of a connection that comes from a queue, before it is read. */
static void
begin_late(struct request_thread *t, const struct fcgi_conn *c, int fd,
           int64_t since_ms)
{
    t->fd = fd;
    t->waits_since_ms = since_ms;
    t->served_ms = c->conn.served_ms;
    t->may_be_late = !c->conn.has_input;
}

static void
serve(struct request_thread *t, struct fcgi_conn *c, int fd)
{
    struct pool *p = t->pool;
    enum fcgi_next next = FCGI_NEXT_CLOSE;
    int64_t deadline;

    if (!atomic_load(&c->conn.swept)) {
        next = fcgi_serve(t->worker, c, fd, &p->stop, &deadline);
    }
    if (next == FCGI_NEXT_CLOSE ||
        (atomic_load_explicit(&p->stop, memory_order_relaxed) == FCGI_LEAVE &&
         conn_passing_send(&p->conns, &c->conn, fd))) {
        worker_conns_end(&p->conns, &c->conn);
        return;
    }
    if (p->queue_time != NULL) {
        c->conn.served_ms = clock_ms();
    }
    worker_conns_park(&p->conns, &c->conn, fd, deadline,
                      next == FCGI_NEXT_PASS_ON ? POLLER_AT_ONCE : 0);
}

/* One at a time: new connections have waited as long, and no other process
 * takes those. */
static void
serve_passed(struct request_thread *t)
{
    int fd;
    struct conn *c = conn_passing_receive(&t->pool->conns, &fd);

    if (c != NULL) {
        void *entry = c;
        begin_late(t, entry, fd, 0);
        serve(t, entry, fd);
    }
}

static void
accept_one(struct request_thread *t, int listen_fd)
{
    int fd;
    struct conn *c = worker_conns_accept(&t->pool->conns, listen_fd, &fd);

    if (c != NULL) {
        void *entry = c;
        if (t->pool->queue_time != NULL) {
            begin_late(t, entry, fd,
                       queue_time_accepted(t->pool->queue_time, fd));
        }
        serve(t, entry, fd);
    }
}

static void
handle(struct request_thread *t, const struct poller_event *ev)
{
    struct pool *p = t->pool;
    struct conn *c;

    if (ev->kind == POLLER_CONN) {
        c = conn_take(p->conns.table, ev->fd, ev->generation);
        if (c != NULL) {
            void *entry = c;
            if (p->queue_time != NULL) {
                begin_late(t, entry, ev->fd, queue_time_taken(c, ev->fd));
            }
            serve(t, entry, ev->fd);
        }
    }
    else if (ev->fd == p->s.fd_passing->receive_fd) {
        serve_passed(t);
    }
    else {
        accept_one(t, ev->fd);
    }
}

/* Serves until the control thread says that nothing is left to do. */
static void
loop(struct request_thread *t)
{
    struct pool *p = t->pool;
    struct poller_event ev;

    for (;;) {
        int e = poller_wait(&p->conns.poller, -1, &ev);
        if (e < 0) {
            log_error("waiting for requests: %s", strerror(-e));
            return;
        }
        switch (ev.kind) {
        case POLLER_WAKE:
            if (pool_has_finished(p)) {
                return;
            }
            /* A connection was being accepted when the control thread
             * looked. */
            (void)poll(NULL, 0, LEAVE_WAIT_MS);
            break;
        case POLLER_NOTHING:
            break;
        case POLLER_LISTENER:
        case POLLER_CONN:
            handle(t, &ev);
            run_after(t);
            check_cpu(t->pool);
            check_descriptors(t->pool);
            break;
        }
    }
}

static void *
thread_main(void *arg)
{
    struct request_thread *t = arg;
    struct pool *p = t->pool;
    struct wsgi_flags flags = {.multithread = p->s.config->threads > 1,
                               .multiprocess = p->s.config->processes > 1};

    /* The program that made a socket may have started several of us on it. */
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        flags.multiprocess |= p->s.listeners[i].is_adopted;
    }
    watchdog_enter(p->watchdog, (unsigned)(t - p->threads));
    if (p->s.doctor == NULL) {
        t->wsgi = wsgi_thread_new(p->s.config, flags, t->is_main);
    }
    t->worker = t->wsgi == NULL && p->s.doctor == NULL
                    ? NULL
                    : fcgi_worker_new(p->s.config, &p->limits, run_request, t);
    if (t->worker == NULL) {
        log_error("no memory for a request thread");
    }
    else {
        loop(t);
    }
    fcgi_worker_free(&t->worker);
    wsgi_thread_free(&t->wsgi);
    unsigned running = atomic_fetch_sub(&p->running, 1);
    assert(running > 0);
    if (running == 1) {
        signals_wake(); /* the last one: the control thread can end */
    }
    return NULL;
}

/* -- all threads ----------------------------------------------------------- */

int
request_threads_new(struct pool *p)
{
    p->threads = calloc(p->s.config->threads, sizeof *p->threads);
    return p->threads == NULL ? -ENOMEM : 0;
}

void
request_threads_free(struct pool *p)
{
    free(p->threads);
    p->threads = NULL;
}

int
request_threads_start(struct pool *p)
{
    pthread_attr_t attr;
    int e = pthread_attr_init(&attr);

    assert(atomic_load(&p->running) == 0); /* once in the life of a process */
    if (e == 0) {
        e = pthread_attr_setstacksize(&attr, THREAD_STACK);
    }
    for (unsigned i = 0; e == 0 && i < p->s.config->threads; i++) {
        p->threads[i] = (struct request_thread){
            .pool = p,
            .is_main = i == 0,
            .score = scoreboard_thread(p->s.board, p->s.worker, i)};
        atomic_fetch_add(&p->running, 1);
        if (i > 0) {
            e = pthread_create(&p->threads[i].id, &attr, thread_main,
                               &p->threads[i]);
        }
    }
    (void)pthread_attr_destroy(&attr);
    return -e;
}

void
request_threads_run_main(struct pool *p)
{
    (void)thread_main(&p->threads[0]);
}

void
request_threads_abandon(struct pool *p, unsigned thread)
{
    assert(thread < p->s.config->threads);
    atomic_store(&p->threads[thread].abandoned, true);
}

bool
request_threads_join(struct pool *p)
{
    bool all = true;

    for (unsigned i = 1; i < p->s.config->threads; i++) {
        if (atomic_load(&p->threads[i].abandoned)) {
            (void)pthread_detach(p->threads[i].id);
            all = false;
        }
        else {
            (void)pthread_join(p->threads[i].id, NULL);
        }
    }
    return all;
}
