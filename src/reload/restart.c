#include "reload/restart.h"

#include "app/loader.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/signals.h"
#include "text/num.h"
#include "text/signal_name.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* "PID:LISTENER,...:CONTROL:NOTIFY:SEND:RECEIVE:ACCESS:FILE,...:SLOW:RELOADS:
 * INROW", without the line break. SEND and RECEIVE are those of struct
 * fd_passing; FILE is the device and inode of each listener's socket file, and
 * then of CONTROL's; INROW is that of struct file_watcher. All but the first
 * two may be empty. The variable counts only if PID is our own. */
static const char variable[] = "WSGI_CGI_RESTART";

enum {
    CHECKING_MS = 50,      /* between two looks at the checking child */
    RETRY_FIRST_MS = 1000, /* after the first failed check */
    RETRY_DOUBLED = 6      /* at most so many times: 64 s */
};

/* The write end of the reload pipe in the child that checks new code. */
enum { CHECK_FD = 3 };
static const char check_name[] = "WSGI_CGI_CHECK_FD";
static char check_variable[] = "WSGI_CGI_CHECK_FD=3";

/* Written by restart_remember(); the slot of environment under lock. */
static struct {
    char **argv;
    char **environment; /* copies: the application may change its own */
    size_t slot;        /* index in environment, for our variable */
    char exe[PATH_MAX];
    int folder_fd;
    pthread_mutex_t lock; /* one restart_exec() at a time */
} origin = {.folder_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

/* What one run of the program counts and passes on to the next. The main thread
 * at the start, then the control thread. */
static struct {
    unsigned reloads; /* successful ones */
    unsigned in_row;  /* of struct file_watcher */
} carried;

/* True for NAME=value with exactly this name. */
static bool
is_named(const char *word, const char *name)
{
    size_t n = strlen(name);

    return strncmp(word, name, n) == 0 && word[n] == '=';
}

static char **
copy_words(char *const *words, size_t room, bool is_environment)
{
    size_t n = 0;

    while (words[n] != NULL) {
        n++;
    }
    char **copy = calloc(n + room + 1, sizeof *copy);
    size_t k = 0;
    for (size_t i = 0; copy != NULL && i < n; i++) {
        if (is_environment &&
            (is_named(words[i], variable) || is_named(words[i], check_name))) {
            continue; /* from the run before this one */
        }
        copy[k] = strdup(words[i]);
        if (copy[k++] == NULL) {
            return NULL; /* nothing is freed: the process will end */
        }
    }
    return copy;
}

int
restart_remember(char **argv, char **environment)
{
    ssize_t n = readlink("/proc/self/exe", origin.exe, sizeof origin.exe - 1);

    origin.exe[n > 0 ? n : 0] = '\0';
    origin.argv = copy_words(argv, 0, false);
    origin.environment = copy_words(environment, 1, true);
    origin.folder_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (origin.environment != NULL &&
           origin.environment[origin.slot] != NULL) {
        origin.slot++;
    }
    return origin.argv == NULL || origin.environment == NULL ? -ENOMEM : 0;
}

bool
restart_is_one(void)
{
    const char *value = getenv(variable);
    const char *colon = value == NULL ? NULL : strchr(value, ':');
    uint64_t pid;

    return colon != NULL &&
           num_parse(value, (size_t)(colon - value), INT_MAX, &pid) == 0 &&
           (pid_t)pid == getpid();
}

static int
read_fd(const char *word)
{
    uint64_t number;

    return word == NULL || num_parse(word, strlen(word), INT_MAX, &number) < 0
               ? -1
               : (int)number;
}

/* 0 if there is none: an older version has started this one. */
static unsigned
read_count(const char *word)
{
    int count = read_fd(word);

    return count < 0 ? 0 : (unsigned)count;
}

/* "DEVICE.INODE"; *ret stays zero if there is none. */
static void
read_file(char *word, struct stat *ret)
{
    const char *device = strsep(&word, ".");
    uint64_t dev, ino;

    if (word != NULL &&
        num_parse(device, strlen(device), UINT64_MAX, &dev) == 0 &&
        num_parse(word, strlen(word), UINT64_MAX, &ino) == 0) {
        ret->st_dev = (dev_t)dev;
        ret->st_ino = (ino_t)ino;
    }
}

/* Children of the run before, such as the helper processes of multiprocessing,
 * for which nothing in this run would wait. Those that end later wait for the
 * next. */
static void
reap_orphans(void)
{
    pid_t pid;

    do {
        pid = waitpid(-1, NULL, WNOHANG);
    } while (pid > 0 || (pid < 0 && errno == EINTR));
}

void
restart_inherited(struct restart_fds *ret)
{
    char *value = getenv(variable), *word, *list;

    *ret = (struct restart_fds){.control_fd = -1,
                                .notify_fd = -1,
                                .fd_passing = {-1, -1},
                                .access_fd = -1,
                                .slow_fd = -1};
    if (value == NULL) {
        return;
    }
    bool is_ours = restart_is_one();
    char *rest = value = strdup(value);
    if (is_ours) {
        reap_orphans();
    }
    (void)unsetenv(variable);
    (void)strsep(&rest, ":");
    if (is_ours && rest != NULL) {
        list = strsep(&rest, ":");
        while (ret->nlisteners < RESTART_LISTENERS_MAX &&
               (word = strsep(&list, ",")) != NULL && read_fd(word) >= 0) {
            ret->listeners[ret->nlisteners++] = read_fd(word);
        }
        ret->control_fd = read_fd(strsep(&rest, ":"));
        ret->notify_fd = read_fd(strsep(&rest, ":"));
        ret->fd_passing.send_fd = read_fd(strsep(&rest, ":"));
        ret->fd_passing.receive_fd = read_fd(strsep(&rest, ":"));
        ret->access_fd = read_fd(strsep(&rest, ":"));
        list = strsep(&rest, ":");
        /* From here on: an older version that is updated passes on none. */
        ret->slow_fd = read_fd(strsep(&rest, ":"));
        for (size_t i = 0;
             i < ARRAY_SIZE(ret->files) && (word = strsep(&list, ",")) != NULL;
             i++) {
            read_file(
                word,
                &ret->files[i < ret->nlisteners ? i : RESTART_LISTENERS_MAX]);
        }
        carried.reloads = read_count(strsep(&rest, ":"));
        carried.in_row = read_count(strsep(&rest, ":"));
        (void)fcntl(ret->fd_passing.send_fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(ret->fd_passing.receive_fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(ret->access_fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(ret->slow_fd, F_SETFD, FD_CLOEXEC);
    }
    free(value);
}

unsigned
restart_reloads(void)
{
    return carried.reloads;
}

/* Adds the mark and the number of fd; only the mark if fd is -1. */
static int
add_descriptor(struct buf *b, const char *mark, int fd)
{
    if (fd < 0) {
        return buf_printf(b, "%s", mark);
    }
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0) {
        return -errno;
    }
    return buf_printf(b, "%s%d", mark, fd);
}

static int
add_file(struct buf *b, const char *mark, const struct stat *file)
{
    return buf_printf(b, "%s%ju.%ju", mark, (uintmax_t)file->st_dev,
                      (uintmax_t)file->st_ino);
}

/* Puts our variable with the descriptors into the environment. */
static int
add_variable(const struct restart_fds *fds)
{
    struct buf b;
    int e;

    buf_init(&b, 4096);
    e = buf_printf(&b, "%s=%ld", variable, (long)getpid());
    for (size_t k = 0; e == 0 && k < fds->nlisteners; k++) {
        e = add_descriptor(&b, k == 0 ? ":" : ",", fds->listeners[k]);
    }
    if (e == 0) {
        e = add_descriptor(&b, ":", fds->control_fd);
    }
    if (e == 0) {
        e = add_descriptor(&b, ":", fds->notify_fd);
    }
    if (e == 0) {
        e = add_descriptor(&b, ":", fds->fd_passing.send_fd);
    }
    if (e == 0) {
        e = add_descriptor(&b, ":", fds->fd_passing.receive_fd);
    }
    if (e == 0) {
        e = add_descriptor(&b, ":", fds->access_fd);
    }
    for (size_t k = 0; e == 0 && k < fds->nlisteners; k++) {
        e = add_file(&b, k == 0 ? ":" : ",", &fds->files[k]);
    }
    if (e == 0) {
        e = add_file(&b, ",", &fds->files[RESTART_LISTENERS_MAX]);
    }
    if (e == 0) {
        e = add_descriptor(&b, ":", fds->slow_fd);
    }
    if (e == 0) {
        e = buf_printf(&b, ":%u:%u", carried.reloads, carried.in_row);
    }
    if (e == 0) {
        e = buf_add(&b, "", 1);
    }
    origin.environment[origin.slot] = b.data; /* never freed */
    return e;
}

/* Root may have started us in a directory that --user may not enter: then no
 * path of the command line is relative to it. */
static bool
may_go_back(void)
{
    return origin.folder_fd >= 0 &&
           faccessat(origin.folder_fd, ".", X_OK, AT_EACCESS) == 0;
}

static int
execute(const struct restart_fds *fds)
{
    assert(fds->nlisteners > 0 && fds->nlisteners <= RESTART_LISTENERS_MAX);
    int e = add_variable(fds);

    if (e < 0) {
        return e;
    }
    if (may_go_back() && fchdir(origin.folder_fd) < 0) {
        return -errno;
    }
    signals_hold_for_exec();
    switch (signals_get().stop) {
    case STOP_NOW:
        return -EINTR;
    case STOP_GRACEFUL:
        /* It has just arrived, but clients already wait for the next run: it
         * has to serve them before it stops. */
        (void)kill(getpid(), SIGTERM);
        break;
    case STOP_NONE:
        break;
    }
    (void)execve(origin.exe, origin.argv, origin.environment);
    return -errno;
}

int
restart_exec(const struct restart_fds *fds)
{
    (void)pthread_mutex_lock(&origin.lock);
    int e = execute(fds);
    (void)pthread_mutex_unlock(&origin.lock);
    return e;
}

/* -- checking the new code ------------------------------------------------- */

/* The environment with --check before the other words of WSGI_CGI_OPTIONS: on
 * the command line it could disturb the words of a #! line. NULL: no memory. */
static char **
checking_environment(struct buf *options, bool with_fd)
{
    static const char name[] = "WSGI_CGI_OPTIONS";
    const char *had = "";
    size_t n = 0;
    char **env;

    while (origin.environment[n] != NULL) {
        n++;
    }
    env = calloc(n + 3, sizeof *env);
    if (env == NULL) {
        return NULL;
    }
    n = 0;
    for (char **e = origin.environment; *e != NULL; e++) {
        if (is_named(*e, name)) {
            had = *e + sizeof name;
        }
        else {
            env[n++] = *e;
        }
    }
    if (buf_printf(options, "%s=--check %s", name, had) < 0 ||
        buf_add(options, "", 1) < 0) {
        free(env);
        return NULL;
    }
    env[n++] = options->data;
    if (with_fd) {
        env[n] = check_variable;
    }
    return env;
}

/* Runs the program with --check in its first working directory. The control
 * thread blocks all signals; the child must not. 0 or -errno. */
static int
spawn_checker(int tell_fd, pid_t *ret_pid)
{
    struct buf options;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    sigset_t none;
    CLEANUP(fd_close) int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int e = ENOMEM;

    buf_init(&options, 1 << 20);
    char **env = checking_environment(&options, tell_fd >= 0);
    if (env == NULL || posix_spawnattr_init(&attr) != 0) {
        free(env);
        buf_fini(&options);
        return -e;
    }
    (void)sigemptyset(&none);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    if (posix_spawn_file_actions_init(&files) == 0) {
        if (null >= 0) { /* else its output goes to the log, as ours does */
            (void)posix_spawn_file_actions_adddup2(&files, null, STDOUT_FILENO);
        }
        if (may_go_back()) {
            (void)posix_spawn_file_actions_addfchdir_np(&files,
                                                        origin.folder_fd);
        }
        /* After fchdir: the directory may be descriptor 3. */
        if (tell_fd >= 0) {
            (void)posix_spawn_file_actions_adddup2(&files, tell_fd, CHECK_FD);
        }
        e = posix_spawn(ret_pid, origin.exe, &files, &attr, origin.argv, env);
        (void)posix_spawn_file_actions_destroy(&files);
    }
    (void)posix_spawnattr_destroy(&attr);
    free(env);
    buf_fini(&options);
    return -e;
}

int
restart_check_fd(void)
{
    const char *value = getenv(check_name);
    struct stat st;
    bool is_told = value != NULL && strcmp(value, "3") == 0 &&
                   fstat(CHECK_FD, &st) == 0 && S_ISFIFO(st.st_mode) &&
                   fcntl(CHECK_FD, F_SETFD, FD_CLOEXEC) == 0;

    (void)unsetenv(check_name);
    return is_told ? CHECK_FD : -1;
}

void
restart_check_bind(int check_fd)
{
    struct pollfd p = {.fd = check_fd, .events = POLLOUT};

    if (check_fd < 0) {
        return;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&p, 1, 0) > 0 && (p.revents & POLLERR) != 0) {
        (void)raise(SIGKILL); /* the parent had ended already */
    }
}

void
restart_init(struct restart *r, const struct config *config)
{
    memset(r, 0, sizeof *r);
    r->told.read_fd = r->told.write_fd = -1;
    file_watcher_init(&r->watcher, config, loader_script());
    r->watcher.in_row = carried.in_row;
}

void
restart_cancel(struct restart *r)
{
    /* If it is no longer our child, its number may belong to another
     * process. */
    if (r->checker > 0 && waitpid(r->checker, NULL, WNOHANG) == 0) {
        (void)kill(r->checker, SIGKILL);
        (void)waitpid(r->checker, NULL, 0);
    }
    r->checker = 0;
    reload_pipe_close(&r->told);
}

void
restart_fini(struct restart *r)
{
    restart_cancel(r);
    file_watcher_fini(&r->watcher);
}

int
restart_pause(const struct restart *r, int64_t now_ms, int max_ms)
{
    int pause = file_watcher_pause(&r->watcher, now_ms, max_ms);
    int64_t mine = pause;

    if (r->checker > 0) {
        mine = CHECKING_MS;
    }
    else if (r->due) {
        mine = r->next_ms > now_ms ? r->next_ms - now_ms : 0;
    }
    return mine < pause ? (int)mine : pause;
}

enum verdict { CHECK_RUNS, CHECK_LOADS, CHECK_FAILS };

/* The application may ignore SIGCHLD or wait for any child. Then we do not get
 * the exit status, and what the checking child has sent counts. */
static enum verdict
verdict(struct restart *r)
{
    assert(r->checker > 0);
    int status = 0;
    pid_t pid = waitpid(r->checker, &status, WNOHANG);

    reload_pipe_receive(&r->told, &r->watcher);
    if (pid == 0) {
        return CHECK_RUNS;
    }
    bool loads = r->told.loads;
    reload_pipe_close(&r->told);
    r->checker = 0;
    if (pid < 0) {
        if (!loads) {
            log_warning("the application has taken the exit status of the "
                        "process that checks the new code: it ignores SIGCHLD, "
                        "or waits for any child");
        }
        return loads ? CHECK_LOADS : CHECK_FAILS;
    }
    if (WIFSIGNALED(status)) {
        char name[SIGNAL_NAME_SIZE];
        log_error("the process that checks the new code was killed by signal "
                  "%d (%s)",
                  WTERMSIG(status), signal_name(WTERMSIG(status), name));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CHECK_LOADS
                                                         : CHECK_FAILS;
}

/* Plans the next check, after a time that doubles with each failure. */
static void
try_again(struct restart *r, int64_t now_ms, const char *what, const char *why)
{
    unsigned k = r->failures < RETRY_DOUBLED ? r->failures : RETRY_DOUBLED;
    int64_t wait = (int64_t)RETRY_FIRST_MS << k;

    r->failures++;
    r->due = true;
    r->next_ms = now_ms + wait;
    log_error("the new code %s%s; the old one goes on, the next try is in "
              "%lld s",
              what, why, (long long)(wait / 1000));
}

static void
check(struct restart *r, int64_t now_ms)
{
    assert(r->checker == 0 && r->told.read_fd < 0);
    int e = reload_pipe_open(&r->told);
    if (e < 0) {
        log_warning("the names of the files that the new code imports are not "
                    "known: %s",
                    strerror(-e));
    }
    e = spawn_checker(r->told.write_fd, &r->checker);
    fd_close(&r->told.write_fd);
    if (e < 0) {
        r->checker = 0;
        reload_pipe_close(&r->told);
        try_again(r, now_ms, "cannot be checked: ", strerror(-e));
    }
}

/* A limit that has been reached remains a reason to restart, so we try again.
 * New code has to change first. */
static void
fail(struct restart *r, int64_t now_ms)
{
    r->check_failed = true;
    r->new_code = false;
    if (r->needs_recycle > 0) {
        try_again(r, now_ms, "does not load", " (see above)");
        return;
    }
    log_error("the new code does not load (see above); the old one goes on; %s",
              file_watcher_next_try(&r->watcher));
}

static enum file_watcher_load
load_state(const struct restart *r, const struct config *config)
{
    if (r->checker > 0 || (r->due && r->failures == 0)) {
        return FILE_WATCHER_LOADING;
    }
    return r->check_failed || (config->app != NULL && !loader_is_loaded())
               ? FILE_WATCHER_FAILED
               : FILE_WATCHER_LOADED;
}

bool
restart_is_due(struct restart *r, const struct config *config, int64_t now_ms,
               bool asked, unsigned needs_recycle)
{
    if (signals_get().stop != STOP_NONE) {
        return false; /* the signal may have ended the checking child, too */
    }
    file_watcher_note(&r->watcher, now_ms, load_state(r, config));
    const char *touched = file_watcher_look(&r->watcher, now_ms);

    if (asked || touched != NULL) {
        restart_cancel(r); /* the code that it checks is old already */
        r->due = r->new_code = true;
        r->failures = 0;
        r->next_ms = 0;
        r->check_failed = false;
        file_watcher_refresh(&r->watcher, asked);
        log_notice("%s: checking the new code", asked ? "SIGHUP" : touched);
    }
    else if (needs_recycle != r->needs_recycle && r->checker == 0) {
        r->due = true;
    }
    r->needs_recycle = needs_recycle;
    if (r->checker > 0) {
        enum verdict v = verdict(r);
        if (v == CHECK_LOADS) {
            log_notice("the new code loads: starting again");
            carried.reloads += r->new_code;
            carried.in_row = r->watcher.in_row;
        }
        else if (v == CHECK_FAILS) {
            fail(r, now_ms);
        }
        return v == CHECK_LOADS;
    }
    if (r->due && now_ms >= r->next_ms) {
        r->due = false;
        check(r, now_ms);
    }
    return false;
}
