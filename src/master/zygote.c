#include "master/zygote.h"

#include "app/loader.h"
#include "base/clock.h"
#include "debug/slow_load.h"
#include "os/fd.h"
#include "os/log.h"
#include "process/finalize_timeout.h"
#include "process/forked_child.h"
#include "process/logs.h"
#include "process/signals.h"
#include "python/interp.h"
#include "python/python_fork.h"
#include "python/python_signals.h"
#include "reload/reload_pipe.h"
#include "wsgi/wsgi_python.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

struct zygote_self {
    struct worker_setup *s;
    int fd; /* to the master */
    struct signals seen;
};

/* In a child that the application forks during its import. */
static void
in_child(void *arg)
{
    struct zygote_self *z = arg;

    for (size_t i = 0; i < z->s->nlisteners; i++) {
        fd_close(&z->s->listeners[i].fd);
    }
    fd_passing_close(z->s->fd_passing);
    fd_close(&z->s->master_wake_fd);
    fd_close(&z->s->imports_fd);
    fd_close(&z->fd);
}

static void
tell(const struct zygote_self *z, struct zygote_report r)
{
    const uint64_t one = 1;

    if (send(z->fd, &r, sizeof r, MSG_NOSIGNAL) < 0 ||
        write(z->s->master_wake_fd, &one, sizeof one) < 0) {
        /* It has ended, and the next recv() shows that; or it is awake
         * already. */
    }
}

/* -- forking a worker ------------------------------------------------------ */

/* The pipes between the three processes that take part. */
struct fork_pipes {
    int report[2]; /* the pid, from the middle one */
    int go[2];     /* one byte, for the worker */
};

static void
fork_pipes_close(struct fork_pipes *c)
{
    for (int i = 0; i < 2; i++) {
        fd_close(&c->report[i]);
        fd_close(&c->go[i]);
    }
}

static int
fork_pipes_open(struct fork_pipes *c)
{
    *c = (struct fork_pipes){{-1, -1}, {-1, -1}};
    if (pipe2(c->report, O_CLOEXEC) < 0 || pipe2(c->go, O_CLOEXEC) < 0) {
        int e = -errno;
        fork_pipes_close(c);
        return e;
    }
    return 0;
}

/* In the worker: its parent is the master only when the middle process has
 * ended. Where the zygote ends first, nobody knows of this worker, and it ends
 * too. */
static void
await_go(struct fork_pipes *c)
{
    char byte;

    fd_close(&c->report[1]);
    fd_close(&c->go[1]);
    if (TEMP_FAILURE_RETRY(read(c->go[0], &byte, 1)) != 1) {
        _exit(EX_OK);
    }
    fork_pipes_close(c);
}

/* The worker has to be a child of the master. So a process in the middle forks
 * it and ends. The kernel gives an orphan to the next ancestor that takes
 * orphans (a subreaper), and that is the master. True in the worker. */
static bool
fork_twice(struct fork_pipes *c, pid_t *ret_middle)
{
    assert(c->report[1] >= 0);
    *ret_middle = fork();
    if (*ret_middle != 0) {
        return false;
    }
    pid_t worker = fork();
    if (worker == 0) {
        return true;
    }
    worker = worker < 0 ? -errno : worker;
    if (write(c->report[1], &worker, sizeof worker) < 0) {
        /* The zygote has ended. */
    }
    _exit(EX_OK);
}

/* Reads the pid from the middle process, and waits for its end. */
static pid_t
await_middle(struct fork_pipes *c, pid_t middle)
{
    pid_t worker = -ECHILD; /* killed before it could say anything */

    fd_close(&c->report[1]);
    if (TEMP_FAILURE_RETRY(read(c->report[0], &worker, sizeof worker)) < 0) {
        worker = -errno;
    }
    (void)TEMP_FAILURE_RETRY(waitpid(middle, NULL, 0));
    return worker;
}

/* True in the worker. */
static bool
fork_worker(struct zygote_self *z, unsigned slot)
{
    struct zygote_report r = {.message = ZYGOTE_HAS_FORKED, .slot = slot};
    struct fork_pipes c;
    pid_t middle;

    r.pid = fork_pipes_open(&c);
    if (r.pid < 0) {
        tell(z, r);
        return false;
    }
    python_fork_begin(wsgi_python_flush_line);
    signals_hold(); /* until the worker has handlers of its own */
    forked_child_pause(true);
    if (fork_twice(&c, &middle)) {
        await_go(&c);
        forked_child_pause(false);
        python_fork_in_child();
        return true;
    }
    int err = errno;
    forked_child_pause(false);
    python_fork_in_parent();
    r.pid = middle < 0 ? -err : await_middle(&c, middle);
    signals_release();
    /* In this order: the worker cannot die before the master knows of it. */
    tell(z, r);
    if (write(c.go[1], "", 1) < 0) {
        /* The worker has been killed: the master will reap it. */
    }
    fork_pipes_close(&c);
    return false;
}

/* -- all of it ------------------------------------------------------------- */

static int
set_up(struct zygote_self *z, pid_t master)
{
    int e = signals_open(false);

    if (e == 0) {
        e = forked_child_watch(in_child, z);
    }
    if (e < 0) {
        log_error("--preload: setting up the process: %s", strerror(-e));
        return EX_OSERR;
    }
    /* During the import it would not notice the end of the master. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getppid() == master ? 0 : EX_OSERR;
}

static int
load(struct zygote_self *z)
{
    assert(z->s->preload == PRELOAD_NONE);
    int status = wsgi_python_start(z->s->config);

    if (status != 0) {
        return status;
    }
    if (python_signals_open(signals_own()) < 0) {
        return EX_SOFTWARE;
    }
    int64_t start = clock_ms();
    slow_load_begin(config_application(z->s->config));
    bool loaded = loader_load() == 0;
    slow_load_end();
    if (loaded) {
        scoreboard_note_load(z->s->board, clock_ms() - start);
    }
    wsgi_python_warm_up();
    reload_pipe_tell(z->s->imports_fd);
    if (forked_child_is()) {
        log_error("a child process that the application forked came back into "
                  "the gateway; it must end with os._exit()");
        return EX_SOFTWARE;
    }
    python_fork_prepare();
    (void)prctl(PR_SET_PDEATHSIG, 0);
    z->s->preload = loaded ? PRELOAD_LOADED : PRELOAD_BROKEN;
    tell(z, (struct zygote_report){.message = loaded ? ZYGOTE_HAS_LOADED
                                                     : ZYGOTE_HAS_FAILED});
    return 0;
}

/* HUP, which the master sends, or USR1: the log files are open again. Upon other
 * signals the master acts. */
static void
obey(struct zygote_self *z)
{
    struct signals s = signals_get();

    if (s.reloads != z->seen.reloads || s.reopens != z->seen.reopens) {
        logs_reopen(NULL);
    }
    z->seen = s;
}

/* Forgets the signals that have come; the worker opens its own handlers. */
static void
close_signals(void)
{
    int wake_fd = signals_keep_wake_fd();

    fd_close(&wake_fd);
}

static void
finish(const struct worker_setup *setup)
{
    int64_t most = setup->config->graceful_timeout_ms;
    bool broken = setup->preload == PRELOAD_BROKEN;

    if (broken && most > FINALIZE_TIMEOUT_UNSERVED_MS) {
        most = FINALIZE_TIMEOUT_UNSERVED_MS;
    }
    finalize_timeout_begin(clock_ms() + most, EX_OK, NULL, NULL);
    if (broken) {
        interp_finish_without_threads();
    }
    else {
        interp_finish();
    }
    finalize_timeout_end();
}

int
zygote_run(struct worker_setup *setup, int fd, pid_t master, unsigned *ret_slot)
{
    static struct zygote_self self; /* forked_child_watch() keeps it */
    int status;

    self = (struct zygote_self){.s = setup, .fd = fd};
    status = set_up(&self, master);
    if (status == 0) {
        status = load(&self);
    }
    if (status != 0) {
        return status;
    }
    for (;;) {
        (void)signals_wait(-1, self.fd, -1);
        obey(&self);
        ssize_t n = recv(self.fd, ret_slot, sizeof *ret_slot, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (n != (ssize_t)sizeof *ret_slot) {
            break; /* the master has ended, or lets us go */
        }
        if (fork_worker(&self, *ret_slot)) {
            close_signals();
            fd_close(&self.fd);
            return ZYGOTE_IS_WORKER;
        }
    }
    close_signals();
    if (signals_open(false) < 0) {
        /* Then the end takes its full time, whatever signals come. */
    }
    finish(setup);
    return EX_OK;
}
