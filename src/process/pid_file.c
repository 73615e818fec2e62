#include "process/pid_file.h"

#include "os/fd.h"
#include "os/log.h"
#include "os/path_absolute.h"
#include "os/path_access.h"
#include "os/safe_path.h"
#include "text/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { PID_TEXT = 32 };

static char file[PATH_MAX]; /* absolute; "" = none */

/* Returns 0 for a file that may be a pid file. */
static int
look(const struct safe_path *p, struct stat *ret)
{
    if (p->is_linked) {
        return -EEXIST; /* another user may have made the link */
    }
    if (fstatat(p->folder_fd, p->name, ret, AT_SYMLINK_NOFOLLOW) < 0) {
        return -errno;
    }
    return S_ISREG(ret->st_mode) ? 0 : -EEXIST;
}

/* The number in the file; 0 if it is empty or does not exist. -EEXIST: it is
 * not a pid file, so we must not replace it. */
static int
read_pid(const struct safe_path *p, pid_t *ret, struct stat *ret_st)
{
    CLEANUP(fd_close) int fd = -1;
    char text[PID_TEXT];
    uint64_t number = 0;
    int e = look(p, ret_st);

    *ret = 0;
    if (e < 0) {
        return e == -ENOENT ? 0 : e;
    }
    fd = openat(p->folder_fd, p->name,
                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0) {
        return -errno;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) {
        n--;
    }
    if (n > 0 && num_parse(text, (size_t)n, INT_MAX, &number) < 0) {
        return -EEXIST;
    }
    *ret = (pid_t)number;
    return 0;
}

static int64_t
age_ms(clockid_t clock, int64_t since_ms)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - since_ms;
}

/* The age of the process, or INT64_MAX if it is not known. */
static int64_t
process_age_ms(pid_t pid)
{
    enum { START_TIME = 20 }; /* words after the name, proc(5) */
    CLEANUP(fd_close) int fd = -1;
    char name[64], text[1024], *rest, *word = NULL;
    uint64_t ticks;

    assert(pid > 0);
    (void)snprintf(name, sizeof name, "/proc/%ld/stat", (long)pid);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0) {
        return INT64_MAX;
    }
    text[n] = '\0';
    rest = strrchr(text, ')'); /* the name may contain anything */
    for (int i = 0; i <= START_TIME && rest != NULL; i++) {
        word = strsep(&rest, " ");
    }
    if (word == NULL ||
        num_parse(word, strlen(word), INT64_MAX / 1000, &ticks) < 0) {
        return INT64_MAX;
    }
    return age_ms(CLOCK_BOOTTIME, (int64_t)ticks * 1000 / sysconf(_SC_CLK_TCK));
}

/* If --user may not remove the file, it stays, and its process ID may be used
 * again: a process that is younger than the file has not written it. */
static bool
is_in_use(pid_t pid, const struct stat *st)
{
    enum { SLACK_MS = 2000 };
    int64_t written_ms =
        (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;

    if (pid == 0 || (kill(pid, 0) < 0 && errno != EPERM)) {
        return false;
    }
    return process_age_ms(pid) >= age_ms(CLOCK_REALTIME, written_ms) - SLACK_MS;
}

/* A reader sees the old file or the new one, but never a part. */
static int
replace(const struct safe_path *p)
{
    CLEANUP(fd_close) int fd = -1;
    char temporary[PATH_MAX + 8], text[PID_TEXT];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    int e = 0;

    assert(n > 0 && n < (int)sizeof text);
    (void)snprintf(temporary, sizeof temporary, "%s.XXXXXX", p->name);
    fd = fd_make_temporary(p->folder_fd, temporary);
    if (fd < 0) {
        return fd;
    }
    ssize_t written = write(fd, text, (size_t)n);
    if (written != n) {
        e = written < 0 ? -errno : -ENOSPC;
    }
    /* Everybody may read it, whatever the umask is. */
    else if (fchmod(fd, 0644) < 0 ||
             renameat(p->folder_fd, temporary, p->folder_fd, p->name) < 0) {
        e = -errno;
    }
    if (e < 0) {
        (void)unlinkat(p->folder_fd, temporary, 0);
    }
    return e;
}

/* 0, or a sysexits code after a log line. */
static int
check_and_write(const char *path)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};
    struct stat st;
    pid_t pid = 0;
    int e = safe_path_find(&p, file, geteuid());

    if (e == 0) {
        e = read_pid(&p, &pid, &st);
    }
    if (e == -EEXIST) {
        log_error("--pid-file: %s exists and is not a pid file: choose another "
                  "path or remove it",
                  path);
        return EX_UNAVAILABLE;
    }
    if (e == 0 && pid != getpid() && is_in_use(pid, &st)) {
        log_error("--pid-file: %s belongs to process %ld, which is running or "
                  "still stopping: wait until it has ended; if it is another "
                  "program, remove the file",
                  path, (long)pid);
        return EX_UNAVAILABLE;
    }
    if (e < 0 || (e = replace(&p)) < 0) {
        char why[2 * PATH_MAX + 256];
        log_error(
            "--pid-file: %s: %s", path,
            path_write_reason(path, e, safe_path_strerror(e), why, sizeof why));
        return EX_CANTCREAT;
    }
    return 0;
}

int
pid_file_write(const char *path, bool is_written)
{
    int e = path_absolute(path, file, sizeof file);

    if (e < 0) {
        log_error("--pid-file: %s: %s", path, strerror(-e));
        e = EX_CANTCREAT;
    }
    else if (!is_written) {
        e = check_and_write(path);
    }
    if (e != 0) {
        file[0] = '\0';
    }
    return e;
}

void
pid_file_remove(void)
{
    CLEANUP(safe_path_close) struct safe_path p = {.folder_fd = -1};
    struct stat st;
    pid_t pid = 0;

    if (file[0] == '\0') {
        return;
    }
    int e = safe_path_find(&p, file, geteuid());
    if (e == 0) {
        e = read_pid(&p, &pid, &st);
    }
    /* In a forked child it is the parent's ID, and so the parent's file. */
    if (e == 0 && pid == getpid() && unlinkat(p.folder_fd, p.name, 0) < 0) {
        e = -errno;
    }
    if (e < 0 && e != -ENOENT && e != -EEXIST) {
        safe_path_log_left("the pid file", file, e, safe_path_strerror(e));
    }
    file[0] = '\0';
}
