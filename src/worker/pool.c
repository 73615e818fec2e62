#include "worker/pool.h"

#include "app/loader.h"
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
#include "status/status.h"
#include "transport/fcgi.h"
#include "wsgi/handler.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    CONNS_MAX = 1 << 20,    /* entries of the table; memory only when used */
    THREAD_STACK = 8 << 20, /* Python recurses on it */
    LEAVE_WAIT_MS = 5,
    LAST_WORDS_MS = 300, /* at a stop: for a new connection to say something */
    /* At a stop: for the workers to empty the queues together. */
    SHARE_UNIX_MS = 2000,
    SHARE_TCP_MS = 200 /* there, more may come all the time */
};

struct thread {
    struct pool *pool;
    pthread_t id;
    bool is_main;
    struct score_thread *score;
    struct wsgi_thread *wsgi;
    struct fcgi_worker *worker;
    struct request *after; /* has work left for when its connection is free */
    atomic_bool abandoned; /* nobody waits for its end */
};

/* A limit has been reached: somebody has to put a new process in our place. True
 * for who was the first to say so. */
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
check_memory(struct pool *p)
{
    struct score_worker *w = &p->s.board->workers[p->s.worker];
    uint64_t kib = memory_kib(&p->memory);

    atomic_store_explicit(&w->rss_kib, (long long)kib, memory_order_relaxed);
    if (kib > p->memory.limit_kib && need_recycle(p)) {
        log_notice("%" PRIu64 " KiB of memory are more than --max-memory "
                   "(%" PRIu64 " KiB): a new process takes over",
                   kib, p->memory.limit_kib);
    }
}

/* A request has tried it once more, and it may be mended. */
static void
look_if_mended(struct pool *p)
{
    enum score_state broken = SCORE_BROKEN;
    bool was = true;

    if (loader_is_loaded() &&
        atomic_compare_exchange_strong(&p->broken, &was, false)) {
        (void)atomic_compare_exchange_strong(
            &p->s.board->workers[p->s.worker].state, &broken, SCORE_READY);
    }
}

static void
run_request(void *arg, struct request *q)
{
    struct thread *t = arg;
    struct pool *p = t->pool;
    unsigned number = (unsigned)(t - p->threads);
    uint64_t serial = score_begin(t->score, q);

    watchdog_begin(&p->watchdog, number, serial, q);
    if (status_is_wanted(p->s.config, q)) {
        status_answer(p->s.config, p->s.board, q);
    }
    else if (p->s.doctor != NULL) {
        doctor_answer(p->s.doctor, q);
    }
    else {
        handler_run(t->wsgi, q);
    }
    if (forked_child_is()) {
        /* A child the application forked came back instead of leaving by
         * os._exit(). The request is its parent's. */
        _exit(q->exit_status);
    }
    score_end(p->s.board, p->s.worker, t->score, q);
    t->after = q->has_after ? q : NULL;
    if (atomic_load_explicit(&p->broken, memory_order_relaxed)) {
        look_if_mended(p);
    }
    if (p->request_limit > 0 &&
        atomic_load_explicit(&p->s.board->workers[p->s.worker].requests,
                             memory_order_relaxed) >= p->request_limit) {
        (void)need_recycle(p);
    }
    if (p->memory.fd >= 0) {
        check_memory(p);
    }
}

/* What the application left to be done when the client has its response. The
 * connection is closed, or another thread's by now. */
static void
run_after(struct thread *t)
{
    struct request *q = t->after;

    if (q == NULL) {
        return;
    }
    t->after = NULL;
    score_after_begin(t->score);
    request_set_running(q);
    handler_after(t->wsgi, q);
    if (forked_child_is()) {
        _exit(q->exit_status);
    }
    request_set_running(NULL);
    score_after_end(t->score);
}

static void
in_child(void *arg)
{
    struct pool *p = arg;

    conn_close_all(p->conns);
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        fd_close(&p->s.listeners[i].fd);
    }
    fd_passing_close(p->s.fd_passing);
    fd_reserve_release(&p->fd_reserve);
    poller_close(&p->poller);
    control_close_in_child(p->s.control);
    fd_close(&p->s.master_wake_fd);
    fd_close(&p->s.imports_fd);
    notify_forget();
    memory_close(&p->memory);
}

/* -- listeners ------------------------------------------------------------------- */

static int
watch_listeners(struct pool *p)
{
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        int e = poller_add_listener(&p->poller, p->s.listeners[i].fd);
        if (e < 0 && e != -EEXIST) {
            return e;
        }
    }
    return 0;
}

static void
unwatch_listeners(struct pool *p)
{
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        poller_remove_listener(&p->poller, p->s.listeners[i].fd);
    }
}

/* Nothing can be accepted: a listener that stays readable would make every thread
 * spin. The control thread watches them again a moment later. */
static void
pause_listeners(struct pool *p, int err)
{
    /* In this order: the control thread watches them again when it sees the flag. */
    unwatch_listeners(p);
    if (!atomic_exchange(&p->paused, true)) {
        log_warning("no connection can be accepted (%s); trying again shortly",
                    strerror(err));
    }
}

/* A connection and its descriptor, BUSY and ours. NULL: there was none, or one
 * that may not be here (*ret_fd >= 0), or errno says what is missing. */
static struct conn *
accept_conn(struct pool *p, int listen_fd, int *ret_fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    bool check = !acl_is_empty(p->s.allow);
    void *addr = &peer;
    int fd = accept4(listen_fd, check ? addr : NULL, check ? &len : NULL,
                     SOCK_CLOEXEC);

    *ret_fd = fd;
    if (fd < 0) {
        return NULL;
    }
    atomic_fetch_add_explicit(&p->s.board->workers[p->s.worker].accepted, 1,
                              memory_order_relaxed);
    struct conn *c = conn_open(p->conns, fd);
    if (c == NULL) {
        fd_close(&fd);
        *ret_fd = -1;
        errno = EMFILE;
    }
    else if (check && !acl_peer(p->s.allow, &peer)) {
        log_debug("a peer that --allow does not name is refused");
        conn_close(p->conns, c);
        c = NULL;
    }
    return c;
}

static void
close_conn(struct pool *p, struct conn *conn)
{
    void *entry = conn;

    fcgi_conn_fini(entry);
    conn_close(p->conns, conn);
}

/* Into the poller, which has it the first time or again; how is of enum
 * poller_arm, besides. */
static void
park(struct pool *p, struct conn *c, int fd, int64_t deadline_ms, unsigned how)
{
    how |= c->in_poller ? 0 : POLLER_NEW;
    c->in_poller = true;
    /* Given up before it is armed: the event may come at once, to any thread. */
    uint32_t generation = conn_park(c, deadline_ms);
    if (poller_arm(&p->poller, fd, generation, how) < 0) {
        conn_unpark(c);
        close_conn(p, c);
        return;
    }
    conn_armed(c, generation);
}

/* Those that wait at a listener, at most max of them. */
static void
take_waiting(struct pool *p, const struct listener *l, unsigned max)
{
    int64_t deadline = clock_ms() + LAST_WORDS_MS;
    int fd = 0;

    for (unsigned i = 0; i < max && fd >= 0; i++) {
        struct conn *c = accept_conn(p, l->fd, &fd);
        if (c != NULL) {
            park(p, c, fd, deadline, 0);
        }
    }
}

/* Threads with neither a request nor work after one. */
static unsigned
count_idle(const struct pool *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->s.config->threads; i++) {
        const struct score_thread *t =
            scoreboard_thread(p->s.board, p->s.worker, i);
        n += atomic_load(&t->since_ms) == 0 && atomic_load(&t->after_ms) == 0;
    }
    return n;
}

/* The socket goes on without us. But each idle thread may have been the one that
 * was woken for a connection, and finds nothing when it comes: no other process
 * will be woken for that. */
static void
leave_listener(struct pool *p, const struct listener *l)
{
    poller_remove_listener(&p->poller, l->fd);
    take_waiting(p, l, count_idle(p));
}

/* Connections that have reached our own sockets would be reset unanswered at
 * their close: they are taken first, and wait in the poller. Then nobody can
 * connect any more, while those that are here are served. */
static void
close_own_listener(struct pool *p, struct listener *l)
{
    poller_remove_listener(&p->poller, l->fd);
    take_waiting(p, l, (unsigned)p->s.config->backlog);
    /* Not close(): a request thread may be about to accept on the number. */
    (void)shutdown(l->fd, SHUT_RDWR);
}

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
            close_own_listener(p, l);
        }
    }
    if (is_over) {
        p->share_ms = 0;
        p->finish_ms = now + LAST_WORDS_MS;
    }
}

/* -- connections from and for other workers ---------------------------------------- */

/* Takes them from now on, where there are descriptors for it. */
static int
accept_passed_conns(struct pool *p)
{
    int e = 0;

    (void)pthread_mutex_lock(&p->receive_lock);
    bool has_room = fd_reserve_hold(&p->fd_reserve, p->poller.wake_fd);
    if (has_room) {
        e = poller_add_listener(&p->poller, p->s.fd_passing->receive_fd);
        e = e == -EEXIST ? 0 : e;
    }
    atomic_store(&p->s.board->workers[p->s.worker].full, !has_room || e < 0);
    (void)pthread_mutex_unlock(&p->receive_lock);
    return e;
}

/* No descriptor is left for one. True for who notices it. */
static bool
refuse_passed_conns(struct pool *p)
{
    if (atomic_exchange(&p->s.board->workers[p->s.worker].full, true)) {
        return false;
    }
    poller_remove_listener(&p->poller, p->s.fd_passing->receive_fd);
    /* We may have been woken for more than we took. */
    fd_passing_wake_another(p->s.fd_passing);
    return true;
}

/* A descriptor that another worker had to leave, or < 0. */
static int
receive_passed_fd(struct pool *p, bool *ret_kept)
{
    int fd = -EAGAIN;

    (void)pthread_mutex_lock(&p->receive_lock);
    if (fd_reserve_hold(&p->fd_reserve, p->poller.wake_fd)) {
        fd_reserve_release(&p->fd_reserve);
        fd = fd_passing_receive(p->s.fd_passing, ret_kept);
    }
    bool is_new = !fd_reserve_hold(&p->fd_reserve, p->poller.wake_fd) &&
                  refuse_passed_conns(p);
    (void)pthread_mutex_unlock(&p->receive_lock);
    if (is_new) {
        log_warning("no more connections can be taken from other processes "
                    "(%s); trying again shortly",
                    strerror(EMFILE));
    }
    return fd;
}

static struct conn *
take_passed_conn(struct pool *p, int *ret_fd)
{
    bool kept = false;
    int fd = *ret_fd = receive_passed_fd(p, &kept);
    struct conn *c = fd < 0 ? NULL : conn_open(p->conns, fd);

    if (c == NULL) {
        if (fd != -EAGAIN) {
            log_warning("a connection from another process is lost (%s)",
                        strerror(fd < 0 ? -fd : EMFILE));
        }
        fd_close(&fd);
        return NULL;
    }
    atomic_store(&c->kept, kept);
    return c;
}

/* At most max of those that wait to be taken. */
static void
take_passed_conns(struct pool *p, unsigned max)
{
    int64_t deadline = clock_ms() + LAST_WORDS_MS;
    int fd = 0;

    for (unsigned i = 0; i < max && fd >= 0; i++) {
        struct conn *c = take_passed_conn(p, &fd);
        if (c != NULL) {
            park(p, c, fd, deadline, 0);
        }
    }
}

/* True where another worker goes on with it. The web server that keeps it does
 * not notice; had it been closed, a request might just have been on its way. */
static bool
give_conn(void *arg, struct conn *conn, int fd)
{
    struct pool *p = arg;
    void *entry = conn;
    struct fcgi_conn *c = entry;

    if (!fcgi_conn_is_blank(c) ||
        fd_passing_send(p->s.fd_passing, fd, atomic_load(&conn->kept)) < 0) {
        return false;
    }
    if (conn->in_poller) {
        poller_disarm(&p->poller, fd);
    }
    fcgi_conn_fini(c);
    return true;
}

bool
pool_is_busy(const struct pool *p)
{
    return count_idle(p) == 0;
}

bool
pool_pass_on(struct pool *p)
{
    unsigned given = 0, kept = 0;
    struct poller_event ready[POLLER_TAKE_MAX];
    size_t n = poller_take(&p->poller, ready, POLLER_TAKE_MAX);

    for (size_t i = 0; i < n; i++) {
        int fd = ready[i].fd;
        struct conn *c = ready[i].kind == POLLER_CONN
                             ? conn_take(p->conns, fd, ready[i].generation)
                             : NULL;
        if (c == NULL) {
            continue;
        }
        if (give_conn(p, c, fd)) {
            close_conn(p, c);
            given++;
        }
        else {
            park(p, c, fd, atomic_load(&c->deadline_ms),
                 c->has_input ? POLLER_AT_ONCE : 0);
            kept++;
        }
    }
    return given > 0 || kept == 0;
}

/* -- the end ------------------------------------------------------------------------ */

/* All workers stop: nobody is left to take over. */
static void
stop_last(struct pool *p)
{
    bool has_master = p->s.master_wake_fd >= 0;

    atomic_store(&p->stop, FCGI_STOP);
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        struct listener *l = &p->s.listeners[i];
        if (l->is_adopted) {
            leave_listener(p, l);
        }
        else if (!has_master) {
            listener_unlink(l); /* else the master has done so */
            close_own_listener(p, l);
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

    p->finish_ms = clock_ms() + LAST_WORDS_MS;
    if (!atomic_load(&p->restart) &&
        (!has_master || atomic_load(&p->s.board->stopping))) {
        stop_last(p);
        return;
    }
    atomic_store(&p->stop, FCGI_LEAVE);
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        leave_listener(p, &p->s.listeners[i]);
    }
    poller_remove_listener(&p->poller, p->s.fd_passing->receive_fd);
    take_passed_conns(p, count_idle(p));
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
        conn_give(p->conns, give_conn, p);
        conn_sweep(p->conns, now, SWEEP_OVERDUE);
        return;
    }
    take_passed_conns(p, (unsigned)conn_table_max(p->conns));
    /* Who has had an answer connects elsewhere; who has just connected gets a
     * moment to say what it wants. */
    conn_sweep(p->conns, now, now < p->finish_ms ? SWEEP_KEPT : SWEEP_ALL);
}

/* Each thread in a lost request keeps its connection. */
static bool
has_finished(struct pool *p)
{
    return conn_table_open(p->conns) <= atomic_load(&p->lost);
}

void
pool_finish(struct pool *p)
{
    int64_t now = clock_ms();

    if (p->share_ms != 0) {
        share_queues(p, now);
    }
    finish_conns(p, now);
    if (p->share_ms == 0 && has_finished(p)) {
        poller_wake_all(&p->poller);
    }
}

void
pool_abandon_lost(struct pool *p)
{
    for (unsigned i = 0; i < p->s.config->threads; i++) {
        if (watchdog_is_lost(&p->watchdog, i)) {
            atomic_store(&p->threads[i].abandoned, true);
        }
    }
    atomic_store(&p->lost, p->watchdog.lost);
}

void
pool_resume(struct pool *p)
{
    if (atomic_exchange(&p->paused, false) && watch_listeners(p) < 0) {
        atomic_store(&p->paused, true);
    }
    if (atomic_load(&p->s.board->workers[p->s.worker].full) &&
        accept_passed_conns(p) < 0) {
        return; /* full as before: it is tried again */
    }
}

/* -- connections ------------------------------------------------------------------- */

static void
serve(struct thread *t, struct fcgi_conn *c, int fd)
{
    struct pool *p = t->pool;
    enum fcgi_next next = FCGI_NEXT_CLOSE;
    int64_t deadline;

    if (!atomic_load(&c->conn.swept)) {
        next = fcgi_serve(t->worker, c, fd, &p->stop, &deadline);
    }
    if (next == FCGI_NEXT_CLOSE ||
        (atomic_load_explicit(&p->stop, memory_order_relaxed) == FCGI_LEAVE &&
         give_conn(p, &c->conn, fd))) {
        close_conn(p, &c->conn);
        return;
    }
    park(p, &c->conn, fd, deadline,
         next == FCGI_NEXT_PASS_ON ? POLLER_AT_ONCE : 0);
}

static void
accept_one(struct thread *t, int listen_fd)
{
    struct pool *p = t->pool;
    int fd;
    struct conn *c = accept_conn(p, listen_fd, &fd);

    if (c == NULL && fd < 0 &&
        (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
         errno == ENOMEM)) {
        pause_listeners(p, errno);
    }
    if (c != NULL) {
        void *entry = c;
        serve(t, entry, fd);
    }
}

/* -- request threads ------------------------------------------------------------------ */

/* One at a time: new connections have waited as well, and have nowhere else to
 * go. */
static void
serve_migrant(struct thread *t)
{
    int fd;
    struct conn *c = take_passed_conn(t->pool, &fd);

    if (c != NULL) {
        void *entry = c;
        serve(t, entry, fd);
    }
}

static void
handle(struct thread *t, const struct poller_event *ev)
{
    struct pool *p = t->pool;
    struct conn *c;

    if (ev->kind == POLLER_CONN) {
        c = conn_take(p->conns, ev->fd, ev->generation);
        if (c != NULL) {
            void *entry = c;
            serve(t, entry, ev->fd);
        }
    }
    else if (ev->fd == p->s.fd_passing->receive_fd) {
        serve_migrant(t);
    }
    else {
        accept_one(t, ev->fd);
    }
}

/* Until the control thread says that there is nothing left to do. */
static void
loop(struct thread *t)
{
    struct pool *p = t->pool;
    struct poller_event ev;

    for (;;) {
        int e = poller_wait(&p->poller, -1, &ev);
        if (e < 0) {
            log_error("waiting for requests: %s", strerror(-e));
            return;
        }
        switch (ev.kind) {
        case POLLER_WAKE:
            if (has_finished(p)) {
                return;
            }
            /* One was being accepted when the control thread looked. */
            (void)poll(NULL, 0, LEAVE_WAIT_MS);
            break;
        case POLLER_NOTHING:
            break;
        case POLLER_LISTENER:
        case POLLER_CONN:
            handle(t, &ev);
            run_after(t);
            break;
        }
    }
}

static void *
thread_main(void *arg)
{
    struct thread *t = arg;
    struct pool *p = t->pool;
    struct wsgi_facts facts = {.multithread = p->s.config->threads > 1,
                               .multiprocess = p->s.config->processes > 1};

    /* On a socket somebody else made, siblings of ours may listen too. */
    for (size_t i = 0; i < p->s.nlisteners; i++) {
        facts.multiprocess |= p->s.listeners[i].is_adopted;
    }
    watchdog_enter(&p->watchdog, (unsigned)(t - p->threads));
    if (p->s.doctor == NULL) {
        t->wsgi = wsgi_thread_new(p->s.config, facts, t->is_main);
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
    if (atomic_fetch_sub(&p->running, 1) == 1) {
        signals_wake(); /* the last one: the control thread may end */
    }
    return NULL;
}

/* -- all of it ------------------------------------------------------------------- */

/* As many connections as descriptors: an idle one costs next to nothing. */
static size_t
raise_descriptors(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0) {
        return 1024;
    }
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
        (void)getrlimit(RLIMIT_NOFILE, &r);
    }
    return r.rlim_cur > CONNS_MAX ? CONNS_MAX : (size_t)r.rlim_cur;
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
    size_t max = raise_descriptors();
    int e = poller_open(&p->poller);

    if (e == 0) {
        e = watch_listeners(p);
    }
    if (e == 0) {
        e = accept_passed_conns(p);
    }
    if (e == 0) {
        p->conns = conn_table_new(max, sizeof(struct fcgi_conn));
        p->threads = calloc(c->threads, sizeof *p->threads);
        e = p->conns == NULL || p->threads == NULL ? -ENOMEM
                                                   : signals_open(false);
    }
    if (e == 0) {
        e = watchdog_init(&p->watchdog, c, p->s.board, p->s.worker);
    }
    if (e == 0) {
        e = forked_child_watch(in_child, p);
    }
    p->limits = (struct fcgi_limits){
        .head = c->limit_head,
        .vars = c->limit_vars,
        .max_conns = (unsigned)max,
        .max_reqs = c->threads * (c->processes > 0 ? c->processes : 1)};
    p->request_limit = request_limit(c);
    return e;
}

int
pool_open(const struct pool_setup *setup, struct pool **ret_pool)
{
    static struct pool pool = {
        .receive_lock = PTHREAD_MUTEX_INITIALIZER,
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

static int
start_threads(struct pool *p)
{
    struct thread *threads = p->threads;
    pthread_attr_t attr;
    int e = pthread_attr_init(&attr);

    if (e == 0) {
        e = pthread_attr_setstacksize(&attr, THREAD_STACK);
    }
    for (unsigned i = 0; e == 0 && i < p->s.config->threads; i++) {
        threads[i] = (struct thread){
            .pool = p,
            .is_main = i == 0,
            .score = scoreboard_thread(p->s.board, p->s.worker, i)};
        atomic_fetch_add(&p->running, 1);
        if (i > 0) {
            e = pthread_create(&threads[i].id, &attr, thread_main, &threads[i]);
        }
    }
    (void)pthread_attr_destroy(&attr);
    return -e;
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

bool
pool_join(struct pool *p)
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

int
pool_run(struct pool *p, bool loaded)
{
    memory_check_limit(&p->memory);
    int e = start_threads(p);
    if (e < 0) {
        log_error("starting the request threads: %s", strerror(-e));
        return EX_OSERR; /* whatever has started ends with the process */
    }
    report(p, loaded);
    atomic_store(&p->started, true);
    if (notify_is_on()) {
        signals_wake(); /* the control thread tells it at once */
    }
    (void)thread_main(&p->threads[0]);
    return 0;
}

void
pool_end(struct pool *p)
{
    if (pool_join(p)) {
        memory_close(&p->memory);
        poller_close(&p->poller);
        conn_table_free(&p->conns);
        free(p->threads);
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
