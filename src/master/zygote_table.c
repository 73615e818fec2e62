#include "master/zygote_table.h"

#include "base/clock.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/signals.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HURRY_MS = 500 /* between SIGQUIT and SIGKILL */ };

static struct zygote *
find_room(struct zygote_table *n)
{
    for (size_t i = 0; i < ARRAY_SIZE(n->v); i++) {
        if (n->v[i].state == ZYGOTE_NONE) {
            return &n->v[i];
        }
    }
    return NULL;
}

pid_t
zygote_table_fork(struct zygote_table *n, unsigned generation, int *ret_fd)
{
    struct zygote *z = find_room(n);
    int ends[2];

    if (z == NULL) {
        return -EAGAIN;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        return -errno;
    }
    signals_hold();
    pid_t pid = fork();
    int err = errno;
    if (pid == 0) {
        fd_close(&ends[0]);
        *ret_fd = ends[1];
        return 0;
    }
    signals_release();
    fd_close(&ends[1]);
    if (pid < 0) {
        fd_close(&ends[0]);
        return -err;
    }
    *z = (struct zygote){.state = ZYGOTE_LOADING,
                         .pid = pid,
                         .fd = ends[0],
                         .generation = generation,
                         .started_ms = clock_ms()};
    return pid;
}

void
zygote_table_forget(struct zygote_table *n)
{
    for (size_t i = 0; i < ARRAY_SIZE(n->v); i++) {
        if (n->v[i].state != ZYGOTE_NONE) {
            zygote_reap(&n->v[i]);
        }
    }
}

struct zygote *
zygote_table_find(struct zygote_table *n, unsigned generation)
{
    for (size_t i = 0; i < ARRAY_SIZE(n->v); i++) {
        struct zygote *z = &n->v[i];
        if (z->state != ZYGOTE_NONE && z->state != ZYGOTE_LEAVING &&
            z->generation == generation) {
            return z;
        }
    }
    return NULL;
}

struct zygote *
zygote_table_former(struct zygote_table *n, unsigned generation)
{
    struct zygote *best = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(n->v); i++) {
        struct zygote *z = &n->v[i];
        if (z->state == ZYGOTE_LOADED && z->generation != generation &&
            (best == NULL || z->generation > best->generation)) {
            best = z;
        }
    }
    return best;
}

struct zygote *
zygote_table_surplus(struct zygote_table *n, unsigned generation)
{
    const struct zygote *former = zygote_table_former(n, generation);
    struct zygote *oldest = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(n->v); i++) {
        struct zygote *z = &n->v[i];
        if (z->state == ZYGOTE_NONE || z->state == ZYGOTE_LEAVING) {
            return NULL;
        }
        if (z != former && z->generation != generation &&
            (oldest == NULL || z->generation < oldest->generation)) {
            oldest = z;
        }
    }
    return oldest;
}

struct zygote *
zygote_table_of_pid(struct zygote_table *n, pid_t pid)
{
    for (size_t i = 0; i < ARRAY_SIZE(n->v); i++) {
        if (n->v[i].state != ZYGOTE_NONE && n->v[i].pid == pid) {
            return &n->v[i];
        }
    }
    return NULL;
}

bool
zygote_is_able(const struct zygote *z)
{
    return z->state == ZYGOTE_LOADED || z->state == ZYGOTE_BROKEN;
}

int
zygote_ask(const struct zygote *z, unsigned slot)
{
    assert(zygote_is_able(z));
    return send(z->fd, &slot, sizeof slot, MSG_DONTWAIT | MSG_NOSIGNAL) < 0
               ? -errno
               : 0;
}

bool
zygote_read_message(struct zygote *z, struct zygote_report *ret)
{
    ssize_t n = -1;

    if (z->state == ZYGOTE_NONE) {
        return false;
    }
    do {
        n = recv(z->fd, ret, sizeof *ret, MSG_DONTWAIT);
        /* Reset: it has ended before it read all of ours. Its own messages, if
         * there are any, come after that. */
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    return n == (ssize_t)sizeof *ret;
}

void
zygote_dismiss(struct zygote *z, int64_t kill_at)
{
    if (z->state == ZYGOTE_LOADING) {
        zygote_kill(z); /* no worker depends on it yet */
    }
    else if (zygote_is_able(z)) {
        /* It sees the end of the connection, but can still send. */
        (void)shutdown(z->fd, SHUT_WR);
        z->state = ZYGOTE_LEAVING;
        z->kill_at = kill_at;
    }
    else if (kill_at < z->kill_at) {
        z->kill_at = kill_at;
    }
}

void
zygote_escalate(struct zygote *z, int64_t now_ms)
{
    if (z->state != ZYGOTE_LEAVING || zygote_is_killed(z) ||
        now_ms < z->kill_at) {
        return;
    }
    if (!z->hurried) {
        z->hurried = true;
        z->kill_at = now_ms + HURRY_MS;
        (void)kill(z->pid, SIGQUIT);
        return;
    }
    log_warning("zygote %ld does not leave: killed", (long)z->pid);
    zygote_kill(z);
}

void
zygote_kill(struct zygote *z)
{
    if (z->state != ZYGOTE_NONE) {
        (void)kill(z->pid, SIGKILL);
        z->state = ZYGOTE_LEAVING;
        z->kill_at = 0;
    }
}

bool
zygote_is_killed(const struct zygote *z)
{
    return z->state == ZYGOTE_LEAVING && z->kill_at == 0;
}

void
zygote_reap(struct zygote *z)
{
    assert(z->state != ZYGOTE_NONE);
    fd_close(&z->fd);
    *z = (struct zygote){.state = ZYGOTE_NONE, .fd = -1};
}
