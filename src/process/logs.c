#include "process/logs.h"

#include "gateway/access_log.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/log_file.h"
#include "os/path_access.h"
#include "os/safe_path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    WHY_MAX = 2 * PATH_MAX + 256,
    OWN_MOST = 1 << 20,   /* bytes of an instance's log: more are cut ... */
    OWN_KEEP = 256 << 10, /* ... to this */
    OWN_LOOK_MS = 1000
};

static const struct config *config; /* set at the start */
static struct log_file log_file = LOG_FILE_NONE;
static struct log_file slow_log = LOG_FILE_NONE;
static bool has_file, has_slow_log;
/* The control thread and the main thread may both open the files again; the
 * older file must not win. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void
logs_set_up(const struct config *c)
{
    enum log_form form = c->log_format == LOG_FORMAT_JSON ? LOG_JSON
                         : c->log_file != NULL            ? LOG_STAMPED
                                                          : LOG_PLAIN;

    log_set_up(form, c->log_level);
}

/* Returns 0 if the start may continue. */
static int
judge(int err, const char *option, const char *path, bool restarted)
{
    char why[WHY_MAX];

    if (err == 0) {
        return 0;
    }
    log_error(
        "--%s: %s: cannot be opened for writing: %s%s", option, path,
        path_write_reason(path, err, safe_path_strerror(err), why, sizeof why),
        restarted ? "; SIGHUP tries again" : "");
    return restarted ? 0 : EX_CANTCREAT;
}

/* After a restart, descriptor 2 is the file. */
static int
open_log_file(const char *path, bool restarted, uid_t user)
{
    return restarted ? log_file_adopt(&log_file, path, STDERR_FILENO)
                     : log_file_open(&log_file, path, user);
}

static void
complain(int err, const char *option, const char *path)
{
    char why[WHY_MAX];

    if (err < 0) {
        log_error(
            "--%s: %s: cannot be opened again: %s; the old file stays in use",
            option, path,
            path_write_reason(path, err, safe_path_strerror(err), why,
                              sizeof why));
    }
}

static int
open_slow_log(const char *path, int fd, uid_t user)
{
    return fd < 0 ? log_file_open(&slow_log, path, user)
                  : log_file_adopt(&slow_log, path, fd);
}

static bool
is_file(const char *path)
{
    return path != NULL && strcmp(path, "-") != 0;
}

int
logs_open(const struct config *c, bool restarted, int access_fd, int slow_fd,
          uid_t user)
{
    int status = 0;

    assert(config == NULL); /* once */
    config = c;
    has_file = is_file(c->log_file);
    if (has_file) {
        status = judge(open_log_file(c->log_file, restarted, user), "log-file",
                       c->log_file, restarted);
    }
    /* A warm instance: the CGI process logs the request. */
    if (status == 0 && c->access_log != NULL && !c->is_warm) {
        status = judge(access_log_open(c, access_fd, user), "access-log",
                       c->access_log, restarted);
    }
    has_slow_log = is_file(c->slow_log);
    if (status == 0 && has_slow_log) {
        status = judge(open_slow_log(c->slow_log, slow_fd, user), "slow-log",
                       c->slow_log, restarted);
    }
    return status;
}

void
logs_give(uid_t uid, gid_t gid)
{
    int e = log_file_chown(&log_file, uid, gid);

    e = e == 0 ? access_log_give(uid, gid) : e;
    e = e == 0 ? log_file_chown(&slow_log, uid, gid) : e;
    if (e < 0) {
        log_warning("cannot make --user the owner of the log files: %s",
                    strerror(-e));
    }
}

bool
logs_take_stderr(void)
{
    int e = has_file ? log_file_take_stderr(&log_file) : -ENOENT;

    if (has_file && e < 0) {
        log_error("--log-file: %s: %s", config->log_file, strerror(-e));
    }
    if (e == 0) {
        log_to_syslog(false);
    }
    return e == 0;
}

int
logs_slow_fd(void)
{
    (void)pthread_mutex_lock(&lock);
    int fd = slow_log.fd;
    (void)pthread_mutex_unlock(&lock);
    return fd;
}

/* False where one could not be opened. */
static bool
reopen(bool moved_only)
{
    int e = 0, access_e = 0, slow_e = 0;

    (void)pthread_mutex_lock(&lock);
    if (has_file && (!moved_only || log_file_has_moved(&log_file))) {
        e = log_file_reopen(&log_file);
    }
    access_e = access_log_reopen(moved_only);
    if (has_slow_log && (!moved_only || log_file_has_moved(&slow_log))) {
        slow_e = log_file_reopen(&slow_log);
    }
    (void)pthread_mutex_unlock(&lock);
    complain(e, "log-file", config->log_file);
    complain(access_e, "access-log", config->access_log);
    complain(slow_e, "slow-log", config->slow_log);
    return e == 0 && access_e == 0 && slow_e == 0;
}

void
logs_reopen(const char *signal_name)
{
    bool done = reopen(false);

    if (signal_name == NULL) {
        log_debug("the log files are open again");
    }
    else if (!has_file && !has_slow_log && !is_file(config->access_log)) {
        log_notice("%s: there is no log file to open again (--log-file, "
                   "--access-log, --slow-log); SIGTERM stops, SIGHUP loads new "
                   "code",
                   signal_name);
    }
    else if (done) {
        log_notice("%s: the log files are open again", signal_name);
    }
}

void
logs_look(void)
{
    (void)reopen(true);
}

/* -- the log of an instance ------------------------------------------------ */

static struct {
    int folder_fd; /* -1 = there is none */
    char name[NAME_MAX + 1];
    struct stat file;
    int64_t look_ms;
} own = {.folder_fd = -1};

static bool
is_own(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_dev == own.file.st_dev &&
           st->st_ino == own.file.st_ino;
}

/* True where the name in the folder is that of the file. */
static bool
has_own_name(void)
{
    struct stat st;

    return fstatat(own.folder_fd, own.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           is_own(&st);
}

void
logs_own(const char *socket)
{
    static const char end[] = ".sock";
    const char *name = strrchr(socket, '/') + 1;
    size_t n = strlen(name);
    char folder[PATH_MAX];

    assert(socket[0] == '/' && own.folder_fd < 0);
    if (n < sizeof end || strcmp(name + n - (sizeof end - 1), end) != 0 ||
        fstat(STDERR_FILENO, &own.file) < 0) {
        return;
    }
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(name - socket), socket);
    (void)snprintf(own.name, sizeof own.name, "%.*s.log",
                   (int)(n - (sizeof end - 1)), name);
    own.folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (own.folder_fd >= 0 && !has_own_name()) {
        fd_close(&own.folder_fd);
    }
}

/* With --log-file it is no longer descriptor 2. */
void
logs_limit(int64_t now_ms)
{
    struct stat st;

    if (own.folder_fd < 0 || now_ms - own.look_ms < OWN_LOOK_MS) {
        return;
    }
    own.look_ms = now_ms;
    if (fstat(STDERR_FILENO, &st) == 0 && is_own(&st) &&
        log_file_cut(STDERR_FILENO, OWN_MOST, OWN_KEEP) < 0) {
        return; /* tried again */
    }
}

void
logs_remove_own(void)
{
    if (own.folder_fd >= 0 && has_own_name()) {
        (void)unlinkat(own.folder_fd, own.name, 0);
    }
    fd_close(&own.folder_fd);
}

void
logs_forget_own(void)
{
    fd_close(&own.folder_fd);
}
