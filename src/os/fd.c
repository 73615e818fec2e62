/*
 * fd.c - closes, duplicates and checks file descriptors
 */
#include "os/fd.h"

#include <assert.h>
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
        /* Never repeated: after EINTR Linux has released the number, and
         * another thread may use it already. */
        (void)close(*fd);
        errno = saved;
    }
    *fd = -1;
}

/* In a chroot there may be no /dev (OpenBSD's httpd starts programs in one).
 * The read end of a pipe without a writer then serves as well: a read finds the
 * end, and a write fails. Like open(), it uses the lowest free number. */
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
        /* All lower numbers are open by now, so this one becomes fd. Without
         * O_CLOEXEC: programs that the application starts need it, too. */
        int opened = open_null(0);
        if (opened < 0) {
            return opened;
        }
        assert(opened == fd);
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

/* mkostemp() takes a path only, not an open directory. */
int
fd_make_temporary(int directory_fd, char *name)
{
    enum { LETTERS = 6, TRIES = 100 };
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char random[LETTERS];
    size_t n = strlen(name);

    assert(n >= LETTERS);
    for (int i = 0; i < TRIES; i++) {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
            return -errno;
        }
        for (size_t k = 0; k < LETTERS; k++) {
            name[n - LETTERS + k] = letters[random[k] % (sizeof letters - 1)];
        }
        int fd =
            openat(directory_fd, name,
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
    assert(fd >= 0 && target >= 0);
    if (fd == target) {
        /* dup2() would not clear FD_CLOEXEC here. */
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
