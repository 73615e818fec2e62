#include "os/log_file.h"

#include "os/fd.h"
#include "os/path_absolute.h"
#include "os/safe_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe nobody reads is an error and not a wait: O_NONBLOCK, and only here. */
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
        /* Somebody else has made it, or it is a link to what is not there. */
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

/* A log_file without a descriptor. */
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

/* Points the number to at what from is, without a moment in between; a number
 * that was none yet just takes over. from is closed. */
static int
move_fd(int *from, int *to)
{
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

/* What prints to fd 1 belongs where fd 2 goes, unless somebody has put something
 * else there. */
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
log_file_give(const struct log_file *f, uid_t uid, gid_t gid)
{
    return f->is_made && fchown(f->fd, uid, gid) < 0 ? -errno : 0;
}

/* A pipe or terminal is not renamed; and /dev/stdout means another thing by now
 * than it did at the start, be it a file or not. */
static bool
is_rotated(const struct log_file *f)
{
    struct stat st;

    return f->fd < 0 || (!f->is_descriptor &&
                         (fstat(f->fd, &st) < 0 || S_ISREG(st.st_mode)));
}

int
log_file_reopen(struct log_file *f)
{
    if (!is_rotated(f)) {
        return 0;
    }
    int fd = open_path(f);
    return fd < 0 ? fd : replace(f, &fd);
}

bool
log_file_has_moved(const struct log_file *f)
{
    struct stat at_path, at_fd;

    if (!is_rotated(f)) {
        return false;
    }
    if (f->fd < 0 || fstat(f->fd, &at_fd) < 0) {
        return true;
    }
    if (stat(f->path, &at_path) < 0) {
        return errno == ENOENT; /* else we may not look: nothing is known */
    }
    return at_path.st_dev != at_fd.st_dev || at_path.st_ino != at_fd.st_ino;
}
