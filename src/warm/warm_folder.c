/*
 * warm_folder.c - the folder with the sockets of warm instances
 */
#include "warm/warm_folder.h"

#include "base/clock.h"
#include "os/fd.h"
#include "os/safe_path.h"
#include "os/user_lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOCK_PAUSE_MS = 2,
    NAME_SIZE = 24 /* "wsgi-cgi-" and a number, or "wsgi-cgi" */
};

/* -- where ----------------------------------------------------------------- */

/* A place: a folder that exists, and the name of ours in it. */
struct place {
    char above[WARM_FOLDER_SIZE - 1 - NAME_SIZE];
    char name[NAME_SIZE];
};

static int
set_place(struct place *p, const char *above, bool is_private)
{
    size_t n = above == NULL ? 0 : strlen(above);

    if (n == 0 || above[0] != '/' || strchr(above, '\'') != NULL) {
        return -ENOENT; /* not set, or nothing that we could pass on */
    }
    while (n > 1 && above[n - 1] == '/') {
        n--;
    }
    if (is_private) {
        (void)snprintf(p->name, sizeof p->name, "wsgi-cgi");
    }
    else {
        (void)snprintf(p->name, sizeof p->name, "wsgi-cgi-%lu",
                       (unsigned long)geteuid());
    }
    if (n >= sizeof p->above) {
        return -ENAMETOOLONG;
    }
    memcpy(p->above, above, n);
    p->above[n] = '\0';
    return 0;
}

static int
nth_place(struct place *p, unsigned i)
{
    char run[WARM_FOLDER_SIZE];

    switch (i) {
    case 0:
        return set_place(p, getenv("XDG_RUNTIME_DIR"), true);
    case 1:
        return set_place(p, getenv("TMPDIR"), false);
    case 2:
        return set_place(p, "/tmp", false);
    case 3:
        (void)snprintf(run, sizeof run, "/run/user/%lu",
                       (unsigned long)geteuid());
        return set_place(p, run, true);
    default:
        return -ERANGE;
    }
}

/* -- opening it ------------------------------------------------------------ */

static int
say(char *why, int err, const struct place *p, const char *reason)
{
    (void)snprintf(why, WARM_WHY_SIZE, "%s/%s: %s", p->above, p->name, reason);
    return err;
}

static int
say_owner(char *why, const struct place *p, const char *what, uid_t owner)
{
    char user[USER_NAME_SIZE], reason[USER_NAME_SIZE + 100];

    user_local_name(owner, user);
    (void)snprintf(reason, sizeof reason,
                   "%s belongs to %s: remove it, or set TMPDIR to another "
                   "folder",
                   what, user);
    return say(why, -EPERM, p, reason);
}

/* For root: sockets are bound and connected to by path, so no other user may be
 * able to lead that path elsewhere after these checks. */
static int
check_way(const struct place *p, char *why)
{
    CLEANUP(safe_path_close) struct safe_path way = {.folder_fd = -1};
    char path[WARM_FOLDER_SIZE];

    if (geteuid() != 0) {
        return 0; /* he has chosen it; the peer of each socket is checked */
    }
    (void)snprintf(path, sizeof path, "%s/%s", p->above, p->name);
    int e = safe_path_find(&way, path, 0);
    if (e < 0) {
        return say(why, e, p, safe_path_strerror(e));
    }
    return !way.is_folder_exposed
               ? 0
               : say(why, -EPERM, p,
                     "another user may replace a folder of this path: set "
                     "TMPDIR to another folder");
}

static int
open_above(const struct place *p, char *why)
{
    struct stat st;
    int fd = open(p->above, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        int e = say(why, -errno, p, strerror(errno));
        fd_close(&fd);
        return e;
    }
    int e = 0;
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        e = say_owner(why, p, "the folder above it", st.st_uid);
    }
    else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
             (st.st_mode & S_ISVTX) == 0) {
        e = say(why, -EPERM, p,
                "others may replace it: the folder above it needs the sticky "
                "bit");
    }
    else {
        e = check_way(p, why);
    }
    if (e < 0) {
        fd_close(&fd);
    }
    return e < 0 ? e : fd;
}

/* The checks are on the descriptor: what it leads to cannot be replaced. */
static int
check_own(int fd, const struct place *p, char *why)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return say(why, -errno, p, strerror(errno));
    }
    if (st.st_uid != geteuid()) {
        return say_owner(why, p, "it", st.st_uid);
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return say(why, -EPERM, p,
                   "others may enter it: chmod 700, or remove it");
    }
    return 0;
}

/* Where it does not exist. */
enum or_else { OR_FAIL, OR_CREATE, OR_ASK };

static int
open_own(int above, const struct place *p)
{
    int fd =
        openat(above, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static void
set_path(struct warm_folder *f, const struct place *p)
{
    (void)snprintf(f->path, sizeof f->path, "%s/%s",
                   strcmp(p->above, "/") == 0 ? "" : p->above, p->name);
}

/* 0 where it could be created; ret->fd is then -1. */
static int
ask_above(struct warm_folder *ret, const struct place *p, int above, char *why)
{
    if (faccessat(above, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        return say(why, -errno, p, strerror(errno));
    }
    set_path(ret, p);
    return 0;
}

/* Another user's folder with the mode of ours cannot be opened at all. */
static int
say_not_opened(char *why, int err, const struct place *p, int above)
{
    struct stat st;

    if (err == -EACCES &&
        fstatat(above, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_uid != geteuid()) {
        return say_owner(why, p, "it", st.st_uid);
    }
    return say(why, err, p,
               err == -ENOTDIR || err == -ELOOP ? "it is no folder: remove it"
                                                : strerror(-err));
}

/* Whatever the umask: nobody could use one of mode 000, which would stay. */
static int
create(int above, const struct place *p)
{
    mode_t old = umask(S_IRWXG | S_IRWXO);
    int e =
        mkdirat(above, p->name, S_IRWXU) < 0 && errno != EEXIST ? -errno : 0;

    (void)umask(old);
    return e < 0 ? e : open_own(above, p);
}

static int
open_place(struct warm_folder *ret, const struct place *p, enum or_else or_else,
           char *why)
{
    CLEANUP(fd_close) int above = open_above(p, why);

    ret->fd = -1;
    if (above < 0) {
        return above;
    }
    int fd = open_own(above, p);
    if (fd == -ENOENT && or_else == OR_ASK) {
        return ask_above(ret, p, above, why);
    }
    if (fd == -ENOENT && or_else == OR_CREATE) {
        fd = create(above, p);
    }
    if (fd < 0) {
        return say_not_opened(why, fd, p, above);
    }
    int e = check_own(fd, p, why);
    if (e < 0) {
        fd_close(&fd);
        return e;
    }
    ret->fd = fd;
    set_path(ret, p);
    return 0;
}

int
warm_folder_open_nth(struct warm_folder *ret, unsigned i,
                     char why[WARM_WHY_SIZE])
{
    struct place p;

    ret->fd = -1;
    int e = nth_place(&p, i);
    if (e < 0) {
        (void)snprintf(why, WARM_WHY_SIZE, "%s",
                       e == -ENAMETOOLONG ? "the path of TMPDIR or "
                                            "XDG_RUNTIME_DIR is too long"
                                          : "no such folder");
        return e;
    }
    return open_place(ret, &p, OR_FAIL, why);
}

static int
open_first(struct warm_folder *ret, enum or_else or_else,
           char why[WARM_WHY_SIZE])
{
    static const unsigned places = 3; /* those of this environment */
    int first = 0;

    for (unsigned i = 0; i < places; i++) {
        char reason[WARM_WHY_SIZE] = "the path of TMPDIR or XDG_RUNTIME_DIR is "
                                     "too long";
        struct place p;
        int e = nth_place(&p, i);
        e = e == 0 ? open_place(ret, &p, or_else, reason) : e;
        if (e == 0) {
            return 0;
        }
        /* What is wrong with the first that exists is what people can fix. */
        if (first == 0 || first == -ENOENT) {
            first = e;
            memcpy(why, reason, WARM_WHY_SIZE);
        }
    }
    ret->fd = -1;
    return first;
}

int
warm_folder_open(struct warm_folder *ret, char why[WARM_WHY_SIZE])
{
    return open_first(ret, OR_CREATE, why);
}

int
warm_folder_find(struct warm_folder *ret, char why[WARM_WHY_SIZE])
{
    return open_first(ret, OR_ASK, why);
}

void
warm_folder_close(struct warm_folder *f)
{
    fd_close(&f->fd);
}

/* -- the lock -------------------------------------------------------------- */

/* flock() cannot wait for a limited time, and a process that holds the lock may
 * be stopped by a debugger or its host. */
int
warm_folder_lock(const struct warm_folder *f, int64_t deadline_ms)
{
    while (flock(f->fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -errno;
        }
        if (clock_ms() >= deadline_ms) {
            return -ETIMEDOUT;
        }
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return 0;
}

void
warm_folder_unlock(const struct warm_folder *f)
{
    (void)flock(f->fd, LOCK_UN);
}
