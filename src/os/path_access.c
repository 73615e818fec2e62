/*
 * path_access.c - finds the part of a path that the user cannot access
 */
#include "os/path_access.h"

#include "os/path_absolute.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as many as the kernel follows */

/* A path, of which the first part has been checked. */
struct access_walk {
    char done[PATH_MAX]; /* the part that was checked, without links */
    char rest[PATH_MAX];
    char link[PATH_MAX]; /* the last symbolic link followed, or "" */
    int links;
};

static const char *
user_name(char *to, size_t size)
{
    char space[1024];
    struct passwd entry;
    struct passwd *found = NULL;
    unsigned uid = (unsigned)geteuid();

    if (getpwuid_r(geteuid(), &entry, space, sizeof(space), &found) == 0 &&
        found != NULL) {
        (void)snprintf(to, size, "user %s (uid %u)", found->pw_name, uid);
    }
    else {
        (void)snprintf(to, size, "uid %u", uid);
    }
    return to;
}

/* Moves the next component from rest to done. False at the end. */
static bool
walk_step(struct access_walk *w)
{
    const char *from = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(from, "/");
    if (n == 0) {
        return false;
    }
    size_t have = strlen(w->done);
    assert(have == 0 || w->done[0] == '/');
    if (n == 2 && from[0] == '.' && from[1] == '.') {
        char *slash = strrchr(w->done, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
    }
    else if (!(n == 1 && from[0] == '.') && have + n + 2 < sizeof(w->done)) {
        w->done[have] = '/';
        memcpy(w->done + have + 1, from, n);
        w->done[have + 1 + n] = '\0';
    }
    memmove(w->rest, from + n, strlen(from + n) + 1);
    return true;
}

/* Replaces the link at the end of done by its target, before rest. */
static int
walk_follow(struct access_walk *w)
{
    char target[PATH_MAX];
    ssize_t n = readlink(w->done, target, sizeof(target) - 1);
    if (n < 0) {
        return -errno;
    }
    target[n] = '\0';
    if (++w->links > LINKS_MAX) {
        return -ELOOP;
    }
    if ((size_t)n + 1 + strlen(w->rest) >= sizeof(w->rest)) {
        return -ENAMETOOLONG;
    }
    memcpy(w->link, w->done, sizeof(w->link));
    memmove(w->rest + n + 1, w->rest, strlen(w->rest) + 1);
    memcpy(w->rest, target, (size_t)n);
    w->rest[n] = '/';
    /* An absolute target starts at the root, a relative one beside the link. */
    char *slash = target[0] == '/' ? w->done : strrchr(w->done, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    return 0;
}

static const char *
shown(const struct access_walk *w)
{
    return w->done[0] == '\0' ? "/" : w->done;
}

static void
say_missing(const struct access_walk *w, int err, char *why, size_t size)
{
    if (err != ENOENT) {
        (void)snprintf(why, size, "%s: %s", shown(w), strerror(err));
    }
    else if (w->link[0] != '\0') {
        (void)snprintf(why, size,
                       "%s does not exist, though the symbolic link %s leads "
                       "there",
                       shown(w), w->link);
    }
    else {
        (void)snprintf(why, size, "%s does not exist", shown(w));
    }
}

/* True where done cannot be accessed; why says so. */
static bool
walk_stops(struct access_walk *w, int wanted, char *why, size_t size)
{
    char user[128];
    struct stat st;

    if (lstat(shown(w), &st) < 0) {
        say_missing(w, errno, why, size);
        return true;
    }
    if (S_ISLNK(st.st_mode)) {
        int r = walk_follow(w);
        if (r < 0) {
            (void)snprintf(why, size, "%s: %s", shown(w), strerror(-r));
        }
        return r < 0;
    }
    bool is_last = w->rest[strspn(w->rest, "/")] == '\0';
    if (!is_last && !S_ISDIR(st.st_mode)) {
        (void)snprintf(why, size, "%s is not a directory", shown(w));
        return true;
    }
    int need = is_last ? wanted : X_OK;
    if (faccessat(AT_FDCWD, shown(w), need, AT_EACCESS) == 0) {
        return false;
    }
    int err = errno;
    bool may_read = (need & R_OK) == 0 ||
                    faccessat(AT_FDCWD, shown(w), R_OK, AT_EACCESS) == 0;
    const char *verb = !may_read             ? "read"
                       : S_ISDIR(st.st_mode) ? "enter"
                                             : "execute";
    if (err == EACCES) {
        (void)snprintf(why, size, "%s may not %s %s",
                       user_name(user, sizeof(user)), verb, shown(w));
    }
    else {
        (void)snprintf(why, size, "%s: %s", shown(w), strerror(err));
    }
    return true;
}

static void
explain(const char *path, int wanted, int err, char *why, size_t size)
{
    struct access_walk w = {.links = 0};

    if (path_absolute_trimmed(path, w.rest, sizeof(w.rest)) == 0) {
        while (walk_step(&w)) {
            if (walk_stops(&w, wanted, why, size)) {
                return;
            }
        }
    }
    /* It has changed meanwhile, or something other than modes refuses it. */
    (void)snprintf(why, size, "%s: %s", path, strerror(err));
}

int
path_access(const char *path, int wanted, struct stat *ret_st, char *why,
            size_t why_size)
{
    struct stat st;

    if (faccessat(AT_FDCWD, path, wanted, AT_EACCESS) == 0 &&
        stat(path, &st) == 0) {
        if (ret_st != NULL) {
            *ret_st = st;
        }
        return 0;
    }
    int err = errno;
    assert(why_size > 0);
    explain(path, wanted, err, why, why_size);
    return -err;
}

/* -- writing --------------------------------------------------------------- */

/* The folder of a path, absolute. False if it is too long. */
static bool
folder_of(const char *path, char *to, size_t size)
{
    if (path_absolute_trimmed(path, to, size) < 0) {
        return false;
    }
    char *slash = strrchr(to, '/');
    assert(slash != NULL);
    slash[slash == to] = '\0';
    return true;
}

/* In a sticky directory such as /tmp nobody removes the files of others. */
static bool
is_held(const char *folder, const struct stat *file)
{
    struct stat dir;

    return stat(folder, &dir) == 0 && (dir.st_mode & S_ISVTX) != 0 &&
           file->st_uid != geteuid() && dir.st_uid != geteuid() &&
           geteuid() != 0;
}

const char *
path_write_reason(const char *path, int err, const char *otherwise, char *why,
                  size_t why_size)
{
    char folder[PATH_MAX], user[128];
    struct stat st;

    if (err != -EACCES && err != -EPERM && err != -ENOENT && err != -ENOTDIR) {
        return otherwise;
    }
    if (!folder_of(path, folder, sizeof folder)) {
        return otherwise;
    }
    if (path_access(folder, X_OK, NULL, why, why_size) < 0) {
        return why;
    }
    bool exists = lstat(path, &st) == 0;
    if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0) {
        (void)snprintf(why, why_size, "%s may not write to %s",
                       user_name(user, sizeof user), path);
        return why;
    }
    if (exists && is_held(folder, &st)) {
        (void)snprintf(why, why_size,
                       "it belongs to uid %u, and %s may not remove the files "
                       "of others from %s",
                       (unsigned)st.st_uid, user_name(user, sizeof user),
                       folder);
        return why;
    }
    if (faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) < 0 && errno == EACCES) {
        (void)snprintf(why, why_size, "%s may not create files in %s",
                       user_name(user, sizeof user), folder);
        return why;
    }
    return otherwise;
}
