/*
 * safe_path.c - opens files for root in directories of other users
 */
#include "os/safe_path.h"

#include "os/fd.h"
#include "os/log.h"
#include "os/user_lookup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as many as the kernel follows */

static atomic_bool hides_left;

struct walk {
    int fd;              /* the current directory of the walk */
    char rest[PATH_MAX]; /* of the path */
    int links;
    uid_t owner;  /* of "/", who could replace everything */
    bool exposed; /* others than root may have created this directory */
    bool sticky;  /* one of them did so in a shared sticky directory */
};

static bool
is_shared(const struct stat *dir)
{
    return (dir->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

static bool
is_shared_sticky(const struct stat *dir)
{
    return is_shared(dir) && (dir->st_mode & S_ISVTX) != 0;
}

/* In a sticky directory only its owner can replace or rename an entry. But
 * another user may have created it as a hard link, which he can do without
 * owning the file (fs.protected_hardlinks=0). Directories have no hard
 * links.  */
static bool
is_safe_in_sticky(const struct stat *entry)
{
    return entry->st_uid == 0 &&
           (S_ISDIR(entry->st_mode) || entry->st_nlink == 1);
}

/* True where only root can create, replace or rename this entry of the
 * directory. entry is NULL where it does not exist. */
static bool
is_safe_entry(const struct walk *w, const struct stat *dir,
              const struct stat *entry)
{
    if (dir->st_uid != 0 && dir->st_uid != w->owner) {
        return false;
    }
    return !is_shared(dir) ||
           (is_shared_sticky(dir) && entry != NULL && is_safe_in_sticky(entry));
}

/* The links in /proc are the kernel's, and some lead to files without a
 * path.  */
static bool
is_proc(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static int
enter(struct walk *w, const char *name)
{
    int fd = openat(w->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    fd_close(&w->fd);
    w->fd = fd;
    return 0;
}

/* Moves the first name of rest to name. After a slash at the end of the path,
 * which asks for a directory, the last name is ".". */
static int
take_name(struct walk *w, char *name, bool *ret_last)
{
    const char *start = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(start, "/");

    if (n > NAME_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(name, n > 0 ? start : ".", n > 0 ? n : 1);
    name[n > 0 ? n : 1] = '\0';
    *ret_last = start[n] == '\0';
    memmove(w->rest, start + n, strlen(start + n) + 1);
    return 0;
}

/* Replaces the link name by its target, before rest. */
static int
follow(struct walk *w, const char *name)
{
    char target[PATH_MAX];
    size_t left = strlen(w->rest) + 1;
    ssize_t n = readlinkat(w->fd, name, target, sizeof target);

    if (n < 0) {
        return -errno;
    }
    if (++w->links > LINKS_MAX) {
        return -ELOOP;
    }
    if ((size_t)n + left > sizeof w->rest) {
        return -ENAMETOOLONG;
    }
    memmove(w->rest + n, w->rest, left);
    memcpy(w->rest, target, (size_t)n);
    return w->rest[0] == '/' ? enter(w, "/") : 0;
}

static bool
is_owner(const struct safe_path *p, uid_t uid)
{
    for (size_t i = 0; i < ARRAY_SIZE(p->owners); i++) {
        if (p->owners[i] == uid) {
            return true;
        }
    }
    return false;
}

/* The walk has found the directory of the file. Its owner may own the file as
 * well, since he could create anything there; but not where he created the
 * directory himself in one that everybody can write to. */
static int
found(const struct walk *w, const struct stat *dir, bool exposed,
      struct safe_path *p)
{
    p->is_exposed = exposed;
    p->is_folder_exposed = w->exposed;
    p->is_sticky = w->sticky || is_shared_sticky(dir);
    p->owners[2] = w->sticky ? w->owner : dir->st_uid;
    p->nofollow = O_NOFOLLOW;
    return 1;
}

/* Goes one name further. 1: p has been found. */
static int
step(struct walk *w, struct safe_path *p)
{
    struct stat dir, st;
    bool last;
    int e = take_name(w, p->name, &last);

    assert(w->fd >= 0);
    if (e < 0 || fstat(w->fd, &dir) < 0) {
        return e < 0 ? e : -errno;
    }
    bool exists = fstatat(w->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!exists && errno != ENOENT) {
        return -errno;
    }
    bool exposed = w->exposed || !is_safe_entry(w, &dir, exists ? &st : NULL);
    bool is_link = exists && S_ISLNK(st.st_mode);
    if (is_link && is_proc(w->fd)) {
        p->is_descriptor = last;
        return last ? 1 : follow(w, p->name);
    }
    if (is_link) {
        p->is_linked |= last;
        return exposed ? -EXDEV : follow(w, p->name);
    }
    if (last) {
        return found(w, &dir, exposed, p);
    }
    w->exposed = exposed;
    w->sticky |= exists && is_shared_sticky(&dir) && st.st_uid != dir.st_uid &&
                 !is_owner(p, st.st_uid);
    return enter(w, p->name);
}

static int
walk(struct safe_path *p, const char *path, size_t size)
{
    struct walk w = {.fd = AT_FDCWD};
    struct stat top;
    int e = enter(&w, path[0] == '/' ? "/" : ".");

    if (e == 0 && stat("/", &top) < 0) {
        e = -errno;
    }
    assert(size <= sizeof w.rest);
    memcpy(w.rest, path, size);
    w.owner = p->owners[1] = e == 0 ? top.st_uid : 0;
    while (e == 0) {
        e = step(&w, p);
    }
    if (e < 0) {
        fd_close(&w.fd);
    }
    assert(e < 0 || w.fd >= 0);
    p->folder_fd = w.fd;
    return e < 0 ? e : 0;
}

int
safe_path_find(struct safe_path *p, const char *path, uid_t user)
{
    size_t size = strlen(path) + 1;

    *p = (struct safe_path){.folder_fd = -1, .owners = {0, 0, 0, user}};
    if (size > sizeof p->name) {
        return -ENAMETOOLONG;
    }
    int e = walk(p, path, size);
    if (geteuid() != 0) {
        /* The kernel decides what this user may open. */
        fd_close(&p->folder_fd);
        *p = (struct safe_path){.folder_fd = AT_FDCWD,
                                .is_descriptor = e == 0 && p->is_descriptor};
        memcpy(p->name, path, size);
        e = 0;
    }
    return e;
}

/* Another user may have made a hard link to a file that he cannot write to, or
 * created the file first, to read what root writes to it. 0 or -errno. */
static int
check_file(const struct safe_path *p, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (S_ISREG(st.st_mode) && st.st_nlink > 1) {
        return -EMLINK;
    }
    return p->is_sticky && (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode)) &&
                   !is_owner(p, st.st_uid)
               ? -EUSERS
               : 0;
}

int
safe_path_open(const struct safe_path *p, int flags, mode_t mode)
{
    int fd = openat(p->folder_fd, p->name, flags | p->nofollow, mode);

    assert(p->folder_fd >= 0 || p->folder_fd == AT_FDCWD);
    if (fd < 0) {
        return errno == ELOOP && p->nofollow != 0 ? -EXDEV : -errno;
    }
    int e = p->is_exposed ? check_file(p, fd) : 0;
    if (e < 0) {
        fd_close(&fd);
        return e;
    }
    return fd;
}

void
safe_path_close(struct safe_path *p)
{
    fd_close(&p->folder_fd);
}

int
safe_path_enter(const char *path)
{
    struct safe_path p;

    if (geteuid() != 0) {
        return chdir(path) < 0 ? -errno : 0;
    }
    int e = safe_path_find(&p, path, 0);
    if (e < 0) {
        return e;
    }
    CLEANUP(fd_close)
    int fd = safe_path_open(&p, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    safe_path_close(&p);
    if (fd < 0) {
        return fd;
    }
    return fchdir(fd) < 0 ? -errno : 0;
}

const char *
safe_path_strerror(int err)
{
    switch (err) {
    case -EXDEV:
        return "a symbolic link in the path is in a directory that other "
               "users than root can write to; it is not followed";
    case -EMLINK:
        return "it has more than one hard link, in a directory that other "
               "users than root can write to";
    case -EUSERS:
        return "it belongs to another user, who created it in a directory "
               "that everybody can write to";
    default:
        return strerror(-err);
    }
}

void
safe_path_hide_left(void)
{
    atomic_store(&hides_left, true);
}

void
safe_path_log_left(const char *what, const char *path, int err, const char *why)
{
    char user[USER_NAME_SIZE];
    bool is_refused = err == -EACCES || err == -EPERM;

    if (atomic_load(&hides_left)) {
        return;
    }
    if (!is_refused || geteuid() == 0) {
        log_notice("%s %s cannot be removed: %s; the next start replaces it",
                   what, path, why);
        return;
    }
    /* After --user the process may not write to a folder of root's. */
    user_local_name(geteuid(), user);
    log_notice("%s %s cannot be removed: %s; the next start replaces it (give "
               "%s a folder of its own for it)",
               what, path, why, user);
}
