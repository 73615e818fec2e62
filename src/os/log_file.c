/*
 * log_file.c - a log file, which may be rotated
 */
#include "os/log_file.h"

#include "os/fd.h"
#include "os/path_absolute.h"
#include "os/safe_path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: the open of a FIFO that nobody reads fails at once. open_place()
 * clears it. */
static int
try_open(const struct safe_path *p, int more)
{
    return safe_path_open(
        p, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | more,
        0640);
}

static int
open_place(const struct safe_path *p, bool *ret_made)
{
    int fd = try_open(p, 0);

    *ret_made = false;
    if (fd == -ENOENT) {
        fd = try_open(p, O_CREAT | O_EXCL);
        *ret_made = fd >= 0 && !p->is_linked;
    }
    if (fd == -EEXIST) {
        /* Somebody else has just made it, or it is a link to a missing file. */
        fd = try_open(p, O_CREAT);
    }
    if (fd < 0) {
        return fd;
    }
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        int e = -errno;
        fd_close(&fd);
        return e;
    }
    return fd;
}

static int
open_path(struct log_file *f)
{
    struct safe_path p;
    int fd = safe_path_find(&p, f->path, f->user);

    if (fd == 0) {
        f->is_descriptor = p.is_descriptor;
        fd = open_place(&p, &f->is_made);
        safe_path_close(&p);
    }
    return fd;
}

/* Makes a log_file that has no descriptor yet. */
static int
set_path(struct log_file *f, const char *path, uid_t user)
{
    char all[PATH_MAX];
    int e = path_absolute(path, all, sizeof all);

    *f = (struct log_file){.fd = -1, .user = user};
    if (e == 0) {
        f->path = strdup(all);
        e = f->path == NULL ? -ENOMEM : 0;
    }
    return e;
}

int
log_file_open(struct log_file *f, const char *path, uid_t user)
{
    int e = set_path(f, path, user);

    if (e < 0) {
        return e;
    }
    int fd = open_path(f);
    if (fd < 0) {
        return fd;
    }
    f->fd = fd;
    return 0;
}

int
log_file_adopt(struct log_file *f, const char *path, int fd)
{
    struct safe_path p;
    int e = set_path(f, path, geteuid());

    f->fd = fd;
    if (e < 0) {
        return e;
    }
    if (safe_path_find(&p, f->path, f->user) == 0) {
        f->is_descriptor = p.is_descriptor;
        safe_path_close(&p);
    }
    return 0;
}

void
log_file_fini(struct log_file *f)
{
    fd_close(&f->fd);
    free(f->path);
    f->path = NULL;
}

/* Replaces *to, with dup3(), so that the number is never closed in between, and
 * closes *from. Where *to is -1, *from moves there. */
static int
move_fd(int *from, int *to)
{
    assert(*from >= 0);
    if (*to < 0) {
        *to = *from;
        *from = -1;
        return 0;
    }
    while (dup3(*from, *to, *to > STDERR_FILENO ? O_CLOEXEC : 0) < 0) {
        if (errno != EINTR && errno != EBUSY) {
            int e = -errno;
            fd_close(from);
            return e;
        }
    }
    fd_close(from);
    return 0;
}

/* Replaces the file. fd 1 follows fd 2 where both were the same file. */
static int
replace(struct log_file *f, int *fd)
{
    bool both = f->fd == STDERR_FILENO && fd_same(STDOUT_FILENO, STDERR_FILENO);
    int e = move_fd(fd, &f->fd);

    return e == 0 && both ? fd_redirect(STDERR_FILENO, STDOUT_FILENO) : e;
}

int
log_file_take_stderr(struct log_file *f)
{
    int fd = f->fd;

    f->fd = STDERR_FILENO;
    return fd < 0 || fd == STDERR_FILENO ? 0 : replace(f, &fd);
}

int
log_file_chown(const struct log_file *f, uid_t uid, gid_t gid)
{
    assert(!f->is_made || f->fd >= 0);
    return f->is_made && fchown(f->fd, uid, gid) < 0 ? -errno : 0;
}

/* Pipes and terminals are not rotated. Neither is /dev/stdout, even if it is a
 * file: it may be another one by now. */
static bool
can_be_rotated(const struct log_file *f)
{
    struct stat st;

    return f->fd < 0 || (!f->is_descriptor &&
                         (fstat(f->fd, &st) < 0 || S_ISREG(st.st_mode)));
}

int
log_file_reopen(struct log_file *f)
{
    if (!can_be_rotated(f)) {
        return 0;
    }
    int fd = open_path(f);
    return fd < 0 ? fd : replace(f, &fd);
}

bool
log_file_has_moved(const struct log_file *f)
{
    struct stat at_path, at_fd;

    if (!can_be_rotated(f)) {
        return false;
    }
    if (f->fd < 0 || fstat(f->fd, &at_fd) < 0) {
        return true;
    }
    if (stat(f->path, &at_path) < 0) {
        return errno == ENOENT; /* else the permission to look is missing */
    }
    return at_path.st_dev != at_fd.st_dev || at_path.st_ino != at_fd.st_ino;
}

/* -- the end of a file ----------------------------------------------------- */

/* The same file, for reading, too: it may have no name any more. */
static int
open_again(int fd)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    return again < 0 ? -errno : again;
}

/* Copies what is behind from to the start, until there is no more, or about most
 * bytes. Returns the new end, or -errno. */
static off_t
move_down(int fd, off_t from, off_t most, char *buf, size_t size)
{
    off_t to = 0;

    while (to < most) {
        ssize_t n = pread(fd, buf, size, from);
        if (n <= 0) {
            return n < 0 ? -errno : to;
        }
        if (pwrite(fd, buf, (size_t)n, to) != n) {
            return -EIO;
        }
        from += n;
        to += n;
    }
    return to;
}

int
log_file_cut(int fd, off_t most, size_t keep)
{
    char buf[16 << 10];
    struct stat st;

    assert(keep > 0 && (off_t)keep <= most);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= most) {
        return 0;
    }
    CLEANUP(fd_close) int file = open_again(fd);
    off_t from = st.st_size - (off_t)keep;
    const char *nl = NULL;
    ssize_t n = 0;

    if (file < 0) {
        return file;
    }
    /* From the first whole line on. */
    while (nl == NULL && (n = pread(file, buf, sizeof buf, from)) > 0) {
        nl = memchr(buf, '\n', (size_t)n);
        from += nl != NULL ? nl - buf + 1 : n;
    }
    off_t end = n < 0 ? -errno : move_down(file, from, most, buf, sizeof buf);
    return end < 0 ? (int)end : ftruncate(file, end) < 0 ? -errno : 0;
}
