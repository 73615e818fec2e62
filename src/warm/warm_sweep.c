/*
 * warm_sweep.c - what other instances have left in the folder
 */
#include "warm/warm_sweep.h"

#include "os/fd.h"
#include "warm/warm_connect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* An instance that is older has its control socket. */
enum { START_S = 60 };

static void
remove_entry(const struct warm_folder *f, const struct warm_name *n,
             const char *end)
{
    char entry[WARM_ENTRY_SIZE];

    warm_name_entry(n, end, entry);
    (void)unlinkat(f->fd, entry, 0);
}

void
warm_sweep_remove(const struct warm_folder *f, const struct warm_name *n)
{
    remove_entry(f, n, WARM_SOCKET);
    remove_entry(f, n, WARM_CONTROL);
    remove_entry(f, n, WARM_LOG);
}

static bool
look_at(const struct warm_folder *f, const struct warm_name *n, const char *end,
        struct stat *ret)
{
    char entry[WARM_ENTRY_SIZE];

    warm_name_entry(n, end, entry);
    return fstatat(f->fd, entry, ret, AT_SYMLINK_NOFOLLOW) == 0;
}

bool
warm_sweep_is_there(const struct warm_folder *f, const struct warm_name *n,
                    const char *end)
{
    struct stat st;

    return look_at(f, n, end, &st);
}

bool
warm_sweep_is_new(const struct warm_folder *f, const struct warm_name *n,
                  const char *end, int64_t seconds)
{
    struct stat st;

    if (!look_at(f, n, end, &st)) {
        return false;
    }
    int64_t age = (int64_t)time(NULL) - (int64_t)st.st_mtime;
    return age >= 0 && age < seconds;
}

int
warm_sweep_stop(const struct warm_folder *f, const struct warm_name *n)
{
    CLEANUP(fd_close) int fd = warm_connect_any(f, n);

    if (warm_connect_is_nobody(fd)) {
        warm_sweep_remove(f, n);
        return -ESRCH;
    }
    if (fd < 0) {
        return fd;
    }
    if (!warm_sweep_is_there(f, n, WARM_SOCKET)) {
        return -EALREADY;
    }
    remove_entry(f, n, WARM_SOCKET);
    return warm_connect_kill(fd, SIGTERM);
}

static void
rename_entry(const struct warm_folder *f, const struct warm_name *from,
             const struct warm_name *to, const char *end)
{
    char old[WARM_ENTRY_SIZE], new[WARM_ENTRY_SIZE];

    warm_name_entry(from, end, old);
    warm_name_entry(to, end, new);
    (void)renameat(f->fd, old, f->fd, new);
}

/* The new name is one of another version that takes no more requests, which is
 * swept when it has ended. Only one process at a time holds the lock, so that
 * time and process make it unique. */
void
warm_sweep_set_aside(const struct warm_folder *f, const struct warm_name *n)
{
    CLEANUP(fd_close) int fd = warm_connect(f, n, WARM_CONTROL);
    struct warm_name aside = *n;
    struct timespec now;

    if (warm_connect_is_nobody(fd)) {
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(aside.version, sizeof aside.version, "%08lx%08lx",
                   ((unsigned long)now.tv_sec ^ (unsigned long)now.tv_nsec) &
                       0xffffffff,
                   (unsigned long)getpid() & 0xffffffff);
    rename_entry(f, n, &aside, WARM_CONTROL);
    rename_entry(f, n, &aside, WARM_LOG);
}

/* The instance of another script: only its files, if it was killed. */
static void
bury(const struct warm_folder *f, const struct warm_name *n)
{
    CLEANUP(fd_close) int control = warm_connect(f, n, WARM_CONTROL);

    if (!warm_connect_is_nobody(control)) {
        return;
    }
    if (warm_sweep_is_new(f, n, WARM_SOCKET, START_S)) {
        return;
    }
    if (warm_sweep_is_there(f, n, WARM_SOCKET)) {
        CLEANUP(fd_close) int fd = warm_connect(f, n, WARM_SOCKET);
        if (!warm_connect_is_nobody(fd)) {
            return;
        }
    }
    warm_sweep_remove(f, n);
}

static bool
read_name(const char *entry, struct warm_name *ret)
{
    return warm_name_parse(ret, entry, WARM_SOCKET) ||
           warm_name_parse(ret, entry, WARM_CONTROL) ||
           warm_name_parse(ret, entry, WARM_LOG);
}

void
warm_sweep(const struct warm_folder *f, const struct warm_name *n)
{
    int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    struct warm_name other;

    if (folder == NULL) {
        fd_close(&fd);
        return;
    }
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        if (!read_name(e->d_name, &other)) {
            continue;
        }
        if (strcmp(other.script, n->script) != 0) {
            bury(f, &other);
        }
        else if (strcmp(other.version, n->version) != 0) {
            (void)!warm_sweep_stop(f, &other);
        }
    }
    (void)closedir(folder);
}
