#include "worker/conn_passing.h"

#include "base/clock.h"
#include "net/fd_passing.h"
#include "net/fd_reserve.h"
#include "os/fd.h"
#include "os/log.h"
#include "transport/fcgi.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Ours on the scoreboard: this worker cannot receive connections. */
static atomic_bool *
full_flag(const struct worker_conns *c)
{
    return &c->setup->board->workers[c->setup->worker].full;
}

/* -- from others ----------------------------------------------------------- */

int
conn_passing_begin(struct worker_conns *c)
{
    int e = 0;

    (void)pthread_mutex_lock(&c->receive_lock);
    bool has_room = fd_reserve_hold(&c->fd_reserve, c->poller.wake_fd);
    if (has_room) {
        e = poller_add_listener(&c->poller, c->setup->fd_passing->receive_fd);
        e = e == -EEXIST ? 0 : e;
    }
    atomic_store(full_flag(c), !has_room || e < 0);
    (void)pthread_mutex_unlock(&c->receive_lock);
    return e;
}

void
conn_passing_resume(struct worker_conns *c)
{
    if (atomic_load(full_flag(c)) && conn_passing_begin(c) < 0) {
        return; /* full as before: tried again in the next round */
    }
}

void
conn_passing_end(struct worker_conns *c)
{
    poller_remove_listener(&c->poller, c->setup->fd_passing->receive_fd);
}

/* No descriptor is left for one. True for the first thread that notices. */
static bool
refuse(struct worker_conns *c)
{
    if (atomic_exchange(full_flag(c), true)) {
        return false;
    }
    conn_passing_end(c);
    /* We may have been woken for more than we took. */
    fd_passing_wake_another(c->setup->fd_passing);
    return true;
}

/* The descriptor of a connection that was sent, or -errno. */
static int
receive_fd(struct worker_conns *c, bool *ret_kept)
{
    int fd = -EAGAIN;

    (void)pthread_mutex_lock(&c->receive_lock);
    if (fd_reserve_hold(&c->fd_reserve, c->poller.wake_fd)) {
        fd_reserve_release(&c->fd_reserve);
        fd = fd_passing_receive(c->setup->fd_passing, ret_kept);
    }
    bool is_new =
        !fd_reserve_hold(&c->fd_reserve, c->poller.wake_fd) && refuse(c);
    (void)pthread_mutex_unlock(&c->receive_lock);
    if (is_new) {
        log_warning("no more connections can be taken from other processes "
                    "(%s); trying again shortly; raise ulimit -n "
                    "(systemd: LimitNOFILE=)",
                    strerror(EMFILE));
    }
    return fd;
}

struct conn *
conn_passing_receive(struct worker_conns *c, int *ret_fd)
{
    bool kept = false;
    int fd = *ret_fd = receive_fd(c, &kept);
    struct conn *conn = fd < 0 ? NULL : conn_open(c->table, fd);

    if (conn == NULL) {
        if (fd != -EAGAIN) {
            log_warning("a connection from another process is lost (%s)",
                        strerror(fd < 0 ? -fd : EMFILE));
        }
        fd_close(&fd);
        return NULL;
    }
    assert(conn_fd(c->table, conn) == fd);
    atomic_store(&conn->kept, kept);
    conn->served_ms = kept ? clock_ms() : 0; /* at the latest */
    return conn;
}

void
conn_passing_receive_all(struct worker_conns *c, unsigned max)
{
    int64_t deadline = clock_ms() + WORKER_CONNS_FIRST_BYTE_MS;
    int fd = 0;

    for (unsigned i = 0; i < max && fd >= 0; i++) {
        struct conn *conn = conn_passing_receive(c, &fd);
        if (conn != NULL) {
            worker_conns_park(c, conn, fd, deadline, 0);
        }
    }
}

/* -- to others ------------------------------------------------------------- */

/* A connection is sent, not closed: the web server may be about to send a
 * request on it. */
bool
conn_passing_send(struct worker_conns *c, struct conn *conn, int fd)
{
    void *entry = conn;
    struct fcgi_conn *f = entry;

    assert(conn_fd(c->table, conn) == fd);
    if (!fcgi_conn_is_blank(f) ||
        fd_passing_send(c->setup->fd_passing, fd, atomic_load(&conn->kept)) <
            0) {
        return false;
    }
    if (conn->in_poller) {
        poller_disarm(&c->poller, fd);
    }
    fcgi_conn_fini(f);
    return true;
}

static bool
send_parked(void *arg, struct conn *conn, int fd)
{
    struct worker_conns *c = arg;

    return conn_passing_send(c, conn, fd);
}

void
conn_passing_send_idle(struct worker_conns *c)
{
    conn_pass_parked(c->table, send_parked, c);
}

bool
conn_passing_send_waiting(struct worker_conns *c)
{
    unsigned sent = 0, kept = 0;
    struct poller_event ready[POLLER_TAKE_MAX];
    size_t n = poller_take(&c->poller, ready, POLLER_TAKE_MAX);

    for (size_t i = 0; i < n; i++) {
        int fd = ready[i].fd;
        struct conn *conn = ready[i].kind == POLLER_CONN
                                ? conn_take(c->table, fd, ready[i].generation)
                                : NULL;
        if (conn == NULL) {
            continue;
        }
        if (conn_passing_send(c, conn, fd)) {
            worker_conns_end(c, conn);
            sent++;
        }
        else {
            worker_conns_park(c, conn, fd, atomic_load(&conn->deadline_ms),
                              conn->has_input ? POLLER_AT_ONCE : 0);
            kept++;
        }
    }
    return sent > 0 || kept == 0;
}
