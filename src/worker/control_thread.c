#include "worker/control_thread.h"

#include "base/clock.h"
#include "debug/slow_load.h"
#include "os/log.h"
#include "process/logs.h"
#include "process/signals.h"
#include "python/gil_task.h"
#include "reload/reload_pipe.h"
#include "reload/restart.h"
#include "status/exit_idle.h"
#include "status/notify.h"
#include "worker/conn_passing.h"
#include "worker/graceful_stop.h"
#include "worker/rebalance.h"
#include "worker/request_threads.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    STOPPING_MS = 10 /* a round while the last requests run */
};

/* One a process. Its thread's, from control_thread_start() to
 * control_thread_join(). */
static struct control_thread {
    pthread_t id;   /* the main thread's */
    int interval;   /* ms between two rounds, at most */
    int control_fd; /* of the control socket, -1 = none */
    struct graceful_stop stop;
    struct signals seen; /* signals that have been handled */
    int64_t begin_ms;    /* of the first round */
    int64_t load_end_ms; /* of a stop that waits for the code; 0 = none */
    int watch_ms;        /* in how many ms the watchdog wants to look again */
    bool serves;         /* requests may have been running in the last round */
    bool asked;          /* a signal asked for new code: not begun yet */
    struct restart restart;
    struct rebalance rebalance;
    struct exit_idle idle;
    struct imports_file *imports; /* files to be handed over */
    bool load_watched;            /* it has ended, or is in the log */
    bool stuck; /* no thread gets into Python, and the log says so */
} control_thread;

/* Takes the GIL now and then, or without one attaches a thread to Python, to see
 * whether that is possible. A dropped one may outlive the control thread. */
static struct gil_task gil_probe;

static int
least(int a, int b)
{
    return a < b ? a : b;
}

/* ms between two rounds: a quarter of the shortest timeout, so that no
 * connection is much overdue. */
static int
interval_of(const struct config *c)
{
    const int64_t timeouts[] = {
        c->head_timeout_ms, c->keepalive_timeout_ms, c->body_timeout_ms,
        c->queue_timeout_ms > 0 ? c->queue_timeout_ms : INT64_MAX,
        config_is_elastic(c) ? c->idle_timeout_ms : INT64_MAX};
    int64_t shortest = 4000;

    for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
        shortest = timeouts[i] < shortest ? timeouts[i] : shortest;
    }
    return shortest < 80 ? 20 : (int)(shortest / 4);
}

/* Clients have waited since the previous run of the program, or wait while no
 * other worker serves: they are served before the process stops. */
static void
stop_when_loaded(struct pool *p, struct control_thread *t, int64_t now)
{
    if (t->load_end_ms == 0) {
        t->load_end_ms = now + p->s.config->graceful_timeout_ms;
    }
    if (now >= t->load_end_ms) {
        graceful_stop_end_now(
            &t->stop, p,
            "--graceful-timeout has passed while the code was loaded");
    }
}

/* Before the code is loaded. At a stop of all workers, none may be left to serve
 * those who wait. */
static bool
may_leave_at_once(const struct pool *p)
{
    return !p->s.restarted && !(atomic_load(&p->s.board->stopping) &&
                                worker_conns_somebody_waits(&p->conns));
}

static void
obey(struct pool *p, struct control_thread *t, int64_t now, struct signals s)
{
    bool started = atomic_load(&p->started);

    t->seen = s;
    if (s.stop != STOP_NONE) {
        restart_cancel(&t->restart);
        if (s.stop == STOP_NOW || (!started && may_leave_at_once(p))) {
            graceful_stop_end_now(&t->stop, p, NULL);
        }
        if (!started) {
            stop_when_loaded(p, t, now);
            return;
        }
        graceful_stop_cancel_restart(&t->stop);
    }
    if (s.stop == STOP_GRACEFUL && t->stop.end_ms == 0) {
        atomic_store(&p->s.board->workers[p->s.worker].state, SCORE_DRAINING);
        graceful_stop_begin(&t->stop, p, now, false);
    }
    if (t->stop.end_ms != 0 && now >= t->stop.end_ms) {
        graceful_stop_end_now(&t->stop, p, "--graceful-timeout has passed");
    }
}

/* Also where error pages are served: such a process may have lost a thread,
 * too. */
static void
ask_for_replacement(struct pool *p)
{
    struct score_worker *w = &p->s.board->workers[p->s.worker];
    enum score_state s = atomic_load(&w->state);
    const uint64_t one = 1;

    if ((s == SCORE_READY || s == SCORE_BROKEN) &&
        atomic_compare_exchange_strong(&w->state, &s, SCORE_RECYCLE) &&
        write(p->s.master_wake_fd, &one, sizeof one) < 0) {
        return; /* full: it will wake up anyhow */
    }
}

/* True while the application is loaded for the first time. No new code is
 * loaded then: where it is asked for faster than it loads, nobody would ever
 * serve. A load that hangs does not count; nor does a process that has reached
 * a limit, which has served. (True also in the first round after the load, so
 * that systemd hears READY before RELOADING.) */
static bool
is_first_load(const struct pool *p, struct control_thread *t, int64_t now,
              unsigned limits_reached)
{
    bool served = t->serves || limits_reached > 0;

    t->serves = atomic_load(&p->started);
    return !served && now - t->begin_ms < scoreboard_load_limit(p->s.board);
}

/* Brings in new code, or a new process where a limit has been reached. A
 * process without a master executes itself again; the others are replaced by
 * it. */
static void
renew(struct pool *p, struct control_thread *t, int64_t now, unsigned reloads)
{
    unsigned limits_reached = (atomic_load(&p->needs_recycle) ? 1u : 0u) +
                              watchdog_lost_ever(p->watchdog);
    /* No thread can serve: new code cannot be worse. */
    bool all_lost = watchdog_lost(p->watchdog) == p->s.config->threads;
    bool is_asked = reloads != t->seen.reloads;

    t->asked = t->asked || is_asked;
    if (t->stop.end_ms != 0) {
        return;
    }
    if (is_first_load(p, t, now, limits_reached)) {
        if (is_asked && p->s.master_wake_fd < 0 && !atomic_load(&p->started)) {
            log_notice("SIGHUP: nobody serves yet: the load that is under way "
                       "comes first");
        }
        return;
    }
    if (p->s.master_wake_fd >= 0) {
        if (limits_reached > 0) {
            ask_for_replacement(p);
        }
        return;
    }
    bool due = restart_is_due(&t->restart, p->s.config, now, t->asked,
                              limits_reached) ||
               all_lost;
    t->asked = false;
    if (due) {
        restart_cancel(&t->restart);
        graceful_stop_begin(&t->stop, p, now, true);
    }
}

/* For --reload: the master, or else this thread, watches the files. */
static void
hand_over_imports(struct pool *p, struct control_thread *t)
{
    if (t->imports == NULL && atomic_load(&p->started)) {
        t->imports = imports_take();
    }
    if (t->imports != NULL && p->s.imports_fd >= 0) {
        reload_pipe_send(p->s.imports_fd, &t->imports, 0);
        return;
    }
    while (t->imports != NULL) {
        file_watcher_add(&t->restart.watcher, t->imports->path,
                         t->imports->stamp, t->imports->is_app);
        t->imports = imports_free(t->imports);
    }
}

/* Says once for each generation of the code that its load takes long, with the
 * stack. With --preload the zygote says so. */
static void
watch_load(struct pool *p, struct control_thread *t, int64_t now)
{
    struct scoreboard *b = p->s.board;
    unsigned generation = atomic_load(&b->workers[p->s.worker].generation);

    if (t->load_watched || now - t->begin_ms < SLOW_LOAD_MS) {
        return;
    }
    t->load_watched = true;
    if (!atomic_load(&p->started) && p->s.preload == PRELOAD_NONE &&
        p->s.doctor == NULL && p->s.config->app != NULL &&
        atomic_exchange(&b->slow_load, generation) != generation) {
        slow_load_log(config_application(p->s.config));
        watchdog_dump(p->watchdog, "slow load");
    }
}

static void
watch(struct pool *p, struct control_thread *t, int64_t now, unsigned dumps)
{
    if (dumps != t->seen.dumps && p->s.doctor == NULL) {
        watchdog_dump(p->watchdog, "SIGUSR2");
    }
    watch_load(p, t, now);
    t->watch_ms = watchdog_run(p->watchdog, now);
}

static void
do_nothing(void)
{
}

/* Feeds systemd's watchdog as long as a thread can take the GIL, or without one
 * attach itself to Python: one request may take any time, but code that prevents
 * this stops all of them. Without a GIL such code stops nobody else until the
 * next garbage collection; until then it is a request that takes its time, and
 * to start a collection as a test would do the harm. (Until the application is
 * loaded it is enough that this thread runs.) */
static void
feed_watchdog(struct pool *p, struct control_thread *t, int64_t now)
{
    if (!notify_watchdog_is_due(now)) {
        return;
    }
    if (gil_task_state(&gil_probe) != GIL_TASK_IDLE) {
        if (!t->stuck) {
            log_error("%s: no request can continue, and the systemd watchdog "
                      "gets no keep-alive",
                      gil_task_obstacle());
            watchdog_dump(p->watchdog, "systemd's watchdog");
        }
        t->stuck = true;
        return;
    }
    t->stuck = false;
    notify_watchdog(now);
    if (p->s.doctor == NULL && atomic_load(&p->started) &&
        gil_task_begin(&gil_probe, do_nothing) < 0) {
        return; /* no thread can be created: tried the next time */
    }
}

static void
tell(struct pool *p, struct control_thread *t, int64_t now, struct signals s)
{
    enum notify_state state = NOTIFY_READY;

    if (!notify_is_on()) {
        return;
    }
    if (s.stop != STOP_NONE) {
        state = NOTIFY_STOPPING;
    }
    else if (!atomic_load(&p->started)) {
        state = NOTIFY_STARTING;
    }
    else if (t->restart.new_code &&
             (t->restart.checker > 0 || t->stop.restart)) {
        state = NOTIFY_RELOADING;
    }
    notify_tell(state, s.reloads, p->s.board, now);
    feed_watchdog(p, t, now);
}

/* True where the requests that can end have ended: the main thread does the
 * rest. Where the main thread itself is lost, the process ends here. */
static bool
is_over(struct pool *p, struct control_thread *t)
{
    unsigned lost = atomic_load(&p->lost);

    if (atomic_load(&p->gave_up)) {
        return true;
    }
    if (!atomic_load(&p->started) || atomic_load(&p->running) > lost) {
        return false;
    }
    if (lost > 0 && watchdog_is_lost(p->watchdog, 0)) {
        (void)request_threads_join(p);
        graceful_stop_end_now(&t->stop, p,
                              "--request-timeout could not end them");
    }
    return true;
}

/* Waits for the next round. In between, requests that wait for a thread are
 * passed on: a whole round for each of these looks would cost too much. */
static void
wait_for_round(struct pool *p, struct control_thread *t, int timeout_ms)
{
    int64_t now = clock_ms(), end = now + timeout_ms;
    bool is_due = false;

    assert(timeout_ms >= 0);

    while (!is_due) {
        int pause = rebalance_pause(&t->rebalance, now, (int)(end - now));
        is_due =
            signals_wait(pause, t->control_fd, rebalance_fd(&t->rebalance, p));
        now = clock_ms();
        rebalance_run(&t->rebalance, p, now);
        is_due = is_due || now >= end;
    }
}

/* A master says that it has opened the files again; it passes HUP on to its
 * workers, which need no code for it. */
static void
reopen_logs(const struct pool *p, const struct control_thread *t,
            struct signals s)
{
    if (s.reloads != t->seen.reloads) {
        logs_reopen(NULL);
    }
    if (s.reopens != t->seen.reopens) {
        logs_reopen(p->s.master_wake_fd < 0 ? "SIGUSR1" : NULL);
    }
}

/* --exit-idle, which has the effect of a first SIGTERM. A master looks for its
 * workers. */
static void
consider_end(struct pool *p, struct control_thread *t, int64_t now,
             struct signals *s)
{
    if (p->s.master_wake_fd < 0 && atomic_load(&p->started) &&
        t->stop.end_ms == 0 && s->stop == STOP_NONE &&
        exit_idle_is_due(&t->idle, p->s.board, p->s.config->exit_idle_ms,
                         now)) {
        atomic_store(&p->exits_idle, true);
    }
    if (atomic_load(&p->exits_idle) && s->stop == STOP_NONE) {
        s->stop = STOP_GRACEFUL;
    }
}

/* Waits for the next round, and does what is due. False: the requests have
 * ended, or none will come, and this thread ends. */
static bool
run_round(struct pool *p, struct control_thread *t)
{
    int64_t now = clock_ms();
    bool stopping = t->stop.end_ms != 0 || t->load_end_ms != 0;
    int round =
        stopping ? STOPPING_MS : restart_pause(&t->restart, now, t->interval);
    if (!stopping) {
        round =
            exit_idle_pause(&t->idle, p->s.config->exit_idle_ms, now, round);
    }

    wait_for_round(p, t, notify_wait_ms(now, least(t->watch_ms, round)));
    now = clock_ms();
    struct signals s = signals_get();
    consider_end(p, t, now, &s);
    reopen_logs(p, t, s); /* first: a reload writes to the log */
    watch(p, t, now, s.dumps);
    if (t->stop.end_ms != 0) {
        graceful_stop_abandon_lost(p);
    }
    if (is_over(p, t)) {
        return false;
    }
    hand_over_imports(p, t);
    atomic_store_explicit(&p->s.board->workers[p->s.worker].conns,
                          (unsigned)conn_table_open(p->conns.table),
                          memory_order_relaxed);
    renew(p, t, now, s.reloads);
    tell(p, t, now, s);
    obey(p, t, now, s);
    /* Also while the last requests run: the socket would stay readable. */
    if (p->s.control != NULL) {
        control_run(p->s.control);
    }
    if (t->stop.end_ms != 0) {
        graceful_stop_go_on(&t->stop, p);
        return true;
    }
    worker_conns_resume(&p->conns);
    conn_passing_resume(&p->conns);
    conn_sweep(p->conns.table, now, SWEEP_OVERDUE);
    if (p->queue_time != NULL) {
        queue_time_look(p->queue_time, &p->conns.poller, p->s.listeners,
                        p->s.nlisteners, p->conns.table);
    }
    if (p->s.master_wake_fd < 0) {
        scoreboard_sample(p->s.board, p->s.listeners, p->s.nlisteners);
    }
    return true;
}

static void *
control_thread_main(void *arg)
{
    struct pool *p = arg;
    struct control_thread *t = &control_thread;

    t->begin_ms = clock_ms();
    t->watch_ms = 1; /* the watchdog says when it wants to look */
    t->interval = interval_of(p->s.config);
    t->control_fd = p->s.control == NULL ? -1 : control_fd(p->s.control);
    log_set_patience(0);
    while (run_round(p, t)) {
    }
    restart_fini(&t->restart);
    while (t->imports != NULL) {
        t->imports = imports_free(t->imports);
    }
    return NULL;
}

int
control_thread_start(struct pool *p)
{
    sigset_t all, old;

    assert(control_thread.begin_ms == 0); /* once in the life of a process */
    /* Before the application is loaded: what changes meanwhile is new code. */
    restart_init(&control_thread.restart, p->s.config);
    /* Signals go to threads whose system calls they may interrupt. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&control_thread.id, NULL, control_thread_main, p);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -e;
}

void
control_thread_join(struct graceful_stop *ret)
{
    (void)pthread_join(control_thread.id, NULL);
    *ret = control_thread.stop;
}
