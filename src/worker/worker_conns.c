#include "worker/worker_conns.h"

#include "base/clock.h"
#include "os/fd.h"
#include "os/log.h"
#include "transport/fcgi.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    CONNS_MAX = 1 << 20, /* entries of the table; memory only when used */
    REST_MS = 2000       /* and twice the time that the application loads */
};

/* As many connections as descriptors: an idle one costs next to nothing. In an
 * instance of --keep-warm the application sees the limit that it has in CGI. */
static size_t
raise_descriptors(bool is_warm)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0) {
        return 1024;
    }
    if (r.rlim_cur < r.rlim_max && !is_warm) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
        (void)getrlimit(RLIMIT_NOFILE, &r);
    }
    return r.rlim_cur > CONNS_MAX ? CONNS_MAX : (size_t)r.rlim_cur;
}

/* -- listeners ------------------------------------------------------------- */

static int
watch_listeners(struct worker_conns *c)
{
    for (size_t i = 0; i < c->setup->nlisteners; i++) {
        int e = poller_add_listener(&c->poller, c->setup->listeners[i].fd);
        if (e < 0 && e != -EEXIST) {
            return e;
        }
    }
    return 0;
}

static void
unwatch_listeners(struct worker_conns *c)
{
    for (size_t i = 0; i < c->setup->nlisteners; i++) {
        poller_remove_listener(&c->poller, c->setup->listeners[i].fd);
    }
}

/* Nothing can be accepted. A listener that stays readable would wake the
 * threads again and again, so the control thread watches it again a moment
 * later. */
static void
pause_listeners(struct worker_conns *c, int err)
{
    /* In this order: the control thread watches them when it sees the flag. */
    unwatch_listeners(c);
    if (!atomic_exchange(&c->paused, true)) {
        log_warning("no connection can be accepted (%s); trying again "
                    "shortly%s",
                    strerror(err),
                    err == EMFILE ? "; raise ulimit -n (systemd: LimitNOFILE=)"
                                  : "");
    }
}

void
worker_conns_rest(struct worker_conns *c)
{
    int64_t load_ms = atomic_load(&c->setup->board->load_ms);

    /* In this order, as above. */
    unwatch_listeners(c);
    atomic_store(&c->rest_end_ms, clock_ms() + REST_MS + 2 * load_ms);
}

static bool
rest_is_over(struct worker_conns *c)
{
    int64_t end = atomic_load(&c->rest_end_ms);

    if (end == 0 || clock_ms() < end) {
        return false;
    }
    atomic_store(&c->rest_end_ms, 0);
    return true;
}

void
worker_conns_resume(struct worker_conns *c)
{
    bool is_over = rest_is_over(c);

    if ((atomic_exchange(&c->paused, false) || is_over) &&
        watch_listeners(c) < 0) {
        atomic_store(&c->paused, true);
    }
}

/* -- connections ----------------------------------------------------------- */

/* A connection and its descriptor, BUSY and ours. NULL: there was none, or one
 * that is refused (*ret_fd >= 0), or errno says what is missing. */
static struct conn *
accept_conn(struct worker_conns *c, int listen_fd, int *ret_fd)
{
    const struct worker_setup *s = c->setup;
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    bool check = !acl_is_empty(s->allow);
    void *addr = &peer;
    int fd = accept4(listen_fd, check ? addr : NULL, check ? &len : NULL,
                     SOCK_CLOEXEC);

    *ret_fd = fd;
    if (fd < 0) {
        return NULL;
    }
    atomic_fetch_add_explicit(&s->board->workers[s->worker].accepted, 1,
                              memory_order_relaxed);
    struct conn *conn = conn_open(c->table, fd);
    if (conn == NULL) {
        fd_close(&fd);
        *ret_fd = -1;
        errno = EMFILE;
    }
    else if (check && !acl_peer(s->allow, &peer)) {
        acl_log_refused(&peer);
        conn_close(c->table, conn);
        conn = NULL;
    }
    else if (s->config->is_warm && !acl_peer_is_ours(fd)) {
        conn_close(c->table, conn);
        conn = NULL;
    }
    return conn;
}

struct conn *
worker_conns_accept(struct worker_conns *c, int listen_fd, int *ret_fd)
{
    struct conn *conn = accept_conn(c, listen_fd, ret_fd);

    if (conn == NULL && *ret_fd < 0 &&
        (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
         errno == ENOMEM)) {
        pause_listeners(c, errno);
    }
    return conn;
}

void
worker_conns_end(struct worker_conns *c, struct conn *conn)
{
    void *entry = conn;

    fcgi_conn_fini(entry);
    conn_close(c->table, conn);
}

void
worker_conns_park(struct worker_conns *c, struct conn *conn, int fd,
                  int64_t deadline_ms, unsigned how)
{
    assert(how == 0 || how == POLLER_AT_ONCE);
    how |= conn->in_poller ? 0 : POLLER_NEW;
    conn->in_poller = true;
    /* Given up before it is armed: the event may come at once, to any
     * thread. */
    uint32_t generation = conn_park(conn, deadline_ms);
    if (poller_arm(&c->poller, fd, generation, how) < 0) {
        conn_unpark(conn);
        worker_conns_end(c, conn);
        return;
    }
    conn_armed(conn, generation);
}

/* -- listeners at a stop --------------------------------------------------- */

unsigned
worker_conns_idle_threads(const struct worker_conns *c)
{
    const struct worker_setup *s = c->setup;
    unsigned n = 0;

    for (unsigned i = 0; i < s->config->threads; i++) {
        const struct score_thread *t =
            scoreboard_thread(s->board, s->worker, i);
        n += atomic_load(&t->since_ms) == 0 && atomic_load(&t->after_ms) == 0;
    }
    assert(n <= s->board->nthreads);
    return n;
}

/* Accepts at most max of those that wait, and parks them. */
static void
take_waiting(struct worker_conns *c, const struct listener *l, unsigned max)
{
    int64_t deadline = clock_ms() + WORKER_CONNS_FIRST_BYTE_MS;
    int fd = 0;

    for (unsigned i = 0; i < max && fd >= 0; i++) {
        struct conn *conn = accept_conn(c, l->fd, &fd);
        if (conn != NULL) {
            worker_conns_park(c, conn, fd, deadline, 0);
        }
    }
}

/* Each idle thread may have been the one that the kernel woke for a connection.
 * It would find nothing to accept, and no other process would be woken for that
 * connection. So as many are taken as there are idle threads; none by a process
 * that rests, after which the kernel has woken no thread of it. */
void
worker_conns_leave_listener(struct worker_conns *c, const struct listener *l)
{
    poller_remove_listener(&c->poller, l->fd);
    if (atomic_load(&c->rest_end_ms) == 0) {
        take_waiting(c, l, worker_conns_idle_threads(c));
    }
}

/* Closing a socket resets the connections that wait at it. They are taken, and
 * are served from the poller. With a unix socket they can still be accepted
 * after shutdown(), and nobody comes after them; with TCP that resets them. */
void
worker_conns_shut_listener(struct worker_conns *c, struct listener *l)
{
    poller_remove_listener(&c->poller, l->fd);
    if (l->is_tcp) {
        take_waiting(c, l, (unsigned)c->setup->config->backlog);
    }
    /* Not close(): a request thread may be about to accept on the number. */
    (void)shutdown(l->fd, SHUT_RDWR);
    if (!l->is_tcp) {
        take_waiting(c, l, UINT_MAX);
    }
}

bool
worker_conns_somebody_waits(const struct worker_conns *c)
{
    for (size_t i = 0; i < c->setup->nlisteners; i++) {
        if (listener_somebody_waits(&c->setup->listeners[i])) {
            return true;
        }
    }
    return false;
}

/* -- all of it ------------------------------------------------------------- */

int
worker_conns_open(struct worker_conns *c, const struct worker_setup *setup)
{
    size_t max = raise_descriptors(setup->config->is_warm);
    int e = poller_open(&c->poller);

    c->setup = setup;
    (void)pthread_mutex_init(&c->receive_lock, NULL);
    if (e == 0) {
        e = watch_listeners(c);
    }
    if (e == 0) {
        c->table = conn_table_new(max, sizeof(struct fcgi_conn));
        e = c->table == NULL ? -ENOMEM : 0;
    }
    return e;
}

void
worker_conns_close(struct worker_conns *c)
{
    poller_close(&c->poller);
    conn_table_free(&c->table);
}

void
worker_conns_close_in_child(struct worker_conns *c)
{
    const struct worker_setup *s = c->setup;

    conn_close_all(c->table);
    for (size_t i = 0; i < s->nlisteners; i++) {
        fd_close(&s->listeners[i].fd);
    }
    fd_passing_close(s->fd_passing);
    fd_reserve_release(&c->fd_reserve);
    poller_close(&c->poller);
}
