/*
 * poller.c - the epoll of all request threads
 */
#include "net/poller.h"

#include "net/conn.h"
#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The data of an epoll event: the kind in the top 2 bits, the generation, by
 * which an old event is recognised, and the descriptor. */
enum { KIND_SHIFT = 62, GENERATION_SHIFT = 32 };

static uint64_t
token(enum poller_kind kind, int fd, uint32_t generation)
{
    assert(fd >= 0 && generation <= CONN_GENERATION);
    return (uint64_t)kind << KIND_SHIFT |
           (uint64_t)(generation & CONN_GENERATION) << GENERATION_SHIFT |
           (uint32_t)fd;
}

int
poller_open(struct poller *p)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int err;

    p->wake_fd = -1;
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->epoll_fd < 0) {
        return -errno;
    }
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ev.data.u64 = token(POLLER_WAKE, 0, 0);
    if (p->wake_fd < 0 ||
        epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &ev) < 0) {
        err = -errno;
        poller_close(p);
        return err;
    }
    return 0;
}

void
poller_close(struct poller *p)
{
    fd_close(&p->epoll_fd);
    fd_close(&p->wake_fd);
}

int
poller_add_listener(struct poller *p, int fd)
{
    /* EXCLUSIVE: wakes one of the processes that share the socket, not all. */
    struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};

    ev.data.u64 = token(POLLER_LISTENER, fd, 0);
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void
poller_remove_listener(struct poller *p, int fd)
{
    (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int
poller_arm(struct poller *p, int fd, uint32_t generation, unsigned how)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT};
    int op = (how & POLLER_NEW) != 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if ((how & POLLER_AT_ONCE) != 0) {
        ev.events |= EPOLLOUT;
    }
    ev.data.u64 = token(POLLER_CONN, fd, generation);
    /* The call happens before the thread that it wakes goes on. ThreadSanitizer
     * knows that for EPOLL_CTL_ADD, but not for MOD. It would see a race where
     * that thread closes the descriptor at once. */
    TSAN_IGNORE_READS_BEGIN();
    int r = epoll_ctl(p->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
    TSAN_IGNORE_READS_END();
    return r;
}

void
poller_disarm(struct poller *p, int fd)
{
    (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void
poller_wake_all(struct poller *p)
{
    const uint64_t one = 1;
    int saved = errno;

    /* Nobody reads it: the event is level-triggered and wakes all threads. */
    if (write(p->wake_fd, &one, sizeof one) < 0) {
        /* The counter is full, and so readable. */
    }
    errno = saved;
}

static void
decode(uint64_t from, struct poller_event *ret)
{
    ret->kind = (enum poller_kind)(from >> KIND_SHIFT);
    ret->fd = (int)(uint32_t)from;
    ret->generation = (uint32_t)(from >> GENERATION_SHIFT) & CONN_GENERATION;
}

bool
poller_has_events(const struct poller *p)
{
    struct pollfd f = {.fd = p->epoll_fd, .events = POLLIN};

    return poll(&f, 1, 0) > 0;
}

size_t
poller_take(struct poller *p, struct poller_event *ret, size_t max)
{
    struct epoll_event ev[POLLER_TAKE_MAX];
    assert(max > 0);
    int n = epoll_wait(p->epoll_fd, ev,
                       max < POLLER_TAKE_MAX ? (int)max : POLLER_TAKE_MAX, 0);

    for (int i = 0; i < n; i++) {
        decode(ev[i].data.u64, &ret[i]);
    }
    return n < 0 ? 0 : (size_t)n;
}

int
poller_wait(struct poller *p, int timeout_ms, struct poller_event *ret)
{
    struct epoll_event ev;
    int n = epoll_wait(p->epoll_fd, &ev, 1, timeout_ms);

    ret->kind = POLLER_NOTHING;
    if (n < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    if (n > 0) {
        decode(ev.data.u64, ret);
    }
    return 0;
}
