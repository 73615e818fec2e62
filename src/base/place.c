#include "base/place.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as many as the kernel follows */

struct walk {
    int fd;              /* the folder we are in */
    char rest[PATH_MAX]; /* of the path */
    int links;
    uid_t owner;  /* of "/": he could put anything anywhere */
    bool exposed; /* somebody else may have put this folder here */
};

/* Whether nobody but root can make, replace or rename the entry (NULL: it is not
 * there) of the folder. */
static bool
is_roots(const struct walk *w, const struct stat *folder,
         const struct stat *entry)
{
    bool is_shared = (folder->st_mode & (S_IWGRP | S_IWOTH)) != 0;

    if (folder->st_uid != 0 && folder->st_uid != w->owner) {
        return false;
    }
    return !is_shared || ((folder->st_mode & S_ISVTX) != 0 && entry != NULL &&
                          entry->st_uid == 0);
}

/* Such links are the kernel's, and some lead where no path does. */
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

/* A slash at the end asks for a folder: there the last name is ".". */
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

/* One name further. 1 = p is the place. */
static int
step(struct walk *w, struct place *p)
{
    struct stat folder, st;
    bool last;
    int e = take_name(w, p->name, &last);

    if (e < 0 || fstat(w->fd, &folder) < 0) {
        return e < 0 ? e : -errno;
    }
    bool is_there = fstatat(w->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_there && errno != ENOENT) {
        return -errno;
    }
    bool exposed = w->exposed || !is_roots(w, &folder, is_there ? &st : NULL);
    bool is_link = is_there && S_ISLNK(st.st_mode);
    if (is_link && is_proc(w->fd)) {
        p->is_descriptor = last;
        return last ? 1 : follow(w, p->name);
    }
    if (is_link) {
        p->is_linked |= last;
        return exposed ? -EXDEV : follow(w, p->name);
    }
    if (last) {
        p->is_exposed = exposed;
        p->nofollow = O_NOFOLLOW;
        return 1;
    }
    w->exposed = exposed;
    return enter(w, p->name);
}

static int
walk(struct place *p, const char *path, size_t size)
{
    struct walk w = {.fd = AT_FDCWD};
    struct stat top;
    int e = enter(&w, "/");

    if (e == 0 && fstat(w.fd, &top) < 0) {
        e = -errno;
    }
    memcpy(w.rest, path, size);
    w.owner = e == 0 ? top.st_uid : 0;
    while (e == 0) {
        e = step(&w, p);
    }
    if (e < 0) {
        fd_close(&w.fd);
    }
    p->folder_fd = w.fd;
    return e < 0 ? e : 0;
}

int
place_find(struct place *p, const char *path)
{
    size_t size = strlen(path) + 1;

    *p = (struct place){.folder_fd = -1};
    if (size > sizeof p->name) {
        return -ENAMETOOLONG;
    }
    int e = walk(p, path, size);
    if (geteuid() != 0) {
        /* The kernel knows best what we may open. */
        fd_close(&p->folder_fd);
        *p = (struct place){.folder_fd = AT_FDCWD,
                            .is_descriptor = e == 0 && p->is_descriptor};
        memcpy(p->name, path, size);
        e = 0;
    }
    return e;
}

/* Somebody may have given a second name to a file that he cannot write to. */
static bool
has_other_name(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && st.st_nlink > 1);
}

int
place_open(const struct place *p, int flags, mode_t mode)
{
    int fd = openat(p->folder_fd, p->name, flags | p->nofollow, mode);

    if (fd < 0) {
        return errno == ELOOP && p->nofollow != 0 ? -EXDEV : -errno;
    }
    if (p->is_exposed && has_other_name(fd)) {
        fd_close(&fd);
        return -EMLINK;
    }
    return fd;
}

void
place_close(struct place *p)
{
    fd_close(&p->folder_fd);
}

const char *
place_strerror(int err)
{
    switch (err) {
    case -EXDEV:
        return "a symbolic link on the way stands where others than root can "
               "write; it is not followed";
    case -EMLINK:
        return "it has a second name and stands where others than root can "
               "write";
    default:
        return strerror(-err);
    }
}
