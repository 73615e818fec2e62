#include "mode/cgi_process.h"

#include "client/relay.h"
#include "debug/stack_dump.h"
#include "mode/cgi_timeout.h"
#include "mode/startup.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/environment.h"
#include "process/forked_child.h"
#include "process/logs.h"
#include "python/gil_state.h"
#include "python/interp.h"
#include "python/prefault.h"
#include "transport/cgi.h"
#include "warm/warm_request.h"
#include "wsgi/handler.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* The log still goes to the pipe of the response. */
static bool shares_stderr;

static void
watch_begin(struct request *q)
{
    if (q->config->request_timeout_ms == 0 && q->config->slow_ms == 0) {
        return;
    }
    stack_dump_open();
    if (cgi_timeout_begin(q->config, q) < 0) {
        log_warning("--request-timeout and --slow: out of memory or threads; "
                    "this request has no time limit");
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
    if (forked_child_is()) {
        _exit(q->exit_status); /* the request belongs to its parent */
    }
    cgi_timeout_end(q);
}

/* If both are the same pipe, the server waits until both are closed. */
static void
close_stdout_and_stderr(void)
{
    CLEANUP(fd_close) int null = fd_open_null();

    if (null < 0 || fd_redirect(null, STDOUT_FILENO) < 0 ||
        fd_redirect(null, STDERR_FILENO) < 0) {
        log_warning("out of descriptors: the client has to wait for the work "
                    "after its response");
    }
}

static void
run_after(void *arg, struct request *q)
{
    if (shares_stderr) {
        close_stdout_and_stderr();
    }
    handler_after(arg, q);
    if (forked_child_is()) {
        _exit(q->exit_status);
    }
}

/* The server must not wait for a child that continues in the background. */
static void
close_io(void *arg)
{
    struct cgi_io *io = arg;

    fd_close(&io->in_fd);
    fd_close(&io->out_fd);
}

/* If something fails before the application runs, the client gets a page with
 * the ID that is in the log. Returns the exit code. */
static int
fail(const struct config *config, struct cgi_io *io, int status)
{
    assert(status != 0);
    cgi_fail(config, environment_before(), io);
    return status;
}

/* Descriptors that were not duplicated are still 0 and 1. */
static int
fail_with_stdio(const struct config *config, struct cgi_io *io)
{
    if (io->in_fd < 0) {
        io->in_fd = STDIN_FILENO;
    }
    if (io->out_fd < 0) {
        io->out_fd = STDOUT_FILENO;
    }
    return fail(config, io, EX_OSERR);
}

/* The web server decides which user runs a script, and for how long. */
static int
refuse_options(const struct config *config)
{
    const char *option = config->user != NULL       ? "user"
                         : config->group != NULL    ? "group"
                         : config->pid_file != NULL ? "pid-file"
                                                    : NULL;

    if (option == NULL && config->keep_warm && config->control != NULL) {
        log_error("--control: an instance of --keep-warm has a control socket "
                  "of its own: see wsgi-cgi --warm-list");
        return EX_USAGE;
    }
    if (option == NULL) {
        return 0;
    }
    log_error("--%s is for FastCGI: the web server decides who runs a CGI "
              "script",
              option);
    return EX_USAGE;
}

/* Where descriptor 1 was closed, it is /dev/null by now, which would accept the
 * response. A write must fail, so that the exit code shows the loss. */
static int
open_unwritable(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? fd_open_null() : fd;
}

static void
note_closed_output(struct cgi_io *io, const struct start_mode *s)
{
    if ((s->was_closed >> STDOUT_FILENO & 1) != 0) {
        fd_close(&io->out_fd);
        io->out_fd = open_unwritable();
    }
}

/* -- with Python ----------------------------------------------------------- */

static int
take_stdio(struct cgi_io *io, const struct start_mode *s)
{
    if (startup_take_stdio(&io->in_fd, &io->out_fd) < 0 ||
        forked_child_watch(close_io, io) < 0) {
        log_error("out of descriptors or memory");
        return EX_OSERR;
    }
    note_closed_output(io, s);
    return 0;
}

static int
open_logs(const struct config *config)
{
    int status = refuse_options(config);

    return status != 0 ? status : logs_open(config, false, -1, -1, geteuid());
}

static void
take_stderr(const struct start_mode *s)
{
    shares_stderr = !logs_take_stderr() && s->shares_stderr;
}

/* --env is for os.environ, as over FastCGI; --set is for environ. */
static int
start_python(const struct config *config, struct wsgi_thread **ret)
{
    const struct wsgi_flags flags = {.multiprocess = true};
    int status;

    prefault_for_one_request();
    gil_state_be_quiet();
    if ((status = startup_start_python(config)) != 0) {
        return status;
    }
    *ret = wsgi_thread_new(config, flags, true);
    if (*ret == NULL) {
        log_error("out of memory");
        return EX_OSERR;
    }
    return 0;
}

static void
end_python(struct wsgi_thread *t)
{
    wsgi_thread_free(&t);
    interp_finish();
}

static int
run(const struct config *config, const struct start_mode *s,
    struct doctor_facts *doctor)
{
    struct cgi_io io = {.in_fd = -1, .out_fd = -1};
    struct wsgi_thread *t = NULL;
    int status = take_stdio(&io, s);

    if (status != 0) {
        return fail_with_stdio(config, &io);
    }
    if (doctor != NULL) {
        return cgi_run(config, environment_before(), &io, run_doctor, NULL,
                       doctor);
    }
    /* httpoxy: libraries would use the client's header as their proxy. */
    (void)unsetenv("HTTP_PROXY");
    if ((status = open_logs(config)) != 0 ||
        (status = startup_prepare(config, true)) != 0) {
        return fail(config, &io, status);
    }
    take_stderr(s);
    if ((status = start_python(config, &t)) != 0) {
        return fail(config, &io, status);
    }
    status =
        cgi_run(config, environment_before(), &io, run_request, run_after, t);
    end_python(t);
    return status;
}

/* -- without Python, as far as that goes ------------------------------------ */

static int
prepare_relay(const struct config *config, const struct start_mode *s,
              struct cgi_io *io)
{
    int status;

    note_closed_output(io, s);
    (void)unsetenv("HTTP_PROXY");
    if ((status = open_logs(config)) != 0) {
        return fail(config, io, status);
    }
    take_stderr(s);
    return 0;
}

static int
relay(const struct config *config, const struct start_mode *s)
{
    struct cgi_io io = {.in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO};
    int status = prepare_relay(config, s, &io);

    return status != 0 ? status
                       : cgi_run(config, environment_before(), &io,
                                 relay_answer, NULL, environment_before());
}

/* --keep-warm */
struct warm_cgi {
    const struct start_mode *mode;
    char **argv;
    struct cgi_io io;
    struct wsgi_thread *thread; /* NULL: an instance has served it */
};

static void
run_warm(void *arg, struct request *q)
{
    const struct config *config = q->config;
    struct warm_cgi *w = arg;
    char why[WARM_WHY_SIZE];
    int status;

    if (warm_request(q, w->argv, environment_before(), why)) {
        return;
    }
    log_warning("--keep-warm: %s: this process serves the request", why);
    if ((status = take_stdio(&w->io, w->mode)) != 0 ||
        (status = startup_prepare(config, true)) != 0 ||
        (status = start_python(config, &w->thread)) != 0) {
        cgi_refuse(q, status);
        return;
    }
    run_request(w->thread, q);
}

static void
run_warm_after(void *arg, struct request *q)
{
    struct warm_cgi *w = arg;

    run_after(w->thread, q);
}

static int
warm(const struct config *config, const struct start_mode *s, char **argv)
{
    struct warm_cgi w = {
        .mode = s,
        .argv = argv,
        .io = {.in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO}};
    int status = prepare_relay(config, s, &w.io);

    if (status != 0) {
        return status;
    }
    status = cgi_run(config, environment_before(), &w.io, run_warm,
                     run_warm_after, &w);
    if (w.thread != NULL) {
        end_python(w.thread);
    }
    return status;
}

int
cgi_process_run(const struct config *config, const struct start_mode *s,
                char **argv, struct doctor_facts *doctor)
{
    if (doctor == NULL && config->relay != NULL) {
        return relay(config, s);
    }
    if (doctor == NULL && config->keep_warm) {
        return warm(config, s, argv);
    }
    return run(config, s, doctor);
}
