/*
 * connection.c - a connection to a backend, with a deadline
 */
#include "client/connection.h"

#include "base/clock.h"
#include "net/address.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/path_access.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sysexits.h>

void
connection_init(struct connection *p, const char *option, const char *address,
                int64_t timeout_ms, bool renews)
{
    *p = (struct connection){.option = option,
                             .address = address,
                             .fd = -1,
                             .timeout_ms = timeout_ms,
                             .deadline_ms = clock_ms() + timeout_ms,
                             .renews = renews};
}

void
connection_close(struct connection *p)
{
    fd_close(&p->fd);
}

static const char *
reason(const char *address, int err, char *why, size_t size)
{
    if (strncmp(address, "unix:", 5) == 0) {
        address += 5;
    }
    switch (err) {
    case -ECONNREFUSED:
        return "nobody listens there; is the server running?";
    case -ENOENT:
        return "there is no such socket; is the server running?";
    case -EPROTO:
        return "what it sends is not FastCGI; is it the port of a web "
               "server?";
    case -ENODATA:
        return "the connection ended before the answer did";
    case -ECONNRESET:
        return "the connection was reset";
    case -EPIPE:
        return "the connection was closed";
    case -EMSGSIZE:
        return "the answer is larger than the client takes";
    case -EACCES:
        return path_write_reason(address, err, strerror(-err), why, size);
    default:
        return strerror(-err);
    }
}

void
connection_log(const struct connection *p, int err)
{
    char why[2 * PATH_MAX + 256];

    if (err == -ETIMEDOUT) {
        log_error("%s: %s: no answer within %" PRId64 " ms", p->option,
                  p->address, p->timeout_ms);
    }
    else {
        log_error("%s: %s: %s", p->option, p->address,
                  reason(p->address, err, why, sizeof why));
    }
}

int
connection_failed(const struct connection *p, int err)
{
    connection_log(p, err);
    return EX_UNAVAILABLE;
}

static int64_t
time_left(const struct connection *p)
{
    int64_t left = p->deadline_ms - clock_ms();
    return left > 0 ? left : 0;
}

int
connection_wait(const struct connection *p, short events)
{
    struct pollfd poll_fd = {.fd = p->fd, .events = events};

    assert(p->fd >= 0);
    for (;;) {
        int64_t left = time_left(p);
        if (left == 0) {
            return -ETIMEDOUT; /* even if it never stops sending */
        }
        int n = poll(&poll_fd, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return poll_fd.revents;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

/* poll() cannot wait for a unix socket whose queue is full. connect() can, for
 * SO_SNDTIMEO. */
static int
connect_unix(struct connection *p, const struct address *a)
{
    for (;;) {
        int64_t left = time_left(p);
        const struct timeval t = {.tv_sec = left / 1000,
                                  .tv_usec = left % 1000 * 1000};
        if (left == 0) {
            return -ETIMEDOUT;
        }
        if (setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) < 0) {
            return -errno;
        }
        if (connect(p->fd, &a->u.any, a->len) == 0) {
            return fd_set_nonblock(p->fd);
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
    }
}

static int
connect_tcp(struct connection *p, const struct address *a)
{
    int err = 0;
    socklen_t len = sizeof err;
    int r = fd_set_nonblock(p->fd);

    if (r < 0 || connect(p->fd, &a->u.any, a->len) == 0) {
        return r;
    }
    if (errno != EINPROGRESS && errno != EINTR) {
        return -errno;
    }
    r = connection_wait(p, POLLOUT);
    if (r < 0) {
        return r;
    }
    return getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno
                                                                   : -err;
}

int
connection_connect(struct connection *p)
{
    struct address a;
    assert(p->fd < 0);
    int r = address_parse(p->option, p->address, &a);

    if (r != 0) {
        return r;
    }
    p->fd = socket(a.u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0) {
        return connection_failed(p, -errno);
    }
    r = a.is_tcp ? connect_tcp(p, &a) : connect_unix(p, &a);
    return r < 0 ? connection_failed(p, r) : 0;
}

void
connection_renew(struct connection *p)
{
    if (p->renews) {
        p->deadline_ms = clock_ms() + p->timeout_ms;
    }
}

ssize_t
connection_send(struct connection *p, const void *bytes, size_t n)
{
    ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);

    if (sent < 0) {
        return errno == EINTR ? -EAGAIN : -errno;
    }
    connection_renew(p);
    return sent;
}

ssize_t
connection_receive(const struct connection *p, void *to, size_t size)
{
    ssize_t n = recv(p->fd, to, size, 0);

    return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}
