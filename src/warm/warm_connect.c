/*
 * warm_connect.c - connections to instances
 */
#include "warm/warm_connect.h"

#include "base/clock.h"
#include "os/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { QUEUE_PAUSE_MS = 5 };

static int
get_peer(int fd, struct ucred *ret)
{
    socklen_t len = sizeof *ret;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) < 0 ? -errno : 0;
}

static int
check_peer(int fd)
{
    struct ucred peer;
    int e = get_peer(fd, &peer);

    return e < 0 ? e : peer.uid == geteuid() ? 0 : -EPERM;
}

/* Nothing wakes a process that waits for room in the queue without blocking. */
static int
connect_in_time(int fd, const struct sockaddr_un *address)
{
    int64_t end = clock_ms() + WARM_CONNECT_MS;

    for (;;) {
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) ==
            0) {
            return 0;
        }
        if (errno != EINTR && (errno != EAGAIN || clock_ms() >= end)) {
            return -errno;
        }
        (void)poll(NULL, 0, QUEUE_PAUSE_MS);
    }
}

int
warm_connect(const struct warm_folder *f, const struct warm_name *n,
             const char *end)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    warm_name_address(f, n, end, &address);
    int e = connect_in_time(fd, &address);
    e = e == 0 ? check_peer(fd) : e;
    if (e < 0) {
        fd_close(&fd);
    }
    return e < 0 ? e : fd;
}

int
warm_connect_any(const struct warm_folder *f, const struct warm_name *n)
{
    int control = warm_connect(f, n, WARM_CONTROL);
    int fd = control >= 0 ? control : warm_connect(f, n, WARM_SOCKET);

    return warm_connect_is_nobody(fd) ? control : fd;
}

bool
warm_connect_is_nobody(int err)
{
    return err == -ENOENT || err == -ECONNREFUSED;
}

pid_t
warm_connect_pid(int fd)
{
    struct ucred peer;
    int e = get_peer(fd, &peer);

    return e < 0 ? e : peer.pid;
}

/* The listener has ended, and so perhaps its process. */
static bool
is_broken(int fd)
{
    struct pollfd p = {.fd = fd};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

/* The number cannot become that of another process once it is open; before that
 * the connection would have broken. */
int
warm_connect_process(int fd, pid_t pid)
{
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    int e = process < 0 ? -errno : is_broken(fd) ? -ESRCH : 0;

    if (e < 0) {
        fd_close(&process);
    }
    return e < 0 ? e : process;
}

int
warm_connect_kill(int fd, int number)
{
    pid_t pid = warm_connect_pid(fd);
    if (pid <= 0) {
        return pid < 0 ? pid : -ESRCH;
    }
    CLEANUP(fd_close) int process = warm_connect_process(fd, pid);
    if (process >= 0) {
        return syscall(SYS_pidfd_send_signal, process, number, NULL, 0) < 0
                   ? -errno
                   : 0;
    }
    if (process != -ENOSYS) {
        return process;
    }
    return is_broken(fd) ? -ESRCH : kill(pid, number) < 0 ? -errno : 0;
}
