/*
 * fd.c - file descriptors: closing, duplicating, sanity at start
 */
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void
fd_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        /* Not repeated on EINTR: Linux has released the number by then, and
         * another thread may own it already. */
        (void)close(*fd);
        errno = saved;
    }
    *fd = -1;
}

/* A root directory may have no /dev (OpenBSD's httpd starts programs in such a
 * one): a pipe that nobody writes to is at its end, too, and as good a place for
 * what is read; a write fails. It has the lowest free number, as open() gives. */
static int
open_null(int flags)
{
    int fd = open("/dev/null", O_RDWR | flags);
    int ends[2];

    if (fd >= 0) {
        return fd;
    }
    if (pipe2(ends, flags) < 0) {
        return -errno;
    }
    fd_close(&ends[1]);
    return ends[0];
}

int
fd_sanitize(unsigned *ret_was_closed)
{
    unsigned was_closed = 0;
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) {
            continue;
        }
        /* All lower numbers are open by now, so that it becomes fd.
         * Without O_CLOEXEC: programs the application starts need it too. */
        int opened = open_null(0);
        if (opened < 0) {
            return opened;
        }
        was_closed |= 1U << fd;
    }
    *ret_was_closed = was_closed;
    return 0;
}

int
fd_open_null(void)
{
    return open_null(O_CLOEXEC);
}

/* mkostemp() knows no folder but by its path. */
int
fd_make_temporary(int folder_fd, char *name)
{
    enum { LETTERS = 6, TRIES = 100 };
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char random[LETTERS];
    size_t n = strlen(name);

    for (int i = 0; i < TRIES; i++) {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
            return -errno;
        }
        for (size_t k = 0; k < LETTERS; k++) {
            name[n - LETTERS + k] = letters[random[k] % (sizeof letters - 1)];
        }
        int fd =
            openat(folder_fd, name,
                   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST) {
            return fd < 0 ? -errno : fd;
        }
    }
    return -EEXIST;
}

int
fd_dup_high(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : copy;
}

int
fd_redirect(int fd, int target)
{
    if (fd == target) {
        /* dup2() would leave a FD_CLOEXEC in place here. */
        return fcntl(fd, F_SETFD, 0) < 0 ? -errno : 0;
    }
    while (dup2(fd, target) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

bool
fd_same(int a, int b)
{
    struct stat sa;
    struct stat sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

bool
fd_is_listening(int fd)
{
    int value = 0;
    socklen_t size = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 &&
           value != 0;
}

int
fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) {
        return -errno;
    }
    if ((flags & O_NONBLOCK) == 0 &&
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    return 0;
}
