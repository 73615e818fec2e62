#include "mode/fcgi_process.h"

#include "app/loader.h"
#include "base/clock.h"
#include "debug/stack_dump.h"
#include "master/master.h"
#include "master/master_workers.h"
#include "mode/sockets.h"
#include "mode/startup.h"
#include "os/log.h"
#include "os/safe_path.h"
#include "process/environment.h"
#include "process/finalize_timeout.h"
#include "process/logs.h"
#include "process/pid_file.h"
#include "process/privs.h"
#include "process/process_title.h"
#include "process/service_log.h"
#include "process/signals.h"
#include "python/gil_state.h"
#include "python/interp.h"
#include "python/prefault.h"
#include "python/python_signals.h"
#include "queue/queue_time.h"
#include "reload/reload_pipe.h"
#include "reload/restart.h"
#include "status/notify.h"
#include "transport/fcgi_os.h"
#include "worker/worker.h"
#include "wsgi/handler.h"
#include "wsgi/wsgi_python.h"

#include <errno.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* Static, since threads may still run when their caller returns. */
static struct sockets sockets;
static struct fd_passing fd_passing = {-1, -1};
static struct privs privs;

/* Returns the exit code. */
static int
end_unloaded(const struct worker_setup *setup)
{
    if (setup->config->need_app && setup->config->processes == 0) {
        log_error("--need-app: the application does not load (see above): the "
                  "process ends");
    }
    /* The application may have started a thread that never ends. */
    finalize_timeout_begin(clock_ms() + FINALIZE_TIMEOUT_UNSERVED_MS,
                           EX_SOFTWARE, NULL, NULL);
    interp_finish_without_threads();
    finalize_timeout_end();
    return EX_SOFTWARE;
}

/* Starts Python and loads the application, unless the zygote has done so.
 * Returns 0, even if it does not load, or a sysexits code. */
static int
start_application(const struct worker_setup *setup, bool *ret_loaded)
{
    bool is_first = setup->preload == PRELOAD_NONE;
    int status = is_first ? startup_start_python(setup->config)
                          : startup_open_watch(setup->config);

    if (status == 0 && is_first && python_signals_open(signals_own()) < 0) {
        status = EX_SOFTWARE;
    }
    if (status != 0) {
        return status;
    }
    stack_dump_open();
    *ret_loaded = setup->preload == PRELOAD_LOADED;
    if (is_first) {
        /* An application that does not load answers with 500 until its file is
         * fixed: if we exited, a spawner would start us again and again, and
         * only --need-app asks for that. But if others serve the old code,
         * their responses are better. */
        int64_t start = clock_ms();
        *ret_loaded = loader_load() == 0;
        if (*ret_loaded) {
            scoreboard_note_load(setup->board, clock_ms() - start);
        }
        log_debug("loading the application took %lld ms",
                  (long long)(clock_ms() - start));
        wsgi_python_warm_up();
        reload_pipe_tell(setup->imports_fd);
        if (!*ret_loaded && (setup->config->need_app ||
                             master_has_ready_workers(setup->board))) {
            return end_unloaded(setup);
        }
    }
    if (!*ret_loaded) {
        log_warning("serving error pages until the application loads");
    }
    return 0;
}

/* All that comes after the sockets, in the one process or in a worker. */
static int
serve(const struct worker_setup *setup)
{
    struct worker *worker = NULL;
    bool loaded = setup->config->doctor; /* it needs no application */
    prefault_heap();
    int status = worker_open(setup, &worker);

    if (status == 0) {
        logs_look();
    }
    if (status == 0 && !setup->config->doctor) {
        status = start_application(setup, &loaded);
    }
    if (status != 0) {
        safe_path_hide_left();
    }
    else {
        status = worker_run(worker, loaded);
    }
    if (worker != NULL) {
        worker_close(worker);
    }
    return status;
}

static int
run_processes(struct worker_setup *setup)
{
    if (setup->config->processes > 0) {
        /* This returns in every worker, and in the master at the end. */
        int status = master_run(setup);
        return status != MASTER_IS_WORKER ? status : serve(setup);
    }
    scoreboard_set_reloads(setup->board, restart_reloads());
    scoreboard_take(setup->board, 0, getpid(), 1 + restart_reloads());
    return serve(setup);
}

/* Opens what may need root: all sockets and the pid file. */
static int
open_all(const struct start_mode *s, const struct restart_fds *inherited,
         struct worker_setup *setup)
{
    int status = sockets_open(&sockets, setup->config, s, inherited);

    setup->nlisteners = sockets.n;
    if (status != 0) {
        return status;
    }
    if (setup->config->is_warm && sockets.v[0].path != NULL) {
        logs_own(sockets.v[0].path);
    }
    if (setup->config->queue_timeout_ms > 0 && !setup->restarted) {
        queue_time_check(sockets.v, sockets.n);
    }
    setup->board = scoreboard_new(
        setup->config->processes > 0 ? master_slots(setup->config) : 1,
        setup->config->threads);
    if (setup->board == NULL) {
        log_error("out of memory");
        return EX_OSERR;
    }
    if (setup->config->control != NULL) {
        const struct status_source from = worker_setup_status(setup);
        status = control_open(&from, inherited->control_fd,
                              &inherited->files[RESTART_LISTENERS_MAX],
                              &setup->control);
    }
    if (status == 0 && setup->config->pid_file != NULL) {
        status =
            pid_file_write(setup->config->pid_file, inherited->nlisteners > 0);
    }
    return status;
}

/* All that comes before Python: logs, sockets, --user. */
static int
set_up(const struct start_mode *s, struct worker_setup *setup)
{
    struct restart_fds inherited;

    setup->restarted = restart_is_one();
    if (setup->restarted) {
        service_log_continue();
    }
    restart_inherited(&inherited);
    notify_open(inherited.notify_fd);
    fd_passing = inherited.fd_passing;
    if (fd_passing.receive_fd < 0 && fd_passing_open(&fd_passing) < 0) {
        log_error("out of descriptors: raise ulimit -n");
        return EX_OSERR;
    }
    int status = logs_open(setup->config, setup->restarted, inherited.access_fd,
                           inherited.slow_fd, privs.uid);
    if (privs.wanted && !privs.already) {
        /* Now: files that a failed start leaves would stay root's. */
        logs_give(privs.uid, privs.gid);
    }
    if (status == 0) {
        status = open_all(s, &inherited, setup);
    }
    /* They are not for the child processes of the application. */
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
    if (status != 0) {
        return status;
    }
    if (startup_take_stdio(NULL, NULL) < 0) {
        log_error("out of descriptors: raise ulimit -n");
        return EX_OSERR;
    }
    if ((status = fcgi_os_start()) < 0) {
        log_error("%s", status == -ENOMEM
                            ? "out of memory"
                            : "this libfcgi does not use wsgi-cgi's I/O "
                              "functions: build with FCGI=static");
        return status == -ENOMEM ? EX_OSERR : EX_SOFTWARE;
    }
    status = privs_drop(&privs);
    /* As the user that will run it, to find out now what that user cannot
     * read. */
    return status != 0 ? status : startup_prepare(setup->config, false);
}

static void
tell_about_python(struct scoreboard *board)
{
    board->python = gil_state_is_free_threaded() ? interp_name() : NULL;
    board->expects_gil = gil_state_is_on();
}

int
fcgi_process_run(const struct config *config, const struct start_mode *s,
                 char **argv, const struct doctor_facts *doctor)
{
    struct worker_setup setup = {.config = config,
                                 .listeners = sockets.v,
                                 .allow = &sockets.allow,
                                 .master_wake_fd = -1,
                                 .imports_fd = -1,
                                 .fd_passing = &fd_passing,
                                 .doctor = doctor};
    int status = privs_find(config, &privs);

    if (config->relay != NULL) {
        log_error("--relay: it is for CGI; here %s", s->why);
        return EX_USAGE;
    }
    if (status != 0) {
        return status;
    }
    log_set_id(request_running_id);
    /* A socket on descriptor 0 is that of a FastCGI spawner. Some stop their
     * programs with USR1 (multiwatch does), at which libfcgi ends, too. */
    signals_set_usr1(config->processes > 0 || config->bind.n > 0 ||
                     s->inherited > 0);
    /* Before the first socket: from then on SIGTERM must not kill the
     * process. */
    if (restart_remember(argv, environment_before()) < 0 ||
        signals_open(config->processes > 0) < 0) {
        log_error("out of memory or descriptors");
        return EX_OSERR;
    }
    process_title_open(argv, environ, config_application(config));
    process_title_set(config->processes > 0 ? "master" : "single");
    status = set_up(s, &setup);
    if (status == 0) {
        tell_about_python(setup.board); /* after --env */
        (void)logs_take_stderr();
        if (!setup.restarted && !config->is_warm) {
            service_log_root(config);
        }
        status = run_processes(&setup);
    }
    else {
        safe_path_hide_left();
        sockets_close(&sockets);
        control_close(&setup.control);
    }
    sockets_fini(&sockets);
    return status;
}
