/*
 * fd_passing.c - passes open connections from one process to another
 */
#include "net/fd_passing.h"

#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* The control data of a message. */
union control {
    struct cmsghdr header; /* for the alignment */
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* A message without a descriptor. */
static const char wake = 'w';

int
fd_passing_open(struct fd_passing *m)
{
    int fds[2];

    /* Not SOCK_DGRAM, whose queue has room for ten messages only. */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   fds) < 0) {
        return -errno;
    }
    m->send_fd = fds[0];
    m->receive_fd = fds[1];
    return 0;
}

void
fd_passing_close(struct fd_passing *m)
{
    fd_close(&m->send_fd);
    fd_close(&m->receive_fd);
}

int
fd_passing_send(const struct fd_passing *m, int fd, bool kept)
{
    char byte = kept ? 'k' : 'n';
    union control control = {.bytes = {0}};
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    assert(c != NULL);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(m->send_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno
                                                                      : 0;
}

bool
fd_passing_has_room(const struct fd_passing *m)
{
    struct pollfd p = {.fd = m->send_fd, .events = POLLOUT};

    return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT) != 0;
}

void
fd_passing_wake_another(const struct fd_passing *m)
{
    /* Where there is no room, many messages are waiting, and all are awake. */
    (void)send(m->send_fd, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int
receive(const struct fd_passing *m, char *ret_byte)
{
    char byte = 0;
    int fd = -1;
    union control control;
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n = recvmsg(m->receive_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (n < 0) {
        return -errno;
    }
    if (c != NULL && c->cmsg_level == SOL_SOCKET &&
        c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd)) {
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    *ret_byte = byte;
    return fd < 0 ? -EMFILE : fd; /* the kernel had no number for it */
}

int
fd_passing_receive(const struct fd_passing *m, bool *ret_kept)
{
    char byte = 0;
    int fd;

    do {
        fd = receive(m, &byte);
    } while (fd == -EMFILE && byte == wake);
    *ret_kept = byte == 'k';
    return fd;
}
