/*
 * warm_start.c - starts the instance of a script
 */
#include "warm/warm_start.h"

#include "base/buf.h"
#include "base/clock.h"
#include "os/fd.h"
#include "os/path_absolute.h"
#include "process/signals.h"
#include "warm/warm_connect.h"
#include "warm/warm_environment.h"
#include "warm/warm_sweep.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    LOCK_MS = 1000,
    /* Where an instance was killed, or has ended with an error, so soon after
     * its start, each request would start another one. */
    RETRY_S = 2,
    LOG_MAX = 1 << 20, /* of instances that ended at once */
    PIPE_FD = 3,       /* in the new process */
    OPTIONS_MAX = 1 << 20
};

/* What the first of its options are: those of the script override them. */
#define OPTIONS                                                \
    "--log-file=- --errors-to=%s --processes=0-4 --threads=1 " \
    "--exit-idle=5m --reload=modules --control='unix:%s' %s"

static int
say(char *why, int err, const char *what)
{
    (void)snprintf(why, WARM_WHY_SIZE, "%s: %s", what, strerror(-err));
    return err;
}

/* -- the new process ------------------------------------------------------- */

/* All that execve() needs; made before fork(). */
struct program {
    char path[PATH_MAX];
    char app[PATH_MAX];
    char **argv;
    char **environment;
    struct buf options; /* "WSGI_CGI_OPTIONS=..." */
};

static void
program_fini(struct program *p)
{
    free(p->argv);
    free(p->environment);
    buf_fini(&p->options);
}

/* APP is absolute, as far as it is a file: people see it in ps(1). */
static int
copy_argv(struct program *p, const struct config *config, char **argv)
{
    int n = config->options_end;

    assert(n > 0);
    p->argv = calloc((size_t)n + 2, sizeof *p->argv);
    if (p->argv == NULL) {
        return -ENOMEM;
    }
    memcpy(p->argv, argv, (size_t)n * sizeof *argv);
    if (config->app != NULL) {
        struct stat st;
        bool is_file = stat(config->app, &st) == 0 && S_ISREG(st.st_mode);
        int e = is_file ? path_absolute(config->app, p->app, sizeof p->app) : 0;
        p->argv[n] = is_file ? p->app : argv[n];
        return e;
    }
    return 0;
}

/* The script's log: the instance opens it, too, and writes the lines of its
 * requests in their form. */
static bool
logs_to_file(const struct config *config)
{
    return config->log_file != NULL && strcmp(config->log_file, "-") != 0;
}

static int
make_program(struct program *p, const struct warm_folder *f,
             const struct warm_name *n, const struct config *config,
             char **argv, char *const *environment)
{
    static char mark[] = CONFIG_WARM "=1";
    struct sockaddr_un control;
    const char *old = getenv(CONFIG_OPTIONS);
    ssize_t len = readlink("/proc/self/exe", p->path, sizeof p->path - 1);
    int e = len < 0 ? -errno : copy_argv(p, config, argv);

    p->path[len > 0 ? len : 0] = '\0';
    warm_name_address(f, n, WARM_CONTROL, &control);
    e = e == 0 ? buf_printf(&p->options, CONFIG_OPTIONS "=" OPTIONS,
                            logs_to_file(config) ? "stderr" : "server",
                            control.sun_path, old != NULL ? old : "")
               : e;
    e = e == 0 ? buf_add(&p->options, "", 1) : e;
    if (e < 0) {
        return e;
    }
    char *more[] = {p->options.data, mark};
    p->environment = warm_environment_new(environment, more, ARRAY_SIZE(more));
    return p->environment == NULL ? -ENOMEM : 0;
}

/* No descriptor of the web server may stay: it would wait for its end. */
static void
close_others(int from)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)from, ~0U, 0) == 0) {
        return;
    }
#endif
    long max = sysconf(_SC_OPEN_MAX);
    for (int fd = from; fd < (max > 0 && max < 65536 ? max : 65536); fd++) {
        (void)close(fd);
    }
}

static _Noreturn void
leave(int status_fd, int err)
{
    (void)!write(status_fd, &err, sizeof err);
    _exit(EX_OSERR);
}

/* In the new process. listen() again: from then on SO_PEERCRED names it as the
 * one who listens. That comes before the lock of the folder, which it shares, is
 * closed: the next process that has the lock must not send a signal before. */
static _Noreturn void
execute(const struct program *p, const int fds[3], int status_fd, int backlog)
{
    for (int i = 0; i < 3; i++) {
        if (dup2(fds[i], i) < 0) {
            leave(status_fd, -errno);
        }
    }
    /* Only now: one of those may have been PIPE_FD. */
    if (dup2(status_fd, PIPE_FD) < 0 ||
        fcntl(PIPE_FD, F_SETFD, FD_CLOEXEC) < 0 ||
        listen(STDIN_FILENO, backlog) < 0) {
        leave(status_fd, -errno);
    }
    close_others(PIPE_FD + 1);
    (void)execve(p->path, p->argv, p->environment);
    leave(PIPE_FD, -errno);
}

/* A child of its own would be one that the application of this process, which
 * may have to answer after all, could see. */
static _Noreturn void
detach(const struct program *p, const int fds[3], int status_fd, int backlog)
{
    (void)setsid();
    signals_hold(); /* a SIGTERM must not kill it before it can handle it */
    pid_t pid = fork();
    if (pid < 0) {
        leave(status_fd, -errno);
    }
    if (pid == 0) {
        execute(p, fds, status_fd, backlog);
    }
    _exit(EX_OK);
}

static int
read_status(int fd)
{
    int err = 0;
    ssize_t n;

    do {
        n = read(fd, &err, sizeof err);
    } while (n < 0 && errno == EINTR);
    return n == 0 ? 0 : n == (ssize_t)sizeof err ? err : -EIO;
}

/* Descriptors above those that the new process has at 0 to 3. */
static int
make_pipe(int ends[2])
{
    int low[2];

    ends[0] = ends[1] = -1;
    if (pipe2(low, O_CLOEXEC) < 0) {
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, PIPE_FD + 1);
        (void)close(low[i]);
    }
    return ends[0] < 0 || ends[1] < 0 ? -EMFILE : 0;
}

static int
spawn(const struct program *p, const int fds[3], int backlog)
{
    int ends[2], e = make_pipe(ends);
    pid_t pid = e < 0 ? -1 : fork();

    if (pid == 0) {
        detach(p, fds, ends[1], backlog);
    }
    e = e == 0 && pid < 0 ? -errno : e;
    fd_close(&ends[1]);
    if (e == 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
        e = read_status(ends[0]);
    }
    fd_close(&ends[0]);
    return e;
}

/* -- its socket and its log ------------------------------------------------ */

static int
open_log(const struct warm_folder *f, const struct warm_name *n)
{
    char entry[WARM_ENTRY_SIZE];
    struct stat st;

    warm_name_entry(n, WARM_LOG, entry);
    int fd = openat(f->fd, entry,
                    O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC |
                        O_NONBLOCK,
                    0600);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) == 0 && st.st_size > LOG_MAX) {
        (void)!ftruncate(fd, 0);
    }
    return fd;
}

/* The path is in a folder that only this user can enter. */
static int
open_socket(const struct warm_folder *f, const struct warm_name *n, int backlog)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    warm_name_address(f, n, WARM_SOCKET, &address);
    if (fchmod(fd, 0600) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, backlog) < 0) {
        int e = -errno;
        fd_close(&fd);
        return e;
    }
    return fd;
}

/* One that has ended with an error has removed its socket, and left its log. */
static bool
has_just_ended(const struct warm_folder *f, const struct warm_name *n)
{
    const char *left =
        warm_sweep_is_there(f, n, WARM_SOCKET) ? WARM_SOCKET : WARM_LOG;

    return warm_sweep_is_new(f, n, left, RETRY_S);
}

static int
say_ended(const struct warm_folder *f, const struct warm_name *n, char *why)
{
    char entry[WARM_ENTRY_SIZE];

    warm_name_entry(n, WARM_LOG, entry);
    (void)snprintf(why, WARM_WHY_SIZE,
                   "the instance has ended right after its start (%s/%s may "
                   "say why); it is started again in %d s",
                   f->path, entry, RETRY_S);
    return -EAGAIN;
}

/* -- all of it ------------------------------------------------------------- */

/* What only we may use, and can use, whatever the umask of the application. */
static void
open_files(const struct warm_folder *f, const struct warm_name *n, int backlog,
           int *ret_listener, int *ret_log)
{
    mode_t old = umask(S_IRWXG | S_IRWXO);

    *ret_log = open_log(f, n);
    *ret_listener = *ret_log < 0 ? -EBADF : open_socket(f, n, backlog);
    (void)umask(old);
}

static int
launch(const struct warm_folder *f, const struct warm_name *n,
       const struct config *config, const struct program *p, char *why)
{
    CLEANUP(fd_close) int null = fd_open_null();
    CLEANUP(fd_close) int log = -1;
    CLEANUP(fd_close) int listener = -1;

    if (null < 0) {
        return say(why, null, "/dev/null");
    }
    open_files(f, n, config->backlog, &listener, &log);
    if (log < 0) {
        return say(why, log, "its log");
    }
    if (listener < 0) {
        warm_sweep_remove(f, n);
        return say(why, listener, "its socket");
    }
    /* Before it starts: it is the first in the queue. */
    int fd = warm_connect(f, n, WARM_SOCKET);
    if (fd < 0) {
        warm_sweep_remove(f, n);
        return say(why, fd, "its socket");
    }
    const int fds[3] = {listener, null, log};
    int e = spawn(p, fds, config->backlog);
    if (e < 0) {
        fd_close(&fd);
        warm_sweep_remove(f, n);
        return say(why, e, "it cannot be started");
    }
    return fd;
}

static int
start(const struct warm_folder *f, const struct warm_name *n,
      const struct config *config, char **argv, char *const *environment,
      char *why)
{
    CLEANUP(program_fini) struct program p = {.argv = NULL};
    char entry[WARM_ENTRY_SIZE];

    warm_sweep_set_aside(f, n);
    if (has_just_ended(f, n)) {
        return say_ended(f, n, why);
    }
    buf_init(&p.options, OPTIONS_MAX);
    int e = make_program(&p, f, n, config, argv, environment);
    if (e < 0) {
        return say(why, e, "it cannot be started");
    }
    warm_sweep(f, n);
    warm_name_entry(n, WARM_SOCKET, entry);
    (void)unlinkat(f->fd, entry, 0);
    return launch(f, n, config, &p, why);
}

int
warm_start(const struct warm_folder *f, struct warm_name *n,
           const struct config *config, char **argv, char *const *environment,
           char why[WARM_WHY_SIZE])
{
    int fd = warm_connect(f, n, WARM_SOCKET);

    if (warm_connect_is_nobody(fd)) {
        int e = warm_folder_lock(f, clock_ms() + LOCK_MS);
        if (e < 0) {
            return say(why, e, "the lock of its folder");
        }
        /* Again: somebody may have edited or started it while we waited. */
        e = warm_name_make(n, config, argv, why);
        fd = e < 0 ? e : warm_connect(f, n, WARM_SOCKET);
        if (e == 0 && warm_connect_is_nobody(fd)) {
            fd = start(f, n, config, argv, environment, why);
            warm_folder_unlock(f);
            return fd;
        }
        warm_folder_unlock(f);
        if (e < 0) {
            return e;
        }
    }
    return fd < 0 ? say(why, fd, "its socket") : fd;
}
