/*
 * main.c - which mode, which descriptors, which exit code
 *
 * Decides once how this process was started (web server's CGI, spawner's
 * FastCGI socket, or on its own), puts descriptors 0, 1 and 2 where Python may
 * have them, and runs the one or the other. The only file that ends the process,
 * besides the forced stop in proc/.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "client/client.h"
#include "conf/options.h"
#include "config.h"
#include "gateway/cgi.h"
#include "gateway/doctor.h"
#include "gateway/fcgi_os.h"
#include "net/allow.h"
#include "net/listener.h"
#include "proc/caretaker.h"
#include "proc/cgi_watch.h"
#include "proc/child.h"
#include "proc/handover.h"
#include "proc/logs.h"
#include "proc/master.h"
#include "proc/notify.h"
#include "proc/pid_file.h"
#include "proc/pool.h"
#include "proc/privs.h"
#include "proc/restart.h"
#include "proc/signals.h"
#include "wsgi/handler.h"
#include "wsgi/interp.h"
#include "wsgi/interrupt.h"
#include "wsgi/loader.h"
#include "wsgi/stacks.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { LISTEN_FDS_START = 3, LISTENERS_MAX = RESTART_LISTENERS_MAX };

extern char **environ;

/* How the process was started, and why we think so. */
struct start {
    enum config_mode mode; /* MODE_AUTO: could not be told */
    const char *why;
    bool request_in_env;
    bool fd0_listens;
    int inherited; /* LISTEN_FDS that are ours */
};

static struct config config;
static struct listener listeners[LISTENERS_MAX];
static size_t nlisteners;
static struct allow allow;
static struct privs privs;
static struct migrate migrate = {-1, -1};
/* CGI: standard error is the pipe that the response goes to. */
static bool shares_stderr;
static struct doctor_facts doctor; /* --doctor */

/* Leaves without finalising Python: interp_finish() has saved what there was.
 * LeakSanitizer runs at a return from main() only. */
static int
leave(int status)
{
    pid_file_remove();
#if defined(__SANITIZE_ADDRESS__)
    return status;
#else
    (void)fflush(NULL);
    _exit(status);
#endif
}

/* -- mode ------------------------------------------------------------------------ */

/* systemd's protocol: the descriptors are ours only if the pid says so. */
static int
inherited_listeners(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p, n;

    if (pid == NULL || fds == NULL ||
        num_parse(pid, strlen(pid), INT_MAX, &p) < 0 ||
        num_parse(fds, strlen(fds), LISTENERS_MAX, &n) < 0 ||
        (pid_t)p != getpid()) {
        return 0;
    }
    return (int)n;
}

static void
detect(struct start *s)
{
    s->inherited = inherited_listeners();
    s->fd0_listens = fd_is_listening(STDIN_FILENO);
    s->mode = MODE_FASTCGI;
    if (config.mode != MODE_AUTO) {
        s->mode = config.mode;
        s->why = "--mode says so";
    }
    else if (restart_is_one()) {
        s->why = "the program executed itself again with its sockets";
    }
    else if (config.bind.n > 0) {
        s->why = "--bind names a socket to listen on";
    }
    else if (s->inherited > 0) {
        s->why = "LISTEN_FDS and LISTEN_PID hand over listening sockets";
    }
    else if (s->fd0_listens) {
        s->why = "descriptor 0 is a listening socket";
    }
    else if (s->request_in_env) {
        s->mode = MODE_CGI;
        s->why = "REQUEST_METHOD or GATEWAY_INTERFACE is in the environment";
    }
    else {
        s->mode = MODE_AUTO;
        s->why = "there is neither a socket to listen on nor a CGI request";
    }
}

static const char *
kind_of_fd(int fd, char *to, size_t size)
{
    struct stat st;

    if (fd_is_listening(fd)) {
        return "listening socket";
    }
    if (fstat(fd, &st) < 0) {
        return "closed";
    }
    switch (st.st_mode & S_IFMT) {
    case S_IFSOCK:
        return "connected socket";
    case S_IFIFO:
        return "pipe";
    case S_IFREG:
        return "file";
    case S_IFCHR:
        return isatty(fd) ? "terminal" : "character device";
    default:
        (void)snprintf(to, size, "file of mode %o", (unsigned)st.st_mode);
        return to;
    }
}

static const char *const mode_names[] = {
    [MODE_AUTO] = "none", [MODE_CGI] = "cgi", [MODE_FASTCGI] = "fastcgi"};

/* What it was at the start: closed ones have been filled. */
static const char *
kind_at_start(int fd, unsigned was_closed, char *to, size_t size)
{
    return was_closed >> fd & 1 ? "closed" : kind_of_fd(fd, to, size);
}

static int
explain(const struct start *s, unsigned was_closed)
{
    char python[PATH_MAX], other[64];

    if (s->request_in_env && !s->fd0_listens) {
        (void)printf("Status: 200 OK\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    }
    (void)printf("mode: %s\nbecause: %s\n", mode_names[s->mode], s->why);
    for (int fd = 0; fd <= 2; fd++) {
        (void)printf("descriptor %d: %s\n", fd,
                     kind_at_start(fd, was_closed, other, sizeof other));
    }
    (void)printf("REQUEST_METHOD: %s\n", getenv("REQUEST_METHOD") != NULL
                                             ? getenv("REQUEST_METHOD")
                                             : "(not set)");
    (void)printf("GATEWAY_INTERFACE: %s\n", getenv("GATEWAY_INTERFACE") != NULL
                                                ? getenv("GATEWAY_INTERFACE")
                                                : "(not set)");
    (void)printf("LISTEN_FDS for this process: %d\n", s->inherited);
    for (size_t i = 0; i < config.bind.n; i++) {
        (void)printf("bind: %s\n", config.bind.v[i]);
    }
    (void)printf("application: %s\n", config.app != NULL ? config.app
                                      : config.scripts_in != NULL
                                          ? "the request's SCRIPT_FILENAME"
                                          : "(none given)");
    if (config.scripts_in != NULL) {
        (void)printf("scripts below: %s\n", config.scripts_in);
    }
    (void)printf("mount: %s\n", config.mount == NULL
                                    ? "(the server's split, mended)"
                                : config.mount[0] == '\0' ? "/"
                                                          : config.mount);
    (void)printf("python: %s\n", interp_version());
    if (interp_executable(&config, python, sizeof python) == 0) {
        (void)printf("python executable: %s\n", python);
    }
    return s->mode == MODE_AUTO ? EX_USAGE : EX_OK;
}

/* --doctor: what its page says of the process. Python is only asked whether it
 * could start: the page is also for finding out why it cannot. */
static void
examine(const struct start *s, unsigned was_closed)
{
    static char python[PATH_MAX], said[1024];
    struct buf reasons;
    char other[64];

    doctor.mode = mode_names[s->mode];
    doctor.why = s->why;
    for (int fd = 0; fd <= 2; fd++) {
        (void)snprintf(doctor.fd[fd], sizeof doctor.fd[fd], "%s",
                       kind_at_start(fd, was_closed, other, sizeof other));
    }
    buf_init(&reasons, sizeof said - 1);
    log_copy_to(&reasons);
    doctor.python_status = interp_check(&config);
    log_copy_to(NULL);
    if (reasons.len > 0) {
        (void)snprintf(said, sizeof said, "%.*s", (int)reasons.len - 1,
                       reasons.data);
    }
    for (char *end = said; (end = strchr(end, '\n')) != NULL;) {
        *end = ';';
    }
    buf_fini(&reasons);
    if (interp_executable(&config, python, sizeof python) < 0) {
        python[0] = '\0';
    }
    doctor.python = interp_version();
    doctor.executable = python;
    doctor.python_said = said;
    /* There is no Python to be interrupted, or to be shared. */
    config.request_timeout_ms = config.slow_ms = 0;
    config.preload = false;
    if (s->mode == MODE_FASTCGI) {
        log_notice(
            "--doctor is on: whoever can reach it sees what the web server "
            "sends");
    }
}

static int
usage(void)
{
    (void)fprintf(
        stderr,
        "wsgi-cgi: there is neither a socket to listen on nor a CGI request\n"
        "usage: wsgi-cgi [options] APP\n"
        "  in a cgi-bin:    make '#!/path/to/wsgi-cgi' the first line of APP\n"
        "  under a spawner: a listening socket on descriptor 0\n"
        "  on its own:      wsgi-cgi --bind unix:/run/app.sock APP\n"
        "See wsgi-cgi --help, and --explain for what was found.\n");
    return EX_USAGE;
}

/* -- what both modes do before Python starts --------------------------------------- */

/* Standard output belongs to the protocol: whatever prints there, in Python, in C
 * or in a child, must not reach the web server. */
static int
take_stdio(int *ret_in, int *ret_out)
{
    CLEANUP(fd_close) int null = -1;
    int e = 0;

    if (ret_in != NULL) {
        *ret_in = fd_dup_high(STDIN_FILENO);
        *ret_out = fd_dup_high(STDOUT_FILENO);
        if (*ret_in < 0 || *ret_out < 0) {
            return -EMFILE;
        }
    }
    null = fd_open_null();
    if (null < 0) {
        return null;
    }
    if ((e = fd_redirect(null, STDIN_FILENO)) < 0 ||
        (e = fd_redirect(STDERR_FILENO, STDOUT_FILENO)) < 0) {
        return e;
    }
    return 0;
}

static int
enter_folder(const char *dir)
{
    if (chdir(dir) == 0) {
        return 0;
    }
    log_error("cannot change to folder %s: %s", dir, strerror(errno));
    return EX_NOINPUT;
}

/* RFC 3875, 7.2: a script's working folder is its own. */
static int
enter_script_folder(void)
{
    char path[PATH_MAX];
    const char *script = loader_script();

    if (config.chdir != NULL) {
        return enter_folder(config.chdir);
    }
    if (script == NULL || strlen(script) >= sizeof path) {
        return 0;
    }
    memcpy(path, script, strlen(script) + 1);
    return enter_folder(dirname(path));
}

static int
no_application(void)
{
    log_error("no application: give APP (a file or MODULE:CALLABLE) or "
              "--scripts-in=DIR");
    return EX_USAGE;
}

static int
prepare(bool is_cgi)
{
    int e;

    if (config.app == NULL && config.scripts_in == NULL && !config.doctor) {
        return no_application();
    }
    if (!config.doctor && ((e = loader_prepare(&config)) != 0 ||
                           (e = interp_check(&config)) != 0)) {
        return e;
    }
    if (is_cgi) {
        return enter_script_folder();
    }
    imports_watch(config.reload == RELOAD_MODULES);
    return config.chdir == NULL ? 0 : enter_folder(config.chdir);
}

/* In the process that serves, where Python runs. */
static int
open_watch(void)
{
    return config.request_timeout_ms > 0 && interrupt_open() < 0 ? EX_SOFTWARE
                                                                 : 0;
}

static int
start_python(void)
{
    int status = interp_start(&config, loader_script());

    return status != 0 ? status : open_watch();
}

/* -- CGI ------------------------------------------------------------------------------- */

static void
watch_begin(struct request *q)
{
    if (config.request_timeout_ms == 0 && config.slow_ms == 0) {
        return;
    }
    stacks_open();
    if (cgi_watch_begin(&config, q) < 0) {
        log_warning("--request-timeout and --slow: out of memory or threads; "
                    "this request is not watched");
    }
}

static void
run_doctor(void *arg, struct request *q)
{
    doctor_answer(arg, q);
}

static void
run_request(void *arg, struct request *q)
{
    watch_begin(q);
    handler_run(arg, q);
    if (child_is()) {
        _exit(q->exit_status); /* the request is its parent's */
    }
    cgi_watch_end(q);
}

/* Where both are one pipe the server waits for the last one to let go of it. */
static void
let_go_of_stderr(void)
{
    CLEANUP(fd_close) int null = fd_open_null();

    if (null < 0 || fd_redirect(null, STDOUT_FILENO) < 0 ||
        fd_redirect(null, STDERR_FILENO) < 0) {
        log_warning("out of descriptors: the client waits for the work after "
                    "its response");
    }
}

static void
run_after(void *arg, struct request *q)
{
    if (shares_stderr) {
        let_go_of_stderr();
    }
    handler_after(arg, q);
    if (child_is()) {
        _exit(q->exit_status);
    }
}

/* A child that goes on in the background must not keep the server waiting. */
static void
close_io(void *arg)
{
    struct cgi_io *io = arg;

    fd_close(&io->in_fd);
    fd_close(&io->out_fd);
}

/* Whatever stops us before the application runs, the client gets a page with the
 * id that the log has; the exit code is the cause's. */
static int
fail_cgi(struct cgi_io *io, int status)
{
    cgi_fail(&config, environ, io);
    return status;
}

/* The web server has decided who runs a script, and for how long. */
static int
refuse_options(void)
{
    const char *option = config.user != NULL       ? "user"
                         : config.group != NULL    ? "group"
                         : config.pid_file != NULL ? "pid-file"
                                                   : NULL;

    if (option == NULL) {
        return 0;
    }
    log_error("--%s is for FastCGI: the web server decides who runs a CGI "
              "script",
              option);
    return EX_USAGE;
}

static int
run_cgi(unsigned was_closed)
{
    const struct wsgi_facts facts = {.multiprocess = true};
    struct cgi_io io = {.in_fd = -1, .out_fd = -1};
    struct wsgi_thread *t;
    int status;

    if (take_stdio(&io.in_fd, &io.out_fd) < 0 ||
        child_watch(close_io, &io) < 0) {
        log_error("out of descriptors or memory");
        return EX_OSERR;
    }
    if ((was_closed >> STDOUT_FILENO & 1) != 0) {
        /* /dev/null stands there now and would swallow the response; a write
         * must fail, so that the exit code tells. */
        fd_close(&io.out_fd);
        io.out_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (config.doctor) {
        return cgi_run(&config, environ, &io, run_doctor, NULL, &doctor);
    }
    /* httpoxy: libraries take it for the operator's proxy setting. */
    (void)unsetenv("HTTP_PROXY");
    if ((status = refuse_options()) != 0 ||
        (status = logs_open(&config, false, -1)) != 0 ||
        (status = prepare(true)) != 0) {
        return fail_cgi(&io, status);
    }
    if (logs_take_stderr()) {
        shares_stderr = false;
    }
    if ((status = start_python()) != 0) {
        return fail_cgi(&io, status);
    }
    t = wsgi_thread_new(&config, facts, true);
    if (t == NULL) {
        log_error("out of memory");
        return fail_cgi(&io, EX_OSERR);
    }
    status = cgi_run(&config, environ, &io, run_request, run_after, t);
    wsgi_thread_free(&t);
    interp_finish();
    return status;
}

/* -- FastCGI ------------------------------------------------------------------------------- */

static int
read_allow(void)
{
    const char *env = getenv("FCGI_WEB_SERVER_ADDRS");
    char *list, *word, *rest;
    int e = 0;

    for (size_t i = 0; i < config.allow.n; i++) {
        if (allow_add(&allow, config.allow.v[i]) < 0) {
            log_error("--allow: read \"%s\", allowed are ADDRESS, ADDRESS/BITS "
                      "and any",
                      config.allow.v[i]);
            return EX_USAGE;
        }
    }
    if (env == NULL || config.allow.n > 0) {
        return 0;
    }
    rest = list = strdup(env);
    while (e == 0 && (word = strsep(&rest, ", \t")) != NULL) {
        if (*word != '\0' && allow_add(&allow, word) < 0) {
            log_error(
                "FCGI_WEB_SERVER_ADDRS: read \"%s\", allowed are addresses",
                word);
            e = EX_USAGE;
        }
    }
    allow.tcp_only = allow.n > 0;
    free(list);
    return e;
}

static int
adopt(int fd)
{
    if (nlisteners == LISTENERS_MAX) {
        log_error("more than %d listening sockets", LISTENERS_MAX);
        return EX_USAGE;
    }
    int e = listener_adopt(&listeners[nlisteners], fd);
    nlisteners += e == 0;
    return e;
}

/* After a restart the sockets are here already. */
static int
open_inherited(const struct restart_fds *from)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < from->nlisteners; i++) {
        const char *address = i < config.bind.n ? config.bind.v[i] : NULL;
        e = listener_inherit(&listeners[nlisteners], from->listeners[i],
                             address);
        nlisteners += e == 0;
    }
    return e;
}

static int
open_listeners(const struct start *s, const struct restart_fds *inherited)
{
    int e = read_allow();

    if (inherited->nlisteners > 0) {
        return e != 0 ? e : open_inherited(inherited);
    }
    for (size_t i = 0; e == 0 && i < config.bind.n; i++) {
        if (nlisteners == LISTENERS_MAX) {
            log_error("--bind: more than %d sockets", LISTENERS_MAX);
            return EX_USAGE;
        }
        e = listener_bind(&listeners[nlisteners], "--bind", config.bind.v[i],
                          &config, &allow);
        nlisteners += e == 0;
    }
    if (e != 0 || config.bind.n > 0) {
        return e;
    }
    for (int i = 0; e == 0 && i < s->inherited; i++) {
        int fd = LISTEN_FDS_START + i;
        e = adopt(fd);
        fd_close(&fd);
    }
    if (e == 0 && s->inherited == 0) {
        if (!s->fd0_listens) {
            log_error("--mode=fastcgi needs a listening socket: on descriptor "
                      "0, by LISTEN_FDS, or by --bind");
            return EX_USAGE;
        }
        e = adopt(STDIN_FILENO);
    }
    return e;
}

static void
close_listeners(void)
{
    while (nlisteners > 0) {
        listener_close(&listeners[--nlisteners], true);
    }
}

/* Starts Python and loads the application, where the zygote has not done so. 0,
 * also where it does not load, or a sysexits code. */
static int
start_application(const struct pool_setup *setup, bool *ret_loaded)
{
    bool is_first = setup->preload == PRELOAD_NONE;
    int status = is_first ? start_python() : open_watch();

    if (status != 0) {
        return status;
    }
    stacks_open();
    *ret_loaded = setup->preload == PRELOAD_LOADED;
    if (is_first) {
        /* An application that cannot be loaded answers 500 until its file is
         * mended: exiting here would make a spawner's loop of it. But where
         * others serve the old code, their answers are better. */
        int64_t start = clock_ms();
        *ret_loaded = loader_load() == 0;
        log_debug("loading the application took %lld ms",
                  (long long)(clock_ms() - start));
        handover_tell(setup->imports_fd);
        if (!*ret_loaded && master_has_ready_workers(setup->board)) {
            interp_finish();
            return EX_SOFTWARE;
        }
    }
    if (!*ret_loaded) {
        log_warning("serving error pages until the application loads");
    }
    return 0;
}

/* Everything between the sockets and the first request, in the one process or in
 * a worker. */
static int
serve(const struct pool_setup *setup)
{
    struct pool *pool = NULL;
    bool restart = false, loaded = config.doctor; /* it needs no application */
    int status = pool_open(setup, &pool);

    if (status == 0) {
        logs_look();
    }
    if (status == 0 && !config.doctor) {
        status = start_application(setup, &loaded);
    }
    if (status == 0) {
        status = pool_run(pool, loaded, &restart);
    }
    if (status == 0) {
        caretaker_guard_end(&config, pool);
        interp_finish();
    }
    if (restart && signals_get().stop == STOP_NONE) {
        int e = pool_restart(pool);
        if (e != -EINTR) {
            log_error("starting again: %s", strerror(-e));
            status = EX_OSERR;
        }
    }
    if (pool != NULL) {
        pool_close(pool);
    }
    if (pool != NULL && atomic_load(&pool->lost) > 0) {
        /* What a thread still holds that was left behind is no leak. */
        (void)fflush(NULL);
        _exit(status);
    }
    return status;
}

static int
run_processes(struct pool_setup *setup)
{
    if (config.processes > 0) {
        /* Returns in every worker, and in the master at the end. */
        int status = master_run(setup);
        return status != MASTER_IS_WORKER ? status : serve(setup);
    }
    scoreboard_take(setup->board, 0, getpid(), 1);
    return serve(setup);
}

/* What a user without rights could not: all sockets, and the pid file. */
static int
open_all(const struct start *s, const struct restart_fds *inherited,
         struct pool_setup *setup)
{
    int status = open_listeners(s, inherited);

    setup->nlisteners = nlisteners;
    if (status != 0) {
        return status;
    }
    setup->board = scoreboard_new(
        config.processes > 0 ? master_slots(&config) : 1, config.threads);
    if (setup->board == NULL) {
        log_error("out of memory");
        return EX_OSERR;
    }
    if (config.control != NULL) {
        status = control_open(&config, setup->board, inherited->control_fd,
                              &setup->control);
    }
    if (status == 0 && config.pid_file != NULL) {
        status = pid_file_write(config.pid_file, inherited->nlisteners > 0);
    }
    return status;
}

/* Everything until the sockets are open and Python may start. */
static int
start_fastcgi(const struct start *s, struct pool_setup *setup)
{
    struct restart_fds inherited;
    bool restarted = restart_is_one();

    restart_inherited(&inherited);
    notify_open(inherited.notify_fd);
    migrate = inherited.migrate;
    if (migrate.receive_fd < 0 && migrate_open(&migrate) < 0) {
        log_error("out of descriptors");
        return EX_OSERR;
    }
    int status = logs_open(&config, restarted, inherited.access_fd);
    if (status == 0) {
        status = open_all(s, &inherited, setup);
    }
    /* A child of the application is not the one they were meant for. */
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
    if (status != 0) {
        return status;
    }
    if (take_stdio(NULL, NULL) < 0) {
        log_error("out of descriptors");
        return EX_OSERR;
    }
    if (fcgi_os_start() < 0) {
        log_error("this libfcgi does not use wsgi-cgi's I/O layer; build with "
                  "FCGI=static");
        return EX_SOFTWARE;
    }
    if (privs.wanted && !privs.already) {
        logs_give(privs.uid, privs.gid);
    }
    status = privs_drop(&privs);
    /* As the user that will run it: what he cannot read is told now. */
    return status != 0 ? status : prepare(false);
}

static int
run_fastcgi(const struct start *s, char **argv)
{
    struct pool_setup setup = {.config = &config,
                               .listeners = listeners,
                               .allow = &allow,
                               .master_wake_fd = -1,
                               .imports_fd = -1,
                               .migrate = &migrate,
                               .doctor = config.doctor ? &doctor : NULL};
    int status = privs_find(&config, &privs);

    if (status != 0) {
        return status;
    }
    log_set_id(request_running_id);
    /* Before the first socket: from then on a TERM must not just kill us. */
    if (restart_remember(argv, environ) < 0 ||
        signals_open(config.processes > 0) < 0) {
        log_error("out of memory or descriptors");
        return EX_OSERR;
    }
    status = start_fastcgi(s, &setup);
    if (status == 0) {
        (void)logs_take_stderr();
        return run_processes(&setup);
    }
    close_listeners();
    control_close(&setup.control);
    return status;
}

/* -- --check ------------------------------------------------------------------------------------ */

static int
check(void)
{
    int tell_fd = restart_check_fd();
    int status = privs_find(&config, &privs);

    notify_hide();
    if (status == 0) {
        status = privs_drop(&privs);
    }
    if (status == 0) {
        status = prepare(false);
    }
    if (config.doctor) {
        return status; /* there is nothing to load */
    }
    if (status == 0 && (status = interp_start(&config, loader_script())) == 0) {
        status = loader_load();
        if (status == 0) {
            (void)printf("wsgi-cgi: %s loads with Python %s\n",
                         config.app != NULL ? config.app : config.scripts_in,
                         interp_version());
            (void)fflush(stdout);
        }
        else {
            handover_tell(tell_fd);
        }
        interp_finish();
    }
    return status;
}

static int
run(const struct start *s, unsigned was_closed, char **argv)
{
    if (config.umask >= 0) {
        (void)umask((mode_t)config.umask);
    }
    switch (config.action) {
    case ACTION_HELP:
        options_help(stdout);
        return EX_OK;
    case ACTION_VERSION:
        (void)printf("wsgi-cgi %s (Python %s)\n", WSGI_CGI_VERSION,
                     interp_version());
        return EX_OK;
    case ACTION_EXPLAIN:
        return explain(s, was_closed);
    case ACTION_CHECK:
        return check();
    case ACTION_PING:
        return client_ping(&config);
    case ACTION_STATUS:
        return client_status(&config);
    case ACTION_REQUEST:
        return client_request(&config);
    case ACTION_RUN:
        break;
    }
    if (config.doctor && s->mode != MODE_AUTO) {
        examine(s, was_closed);
    }
    switch (s->mode) {
    case MODE_CGI:
        return run_cgi(was_closed);
    case MODE_FASTCGI:
        return run_fastcgi(s, argv);
    case MODE_AUTO:
        break;
    }
    return usage();
}

static bool
shares_pipe(int a, int b)
{
    struct stat st;

    return fd_same(a, b) && fstat(a, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

int
main(int argc, char **argv)
{
    struct start start = {.mode = MODE_AUTO};
    unsigned was_closed = 0;
    int status;

    interp_prefault();
    if (fd_sanitize(&was_closed) < 0) {
        return leave(EX_OSERR);
    }
    signals_init(restart_is_one());
    start.request_in_env =
        getenv("REQUEST_METHOD") != NULL || getenv("GATEWAY_INTERFACE") != NULL;
    if (start.request_in_env && !fd_is_listening(STDIN_FILENO)) {
        log_set_id(cgi_log_id);
    }
    shares_stderr =
        start.request_in_env && shares_pipe(STDOUT_FILENO, STDERR_FILENO);
    if (shares_stderr) {
        log_to_syslog(true); /* mini_httpd: fd 2 goes where the response goes */
    }
    status = options_parse(argc, argv, start.request_in_env, &config);
    if (status == 0) {
        logs_set_up(&config);
        detect(&start);
        status = run(&start, was_closed, argv);
    }
    else if (start.request_in_env && !fd_is_listening(STDIN_FILENO)) {
        /* The web server's client must not be left with an empty answer. */
        struct cgi_io io = {STDIN_FILENO, STDOUT_FILENO};
        cgi_fail(&config, environ, &io);
    }
    config_fini(&config);
    allow_fini(&allow);
    return leave(status);
}
