#include "master/master_drain.h"

#include "master/master_fork.h"
#include "master/master_workers.h"
#include "os/fd.h"
#include "os/log.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

enum { LAST_WORKERS = 3 /* each may die at its start */ };

/* By a worker that has left, or by shut() below. */
static bool
was_passed_on(const struct master *m)
{
    struct pollfd p = {.fd = m->s->fd_passing->receive_fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0 && (p.revents & POLLIN) != 0;
}

static bool
somebody_waits(const struct master *m)
{
    bool waits = was_passed_on(m);

    for (size_t i = 0; !waits && i < m->s->nlisteners; i++) {
        waits = listener_somebody_waits(&m->s->listeners[i]);
    }
    return waits;
}

static bool
is_allowed(const struct master *m, int fd, const struct sockaddr_storage *peer)
{
    if (!acl_peer(m->s->allow, peer)) {
        acl_log_refused(peer);
        return false;
    }
    return !m->s->config->is_warm || acl_peer_is_ours(fd);
}

/* Ends the queue of a unix socket. Who has connected since the last look is
 * passed on; after shutdown() nobody can. (With TCP it would reset them.) */
static void
shut(const struct master *m, const struct listener *l)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof peer;
    void *from = &peer;
    int fd;

    (void)shutdown(l->fd, SHUT_RDWR);
    while ((fd = accept4(l->fd, from, &len, SOCK_CLOEXEC)) >= 0) {
        if (is_allowed(m, fd, &peer) &&
            fd_passing_send(m->s->fd_passing, fd, false) < 0) {
            log_warning("a connection is lost: too many came at the end");
        }
        fd_close(&fd);
        len = sizeof peer;
    }
}

static bool
is_wanted(const struct master *m)
{
    if (somebody_waits(m)) {
        return true;
    }
    for (size_t i = 0; i < m->s->nlisteners; i++) {
        const struct listener *l = &m->s->listeners[i];
        if (!l->is_adopted && !l->is_tcp) {
            shut(m, l);
        }
    }
    return was_passed_on(m);
}

bool
master_drain(struct master *m, int64_t now)
{
    /* --need-app: there is no code that could serve anybody. */
    bool may = m->seen.stop != STOP_NOW && m->status == 0;

    if (!may || !is_wanted(m)) {
        return false;
    }
    if (now >= m->stop_end || m->last_workers == LAST_WORKERS) {
        log_warning("clients that have connected are not served: %s",
                    now >= m->stop_end ? "--graceful-timeout has passed"
                                       : "workers die at their start");
        return false;
    }
    int slot = now < m->not_before ? -1 : master_take_slot(m);
    if (slot >= 0) {
        log_debug("one more worker serves those who have connected");
        m->last_workers++;
        master_fork_last_worker(m, (unsigned)slot);
        if (m->role == ROLE_MASTER && !slot_is_free(&m->slots[slot])) {
            master_dismiss_worker(m, (unsigned)slot, SIGTERM);
        }
    }
    return true;
}
